/* collect.c: see collect.h.
 *
 * Owns: a plan for each service that was ever configured to be collected (its count of failures outlives its
 * configuration), and a target for each endpoint of each instance that is up.
 * Invariants: a target that is removed while it is asked stays until the call has come back, and is silent.
 * A call's outcome is taken in one place, on_done. */
#include "watch/collect.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"
#include "watch/promtext.h"
#include "watch/scrape.h"

enum {
    TIMEOUT_MOST_MS = 10000,
    INTERVAL_MS = 15000,
    INTERVAL_LEAST_MS = 100,
    DEPTH = 32
};

/* What a service's `collect` says. */
struct plan {
    char *service;
    bool on; /* it is in the configuration */
    uint64_t failures;
    char *paths[COLLECT_ENDPOINTS]; /* NULL = not asked for */
    uint32_t interval_ms, timeout_ms;
    uint64_t max_body, max_samples;
    bool http2, https; /* the service speaks it, */
    struct cJSON *tls; /* and is checked as it says (`upstream_tls`); may be NULL */
    uint64_t version;  /* of the collector when it last changed */
};

struct target {
    struct collect *owner;
    struct plan *plan;
    char *instance, *address, *key;
    enum collect_endpoint endpoint;
    uint64_t version; /* of the plan it was made by */
    uint64_t look;    /* last collect_follow that saw it */
    bool removed;
    struct net_call *call; /* under way */
    uint64_t next_ms, began_ms, good_ms;
    bool tried, up;
    uint32_t took_ms;
    uint64_t tries, failures, samples, bad;
    char error[COLLECT_ERROR_BYTES];
    struct cJSON *answer;  /* the last good one, or NULL */
    struct scrape *scrape; /* prometheus: its series */
    struct promtext page;  /* ... and the page that comes */
    uint64_t got;          /* bytes of it */
    bool too_much, too_many;
    int status;
};

struct collect {
    struct net_client *client;
    collect_changed_fn *on_changed;
    void *arg;
    struct map plans;   /* service -> plan */
    struct map targets; /* "service/instance/endpoint" -> target */
    struct map wanted;  /* metrics that rules name -> the collector */
    uint64_t version, look;
    unsigned calls;
    bool closing;
};

static const char *const names[COLLECT_ENDPOINTS] = {"health", "performance", "data", "prometheus"};

const char *collect_endpoint_name(enum collect_endpoint endpoint)
{
    return names[endpoint];
}

/* ---- Targets ------------------------------------------------------------------------------- */

static bool fresh(const struct target *t, uint64_t now_ms)
{
    uint64_t kept_ms = 2 * (uint64_t)t->plan->interval_ms + t->plan->timeout_ms;
    return t->up && t->good_ms && now_ms <= t->good_ms + kept_ms;
}

static void target_free(struct target *t)
{
    json_free(t->answer);
    scrape_free(t->scrape);
    promtext_free(&t->page);
    mem_free(t->instance);
    mem_free(t->address);
    mem_free(t->key);
    mem_free(t);
}

/* Out of the map at once; its memory goes when its call has come back. */
static void target_remove(struct collect *c, struct target *t)
{
    (void)map_remove(&c->targets, t->key);
    t->removed = true;
    if (t->call) {
        net_call_cancel(t->call);
    } else {
        target_free(t);
    }
}

static void describe(const struct target *t, uint64_t now_ms, struct collect_target *ret)
{
    *ret = (struct collect_target){
        .service = t->plan->service,
        .instance = t->instance,
        .endpoint = t->endpoint,
        .tried = t->tried,
        .up = t->up,
        .fresh = fresh(t, now_ms),
        .took_s = (double)t->took_ms / 1000,
        .age_s = t->good_ms ? (double)(now_ms - t->good_ms) / 1000 : -1,
        .tries = t->tries,
        .failures = t->failures,
        .samples = t->samples,
        .bad = t->bad,
        .error = t->error,
    };
}

static void conclude(struct target *t, bool good, uint64_t now_ms)
{
    struct collect *c = t->owner;
    bool changed = good ? t->tried && !t->up : !t->tried || t->up;
    t->tried = true;
    t->up = good;
    t->tries++;
    if (good) {
        t->good_ms = now_ms;
        t->error[0] = '\0';
    } else {
        t->failures++;
        t->plan->failures++;
        json_free(t->answer);
        t->answer = NULL;
    }
    if (changed && c->on_changed) {
        struct collect_target told;
        describe(t, now_ms, &told);
        c->on_changed(c->arg, &told);
    }
}

