/* observe.c: what the engine says of an instance, by inspect, list or event, and what follows. */
#include "fleet/fleet_private.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    LOOK_MS = 1000
}; /* at an instance that starts, or that may come back */

/* Why it does not run. The caller owns it. */
static char *ending(const struct instance *i)
{
    if (i->oom) {
        return mem_copy("OOM-killed (memory limit)");
    }
    if (i->error) {
        return mem_printf("could not run: %s", i->error);
    }
    return i->engine_state == ENGINE_CREATED ? mem_copy("did not start")
                                             : mem_printf("exited with code %d", i->exit_code);
}

static bool runs(const struct instance *i)
{
    return i->engine_state == ENGINE_RUNNING;
}

/* Was created or started by a call whose outcome we did not hear. */
static void observe_launch(struct instance *i)
{
    if (i->engine_state == ENGINE_CREATED) {
        if (i->state == FLEET_CREATING) {
            fleet_instance_to(i, FLEET_STARTING, "found created");
        }
        return;
    }
    if (i->engine_state == ENGINE_RUNNING || i->engine_state == ENGINE_PAUSED) {
        fleet_instance_to(i, FLEET_WAITING, "found running");
        i->inspect_ms = i->fleet->now_ms + LOOK_MS;
        fleet_check_start(i);
        return;
    }
    i->ended = true;
    char *why = ending(i);
    fleet_instance_fail(i, why);
    mem_free(why);
}

static void observe_waiting(struct instance *i)
{
    if (runs(i) && i->restarts == i->restarts_base) {
        i->inspect_ms = i->fleet->now_ms + LOOK_MS;
        fleet_check_start(i);
        fleet_check_step(i);
        return;
    }
    if (i->engine_state == ENGINE_PAUSED) {
        i->inspect_ms = i->fleet->now_ms + LOOK_MS;
        return;
    }
    char *why = ending(i);
    if (i->adopted) {
        fleet_instance_down(i, why);
        i->ended = i->engine_state == ENGINE_EXITED;
    } else {
        i->ended = i->engine_state == ENGINE_EXITED;
        fleet_instance_fail(i, why);
    }
    mem_free(why);
}

static void observe_up(struct instance *i, bool moved)
{
    if (runs(i) && !moved) {
        if (i->check == FLEET_CHECK_ENGINE && i->health == ENGINE_UNHEALTHY) {
            fleet_instance_down(i, "unhealthy by the engine's health check");
        }
        return;
    }
    char *why = runs(i)                            ? mem_printf("restarted at %s", i->address)
                : i->engine_state == ENGINE_PAUSED ? mem_copy("paused")
                                                   : ending(i);
    fleet_instance_down(i, why);
    mem_free(why);
    i->excused = !i->fleet->listed;
    fleet_check_stop(i);
    if (runs(i)) {
        fleet_check_start(i);
    }
    i->ended = i->engine_state == ENGINE_EXITED;
}

static void observe_down(struct instance *i, bool moved)
{
    i->inspect_ms = i->fleet->now_ms + LOOK_MS;
    i->ended = i->engine_state == ENGINE_EXITED || i->engine_state == ENGINE_CREATED;
    i->excused = i->excused || (i->ended && !i->fleet->listed);
    if (!runs(i)) {
        i->running_ms = 0;
        fleet_check_stop(i);
        return;
    }
    if (moved) {
        fleet_check_stop(i);
    }
    fleet_check_start(i);
    fleet_check_step(i);
}

static void note_oom(struct instance *i, bool oom)
{
    if (oom && !i->oom) {
        i->oom_kills++;
        if (i->service) {
            i->service->oom_kills++;
        }
    }
    i->oom = oom;
}

/* Copies what was seen; returns whether the address is another one than before. */
static bool note(struct instance *i, const struct engine_instance *seen)
{
    str_copy(i->engine_id, sizeof i->engine_id, seen->id ? seen->id : "");
    i->engine_state = seen->state;
    i->health = seen->health;
    i->restarts = seen->restarts;
    i->exit_code = seen->exit_code;
    note_oom(i, seen->oom_killed || (i->oom && seen->state != ENGINE_RUNNING));
    i->pid = seen->pid;
    i->started_wall_ms = seen->started_wall_ms;
    if (seen->health_output && *seen->health_output) {
        mem_free(i->health_output);
        i->health_output = mem_copy(seen->health_output);
    }
    mem_release(&i->error);
    if (seen->error && *seen->error) {
        i->error = mem_copy(seen->error);
    }
    const char *address = seen->address ? seen->address : "";
    bool moved = seen->state == ENGINE_RUNNING && strcmp(address, i->address) != 0;
    if (moved) {
        mem_free(i->address);
        i->address = mem_copy(address);
    }
    return moved;
}

/* A name whose create we did not hear of exists: made by that create or one before a crash of ours,
 * or by somebody else. Returns whether it is none of ours to go on with. */
static bool foreign(struct instance *i, const struct engine_instance *seen)
{
    bool ours = str_same(seen->service, i->service->name) && seen->serial == i->serial;
    if (ours && (i->state == FLEET_REMOVING ||
                 (str_same(seen->spec_hash, i->spec_hash) && seen->generation == i->generation))) {
        return false;
    }
    if (i->state != FLEET_REMOVING) {
        char *why =
            mem_printf("name taken by %s container: %s", ours ? "an older" : "a foreign", i->name);
        fleet_instance_fail(i, why);
        mem_free(why);
        fleet_instance_failure_shown(i);
    }
    i->fleet->list_ms = i->fleet->now_ms;        /* one of ours is found by the list and removed */
    fleet_instance_to(i, FLEET_GONE, i->reason); /* never touch what is not ours */
    return true;
}

