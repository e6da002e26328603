/* alert_report.c: alerts as people and metrics see them. */
#include "watch/alert_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

const char *alerts_state_name(enum alerts_state state)
{
    static const char *const names[ALERTS_STATES] = {"inactive", "pending", "firing", "resolved"};
    return names[state];
}

const char *alerts_severity_name(enum alerts_severity severity)
{
    static const char *const names[ALERTS_SEVERITIES] = {"info", "warning", "critical"};
    return names[severity];
}

/* "fires in 40s": what happens next by time alone. The caller owns it. */
static char *in_time(const char *what, int64_t at_ms, int64_t now_ms)
{
    char text[32];
    if (at_ms <= now_ms) {
        return mem_printf("%s now", what);
    }
    alert_duration_text((uint64_t)(at_ms - now_ms), text);
    return mem_printf("%s in %s", what, text);
}

static char *next_of_pending(const struct alerts *a, const struct alert *al, int64_t now_ms)
{
    const struct alert_rule *r = al->cell ? al->cell->rule : NULL;
    if (al->held_ms != NEVER) {
        return mem_printf("held: %s is under maintenance", al->service);
    } else if (a->maintenance && alert_maintained(a, al)) {
        return mem_copy("waits for the end of maintenance");
    }
    return r && al->pending_ms != NEVER
               ? in_time("fires", al->pending_ms + (int64_t)r->duration_ms, now_ms)
               : mem_copy("");
}

static char *next_of_firing(const struct alerts *a, const struct alert *al, int64_t now_ms)
{
    const struct alert_rule *r = al->cell ? al->cell->rule : NULL;
    bool again;
    if (al->clear_ms != NEVER && r) {
        uint64_t clear = r->keep_ms > r->settle_ms ? r->keep_ms : r->settle_ms;
        int64_t at = al->clear_ms + (int64_t)clear;
        return in_time("ends", at > al->flap_until_ms ? at : al->flap_until_ms, now_ms);
    }
    int64_t at = alert_told_next(a, al, &again);
    if (at == NEVER) {
        return mem_copy("");
    }
    if (al->told && !al->escalated && !al->ack_who && al->escalation.after_ms &&
        al->told_ms + (int64_t)al->escalation.after_ms < at) {
        return in_time("escalates", al->told_ms + (int64_t)al->escalation.after_ms, now_ms);
    }
    return in_time(again ? "told again" : "told", at, now_ms);
}

static char *next_of(const struct alerts *a, const struct alert *al, int64_t now_ms)
{
    bool again;
    int64_t at;
    switch (al->state) {
    case ALERTS_PENDING:
        return next_of_pending(a, al, now_ms);
    case ALERTS_FIRING:
        return next_of_firing(a, al, now_ms);
    case ALERTS_RESOLVED:
        at = alert_told_next(a, al, &again);
        return at == NEVER ? mem_copy("") : in_time("told", at, now_ms);
    case ALERTS_INACTIVE:
    case ALERTS_STATES:
        break;
    }
    return mem_copy("");
}

static void set_optional(struct cJSON *to, const char *key, const char *text)
{
    if (text && *text) {
        json_set_str(to, key, text);
    }
}

static void set_acknowledged(struct cJSON *to, const struct alert *al)
{
    char at[32];
    if (!al->ack_who) {
        return;
    }
    struct cJSON *ack = json_object();
    clock_iso(al->ack_wall_ms, at, sizeof at);
    json_set_str(ack, "who", al->ack_who);
    json_set_str(ack, "comment", al->ack_comment);
    json_set_str(ack, "at", at);
    json_set(to, "acknowledged", ack);
}

static struct cJSON *alert_json(const struct alerts *a, const struct alert *al,
                                struct alerts_now at)
{
    struct cJSON *one = json_object();
    int64_t now_ms = (int64_t)at.now_ms;
    int64_t since = al->state == ALERTS_PENDING ? al->pending_ms : al->firing_ms;
    int64_t age = since == NEVER || since > now_ms ? 0 : now_ms - since;
    char text[32];
    json_set_str(one, "name", al->name);
    json_set_str(one, "state", alerts_state_name(al->state));
    json_set_str(one, "severity", alerts_severity_name(al->severity));
    set_optional(one, "service", al->service);
    set_optional(one, "instance", al->instance);
    json_set(one, "labels", json_copy(al->labels));
    json_set_str(one, "fingerprint", al->fingerprint);
    if (al->has_value) {
        json_set_num(one, "value", al->value);
    }
    json_set_str(one, "message", alert_summary(al));
    clock_iso(al->starts_wall_ms && al->state != ALERTS_PENDING ? al->starts_wall_ms
                                                                : at.wall_ms - (uint64_t)age,
              text, sizeof text);
    json_set_str(one, "since", text);
    json_set_num(one, "since_s", (double)age / 1000);
    char *next = next_of(a, al, now_ms);
    json_set_str(one, "next", next);
    mem_free(next);
    set_optional(one, "silenced", al->silenced);
    set_optional(one, "inhibited", al->inhibited);
    if (al->shadow) {
        json_set_bool(one, "shadow", true);
    }
    if (al->held_ms != NEVER) {
        json_set_bool(one, "maintenance", true);
    }
    if (alert_flaps(al, now_ms)) {
        json_set_bool(one, "flapping", true);
    }
    json_set_bool(one, "told", al->told);
    if (al->escalated) {
        json_set_bool(one, "escalated", true);
    }
    set_acknowledged(one, al);
    return one;
}

struct cJSON *alerts_status(const struct alerts *a, struct alerts_now at)
{
    struct cJSON *out = json_object(), *list = json_array();
    size_t count = 0, all = 1;
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        all++;
    }
    struct alert **sorted = mem_array(all, sizeof *sorted);
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        if (al->state != ALERTS_INACTIVE) {
            if (al->state != ALERTS_RESOLVED) { /* that keeps its last words */
                alert_describe(al, (int64_t)at.now_ms);
            }
            sorted[count++] = al;
        }
    }
    qsort(sorted, count, sizeof *sorted, alert_by_weight);
    for (size_t i = 0; i < count; i++) {
        json_set(list, NULL, alert_json(a, sorted[i], at));
    }
    mem_free(sorted);
    struct alerts_figures f;
    alerts_figures(a, &f);
    json_set_bool(out, "ok", true);
    json_set(out, "alerts", list);
    json_set_num(out, "rules", (double)f.rules);
    json_set_num(out, "policy_errors", (double)f.policy_errors);
    json_set_num(out, "silences", (double)f.silences);
    return out;
}

void alerts_figures(const struct alerts *a, struct alerts_figures *ret_figures)
{
    struct alerts_figures f = {
        .rules = a->rule_count,
        .evaluations = a->evaluations,
        .policy_errors = a->policy_errors,
        .notifications = a->notifications,
    };
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        const struct alert *al = list_owner(l, struct alert, link);
        if (al->shadow) {
            f.shadows += al->state == ALERTS_FIRING;
            continue;
        }
        if (al->state != ALERTS_INACTIVE) {
            f.count[al->state][al->severity]++;
        }
        if (al->state == ALERTS_FIRING) {
            f.silenced += al->silenced[0] != '\0';
            f.inhibited += al->inhibited != NULL;
            f.acknowledged += al->ack_who != NULL;
        }
    }
    for (struct list *l = a->silences.next; l != &a->silences; l = l->next) {
        f.silences++;
    }
    *ret_figures = f;
}