/* ---- The end ------------------------------------------------------------------------------- */

static void collect_free(struct collect *c)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&c->plans, &at, &key, &value)) {
        struct plan *p = value;
        for (int i = 0; i < COLLECT_ENDPOINTS; i++) {
            mem_free(p->paths[i]);
        }
        json_free(p->tls);
        mem_free(p->service);
        mem_free(p);
    }
    map_free(&c->plans);
    map_free(&c->targets);
    map_free(&c->wanted);
    mem_free(c);
}

static void free_if_done(struct collect *c)
{
    if (c->closing && !c->calls) {
        collect_free(c);
    }
}

/* ---- Answers ------------------------------------------------------------------------------- */

static bool fail(struct target *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct target *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->error, sizeof t->error, format, args);
    va_end(args);
    return false;
}

/* Numbers in it, nested ones too; more than any limit when it is nested too deeply. */
static uint64_t count_numbers(const struct cJSON *value, unsigned depth)
{
    enum json_kind kind = json_kind(value);
    if (kind != JSON_OBJECT && kind != JSON_ARRAY) {
        return kind == JSON_NUMBER || kind == JSON_BOOL;
    }
    uint64_t count = 0;
    for (const struct cJSON *m = json_first(value); m; m = json_next(m)) {
        count += depth < DEPTH ? count_numbers(m, depth + 1) : UINT32_MAX;
    }
    return count;
}

static bool take_json(struct target *t, const struct net_answer *answer)
{
    struct cJSON *json = json_parse(answer->body, answer->body_len);
    if (json_kind(json) != JSON_OBJECT) {
        json_free(json);
        return fail(t, "its answer is no JSON object");
    }
    t->samples = count_numbers(json, 0);
    if (t->samples > t->plan->max_samples) {
        json_free(json);
        return fail(t, "its answer has more than %llu numbers",
                    (unsigned long long)t->plan->max_samples);
    }
    json_free(t->answer);
    t->answer = json;
    return true;
}

static bool take_page(struct target *t)
{
    if (!t->too_much) {
        promtext_end(&t->page);
    }
    t->samples = t->page.samples;
    t->bad = t->page.bad;
    if (t->too_many) {
        return fail(t, "its page has more than %llu samples",
                    (unsigned long long)t->plan->max_samples);
    }
    if (!t->samples && t->bad) {
        return fail(t, "its page is no Prometheus text");
    }
    scrape_end(t->scrape);
    return true;
}

static bool take_answer(struct target *t, const struct net_answer *answer)
{
    bool any_status = t->endpoint == COLLECT_HEALTH;
    if (t->too_much || answer->error == -EMSGSIZE) {
        return fail(t, "its answer is longer than %llu bytes",
                    (unsigned long long)t->plan->max_body);
    }
    if (answer->error && !t->too_many) {
        return fail(t, "%s", *answer->error_text ? answer->error_text : err_text(answer->error));
    }
    if (!answer->error && !any_status && (answer->status < 200 || answer->status > 299)) {
        return fail(t, "it answered %d", answer->status);
    }
    return t->endpoint == COLLECT_PROMETHEUS ? take_page(t) : take_json(t, answer);
}

static void on_done(void *arg, const struct net_answer *answer)
{
    struct target *t = arg;
    struct collect *c = t->owner;
    t->call = NULL;
    c->calls--;
    if (t->removed) {
        target_free(t);
        free_if_done(c);
        return;
    }
    t->took_ms = answer->took_ms;
    conclude(t, take_answer(t, answer), clock_now_ms());
    promtext_free(&t->page);
}

static void on_sample(void *arg, const struct promtext_sample *sample)
{
    struct target *t = arg;
    if (t->page.samples > t->plan->max_samples) {
        t->too_many = true;
        return;
    }
    scrape_sample(t->scrape, sample);
}

static void on_head(void *arg, int status)
{
    struct target *t = arg;
    t->status = status;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct target *t = arg;
    if (t->removed || t->too_much || t->too_many || t->status < 200 || t->status > 299) {
        return;
    }
    t->got += len;
    t->too_much = t->got > t->plan->max_body;
    if (!t->too_much) {
        promtext_feed(&t->page, bytes, len);
    }
    if (t->too_much || t->too_many) {
        net_call_cancel(t->call);
    }
}

/* ---- Calls --------------------------------------------------------------------------------- */

