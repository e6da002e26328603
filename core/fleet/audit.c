/* audit.c: the ring of decisions: what was wanted, from which inputs, what was done and why not
 * more.
 *
 * Records of one service that differ only in their figures are merged while nothing changes, so
 * that a quiet day does not push a busy hour out. A fact is told for a changed result and for a new
 * reason to hold, not for every evaluation. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const char *const action_names[FLEET_ACTIONS] = {"no_change", "scale_up", "scale_down",
                                                        "hold"};
static const char *const action_words[FLEET_ACTIONS] = {"no change", "scale up", "scale down",
                                                        "hold"};
static const char *const rule_names[FLEET_RULES] = {
    [FLEET_RULE_NONE] = "",
    [FLEET_RULE_POLICY_ERROR] = "policy_error",
    [FLEET_RULE_STALE] = "stale",
    [FLEET_RULE_SATURATION] = "saturation",
    [FLEET_RULE_MIN] = "min",
    [FLEET_RULE_MAX] = "max",
    [FLEET_RULE_COOLDOWN] = "cooldown",
    [FLEET_RULE_AFTER_UP] = "after_up",
    [FLEET_RULE_ROLLOUT] = "rollout",
    [FLEET_RULE_BACK_OFF] = "back_off",
    [FLEET_RULE_BUSY] = "busy",
    [FLEET_RULE_MANUAL] = "manual",
    [FLEET_RULE_ENGINE_DOWN] = "engine_down",
    [FLEET_RULE_CHURN] = "churn",
    [FLEET_RULE_STEP] = "step",
    [FLEET_RULE_RECOMMEND] = "recommend",
    [FLEET_RULE_SHADOW] = "shadow",
    [FLEET_RULE_PAUSED] = "paused",
    [FLEET_RULE_PINNED] = "pinned",
};

static void clear(struct decision *d)
{
    mem_free(d->service);
    mem_free(d->policy);
    mem_free(d->origin);
    mem_free(d->reason);
    mem_free(d->shadows);
    *d = (struct decision){0};
}

static void put_copy(struct decision *to, const struct decision *d)
{
    *to = *d;
    to->service = mem_copy(d->service ? d->service : "");
    to->policy = mem_copy(d->policy ? d->policy : "");
    to->origin = mem_copy(d->origin ? d->origin : "");
    to->reason = mem_copy(d->reason ? d->reason : "");
    to->shadows = mem_copy(d->shadows);
    if (strlen(to->reason) >= LIMIT_REASON_BYTES) {
        to->reason[LIMIT_REASON_BYTES - 1] = '\0';
    }
}

static struct decision *last_of(const struct service *s)
{
    const struct fleet *f = s->fleet;
    if (!s->decision || f->decision_count - (s->decision - 1) > LIMIT_DECISIONS) {
        return NULL;
    }
    return (struct decision *)&f->decisions[(s->decision - 1) % LIMIT_DECISIONS];
}

const struct decision *fleet_audit_last(const struct service *s)
{
    return last_of(s);
}

/* Figures may differ, rules may not. */
static bool same_rules(const struct decision *a, const struct decision *b)
{
    bool same = a->constraint_count == b->constraint_count;
    for (unsigned n = 0; same && n < a->constraint_count; n++) {
        same = a->constraints[n].rule == b->constraints[n].rule;
    }
    return same;
}

static bool alike(const struct decision *a, const struct decision *b)
{
    bool quiet = a->action == FLEET_NO_CHANGE || a->action == FLEET_HOLD;
    return quiet && a->action == b->action && a->held == b->held && a->want == b->want &&
           a->was == b->was && a->result == b->result &&
           a->policy_generation == b->policy_generation && str_same(a->policy, b->policy) &&
           same_rules(a, b);
}

