/* operate.c: what operators ask for. Each answers with {"ok":true,...} or {"ok":false,"error":...}
 * and leaves a fact that names who asked. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

static struct cJSON *fine(void)
{
    struct cJSON *answer = json_object();
    json_set_bool(answer, "ok", true);
    return answer;
}

/* Takes `error`. */
static struct cJSON *refuse(char *error)
{
    struct cJSON *answer = json_object();
    json_set_bool(answer, "ok", false);
    json_set_str(answer, "error", error);
    mem_free(error);
    return answer;
}

static struct cJSON *no_such_service(const struct fleet *f, const char *name)
{
    struct buf names;
    buf_init(&names, LIMIT_REASON_BYTES);
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        const struct service *s = list_owner(n, struct service, node);
        if (!s->gone) {
            (void)buf_printf(&names, "%s%s", names.len ? ", " : "", s->name);
        }
    }
    char *error = mem_printf("no such service: %s: services are %s", name,
                             names.len ? buf_str(&names) : "not configured");
    buf_free(&names);
    return refuse(error);
}

/* The service when it is one of ours to start; else NULL and *ret_answer says why. */
static struct service *managed(struct fleet *f, const char *name, struct cJSON **ret_answer)
{
    struct service *s = name ? fleet_service_find(f, name) : NULL;
    if (!s || s->gone) {
        *ret_answer = no_such_service(f, name ? name : "");
        return NULL;
    }
    if (s->spec.is_static) {
        *ret_answer = refuse(
            mem_printf("%s has backends of its own: they are not ours to start or stop", name));
        return NULL;
    }
    return s;
}

static void tell(struct service *s, const struct instance *i, const char *what, const char *who)
{
    char *detail = mem_printf("by %s", who);
    fleet_tell(s->fleet, i ? "instance" : "service", s, i, what, detail, false);
    mem_free(detail);
}

static void record_by_hand(struct service *s, uint32_t want, uint64_t hold_ms, const char *who)
{
    char *reason =
        mem_printf("set by hand by %s, held for %llu s", who, (unsigned long long)(hold_ms / 1000));
    char policy[] = "manual";
    const struct decision d = {
        .policy = policy,
        .reason = reason,
        .want = want,
        .was = s->desired,
        .result = want,
        .action = want > s->desired   ? FLEET_SCALE_UP
                  : want < s->desired ? FLEET_SCALE_DOWN
                                      : FLEET_NO_CHANGE,
    };
    fleet_audit_record(s, &d);
    mem_free(reason);
}

struct cJSON *fleet_scale(struct fleet *f, const char *service, uint32_t instances,
                          uint64_t hold_ms, const char *who, uint64_t now_ms)
{
    struct cJSON *answer = NULL;
    f->now_ms = now_ms;
    struct service *s = managed(f, service, &answer);
    if (!s) {
        return answer;
    }
    if (instances < s->spec.min || instances > s->spec.max) {
        return refuse(mem_printf("%s: %u is outside of min %u and max %u: change them in the "
                                 "configuration and reload",
                                 service, instances, s->spec.min, s->spec.max));
    }
    if (!s->settled) {
        return refuse(mem_printf("%s: the engine is not reached yet (%s): try again later", service,
                                 f->engine_text));
    }
    if (fleet_scale_barred(s, FLEET_BY_OPERATOR)) {
        return refuse(mem_printf("%s is pinned to %u: change `pinned` or `mode` of its scale in "
                                 "the configuration and reload",
                                 service, s->spec.pinned));
    }
    record_by_hand(s, instances, hold_ms, who);
    answer = fine();
    json_set_str(answer, "service", s->name);
    json_set_num(answer, "was", s->desired);
    json_set_num(answer, "instances", instances);
    json_set_num(answer, "held_for_ms", (double)hold_ms);
    s->manual_until_ms = now_ms + hold_ms;
    fleet_scale_set(s, instances, FLEET_BY_OPERATOR);
    fleet_service_reconcile(s);
    fleet_settle(f);
    return answer;
}

static void record_approved(struct service *s, const char *who)
{
    const struct decision *last = fleet_audit_last(s);
    struct decision d = {
        .policy = mem_copy(last ? last->policy : s->spec.policy),
        .origin = mem_copy(last ? last->origin : ""),
        .reason = mem_printf("approved by %s: %s", who, last ? last->reason : ""),
        .want = s->recommendation,
        .was = s->desired,
        .result = s->recommendation,
        .action = s->recommendation > s->desired ? FLEET_SCALE_UP : FLEET_SCALE_DOWN,
    };
    fleet_audit_record(s, &d);
    mem_free(d.policy);
    mem_free(d.origin);
    mem_free(d.reason);
}

