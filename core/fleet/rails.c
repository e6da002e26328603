/* rails.c: the guard rails: what no policy may do, whatever it answers.
 *
 * A number goes through the rules one after the other; each that changes it is written down with what it was
 * before and after, so that the record of a decision says who had the last word:
 *
 *   policy_error  no number, or none that makes sense: nothing changes
 *   stale         figures are missing or old: no down; an up stands on figures that there are
 *   saturation    all are full, none starts, and the policy wants no more: half as many more
 *   min, max      of the configuration
 *   cooldown      an up waits for the last up, a down for the last step of either kind
 *   rollout       instances are being replaced: nothing changes
 *   back_off      starts fail: no more of them
 *   busy          no down while something starts or leaves
 *   manual        an operator's number holds
 *   engine_down   nothing can be done
 *   after_up      no down so soon after an up, whatever the cooldown
 *   churn         it went to and fro too often: downs are frozen
 *   step          so many at a time, up and down
 *   recommend, shadow, paused, pinned    the service's mode: what came of it so far is not done
 *
 * Called by: scale.c, once for each evaluation. */
#include "fleet/fleet_private.h"

#include <math.h>

#include "base/ban.h"

/* What a rule leaves of the step from d->was to d->result. */
typedef uint32_t limit_fn(const struct service *s, const struct decision *d);

static bool up(const struct decision *d)
{
    return d->result > d->was;
}

static void constrain(struct decision *d, enum fleet_rule rule, uint32_t after)
{
    if (d->constraint_count < FLEET_CONSTRAINTS) {
        d->constraints[d->constraint_count++] =
            (struct constraint){.rule = rule, .before = d->result, .after = after};
    }
    d->held = rule == FLEET_RULE_SATURATION ? d->held : rule;
    d->result = after;
}

/* ---- Figures ---- */

void fleet_rails_note_start(struct instance *i)
{
    struct service *s = i->service;
    uint64_t took_ms = i->fleet->now_ms - i->running_ms;
    if (i->adopted || i->backend || !i->running_ms) {
        return;
    }
    s->startup_ms[s->startup_count++ % FLEET_STARTS] =
        took_ms < FLEET_START_MOST_MS ? (uint32_t)took_ms : FLEET_START_MOST_MS;
    s->startup_most_ms = 0;
    for (unsigned n = 0; n < s->startup_count && n < FLEET_STARTS; n++) {
        s->startup_most_ms =
            s->startup_ms[n] > s->startup_most_ms ? s->startup_ms[n] : s->startup_most_ms;
    }
}

/* Every start may take as long as the longest one of late, and its work of starting is no load. */
bool fleet_rails_warm(const struct instance *i)
{
    uint64_t age_ms = i->fleet->now_ms - i->running_ms;
    return i->adopted || !i->running_ms || age_ms >= i->service->startup_most_ms;
}

static bool stale(const struct load *load)
{
    return !load->fresh || load->fresh * 2 < load->expected;
}

/* Full, and nothing starts that could help. What waits and how much is answered a second tell how long
 * one waits (Little's law). */
static bool saturated(const struct service *s, const struct load *load)
{
    const struct rails *r = &s->spec.rails;
    struct census c;
    fleet_census(s, &c);
    if (c.launching || !c.current_up) {
        return false;
    }
    double waiting = (double)fleet_service_queue(s);
    bool waits = waiting > 0 && s->figures.rate >= 0 &&
                 waiting * 1000 > s->figures.rate * r->saturation_wait_ms;
    return waits || (!stale(load) && load->cpu_percent > r->saturation_cpu);
}

static void judge_figures(struct service *s, struct decision *d)
{
    const struct rails *r = &s->spec.rails;
    struct load load;
    fleet_load(s, &load);
    /* While all instances are still warming up, "no opinion" is no trouble. */
    bool quiet = d->result == d->was && (!load.expected || d->held);
    if (stale(&load) && !up(d) && !quiet) {
        constrain(d, fleet_can_act(s->fleet) ? FLEET_RULE_STALE : FLEET_RULE_ENGINE_DOWN, d->was);
    }
    if (!(r->saturation_percent > 0)) {
        return;
    }
    s->pace.saturated = saturated(s, &load) ? s->pace.saturated + 1 : 0;
    double more = ceil(d->was * (1 + r->saturation_percent / 100) - 1e-9);
    if (s->pace.saturated >= r->saturation_times && !up(d) && more > d->was) {
        constrain(d, FLEET_RULE_SATURATION, more < UINT32_MAX ? (uint32_t)more : UINT32_MAX);
    }
}

/* ---- Rules ---- */

static uint32_t min(const struct service *s, const struct decision *d)
{
    uint32_t least = fleet_zero_least(s);
    return d->result < least ? least : d->result;
}

static uint32_t max(const struct service *s, const struct decision *d)
{
    return d->result > s->spec.max ? s->spec.max : d->result;
}

