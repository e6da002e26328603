/* alert_rules.c: rules as they were read, and the numbers that they want of a view.
 *
 * A view is walked once for all rules: every number in it is looked up by its path, so that what an
 * evaluation costs grows with views and rules, not with their product, and nothing is allocated.
 * Names may have dots themselves (`prometheus.node_load1{cpu="0.5"}`), since only whole paths are compared. */
#include "watch/alert_private.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    MOST_DEPTH = 8
};

/* A path that is wanted, or what one begins with. */
struct alert_path {
    char *text; /* NULL = free */
    size_t len;
    uint64_t hash;
    uint32_t number; /* index, or NO_NUMBER for a beginning only */
    bool leads;      /* longer ones begin with it */
};

#define NO_NUMBER UINT32_MAX

/* ---- Paths ------------------------------------------------------------------------------ */

/* FNV-1a in steps, so that a longer path goes on where its beginning ended. */
static uint64_t step(uint64_t h, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    }
    return h;
}

#define FIRST_STEP 0xcbf29ce484222325u

static struct alert_path *path_slot(const struct alert_paths *p, uint64_t hash, const char *text,
                                    size_t len)
{
    size_t at = (size_t)(hash ^ (hash >> 29)) & (p->cap - 1);
    while (p->slots[at].text && (p->slots[at].hash != hash || p->slots[at].len != len ||
                                 memcmp(p->slots[at].text, text, len) != 0)) {
        at = (at + 1) & (p->cap - 1);
    }
    return &p->slots[at];
}

static void paths_grow(struct alert_paths *p)
{
    struct alert_path *old = p->slots;
    size_t cap = p->cap;
    p->cap = cap ? cap * 2 : 64;
    p->slots = mem_array(p->cap, sizeof *p->slots);
    for (size_t i = 0; i < cap; i++) {
        if (old[i].text) {
            *path_slot(p, old[i].hash, old[i].text, old[i].len) = old[i];
        }
    }
    mem_free(old);
}

static struct alert_path *path_make(struct alert_paths *p, const char *text, size_t len)
{
    if ((p->used + 1) * 2 > p->cap) {
        paths_grow(p);
    }
    uint64_t hash = step(FIRST_STEP, text, len);
    struct alert_path *at = path_slot(p, hash, text, len);
    if (!at->text) {
        *at = (struct alert_path){mem_copy_bytes(text, len), len, hash, NO_NUMBER, false};
        p->used++;
    }
    return at;
}

uint32_t alert_paths_want(struct alert_paths *p, const char *path)
{
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.')) {
        path_make(p, path, (size_t)(dot - path))->leads = true;
    }
    struct alert_path *leaf = path_make(p, path, strlen(path));
    if (leaf->number == NO_NUMBER) {
        leaf->number = p->count++;
        p->values = mem_resize(p->values, p->count * sizeof *p->values);
    }
    return leaf->number;
}

/* Members of `object`, whose own path is the first `len` bytes of `path`. */
static void read_members(struct alert_paths *p, const struct cJSON *object, char *path, size_t len,
                         uint64_t hash, unsigned depth)
{
    for (const struct cJSON *m = json_first(object); m; m = json_next(m)) {
        const char *name = json_name(m);
        size_t more = strlen(name);
        if (len + more + 1 >= ALERT_PATH_BYTES) {
            continue; /* no rule can name it: paths are shorter */
        }
        memcpy(path + len, name, more);
        uint64_t h = step(hash, name, more);
        const struct alert_path *at = path_slot(p, h, path, len + more);
        enum json_kind kind = json_kind(m);
        if (!at->text) {
            continue;
        }
        if (kind == JSON_NUMBER && at->number != NO_NUMBER) {
            p->values[at->number] = json_value_num(m, NAN);
        } else if (kind == JSON_BOOL && at->number != NO_NUMBER) {
            p->values[at->number] = json_value_bool(m, false);
        } else if (kind == JSON_OBJECT && at->leads && depth < MOST_DEPTH) {
            path[len + more] = '.';
            read_members(p, m, path, len + more + 1, step(h, ".", 1), depth + 1);
        }
    }
}

void alert_paths_read(struct alert_paths *p, const struct cJSON *view)
{
    char path[ALERT_PATH_BYTES];
    for (uint32_t i = 0; i < p->count; i++) {
        p->values[i] = NAN;
    }
    if (p->count) {
        read_members(p, view, path, 0, FIRST_STEP, 0);
    }
}

void alert_paths_free(struct alert_paths *p)
{
    for (size_t i = 0; i < p->cap; i++) {
        mem_free(p->slots[i].text);
    }
    mem_free(p->slots);
    mem_free(p->values);
    *p = (struct alert_paths){0};
}

/* ---- Rules ------------------------------------------------------------------------------ */

static int choice(const char *text, const char *const *names, int count, int otherwise)
{
    for (int i = 0; i < count; i++) {
        if (str_same(names[i], text)) {
            return i;
        }
    }
    return otherwise;
}

static enum alert_unit unit_of(const char *path)
{
    struct str p = str_of(path);
    if (str_ends(p, "error_rate") || str_ends(p, "_ratio") || str_ends(p, "disk_free")) {
        return UNIT_RATIO;
    }
    return str_ends(p, "bytes") ? UNIT_BYTES : UNIT_NONE;
}

