/* fleet.c: the fleet as a whole: configuration, the engine's coming and going, time.
 *
 * Owns: services and instances. Called by: app/master.c and simulations.
 * Does not: any I/O, read a clock (but the wall clock for records), or decide how many. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

struct fleet *fleet_new(const struct fleet_ports *ports, struct board *board)
{
    struct fleet *f = mem_new(sizeof *f);
    f->ports = *ports;
    f->board = board;
    f->engine_text = mem_copy("not reached yet");
    f->cluster = mem_copy("");
    f->sample_interval_ms = 5000;
    list_init(&f->services);
    list_init(&f->graves);
    return f;
}

static void clear_graves(struct fleet *f)
{
    struct list *next;
    for (struct list *n = f->graves.next; n != &f->graves; n = next) {
        next = n->next;
        struct instance *i = list_owner(n, struct instance, node);
        if (i->calls == 0) {
            fleet_instance_free(i);
        }
    }
}

void fleet_free(struct fleet *f)
{
    if (!f) {
        return;
    }
    clear_graves(f);
    must(list_empty(&f->graves));
    must(!f->listing);
    while (!list_empty(&f->services)) {
        fleet_service_free(list_owner(f->services.next, struct service, node));
    }
    fleet_audit_free(f);
    fleet_kept_free(f);
    map_free(&f->by_name);
    map_free(&f->instances);
    map_free(&f->names);
    mem_free(f->engine_text);
    mem_free(f->cluster);
    mem_free(f);
}

void fleet_set_engine(struct fleet *f, struct engine *engine)
{
    f->engine = engine;
}

bool fleet_can_act(const struct fleet *f)
{
    return f->engine && f->engine_up && f->listed && f->applied;
}

void fleet_tell(struct fleet *f, const char *kind, const struct service *s,
                const struct instance *i, const char *what, const char *detail, bool bad)
{
    const struct fleet_fact fact = {
        .kind = kind,
        .service = s ? s->name : "",
        .instance = i ? i->id : "",
        .what = what,
        .detail = detail ? detail : "",
        .bad = bad,
    };
    f->ports.fact(f->ports.arg, &fact);
}

void fleet_settle(struct fleet *f)
{
    if (f->roster_due && !f->quiet) {
        fleet_roster_send(f);
    }
    clear_graves(f);
}

/* ---- Configuration ---- */

static void apply_services(struct fleet *f, const struct cJSON *config)
{
    struct list before;
    list_init(&before);
    while (!list_empty(&f->services)) {
        struct list *n = f->services.next;
        list_remove(n);
        list_append(&before, n);
    }
    uint32_t routes = 0;
    for (struct cJSON *c = json_first(json_get(config, "services")); c; c = json_next(c)) {
        const char *name = json_str(c, "name", "");
        struct service *s = fleet_service_find(f, name);
        if (!s) {
            s = fleet_service_new(f, name);
        } else {
            list_remove(&s->node);
            list_append(&f->services, &s->node);
        }
        fleet_service_apply(s, c);
        s->first_route = routes; /* as the workers count them */
        s->route_count = (uint32_t)json_count(json_get(c, "routes"));
        routes += s->route_count;
    }
    while (!list_empty(&before)) {
        struct service *s = list_owner(before.next, struct service, node);
        list_remove(&s->node);
        list_append(&f->services, &s->node);
        s->route_count = 0;
        if (!s->gone) {
            s->gone = true;
            fleet_tell(f, "service", s, NULL, "service not configured any more", "", false);
            fleet_service_drop_backends(s);
        }
    }
}

void fleet_apply(struct fleet *f, const struct cJSON *config, uint64_t now_ms)
{
    const struct cJSON *cluster = json_get(config, "cluster");
    f->now_ms = now_ms;
    mem_free(f->cluster);
    f->cluster = mem_copy(json_str(cluster, "id", "default"));
    int64_t interval_ms = json_int(cluster, "sample_interval_ms", 5000);
    f->sample_interval_ms = interval_ms < 100 ? 100 : (uint32_t)interval_ms;
    bool first = !f->applied;
    f->applied = true;
    apply_services(f, config);
    fleet_kept_drop(f);
    f->roster_due = true;
    if (first && f->engine_up) {
        fleet_list(f);
    }
    fleet_tick(f, now_ms);
}

/* ---- The engine ---- */

static void set_engine_text(struct fleet *f, const char *text)
{
    mem_free(f->engine_text);
    f->engine_text = mem_copy(text ? text : "");
}

void fleet_on_engine_up(struct fleet *f, const char *description, uint64_t now_ms)
{
    f->now_ms = now_ms;
    f->engine_up = true;
    f->listed = false; /* events may have been missed: compare before the next step */
    set_engine_text(f, description);
    fleet_tell(f, "engine", NULL, NULL, "engine up", f->engine_text, false);
    fleet_list(f);
    fleet_settle(f);
}

void fleet_on_engine_down(struct fleet *f, const char *why, uint64_t now_ms)
{
    f->now_ms = now_ms;
    f->engine_up = false;
    f->listed = false;
    set_engine_text(f, why);
    fleet_tell(f, "engine", NULL, NULL, "engine down: services stay as they are", f->engine_text,
               true);
    fleet_settle(f);
}

bool fleet_surveyed(const struct fleet *f)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        const struct service *s = list_owner(n, struct service, node);
        if (!s->spec.is_static && !f->listed) {
            return false;
        }
        for (struct list *at = s->instances.next; at != &s->instances; at = at->next) {
            const struct instance *i = list_owner(at, struct instance, node);
            if (i->state == FLEET_WAITING && (i->adopted || i->backend)) {
                return false;
            }
        }
    }
    return f->applied;
}

/* ---- Time ---- */

void fleet_tick(struct fleet *f, uint64_t now_ms)
{
    f->now_ms = now_ms;
    f->quiet = false;
    if (f->engine_up && f->applied && !f->listing && now_ms >= f->list_ms) {
        fleet_list(f);
    }
    struct list *next;
    for (struct list *n = f->services.next; n != &f->services; n = next) {
        next = n->next;
        struct service *s = list_owner(n, struct service, node);
        fleet_service_reconcile(s);
        if (s->gone && list_empty(&s->instances)) {
            fleet_keep_forget_service(s);
            fleet_service_free(s);
        }
    }
    fleet_sample_tick(f);
    fleet_zero_tick(f);
    fleet_scale_tick(f);
    fleet_settle(f);
}

void fleet_on_roster(struct fleet *f, uint64_t version, uint64_t now_ms)
{
    f->now_ms = now_ms;
    if (version > f->roster_acked) {
        f->roster_acked = version;
        fleet_tick(f, now_ms);
    }
}
