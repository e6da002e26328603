/* channel_http.c: what webhooks, Slack, PagerDuty and ntfy are sent. */
#include "watch/channel_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const char JSON[] = "application/json";

enum {
    SLACK_BYTES = 2900,   /* of a section's text; Slack cuts at 3000 characters */
    SUMMARY_BYTES = 1000, /* PagerDuty takes 1024 characters */
    NTFY_BYTES = 4000,    /* ntfy makes an attachment of more than 4096 */
};

/* At most `limit` bytes of a text, cut between characters. The caller owns it. */
static char *shortened(const char *text, size_t limit)
{
    size_t len = strlen(text);
    if (len <= limit) {
        return mem_copy(text);
    }
    len = limit - 3;
    while (len && ((unsigned char)text[len] & 0xc0) == 0x80) {
        len--;
    }
    return mem_printf("%.*s...", (int)len, text);
}

static char *text_of(struct cJSON *takes)
{
    char *text = json_text(takes);
    json_free(takes);
    return text;
}

/* The same body to each address that does not have it. */
static void post_all(struct notice *n, uint32_t reached, const char *body, const char *type)
{
    uint32_t bit = 1;
    const struct cJSON *to = json_first(json_get(n->channel, "to"));
    for (; to && bit < 1U << CHANNEL_ADDRESSES; to = json_next(to), bit <<= 1) {
        const char *url = reached & bit ? NULL : notice_secret(n, to);
        if (url) {
            notice_post(n, mem_copy(url), mem_copy(body), type, bit);
        }
    }
}

void channel_make_webhook(struct notice *n, uint32_t reached)
{
    char *body = notice_body(n);
    bool is_json = *body == '{' || *body == '[';
    post_all(n, reached, body, is_json ? JSON : "text/plain; charset=utf-8");
    mem_free(body);
}

/* ---- Slack ----------------------------------------------------------------------------------- */

/* &, < and > are what Slack's texts are marked up with. The caller owns it. */
static char *slack_text(const char *text)
{
    struct buf b;
    buf_init(&b, CHANNEL_TEXT_BYTES * 6);
    for (; *text; text++) {
        const char *as = *text == '&'   ? "&amp;"
                         : *text == '<' ? "&lt;"
                         : *text == '>' ? "&gt;"
                                        : NULL;
        (void)(as ? buf_text(&b, as) : buf_append(&b, text, 1));
    }
    char *out = b.len ? buf_take(&b) : mem_copy("");
    buf_free(&b);
    return out;
}

static const char *slack_colour(const char *severity)
{
    return str_same(severity, "critical")   ? "#d00000"
           : str_same(severity, "warning")  ? "#daa038"
           : str_same(severity, "resolved") ? "#2eb886"
                                            : "#439fe0";
}

void channel_make_slack(struct notice *n, uint32_t reached)
{
    struct cJSON *out = json_object();
    if (n->text) {
        json_set_str(out, "text", n->text); /* in Slack's own words: links and all */
    } else {
        char *plain = channel_title(n->message), *title = slack_text(plain);
        char *lines = channel_text(n->message), *cut = shortened(lines, SLACK_BYTES);
        char *text = slack_text(cut);
        struct cJSON *attachments = json_array(), *one = json_object();
        json_set_str(out, "text", title);
        json_set_str(one, "color", slack_colour(notice_severity(n)));
        json_set_str(one, "fallback", title);
        json_set_str(one, "text", text);
        json_set_num(one, "ts", (double)(n->wall_ms / 1000));
        json_set(attachments, NULL, one);
        json_set(out, "attachments", attachments);
        mem_free(plain);
        mem_free(title);
        mem_free(lines);
        mem_free(cut);
        mem_free(text);
    }
    char *body = text_of(out);
    post_all(n, reached, body, JSON);
    mem_free(body);
}

/* ---- PagerDuty ------------------------------------------------------------------------------- */

static const char PAGERDUTY[] = "https://events.pagerduty.com/v2/enqueue";

