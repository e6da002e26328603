/* view.h: what rules, functions and policies get to see of a service, one of its instances, and tidegate
 * itself. Made of what fleet tells, what the workers count, and what was collected.
 *
 * VIEWS: { "services": { "shop": { view, "instances": { "shop-1": view } } }, "tidegate": own }
 *
 * A view: { "service": "shop", "instance"?: "shop-1", "at_ms": wall clock, "labels": { "service", "instance"? },
 *   "health": { "status": "up", "up": 0 | 1 (absent: on its way up or out), "unhealthy": 0 | 1 (runs, its check fails),
 *     "restarts", "restarts_10m", "oom_kills_10m",
 *     "collected": 0 | 1 (the last try of each of its targets), the members of its own health answer },
 *   "performance": { "avg_response_time" (s), "p50", "p95", "p99" (s), "throughput" (requests/s), "error_rate" (0 .. 1) },
 *       its own answer's members when that is collected, else the balancer's figures
 *   "data_processing": {...}, "data_quality": {...},       of its own; the latter also as a member of the data answer
 *   "resources": { "cpu_usage", "memory_usage" (% of what is allotted), "memory_bytes",
 *     "network": { "received_bytes_per_second", "sent_bytes_per_second" } },
 *   "traffic": { "rate" (requests/s), "in_flight", "queue", "p50", "p95", "p99" (s), "error_rate", "retries" (a second),
 *     "backends" (up, and not drained; absent when none is wanted), "open_circuits" },       by the balancer
 *   "scale": { "desired", "up", "min", "max", "at_max" 0 | 1, "wants_more" 0 | 1, "deploy_failed" 0 | 1 },  of a service only
 *   "prometheus": { "jobs_total": 12, "jobs_total:rate": 0.5, "seconds_bucket{le=\"0.1\"}": 3, "seconds:p99": 0.2 } }
 * Own: { "at_ms", "labels": {}, "policy_errors_5m", "policies_quarantined", "reload_failed" 0 | 1, "engine_up" 0 | 1, "loop_lag" (s, worst of the
 *   last 10), "descriptors_exhausted_5m", "disk_free" (0 .. 1), "disk_free_bytes", "workers", "notifications_waiting",
 *   "store_errors", "certificate_days_left"? (app/master.h: certificates_days_left), "failing"?: which
 *   policies fail, "certificate"?: which one that is, both in words (not numbers, for messages) }
 *
 * What is not known is absent, never 0. Of its instances a service sums what adds up (throughput, rates,
 * totals, bytes), weighs times and shares by throughput, and takes the mean of the rest; a text is there
 * when all agree; `up` and `collected` are 1 when all are. */
#ifndef WATCH_VIEW_H
#define WATCH_VIEW_H

#include <stdbool.h>
#include <stdint.h>

struct board;
struct cJSON;
struct collect;
struct views;

/* What tidegate knows of itself. Negative: unknown. */
struct views_own {
    uint64_t policy_errors; /* ever, in the policy process; those of workers are on the board */
    bool reload_failed;     /* the last one */
    unsigned policies_quarantined;
    unsigned workers;
    double loop_lag_s; /* worst since the last views_sample */
    double disk_free, disk_free_bytes;
    double notifications_waiting, store_errors;
    bool has_certificates;
    double certificate_days_left; /* of the one that expires first; may be negative */
};

/* Keeps what is needed from one look to the next. Lends `board` until views_free. */
struct views *views_new(struct board *board);
void views_free(struct views *v); /* NULL is allowed */
/* Closes a window of traffic and of counts: call once every sample interval. `status` is fleet_status of
 * all services. */
void views_sample(struct views *v, const struct cJSON *status, const struct views_own *own,
                  uint64_t now_ms);
/* The views as above, of the last closed window; the caller owns them. `collected` may be NULL. */
struct cJSON *views_build(const struct views *v, const struct cJSON *status,
                          const struct collect *collected, uint64_t now_ms, uint64_t wall_ms);

/* The number at a path such as "traffic.p99" of a view; true and false are 1 and 0. Behind "prometheus."
 * all is one name. False: there is none. */
bool views_number(const struct cJSON *view, const char *path, double *ret_value);

#endif