static void begin_page(struct target *t, uint64_t now_ms)
{
    t->got = 0;
    t->status = 0;
    t->too_much = t->too_many = false;
    promtext_init(&t->page, on_sample, t);
    scrape_begin(t->scrape, now_ms, clock_wall_ms());
}

static void ask(struct target *t, uint64_t now_ms)
{
    static const char *const json_headers[] = {"Accept: application/json", NULL};
    static const char *const text_headers[] = {"Accept: text/plain;version=0.0.4", NULL};
    static const char unix_prefix[] = "unix:";
    bool page = t->endpoint == COLLECT_PROMETHEUS;
    bool on_unix = str_starts(str_of(t->address), unix_prefix);
    const struct plan *plan = t->plan;
    const char *name = plan->https && !on_unix ? json_str(plan->tls, "name", NULL) : NULL;
    const struct net_tls tls = {.ca = json_str(plan->tls, "ca", NULL),
                                .certificate = json_str(plan->tls, "certificate", NULL),
                                .key = json_str(plan->tls, "key", NULL),
                                .skip_verify = !json_bool(plan->tls, "verify", true)};
    const char *port = name ? strrchr(t->address, ':') : NULL;
    char *url = mem_printf("%s://%s%s%s", plan->https ? "https" : "http",
                           on_unix ? "localhost"
                           : name  ? name
                                   : t->address,
                           port ? port : "", plan->paths[t->endpoint]);
    struct net_request request = {
        .url = url,
        .unix_path = on_unix ? t->address + sizeof unix_prefix - 1 : NULL,
        .headers = page ? text_headers : json_headers,
        .connect_timeout_ms = t->plan->timeout_ms,
        .timeout_ms = t->plan->timeout_ms,
        .body_limit = t->plan->max_body,
        .http2 = plan->http2,
        .tls = plan->https ? &tls : NULL,
        .connect_to = name ? t->address : NULL,
        .on_head = page ? on_head : NULL,
        .on_data = page ? on_data : NULL,
    };
    if (page) {
        begin_page(t, now_ms);
    }
    t->began_ms = now_ms;
    int rc = net_call(t->owner->client, &request, on_done, t, &t->call);
    mem_free(url);
    if (rc) {
        t->call = NULL;
        t->took_ms = 0;
        (void)fail(t, "cannot be asked: %s", err_text(rc));
        conclude(t, false, now_ms);
        return;
    }
    t->owner->calls++;
}

void collect_tick(struct collect *c, uint64_t now_ms)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (c->calls < COLLECT_CALLS && map_next(&c->targets, &at, &key, &value)) {
        struct target *t = value;
        if (t->call || now_ms < t->next_ms) {
            continue;
        }
        /* On its beat, also when it was late; beats that were missed are not made up for. */
        uint64_t missed = (now_ms - t->next_ms) / t->plan->interval_ms;
        t->next_ms += (missed + 1) * t->plan->interval_ms;
        ask(t, now_ms);
    }
}

/* ---- Configuration ------------------------------------------------------------------------- */

static bool plan_reads(struct plan *p, const struct cJSON *config)
{
    bool changed = !p->on;
    p->on = true;
    for (int i = 0; i < COLLECT_ENDPOINTS; i++) {
        const char *path = json_str(config, names[i], NULL);
        if (!str_same(path, p->paths[i])) {
            changed = true;
            mem_free(p->paths[i]);
            p->paths[i] = mem_copy(path);
        }
    }
    uint32_t interval_ms = (uint32_t)json_int(config, "interval_ms", INTERVAL_MS);
    interval_ms = interval_ms < INTERVAL_LEAST_MS ? INTERVAL_LEAST_MS : interval_ms;
    uint32_t usual_ms = interval_ms < TIMEOUT_MOST_MS ? interval_ms : TIMEOUT_MOST_MS;
    changed = changed || interval_ms != p->interval_ms;
    p->interval_ms = interval_ms;
    p->timeout_ms = (uint32_t)json_int(config, "timeout_ms", usual_ms);
    p->max_body = (uint64_t)json_int(config, "max_body_bytes", 4 << 20);
    p->max_samples = (uint64_t)json_int(config, "max_samples", 10000);
    return changed;
}

