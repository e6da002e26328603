/* alert_text.c: messages for people: placeholders, numbers, durations. */
#include "watch/alert_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- Numbers ---------------------------------------------------------------------------- */

/* Three significant digits, without an exponent and without zeros at the end. */
static void plain(double value, char *to, size_t size)
{
    double size_of_it = fabs(value);
    if (value == floor(value) && size_of_it < 1e15) {
        (void)snprintf(to, size, "%.0f", value);
        return;
    }
    if (size_of_it >= 1e15 || size_of_it < 1e-6) {
        (void)snprintf(to, size, "%.3g", value);
        return;
    }
    int before = size_of_it >= 1 ? (int)floor(log10(size_of_it)) + 1 : 0;
    int digits =
        size_of_it >= 1 ? (before < 3 ? 3 - before : 0) : 2 - (int)floor(log10(size_of_it));
    (void)snprintf(to, size, "%.*f", digits, value);
    if (strchr(to, '.')) {
        size_t len = strlen(to);
        while (to[len - 1] == '0') {
            to[--len] = '\0';
        }
        to[len - (to[len - 1] == '.')] = '\0';
    }
}

void alert_number_text(double value, enum alert_unit unit, char ret_text[32])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    char number[24]; /* 15 digits and a sign, or three and an exponent */
    size_t at = 0;
    if (unit == UNIT_BYTES) {
        while (fabs(value) >= 1000 && at < 5) {
            value /= 1024;
            at++;
        }
    }
    plain(unit == UNIT_RATIO ? value * 100 : value, number, sizeof number);
    (void)snprintf(ret_text, 32, "%s%s%s", number, unit == UNIT_NONE ? "" : " ",
                   unit == UNIT_RATIO   ? "%"
                   : unit == UNIT_BYTES ? units[at]
                                        : "");
}

void alert_duration_text(uint64_t ms, char ret_text[32])
{
    static const struct {
        const char *name;
        uint64_t seconds;
    } units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
    uint64_t s = (ms < 1ull << 53 ? ms + 500 : 1ull << 53) / 1000;
    size_t i = 0;
    while (i < 3 && s < units[i].seconds) {
        i++;
    }
    unsigned long long whole = s / units[i].seconds;
    unsigned long long rest = i < 3 ? s % units[i].seconds / units[i + 1].seconds : 0;
    if (rest) {
        (void)snprintf(ret_text, 32, "%llu%s %llu%s", whole, units[i].name, rest,
                       units[i + 1].name);
    } else {
        (void)snprintf(ret_text, 32, "%llu%s", whole, units[i].name);
    }
}

/* ---- Templates -------------------------------------------------------------------------- */

/* What stands for a name between braces; `scratch` has room for numbers. NULL: no such name. */
static const char *meaning(struct str name, const struct alert *al, int64_t now_ms, char *scratch)
{
    const struct alert_rule *rule = al->cell ? al->cell->rule : NULL;
    int64_t since = al->pending_ms != NEVER ? al->pending_ms : al->firing_ms;
    char label[128];
    if (str_is(name, "name") || str_is(name, "alertname")) {
        return al->name;
    } else if (str_is(name, "service")) {
        return al->service;
    } else if (str_is(name, "instance")) {
        return al->instance;
    } else if (str_is(name, "severity")) {
        return alerts_severity_name(al->severity);
    } else if (str_is(name, "value")) {
        if (!al->has_value) {
            return "?";
        }
        alert_number_text(al->value, al->unit, scratch);
        return scratch;
    } else if (str_is(name, "threshold")) {
        if (!rule || !rule->has_threshold) {
            return "?";
        }
        alert_number_text(rule->threshold, al->unit, scratch);
        return scratch;
    } else if (str_is(name, "duration")) {
        alert_duration_text(since == NEVER ? 0 : (uint64_t)(now_ms - since), scratch);
        return scratch;
    } else if (str_is(name, "failing")) {
        return rule && rule->failing ? rule->failing : "";
    } else if (str_is(name, "certificate")) {
        return rule && rule->certificate ? rule->certificate : "";
    } else if (str_starts(name, "labels.")) {
        (void)str_put(label, sizeof label, str_sub(name, 7, name.len));
        return json_str(al->labels, label, "");
    }
    return NULL;
}

char *alert_render(const char *text, const struct alert *al, int64_t now_ms)
{
    struct buf out;
    char scratch[32];
    buf_init(&out, ALERT_MESSAGE_BYTES);
    while (*text) {
        const char *open = strstr(text, "{{"), *close = open ? strstr(open, "}}") : NULL;
        if (!close) {
            break;
        }
        struct str name = {open + 2, (size_t)(close - open - 2)};
        const char *value = meaning(str_trim(name), al, now_ms, scratch);
        if (buf_append(&out, text, (size_t)(open - text)) ||
            (value ? buf_text(&out, value) : buf_append(&out, open, (size_t)(close + 2 - open)))) {
            break;
        }
        text = close + 2;
    }
    size_t room = ALERT_MESSAGE_BYTES - out.len, rest = strlen(text);
    (void)buf_append(&out, text, rest < room ? rest : room);
    return out.data ? buf_take(&out) : mem_copy("");
}

/* What is said when the rule has no message of its own. */
static const char *otherwise(const struct alert *al)
{
    if (*al->instance) {
        return al->has_value ? "{{name}}: {{instance}} of {{service}}: {{value}}"
                             : "{{name}}: {{instance}} of {{service}}";
    } else if (*al->service) {
        return al->has_value ? "{{name}}: {{service}}: {{value}}" : "{{name}}: {{service}}";
    }
    return al->has_value ? "{{name}}: {{value}}" : "{{name}}";
}

void alert_describe(struct alert *al, int64_t now_ms)
{
    const struct alert_rule *rule = al->cell ? al->cell->rule : NULL;
    if (!rule) {
        return; /* as it was said last */
    }
    struct cJSON *annotations = json_object();
    for (const struct cJSON *m = json_first(rule->annotations); m; m = json_next(m)) {
        char *text = json_value_str(m, NULL) ? alert_render(json_value_str(m, ""), al, now_ms)
                                             : json_text(m);
        json_set_str(annotations, json_name(m), text);
        mem_free(text);
    }
    const char *template = *rule->message ? rule->message : otherwise(al);
    char *summary = al->said ? mem_copy(al->said) : alert_render(template, al, now_ms);
    json_set_str(annotations, "summary", summary);
    mem_free(summary);
    json_free(al->annotations);
    al->annotations = annotations;
}

const char *alert_summary(const struct alert *al)
{
    return json_str(al->annotations, "summary", "");
}
