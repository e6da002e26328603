/* held.c: see held.h. */
#include "watch/held.h"

#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "watch/channel_private.h"

struct held {
    struct cJSON *alerts; /* by fingerprint; ended ones have "toldAt" */
};

struct held *held_new(void)
{
    struct held *h = mem_new(sizeof *h);
    h->alerts = json_object();
    return h;
}

void held_free(struct held *h)
{
    if (h) {
        json_free(h->alerts);
        mem_free(h);
    }
}

void held_restore(struct held *h, const char *json)
{
    struct cJSON *document = json_parse(json, strlen(json));
    const struct cJSON *alerts = json_get(document, "alerts");
    if (json_kind(alerts) == JSON_OBJECT) {
        json_free(h->alerts);
        h->alerts = json_copy(alerts);
    }
    json_free(document);
}

char *held_document(const struct held *h)
{
    if (!json_first(h->alerts)) {
        return NULL;
    }
    struct cJSON *out = json_object();
    json_set(out, "alerts", json_copy(h->alerts));
    char *text = json_text(out);
    json_free(out);
    return text;
}

static void end(struct cJSON *alert, uint64_t wall_ms)
{
    char at[32];
    clock_iso(wall_ms, at, sizeof at);
    json_set_str(alert, "status", "resolved");
    json_set_str(alert, "toldAt", at);
}

bool held_take(struct held *h, const struct cJSON *group, uint64_t wall_ms)
{
    bool changed = false;
    const struct cJSON *one = json_first(json_get(group, "alerts"));
    for (; one; one = json_next(one)) {
        const char *fingerprint = json_str(one, "fingerprint", "");
        struct cJSON *before = json_get(h->alerts, fingerprint);
        if (alert_is_firing(one)) {
            json_set(h->alerts, fingerprint, json_copy(one));
            changed = true;
        } else if (before && alert_is_firing(before)) {
            end(before, wall_ms);
            changed = true;
        }
    }
    return changed;
}

bool held_compare(struct held *h, const struct cJSON *firing, uint64_t wall_ms)
{
    bool changed = false;
    struct cJSON *left = json_object();
    for (struct cJSON *one = json_first(h->alerts); one; one = json_next(one)) {
        uint64_t ended_ms = alert_time_ms(json_str(one, "toldAt", ""));
        if (alert_is_firing(one) && !json_get(firing, json_name(one))) {
            end(one, wall_ms);
            changed = true;
        } else if (!alert_is_firing(one) && wall_ms > ended_ms + HELD_ENDED_MS) {
            changed = true;
            continue;
        }
        json_set(left, json_name(one), json_copy(one));
    }
    json_free(h->alerts);
    h->alerts = left;
    return changed;
}

struct cJSON *held_message(const struct held *h)
{
    if (!json_first(h->alerts)) {
        return NULL;
    }
    struct cJSON *message = json_object(), *group = json_object(), *alerts = json_array();
    for (const struct cJSON *one = json_first(h->alerts); one; one = json_next(one)) {
        json_set(alerts, NULL, json_copy(one));
    }
    json_set(group, "alerts", alerts);
    json_set(message, "group", group);
    return message;
}