static void plan_apply(struct collect *c, const struct cJSON *service)
{
    const char *name = json_str(service, "name", "");
    struct plan *p = map_get(&c->plans, name);
    if (!p) {
        p = mem_new(sizeof *p);
        p->service = mem_copy(name);
        (void)map_put(&c->plans, name, p);
    }
    const char *protocol = json_str(service, "protocol", "http");
    p->http2 = str_same(protocol, "h2c") || str_same(protocol, "h2");
    p->https = str_same(protocol, "https") || str_same(protocol, "h2");
    json_free(p->tls);
    p->tls = json_copy(json_get(service, "upstream_tls"));
    if (plan_reads(p, json_get(service, "collect"))) {
        p->version = c->version;
    }
}

static void want(struct collect *c, struct str name, const char *suffix)
{
    char *metric = mem_printf("%.*s%s", (int)name.len, name.ptr, suffix);
    (void)map_put(&c->wanted, metric, c);
    mem_free(metric);
}

/* Metrics that rules name must be kept, however long the page is. */
static void want_rule(struct collect *c, const struct cJSON *alert)
{
    static const char prefix[] = "prometheus.";
    static const char *const suffixes[] = {":rate", ":p50", ":p95", ":p99"};
    struct str path = str_of(json_str(json_get(alert, "when"), "metric_path", ""));
    if (!str_starts(path, prefix)) {
        return;
    }
    struct str name = str_sub(path, sizeof prefix - 1, path.len);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (str_ends(name, suffixes[i])) {
            name.len -= strlen(suffixes[i]);
        }
    }
    ptrdiff_t brace = str_find(name, '{');
    name.len = brace >= 0 ? (size_t)brace : name.len;
    want(c, name, "");
    want(c, name, "_bucket");
}

void collect_apply(struct collect *c, const struct cJSON *config)
{
    size_t at = 0;
    const char *key;
    void *value;
    c->version++;
    map_free(&c->wanted);
    for (const struct cJSON *a = json_first(json_get(config, "alerts")); a; a = json_next(a)) {
        want_rule(c, a);
    }
    const struct cJSON *services = json_get(config, "services");
    while (map_next(&c->plans, &at, &key, &value)) {
        const struct cJSON *s = json_first(services);
        while (s && !str_same(json_str(s, "name", ""), key)) {
            s = json_next(s);
        }
        struct plan *p = value;
        p->on = p->on && json_get(s, "collect");
    }
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        if (json_get(s, "collect")) {
            plan_apply(c, s);
        }
    }
}

/* ---- What runs ----------------------------------------------------------------------------- */

static void target_add(struct collect *c, struct plan *p, const char *instance, const char *address,
                       enum collect_endpoint endpoint, char *key, uint64_t now_ms)
{
    struct target *t = mem_new(sizeof *t);
    t->owner = c;
    t->plan = p;
    t->key = key;
    t->instance = mem_copy(instance);
    t->address = mem_copy(address);
    t->endpoint = endpoint;
    t->version = p->version;
    t->look = c->look;
    t->next_ms = now_ms + hash_bytes(key, strlen(key)) % p->interval_ms;
    t->scrape = endpoint == COLLECT_PROMETHEUS ? scrape_new(&c->wanted) : NULL;
    (void)map_put(&c->targets, key, t);
}

static void follow_instance(struct collect *c, struct plan *p, const struct cJSON *instance,
                            uint64_t now_ms)
{
    const char *id = json_str(instance, "id", ""), *address = json_str(instance, "address", "");
    if (!*address || !str_same(json_str(instance, "state", ""), "up")) {
        return; /* what is not up is known to be so, and says nothing */
    }
    for (int e = 0; e < COLLECT_ENDPOINTS; e++) {
        if (!p->paths[e]) {
            continue;
        }
        char *key = mem_printf("%s/%s/%s", p->service, id, names[e]);
        struct target *t = map_get(&c->targets, key);
        if (t && (t->version != p->version || !str_same(t->address, address))) {
            target_remove(c, t);
            t = NULL;
        }
        if (t) {
            t->look = c->look;
            mem_free(key);
        } else {
            target_add(c, p, id, address, (enum collect_endpoint)e, key, now_ms);
        }
    }
}

void collect_follow(struct collect *c, const struct cJSON *status, uint64_t now_ms)
{
    c->look++;
    for (const struct cJSON *s = json_first(json_get(status, "services")); s; s = json_next(s)) {
        struct plan *p = map_get(&c->plans, json_str(s, "name", ""));
        const struct cJSON *i = p && p->on ? json_first(json_get(s, "instances")) : NULL;
        for (; i; i = json_next(i)) {
            follow_instance(c, p, i, now_ms);
        }
    }
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&c->targets, &at, &key, &value)) {
        struct target *t = value;
        if (t->look != c->look) {
            target_remove(c, t);
        }
    }
}

