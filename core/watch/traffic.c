/* traffic.c: see traffic.h.
 *
 * Owns: for each backend what its row of the board said at the last look, and for each backend and
 * service the difference. A backend's row starts at zero with it, so the first look counts all. */
#include "watch/traffic.h"

#include "base/ban.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "board/board.h"

struct window {
    uint64_t requests, failures, answered, retries, latency_us;
    uint64_t buckets[BOARD_BUCKETS];
    double seconds; /* 0 = none closed yet */
    uint64_t since_ms, look;
};

struct seen {
    uint64_t look;
    uint64_t requests, failures, answered, retries, latency_us;
    uint32_t buckets[BOARD_BUCKETS]; /* modulo 2^32, as on the board */
    struct window window;
};

struct traffic {
    struct board *board;
    uint64_t look;
    uint64_t last_ms;
    struct map backends; /* "service/instance" -> struct seen */
    struct map services; /* name -> struct window */
};

struct traffic *traffic_new(struct board *board)
{
    struct traffic *t = mem_new(sizeof *t);
    t->board = board;
    return t;
}

static void free_values(struct map *m)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(m, &at, &key, &value)) {
        mem_free(value);
    }
    map_free(m);
}

void traffic_free(struct traffic *t)
{
    if (t) {
        free_values(&t->backends);
        free_values(&t->services);
        mem_free(t);
    }
}

static void *value_of(struct map *m, const char *key, size_t size)
{
    void *value = map_get(m, key);
    if (!value) {
        value = mem_new(size);
        (void)map_put(m, key, value);
    }
    return value;
}

/* What a total has grown by; one that fell began anew. */
static uint64_t grown(uint64_t *total, uint64_t now)
{
    uint64_t more = now >= *total ? now - *total : now;
    *total = now;
    return more;
}

static void look_at_histogram(struct traffic *t, unsigned slot, struct seen *b)
{
    uint64_t now[BOARD_BUCKETS] = {0};
    board_histogram(t->board, slot, now);
    for (unsigned i = 0; i < BOARD_BUCKETS; i++) {
        b->window.buckets[i] = (uint32_t)now[i] - b->buckets[i];
        b->buckets[i] = (uint32_t)now[i];
    }
}

static void look_at(struct traffic *t, unsigned slot, struct seen *b)
{
    struct board_sum sum;
    board_sum(t->board, slot, &sum);
    struct window *w = &b->window;
    *w = (struct window){.since_ms = w->since_ms};
    w->requests = grown(&b->requests, sum.answered + sum.outcomes[BOARD_NO_ANSWER]);
    w->failures = grown(&b->failures, sum.outcomes[BOARD_5XX] + sum.outcomes[BOARD_NO_ANSWER]);
    w->answered = grown(&b->answered, sum.answered);
    w->retries = grown(&b->retries, sum.retries);
    w->latency_us = grown(&b->latency_us, sum.latency_us_sum);
    if (w->answered) { /* else the histogram stands still */
        look_at_histogram(t, slot, b);
    }
}

static void close_window(struct window *w, uint64_t now_ms)
{
    w->seconds = w->since_ms && now_ms > w->since_ms ? (double)(now_ms - w->since_ms) / 1000 : 0;
    w->since_ms = now_ms;
}

static void add(struct window *to, const struct window *from)
{
    to->requests += from->requests;
    to->failures += from->failures;
    to->answered += from->answered;
    to->retries += from->retries;
    to->latency_us += from->latency_us;
    for (unsigned i = 0; from->answered && i < BOARD_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
}

static void look_at_service(struct traffic *t, const struct cJSON *service, uint64_t now_ms)
{
    const char *name = json_str(service, "name", "");
    struct window *all = value_of(&t->services, name, sizeof *all);
    *all = (struct window){.since_ms = all->since_ms, .look = t->look};
    for (const struct cJSON *i = json_first(json_get(service, "instances")); i; i = json_next(i)) {
        int64_t slot = json_int(i, "slot", -1);
        if (slot < 0 || slot >= LIMIT_BACKENDS) {
            continue;
        }
        char *key = mem_printf("%s/%s", name, json_str(i, "id", ""));
        struct seen *b = value_of(&t->backends, key, sizeof *b);
        mem_free(key);
        look_at(t, (unsigned)slot, b);
        b->look = t->look;
        /* One that came since the last look has served for no longer than that. */
        b->window.since_ms = b->window.since_ms ? b->window.since_ms : t->last_ms;
        close_window(&b->window, now_ms);
        add(all, &b->window);
    }
    all->since_ms = all->since_ms ? all->since_ms : t->last_ms;
    close_window(all, now_ms);
}

void traffic_look(struct traffic *t, const struct cJSON *services, uint64_t now_ms)
{
    t->look++;
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        look_at_service(t, s, now_ms);
    }
    t->last_ms = now_ms;
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&t->backends, &at, &key, &value)) {
        if (((struct seen *)value)->look != t->look) {
            mem_free(map_remove(&t->backends, key));
        }
    }
    at = 0;
    while (map_next(&t->services, &at, &key, &value)) {
        if (((struct window *)value)->look != t->look) {
            mem_free(map_remove(&t->services, key));
        }
    }
}

static void set_quantile(struct cJSON *to, const char *key, const struct window *w, double q)
{
    json_set_num(to, key, (double)board_quantile_us(w->buckets, q) / 1e6);
}

struct cJSON *traffic_json(const struct traffic *t, const char *service, const char *instance)
{
    struct cJSON *json = json_object();
    const struct window *w;
    if (*instance) {
        char *key = mem_printf("%s/%s", service, instance);
        const struct seen *b = map_get(&t->backends, key);
        mem_free(key);
        w = b ? &b->window : NULL;
    } else {
        w = map_get(&t->services, service);
    }
    if (!w || w->seconds <= 0) {
        return json;
    }
    json_set_num(json, "rate", (double)w->requests / w->seconds);
    json_set_num(json, "retries", (double)w->retries / w->seconds);
    if (w->requests) {
        json_set_num(json, "error_rate", (double)w->failures / (double)w->requests);
    }
    if (w->answered) {
        json_set_num(json, "mean", (double)w->latency_us / (double)w->answered / 1e6);
        set_quantile(json, "p50", w, 0.50);
        set_quantile(json, "p95", w, 0.95);
        set_quantile(json, "p99", w, 0.99);
    }
    return json;
}