struct cJSON *fleet_approve(struct fleet *f, const char *service, const char *who, uint64_t now_ms)
{
    struct cJSON *answer = NULL;
    f->now_ms = now_ms;
    struct service *s = managed(f, service, &answer);
    if (!s) {
        return answer;
    }
    if (s->spec.mode != FLEET_RECOMMEND) {
        return refuse(
            mem_printf("%s is %s: only what a service with mode = \"recommend\" waits for "
                       "can be approved",
                       service, fleet_mode_name(s->spec.mode)));
    }
    if (!s->recommended || s->stopped) {
        return refuse(
            mem_printf("%s: nothing is recommended: it has the %u instances that its "
                       "policy wants, or something keeps it from more: see `tidegate decisions %s`",
                       service, s->desired, service));
    }
    record_approved(s, who);
    answer = fine();
    json_set_str(answer, "service", s->name);
    json_set_num(answer, "was", s->desired);
    json_set_num(answer, "instances", s->recommendation);
    fleet_scale_set(s, s->recommendation, FLEET_BY_OPERATOR);
    fleet_service_reconcile(s);
    fleet_settle(f);
    return answer;
}

struct cJSON *fleet_deploy(struct fleet *f, const char *service, const char *who, uint64_t now_ms)
{
    struct cJSON *answer = NULL;
    f->now_ms = now_ms;
    struct service *s = managed(f, service, &answer);
    if (!s) {
        return answer;
    }
    if (!s->settled) {
        return refuse(mem_printf("%s: the engine is not reached yet (%s): try again later", service,
                                 f->engine_text));
    }
    char *why = mem_printf("by %s", who);
    fleet_service_renew(s, why);
    mem_free(why);
    answer = fine();
    json_set_str(answer, "service", s->name);
    json_set_num(answer, "generation", s->generation);
    fleet_service_reconcile(s);
    fleet_settle(f);
    return answer;
}

/* Marks all instances of that id or address; returns their ids, or NULL when there is none. */
static struct cJSON *mark_drained(struct fleet *f, const char *backend, bool drain, const char *who)
{
    struct cJSON *ids = NULL;
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        for (struct list *m = s->instances.next; m != &s->instances; m = m->next) {
            struct instance *i = list_owner(m, struct instance, node);
            if (strcmp(i->id, backend) != 0 && strcmp(i->address, backend) != 0) {
                continue;
            }
            ids = ids ? ids : json_array();
            json_add_str(ids, i->id);
            i->drained = drain;
            fleet_keep_drain(i);
            tell(s, i, drain ? "drained" : "undrained", who);
        }
    }
    return ids;
}

struct cJSON *fleet_drain(struct fleet *f, const char *backend, bool drain, const char *who,
                          uint64_t now_ms)
{
    f->now_ms = now_ms;
    struct cJSON *ids = backend && *backend ? mark_drained(f, backend, drain, who) : NULL;
    if (!ids) {
        return refuse(mem_printf("no such backend: %s: give the id or address of one that "
                                 "`status` lists",
                                 backend ? backend : ""));
    }
    struct cJSON *answer = fine();
    json_set(answer, "backends", ids);
    json_set_bool(answer, "draining", drain);
    f->roster_due = true;
    fleet_settle(f);
    return answer;
}

struct cJSON *fleet_restart(struct fleet *f, const char *instance, const char *who, uint64_t now_ms)
{
    f->now_ms = now_ms;
    struct instance *i = instance ? map_get(&f->instances, instance) : NULL;
    if (!i || !fleet_alive(i)) {
        return refuse(mem_printf("no such instance: %s: give the id of one that `status` lists",
                                 instance ? instance : ""));
    }
    if (i->backend) {
        return refuse(mem_printf("%s is not ours to restart", instance));
    }
    i->doomed = true;
    tell(i->service, i, "restart wanted", who);
    struct cJSON *answer = fine();
    json_set_str(answer, "instance", i->id);
    fleet_service_reconcile(i->service);
    fleet_settle(f);
    return answer;
}

struct cJSON *fleet_stop(struct fleet *f, const char *service, const char *who, uint64_t now_ms)
{
    struct cJSON *answer = NULL;
    f->now_ms = now_ms;
    struct service *s = managed(f, service, &answer);
    if (!s) {
        return answer;
    }
    s->stopped = true;
    fleet_keep_stopped(s);
    tell(s, NULL, "stop wanted", who);
    answer = fine();
    json_set_str(answer, "service", s->name);
    fleet_service_reconcile(s);
    fleet_settle(f);
    return answer;
}

void fleet_stop_all(struct fleet *f, uint64_t now_ms)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        list_owner(n, struct service, node)->stopped = true;
    }
    fleet_tick(f, now_ms);
}

bool fleet_idle(const struct fleet *f)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        const struct service *s = list_owner(n, struct service, node);
        for (struct list *m = s->instances.next; m != &s->instances; m = m->next) {
            if (!list_owner(m, struct instance, node)->backend) {
                return false;
            }
        }
    }
    return true;
}
