/* alert_states.c: the state machine of one alert; see the picture in alerts.h.
 *
 * Invariants: only `to` writes the state. An alert in a group fires, or ended and that is to be told.
 * Nothing is told of an episode that ended before anybody heard of it. */
#include "watch/alert_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static void to(struct alert *al, enum alerts_state state)
{
    al->state = state;
    al->dirty = true;
}

/* ---- Life ------------------------------------------------------------------------------- */

struct alert *alert_new(struct alerts *a, const char *name, enum alerts_severity severity,
                        const char *service, const char *instance, struct cJSON *labels)
{
    struct alert *al = mem_new(sizeof *al);
    al->name = mem_copy(name);
    al->service = mem_copy(service);
    al->instance = mem_copy(instance);
    al->severity = severity;
    al->labels = labels;
    alert_fingerprint(labels, al->fingerprint);
    al->pending_ms = al->firing_ms = al->clear_ms = al->held_ms = NEVER;
    al->told_ms = al->flap_until_ms = al->seen_ms = NEVER;
    list_init(&al->in_group);
    list_append(&a->active, &al->link);
    return al;
}

static struct alert *orphan(struct alerts *a, const struct cJSON *labels)
{
    char fingerprint[17];
    alert_fingerprint(labels, fingerprint);
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        if (!al->cell && !al->anomaly && str_same(al->fingerprint, fingerprint)) {
            return al;
        }
    }
    return NULL;
}

struct alert *alert_of_cell(struct alerts *a, struct alert_subject *s, struct alert_cell *cell)
{
    const struct alert_rule *r = cell->rule;
    struct cJSON *labels = alert_labels(r->labels, r->name, r->severity, s->service, s->instance);
    struct alert *al = orphan(a, labels);
    if (al) {
        json_free(labels);
    } else {
        al = alert_new(a, r->name, r->severity, s->service, s->instance, labels);
    }
    alert_adopt(al, cell);
    alert_silence_look(a, al);
    return al;
}

static void forget_acknowledgement(struct alert *al)
{
    mem_release(&al->ack_who);
    mem_release(&al->ack_comment);
    al->ack_wall_ms = 0;
}

void alert_free(struct alerts *a, struct alert *al)
{
    if (al->kept) {
        alerts_batch(a);
        a->ports.remove(a->ports.arg, "alert_state", al->fingerprint);
    }
    if (al->cell) {
        al->cell->alert = NULL;
    }
    alert_group_leave(al);
    list_remove(&al->link);
    forget_acknowledgement(al);
    mem_free(al->name);
    mem_free(al->service);
    mem_free(al->instance);
    mem_free(al->said);
    mem_free(al->changes);
    mem_free(al->incident);
    json_free(al->labels);
    json_free(al->annotations);
    json_free(al->channels);
    json_free(al->escalation.channels);
    mem_free(al);
}

void alert_adopt(struct alert *al, struct alert_cell *cell)
{
    const struct alert_rule *r = cell->rule;
    al->cell = cell;
    cell->alert = al;
    al->unit = r->unit;
    al->shadow = r->shadow;
    if (!al->told) { /* whoever heard of it hears of its end */
        json_free(al->channels);
        json_free(al->escalation.channels);
        al->channels = r->channels ? json_copy(r->channels) : NULL;
        al->escalation = r->escalation;
        al->escalation.channels = r->escalation.channels ? json_copy(r->escalation.channels) : NULL;
    }
    if (al->change_cap != r->flap_changes) {
        mem_release(&al->changes);
        al->change_cap = r->flap_changes;
        al->change_at = 0;
        al->changes = al->change_cap ? mem_array(al->change_cap, sizeof *al->changes) : NULL;
        for (uint32_t i = 0; i < al->change_cap; i++) {
            al->changes[i] = NEVER;
        }
    }
}

/* ---- Flapping --------------------------------------------------------------------------- */

bool alert_flaps(const struct alert *al, int64_t now_ms)
{
    return al->flap_until_ms != NEVER && now_ms < al->flap_until_ms;
}

static void note_change(const struct alerts *a, struct alert *al)
{
    if (!al->change_cap) {
        return;
    }
    al->changes[al->change_at] = a->now_ms;
    al->change_at = (al->change_at + 1) % al->change_cap;
    int64_t oldest = al->changes[al->change_at];
    if (oldest != NEVER) {
        al->flap_until_ms = oldest + (int64_t)al->cell->rule->flap_window_ms;
        al->dirty = true;
    }
}

/* Whether the condition holds, as a change when it did not before. */
static void note(const struct alerts *a, struct alert *al, bool holds)
{
    if (al->holds != holds && (al->state == ALERTS_FIRING || al->state == ALERTS_RESOLVED)) {
        note_change(a, al);
    }
    al->holds = holds;
}

/* ---- Ends ------------------------------------------------------------------------------- */

