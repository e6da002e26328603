/* view.c: what policies get to know of a service, as a struct and as JSON. */
#include "fleet/fleet_private.h"

#include <stddef.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/record.h"

/* The one list of the names. */
static const struct record_field fields[] = {
    {"now", offsetof(struct fleet_view, now)},
    {"time", offsetof(struct fleet_view, time)},
    {"instances", offsetof(struct fleet_view, instances)},
    {"desired", offsetof(struct fleet_view, desired)},
    {"starting", offsetof(struct fleet_view, starting)},
    {"min", offsetof(struct fleet_view, min)},
    {"max", offsetof(struct fleet_view, max)},
    {"cpu_percent", offsetof(struct fleet_view, cpu_percent)},
    {"memory_percent", offsetof(struct fleet_view, memory_percent)},
    {"in_flight", offsetof(struct fleet_view, in_flight)},
    {"rate", offsetof(struct fleet_view, rate)},
    {"error_rate", offsetof(struct fleet_view, error_rate)},
    {"p50_ms", offsetof(struct fleet_view, p50_ms)},
    {"p95_ms", offsetof(struct fleet_view, p95_ms)},
    {"p99_ms", offsetof(struct fleet_view, p99_ms)},
    {"queue", offsetof(struct fleet_view, queue)},
    {"since_up_s", offsetof(struct fleet_view, since_up_s)},
    {"since_down_s", offsetof(struct fleet_view, since_down_s)},
    {"sample_age_s", offsetof(struct fleet_view, sample_age_s)},
    {"hash", offsetof(struct fleet_view, hash)},
};

enum {
    FIELDS = sizeof fields / sizeof *fields
};

const struct record_field *fleet_view_fields(size_t *ret_count)
{
    *ret_count = FIELDS;
    return fields;
}

static double seconds_since(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms ? (double)(now_ms - at_ms) / 1000 : -1;
}

static unsigned up_count(const struct service *s)
{
    unsigned up = 0;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        up += i->state == FLEET_UP && !i->backend;
    }
    return up;
}

void fleet_view_take(struct service *s, struct fleet_view *ret_view)
{
    uint64_t now_ms = s->fleet->now_ms;
    struct census c;
    struct load load;
    struct figures figures;
    fleet_census(s, &c);
    fleet_load(s, &load);
    fleet_traffic_close(s, &s->since_ask, &figures);
    uint64_t hash = hash_more(hash_bytes(s->name, strlen(s->name)), &now_ms, sizeof now_ms);
    *ret_view = (struct fleet_view){
        .service = s->name,
        .now = (double)now_ms / 1000,
        .time = (double)s->fleet->ports.wall_ms(s->fleet->ports.arg) / 1000,
        .instances = up_count(s),
        .desired = s->desired,
        .starting = c.launching,
        .min = fleet_zero_least(s),
        .max = s->spec.max,
        .cpu_percent = load.cpu_percent,
        .memory_percent = load.memory_percent,
        .in_flight = (double)fleet_service_in_flight(s),
        .rate = figures.rate,
        .error_rate = figures.error_rate,
        .p50_ms = figures.p50_ms,
        .p95_ms = figures.p95_ms,
        .p99_ms = figures.p99_ms,
        .queue = (double)fleet_service_queue(s),
        .since_up_s = seconds_since(s->changed_up_ms, now_ms),
        .since_down_s = seconds_since(s->changed_down_ms, now_ms),
        .sample_age_s = load.fresh ? (double)load.age_ms / 1000 : -1,
        .hash = (double)(hash >> 11) / 9007199254740992.0,
    };
}

struct cJSON *fleet_view_json(const struct fleet_view *view)
{
    struct cJSON *j = json_object();
    json_set_str(j, "service", view->service);
    for (size_t i = 0; i < FIELDS; i++) {
        double value = record_number(view, &fields[i]);
        if (value >= 0) {
            json_add(j, fields[i].name, json_number(value));
        }
    }
    return j;
}

char *fleet_snapshot_text(const struct fleet *f, const struct fleet_snapshot *snapshot)
{
    struct cJSON *services = json_object(), *whole = json_object();
    for (size_t i = 0; i < snapshot->count; i++) {
        const char *name = snapshot->views[i].service;
        struct cJSON *view = fleet_view_json(&snapshot->views[i]);
        struct cJSON *metrics = f->ports.metrics ? f->ports.metrics(f->ports.arg, name) : NULL;
        if (metrics) {
            json_set(view, "metrics", metrics);
        }
        json_set(services, name, view);
    }
    json_set_num(whole, "now_ms", (double)snapshot->now_ms);
    json_set(whole, "services", services);
    char *text = json_text(whole);
    json_free(whole);
    return text;
}
