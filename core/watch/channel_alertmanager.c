/* channel_alertmanager.c: what Alertmanagers are sent (API v2).
 *
 * One that is not told again of an alert ends it by itself: so a firing alert ends in four minutes, and
 * is told again well before. What Alertmanager refuses would be refused with all else in the list, or
 * worse, only in part: so labels are held to its rules here. */
#include "watch/channel_private.h"

#include <ctype.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static bool is_label(const char *name)
{
    const char *at = name;
    for (; *at; at++) {
        if (!(isalpha((unsigned char)*at) || *at == '_' ||
              (at > name && isdigit((unsigned char)*at)))) {
            return false;
        }
    }
    return at > name;
}

/* Members with a valid name and a text that is not empty. The caller owns it. */
static struct cJSON *valid(const struct cJSON *labels)
{
    struct cJSON *out = json_object();
    const struct cJSON *one = json_first(labels);
    for (; one; one = json_next(one)) {
        const char *value = json_value_str(one, "");
        if (is_label(json_name(one)) && *value) {
            json_set_str(out, json_name(one), value);
        }
    }
    return out;
}

/* NULL when it has no label. The caller owns it. */
static struct cJSON *alert_json(const struct notice *n, const struct cJSON *alert)
{
    char ends[32];
    struct cJSON *labels = valid(json_get(alert, "labels"));
    if (!json_first(labels)) {
        json_free(labels);
        return NULL;
    }
    uint64_t starts_ms = alert_time_ms(json_str(alert, "startsAt", ""));
    uint64_t ends_ms = n->wall_ms;
    struct cJSON *out = json_object();
    json_set(out, "labels", labels);
    json_set(out, "annotations", valid(json_get(alert, "annotations")));
    if (starts_ms) {
        json_set_str(out, "startsAt", json_str(alert, "startsAt", ""));
    }
    if (alert_is_firing(alert)) {
        ends_ms += CHANNEL_KEEP_FIRING_MS;
    } else {
        /* Told again it has ended when it did. */
        uint64_t ended_ms = alert_time_ms(json_str(alert, "toldAt", ""));
        ends_ms = ended_ms ? ended_ms : ends_ms;
    }
    clock_iso(ends_ms > starts_ms ? ends_ms : starts_ms + 1, ends, sizeof ends);
    json_set_str(out, "endsAt", ends);
    const char *url = json_str(alert, "generatorURL", "");
    if (*url) {
        json_set_str(out, "generatorURL", url);
    }
    return out;
}

void channel_make_alertmanager(struct notice *n, uint32_t reached)
{
    (void)reached; /* each is told of everything, and it is the same however often */
    struct cJSON *list = json_array();
    const struct cJSON *one = json_first(n->alerts);
    for (; one; one = json_next(one)) {
        struct cJSON *alert = alert_json(n, one);
        if (alert) {
            json_set(list, NULL, alert);
        }
    }
    char *body = json_text(list);
    json_free(list);
    uint32_t bit = 1;
    for (one = json_first(json_get(n->channel, "to")); one; one = json_next(one), bit <<= 1) {
        const char *base = notice_secret(n, one);
        if (base) {
            size_t len = strlen(base);
            while (len && base[len - 1] == '/') {
                len--;
            }
            notice_post(n, mem_printf("%.*s/api/v2/alerts", (int)len, base), mem_copy(body),
                        "application/json", bit);
        }
    }
    mem_free(body);
}
