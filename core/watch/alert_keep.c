/* alert_keep.c: documents: what a restart must not lose. Moments are kept as wall time, since the
 * monotonic clock begins anew. */
#include "watch/alert_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static void set_moment(const struct alerts *a, struct cJSON *doc, const char *key, int64_t at_ms)
{
    if (at_ms != NEVER) {
        json_set_num(doc, key, (double)(at_ms - a->now_ms + (int64_t)a->wall_ms));
    }
}

/* A moment that lies ahead by a clock that was set back counts as now. */
static int64_t moment(const struct alerts *a, const struct cJSON *doc, const char *key)
{
    const struct cJSON *value = json_get(doc, key);
    if (json_kind(value) != JSON_NUMBER) {
        return NEVER;
    }
    int64_t at = a->now_ms - (int64_t)a->wall_ms + json_int(doc, key, 0);
    return at > a->now_ms ? a->now_ms : at;
}

static void set_optional(struct cJSON *doc, const char *key, const struct cJSON *value)
{
    if (value) {
        json_set(doc, key, json_copy(value));
    }
}

/* ---- Alerts ----------------------------------------------------------------------------- */

static struct cJSON *alert_doc(const struct alerts *a, const struct alert *al)
{
    struct cJSON *doc = json_object();
    json_set_str(doc, "name", al->name);
    json_set_str(doc, "service", al->service);
    json_set_str(doc, "instance", al->instance);
    json_set_num(doc, "severity", al->severity);
    json_set_num(doc, "state", al->state);
    set_optional(doc, "labels", al->labels);
    set_optional(doc, "annotations", al->annotations);
    set_optional(doc, "channels", al->channels);
    set_optional(doc, "escalate_channels", al->escalation.channels);
    json_set_num(doc, "escalate_after_ms", (double)al->escalation.after_ms);
    if (al->has_value) {
        json_set_num(doc, "value", al->value);
    }
    json_set_num(doc, "starts_wall_ms", (double)al->starts_wall_ms);
    json_set_num(doc, "ends_wall_ms", (double)al->ends_wall_ms);
    set_moment(a, doc, "pending", al->pending_ms);
    set_moment(a, doc, "firing", al->firing_ms);
    set_moment(a, doc, "clear", al->clear_ms);
    set_moment(a, doc, "told_at", al->told_ms);
    set_moment(a, doc, "flap_until", al->flap_until_ms);
    json_set_bool(doc, "holds", al->holds);
    json_set_bool(doc, "told", al->told);
    json_set_bool(doc, "escalated", al->escalated);
    if (al->ack_who) {
        json_set_str(doc, "ack_who", al->ack_who);
        json_set_str(doc, "ack_comment", al->ack_comment);
        json_set_num(doc, "ack_wall_ms", (double)al->ack_wall_ms);
    }
    if (al->anomaly) {
        json_set_str(doc, "incident", al->incident);
        json_set_bool(doc, "shadow", al->shadow);
    }
    return doc;
}

/* The cell that such a document belongs to, or NULL: its rule is gone or has other labels now. */
static struct alert_cell *cell_of(struct alerts *a, const struct cJSON *doc,
                                  const struct cJSON *labels)
{
    const struct alert_rule *r = map_get(&a->by_name, json_str(doc, "name", ""));
    const char *service = json_str(doc, "service", ""), *instance = json_str(doc, "instance", "");
    char now[17], then[17];
    if (!r) {
        return NULL;
    }
    struct cJSON *today = alert_labels(r->labels, r->name, r->severity, service, instance);
    alert_fingerprint(today, now);
    alert_fingerprint(labels, then);
    json_free(today);
    enum alert_scope scope = *instance ? SCOPE_INSTANCE : *service ? SCOPE_SERVICE : SCOPE_TIDEGATE;
    if (!str_same(now, then) || scope != r->scope) {
        return NULL;
    }
    struct alert_subject *s = alerts_subject(a, scope, service, instance);
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->cells[i].rule == r && !s->cells[i].alert) {
            return &s->cells[i];
        }
    }
    return NULL;
}

static void restore_moments(struct alerts *a, struct alert *al, const struct cJSON *doc)
{
    al->starts_wall_ms = (uint64_t)json_num(doc, "starts_wall_ms", 0);
    al->ends_wall_ms = (uint64_t)json_num(doc, "ends_wall_ms", 0);
    al->pending_ms = moment(a, doc, "pending");
    al->firing_ms = moment(a, doc, "firing");
    al->clear_ms = moment(a, doc, "clear");
    al->told_ms = moment(a, doc, "told_at");
    al->seen_ms = a->now_ms;           /* nobody looked while we were away */
    if (json_get(doc, "flap_until")) { /* the only one that may lie ahead */
        al->flap_until_ms = a->now_ms - (int64_t)a->wall_ms + json_int(doc, "flap_until", 0);
    }
}

