/* view.c: see view.h. The parts of a view by where they come from: fleet's status, windows of traffic
 * (traffic.c), what was collected (collect.h); a service's are made of its instances' (merge.c).
 *
 * Owns: counts over ten and five minutes. Invariant: what is not known is absent. */
#include "watch/view.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "watch/collect.h"
#include "watch/merge.h"
#include "watch/traffic.h"

enum {
    LONG_MS = 600000, /* of restarts and kills */
    SHORT_MS = 300000,
    LAG_MS = 10000,
    PARTS = 20 /* that such a time is counted in */
};

/* How much a total rose within a time, to a twentieth of it. */
struct recent {
    bool known;
    uint64_t total, span_ms, at_ms[PARTS];
    double part[PARTS];
};

/* What is counted of a service or an instance. */
struct counts {
    struct recent restarts, oom_kills;
    uint64_t seen; /* number of the last look */
};

struct views {
    struct board *board;
    struct traffic *traffic;
    struct map counts; /* "service" or "service/instance" -> struct counts */
    uint64_t looks;
    bool has_own;
    struct views_own own;
    struct recent errors, exhausted;
    struct recent lag; /* here a part is the worst of its time, in us */
};

/* ---- Counts over a time ------------------------------------------------------------------- */

/* The part of now, emptied when it was last used a whole time ago. */
static double *part_of(struct recent *r, uint64_t now_ms)
{
    uint64_t part_ms = r->span_ms / PARTS, at = now_ms / part_ms;
    if (r->at_ms[at % PARTS] != at * part_ms) {
        r->at_ms[at % PARTS] = at * part_ms;
        r->part[at % PARTS] = 0;
    }
    return &r->part[at % PARTS];
}

/* A first total is where counting begins: `from` of it is news. */
static void recent_total(struct recent *r, uint64_t span_ms, uint64_t total, uint64_t from,
                         uint64_t now_ms)
{
    r->span_ms = span_ms;
    uint64_t was = r->known ? r->total : from;
    if (total > was) {
        *part_of(r, now_ms) += (double)(total - was);
    }
    r->known = true;
    r->total = total;
}

static double recent_sum(const struct recent *r, uint64_t now_ms)
{
    double sum = 0;
    for (int i = 0; r->known && i < PARTS; i++) {
        sum += r->at_ms[i] + r->span_ms > now_ms ? r->part[i] : 0;
    }
    return sum;
}

static double recent_most(const struct recent *r, uint64_t now_ms)
{
    double most = 0;
    for (int i = 0; r->known && i < PARTS; i++) {
        most = r->at_ms[i] + r->span_ms > now_ms ? fmax(most, r->part[i]) : most;
    }
    return most;
}

static struct counts *counts_of(struct views *v, const char *service, const char *instance)
{
    char *key = mem_printf("%s/%s", service, instance);
    struct counts *c = map_get(&v->counts, key);
    if (!c) {
        c = mem_new(sizeof *c);
        (void)map_put(&v->counts, key, c);
    }
    mem_free(key);
    c->seen = v->looks;
    return c;
}

static const struct counts *counts_find(const struct views *v, const char *service,
                                        const char *instance)
{
    char *key = mem_printf("%s/%s", service, instance);
    const struct counts *c = map_get(&v->counts, key);
    mem_free(key);
    return c;
}

static void count_service(struct views *v, const struct cJSON *s, uint64_t now_ms)
{
    const char *name = json_str(s, "name", "");
    struct counts *all = counts_of(v, name, "");
    uint64_t restarts = all->restarts.total;
    for (const struct cJSON *i = json_first(json_get(s, "instances")); i; i = json_next(i)) {
        struct counts *c = counts_of(v, name, json_str(i, "id", ""));
        uint64_t now = (uint64_t)json_int(i, "restarts", 0),
                 kills = (uint64_t)json_int(i, "oom_kills", 0);
        restarts += c->restarts.known && now > c->restarts.total ? now - c->restarts.total : 0;
        recent_total(&c->restarts, LONG_MS, now, now, now_ms);
        recent_total(&c->oom_kills, LONG_MS, kills, 0, now_ms);
    }
    recent_total(&all->restarts, LONG_MS, restarts, restarts, now_ms);
    recent_total(&all->oom_kills, LONG_MS, (uint64_t)json_int(s, "oom_kills", 0), 0, now_ms);
}

