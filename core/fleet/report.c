/* report.c: what `status` and `deploy --wait` show. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/circuit.h"

static void put_known(struct cJSON *to, const char *key, double value)
{
    if (value >= 0) {
        json_set_num(to, key, value);
    }
}

static const char *deploy_state(const struct service *s)
{
    if (s->failure.shown) {
        return "failed";
    }
    return s->deploying && !s->spec.is_static ? "rolling" : "done";
}

static struct cJSON *deploy_json(const struct service *s, bool with_logs)
{
    const struct failure *failure = &s->failure;
    struct cJSON *d = json_object();
    json_set_str(d, "state", deploy_state(s));
    json_set_num(d, "generation", s->generation);
    if (!failure->shown) {
        json_set_str(d, "reason", "");
        return d;
    }
    json_set_str(d, "reason", failure->reason);
    json_set_str(d, "instance", failure->instance);
    json_set_num(d, "failures", s->failures);
    if (s->not_before_ms > s->fleet->now_ms) {
        json_set_num(d, "next_try_s", (double)(s->not_before_ms - s->fleet->now_ms) / 1000);
    }
    if (with_logs) {
        json_set_str(d, "health_output", failure->health_output ? failure->health_output : "");
        json_set_str(d, "logs", failure->logs ? failure->logs : "");
    }
    return d;
}

struct cJSON *fleet_deploy_state(const struct fleet *f, const char *service)
{
    const struct service *s = fleet_service_find(f, service);
    return s && !s->gone ? deploy_json(s, true) : NULL;
}

/* Seconds since the engine started it, else since we know it. */
static double age_s(const struct instance *i, uint64_t now_ms)
{
    uint64_t wall_ms = clock_wall_ms();
    if (i->started_wall_ms && i->started_wall_ms <= wall_ms) {
        return (double)(wall_ms - i->started_wall_ms) / 1000;
    }
    return (double)(now_ms - i->created_ms) / 1000;
}

static const char *reason_of(const struct instance *i)
{
    const char *reason = i->reason;
    if (i->state == FLEET_WAITING && i->watched) {
        int status = 0;
        uint32_t attempts = 0;
        i->fleet->ports.probe_reason(i->fleet->ports.arg, i->id, &reason, &status, &attempts);
    }
    return reason ? reason : "";
}

static struct cJSON *instance_json(const struct instance *i, uint64_t now_ms)
{
    struct cJSON *j = json_object();
    json_set_str(j, "id", i->id);
    json_set_str(j, "engine_id", i->engine_id);
    json_set_str(j, "state", fleet_state_name(i->state));
    json_set_str(j, "address", i->address);
    json_set_num(j, "slot", i->slot);
    json_set_num(j, "index", i->place);
    json_set_num(j, "generation", i->generation);
    json_set_num(j, "age_s", age_s(i, now_ms));
    json_set_num(j, "restarts", i->restarts);
    json_set_num(j, "oom_kills", i->oom_kills);
    json_set_str(j, "reason", reason_of(i));
    json_set_bool(j, "drained", i->drained);
    if (i->weight > 0) {
        json_set_num(j, "weight", i->weight);
    }
    json_set_num(j, "pid", i->pid);
    if (!i->backend) {
        json_set_bool(j, "running", i->engine_state == ENGINE_RUNNING);
    }
    if (fleet_usage_fresh(i)) {
        json_set_num(j, "cpu_percent", i->usage.cpu_percent);
        json_set_num(j, "memory_percent", i->usage.memory_percent);
        json_set_num(j, "memory_bytes", (double)i->usage.last.memory_bytes);
        put_known(j, "received_bytes_per_second", i->usage.received_rate);
        put_known(j, "sent_bytes_per_second", i->usage.sent_rate);
    }
    struct board_sum sum = {0};
    if (i->slot != FLEET_NO_SLOT) {
        board_sum(i->fleet->board, (unsigned)i->slot, &sum);
    }
    if (i->slot != FLEET_NO_SLOT) {
        const struct board_circuit *c = board_circuit(i->fleet->board, (unsigned)i->slot);
        json_set_str(j, "circuit", board_circuit_name(board_circuit_state(c)));
        json_set_num(j, "circuit_opened", (double)board_get(&c->opened));
        json_set_num(j, "ejected", (double)board_get(&c->ejected));
    }
    json_set_num(j, "in_flight", (double)sum.in_flight);
    json_set_num(j, "requests", (double)(sum.answered + sum.outcomes[BOARD_NO_ANSWER]));
    json_set_num(j, "errors", (double)(sum.outcomes[BOARD_5XX] + sum.outcomes[BOARD_NO_ANSWER]));
    return j;
}

