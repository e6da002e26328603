/* alert_anomalies.c: what detectors report becomes alerts named "Anomaly". They fire at once, since the
 * detector has waited already, last while they are reported, and end after a quiet time. */
#include "watch/alert_private.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static struct alert *find(struct alerts *a, const char *fingerprint, size_t *ret_count)
{
    *ret_count = 0;
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        if (al->anomaly && str_same(al->fingerprint, fingerprint)) {
            return al;
        }
        *ret_count += al->anomaly;
    }
    return NULL;
}

static void describe(struct alert *al, const struct cJSON *report)
{
    const char *text = json_str(report, "description", ""),
               *metric = json_str(report, "metric", "");
    char *summary = *text ? mem_copy_bytes(text, strnlen(text, ALERT_MESSAGE_BYTES))
                          : mem_printf("%s of %s is unusual", metric,
                                       *al->instance ? al->instance : al->service);
    json_free(al->annotations);
    al->annotations = json_object();
    json_set_str(al->annotations, "summary", summary);
    double score = json_num(report, "score", NAN);
    if (!isnan(score)) {
        char number[32];
        alert_number_text(score, UNIT_NONE, number);
        json_set_str(al->annotations, "score", number);
    }
    al->value = json_num(report, "value", NAN);
    al->has_value = !isnan(al->value);
    mem_free(summary);
}

static struct cJSON *labels_of(const struct cJSON *report, enum alerts_severity severity)
{
    struct cJSON *own = json_object();
    json_set_str(own, "metric", json_str(report, "metric", ""));
    if (*json_str(report, "type", "")) {
        json_set_str(own, "type", json_str(report, "type", ""));
    }
    struct cJSON *labels = alert_labels(own, "Anomaly", severity, json_str(report, "service", ""),
                                        json_str(report, "instance", ""));
    json_free(own);
    return labels;
}

static void take(struct alerts *a, const struct cJSON *report)
{
    const char *service = json_str(report, "service", "");
    bool high = str_same(json_str(report, "severity", ""), "high") ||
                str_same(json_str(report, "severity", ""), "critical");
    enum alerts_severity severity = high ? ALERTS_CRITICAL : ALERTS_WARNING;
    if (a->maintenance && map_get(&a->maintained, service)) {
        return; /* our own work is unusual, and known */
    }
    char fingerprint[17];
    size_t count;
    struct cJSON *labels = labels_of(report, severity);
    alert_fingerprint(labels, fingerprint);
    struct alert *al = find(a, fingerprint, &count);
    if (!al && count >= ALERT_ANOMALIES) {
        json_free(labels);
        return;
    }
    if (al) {
        json_free(labels);
    } else {
        al = alert_new(a, "Anomaly", severity, service, json_str(report, "instance", ""), labels);
        const char *incident = json_str(report, "incident", service);
        al->anomaly = true;
        al->incident = mem_copy(*incident ? incident : service);
        al->channels = a->channels ? json_copy(a->channels) : NULL;
        al->escalation = a->escalation;
        al->escalation.channels = a->escalation.channels ? json_copy(a->escalation.channels) : NULL;
    }
    al->shadow = json_bool(report, "shadow", false);
    al->seen_ms = a->now_ms;
    describe(al, report);
    if (al->state != ALERTS_FIRING) {
        al->pending_ms = a->now_ms;
        alert_fire(a, al);
    }
}

void alert_anomalies_take(struct alerts *a, const struct cJSON *list)
{
    for (const struct cJSON *report = json_first(list); report; report = json_next(report)) {
        if (json_kind(report) == JSON_OBJECT) {
            take(a, report);
        }
    }
}

void alert_anomalies_settle(struct alerts *a)
{
    for (struct list *l = a->active.next, *next; l != &a->active; l = next) {
        struct alert *al = list_owner(l, struct alert, link);
        next = l->next;
        if (al->anomaly && al->state == ALERTS_FIRING &&
            a->now_ms - al->seen_ms >= ALERT_ANOMALY_QUIET_MS) {
            alert_end(a, al);
        }
    }
}