static void count_own(struct views *v, const struct views_own *own, uint64_t now_ms)
{
    uint64_t errors = own->policy_errors, exhausted = 0;
    for (unsigned w = 0; w < board_workers(v->board); w++) {
        const struct board_worker *row = board_worker(v->board, w);
        errors += board_get(&row->policy_errors) + board_get(&row->reader_errors);
        exhausted += board_get(&row->exhausted);
    }
    recent_total(&v->errors, SHORT_MS, errors, 0, now_ms);
    recent_total(&v->exhausted, SHORT_MS, exhausted, 0, now_ms);
    v->lag.known = true;
    v->lag.span_ms = LAG_MS;
    double *worst = part_of(&v->lag, now_ms);
    *worst = fmax(*worst, own->loop_lag_s);
    v->own = *own;
    v->has_own = true;
}

void views_sample(struct views *v, const struct cJSON *status, const struct views_own *own,
                  uint64_t now_ms)
{
    const struct cJSON *services = json_get(status, "services");
    v->looks++;
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        count_service(v, s, now_ms);
    }
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&v->counts, &at, &key, &value)) {
        if (((struct counts *)value)->seen != v->looks) {
            mem_free(map_remove(&v->counts, key));
        }
    }
    count_own(v, own, now_ms);
    traffic_look(v->traffic, services, now_ms);
}

/* ---- One view ----------------------------------------------------------------------------- */

static struct cJSON *view_new(const char *service, const char *instance, uint64_t wall_ms)
{
    struct cJSON *view = json_object(), *labels = json_object();
    json_set_str(view, "service", service);
    json_set_str(labels, "service", service);
    if (instance) {
        json_set_str(view, "instance", instance);
        json_set_str(labels, "instance", instance);
    }
    json_set_num(view, "at_ms", (double)wall_ms);
    json_set(view, "labels", labels);
    return view;
}

/* Sets number `key` of `to` to that of `from`, times `factor`, when there is one. */
static void take(struct cJSON *to, const char *key, const struct cJSON *from, const char *name,
                 double factor)
{
    double value = json_num(from, name, NAN);
    if (!isnan(value)) {
        json_set_num(to, key, value * factor);
    }
}

/* A group is absent while nothing of it is known. */
static void set_group(struct cJSON *view, const char *name, struct cJSON *group)
{
    if (json_count(group)) {
        json_set(view, name, group);
    } else {
        json_free(group);
    }
}

static struct cJSON *health_of(const struct cJSON *instance)
{
    struct cJSON *h = json_object();
    const char *state = json_str(instance, "state", "");
    bool down = str_same(state, "down");
    json_set_str(h, "status", state);
    if (down || str_same(state, "up")) {
        json_set_num(h, "up", !down);
        if (json_get(instance, "running")) {
            json_set_num(h, "unhealthy", down && json_bool(instance, "running", false));
        }
    }
    take(h, "restarts", instance, "restarts", 1);
    return h;
}

static void add_counts(struct cJSON *health, const struct counts *c, uint64_t now_ms)
{
    if (c) {
        json_set_num(health, "restarts_10m", recent_sum(&c->restarts, now_ms));
        json_set_num(health, "oom_kills_10m", recent_sum(&c->oom_kills, now_ms));
    }
}

static struct cJSON *resources_of(const struct cJSON *instance)
{
    struct cJSON *r = json_object(), *network = json_object();
    take(r, "cpu_usage", instance, "cpu_percent", 1);
    take(r, "memory_usage", instance, "memory_percent", 1);
    take(r, "memory_bytes", instance, "memory_bytes", 1);
    take(network, "received_bytes_per_second", instance, "received_bytes_per_second", 1);
    take(network, "sent_bytes_per_second", instance, "sent_bytes_per_second", 1);
    set_group(r, "network", network);
    return r;
}

static bool takes_requests(const struct cJSON *instance)
{
    return str_same(json_str(instance, "state", ""), "up") &&
           !json_bool(instance, "drained", false);
}

/* The balancer's words for what a service may tell of its own performance. */
static struct cJSON *performance_by_traffic(const struct cJSON *traffic)
{
    static const char *const pairs[][2] = {
        {"throughput", "rate"}, {"error_rate", "error_rate"},  {"p50", "p50"}, {"p95", "p95"},
        {"p99", "p99"},         {"avg_response_time", "mean"},
    };
    struct cJSON *p = json_object();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        take(p, pairs[i][0], traffic, pairs[i][1], 1);
    }
    return p;
}

