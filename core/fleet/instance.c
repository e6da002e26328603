/* instance.c: one instance and its state machine (the picture is in fleet.h).
 *
 * Invariants: fleet_instance_to is the only writer of a state; it keeps what hangs on the state:
 * the count of launches, the probe, the slot on the board, whether a roster is due. */
#include "fleet/fleet_private.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/circuit.h"
#include "base/str.h"

static const char *const state_names[FLEET_STATES] = {
    "new",      "creating", "starting", "waiting",  "up",   "down",
    "draining", "failed",   "stopping", "removing", "gone",
};

const char *fleet_state_name(enum fleet_state state)
{
    return state_names[state];
}

/* Kept in the order of their numbers, however they were found. */
static void insert(struct service *s, struct instance *i)
{
    struct list *before = s->instances.prev;
    while (before != &s->instances &&
           list_owner(before, struct instance, node)->serial > i->serial) {
        before = before->prev;
    }
    list_prepend(before, &i->node);
}

struct instance *fleet_instance_new(struct service *s, uint32_t serial, const char *id,
                                    const char *name)
{
    struct fleet *f = s->fleet;
    struct instance *i = mem_new(sizeof *i);
    i->fleet = f;
    i->service = s;
    i->id = mem_copy(id);
    i->name = mem_copy(name);
    i->serial = serial;
    i->place = 1;
    i->slot = FLEET_NO_SLOT;
    i->reason = mem_copy("");
    i->address = mem_copy("");
    i->created_ms = i->since_ms = f->now_ms;
    insert(s, i);
    must(!map_put(&f->instances, id, i));
    if (name) {
        must(!map_put(&f->names, name, i));
    }
    if (serial > s->serial) {
        s->serial = serial;
    }
    fleet_kept_take_instance(i);
    return i;
}

void fleet_instance_free(struct instance *i)
{
    must(i->calls == 0);
    list_remove(&i->node);
    json_free(i->backend);
    mem_free(i->id);
    mem_free(i->name);
    mem_free(i->reason);
    mem_free(i->address);
    mem_free(i->health_output);
    mem_free(i->error);
    mem_free(i->seen_buckets);
    mem_free(i);
}

static bool launching(enum fleet_state state)
{
    return state == FLEET_CREATING || state == FLEET_STARTING;
}

static void bury(struct instance *i)
{
    struct fleet *f = i->fleet;
    fleet_keep_forget_instance(i);
    fleet_slot_release(i);
    map_remove(&f->instances, i->id);
    if (i->name) {
        map_remove(&f->names, i->name);
    }
    list_remove(&i->node);
    list_append(&f->graves, &i->node);
    i->service = NULL;
    f->buried_seq = ++f->seq;
}

bool fleet_instance_in_traffic(const struct instance *i)
{
    return i->state == FLEET_UP || (i->state == FLEET_DRAINING && i->routed);
}

/* Healthy again: what it did is past. */
static void let_in(struct instance *i)
{
    enum board_change change = board_circuit_reset(i->fleet->board, (unsigned)i->slot);
    if (change != BOARD_CHANGE_NONE) {
        fleet_tell(i->fleet,
                   change == BOARD_CHANGE_RETURNED ? "backend_returned" : "circuit_closed",
                   i->service, i, "circuit closed: its health check passed", "", false);
    }
}

/* What comes with being up: a place on the board, the first load sample a while later. */
static void enter_up(struct instance *i)
{
    struct fleet *f = i->fleet;
    if (!i->up_ms) {
        fleet_rails_note_start(i);
    }
    i->up_ms = f->now_ms;
    if (i->slot != FLEET_NO_SLOT) {
        let_in(i);
    }
    i->ended = false;
    i->excused = false;
    i->routed = true;
    i->restarts_base = i->restarts;
    /* Not all at once after an adoption. */
    i->usage.next_ms =
        f->now_ms + hash_bytes(i->id, strlen(i->id)) % (f->sample_interval_ms / 2 + 1);
    i->usage.has_last = false;
    i->usage.at_ms = 0;
}

static void leave(struct instance *i, enum fleet_state to)
{
    switch (to) {
    case FLEET_NEW:
    case FLEET_CREATING:
    case FLEET_STARTING:
    case FLEET_WAITING:
    case FLEET_UP:
        break;
    case FLEET_DOWN:
        i->routed = false;
        i->fleet->roster_due = true;
        break;
    case FLEET_DRAINING:
        i->drain_version = 0;
        i->fleet->roster_due = true;
        fleet_check_stop(i);
        break;
    case FLEET_FAILED:
    case FLEET_STOPPING:
    case FLEET_REMOVING:
    case FLEET_GONE:
    case FLEET_STATES:
        i->fleet->roster_due = i->fleet->roster_due || i->routed;
        i->routed = false;
        fleet_check_stop(i);
        break;
    }
}