static struct cJSON *pagerduty_payload(const struct notice *n, const struct cJSON *alert)
{
    struct cJSON *payload = json_object(), *details = json_object();
    const struct cJSON *labels = json_get(alert, "labels");
    const char *service = json_str(labels, "service", ""),
               *instance = json_str(labels, "instance", "");
    char *line = n->text ? mem_copy(n->text) : alert_line(alert);
    char *summary = shortened(line, SUMMARY_BYTES);
    json_set_str(payload, "summary", summary);
    json_set_str(payload, "source", *instance ? instance : *service ? service : "tidegate");
    json_set_str(payload, "severity", json_str(labels, "severity", "warning"));
    json_set_str(payload, "timestamp", json_str(alert, "startsAt", ""));
    if (*service) {
        json_set_str(payload, "component", service);
    }
    json_set_str(payload, "class", json_str(labels, "alertname", ""));
    json_set(details, "labels", json_copy(labels));
    json_set(details, "annotations", json_copy(json_get(alert, "annotations")));
    json_set(payload, "custom_details", details);
    mem_free(line);
    mem_free(summary);
    return payload;
}

void channel_make_pagerduty(struct notice *n, uint32_t reached)
{
    (void)reached; /* the key of an event makes it one, however often it is told */
    const char *key = notice_secret(n, json_get(n->channel, "to"));
    const struct cJSON *other = json_get(n->channel, "url");
    const char *url = other ? notice_secret(n, other) : PAGERDUTY;
    bool acknowledged = str_same(json_str(n->message, "reason", ""), "acknowledged");
    const struct cJSON *alert = key && url ? json_first(n->alerts) : NULL;
    for (; alert; alert = json_next(alert)) {
        bool firing = alert_is_firing(alert);
        struct cJSON *event = json_object();
        json_set_str(event, "routing_key", key);
        json_set_str(event, "event_action",
                     !firing        ? "resolve"
                     : acknowledged ? "acknowledge"
                                    : "trigger");
        json_set_str(event, "dedup_key", json_str(alert, "fingerprint", ""));
        if (firing && !acknowledged) {
            json_set_str(event, "client", "tidegate");
            json_set(event, "payload", pagerduty_payload(n, alert));
        }
        notice_post(n, mem_copy(url), text_of(event), JSON, 0);
    }
}

/* ---- ntfy ------------------------------------------------------------------------------------ */

static int ntfy_priority(const char *severity)
{
    return str_same(severity, "critical")   ? 5
           : str_same(severity, "warning")  ? 4
           : str_same(severity, "resolved") ? 2
                                            : 3;
}

static struct cJSON *ntfy_message(const struct notice *n)
{
    struct cJSON *out = json_object(), *tags = json_array();
    const char *severity = notice_severity(n);
    char *title = channel_title(n->message), *text = channel_text(n->message);
    char *cut = shortened(text, NTFY_BYTES);
    json_set_str(out, "title", title);
    json_set_str(out, "message", cut);
    json_set_num(out, "priority", ntfy_priority(severity));
    json_add_str(tags, str_same(severity, "resolved")   ? "white_check_mark"
                       : str_same(severity, "critical") ? "rotating_light"
                                                        : "warning");
    json_add_str(tags, severity);
    json_set(out, "tags", tags);
    mem_free(title);
    mem_free(text);
    mem_free(cut);
    return out;
}

void channel_make_ntfy(struct notice *n, uint32_t reached)
{
    uint32_t bit = 1;
    const struct cJSON *to = json_first(json_get(n->channel, "to"));
    for (; to && bit < 1U << CHANNEL_ADDRESSES; to = json_next(to), bit <<= 1) {
        const char *url = reached & bit ? NULL : notice_secret(n, to);
        if (!url) {
            continue;
        }
        /* As JSON, which takes any letters, it goes to the server's root and names the topic. */
        size_t len = strcspn(url, "?#");
        const char *slash = memrchr(url, '/', len);
        size_t topic = slash ? (size_t)(slash - url) + 1 : len;
        if (topic < 3 || topic >= len || url[topic - 2] == '/') {
            n->error = mem_copy("the address names no topic: it is https://SERVER/TOPIC");
            return;
        }
        struct cJSON *message = ntfy_message(n);
        char *name = mem_copy_bytes(url + topic, len - topic);
        json_set_str(message, "topic", name);
        mem_free(name);
        char *root = mem_printf("%.*s%s", (int)topic, url, url + len);
        notice_post(n, root, text_of(message), JSON, bit);
    }
}
