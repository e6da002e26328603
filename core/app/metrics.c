/* metrics.c: the /metrics page of the daemon: who tells what, and when it is made.
 *
 *   GET /metrics --> waiting --> page_step, page_step, ... one a round of the loop --> answer
 *
 * Owns: the series and those who wait for their page. Pages are made one after the other. */
#include "app/master.h"

#include <string.h>

#include "admin/admin.h"
#include "app/history.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"
#include "fleet/fleet.h"
#include "store/store.h"
#include "watch/alerts.h"
#include "watch/outbox.h"
#include "watch/collect.h"
#include "watch/families.h"
#include "watch/page.h"

enum {
    STEP_US = 1000,
    PORTION = 16, /* instances between two looks at the clock */
    WRITERS = 6
};

struct metrics_wait {
    struct metrics_wait *next;
    struct admin_request *request;
    enum families_format format;
    bool gzip;
};

struct metrics {
    struct master *master;
    uv_idle_t idle; /* runs while a page is being made */
    struct families *families;
    struct watch_routes *routes;
    struct watch_data *data;
    struct page_writer writers[WRITERS];
    struct page *page; /* of the first who waits; NULL: nobody does */
    uint64_t page_us, page_ms;
    struct metrics_wait *waits;
    /* Where the page is among the services. */
    struct cJSON *names, *status, *views;
    const struct cJSON *instance;
};

/* ---- Services ---------------------------------------------------------------------------- */

static void service_done(struct metrics *x)
{
    json_free(x->status);
    json_free(x->views);
    x->status = x->views = NULL;
    x->instance = NULL;
}

static const struct cJSON *name_at(const struct metrics *x, uint64_t at)
{
    const struct cJSON *name = json_first(x->names);
    while (at-- && name) {
        name = json_next(name);
    }
    return name;
}

static void service_begin(struct metrics *x, struct families *f, const char *name)
{
    x->status = fleet_status(x->master->fleet, name, x->page_ms);
    const struct cJSON *service = json_first(json_get(x->status, "services"));
    if (service) {
        watch_service(f, service);
        x->instance = json_first(json_get(service, "instances"));
    }
    x->views = json_object();
}

static bool write_services(void *arg, struct families *f, uint64_t *at)
{
    struct metrics *x = arg;
    const struct collect *collected = collecting_targets(x->master);
    if (!*at && !x->status) {
        json_free(x->names);
        x->names = fleet_names(x->master->fleet);
    }
    const char *name = json_value_str(name_at(x, *at), NULL);
    if (!name) {
        return false;
    }
    if (!x->views) {
        service_begin(x, f, name);
    }
    for (unsigned i = 0; i < PORTION && x->instance; i++, x->instance = json_next(x->instance)) {
        const char *id = json_str(x->instance, "id", "?");
        watch_instance(f, x->master->board, name, x->instance);
        if (collected) {
            json_set(x->views, id, collect_view(collected, name, id, x->page_ms));
        }
    }
    if (!x->instance) {
        watch_data_service(x->data, f, name, x->views, x->page_ms);
        service_done(x);
        ++*at;
    }
    return true;
}

/* ---- The others -------------------------------------------------------------------------- */

static bool write_master(void *arg, struct families *f, uint64_t *at)
{
    struct metrics *x = arg;
    struct master *m = x->master;
    (void)at;
    watch_master(f, m->board, &m->counters, m->engine_up);
    m->counters.loop_lag_us_max = 0;
    struct fleet_calls calls;
    faults_write(m, f);
    certificates_metrics(m, f);
    shadows_write(m, f);
    telling_write_shadow(m, f);
    for (unsigned i = 0; fleet_calls(m->fleet, i, &calls); i++) {
        watch_engine_calls(f, calls.name, calls.succeeded, calls.failed);
    }
    return false;
}

static bool write_routes(void *arg, struct families *f, uint64_t *at)
{
    struct metrics *x = arg;
    return watch_routes_write(x->routes, f, x->master->board, x->page_ms, at);
}

static void on_target(void *arg, const struct collect_target *t)
{
    const struct watch_target target = {t->service, t->instance, collect_endpoint_name(t->endpoint),
                                        t->tried,   t->up,       t->took_s,
                                        t->samples, t->failures};
    watch_collected(arg, &target);
}

static void on_failures(void *arg, const char *service, uint64_t failures)
{
    watch_data_failures(arg, service, failures);
}

static bool write_collected(void *arg, struct families *f, uint64_t *at)
{
    struct metrics *x = arg;
    const struct collect *collected = collecting_targets(x->master);
    (void)at;
    if (collected) {
        collect_each(collected, x->page_ms, on_target, f);
        collect_failures(collected, on_failures, f);
    }
    watch_data_write(x->data, f, x->page_ms);
    return false;
}

static void write_channel(void *arg, const struct outbox_figures *figures)
{
    struct watch_channel channel = {
        .channel = figures->channel,
        .sent = figures->sent,
        .failed = figures->failed,
        .retried = figures->retried,
        .dropped = figures->dropped,
        .waiting = figures->waiting,
    };
    watch_channel(arg, &channel);
}

