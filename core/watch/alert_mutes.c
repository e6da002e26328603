/* alert_mutes.c: why what fires is not told: an operator's silence, another alert that explains it, own
 * work on its service. */
#include "watch/alert_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- Silences --------------------------------------------------------------------------- */

static void silence_free(struct alert_silence *s)
{
    list_remove(&s->link);
    alert_matchers_free(s->matchers, s->count);
    mem_free(s->author);
    mem_free(s->comment);
    mem_free(s);
}

void alert_silences_free(struct alerts *a)
{
    while (!list_empty(&a->silences)) {
        silence_free(list_owner(a->silences.next, struct alert_silence, link));
    }
}

void alert_silence_look(struct alerts *a, struct alert *al)
{
    al->silences_seen = a->silences_generation;
    al->silenced[0] = '\0';
    for (struct list *l = a->silences.next; l != &a->silences; l = l->next) {
        const struct alert_silence *s = list_owner(l, struct alert_silence, link);
        if (alert_matchers_match(s->matchers, s->count, al->labels)) {
            (void)str_copy(al->silenced, sizeof al->silenced, s->id);
            return;
        }
    }
}

/* The list is another one: looks again at every alert. */
static void silences_changed(struct alerts *a)
{
    a->silences_generation++;
    a->silences_next_ms = 0;
    for (struct list *l = a->silences.next; l != &a->silences; l = l->next) {
        const struct alert_silence *s = list_owner(l, struct alert_silence, link);
        if (!a->silences_next_ms || s->ends_wall_ms < a->silences_next_ms) {
            a->silences_next_ms = s->ends_wall_ms;
        }
    }
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        alert_silence_look(a, list_owner(l, struct alert, link));
    }
    a->due_ms = NEVER;
}

static uint32_t silence_matches(const struct alerts *a, const struct alert_silence *s)
{
    uint32_t count = 0;
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        const struct alert *al = list_owner(l, struct alert, link);
        count +=
            al->state == ALERTS_FIRING && alert_matchers_match(s->matchers, s->count, al->labels);
    }
    return count;
}

static void silence_remove(struct alerts *a, struct alert_silence *s, const char *what,
                           const char *who)
{
    alerts_batch(a);
    a->ports.remove(a->ports.arg, "silence", s->id);
    a->ports.fact(a->ports.arg, &(struct alerts_fact){.service = "",
                                                      .instance = "",
                                                      .name = s->id,
                                                      .what = what,
                                                      .detail = s->comment,
                                                      .who = who});
    silence_free(s);
}

void alert_silences_expire(struct alerts *a)
{
    if (!a->silences_next_ms || a->wall_ms < a->silences_next_ms) {
        return;
    }
    for (struct list *l = a->silences.next, *next; l != &a->silences; l = next) {
        struct alert_silence *s = list_owner(l, struct alert_silence, link);
        next = l->next;
        if (s->ends_wall_ms <= a->wall_ms) {
            silence_remove(a, s, "silence is over", "");
        }
    }
    silences_changed(a);
}

bool alert_silence_restore(struct alerts *a, const char *id, const struct cJSON *doc)
{
    char *error = NULL;
    struct alert_silence *s = mem_new(sizeof *s);
    list_init(&s->link);
    s->ends_wall_ms = (uint64_t)json_num(doc, "ends_wall_ms", 0);
    if (alert_matchers_read(json_get(doc, "matchers"), &s->matchers, &s->count, &error)) {
        mem_free(error);
        silence_free(s);
        return false;
    }
    (void)str_copy(s->id, sizeof s->id, id);
    s->author = mem_copy(json_str(doc, "author", ""));
    s->comment = mem_copy(json_str(doc, "comment", ""));
    s->starts_wall_ms = (uint64_t)json_num(doc, "starts_wall_ms", 0);
    list_append(&a->silences, &s->link);
    silences_changed(a);
    return true;
}

struct cJSON *alert_silence_make(struct alerts *a, const struct cJSON *matchers, uint64_t for_ms,
                                 const char *author, const char *comment, char **reterr)
{
    struct alert_silence *s = mem_new(sizeof *s);
    list_init(&s->link);
    if (alert_matchers_read(matchers, &s->matchers, &s->count, reterr)) {
        silence_free(s);
        return NULL;
    }
    uint64_t parts[] = {a->wall_ms, ++a->silences_made, s->count};
    hash_hex(hash_bytes(parts, sizeof parts), s->id);
    s->id[8] = '\0';
    s->author = mem_copy(author ? author : "");
    s->comment = mem_copy(comment ? comment : "");
    s->starts_wall_ms = a->wall_ms;
    s->ends_wall_ms = a->wall_ms + for_ms;
    list_append(&a->silences, &s->link);
    silences_changed(a);
    alert_keep_silence(a, s);

    char ends[32];
    struct cJSON *out = json_object();
    clock_iso(s->ends_wall_ms, ends, sizeof ends);
    json_set_bool(out, "ok", true);
    json_set_str(out, "id", s->id);
    json_set_str(out, "ends", ends);
    json_set_num(out, "matches", silence_matches(a, s));
    a->ports.fact(a->ports.arg, &(struct alerts_fact){.service = "",
                                                      .instance = "",
                                                      .name = s->id,
                                                      .what = "silence made",
                                                      .detail = s->comment,
                                                      .who = s->author});
    return out;
}