static void restore_acknowledgement(struct alert *al, const struct cJSON *doc)
{
    al->ack_who = mem_copy(json_str(doc, "ack_who", NULL));
    al->ack_comment = al->ack_who ? mem_copy(json_str(doc, "ack_comment", "")) : NULL;
    al->ack_wall_ms = (uint64_t)json_num(doc, "ack_wall_ms", 0);
}

void alert_restore(struct alerts *a, const char *key, const struct cJSON *doc)
{
    int64_t state = json_int(doc, "state", -1), severity = json_int(doc, "severity", -1);
    const struct cJSON *labels = json_get(doc, "labels");
    const char *name = json_str(doc, "name", ""), *incident = json_str(doc, "incident", NULL);
    if (json_kind(labels) != JSON_OBJECT || !*name || state < 0 || state >= ALERTS_STATES ||
        severity < 0 || severity >= ALERTS_SEVERITIES) {
        a->ports.remove(a->ports.arg, "alert_state", key);
        return;
    }
    struct alert *al =
        alert_new(a, name, (enum alerts_severity)severity, json_str(doc, "service", ""),
                  json_str(doc, "instance", ""), json_copy(labels));
    al->state = (enum alerts_state)state;
    al->told = json_bool(doc, "told", false);
    al->kept = true;
    al->anomaly = incident != NULL;
    al->incident = mem_copy(incident);
    al->shadow =
        json_bool(doc, "shadow", false); /* of an anomaly; others have that of their rule */
    al->escalation.after_ms = (uint64_t)json_num(doc, "escalate_after_ms", 0);
    const struct cJSON *channels = json_get(doc, "channels");
    const struct cJSON *second = json_get(doc, "escalate_channels");
    al->channels = channels ? json_copy(channels) : NULL;
    al->escalation.channels = second ? json_copy(second) : NULL;
    al->annotations = json_copy(json_get(doc, "annotations"));
    al->has_value = json_kind(json_get(doc, "value")) == JSON_NUMBER;
    al->value = json_num(doc, "value", 0);
    al->holds = json_bool(doc, "holds", false);
    al->escalated = json_bool(doc, "escalated", false);
    restore_moments(a, al, doc);
    restore_acknowledgement(al, doc);

    struct alert_cell *cell = al->anomaly ? NULL : cell_of(a, doc, labels);
    if (cell) {
        alert_adopt(al, cell);
    }
    alert_silence_look(a, al);
    if (al->state == ALERTS_FIRING || al->state == ALERTS_RESOLVED) {
        alert_group_join(a, al);
    }
    if (!cell && !al->anomaly) {
        alert_end(a, al);
    }
}

/* ---- Saving ----------------------------------------------------------------------------- */

static void save(struct alerts *a, const char *kind, const char *key, struct cJSON *doc)
{
    char *text = json_text(doc);
    alerts_batch(a);
    a->ports.save(a->ports.arg, kind, key, text);
    mem_free(text);
    json_free(doc);
}

static struct cJSON *group_doc(const struct alerts *a, const struct alert_group *g)
{
    struct cJSON *doc = json_object();
    json_set_str(doc, "key", g->key);
    set_optional(doc, "labels", g->labels);
    set_optional(doc, "channels", g->channels);
    json_set_bool(doc, "incident", g->incident);
    set_moment(a, doc, "told_wall_ms", g->told_ms);
    json_set_num(doc, "serial", (double)g->serial);
    json_set_num(doc, "worst", g->worst);
    return doc;
}

void alert_keep(struct alerts *a)
{
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        if (al->dirty) {
            al->dirty = false;
            al->kept = true;
            save(a, "alert_state", al->fingerprint, alert_doc(a, al));
        }
    }
    for (struct list *l = a->groups.next; l != &a->groups; l = l->next) {
        struct alert_group *g = list_owner(l, struct alert_group, link);
        if (g->dirty) {
            char *key = mem_printf("group:%s", g->id);
            g->dirty = false;
            g->kept = true;
            save(a, "alert_state", key, group_doc(a, g));
            mem_free(key);
        }
    }
}

void alert_keep_silence(struct alerts *a, const struct alert_silence *s)
{
    struct cJSON *doc = json_object();
    json_set(doc, "matchers", alert_matchers_json(s->matchers, s->count));
    json_set_str(doc, "author", s->author);
    json_set_str(doc, "comment", s->comment);
    json_set_num(doc, "starts_wall_ms", (double)s->starts_wall_ms);
    json_set_num(doc, "ends_wall_ms", (double)s->ends_wall_ms);
    save(a, "silence", s->id, doc);
}
