/* scale.c: asks the policies how many instances there should be, and holds their answers to what no
 * policy may do.
 *
 * The guard rails, in this order: error or no answer, stale samples, min and max, cooldown, work
 * under way, an operator's hand, engine down. Each evaluation is recorded with the one that held
 * it. */
#include "fleet/fleet_private.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

void fleet_scale_set(struct service *s, uint32_t desired)
{
    if (desired > s->desired) {
        s->changed_up_ms = s->fleet->now_ms;
    } else if (desired < s->desired) {
        s->changed_down_ms = s->fleet->now_ms;
    }
    s->desired = desired;
    fleet_keep_scale(s);
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

static void no_answer(struct service *s)
{
    struct decision d = blank(s);
    char reason[] = "no answer from the policy";
    d.reason = reason;
    d.action = FLEET_HOLD;
    d.held = FLEET_HELD_POLICY_ERROR;
    fleet_audit_record(s, &d);
    s->asking = false;
}

/* Asked together with others when its time is near: fewer messages. */
static bool nearly_due(const struct service *s, uint64_t now_ms)
{
    return s->spec.scaled && s->settled && !s->gone && !s->stopped &&
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

static bool within(uint64_t at_ms, uint32_t cooldown_ms, uint64_t now_ms)
{
    return at_ms && now_ms - at_ms < cooldown_ms;
}

/* An up waits for the last up only; a down for the last change of either kind, since new capacity needs
 * time to show. */
static bool cooling(const struct service *s, bool up)
{
    uint64_t now_ms = s->fleet->now_ms;
    return up ? within(s->changed_up_ms, s->spec.up_cooldown_ms, now_ms)
              : within(s->changed_up_ms, s->spec.down_cooldown_ms, now_ms) ||
                    within(s->changed_down_ms, s->spec.down_cooldown_ms, now_ms);
}

/* More may be started beside those that start and those that leave: demand does not wait. Not while a
 * deploy rolls, or while starts fail. */
static bool busy(const struct service *s, bool up)
{
    struct census c;
    fleet_census(s, &c);
    if (up) {
        return c.old || s->failures;
    }
    return c.launching || c.old || c.leaving || c.current != s->desired;
}

static bool stale(const struct service *s)
{
    struct load load;
    fleet_load(s, &load);
    return !load.fresh || load.fresh * 2 < load.expected;
}

/* What keeps a change from `was` to `result`; FLEET_HELD_NOT: nothing. */
static enum fleet_held obstacle(const struct service *s, bool up)
{
    if (cooling(s, up)) {
        return FLEET_HELD_COOLDOWN;
    }
    if (busy(s, up)) {
        return FLEET_HELD_BUSY;
    }
    if (s->fleet->now_ms < s->manual_until_ms) {
        return FLEET_HELD_MANUAL;
    }
    return fleet_can_act(s->fleet) ? FLEET_HELD_NOT : FLEET_HELD_ENGINE_DOWN;
}

static void hold(struct decision *d, enum fleet_held held)
{
    d->held = held;
    d->result = d->was;
    d->action = FLEET_HOLD;
}

static void judge(const struct service *s, struct decision *d)
{
    struct load load;
    fleet_load(s, &load);
    bool wants = d->want >= 0 && d->want != d->was;
    /* While all instances are still warming up, "no opinion" is no trouble. */
    if (stale(s) && (wants || load.expected)) {
        hold(d, fleet_can_act(s->fleet) ? FLEET_HELD_STALE : FLEET_HELD_ENGINE_DOWN);
        return;
    }
    if (!wants) {
        return;
    }
    uint32_t result = (uint32_t)d->want;
    if (d->want < s->spec.min) {
        result = s->spec.min;
        d->held = FLEET_HELD_MIN;
    } else if (d->want > s->spec.max) {
        result = s->spec.max;
        d->held = FLEET_HELD_MAX;
    }
    if (result == d->was) {
        hold(d, d->held);
        return;
    }
    enum fleet_held held = obstacle(s, result > d->was);
    if (held) {
        hold(d, held);
        return;
    }
    d->result = result;
    d->action = result > d->was ? FLEET_SCALE_UP : FLEET_SCALE_DOWN;
}

static void decide(struct service *s, const struct fleet_answer *answer, uint32_t generation)
{
    struct decision d = blank(s);
    d.policy_generation = generation;
    d.policy = (char *)(answer->policy ? answer->policy : s->spec.policy);
    d.origin = (char *)answer->origin;
    d.reason = (char *)answer->reason;
    if (answer->error || (answer->given && !(answer->want >= 0 && answer->want <= UINT32_MAX))) {
        d.reason =
            (char *)(answer->error ? answer->error : "the policy answered an impossible number");
        hold(&d, FLEET_HELD_POLICY_ERROR);
    } else {
        d.want = answer->given ? (int64_t)llround(answer->want) : -1;
        judge(s, &d);
    }
    fleet_audit_record(s, &d);
    s->asking = false;
    if (d.result != d.was) {
        fleet_scale_set(s, d.result);
        s->told = FLEET_HELD_NOT;
        fleet_service_reconcile(s);
    }
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
            .given = json_kind(json_get(one, "want")) == JSON_NUMBER,
            .want = json_num(one, "want", -1),
        };
        take_answer(f, &answer, generation);
    }
    fleet_settle(f);
}