static bool write_alerts(void *arg, struct families *f, uint64_t *at)
{
    struct metrics *x = arg;
    const struct alerts *alerts = watching_alerts(x->master);
    (void)at;
    if (alerts) {
        struct alerts_figures figures;
        alerts_figures(alerts, &figures);
        watch_alerts(f, &figures);
    }
    if (x->master->telling) {
        outbox_each(telling_outbox(x->master), x->page_ms, write_channel, f);
    }
    return false;
}

static bool write_history(void *arg, struct families *f, uint64_t *at)
{
    struct metrics *x = arg;
    const struct history *h = x->master->history;
    (void)at;
    if (h && h->store) {
        struct store_figures figures;
        store_figures(h->store, &figures);
        watch_store(f, &figures);
    }
    return false;
}

/* ---- The page ---------------------------------------------------------------------------- */

static void answer(struct metrics *x, int status, const char *encoding, char *bytes, size_t len)
{
    struct metrics_wait *w = x->waits;
    const char *type = status == 200 ? page_type(w->format) : "text/plain; charset=utf-8";
    x->waits = w->next;
    admin_answer_page(w->request, status, type, encoding, bytes, len);
    mem_free(w);
}

static void on_idle(uv_idle_t *idle);

/* Begins the page of the first who waits, if one does. */
static void begin(struct metrics *x)
{
    const struct metrics_wait *w = x->waits;
    if (!w) {
        uv_idle_stop(&x->idle);
        return;
    }
    const struct cJSON *limits = json_path(x->master->config, "cluster.metrics");
    families_limit(x->families, (uint32_t)json_int(limits, "max_series", FAMILIES_SERIES),
                   (uint32_t)json_int(limits, "max_values", FAMILIES_VALUES));
    x->page_us = clock_now_us();
    x->page_ms = x->page_us / 1000;
    x->page = page_new(x->families, x->writers, WRITERS, w->format, w->gzip, x->page_ms);
    uv_idle_start(&x->idle, on_idle);
}

static void on_idle(uv_idle_t *idle)
{
    struct metrics *x = idle->data;
    if (!page_step(x->page, STEP_US)) {
        return;
    }
    char *bytes = NULL;
    size_t len = 0;
    int rc = page_take(x->page, &bytes, &len);
    page_free(x->page);
    x->page = NULL;
    watch_time(&x->master->counters.scrapes, FAMILY_SCRAPE_DURATION,
               (double)(clock_now_us() - x->page_us) / 1e6);
    if (rc) {
        answer(x, 500, "", NULL, 0);
    } else {
        answer(x, 200, x->waits->gzip ? "gzip" : "", bytes, len);
    }
    begin(x);
}

void metrics_ask(struct master *m, struct admin_request *request)
{
    struct metrics *x = m->metrics;
    struct metrics_wait *w = mem_new(sizeof *w), **end = &x->waits;
    w->request = request;
    w->format = page_format(admin_field(request, "accept"));
    w->gzip = page_gzip(admin_field(request, "accept-encoding"));
    while (*end) {
        end = &(*end)->next;
    }
    *end = w;
    if (!x->page) {
        begin(x);
    }
}

/* ---- Life -------------------------------------------------------------------------------- */

void metrics_open(struct master *m)
{
    struct metrics *x = mem_new(sizeof *x);
    x->master = m;
    x->families = families_new(FAMILIES_SERIES, FAMILIES_VALUES);
    x->routes = watch_routes_new();
    x->data = watch_data_new();
    const struct page_writer writers[WRITERS] = {
        {write_master, x},    {write_services, x}, {write_routes, x},
        {write_collected, x}, {write_alerts, x},   {write_history, x},
    };
    memcpy(x->writers, writers, sizeof writers);
    m->counters.answers[CHILD_DECIDE].what = "decide";
    m->counters.answers[CHILD_EVALUATE].what = "evaluate";
    m->counters.answers[CHILD_NOTIFY].what = "notify";
    uv_idle_init(&m->loop, &x->idle);
    x->idle.data = x;
    m->metrics = x;
}

void metrics_apply(struct master *m)
{
    m->counters.config_hash = hash_bytes(m->config_text, strlen(m->config_text));
    m->counters.reloaded_wall_ms = clock_wall_ms();
    watch_routes_apply(m->metrics->routes, m->config, clock_now_ms());
}

static void on_closed(uv_handle_t *handle)
{
    struct metrics *x = handle->data;
    families_free(x->families);
    watch_routes_free(x->routes);
    watch_data_free(x->data);
    mem_free(x);
}

void metrics_close(struct master *m)
{
    struct metrics *x = m->metrics;
    if (!x) {
        return;
    }
    m->metrics = NULL;
    page_free(x->page);
    service_done(x);
    json_free(x->names);
    while (x->waits) {
        answer(x, 503, "", NULL, 0);
    }
    uv_close((uv_handle_t *)&x->idle, on_closed);
}