void fleet_observe(struct instance *i, const struct engine_instance *seen)
{
    i->unsure = false;
    if (!i->engine_id[0] && foreign(i, seen)) {
        return;
    }
    bool moved = note(i, seen);
    switch (i->state) {
    case FLEET_NEW:
        break;
    case FLEET_CREATING:
    case FLEET_STARTING:
        observe_launch(i);
        break;
    case FLEET_WAITING:
        if (moved) {
            fleet_check_stop(i);
        }
        observe_waiting(i);
        break;
    case FLEET_UP:
        observe_up(i, moved);
        break;
    case FLEET_DOWN:
        observe_down(i, moved);
        break;
    case FLEET_DRAINING:
    case FLEET_FAILED:
    case FLEET_STOPPING:
    case FLEET_REMOVING:
        i->ended = i->engine_state == ENGINE_EXITED;
        break;
    case FLEET_GONE:
    case FLEET_STATES:
        break;
    }
}

void fleet_observe_gone(struct instance *i)
{
    i->unsure = false;
    i->engine_state = ENGINE_GONE;
    switch (i->state) {
    case FLEET_NEW:
    case FLEET_GONE:
    case FLEET_STATES:
        break;
    case FLEET_CREATING:
        i->engine_id[0] = '\0'; /* the create was lost: the step tries again under the same name */
        if (++i->tries >= FLEET_TRIES) {
            fleet_instance_fail(i, "the engine did not create it in time");
        }
        break;
    case FLEET_STARTING:
    case FLEET_WAITING:
        if (i->adopted) {
            fleet_instance_to(i, FLEET_GONE, "removed by somebody else");
        } else {
            fleet_instance_fail(i, "removed by somebody else while it started");
        }
        break;
    case FLEET_UP:
        fleet_instance_down(i, "removed by somebody else");
        i->service->vanished = i->service->vanished ? i->service->vanished : json_array();
        json_add_str(i->service->vanished, i->id);
        fleet_instance_to(i, FLEET_GONE, i->reason);
        break;
    case FLEET_FAILED:
        fleet_instance_failure_shown(i);
        fleet_instance_to(i, FLEET_GONE, i->reason);
        break;
    case FLEET_DOWN:
    case FLEET_DRAINING:
    case FLEET_STOPPING:
    case FLEET_REMOVING:
        fleet_instance_to(i, FLEET_GONE, i->reason);
        break;
    }
}

static void on_died(struct instance *i, const struct engine_event *event)
{
    i->exit_code = event->exit_code;
    i->inspect_ms = i->fleet->now_ms; /* ended for good, restarting, out of memory? */
    if (i->state == FLEET_UP) {
        char *why = ending(i);
        i->engine_state = ENGINE_RESTARTING;
        fleet_check_stop(i);
        fleet_instance_down(i, why);
        mem_free(why);
    } else if (i->state == FLEET_DOWN || i->state == FLEET_WAITING) {
        i->engine_state = ENGINE_RESTARTING;
        i->running_ms = 0;
        fleet_check_stop(i);
    } else if (i->state == FLEET_DRAINING) {
        i->ended = true;
    }
}

static void on_health(struct instance *i, const struct engine_event *event)
{
    i->health = event->health;
    if (i->check != FLEET_CHECK_ENGINE) {
        return;
    }
    if (i->state == FLEET_UP && event->health == ENGINE_UNHEALTHY) {
        fleet_instance_down(i, "unhealthy by the engine's health check");
    } else if (i->state == FLEET_WAITING || i->state == FLEET_DOWN) {
        fleet_check_step(i);
    }
}

static void on_event(struct instance *i, const struct engine_event *event)
{
    switch (event->kind) {
    case ENGINE_EVENT_STARTED:
    case ENGINE_EVENT_UNPAUSED:
        if (i->state == FLEET_DOWN || i->state == FLEET_UP || i->state == FLEET_WAITING) {
            i->inspect_ms = i->fleet->now_ms; /* its address may be another one */
        }
        break;
    case ENGINE_EVENT_DIED:
        on_died(i, event);
        break;
    case ENGINE_EVENT_OOM:
        note_oom(i, true);
        break;
    case ENGINE_EVENT_HEALTH:
        on_health(i, event);
        break;
    case ENGINE_EVENT_REMOVED:
        if (i->call == FLEET_CALL_NONE && i->state != FLEET_CREATING) {
            fleet_observe_gone(i);
        }
        break;
    case ENGINE_EVENT_PAUSED:
        if (i->state == FLEET_UP) {
            fleet_check_stop(i);
            i->engine_state = ENGINE_PAUSED;
            fleet_instance_down(i, "paused");
        }
        break;
    case ENGINE_EVENTS:
        break;
    }
}

void fleet_on_engine_event(struct fleet *f, const struct engine_event *event, uint64_t now_ms)
{
    f->now_ms = now_ms;
    struct instance *i = event->name ? map_get(&f->names, event->name) : NULL;
    if (!i) {
        if (event->kind == ENGINE_EVENT_STARTED && event->service && *event->service &&
            f->list_ms > now_ms + LOOK_MS) {
            f->list_ms = now_ms + LOOK_MS; /* a call of ours from before a crash */
        }
        return;
    }
    on_event(i, event);
    if (i->service) {
        fleet_service_reconcile(i->service);
    }
    fleet_settle(f);
}
