/* alerts.c: see alerts.h: life, configuration, and one evaluation from end to end.
 *
 * Owns: everything. Invariants: a cell and its alert point at each other; every call that changes
 * something ends with `leave`, which saves what changed, in the call's batch. */
#include "watch/alerts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "watch/alert_private.h"

/* ---- Calls ------------------------------------------------------------------------------ */

static void enter(struct alerts *a, struct alerts_now at)
{
    a->now_ms = (int64_t)at.now_ms;
    a->wall_ms = at.wall_ms;
}

static void leave(struct alerts *a)
{
    alert_keep(a);
    if (a->in_batch) {
        a->in_batch = false;
        a->ports.commit(a->ports.arg);
    }
}

void alerts_batch(struct alerts *a)
{
    if (!a->in_batch) {
        a->in_batch = true;
        a->ports.begin(a->ports.arg);
    }
}

void alerts_fact_of(struct alerts *a, const struct alert *al, const char *what, const char *who,
                    bool bad)
{
    char *shadow = al->shadow ? mem_printf("shadow %s", what) : NULL;
    a->ports.fact(a->ports.arg, &(struct alerts_fact){
                                    .service = al->service,
                                    .instance = al->instance,
                                    .name = al->name,
                                    .what = shadow ? shadow : what,
                                    .detail = alert_summary(al),
                                    .who = who,
                                    .bad = bad && !shadow,
                                });
    mem_free(shadow);
}

/* ---- Subjects --------------------------------------------------------------------------- */

/* "shop", "shop/shop-1", "" for tidegate itself. Lends until the next call. */
static const char *subject_key(struct alerts *a, const char *service, const char *instance)
{
    buf_clear(&a->key);
    (void)buf_text(&a->key, service);
    if (*instance) {
        (void)buf_text(&a->key, "/");
        (void)buf_text(&a->key, instance);
    }
    return buf_str(&a->key);
}

/* The rules that look at it, each with the alert that it has there already. */
static void fill_cells(struct alerts *a, struct alert_subject *s)
{
    s->count = 0;
    for (uint32_t i = 0; i < a->rule_count; i++) {
        s->count += alert_rule_covers(a->rules[i], s);
    }
    s->cells = mem_array(s->count + 1, sizeof *s->cells);
    uint32_t at = 0;
    for (uint32_t i = 0; i < a->rule_count; i++) {
        if (alert_rule_covers(a->rules[i], s)) {
            s->cells[at++].rule = a->rules[i];
        }
    }
}

struct alert_subject *alerts_subject(struct alerts *a, enum alert_scope scope, const char *service,
                                     const char *instance)
{
    const char *key = subject_key(a, service, instance);
    struct alert_subject *s = map_get(&a->subjects, key);
    if (!s) {
        s = mem_new(sizeof *s);
        s->scope = scope;
        s->service = mem_copy(service);
        s->instance = mem_copy(instance);
        fill_cells(a, s);
        (void)map_put(&a->subjects, key, s);
    }
    return s;
}

static void subject_free(struct alert_subject *s)
{
    mem_free(s->service);
    mem_free(s->instance);
    mem_free(s->cells);
    mem_free(s);
}

/* Those that the views do not have any more. */
static void drop_gone(struct alerts *a)
{
    const char *key;
    void *value;
    for (size_t at = 0; map_next(&a->subjects, &at, &key, &value);) {
        struct alert_subject *s = value;
        if (s->seen == a->evaluations) {
            continue;
        }
        for (uint32_t i = 0; i < s->count; i++) {
            if (s->cells[i].alert) {
                alert_end(a, s->cells[i].alert);
            }
        }
        (void)map_remove(&a->subjects, key);
        subject_free(s);
    }
}

/* ---- Life and configuration ------------------------------------------------------------- */

struct alerts *alerts_new(const struct alerts_ports *ports)
{
    struct alerts *a = mem_new(sizeof *a);
    a->ports = *ports;
    list_init(&a->active);
    list_init(&a->groups);
    list_init(&a->silences);
    buf_init(&a->key, 64 << 10);
    a->interval_ms = 5000;
    return a;
}

static void rules_free(struct alert_rule **rules, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        alert_rule_free(rules[i]);
    }
    mem_free(rules);
}