/* Adds a collected group to one of ours; its own members win, but not those that tidegate alone knows. */
static void add_collected(struct cJSON *group, const struct cJSON *collected)
{
    static const char *const ours[] = {"up",           "unhealthy",     "restarts",
                                       "restarts_10m", "oom_kills_10m", "collected"};
    for (const struct cJSON *m = json_first(collected); m; m = json_next(m)) {
        bool kept = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
            kept = kept || str_same(json_name(m), ours[i]);
        }
        if (!kept) {
            json_remove(group, json_name(m));
            json_set(group, json_name(m), json_copy(m));
        }
    }
}

/* What a group has instead of ours: nothing, when it is asked for and not fresh. */
static void set_collected(struct cJSON *view, const struct cJSON *all)
{
    for (const struct cJSON *group = json_first(all); group; group = json_next(group)) {
        const char *name = json_name(group);
        if (str_same(name, "collected")) {
            json_set_num(json_get(view, "health"), "collected", json_value_num(group, 0));
        } else if (str_same(name, "health")) {
            add_collected(json_get(view, "health"), group);
        } else {
            json_remove(view, name);
            if (json_count(group)) {
                json_set(view, name, json_copy(group));
            }
        }
    }
}

/* What a view is made of, beside its instance or service. */
struct making {
    const struct views *v;
    const struct collect *collected;
    uint64_t now_ms, wall_ms;
    const char *service;
    bool own_performance; /* the service tells of its performance itself */
};

static struct cJSON *instance_view(struct making *m, const struct cJSON *instance)
{
    const char *id = json_str(instance, "id", "");
    struct cJSON *view = view_new(m->service, id, m->wall_ms);
    struct cJSON *health = health_of(instance);
    struct cJSON *traffic = traffic_json(m->v->traffic, m->service, id);
    add_counts(health, counts_find(m->v, m->service, id), m->now_ms);
    json_set(view, "health", health);
    set_group(view, "performance", performance_by_traffic(traffic));
    set_group(view, "resources", resources_of(instance));
    json_remove(traffic, "mean");
    take(traffic, "in_flight", instance, "in_flight", 1);
    json_set_num(traffic, "backends", takes_requests(instance));
    json_set_num(traffic, "open_circuits", str_same(json_str(instance, "circuit", ""), "open"));
    json_set(view, "traffic", traffic);
    if (m->collected) {
        struct cJSON *all = collect_view(m->collected, m->service, id, m->now_ms);
        m->own_performance = m->own_performance || json_get(all, "performance");
        set_collected(view, all);
        json_free(all);
    }
    return view;
}

/* ---- A service ---------------------------------------------------------------------------- */

/* Nobody expects a backend of a service that is stopped, or scaled to nothing. */
static bool wants_backends(const struct cJSON *s)
{
    return !json_bool(s, "stopped", false) && json_num(s, "desired", 0) > 0;
}

static struct cJSON *service_traffic(const struct views *v, const struct cJSON *s)
{
    struct cJSON *t = traffic_json(v->traffic, json_str(s, "name", ""), "");
    const struct cJSON *status = json_get(s, "traffic");
    unsigned backends = 0, open = 0;
    for (const struct cJSON *i = json_first(json_get(s, "instances")); i; i = json_next(i)) {
        backends += takes_requests(i);
        open += str_same(json_str(i, "circuit", ""), "open");
    }
    take(t, "in_flight", status, "in_flight", 1);
    take(t, "queue", status, "queue", 1);
    if (wants_backends(s)) {
        json_set_num(t, "backends", backends);
    }
    json_set_num(t, "open_circuits", open);
    return t;
}

static struct cJSON *scale_of(const struct cJSON *s)
{
    struct cJSON *scale = json_object();
    const struct cJSON *last = json_get(s, "last_decision");
    double min = json_num(s, "min", 0), max = json_num(s, "max", 0);
    take(scale, "desired", s, "desired", 1);
    take(scale, "up", s, "up", 1);
    json_set_num(scale, "deploy_failed",
                 str_same(json_str(json_get(s, "deploy"), "state", ""), "failed"));
    if (max > min) {
        json_set_num(scale, "min", min);
        json_set_num(scale, "max", max);
        json_set_num(scale, "at_max", json_num(s, "desired", 0) >= max);
        json_set_num(scale, "wants_more", str_same(json_str(last, "held_by", ""), "max"));
    }
    return scale;
}