static struct cJSON *traffic_json(const struct service *s)
{
    struct cJSON *t = json_object();
    put_known(t, "rate", s->figures.rate);
    json_set_num(t, "in_flight", (double)fleet_service_in_flight(s));
    json_set_num(t, "queue", (double)fleet_service_queue(s));
    put_known(t, "p50_ms", s->figures.p50_ms);
    put_known(t, "p95_ms", s->figures.p95_ms);
    put_known(t, "p99_ms", s->figures.p99_ms);
    put_known(t, "error_rate", s->figures.error_rate);
    return t;
}

static struct cJSON *resources_json(const struct service *s)
{
    struct load load;
    fleet_load(s, &load);
    struct cJSON *r = json_object();
    put_known(r, "cpu_percent", load.cpu_percent);
    put_known(r, "memory_percent", load.memory_percent);
    return r;
}

struct counts {
    unsigned up, starting, draining;
};

static struct cJSON *instances_json(const struct service *s, uint64_t now_ms, struct counts *counts)
{
    struct cJSON *list = json_array();
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        json_set(list, NULL, instance_json(i, now_ms));
        counts->up += i->state == FLEET_UP;
        counts->starting +=
            i->state == FLEET_CREATING || i->state == FLEET_STARTING || i->state == FLEET_WAITING;
        counts->draining += i->state == FLEET_DRAINING;
    }
    return list;
}

static struct cJSON *service_json(const struct service *s, uint64_t now_ms)
{
    struct counts counts = {0};
    struct cJSON *instances = instances_json(s, now_ms, &counts);
    struct cJSON *j = json_object();
    json_set_str(j, "name", s->name);
    json_set_str(j, "source",
                 s->gone                     ? "gone"
                 : fleet_labelled(s->config) ? "labels"
                                             : json_str(s->config, "source", ""));
    json_set_num(j, "desired",
                 s->spec.is_static ? (double)json_count(instances) : (double)fleet_service_want(s));
    json_set_num(j, "min", s->spec.is_static ? 0 : s->spec.min);
    json_set_num(j, "max", s->spec.is_static ? 0 : s->spec.max);
    json_set_num(j, "up", counts.up);
    json_set_num(j, "starting", counts.starting);
    json_set_num(j, "draining", counts.draining);
    json_set_num(j, "generation", s->generation);
    json_set_bool(j, "rolling", s->deploying && !s->spec.is_static);
    json_set_bool(j, "stopped", s->stopped);
    json_set_num(j, "oom_kills", s->oom_kills);
    if (s->manual_until_ms > now_ms) {
        json_set_num(j, "manual_for_s", (double)(s->manual_until_ms - now_ms) / 1000);
    }
    struct cJSON *shadows = fleet_shadow_json(s, true);
    if (shadows) {
        json_set(j, "shadows", shadows);
    }
    json_set_str(j, "mode", fleet_mode_name(s->spec.mode));
    if (s->recommended) {
        json_set_num(j, "recommended", s->recommendation);
    }
    if (s->pace.frozen_until_ms > now_ms) {
        json_set_num(j, "frozen_for_s", (double)(s->pace.frozen_until_ms - now_ms) / 1000);
    }
    struct cJSON *zero = fleet_zero_json(s);
    if (zero) {
        json_set(j, "zero", zero);
    }
    const struct decision *last = fleet_audit_last(s);
    json_set(j, "last_decision", last ? fleet_audit_json(last) : NULL);
    json_set(j, "deploy", deploy_json(s, false));
    json_set(j, "resources", resources_json(s));
    json_set(j, "traffic", traffic_json(s));
    json_set(j, "instances", instances);
    return j;
}

static struct cJSON *engine_json(const struct fleet *f)
{
    struct cJSON *e = json_object();
    json_set_str(e, "name", f->engine ? f->engine->kind->name : "none");
    json_set_str(e, "state", f->engine_up ? "up" : "down");
    json_set_str(e, "description", f->engine_text);
    return e;
}

struct cJSON *fleet_names(const struct fleet *f)
{
    struct cJSON *names = json_array();
    for (const struct list *n = f->services.next; n != &f->services; n = n->next) {
        json_add_str(names, list_owner(n, struct service, node)->name);
    }
    return names;
}

struct cJSON *fleet_status(const struct fleet *f, const char *service, uint64_t now_ms)
{
    struct cJSON *services = json_array();
    bool found = false;
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        const struct service *s = list_owner(n, struct service, node);
        if (!service || !strcmp(service, s->name)) {
            json_set(services, NULL, service_json(s, now_ms));
            found = true;
        }
    }
    if (service && !found) {
        json_free(services);
        return NULL;
    }
    struct cJSON *status = json_object();
    json_set(status, "services", services);
    json_set(status, "engine", engine_json(f));
    return status;
}