void alerts_free(struct alerts *a)
{
    if (!a) {
        return;
    }
    for (struct list *l = a->active.next, *next; l != &a->active; l = next) {
        struct alert *al = list_owner(l, struct alert, link);
        next = l->next;
        al->kept = false; /* what is kept stays kept */
        alert_free(a, al);
    }
    const char *key;
    void *value;
    for (size_t at = 0; map_next(&a->subjects, &at, &key, &value);) {
        subject_free(value);
    }
    map_free(&a->subjects);
    alert_groups_free(a);
    alert_silences_free(a);
    alert_inhibitions_free(a);
    alert_maintenance_free(a);
    rules_free(a->rules, a->rule_count);
    map_free(&a->by_name);
    alert_paths_free(&a->paths);
    buf_free(&a->key);
    json_free(a->channels);
    json_free(a->group_by);
    json_free(a->escalation.channels);
    mem_free(a);
}

static void read_alerting(struct alerts *a, const struct cJSON *c)
{
    const struct cJSON *channels = json_get(c, "channels"), *by = json_get(c, "group_by");
    json_free(a->channels);
    json_free(a->group_by);
    a->channels = channels ? json_copy(channels) : NULL;
    a->group_by = by ? json_copy(by) : json_array();
    a->interval_ms = (uint64_t)json_int(c, "interval_ms", 5000);
    a->group_wait_ms = (uint64_t)json_int(c, "group_wait_ms", 10000);
    a->group_interval_ms = (uint64_t)json_int(c, "group_interval_ms", 300000);
    a->repeat_interval_ms = (uint64_t)json_int(c, "repeat_interval_ms", 14400000);
    a->maintenance = json_bool(c, "maintenance", true);
    alert_escalation_read(&a->escalation, json_get(c, "escalate"));
    alert_inhibitions_read(a, json_get(c, "inhibit"));
}

static void read_rules(struct alerts *a, const struct cJSON *config)
{
    const struct cJSON *list = json_get(config, "alerts"), *alerting = json_get(config, "alerting");
    map_free(&a->by_name);
    alert_paths_free(&a->paths);
    a->rules = mem_array(json_count(list) + 1, sizeof *a->rules);
    a->rule_count = 0;
    for (const struct cJSON *i = json_first(list); i; i = json_next(i)) {
        struct alert_rule *r = alert_rule_new(i, alerting, a->rule_count);
        if (map_get(&a->by_name, r->name)) {
            alert_rule_free(r);
            continue; /* the first one counts: the shipped ones come last */
        }
        if (!r->outside) {
            const char *path = json_str(json_get(i, "when"), "metric_path", "");
            r->path = alert_paths_want(&a->paths, path);
        }
        (void)map_put(&a->by_name, r->name, r);
        a->rules[a->rule_count++] = r;
    }
}

/* Alerts of rules that are still there go over to them, the others end. */
static void renew_cells(struct alerts *a, struct alert_subject *s)
{
    struct alert_cell *before = s->cells;
    uint32_t count = s->count;
    fill_cells(a, s);
    for (uint32_t i = 0; i < count; i++) {
        struct alert *al = before[i].alert;
        const struct alert_rule *old = before[i].rule, *r = map_get(&a->by_name, old->name);
        if (!al) {
            continue;
        }
        for (uint32_t k = 0; r && k < s->count && before[i].alert; k++) {
            if (s->cells[k].rule == r && r->identity == old->identity) {
                alert_adopt(al, &s->cells[k]);
                before[i].alert = NULL;
            }
        }
        if (before[i].alert) {
            alert_end(a, al);
        }
    }
    mem_free(before);
}

void alerts_apply(struct alerts *a, const struct cJSON *config, struct alerts_now at)
{
    struct alert_rule **before = a->rules;
    uint32_t count = a->rule_count;
    enter(a, at);
    read_alerting(a, json_get(config, "alerting"));
    read_rules(a, config);
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->subjects, &i, &key, &value);) {
        renew_cells(a, value);
    }
    rules_free(before, count);
    alert_groups_renew(a);
    a->due_ms = NEVER;
    leave(a);
}

