/* learned.c: what anomaly detectors learned and policies keep, for the next policy process and the next daemon.
 *
 *   policy process  --portions-->  series  --some a tick-->  documents "learned" of the store
 *                   <--all of it, before its configuration--
 *
 * Owns: a copy of every series' and every policy's state by its key, as the policy process told it last. It is
 * asked for every SAVE_MS, in a reload and at the end. Invariants: what is written never fills the store's queue,
 * where events wait too. A state is forgotten with its service, instance, alert or policy. Does not: understand
 * states. */
#include "app/history.h"
#include "app/master.h"

#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "fleet/fleet.h"
#include "store/store.h"

enum {
    SAVE_MS = 300000,
    ANSWER_MS = 1000,        /* what is asked for is waited for so long, portion by portion */
    PORTION_BYTES = 4 << 20, /* of series in one message */
    SERIES_MOST = 100000,    /* more are learned anew */
    SERIES_BYTES = 1 << 17,  /* longest state that is kept */
    WRITE_BYTES = 1 << 20,   /* in one tick */
    QUEUED_MOST = 1000,      /* more than that waits in the store: not now */
    END_BYTES = 32 << 20     /* at the end all at once, but no more */
};

struct learned_series {
    char *state;  /* JSON text */
    bool changed; /* since it was written */
};

static void set(struct master *m, const char *key, const char *state, bool changed)
{
    struct learned_series *s = map_get(&m->learned.series, key);
    if (strlen(state) > SERIES_BYTES || (!s && m->learned.series.count >= SERIES_MOST)) {
        return;
    }
    if (!s) {
        s = mem_new(sizeof *s);
        (void)map_put(&m->learned.series, key, s);
    } else if (!strcmp(s->state, state)) {
        return;
    }
    mem_free(s->state);
    s->state = mem_copy(state);
    m->learned.changed += changed && !s->changed;
    s->changed = s->changed || changed;
}

/* ---- Writing ---- */

/* Some of what changed, in one transaction. */
static void write_changed(struct master *m, size_t most_bytes)
{
    struct learned *l = &m->learned;
    const char *key;
    void *value;
    size_t bytes = 0;
    if (!m->history || !l->changed) {
        return;
    }
    store_batch_begin(m->history->store);
    for (unsigned rounds = 0; l->changed && bytes < most_bytes;) {
        if (!map_next(&l->series, &l->at, &key, &value)) {
            l->at = 0;
            must(++rounds <= 2);
            continue;
        }
        struct learned_series *s = value;
        if (s->changed) {
            s->changed = false;
            l->changed--;
            bytes += strlen(key) + strlen(s->state);
            kept_put(m, "learned", key, s->state);
        }
    }
    store_batch_commit(m->history->store);
}

static void write_some(struct master *m)
{
    struct store_figures figures = {0};
    if (m->history && m->learned.changed) {
        store_figures(m->history->store, &figures);
        if (figures.sequence - figures.durable < QUEUED_MOST) {
            write_changed(m, WRITE_BYTES);
        }
    }
}

/* ---- Forgetting ---- */

static void want(struct map *to, struct master *m, const char *kind, const char *policy,
                 const char *of)
{
    char *begin = mem_printf("%s:%s|%s|", kind, policy, of);
    (void)map_put(to, begin, m);
    mem_free(begin);
}

/* Whose policies keep something, as script_cold_save names them. */
static void list_keeping(struct master *m, struct map *to)
{
    const struct cJSON *s = json_first(json_get(m->config, "services"));
    for (; s; s = json_next(s)) {
        const char *name = json_str(s, "name", "");
        const struct cJSON *scale = json_get(s, "scale");
        want(to, m, "scale", json_str(scale, "policy", ""), name);
        const struct cJSON *shadow = json_first(json_get(scale, "shadows"));
        for (; shadow; shadow = json_next(shadow)) {
            want(to, m, "scale", json_str(shadow, "policy", ""), name);
            want(to, m, "shadow", json_str(shadow, "name", ""), name);
        }
    }
    for (s = json_first(json_get(m->config, "alerts")); s; s = json_next(s)) {
        want(to, m, "alert", json_str(json_get(s, "when"), "policy", ""), json_str(s, "name", ""));
    }
    want(to, m, "notify", json_str(json_path(m->config, "alerting.notify"), "policy", ""), "");
}

/* What is watched: "policy|service|" and "policy|service|instance", as keys begin. */
static void list_watched(struct master *m, struct map *to)
{
    struct map policies = {0};
    const struct cJSON *s = json_first(json_get(m->config, "services"));
    for (; s; s = json_next(s)) {
        const char *policy = json_str(json_get(s, "anomaly"), "policy", "");
        if (*policy) {
            (void)map_put(&policies, json_str(s, "name", ""), (void *)policy);
        }
    }
    struct cJSON *status = fleet_status(m->fleet, NULL, clock_now_ms());
    for (s = json_first(json_get(status, "services")); s; s = json_next(s)) {
        const char *name = json_str(s, "name", ""), *policy = map_get(&policies, name);
        const struct cJSON *i = policy ? json_first(json_get(s, "instances")) : NULL;
        char *begin = mem_printf("%s|%s|", policy ? policy : "", name);
        (void)map_put(to, begin, m);
        for (; i; i = json_next(i)) {
            char *one = mem_printf("%s%s", begin, json_str(i, "id", ""));
            (void)map_put(to, one, m);
            mem_free(one);
        }
        mem_free(begin);
    }
    json_free(status);
    map_free(&policies);
}

