/* adopt.c: lists what the engine has and compares: after every connection to it (our start, its
 * restart, a gap in the events), and every now and then anyway.
 *
 * Adoption makes no change on the engine: what runs is checked and joins the roster again; what is
 * left over (created, ended) is removed. What the list says of an instance counts only when no call
 * for it was under way since the list began. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "base/str.h"

static void adopt(struct fleet *f, const struct engine_instance *seen)
{
    struct service *s = fleet_service_find(f, seen->service);
    if (!s) {
        s = fleet_service_new(f, seen->service); /* not configured: its instances go */
    }
    char *id = mem_printf("%s-%u", s->name, seen->serial);
    if (map_get(&f->instances, id)) {
        mem_free(id); /* another name with our labels: not made by us */
        return;
    }
    struct instance *i = fleet_instance_new(s, seen->serial, id, seen->name);
    mem_free(id);
    i->adopted = true;
    i->place = seen->slot ? seen->slot : 1;
    i->generation = seen->generation;
    if (i->generation > s->generation_most) {
        s->generation_most = i->generation;
    }
    str_copy(i->spec_hash, sizeof i->spec_hash, seen->spec_hash ? seen->spec_hash : "");
    str_copy(i->engine_id, sizeof i->engine_id, seen->id);
    i->engine_state = seen->state;
    i->restarts_base = i->restarts = seen->restarts;
    i->oom = seen->oom_killed; /* not news */
    switch (seen->state) {
    case ENGINE_RUNNING:
    case ENGINE_PAUSED:
        fleet_instance_to(i, FLEET_WAITING, "found running");
        fleet_observe(i, seen);
        break;
    case ENGINE_RESTARTING:
        fleet_instance_to(i, FLEET_DOWN, "found restarting");
        fleet_observe(i, seen);
        break;
    case ENGINE_CREATED:
    case ENGINE_EXITED:
    case ENGINE_GONE:
    case ENGINE_STATES:
        i->ended = true;
        fleet_instance_to(i, FLEET_REMOVING,
                          seen->state == ENGINE_CREATED ? "found created and never started"
                                                        : "found ended");
        break;
    }
}

/* Whether the list is older than what we know of it. */
static bool outdated(const struct instance *i)
{
    return i->call != FLEET_CALL_NONE || i->seq > i->fleet->list_seq;
}

static void compare(struct fleet *f, const struct engine_instance *all, size_t count)
{
    struct map seen = {0};
    for (size_t at = 0; at < count; at++) {
        map_put(&seen, all[at].name, (void *)(uintptr_t)&all[at]);
        struct instance *i = map_get(&f->names, all[at].name);
        if (i && !outdated(i)) {
            fleet_observe(i, &all[at]);
        } else if (!i && f->buried_seq <= f->list_seq && all[at].service && *all[at].service) {
            adopt(f, &all[at]);
        }
    }
    size_t at = 0;
    const char *name;
    void *value;
    while (map_next(&f->names, &at, &name, &value)) {
        struct instance *i = value;
        if (!outdated(i) && !map_get(&seen, name)) {
            fleet_observe_gone(i); /* at most removes the present key */
        }
    }
    map_free(&seen);
}

static void settle_services(struct fleet *f)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        fleet_service_settle_desired(list_owner(n, struct service, node));
    }
}

static void on_listed(void *arg, const struct engine_error *error,
                      const struct engine_instance *instances, size_t count)
{
    struct fleet *f = arg;
    fleet_call_note(f, FLEET_CALL_LIST, error->code);
    f->listing = false;
    if (fleet_call_lost(f, error->code)) {
        f->list_again = false;
        f->list_ms = f->now_ms + FLEET_RETRY_MS;
        fleet_settle(f);
        return;
    }
    if (f->list_again) {
        f->list_again = false; /* it began before a gap in the events */
        fleet_list(f);
        fleet_settle(f);
        return;
    }
    if (error->code) {
        fleet_tell(f, "engine", NULL, NULL, "list failed", error->text ? error->text : "", true);
        f->list_ms = f->now_ms + FLEET_RETRY_MS;
        fleet_settle(f);
        return;
    }
    bool first = !f->listed;
    compare(f, instances, count);
    f->list_ms = f->now_ms + (f->buried_seq > f->list_seq ? FLEET_RETRY_MS : FLEET_LIST_MS);
    if (f->engine_up) {
        f->listed = true;
        fleet_kept_drop(f);
    }
    settle_services(f);
    if (first) {
        char *detail = mem_printf("%zu instances", count);
        fleet_tell(f, "engine", NULL, NULL, "engine compared", detail, false);
        mem_free(detail);
    }
    fleet_tick(f, f->now_ms);
}

void fleet_list(struct fleet *f)
{
    if (!f->engine || !f->engine_up || !f->applied) {
        return;
    }
    if (f->listing) {
        f->list_again = true;
        return;
    }
    f->list_seq = ++f->seq;
    f->list_ms = f->now_ms + FLEET_LIST_MS;
    f->listing = true;
    if (f->engine->kind->list(f->engine, on_listed, f)) {
        f->listing = false;
        f->list_ms = f->now_ms + FLEET_RETRY_MS;
    }
}
