/* alert_messages.c: what is told: a group as Alertmanager's webhook has it, version 4, so that
 * whatever understands that understands us. */
#include "watch/alert_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static void set_time(struct cJSON *to, const char *key, uint64_t wall_ms)
{
    char text[32];
    clock_iso(wall_ms, text, sizeof text);
    json_set_str(to, key, wall_ms ? text : "0001-01-01T00:00:00Z");
}

static struct cJSON *alert_json(const struct alert *al)
{
    struct cJSON *one = json_object();
    json_set_str(one, "status", alerts_state_name(al->state));
    json_set(one, "labels", json_copy(al->labels));
    json_set(one, "annotations", al->annotations ? json_copy(al->annotations) : json_object());
    set_time(one, "startsAt", al->starts_wall_ms);
    set_time(one, "endsAt", al->ends_wall_ms);
    json_set_str(one, "generatorURL", "");
    json_set_str(one, "fingerprint", al->fingerprint);
    return one;
}

/* The members of `key` that all alerts of the list have with one value. */
static struct cJSON *common(const struct cJSON *alerts, const char *key)
{
    struct cJSON *out = json_object();
    const struct cJSON *first = json_first(alerts);
    for (const struct cJSON *m = json_first(json_get(first, key)); m; m = json_next(m)) {
        bool all = true;
        for (const struct cJSON *i = json_next(first); i && all; i = json_next(i)) {
            all = str_same(json_str(json_get(i, key), json_name(m), NULL), json_value_str(m, ""));
        }
        if (all) {
            json_set_str(out, json_name(m), json_value_str(m, ""));
        }
    }
    return out;
}

static char *key_of(const struct alert *al)
{
    return mem_printf("%s/%llu/%s", al->fingerprint, (unsigned long long)al->starts_wall_ms,
                      alerts_state_name(al->state));
}

static struct cJSON *group_json(const struct alert_group *g, struct cJSON *alerts, bool firing,
                                uint32_t left_out)
{
    struct cJSON *out = json_object();
    json_set_str(out, "version", "4");
    json_set_str(out, "groupKey", g->key);
    json_set_num(out, "truncatedAlerts", left_out);
    json_set_str(out, "status", firing ? "firing" : "resolved");
    json_set_str(out, "receiver", "tidegate");
    json_set(out, "groupLabels", json_copy(g->labels));
    json_set(out, "commonLabels", common(alerts, "labels"));
    json_set(out, "commonAnnotations", common(alerts, "annotations"));
    json_set_str(out, "externalURL", "");
    json_set(out, "alerts", alerts);
    return out;
}

void alert_message_send(struct alerts *a, struct alert_group *g, const struct alert_message *m)
{
    struct cJSON *message = json_object(), *alerts = json_array(), *keys = json_array();
    uint64_t h = hash_bytes(g->key, strlen(g->key));
    bool firing = false;
    qsort(m->alerts, m->count, sizeof *m->alerts, alert_by_weight);
    for (uint32_t i = 0; i < m->count; i++) {
        struct alert *al = m->alerts[i];
        char *key = key_of(al);
        h = hash_more(h, key, strlen(key) + 1);
        json_add_str(keys, key);
        mem_free(key);
        firing = firing || al->state == ALERTS_FIRING;
        if (i < ALERT_MESSAGE_ALERTS) {
            if (al->state == ALERTS_FIRING) {
                alert_describe(al, a->now_ms);
            }
            json_set(alerts, NULL, alert_json(al));
        }
    }
    char hex[17];
    hash_hex(h, hex);
    char *id = mem_printf("%s-%llu", hex, (unsigned long long)++g->serial);
    json_set_str(message, "id", id);
    json_set_str(message, "reason", m->reason);
    if (m->channels) {
        json_set(message, "channels", json_copy(m->channels));
    }
    json_set(message, "keys", keys);
    uint32_t left_out = m->count > ALERT_MESSAGE_ALERTS ? m->count - ALERT_MESSAGE_ALERTS : 0;
    json_set(message, "group", group_json(g, alerts, firing, left_out));
    alerts_batch(a);
    a->ports.notify(a->ports.arg, message);
    a->notifications++;
    g->dirty = true;
    mem_free(id);
    json_free(message);
}