static bool is_watched(const struct map *watched, const char *key)
{
    const char *end = key;
    for (int bars = 0; *end && (bars += *end == '|') < 3; end++) {
    }
    char *begin = mem_copy_bytes(key, (size_t)(end - key));
    bool is = map_get(watched, begin) != NULL;
    mem_free(begin);
    return is;
}

static void drop(struct master *m, const char *key, struct learned_series *s)
{
    m->learned.changed -= s->changed;
    (void)map_remove(&m->learned.series, key);
    kept_put(m, "learned", key, NULL);
    mem_free(s->state);
    mem_free(s);
}

/* Not before it is known what runs, else all of it would seem gone. */
static void forget_gone(struct master *m)
{
    struct map watched = {0};
    const char *key;
    void *series;
    if (m->phase != MASTER_SERVING || !fleet_surveyed(m->fleet)) {
        return;
    }
    list_watched(m, &watched);
    list_keeping(m, &watched);
    for (size_t at = 0; map_next(&m->learned.series, &at, &key, &series);) {
        if (!is_watched(&watched, key)) {
            drop(m, key, series);
        }
    }
    map_free(&watched);
}

/* ---- The policy process ---- */

void learned_on_portion(struct master *m, const struct cJSON *portion)
{
    const struct cJSON *one = json_first(json_get(portion, "series"));
    for (; one; one = json_next(one)) {
        char *state = json_text(one);
        set(m, json_name(one), state, true);
        mem_free(state);
    }
    if (json_get(portion, "recent")) {
        mem_free(m->learned.recent);
        m->learned.recent = json_text(json_get(portion, "recent"));
    }
    m->learned.asked_ms = m->learned.asked_ms ? clock_now_ms() : 0; /* more is coming */
    if (json_bool(portion, "last", true)) {
        m->learned.asked_ms = 0;
        forget_gone(m);
        reload_on_learned(m);
    }
}

/* A message in the making: states are text, and stay it. */
struct giving {
    struct child *child;
    struct buf text;
    int failed;
    bool some;
};

static void begin(struct giving *g)
{
    buf_init(&g->text, LIMIT_IPC_BYTES);
    g->failed = buf_text(&g->text, "{\"series\":{");
    g->some = false;
}

static void add(struct giving *g, const char *key, const char *state)
{
    struct cJSON *name = json_string(key);
    char *quoted = json_text(name);
    g->failed |= buf_text(&g->text, g->some ? "," : "");
    g->failed |= buf_text(&g->text, quoted) | buf_text(&g->text, ":");
    g->failed |= buf_text(&g->text, state);
    g->some = true;
    mem_free(quoted);
    json_free(name);
}

/* `recent` and `before`, the configuration in force to compare with, are texts or NULL. */
static void end(struct giving *g, bool strict, const char *recent, const char *before)
{
    g->failed |= buf_text(&g->text, strict ? "},\"strict\":true" : "},\"strict\":false");
    if (before) {
        g->failed |=
            buf_text(&g->text, ",\"recent\":") | buf_text(&g->text, recent ? recent : "{}");
        g->failed |= buf_text(&g->text, ",\"before\":") | buf_text(&g->text, before);
    }
    g->failed |= buf_text(&g->text, "}");
    if (g->failed) {
        log_warn("what was learned does not fit into a message: some of it is learned anew", "");
    } else {
        child_send(g->child, IPC_LEARNED, 0, buf_str(&g->text));
    }
    buf_free(&g->text);
}

void learned_give(struct master *m, struct child *child, bool strict)
{
    struct giving g = {.child = child};
    const char *key;
    void *value;
    begin(&g);
    for (size_t at = 0; map_next(&m->learned.series, &at, &key, &value);) {
        add(&g, key, ((const struct learned_series *)value)->state);
        if (g.text.len > PORTION_BYTES) {
            end(&g, strict, NULL, NULL);
            begin(&g);
        }
    }
    end(&g, strict, m->learned.recent, strict ? m->config_text : NULL);
    mem_release(&m->learned.recent);
}

void learned_ask(struct master *m, bool recent)
{
    if (m->policy && m->policy->ready) {
        m->learned.asked_ms = clock_now_ms();
        child_send(m->policy, IPC_LEARNED, m->generation,
                   recent ? "{\"save\":true,\"recent\":true}" : "{\"save\":true}");
    }
}

/* ---- Life ---- */

static void on_kept(struct master *m, const char *kind, const char *key, const char *json)
{
    (void)kind;
    struct cJSON *state = json_parse(json, strlen(json));
    if (state) {
        set(m, key, json, false);
    } else {
        log_warn("what was learned is damaged: it is learned anew", "series=%s", key);
        kept_put(m, "learned", key, NULL);
    }
    json_free(state);
}

void learned_open(struct master *m)
{
    kept_recall(m, "learned", on_kept);
    if (m->learned.series.count) {
        log_info("detectors and policies go on from what they learned", "series=%zu",
                 m->learned.series.count);
    }
}

void learned_tick(struct master *m, uint64_t now_ms)
{
    if (!m->learned.due_ms || now_ms >= m->learned.due_ms) {
        m->learned.due_ms = now_ms + SAVE_MS;
        learned_ask(m, false);
    }
    write_some(m);
}

bool learned_awaited(const struct master *m, uint64_t now_ms)
{
    return m->learned.asked_ms && m->policy && now_ms < m->learned.asked_ms + ANSWER_MS;
}

void learned_close(struct master *m)
{
    const char *key;
    void *value;
    write_changed(m, END_BYTES);
    for (size_t at = 0; map_next(&m->learned.series, &at, &key, &value);) {
        struct learned_series *s = value;
        mem_free(s->state);
        mem_free(s);
    }
    map_free(&m->learned.series);
    mem_release(&m->learned.recent);
}