static struct cJSON *service_view(struct making *m, const struct cJSON *s)
{
    struct cJSON *instances = json_object(), *view = view_new(m->service, NULL, m->wall_ms);
    m->own_performance = false;
    for (const struct cJSON *i = json_first(json_get(s, "instances")); i; i = json_next(i)) {
        json_set(instances, json_str(i, "id", ""), instance_view(m, i));
    }
    struct cJSON *traffic = service_traffic(m->v, s);
    merge_views(view, instances);
    if (!m->own_performance) { /* quantiles of all requests, not means of quantiles */
        json_remove(view, "performance");
        set_group(view, "performance", performance_by_traffic(traffic));
    }
    struct cJSON *health = json_get(view, "health");
    if (!health) {
        health = json_object();
        json_set(view, "health", health);
    }
    json_remove(health, "restarts_10m"); /* of those that are gone, too */
    json_remove(health, "oom_kills_10m");
    add_counts(health, counts_find(m->v, m->service, ""), m->now_ms);
    json_remove(traffic, "mean");
    json_set(view, "traffic", traffic);
    json_set(view, "scale", scale_of(s));
    if (m->collected) {
        struct cJSON *all = collect_view(m->collected, m->service, "", m->now_ms);
        set_collected(view, all);
        json_free(all);
    }
    json_set(view, "instances", instances);
    return view;
}

/* ---- tidegate itself ---------------------------------------------------------------------- */

static void put_known(struct cJSON *to, const char *key, double value)
{
    if (value >= 0) {
        json_set_num(to, key, value);
    }
}

static struct cJSON *own_view(const struct views *v, const struct cJSON *status, uint64_t now_ms,
                              uint64_t wall_ms)
{
    struct cJSON *view = json_object();
    json_set_num(view, "at_ms", (double)wall_ms);
    json_set(view, "labels", json_object());
    const char *engine = json_str(json_get(status, "engine"), "state", "");
    if (*engine) {
        json_set_num(view, "engine_up", str_same(engine, "up"));
    }
    if (v->has_own) {
        json_set_num(view, "policy_errors_5m", recent_sum(&v->errors, now_ms));
        json_set_num(view, "policies_quarantined", v->own.policies_quarantined);
        json_set_num(view, "descriptors_exhausted_5m", recent_sum(&v->exhausted, now_ms));
        json_set_num(view, "loop_lag", recent_most(&v->lag, now_ms));
        json_set_num(view, "reload_failed", v->own.reload_failed);
        json_set_num(view, "workers", v->own.workers);
        put_known(view, "disk_free", v->own.disk_free);
        put_known(view, "disk_free_bytes", v->own.disk_free_bytes);
        put_known(view, "notifications_waiting", v->own.notifications_waiting);
        put_known(view, "store_errors", v->own.store_errors);
        if (v->own.has_certificates) {
            json_set_num(view, "certificate_days_left", v->own.certificate_days_left);
        }
    }
    return view;
}

/* ---- All of them -------------------------------------------------------------------------- */

struct views *views_new(struct board *board)
{
    struct views *v = mem_new(sizeof *v);
    v->board = board;
    v->traffic = traffic_new(board);
    return v;
}

void views_free(struct views *v)
{
    if (!v) {
        return;
    }
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&v->counts, &at, &key, &value)) {
        mem_free(value);
    }
    map_free(&v->counts);
    traffic_free(v->traffic);
    mem_free(v);
}

struct cJSON *views_build(const struct views *v, const struct cJSON *status,
                          const struct collect *collected, uint64_t now_ms, uint64_t wall_ms)
{
    struct making m = {.v = v, .collected = collected, .now_ms = now_ms, .wall_ms = wall_ms};
    struct cJSON *views = json_object(), *services = json_object();
    for (const struct cJSON *s = json_first(json_get(status, "services")); s; s = json_next(s)) {
        if (!str_same(json_str(s, "source", ""), "gone")) {
            m.service = json_str(s, "name", "");
            json_set(services, m.service, service_view(&m, s));
        }
    }
    json_set(views, "services", services);
    json_set(views, "tidegate", own_view(v, status, now_ms, wall_ms));
    return views;
}

bool views_number(const struct cJSON *view, const char *path, double *ret_value)
{
    static const char prefix[] = "prometheus.";
    const struct cJSON *at = strncmp(path, prefix, sizeof prefix - 1) == 0
                                 ? json_get(json_get(view, "prometheus"), path + sizeof prefix - 1)
                                 : json_path(view, path);
    if (json_kind(at) == JSON_NUMBER) {
        *ret_value = json_value_num(at, 0);
        return true;
    }
    if (json_kind(at) == JSON_BOOL) {
        *ret_value = json_value_bool(at, false);
        return true;
    }
    return false;
}