bool alert_silence_drop(struct alerts *a, const char *id, const char *who)
{
    for (struct list *l = a->silences.next; l != &a->silences; l = l->next) {
        struct alert_silence *s = list_owner(l, struct alert_silence, link);
        if (str_same(s->id, id)) {
            silence_remove(a, s, "silence taken back", who ? who : "");
            silences_changed(a);
            return true;
        }
    }
    return false;
}

struct cJSON *alerts_silences(const struct alerts *a, struct alerts_now at)
{
    struct cJSON *out = json_object(), *list = json_array();
    for (struct list *l = a->silences.next; l != &a->silences; l = l->next) {
        const struct alert_silence *s = list_owner(l, struct alert_silence, link);
        struct cJSON *one = json_object();
        char text[32];
        json_set_str(one, "id", s->id);
        json_set(one, "matchers", alert_matchers_json(s->matchers, s->count));
        json_set_str(one, "author", s->author);
        json_set_str(one, "comment", s->comment);
        clock_iso(s->starts_wall_ms, text, sizeof text);
        json_set_str(one, "starts", text);
        clock_iso(s->ends_wall_ms, text, sizeof text);
        json_set_str(one, "ends", text);
        json_set_num(one, "ends_in_s",
                     s->ends_wall_ms > at.wall_ms ? (double)(s->ends_wall_ms - at.wall_ms) / 1000
                                                  : 0);
        json_set_num(one, "matches", silence_matches(a, s));
        json_set(list, NULL, one);
    }
    json_set_bool(out, "ok", true);
    json_set(out, "silences", list);
    return out;
}

/* ---- Inhibition ------------------------------------------------------------------------- */

struct inhibition {
    struct cJSON *source, *target, *equal;
    char *name; /* of the source, for people */
};

/* What the shipped alerts explain of each other. */
static const struct {
    const char *source, *label, *value, *equal[2];
} BUILT_IN[] = {
    {"InstanceDown", "severity", "warning", {"service", "instance"}},
    {"InstanceDown", "severity", "info", {"service", "instance"}},
    {"NoHealthyBackend", "alertname", "InstanceDown", {"service", NULL}},
    {"NoHealthyBackend", "alertname", "InstanceUnhealthy", {"service", NULL}},
    {"NoHealthyBackend", "alertname", "HighErrorRate", {"service", NULL}},
    {"NoHealthyBackend", "alertname", "HighLatency", {"service", NULL}},
    {"NoHealthyBackend", "alertname", "CircuitOpen", {"service", NULL}},
    {"NoHealthyBackend", "alertname", "CollectionFailing", {"service", NULL}},
    {"NoHealthyBackend", "alertname", "Anomaly", {"service", NULL}},
    {"EngineDown", "alertname", "InstanceDown", {NULL, NULL}},
    {"EngineDown", "alertname", "InstanceUnhealthy", {NULL, NULL}},
    {"EngineDown", "alertname", "InstanceRestarting", {NULL, NULL}},
    {"EngineDown", "alertname", "CollectionFailing", {NULL, NULL}},
    {"EngineDown", "alertname", "DeployFailed", {NULL, NULL}},
};

static struct cJSON *one_label(const char *key, const char *value)
{
    struct cJSON *labels = json_object();
    json_set_str(labels, key, value);
    return labels;
}

void alert_inhibitions_read(struct alerts *a, const struct cJSON *config)
{
    size_t built_in = sizeof BUILT_IN / sizeof *BUILT_IN;
    alert_inhibitions_free(a);
    a->inhibitions = mem_array(built_in + json_count(config), sizeof *a->inhibitions);
    for (size_t i = 0; i < built_in; i++) {
        struct inhibition *one = &a->inhibitions[a->inhibition_count++];
        one->source = one_label("alertname", BUILT_IN[i].source);
        one->target = one_label(BUILT_IN[i].label, BUILT_IN[i].value);
        one->equal = json_array();
        for (size_t e = 0; e < 2 && BUILT_IN[i].equal[e]; e++) {
            json_add_str(one->equal, BUILT_IN[i].equal[e]);
        }
        one->name = mem_copy(BUILT_IN[i].source);
    }
    for (const struct cJSON *c = json_first(config); c; c = json_next(c)) {
        struct inhibition *one = &a->inhibitions[a->inhibition_count++];
        const struct cJSON *source = json_get(c, "source");
        char *text = json_text(source);
        one->source = json_copy(source);
        one->target = json_copy(json_get(c, "target"));
        one->equal = json_copy(json_get(c, "equal"));
        one->name = mem_copy(json_str(source, "alertname", text));
        mem_free(text);
    }
}