void alerts_restore(struct alerts *a, const char *kind, const char *key, const char *json,
                    struct alerts_now at)
{
    struct cJSON *doc = json_parse(json, strlen(json));
    enter(a, at);
    if (str_same(kind, "silence")) {
        (void)alert_silence_restore(a, key, doc);
    } else if (str_same(kind, "alert_state") && str_starts(str_of(key), "group:")) {
        alert_groups_restore(a, doc);
    } else if (str_same(kind, "alert_state")) {
        alert_restore(a, key, doc);
    }
    json_free(doc);
    leave(a);
}

/* ---- Evaluation ------------------------------------------------------------------------- */

static void evaluate_cell(struct alerts *a, struct alert_subject *s, struct alert_cell *cell,
                          double value, enum alert_outcome outcome)
{
    if (!cell->alert) {
        if (outcome != OUTCOME_HOLDS) {
            return;
        }
        (void)alert_of_cell(a, s, cell);
    }
    if (!isnan(value) && outcome != OUTCOME_CLEAR) {
        cell->alert->value = value;
        cell->alert->has_value = true;
    }
    alert_step(a, cell->alert, outcome);
}

static void keep_word(char **to, const char *word)
{
    if (word) {
        mem_free(*to);
        *to = mem_copy(word);
    }
}

/* What the view says in words, for messages. */
static void keep_words(struct alert_rule *rule, const struct cJSON *view)
{
    keep_word(&rule->failing, json_str(view, "failing", NULL));
    keep_word(&rule->certificate, json_str(view, "certificate", NULL));
}

static void evaluate_view(struct alerts *a, struct alert_subject *s, const struct cJSON *view)
{
    s->seen = a->evaluations;
    alert_paths_read(&a->paths, view);
    for (uint32_t i = 0; i < s->count; i++) {
        struct alert_cell *cell = &s->cells[i];
        if (!cell->rule->outside) {
            double value = a->paths.values[cell->rule->path];
            keep_words(cell->rule, view);
            evaluate_cell(a, s, cell, value, alert_rule_look(cell->rule, value));
        }
    }
}

static void evaluate_views(struct alerts *a, const struct cJSON *views)
{
    const struct cJSON *own = json_get(views, "tidegate");
    for (const struct cJSON *v = json_first(json_get(views, "services")); v; v = json_next(v)) {
        const char *service = json_name(v);
        evaluate_view(a, alerts_subject(a, SCOPE_SERVICE, service, ""), v);
        for (const struct cJSON *i = json_first(json_get(v, "instances")); i; i = json_next(i)) {
            evaluate_view(a, alerts_subject(a, SCOPE_INSTANCE, service, json_name(i)), i);
        }
    }
    if (own) {
        evaluate_view(a, alerts_subject(a, SCOPE_TIDEGATE, "", ""), own);
    }
    drop_gone(a);
}

static struct alert_cell *cell_of(const struct alert_subject *s, const struct alert_rule *r)
{
    uint32_t low = 0, high = s ? s->count : 0;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->cells[middle].rule->index < r->index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return s && low < s->count && s->cells[low].rule == r ? &s->cells[low] : NULL;
}

/* What the policy process says of one rule at one subject. */
static void take_result(struct alerts *a, struct alert_subject *s, struct alert_cell *cell,
                        const struct cJSON *result)
{
    const struct cJSON *firing = json_get(result, "firing");
    if (json_bool(result, "missing", false)) {
        evaluate_cell(a, s, cell, NAN, alert_rule_look(cell->rule, NAN));
        return;
    } else if (json_kind(firing) != JSON_BOOL) {
        a->policy_errors += json_get(result, "error") != NULL;
        return; /* the state stays as it is */
    }
    bool holds = json_value_bool(firing, false);
    double value = json_num(result, "value", NAN);
    const char *said = json_str(result, "message", "");
    enum alert_outcome outcome = holds ? OUTCOME_HOLDS : OUTCOME_CLEAR;
    if (holds && !cell->alert) {
        (void)alert_of_cell(a, s, cell);
    }
    if (holds) {
        mem_free(cell->alert->said);
        cell->alert->said = *said ? mem_copy_bytes(said, strnlen(said, ALERT_MESSAGE_BYTES)) : NULL;
    }
    evaluate_cell(a, s, cell, value, outcome);
}

