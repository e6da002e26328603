/* alert_labels.c: what an alert is called, and texts that choose among alerts by it. */
#include "watch/alert_private.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- Labels ----------------------------------------------------------------------------- */

static void set_label(struct cJSON *labels, const char *key, const struct cJSON *value)
{
    char *text;
    switch (json_kind(value)) {
    case JSON_STRING:
        json_set_str(labels, key, json_value_str(value, ""));
        break;
    case JSON_NUMBER:
    case JSON_BOOL:
        text = json_text(value);
        json_set_str(labels, key, text);
        mem_free(text);
        break;
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
    case JSON_KINDS:
        break;
    }
}

struct cJSON *alert_labels(const struct cJSON *own, const char *name, enum alerts_severity severity,
                           const char *service, const char *instance)
{
    struct cJSON *labels = json_object();
    for (const struct cJSON *m = json_first(own); m; m = json_next(m)) {
        const char *key = json_name(m);
        if (!str_same(key, "alertname") && !str_same(key, "severity") &&
            !str_same(key, "service") && !str_same(key, "instance")) {
            set_label(labels, key, m);
        }
    }
    json_set_str(labels, "alertname", name);
    json_set_str(labels, "severity", alerts_severity_name(severity));
    if (*service) {
        json_set_str(labels, "service", service);
    }
    if (*instance) {
        json_set_str(labels, "instance", instance);
    }
    return labels;
}

static int by_name(const void *a, const void *b)
{
    const struct cJSON *const *left = a, *const *right = b;
    return strcmp(json_name(*left), json_name(*right));
}

void alert_fingerprint(const struct cJSON *labels, char ret_hex[17])
{
    size_t count = json_count(labels), at = 0;
    const struct cJSON **sorted = mem_array(count + 1, sizeof *sorted);
    for (const struct cJSON *m = json_first(labels); m; m = json_next(m)) {
        sorted[at++] = m;
    }
    qsort(sorted, count, sizeof *sorted, by_name);
    uint64_t h = 0;
    for (size_t i = 0; i < count; i++) {
        const char *value = json_value_str(sorted[i], "");
        h = hash_more(h, json_name(sorted[i]), strlen(json_name(sorted[i])) + 1);
        h = hash_more(h, value, strlen(value) + 1);
    }
    mem_free(sorted);
    hash_hex(h, ret_hex);
}

static unsigned rank(const struct alert *al)
{
    static const unsigned of_state[ALERTS_STATES] = {3, 1, 0, 2};
    return of_state[al->state];
}

int alert_by_weight(const void *left, const void *right)
{
    const struct alert *a = *(struct alert *const *)left, *b = *(struct alert *const *)right;
    if (rank(a) != rank(b)) {
        return rank(a) < rank(b) ? -1 : 1;
    } else if (a->severity != b->severity) {
        return a->severity > b->severity ? -1 : 1;
    } else if (a->starts_wall_ms != b->starts_wall_ms) {
        return a->starts_wall_ms < b->starts_wall_ms ? -1 : 1;
    }
    int order = strcmp(a->service, b->service);
    order = order ? order : strcmp(a->instance, b->instance);
    return order ? order : strcmp(a->fingerprint, b->fingerprint);
}

/* ---- Matchers --------------------------------------------------------------------------- */

struct alert_matcher {
    char *text, *label, *value;
    bool negated, pattern;
    regex_t regex;
};

/* A pattern that repeats a repetition can need more memory than there is. */
static bool reasonable(const char *pattern)
{
    const char *brace = strchr(pattern, '{');
    return !brace || !strchr(brace + 1, '{');
}

static int compile(struct alert_matcher *m, char **reterr)
{
    char *whole = mem_printf("^(%s)$", m->value);
    int rc = reasonable(m->value) ? regcomp(&m->regex, whole, REG_EXTENDED | REG_NOSUB) : REG_BADBR;
    mem_free(whole);
    if (rc) {
        char why[128];
        (void)regerror(rc, NULL, why, sizeof why);
        *reterr = mem_printf("\"%s\": the regular expression is wrong: %s", m->text, why);
        return -1;
    }
    m->pattern = true;
    return 0;
}

static bool is_label(const char *text, size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return len && strspn(text, letters) >= len && (text[0] < '0' || text[0] > '9');
}

/* label, then one of = != =~ !~, then the value. */
static int read_one(struct alert_matcher *m, const char *text, char **reterr)
{
    size_t len = strcspn(text, "=!");
    const char *sign = text + len;
    bool equal = sign[0] == '=', pattern = sign[0] && sign[1] == '~';
    if (!is_label(text, len) || (!equal && !pattern && sign[1] != '=')) {
        *reterr = mem_printf("\"%s\" chooses nothing: write service=shop, instance=~shop-.*, "
                             "severity!=info or alertname!~High.*",
                             text);
        return -1;
    }
    const char *value = sign + (equal && !pattern ? 1 : 2);
    size_t quoted = strlen(value);
    if (quoted >= 2 && value[0] == '"' && value[quoted - 1] == '"') {
        value++;
        quoted -= 2;
    }
    m->text = mem_copy(text);
    m->label = mem_copy_bytes(text, len);
    m->value = mem_copy_bytes(value, quoted);
    m->negated = !equal;
    return pattern ? compile(m, reterr) : 0;
}

static bool matches(const struct alert_matcher *m, const char *value)
{
    bool same =
        m->pattern ? regexec(&m->regex, value, 0, NULL, 0) == 0 : strcmp(m->value, value) == 0;
    return same != m->negated;
}

int alert_matchers_read(const struct cJSON *texts, struct alert_matcher **ret_list,
                        uint32_t *ret_count, char **reterr)
{
    size_t count = json_count(texts), at = 0;
    bool chooses = false;
    if (!count || count > ALERT_MATCHERS) {
        *reterr = mem_printf("a silence has 1 to %d matchers such as service=shop", ALERT_MATCHERS);
        return -1;
    }
    struct alert_matcher *list = mem_array(count, sizeof *list);
    int rc = 0;
    for (const struct cJSON *t = json_first(texts); t && !rc; t = json_next(t)) {
        const char *text = json_value_str(t, "");
        if (strlen(text) > ALERT_MATCHER_BYTES) {
            *reterr = mem_printf("a matcher has at most %d bytes", ALERT_MATCHER_BYTES);
            rc = -1;
        } else {
            rc = read_one(&list[at], text, reterr);
            chooses = chooses || (!rc && !matches(&list[at], ""));
            at++;
        }
    }
    if (!rc && !chooses) {
        *reterr = mem_copy("these matchers would silence everything: name a label's value");
        rc = -1;
    }
    if (rc) {
        alert_matchers_free(list, (uint32_t)at);
        return rc;
    }
    *ret_list = list;
    *ret_count = (uint32_t)count;
    return 0;
}

void alert_matchers_free(struct alert_matcher *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].pattern) {
            regfree(&list[i].regex);
        }
        mem_free(list[i].text);
        mem_free(list[i].label);
        mem_free(list[i].value);
    }
    mem_free(list);
}

bool alert_matchers_match(const struct alert_matcher *list, uint32_t count,
                          const struct cJSON *labels)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!matches(&list[i], json_str(labels, list[i].label, ""))) {
            return false;
        }
    }
    return true;
}

struct cJSON *alert_matchers_json(const struct alert_matcher *list, uint32_t count)
{
    struct cJSON *texts = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_add_str(texts, list[i].text);
    }
    return texts;
}
