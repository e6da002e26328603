/* scale.c: asks the policies how many instances there should be, and applies what the guard rails
 * (rails.c) leave of their answers. Each evaluation is recorded with all that changed it. */
#include "fleet/fleet_private.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

/* A policy that goes to and fro costs starts for nothing: it may add, but for a while not take away. */
static void note_turns(struct service *s)
{
    const struct rails *r = &s->spec.rails;
    uint64_t now_ms = s->fleet->now_ms;
    if (!r->churn_changes ||
        fleet_pace_turns(&s->pace, r->churn_window_ms, now_ms) <= r->churn_changes) {
        return;
    }
    s->pace.frozen_until_ms = now_ms + r->churn_freeze_ms;
    s->pace.turns_from = s->pace.count;
    char *detail =
        mem_printf("more than %u changes of direction within %u s: no down for %u s",
                   r->churn_changes, r->churn_window_ms / 1000, r->churn_freeze_ms / 1000);
    fleet_tell(s->fleet, "service", s, NULL, "downs are frozen", detail, true);
    mem_free(detail);
}

enum fleet_rule fleet_scale_barred(const struct service *s, enum fleet_cause cause)
{
    static const enum fleet_rule rules[FLEET_MODES] = {
        [FLEET_ACTIVE] = FLEET_RULE_NONE,   [FLEET_RECOMMEND] = FLEET_RULE_RECOMMEND,
        [FLEET_SHADOW] = FLEET_RULE_SHADOW, [FLEET_PAUSED] = FLEET_RULE_PAUSED,
        [FLEET_PINNED] = FLEET_RULE_PINNED,
    };
    bool asked = cause == FLEET_BY_OPERATOR || cause == FLEET_BY_REQUEST;
    bool free = cause == FLEET_BY_CONFIGURATION || (asked && s->spec.mode != FLEET_PINNED);
    return free ? FLEET_RULE_NONE : rules[s->spec.mode];
}

bool fleet_scale_set(struct service *s, uint32_t desired, enum fleet_cause cause)
{
    uint64_t now_ms = s->fleet->now_ms;
    if (fleet_scale_barred(s, cause)) {
        return false;
    }
    bool is_step = cause != FLEET_BY_REQUEST && cause != FLEET_BY_SILENCE;
    if (is_step && desired > s->desired) {
        s->changed_up_ms = now_ms;
    } else if (is_step && desired < s->desired) {
        s->changed_down_ms = now_ms;
    }
    if (is_step && desired != s->desired) {
        fleet_pace_note(&s->pace, s->desired, desired, cause == FLEET_BY_POLICY, now_ms);
    }
    s->desired = desired;
    if (cause == FLEET_BY_POLICY) {
        note_turns(s);
    }
    s->recommended = false;
    fleet_keep_scale(s);
    return true;
}

/* ---- Asking ---- */

static struct decision blank(const struct service *s)
{
    return (struct decision){
        .policy = (char *)s->spec.policy, /* the record copies */
        .inputs = s->asked,
        .want = -1,
        .was = s->desired,
        .result = s->desired,
    };
}

/* The end of every evaluation. */
static void conclude(struct service *s, struct decision *d, bool error)
{
    uint32_t recommendation = s->recommended ? s->recommendation : s->desired;
    fleet_rails_judge(s, d, error);
    if (s->recommended && s->recommendation != recommendation) {
        s->told = FLEET_RULE_NONE; /* each new one is told */
    }
    fleet_audit_record(s, d);
    s->asking = false;
    if (d->result == d->was || !fleet_scale_set(s, d->result, FLEET_BY_POLICY)) {
        return;
    }
    s->pace.saturated = d->result > d->was ? 0 : s->pace.saturated;
    s->told = FLEET_RULE_NONE;
    fleet_service_reconcile(s);
}

