/* channel_text.c: what a message says to people, and the small things that all kinds need of one. */
#include "watch/channel_private.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

void notice_init(struct notice *n, const struct cJSON *channel, const struct cJSON *message,
                 uint64_t wall_ms)
{
    *n = (struct notice){
        .channel = channel,
        .message = message,
        .group = json_get(message, "group"),
        .id = json_str(message, "id", ""),
        .name = json_str(channel, "name", ""),
        .text = json_str(message, "text", NULL),
        .wall_ms = wall_ms,
    };
    n->alerts = json_get(n->group, "alerts");
}

void notice_clear(struct notice *n)
{
    for (size_t i = 0; i < n->secret_count; i++) {
        explicit_bzero(n->secrets[i], strlen(n->secrets[i]));
        mem_free(n->secrets[i]);
    }
    mem_free(n->secrets);
    for (size_t i = 0; i < n->post_count; i++) {
        explicit_bzero(n->posts[i].url, strlen(n->posts[i].url));
        mem_free(n->posts[i].url);
        if (n->posts[i].body) { /* PagerDuty's key is in it */
            explicit_bzero(n->posts[i].body, strlen(n->posts[i].body));
        }
        mem_free(n->posts[i].body);
    }
    mem_free(n->posts);
    mem_free(n->error);
    *n = (struct notice){0};
}

void notice_post(struct notice *n, char *url, char *body, const char *content_type, uint32_t bit)
{
    n->posts = mem_resize(n->posts, (n->post_count + 1) * sizeof *n->posts);
    n->posts[n->post_count++] =
        (struct post){.url = url, .body = body, .content_type = content_type, .bit = bit};
}

/* ---- Alerts ---------------------------------------------------------------------------------- */

bool alert_is_firing(const struct cJSON *alert)
{
    return str_same(json_str(alert, "status", ""), "firing");
}

bool notice_is_firing(const struct notice *n)
{
    return str_same(json_str(n->group, "status", ""), "firing");
}

const char *notice_severity(const struct notice *n)
{
    static const char *const severities[] = {"critical", "warning", "info"};
    for (size_t i = 0; i < sizeof severities / sizeof severities[0]; i++) {
        const struct cJSON *one = json_first(n->alerts);
        for (; one; one = json_next(one)) {
            const char *severity = json_str(json_get(one, "labels"), "severity", "info");
            if (alert_is_firing(one) && str_same(severity, severities[i])) {
                return severities[i];
            }
        }
    }
    return notice_is_firing(n) ? "info" : "resolved";
}

char *alert_line(const struct cJSON *alert)
{
    const struct cJSON *labels = json_get(alert, "labels");
    const char *name = json_str(labels, "alertname", "alert");
    const char *subject = json_str(labels, "instance", json_str(labels, "service", ""));
    const char *summary = json_str(json_get(alert, "annotations"), "summary", "");
    const char *colon = *summary ? ": " : "";
    return *subject ? mem_printf("%s %s%s%s", name, subject, colon, summary)
                    : mem_printf("%s%s%s", name, colon, summary);
}

uint64_t alert_time_ms(const char *iso)
{
    struct tm tm = {0};
    unsigned ms = 0;
    const char *rest = strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest || tm.tm_year < 70) {
        return 0;
    }
    if (*rest == '.' && sscanf(rest, ".%3u", &ms) != 1) {
        ms = 0;
    }
    return (uint64_t)timegm(&tm) * 1000 + ms;
}

uint64_t channel_retry_after_ms(const char *text, uint64_t wall_ms)
{
    uint64_t seconds;
    if (!str_to_u64(str_trim(str_of(text)), &seconds)) {
        return seconds > UINT32_MAX ? UINT32_MAX * 1000ULL : seconds * 1000;
    }
    struct tm tm = {0};
    if (!strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm)) {
        return 0;
    }
    uint64_t at_ms = (uint64_t)timegm(&tm) * 1000;
    return at_ms > wall_ms ? at_ms - wall_ms : 0;
}

/* ---- Texts ----------------------------------------------------------------------------------- */

/* " (catalog)" or the like when all alerts share it. */
static const char *shared(const struct cJSON *group, const char *label)
{
    return json_str(json_get(group, "commonLabels"), label, "");
}

char *channel_title(const struct cJSON *message)
{
    const struct cJSON *group = json_get(message, "group");
    const char *reason = json_str(message, "reason", "");
    bool firing = str_same(json_str(group, "status", ""), "firing");
    const char *word = !firing                            ? "RESOLVED"
                       : str_same(reason, "escalation")   ? "ESCALATED"
                       : str_same(reason, "repeat")       ? "STILL FIRING"
                       : str_same(reason, "acknowledged") ? "ACKNOWLEDGED"
                       : str_same(reason, "test")         ? "TEST"
                                                          : "FIRING";
    const char *name = shared(group, "alertname"), *service = shared(group, "instance");
    service = *service ? service : shared(group, "service");
    size_t count = json_count(json_get(group, "alerts"));
    count += (size_t)json_num(group, "truncatedAlerts", 0);
    char *who = *service ? mem_printf(" (%s)", service) : mem_copy("");
    char *many = count > 1 ? mem_printf(": %zu alerts", count) : mem_copy("");
    char *title = mem_printf("%s %s%s%s", word, *name ? name : "several", who, many);
    mem_free(who);
    mem_free(many);
    return title;
}

char *channel_text(const struct cJSON *message)
{
    const char *own = json_str(message, "text", NULL);
    if (own) {
        return mem_copy(own);
    }
    struct buf b;
    buf_init(&b, CHANNEL_TEXT_BYTES);
    const struct cJSON *group = json_get(message, "group");
    const struct cJSON *one = json_first(json_get(group, "alerts"));
    size_t left = (size_t)json_num(group, "truncatedAlerts", 0);
    bool full = false;
    for (; one; one = json_next(one)) {
        const struct cJSON *labels = json_get(one, "labels");
        char *line = alert_line(one);
        full = full || buf_printf(&b, "%s[%s] %s (since %s)", b.len ? "\n" : "",
                                  alert_is_firing(one) ? json_str(labels, "severity", "firing")
                                                       : "resolved",
                                  line, json_str(one, "startsAt", "?"));
        left += full;
        mem_free(line);
    }
    if (left) {
        (void)buf_printf(&b, "\nand %zu more", left);
    }
    char *text = b.len ? buf_take(&b) : mem_copy("");
    buf_free(&b);
    return text;
}

char *notice_body(const struct notice *n)
{
    if (n->text) {
        return mem_copy(n->text);
    }
    return json_text(n->group);
}