static void take_results(struct alerts *a, const struct cJSON *rules)
{
    for (const struct cJSON *rule = json_first(rules); rule; rule = json_next(rule)) {
        const struct alert_rule *r = map_get(&a->by_name, json_name(rule));
        for (const struct cJSON *i = json_first(rule); i && r && r->outside; i = json_next(i)) {
            const char *name = json_name(i);
            bool own = r->scope == SCOPE_TIDEGATE;
            struct alert_subject *s = map_get(&a->subjects, own ? "" : name);
            struct alert_cell *cell = cell_of(s, r);
            if (cell) {
                take_result(a, s, cell, i);
            }
        }
    }
}

void alerts_evaluate(struct alerts *a, const struct cJSON *views, const struct cJSON *results,
                     const struct cJSON *suppressed, struct alerts_now at)
{
    enter(a, at);
    a->evaluations++;
    alert_maintain(a, suppressed);
    if (json_get(views, "services")) {
        evaluate_views(a, views);
    }
    take_results(a, json_get(results, "rules"));
    alert_anomalies_take(a, json_get(results, "anomalies"));
    a->policy_errors += json_count(json_get(results, "errors"));
    alert_anomalies_settle(a);
    alert_inhibit(a);
    alert_silences_expire(a);
    alert_groups_flush(a);
    leave(a);
}

void alerts_tick(struct alerts *a, struct alerts_now at)
{
    enter(a, at);
    alert_silences_expire(a);
    if (a->evaluations && a->now_ms >= a->due_ms) { /* before, nobody knows what explains what */
        alert_groups_flush(a);
    }
    leave(a);
}

/* ---- Operators -------------------------------------------------------------------------- */

static struct cJSON *refusal(char *error)
{
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", false);
    json_set_str(out, "error", error);
    mem_free(error);
    return out;
}

static size_t list_count(const struct list *head)
{
    size_t count = 0;
    for (const struct list *l = head->next; l != head; l = l->next) {
        count++;
    }
    return count;
}

struct cJSON *alerts_silence(struct alerts *a, const struct cJSON *matchers, uint64_t for_ms,
                             const char *author, const char *comment, struct alerts_now at)
{
    char *error = NULL;
    enter(a, at);
    if (!for_ms || for_ms > 366ull * 86400000) {
        return refusal(mem_copy("a silence lasts from 1 ms to a year"));
    } else if (list_count(&a->silences) >= ALERT_SILENCES) {
        return refusal(mem_printf("there are %d silences: take some back first", ALERT_SILENCES));
    }
    struct cJSON *out = alert_silence_make(a, matchers, for_ms, author, comment, &error);
    leave(a);
    return out ? out : refusal(error);
}

struct cJSON *alerts_unsilence(struct alerts *a, const char *id, const char *who,
                               struct alerts_now at)
{
    enter(a, at);
    if (!alert_silence_drop(a, id, who)) {
        return refusal(mem_printf("no such silence: %s: `tidegate silence list` lists them", id));
    }
    leave(a);
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", true);
    json_set_str(out, "id", id);
    return out;
}

/* Its fingerprint begins so, or that is its name. */
static bool is_called(const struct alert *al, const char *which)
{
    size_t len = strlen(which);
    return str_same(al->name, which) || (len >= 4 && !strncmp(al->fingerprint, which, len));
}

struct cJSON *alerts_acknowledge(struct alerts *a, const char *which, const char *who,
                                 const char *comment, struct alerts_now at)
{
    uint32_t count = 0;
    enter(a, at);
    for (struct list *l = a->active.next; l != &a->active; l = l->next) {
        struct alert *al = list_owner(l, struct alert, link);
        if (al->state != ALERTS_FIRING || !is_called(al, which)) {
            continue;
        }
        mem_free(al->ack_who);
        mem_free(al->ack_comment);
        al->ack_who = mem_copy(who && *who ? who : "somebody");
        al->ack_comment = mem_copy(comment ? comment : "");
        al->ack_wall_ms = a->wall_ms;
        al->dirty = true;
        alerts_fact_of(a, al, "alert acknowledged", al->ack_who, false);
        count++;
    }
    a->due_ms = NEVER;
    leave(a);
    if (!count) {
        return refusal(
            mem_printf("nothing fires under \"%s\": `tidegate alerts` shows what does", which));
    }
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", true);
    json_set_num(out, "count", count);
    return out;
}

uint64_t alerts_interval_ms(const struct alerts *a)
{
    return a->interval_ms;
}