static void no_answer(struct service *s)
{
    struct decision d = blank(s);
    char reason[] = "no answer from the policy";
    d.reason = reason;
    conclude(s, &d, true);
}

/* Asked together with others when its time is near: fewer messages. */
static bool nearly_due(const struct service *s, uint64_t now_ms)
{
    return s->spec.scaled && s->settled && !s->gone && !s->stopped && !fleet_zero_rests(s) &&
           now_ms + s->spec.scale_interval_ms / 10 >= s->ask_ms;
}

static void ask(struct fleet *f)
{
    struct fleet_view *views = mem_array(f->by_name.count, sizeof *views);
    size_t count = 0;
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        if (!nearly_due(s, f->now_ms)) {
            continue;
        }
        s->ask_ms = f->now_ms + s->spec.scale_interval_ms;
        if (s->asking) {
            no_answer(s);
        }
        fleet_view_take(s, &s->asked);
        s->asking = true;
        views[count++] = s->asked;
    }
    const struct fleet_snapshot snapshot = {.now_ms = f->now_ms, .views = views, .count = count};
    f->ports.ask(f->ports.arg, &snapshot);
    mem_free(views);
}

static void end_holds(struct fleet *f)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        if (s->manual_until_ms && f->now_ms >= s->manual_until_ms) {
            fleet_keep_scale(s);
        }
    }
}

void fleet_scale_tick(struct fleet *f)
{
    end_holds(f);
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        const struct service *s = list_owner(n, struct service, node);
        if (nearly_due(s, f->now_ms) && f->now_ms >= s->ask_ms) {
            ask(f);
            return;
        }
    }
}

/* ---- Deciding ---- */

static void decide(struct service *s, const struct fleet_answer *answer, uint32_t generation)
{
    struct decision d = blank(s);
    bool possible = !answer->given || (answer->want >= 0 && answer->want <= UINT32_MAX);
    d.policy_generation = generation;
    d.policy = (char *)(answer->policy ? answer->policy : s->spec.policy);
    d.origin = (char *)answer->origin;
    d.reason = (char *)(answer->error ? answer->error
                        : possible    ? answer->reason
                                      : "the policy answered an impossible number");
    d.want = answer->given && possible ? (int64_t)llround(answer->want) : -1;
    if (answer->shadows) {
        fleet_shadow_take(s, answer->shadows, &d);
        struct cJSON *shadows = fleet_shadow_json(s, false);
        d.shadows = shadows ? json_text(shadows) : NULL;
        json_free(shadows);
    }
    conclude(s, &d, answer->error || !possible);
    mem_free(d.shadows);
}

static void take_answer(struct fleet *f, const struct fleet_answer *answer, uint32_t generation)
{
    struct service *s = fleet_service_find(f, answer->service);
    if (s && s->asking && s->settled && !s->gone) {
        decide(s, answer, generation);
    }
}

void fleet_on_answer(struct fleet *f, const struct fleet_answer *answer, uint32_t generation,
                     uint64_t now_ms)
{
    f->now_ms = now_ms;
    take_answer(f, answer, generation);
    fleet_settle(f);
}

void fleet_on_decisions(struct fleet *f, const struct cJSON *decisions, uint32_t generation,
                        uint64_t now_ms)
{
    f->now_ms = now_ms;
    const struct cJSON *answers = json_get(decisions, "services");
    for (struct cJSON *one = json_first(answers); one; one = json_next(one)) {
        const struct fleet_answer answer = {
            .service = json_name(one),
            .policy = json_str(one, "policy", NULL),
            .origin = json_str(one, "origin", NULL),
            .reason = json_str(one, "reason", NULL),
            .error = json_str(one, "error", NULL),
            .given = json_get(one, "want") && json_kind(json_get(one, "want")) != JSON_NULL,
            .want = json_num(one, "want", -1),
            .shadows = json_get(one, "shadows"),
        };
        take_answer(f, &answer, generation);
    }
    fleet_settle(f);
}