/* ---- Views --------------------------------------------------------------------------------- */

static struct target *target_of(const struct collect *c, const char *service, const char *instance,
                                int endpoint)
{
    char *key = mem_printf("%s/%s/%s", service, instance, names[endpoint]);
    struct target *t = map_get(&c->targets, key);
    mem_free(key);
    return t;
}

/* The data answer: {"data_processing": {...}, "data_quality": {...}}, or the former with the latter in it. */
static void show_data(struct cJSON *view, const struct cJSON *answer)
{
    const struct cJSON *inner = json_get(answer, "data_processing"),
                       *quality = json_get(answer, "data_quality");
    struct cJSON *data = json_copy(json_kind(inner) == JSON_OBJECT ? inner : answer);
    json_remove(data, "data_quality");
    json_set(view, "data_processing", data);
    if (json_kind(quality) == JSON_OBJECT) {
        json_set(view, "data_quality", json_copy(quality));
    }
}

static void show(struct cJSON *view, const struct target *t, uint64_t now_ms)
{
    bool now = fresh(t, now_ms);
    switch (t->endpoint) {
    case COLLECT_DATA:
        if (now) {
            show_data(view, t->answer);
        }
        break;
    case COLLECT_PROMETHEUS: {
        struct scrape *scrape = t->scrape;
        json_set(view, "prometheus", now ? scrape_view(&scrape, 1, now_ms) : NULL);
        break;
    }
    case COLLECT_HEALTH:
    case COLLECT_PERFORMANCE:
        json_set(view, names[t->endpoint], now ? json_copy(t->answer) : NULL);
        break;
    case COLLECT_ENDPOINTS:
        break;
    }
}

/* The pages of all of a service's instances. */
static void show_service(struct cJSON *view, const struct collect *c, const char *service,
                         uint64_t now_ms)
{
    struct scrape **pages = mem_array(c->targets.count + 1, sizeof *pages);
    size_t at = 0, count = 0;
    const char *key;
    void *value;
    while (map_next(&c->targets, &at, &key, &value)) {
        const struct target *t = value;
        if (t->scrape && str_same(t->plan->service, service) && fresh(t, now_ms)) {
            pages[count++] = t->scrape;
        }
    }
    if (count) {
        json_set(view, "prometheus", scrape_view(pages, count, now_ms));
    }
    mem_free(pages);
}

struct cJSON *collect_view(const struct collect *c, const char *service, const char *instance,
                           uint64_t now_ms)
{
    const struct plan *p = map_get(&c->plans, service);
    struct cJSON *view = json_object();
    bool tried = false, up = true;
    if (!*instance) {
        show_service(view, c, service, now_ms);
        return view;
    }
    for (int e = 0; e < COLLECT_ENDPOINTS; e++) {
        const struct target *t = target_of(c, service, instance, e);
        if (t) {
            show(view, t, now_ms);
            tried = tried || t->tried;
            up = up && (t->up || !t->tried);
        } else if (p && p->on && p->paths[e] && e == COLLECT_PERFORMANCE) {
            json_set(view, names[e], NULL); /* asked for, from its next look on */
        }
    }
    if (tried) {
        json_set_num(view, "collected", up);
    }
    return view;
}

void collect_each(const struct collect *c, uint64_t now_ms, collect_target_fn *fn, void *arg)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&c->targets, &at, &key, &value)) {
        struct collect_target told;
        describe(value, now_ms, &told);
        fn(arg, &told);
    }
}

void collect_failures(const struct collect *c, collect_failures_fn *fn, void *arg)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&c->plans, &at, &key, &value)) {
        const struct plan *p = value;
        fn(arg, p->service, p->failures);
    }
}

/* ---- Life ---------------------------------------------------------------------------------- */

struct collect *collect_new(struct net_client *client, collect_changed_fn *on_changed, void *arg)
{
    struct collect *c = mem_new(sizeof *c);
    c->client = client;
    c->on_changed = on_changed;
    c->arg = arg;
    return c;
}

void collect_close(struct collect *c)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (c && map_next(&c->targets, &at, &key, &value)) {
        target_remove(c, value);
    }
    if (c) {
        c->closing = true;
        free_if_done(c);
    }
}