void fleet_instance_to(struct instance *i, enum fleet_state to, const char *why)
{
    struct fleet *f = i->fleet;
    must(i->state != FLEET_GONE && i->state != to);
    f->launches += launching(to);
    f->launches -= launching(i->state);
    i->state = to;
    i->since_ms = f->now_ms;
    i->retry_ms = 0;
    i->tries = 0;
    char *before = i->reason; /* `why` may be the old reason */
    i->reason = mem_copy(why ? why : "");
    mem_free(before);
    leave(i, to);
    if (to == FLEET_UP) {
        enter_up(i);
        f->roster_due = true;
    }
    char what[32]; /* "instance " and a state's name */
    snprintf(what, sizeof what, "instance %s", state_names[to]);
    fleet_tell(f,
               to == FLEET_UP     ? "backend_up"
               : to == FLEET_DOWN ? "backend_down"
                                  : "instance",
               i->service, i, what, i->reason, to == FLEET_DOWN || to == FLEET_FAILED);
    if (to == FLEET_GONE) {
        bury(i);
    }
}

void fleet_instance_drop(struct instance *i, const char *why)
{
    bool busy = i->slot != FLEET_NO_SLOT && !i->ended &&
                board_in_flight(i->fleet->board, (unsigned)i->slot) > 0;
    switch (i->state) {
    case FLEET_NEW:
    case FLEET_CREATING:
        if (i->call == FLEET_CALL_NONE && !i->unsure && !i->engine_id[0]) {
            fleet_instance_to(i, FLEET_GONE, why);
        } else {
            fleet_instance_to(i, FLEET_REMOVING, why);
        }
        break;
    case FLEET_UP:
        fleet_instance_to(i, FLEET_DRAINING, why);
        break;
    case FLEET_STARTING:
    case FLEET_WAITING:
    case FLEET_DOWN:
        if (i->backend) {
            fleet_instance_to(i, FLEET_GONE, why);
        } else if (busy) {
            fleet_instance_to(i, FLEET_DRAINING, why);
        } else {
            fleet_instance_to(i, i->ended ? FLEET_REMOVING : FLEET_STOPPING, why);
        }
        break;
    case FLEET_DRAINING:
    case FLEET_FAILED:
    case FLEET_STOPPING:
    case FLEET_REMOVING:
    case FLEET_GONE:
    case FLEET_STATES:
        break;
    }
}

void fleet_instance_fail(struct instance *i, const char *why)
{
    struct service *s = i->service;
    const char *output = i->health_output ? i->health_output : "";
    if (!*output && i->watched) {
        int status = 0;
        uint32_t attempts = 0;
        i->fleet->ports.probe_reason(i->fleet->ports.arg, i->id, &output, &status, &attempts);
    }
    fleet_failure_clear(&s->failure);
    s->failure = (struct failure){
        .at_ms = i->fleet->now_ms,
        .instance = mem_copy(i->id),
        .reason = mem_copy(why),
        .health_output = mem_copy(output ? output : ""),
    };
    fleet_service_back_off(s);
    fleet_instance_to(i, FLEET_FAILED, why);
}

void fleet_instance_failure_shown(struct instance *i)
{
    struct service *s = i->service;
    struct failure *failure = &s->failure;
    if (failure->shown || !str_same(failure->instance, i->id)) {
        return; /* a later one took its place */
    }
    failure->shown = true;
    uint64_t wait_ms =
        s->not_before_ms > i->fleet->now_ms ? s->not_before_ms - i->fleet->now_ms : 0;
    char *detail = mem_printf("%s; next try in %.1f s", failure->reason, (double)wait_ms / 1000);
    fleet_tell(i->fleet, "deploy", s, i, "deploy failed", detail, true);
    mem_free(detail);
}

void fleet_instance_down(struct instance *i, const char *why)
{
    i->running_ms = 0;
    i->ended = false;
    if (!i->backend) {
        i->inspect_ms = i->fleet->now_ms;
    }
    if (i->state != FLEET_DOWN) {
        fleet_instance_to(i, FLEET_DOWN, why);
    }
}