void alert_inhibitions_free(struct alerts *a)
{
    for (uint32_t i = 0; i < a->inhibition_count; i++) {
        json_free(a->inhibitions[i].source);
        json_free(a->inhibitions[i].target);
        json_free(a->inhibitions[i].equal);
        mem_free(a->inhibitions[i].name);
    }
    mem_release(&a->inhibitions);
    a->inhibition_count = 0;
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        list_owner(l, struct alert, link)->inhibited = NULL;
    }
}

static bool has_labels(const struct cJSON *labels, const struct cJSON *wanted)
{
    for (const struct cJSON *w = json_first(wanted); w; w = json_next(w)) {
        char *number = json_value_str(w, NULL) ? NULL : json_text(w);
        bool same = str_same(json_str(labels, json_name(w), ""), json_value_str(w, number));
        mem_free(number);
        if (!same) {
            return false;
        }
    }
    return true;
}

static uint64_t equal_hash(const struct cJSON *labels, const struct cJSON *equal)
{
    uint64_t h = 1;
    for (const struct cJSON *e = json_first(equal); e; e = json_next(e)) {
        const char *value = json_str(labels, json_value_str(e, ""), "");
        h = hash_more(h, value, strlen(value) + 1);
    }
    return h;
}

/* An alert that fires and explains others; `pure` ones are not explained by the same inhibition
 * themselves, so that two alike do not hide each other. */
struct explainer {
    uint64_t hash;
    bool pure;
};

static bool explained(const struct explainer *list, size_t count, uint64_t hash, bool pure_only)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].hash == hash && (list[i].pure || !pure_only)) {
            return true;
        }
    }
    return false;
}

static void inhibit_by(struct alerts *a, const struct inhibition *one, struct explainer *list)
{
    size_t count = 0;
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        const struct alert *al = list_owner(l, struct alert, link);
        if (al->state == ALERTS_FIRING && !al->shadow && has_labels(al->labels, one->source)) {
            struct explainer e = {equal_hash(al->labels, one->equal),
                                  !has_labels(al->labels, one->target)};
            if (!explained(list, count, e.hash, e.pure)) {
                list[count++] = e;
            }
        }
    }
    for (struct list *l = a->active.next; l != &a->active && count; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        if (al->state == ALERTS_FIRING && !al->inhibited && has_labels(al->labels, one->target) &&
            explained(list, count, equal_hash(al->labels, one->equal),
                      has_labels(al->labels, one->source))) {
            al->inhibited = one->name;
        }
    }
}

void alert_inhibit(struct alerts *a)
{
    size_t firing = 0;
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        al->inhibited = NULL;
        firing += al->state == ALERTS_FIRING;
    }
    if (firing < 2) {
        return;
    }
    struct explainer *list = mem_array(firing, sizeof *list);
    for (uint32_t i = 0; i < a->inhibition_count; i++) {
        inhibit_by(a, &a->inhibitions[i], list);
    }
    mem_free(list);
}

/* ---- Maintenance ------------------------------------------------------------------------ */

void alert_maintain(struct alerts *a, const struct cJSON *suppressed)
{
    for (const struct cJSON *s = json_first(suppressed); s; s = json_next(s)) {
        const char *service = json_value_str(s, "");
        int64_t *last = map_get(&a->maintained, service);
        if (!last) {
            last = mem_new(sizeof *last);
            (void)map_put(&a->maintained, service, last);
        }
        *last = a->now_ms;
    }
    const char *service;
    void *value;
    for (size_t at = 0; map_next(&a->maintained, &at, &service, &value);) {
        if (a->now_ms - *(int64_t *)value >= ALERT_MAINTENANCE_AFTER_MS) {
            mem_free(map_remove(&a->maintained, service));
        }
    }
}

bool alert_maintained(const struct alerts *a, const struct alert *al)
{
    return a->maintenance && *al->service && map_get(&a->maintained, al->service) != NULL;
}

void alert_maintenance_free(struct alerts *a)
{
    const char *service;
    void *value;
    for (size_t at = 0; map_next(&a->maintained, &at, &service, &value);) {
        mem_free(value);
    }
    map_free(&a->maintained);
}
