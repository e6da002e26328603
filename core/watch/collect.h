/* collect.h: asks services how they are: the endpoints that `collect` of a service names, at each instance
 * that is up.
 *
 *     due --(calls free)--> asking --answer--> fresh --(failed, or no answer for long)--> stale
 *
 * health, performance and data answer a JSON object, prometheus a page of text. Each target (instance and
 * endpoint) has its own beat, begun at an offset that its name's hash spreads over the interval, and is
 * asked within min(interval, 10 s) or what is configured. A try that fails makes the target's figures absent
 * at once, never 0, and counts; while no try has come back they stay for one more interval. Nothing else
 * stops for it.
 *
 * An answer's status must be 2xx; that of health may be any with JSON, since an unhealthy service says more
 * with its 503. The data answer may have its members in "data_processing" and "data_quality", or be the former
 * with the latter as a member. */
#ifndef WATCH_COLLECT_H
#define WATCH_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

struct cJSON;
struct collect;
struct net_client;

enum collect_endpoint {
    COLLECT_HEALTH,
    COLLECT_PERFORMANCE,
    COLLECT_DATA,
    COLLECT_PROMETHEUS,
    COLLECT_ENDPOINTS
};

enum {
    COLLECT_CALLS = 256, /* under way at once; others wait */
    COLLECT_ERROR_BYTES = 160
};

/* A target for metrics and status. Texts are lent until return. */
struct collect_target {
    const char *service, *instance;
    enum collect_endpoint endpoint;
    bool tried;               /* there was an outcome since the instance is up */
    bool up;                  /* the last one was an answer that could be read */
    bool fresh;               /* its figures are shown */
    double took_s;            /* of the last try */
    double age_s;             /* of the last good answer; -1: none */
    uint64_t tries, failures; /* ever */
    uint64_t samples, bad;    /* of the last page: numbers, lines that could not be read */
    const char *error;        /* of the last try, or "" */
};

/* A target failed after it was well (or new), or is well again. Must not call back into the collector. */
typedef void collect_changed_fn(void *arg, const struct collect_target *target);
typedef void collect_target_fn(void *arg, const struct collect_target *target);
typedef void collect_failures_fn(void *arg, const char *service, uint64_t failures);

/* `client` is lent for the collector's life: close the collector first. on_changed may be NULL. */
struct collect *collect_new(struct net_client *client, collect_changed_fn *on_changed, void *arg);
/* Ends what is under way; nothing is called back. NULL is allowed. */
void collect_close(struct collect *c);
/* The configuration, first or changed: targets whose part did not change go on. Borrows. */
void collect_apply(struct collect *c, const struct cJSON *config);
/* What runs where: `status` is fleet_status of all services. Call it when that may have changed. */
void collect_follow(struct collect *c, const struct cJSON *status, uint64_t now_ms);
/* Starts what is due; call about every 100 ms. */
void collect_tick(struct collect *c, uint64_t now_ms);

/* What is fresh of an instance, by the groups of view.h: {"collected": 0 | 1 (absent: not tried yet), "health": {...},
 * "performance": {...}, "data_processing": {...}, "data_quality": {...}, "prometheus": {...}}; null in place of
 * performance and prometheus: asked for, and not fresh. instance "" = what a service has only as a whole,
 * "prometheus". The caller owns it. */
struct cJSON *collect_view(const struct collect *c, const char *service, const char *instance,
                           uint64_t now_ms);

/* All targets; and how often collecting failed for each service with `collect` (the seed's
 * data_processing_errors_total, error_type "metrics_collection_failed"), which never falls in this run. */
void collect_each(const struct collect *c, uint64_t now_ms, collect_target_fn *fn, void *arg);
void collect_failures(const struct collect *c, collect_failures_fn *fn, void *arg);
/* "health", "performance", "data", "prometheus". */
const char *collect_endpoint_name(enum collect_endpoint endpoint);

#endif