static void tell(struct service *s, const struct decision *d)
{
    bool changed = d->was != d->result;
    bool held_anew = d->held != FLEET_RULE_NONE && d->held != s->told;
    if (!changed && !held_anew) {
        return;
    }
    s->told = d->held;
    char *detail = mem_printf("%u -> %u: %s%s%s", d->was, d->result, d->reason ? d->reason : "",
                              d->held ? "; held by " : "", rule_names[d->held]);
    fleet_tell(s->fleet, "decision", s, NULL, action_words[d->action], detail,
               d->held == FLEET_RULE_POLICY_ERROR || d->held == FLEET_RULE_STALE);
    mem_free(detail);
}

void fleet_audit_record(struct service *s, const struct decision *d)
{
    struct fleet *f = s->fleet;
    uint64_t wall_ms = f->ports.wall_ms(f->ports.arg);
    struct decision *last = last_of(s);
    struct decision *to;
    uint64_t first_ms = wall_ms;
    uint32_t count = 1;
    if (last && alike(last, d)) {
        to = last;
        first_ms = last->wall_ms;
        count = last->count + 1;
    } else {
        to = &f->decisions[f->decision_count % LIMIT_DECISIONS];
        s->decision = ++f->decision_count;
    }
    clear(to);
    put_copy(to, d);
    mem_free(to->service);
    to->service = mem_copy(s->name);
    to->inputs.service = d->inputs.service ? to->service : NULL;
    to->wall_ms = first_ms;
    to->last_wall_ms = wall_ms;
    to->count = count;
    tell(s, to);
}

void fleet_audit_free(struct fleet *f)
{
    for (unsigned at = 0; at < LIMIT_DECISIONS; at++) {
        clear(&f->decisions[at]);
    }
}

static struct cJSON *constraints_json(const struct decision *d)
{
    struct cJSON *list = json_array();
    for (unsigned n = 0; n < d->constraint_count; n++) {
        struct cJSON *one = json_object();
        json_set_str(one, "rule", rule_names[d->constraints[n].rule]);
        json_set_num(one, "before", d->constraints[n].before);
        json_set_num(one, "after", d->constraints[n].after);
        json_set(list, NULL, one);
    }
    return list;
}

struct cJSON *fleet_audit_json(const struct decision *d)
{
    struct cJSON *j = json_object();
    char at[32]; /* clock_iso needs 25 */
    clock_iso(d->wall_ms, at, sizeof at);
    json_set_str(j, "at", at);
    json_set_num(j, "wall_ms", (double)d->wall_ms);
    json_set_num(j, "last_wall_ms", (double)d->last_wall_ms);
    json_set_num(j, "count", d->count);
    json_set_str(j, "service", d->service);
    json_set_str(j, "policy", d->policy);
    json_set_str(j, "origin", d->origin);
    json_set_num(j, "generation", d->policy_generation);
    json_set(j, "inputs", d->inputs.service ? fleet_view_json(&d->inputs) : json_object());
    if (d->want < 0) {
        json_set(j, "want", NULL);
    } else {
        json_set_num(j, "want", (double)d->want);
    }
    json_set_num(j, "was", d->was);
    json_set_num(j, "result", d->result);
    json_set_str(j, "action", action_names[d->action]);
    json_set_str(j, "reason", d->reason);
    json_set_str(j, "held_by", rule_names[d->held]);
    json_set(j, "constraints", constraints_json(d));
    if (d->shadows) {
        json_set(j, "shadows", json_parse(d->shadows, strlen(d->shadows)));
    }
    return j;
}

struct cJSON *fleet_decisions(const struct fleet *f, const char *service, uint64_t since_wall_ms)
{
    struct cJSON *list = json_array();
    uint64_t from = f->decision_count > LIMIT_DECISIONS ? f->decision_count - LIMIT_DECISIONS : 0;
    for (uint64_t at = from; at < f->decision_count; at++) {
        const struct decision *d = &f->decisions[at % LIMIT_DECISIONS];
        if ((!service || str_same(service, d->service)) && d->last_wall_ms >= since_wall_ms) {
            json_set(list, NULL, fleet_audit_json(d));
        }
    }
    if (service && !json_first(list) && !fleet_service_find(f, service)) {
        json_free(list);
        return NULL;
    }
    struct cJSON *answer = json_object();
    json_set(answer, "decisions", list);
    return answer;
}