static bool within(uint64_t at_ms, uint32_t period_ms, uint64_t now_ms)
{
    return at_ms && now_ms - at_ms < period_ms;
}

/* An up waits for the last up only; a down for the last change of either kind, since new capacity needs
 * time to show. */
static uint32_t cooldown(const struct service *s, const struct decision *d)
{
    uint64_t now_ms = s->fleet->now_ms;
    bool waits = up(d) ? within(s->changed_up_ms, s->spec.up_cooldown_ms, now_ms)
                       : within(s->changed_up_ms, s->spec.down_cooldown_ms, now_ms) ||
                             within(s->changed_down_ms, s->spec.down_cooldown_ms, now_ms);
    return waits ? d->was : d->result;
}

static uint32_t after_up(const struct service *s, const struct decision *d)
{
    bool waits = !up(d) && within(s->changed_up_ms, s->spec.rails.after_up_ms, s->fleet->now_ms);
    return waits ? d->was : d->result;
}

static uint32_t rollout(const struct service *s, const struct decision *d)
{
    struct census c;
    fleet_census(s, &c);
    return c.old ? d->was : d->result;
}

static uint32_t back_off(const struct service *s, const struct decision *d)
{
    return up(d) && s->failures ? d->was : d->result;
}

/* More may be started beside those that start and those that leave: demand does not wait. */
static uint32_t busy(const struct service *s, const struct decision *d)
{
    struct census c;
    fleet_census(s, &c);
    bool waits = !up(d) && (c.launching || c.leaving || c.current != s->desired);
    return waits ? d->was : d->result;
}

static uint32_t manual(const struct service *s, const struct decision *d)
{
    return s->fleet->now_ms < s->manual_until_ms ? d->was : d->result;
}

static uint32_t engine_down(const struct service *s, const struct decision *d)
{
    return fleet_can_act(s->fleet) ? d->result : d->was;
}

static uint32_t churn(const struct service *s, const struct decision *d)
{
    return !up(d) && s->fleet->now_ms < s->pace.frozen_until_ms ? d->was : d->result;
}

static uint32_t step(const struct service *s, const struct decision *d)
{
    const struct rails *r = &s->spec.rails;
    uint64_t now_ms = s->fleet->now_ms;
    uint32_t least, most;
    if (up(d) && r->up_factor > 0) {
        fleet_pace_range(&s->pace, d->was, r->up_period_ms, now_ms, &least, &most);
        double limit = fmax(floor(least * r->up_factor), (double)least + r->up_count);
        limit = fmax(limit, d->was);
        return d->result > limit ? (uint32_t)limit : d->result;
    }
    if (!up(d) && r->down_percent > 0) {
        fleet_pace_range(&s->pace, d->was, r->down_period_ms, now_ms, &least, &most);
        uint32_t fewer = (uint32_t)(most * r->down_percent / 100);
        uint32_t limit = most - (fewer ? fewer : 1);
        limit = limit < d->was ? limit : d->was;
        return d->result < limit ? limit : d->result;
    }
    return d->result;
}

/* What would have been done waits for an operator's word, or for nothing. */
static void judge_mode(struct service *s, struct decision *d)
{
    enum fleet_rule mode = fleet_scale_barred(s, FLEET_BY_POLICY);
    s->recommended = mode == FLEET_RULE_RECOMMEND && d->result != d->was;
    if (s->recommended) {
        s->recommendation = d->result;
    }
    if (mode && d->result != d->was) {
        constrain(d, mode, d->was);
    }
}

static const struct {
    enum fleet_rule rule;
    limit_fn *limit;
} RULES[] = {
    {FLEET_RULE_MIN, min},           {FLEET_RULE_MAX, max},
    {FLEET_RULE_COOLDOWN, cooldown}, {FLEET_RULE_ROLLOUT, rollout},
    {FLEET_RULE_BACK_OFF, back_off}, {FLEET_RULE_BUSY, busy},
    {FLEET_RULE_MANUAL, manual},     {FLEET_RULE_ENGINE_DOWN, engine_down},
    {FLEET_RULE_AFTER_UP, after_up}, {FLEET_RULE_CHURN, churn},
    {FLEET_RULE_STEP, step},
};

void fleet_rails_judge(struct service *s, struct decision *d, bool error)
{
    d->result = !error && d->want >= 0 ? (uint32_t)d->want : d->was;
    if (error) {
        constrain(d, FLEET_RULE_POLICY_ERROR, d->was);
    }
    judge_figures(s, d);
    for (size_t n = 0; n < sizeof RULES / sizeof *RULES && d->result != d->was; n++) {
        uint32_t after = RULES[n].limit(s, d);
        if (after != d->result) {
            constrain(d, RULES[n].rule, after);
        }
    }
    judge_mode(s, d);
    if (d->result != d->was) {
        d->action = up(d) ? FLEET_SCALE_UP : FLEET_SCALE_DOWN;
    } else {
        d->action = d->constraint_count ? FLEET_HOLD : FLEET_NO_CHANGE;
    }
}