static void read_condition(struct alert_rule *r, const struct cJSON *when)
{
    static const char *const operators[] = {">", "<", ">=", "<=", "==", "!="};
    const char *path = json_str(when, "metric_path", NULL);
    r->outside = !path;
    if (!path) {
        return;
    }
    r->operator= choice(json_str(when, "operator", ">"), operators, 6, OPERATOR_ABOVE);
    r->threshold = json_num(when, "threshold", 0);
    r->clear = json_num(when, "clear", r->threshold);
    r->has_threshold = true;
    r->unit = unit_of(path);
}

void alert_escalation_read(struct alert_escalation *e, const struct cJSON *config)
{
    const struct cJSON *channels = json_get(config, "channels");
    json_free(e->channels);
    *e = (struct alert_escalation){0};
    if (channels) {
        e->after_ms = (uint64_t)json_int(config, "after_ms", 900000);
        e->channels = json_copy(channels);
    }
}

/* Short against the group interval that follows, long against a number that dances on its threshold. */
static uint64_t settle_ms(const struct alert_rule *r, uint64_t interval_ms)
{
    uint64_t settle = interval_ms * ALERT_SETTLE_EVALUATIONS;
    settle = settle < ALERT_SETTLE_LEAST_MS ? ALERT_SETTLE_LEAST_MS : settle;
    uint64_t most = r->flap_changes ? r->flap_window_ms / r->flap_changes : 0;
    return settle < most ? settle : most;
}

static uint64_t identity_of(const struct alert_rule *r)
{
    char *labels = json_text(r->labels);
    uint64_t h = hash_bytes(r->name, strlen(r->name) + 1);
    h = hash_more(h, labels, strlen(labels) + 1);
    h = hash_more(h, &r->severity, sizeof r->severity);
    h = hash_more(h, &r->scope, sizeof r->scope);
    mem_free(labels);
    return h;
}

static struct cJSON *copy_of(const struct cJSON *value)
{
    return value ? json_copy(value) : NULL;
}

struct alert_rule *alert_rule_new(const struct cJSON *config, const struct cJSON *alerting,
                                  uint32_t index)
{
    static const char *const scopes[] = {"service", "instance", "tidegate"};
    static const char *const missing[] = {"keep", "ok", "alert"};
    static const char *const severities[] = {"info", "warning", "critical"};
    const struct cJSON *flap = json_get(config, "flap"), *channels = json_get(config, "channels");
    const struct cJSON *escalate = json_get(config, "escalate");
    struct alert_rule *r = mem_new(sizeof *r);
    r->name = mem_copy(json_str(config, "name", ""));
    r->index = index;
    r->shadow = json_bool(config, "shadow", false);
    read_condition(r, json_get(config, "when"));
    r->scope = choice(json_str(config, "scope", ""), scopes, 3, SCOPE_SERVICE);
    r->missing = choice(json_str(config, "missing", ""), missing, 3, MISSING_KEEP);
    r->severity = choice(json_str(config, "severity", ""), severities, 3, ALERTS_WARNING);
    r->duration_ms = (uint64_t)json_int(config, "duration_ms", 0);
    r->keep_ms = (uint64_t)json_int(config, "keep_firing_for_ms", 0);
    r->cooldown_ms = (uint64_t)json_int(config, "cooldown_ms", 300000);
    r->flap_changes = (uint32_t)json_int(flap, "changes", 0);
    r->flap_window_ms = (uint64_t)json_int(flap, "window_ms", 600000);
    r->settle_ms = settle_ms(r, (uint64_t)json_int(alerting, "interval_ms", 5000));
    r->message = mem_copy(json_str(config, "message", ""));
    r->services = copy_of(json_get(config, "services"));
    r->labels = copy_of(json_get(config, "labels"));
    r->annotations = copy_of(json_get(config, "annotations"));
    r->channels = copy_of(channels ? channels : json_get(alerting, "channels"));
    alert_escalation_read(&r->escalation, escalate ? escalate : json_get(alerting, "escalate"));
    r->identity = identity_of(r);
    return r;
}

void alert_rule_free(struct alert_rule *r)
{
    if (!r) {
        return;
    }
    mem_free(r->name);
    mem_free(r->message);
    mem_free(r->failing);
    mem_free(r->certificate);
    json_free(r->services);
    json_free(r->labels);
    json_free(r->annotations);
    json_free(r->channels);
    json_free(r->escalation.channels);
    mem_free(r);
}

bool alert_rule_covers(const struct alert_rule *r, const struct alert_subject *s)
{
    if (r->scope != s->scope) {
        return false;
    }
    bool all = s->scope == SCOPE_TIDEGATE || !json_count(r->services);
    for (const struct cJSON *i = json_first(r->services); i && !all; i = json_next(i)) {
        all = str_same(json_value_str(i, NULL), s->service);
    }
    return all;
}

static bool compares(enum alert_operator operator, double value, double with)
{
    switch (operator) {
    case OPERATOR_ABOVE:
        return value > with;
    case OPERATOR_BELOW:
        return value < with;
    case OPERATOR_AT_LEAST:
        return value >= with;
    case OPERATOR_AT_MOST:
        return value <= with;
    case OPERATOR_IS:
        return value == with;
    case OPERATOR_IS_NOT:
        return value != with;
    }
    return false;
}

enum alert_outcome alert_rule_look(const struct alert_rule *r, double value)
{
    if (isnan(value)) {
        return r->missing == MISSING_ALERT ? OUTCOME_HOLDS
               : r->missing == MISSING_OK  ? OUTCOME_CLEAR
                                           : OUTCOME_UNKNOWN;
    }
    if (compares(r->operator, value, r->threshold)) {
        return OUTCOME_HOLDS;
    }
    return compares(r->operator, value, r->clear) ? OUTCOME_BETWEEN : OUTCOME_CLEAR;
}