static bool worth_remembering(const struct alerts *a, const struct alert *al)
{
    if (!al->cell) {
        return false;
    }
    const struct alert_rule *r = al->cell->rule;
    if (al->told_ms != NEVER && a->now_ms - al->told_ms < (int64_t)r->cooldown_ms) {
        return true;
    }
    if (!al->change_cap) {
        return false;
    }
    int64_t last = al->changes[(al->change_at + al->change_cap - 1) % al->change_cap];
    return last != NEVER && a->now_ms - last < (int64_t)r->flap_window_ms;
}

void alert_put_away(struct alerts *a, struct alert *al)
{
    alert_group_leave(al);
    forget_acknowledgement(al);
    al->told = al->escalated = false;
    al->clear_ms = al->firing_ms = al->held_ms = NEVER;
    al->starts_wall_ms = al->ends_wall_ms = 0;
    if (al->cell && al->holds && al->pending_ms != NEVER) {
        to(al, ALERTS_PENDING); /* the next episode has begun already */
        return;
    }
    al->pending_ms = NEVER;
    to(al, ALERTS_INACTIVE);
    if (!worth_remembering(a, al)) {
        alert_free(a, al);
    }
}

static void resolve(struct alerts *a, struct alert *al)
{
    al->ends_wall_ms = a->wall_ms;
    al->pending_ms = al->held_ms = NEVER;
    alerts_fact_of(a, al, "alert resolved", "", false);
    to(al, ALERTS_RESOLVED);
    if (!al->told) {
        alert_put_away(a, al);
    }
}

void alert_end(struct alerts *a, struct alert *al)
{
    if (al->cell) {
        al->cell->alert = NULL;
        al->cell = NULL;
    }
    al->holds = false;
    al->pending_ms = NEVER;
    if (al->state == ALERTS_FIRING) {
        resolve(a, al);
    } else if (al->state != ALERTS_RESOLVED) {
        alert_free(a, al);
    }
}

/* ---- Steps ------------------------------------------------------------------------------ */

void alert_fire(struct alerts *a, struct alert *al)
{
    bool goes_on = al->state == ALERTS_RESOLVED;
    if (!goes_on) {
        al->starts_wall_ms = a->wall_ms;
        if (al->cell) {
            note_change(a, al);
        }
    }
    al->ends_wall_ms = 0;
    al->firing_ms = a->now_ms;
    al->clear_ms = al->held_ms = NEVER;
    to(al, ALERTS_FIRING);
    alert_describe(al, a->now_ms);
    alert_silence_look(a, al);
    alert_group_join(a, al);
    alerts_fact_of(a, al, goes_on ? "alert firing again" : "alert firing", "", true);
}

/* Whether own work on its service keeps it from firing. */
static bool held(struct alerts *a, struct alert *al)
{
    if (!alert_maintained(a, al)) {
        al->held_ms = NEVER;
        return false;
    }
    if (al->held_ms == NEVER) {
        al->held_ms = a->now_ms;
    }
    int64_t most =
        al->severity == ALERTS_CRITICAL ? ALERT_HELD_MOST_CRITICAL_MS : ALERT_HELD_MOST_MS;
    return a->now_ms - al->held_ms < most;
}

static void on_holds(struct alerts *a, struct alert *al)
{
    const struct alert_rule *r = al->cell->rule;
    note(a, al, true);
    al->clear_ms = NEVER;
    if (al->state == ALERTS_FIRING) {
        return;
    }
    if (al->pending_ms == NEVER) {
        al->pending_ms = a->now_ms;
    }
    if (al->state == ALERTS_INACTIVE) {
        to(al, ALERTS_PENDING);
    }
    if (a->now_ms - al->pending_ms < (int64_t)r->duration_ms) {
        return;
    }
    if (al->state == ALERTS_RESOLVED || !held(a, al)) {
        alert_fire(a, al);
    }
}

static void on_clear(struct alerts *a, struct alert *al)
{
    const struct alert_rule *r = al->cell->rule;
    note(a, al, false);
    if (al->state == ALERTS_PENDING) {
        alert_put_away(a, al);
    } else if (al->state == ALERTS_RESOLVED) {
        al->pending_ms = NEVER;
    } else if (al->state == ALERTS_FIRING) {
        if (al->clear_ms == NEVER) {
            al->clear_ms = a->now_ms;
            al->dirty = true;
        }
        uint64_t clear = r->keep_ms > r->settle_ms ? r->keep_ms : r->settle_ms;
        if (a->now_ms - al->clear_ms >= (int64_t)clear && !alert_flaps(al, a->now_ms)) {
            resolve(a, al);
        }
    } else if (!worth_remembering(a, al)) {
        alert_free(a, al);
    }
}

void alert_step(struct alerts *a, struct alert *al, enum alert_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_HOLDS:
        on_holds(a, al);
        break;
    case OUTCOME_BETWEEN:
        if (al->state != ALERTS_FIRING) {
            on_clear(a, al);
        } else {
            al->clear_ms = NEVER;
        }
        break;
    case OUTCOME_CLEAR:
        on_clear(a, al);
        break;
    case OUTCOME_UNKNOWN:
        break;
    }
}
