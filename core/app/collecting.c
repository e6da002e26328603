/* collecting.c: what services tell of themselves, and the views that are made of all.
 *
 *   fleet_status --> collect (its own connections) --+
 *                --> views: windows of traffic ------+--> collecting_views: rules, functions, policies
 *
 * Owns: the collector, its client, the windows. The look at fleet comes once every sample interval. */
#include "app/master.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "app/history.h"
#include "fleet/fleet.h"
#include "net/net.h"
#include "store/store.h"
#include "watch/collect.h"
#include "watch/view.h"

enum {
    FOLLOW_MS = 1000, /* until a new instance's targets are known */
    DISK_MS = 10000
};

struct collecting {
    struct net_client *client; /* its own, so that no engine call waits for a hanging service */
    struct collect *collect;
    struct views *views;
    uint64_t follow_ms, sample_ms, disk_ms; /* next ones */
    struct views_own own;
    struct cJSON *last; /* views as of the last sample */
};

static void on_changed(void *arg, const struct collect_target *t)
{
    (void)arg;
    if (t->up) {
        log_info("a service gives its metrics again", "service=%s instance=%s endpoint=%s",
                 t->service, t->instance, collect_endpoint_name(t->endpoint));
    } else {
        log_warn("a service does not give its metrics: they are unknown from here on",
                 "service=%s instance=%s endpoint=%s why=%s", t->service, t->instance,
                 collect_endpoint_name(t->endpoint), t->error);
    }
}

int collecting_open(struct master *m, char **reterr)
{
    struct collecting *c = mem_new(sizeof *c);
    int rc = net_client_new(&m->loop, &c->client, reterr);
    if (rc) {
        mem_free(c);
        return rc;
    }
    c->collect = collect_new(c->client, on_changed, m);
    c->views = views_new(m->board);
    c->own = (struct views_own){
        .disk_free = -1, .disk_free_bytes = -1, .notifications_waiting = -1, .store_errors = -1};
    m->collecting = c;
    return 0;
}

void collecting_apply(struct master *m, const struct cJSON *config)
{
    collect_apply(m->collecting->collect, config);
    m->collecting->follow_ms = 0;
}

static void look_at_disk(struct master *m, struct views_own *own)
{
    struct statvfs fs;
    own->disk_free = own->disk_free_bytes = -1;
    if (!statvfs(m->state_dir, &fs) && fs.f_blocks) {
        own->disk_free = (double)fs.f_bavail / (double)fs.f_blocks;
        own->disk_free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
    }
}

static void look_at_self(struct master *m, uint64_t now_ms)
{
    struct collecting *c = m->collecting;
    c->own.policy_errors = m->counters.policy_errors;
    c->own.policies_quarantined = m->faults.quarantined;
    c->own.reload_failed = m->reload.told && !m->reload.ok;
    c->own.workers = workers_alive(m);
    if (m->history && m->history->store) {
        struct store_figures figures;
        store_figures(m->history->store, &figures);
        c->own.store_errors = (double)figures.errors;
    }
    c->own.notifications_waiting = (double)telling_waiting(m);
    c->own.has_certificates = certificates_days_left(m, &c->own.certificate_days_left);
    if (now_ms >= c->disk_ms) {
        c->disk_ms = now_ms + DISK_MS;
        look_at_disk(m, &c->own);
    }
}

void collecting_note_lag(struct master *m, uint64_t lag_us)
{
    struct collecting *c = m->collecting;
    double lag_s = (double)lag_us / 1e6;
    if (c && lag_s > c->own.loop_lag_s) {
        c->own.loop_lag_s = lag_s;
    }
}

void collecting_tick(struct master *m, uint64_t now_ms)
{
    struct collecting *c = m->collecting;
    bool follow = now_ms >= c->follow_ms, sample = now_ms >= c->sample_ms;
    if (follow || sample) {
        const struct cJSON *status = services_status(m, now_ms);
        if (follow) {
            c->follow_ms = now_ms + FOLLOW_MS;
            collect_follow(c->collect, status, now_ms);
        }
        if (sample) {
            c->sample_ms =
                services_next_ms(now_ms, (uint64_t)json_int(json_get(m->config, "cluster"),
                                                            "sample_interval_ms", 5000));
            look_at_self(m, now_ms);
            views_sample(c->views, status, &c->own, now_ms);
            json_free(c->last);
            uint64_t wall_ms = clock_wall_ms();
            c->last = views_build(c->views, status, c->collect, now_ms, wall_ms);
            history_on_views(m, c->last, wall_ms);
            c->own.loop_lag_s = 0;
        }
    }
    collect_tick(c->collect, now_ms);
}

struct cJSON *collecting_views(struct master *m, uint64_t now_ms)
{
    struct collecting *c = m->collecting;
    const struct cJSON *status = services_status(m, now_ms);
    return views_build(c->views, status, c->collect, now_ms, clock_wall_ms());
}

struct cJSON *collecting_metrics(const struct master *m, const char *service)
{
    const struct cJSON *views = m->collecting ? m->collecting->last : NULL;
    const struct cJSON *view = json_get(json_get(views, "services"), service);
    struct cJSON *copy = view ? json_object() : NULL;
    for (const struct cJSON *group = json_first(view); group; group = json_next(group)) {
        if (strcmp(json_name(group), "instances") != 0) {
            json_add(copy, json_name(group), json_copy(group));
        }
    }
    return copy;
}

struct cJSON *collecting_answer(struct master *m, const char *service, const char *instance,
                                uint64_t now_ms)
{
    struct cJSON *views = collecting_views(m, now_ms), *out = json_object();
    const struct cJSON *view = json_get(views, "tidegate");
    if (service) {
        view = json_get(json_get(views, "services"), service);
    }
    if (instance) {
        view = json_get(json_get(view, "instances"), instance);
    }
    json_set_bool(out, "ok", view != NULL);
    if (view) {
        struct cJSON *shown = json_copy(view);
        json_remove(shown, "instances");
        json_set(out, "metrics", shown);
    } else {
        char *error = mem_printf("no such %s: %s: `tidegate status` shows all",
                                 instance ? "instance of that service" : "service",
                                 instance ? instance : service);
        json_set_str(out, "error", error);
        mem_free(error);
    }
    json_free(views);
    return out;
}

const struct collect *collecting_targets(const struct master *m)
{
    return m->collecting ? m->collecting->collect : NULL;
}

void collecting_close(struct master *m)
{
    struct collecting *c = m->collecting;
    if (c) {
        collect_close(c->collect);
        net_client_close(c->client);
        views_free(c->views);
        json_free(c->last);
        mem_free(c);
        m->collecting = NULL;
    }
}
