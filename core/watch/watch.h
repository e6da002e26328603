/* watch.h: what is told to the outside: metrics. This file: what the page is made of, beside the board.
 * families.h are the series, page.h the page in steps, catalog.h all families there are. */
#ifndef WATCH_WATCH_H
#define WATCH_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct alerts_figures;
struct board;
struct cJSON;
struct families;
struct store_figures;
struct watch_data;
struct watch_routes;

enum {
    WATCH_EVENTS = 24,
    WATCH_BUCKETS = 8,
    WATCH_QUESTIONS = 4
};

/* How often something of a kind happened. */
struct watch_event {
    const char *kind; /* lent; NULL: the end of the list */
    uint64_t count;
};

/* Times that the master measured. Zeroed is empty. */
struct watch_times {
    const char *what; /* value of its label, lent */
    uint64_t counts[WATCH_BUCKETS];
    double sum_s;
};

/* Counters that the master keeps for itself. Zeroed at start. */
struct watch_counters {
    struct watch_event events[WATCH_EVENTS];
    struct watch_times answers[WATCH_QUESTIONS]; /* of the policy process; what NULL: none */
    struct watch_times loop_lag, scrapes;
    uint64_t reloads_ok, reloads_failed;
    uint64_t renewals_ok, renewals_failed; /* of certificates, by ACME; first ones too */
    uint64_t engine_outages;
    uint64_t worker_deaths, policy_deaths;
    uint64_t policy_errors; /* cold ones; hot ones are on the board */
    uint64_t decisions, decisions_up, decisions_down, decisions_held;
    uint64_t spans_exported, spans_failed, spans_dropped;
    uint64_t anomalies_high, anomalies_medium;
    uint64_t loop_lag_us_max; /* since the last scrape */
    uint64_t started_wall_ms, reloaded_wall_ms;
    uint64_t config_hash;
    uint32_t generation;
};

/* Notes a time in the buckets of a family (catalog.h). */
void watch_time(struct watch_times *times, int family, double seconds);

/* Tells of the daemon and its workers. */
void watch_master(struct families *f, struct board *board, const struct watch_counters *counters,
                  bool engine_up);
/* Tells of a service as a whole, and of one of its instances: both as in fleet_status. */
void watch_service(struct families *f, const struct cJSON *service);
void watch_instance(struct families *f, struct board *board, const char *service,
                    const struct cJSON *instance);

/* Tells of calls of the engine of one kind. */
void watch_engine_calls(struct families *f, const char *call, uint64_t succeeded, uint64_t failed);
/* Tells of alerts. */
void watch_alerts(struct families *f, const struct alerts_figures *figures);
/* What came of the messages of a channel. */
struct watch_channel {
    const char *channel;
    uint64_t sent, failed, retried, dropped, waiting; /* failed: tries; else messages */
};

/* A policy that is asked beside the one in force, at a point and of a service, route or alert. */
struct watch_shadow {
    const char *point, *of, *route, *policy; /* route "" = none */
    uint64_t answers, differences, errors;
};
void watch_shadow(struct families *f, const struct watch_shadow *shadow);

/* A policy at a place where it failed (commands/commands.h: failing); route "" = none. */
struct watch_fault {
    const char *point, *of, *route;
    uint64_t errors;
    bool quarantined;
};

void watch_fault(struct families *f, const struct watch_fault *fault);
void watch_channel(struct families *f, const struct watch_channel *channel);
/* Tells of a certificate; `file` may be another word for where it is from. */
void watch_certificate(struct families *f, const char *name, const char *file, double not_after_s);
/* Tells of the history. */
void watch_store(struct families *f, const struct store_figures *figures);

/* A target of collection. */
struct watch_target {
    const char *service, *instance, *endpoint;
    bool tried, up;
    double took_s;
    uint64_t samples, failures;
};

void watch_collected(struct families *f, const struct watch_target *target);

/* Which routes the rows of traffic on the board belong to. Names of routes that left are kept for as long as
 * their series are. */
struct watch_routes *watch_routes_new(void);
void watch_routes_free(struct watch_routes *r); /* NULL is allowed */
/* The configuration, first or changed. Borrows. */
void watch_routes_apply(struct watch_routes *r, const struct cJSON *config, uint64_t now_ms);
/* Tells of the traffic of worker *at and moves *at; false: there are no more. */
bool watch_routes_write(struct watch_routes *r, struct families *f, struct board *board,
                        uint64_t now_ms, uint64_t *at);

/* DATA: what a service's data answer may say beside its own fields:
 *   "data_processing": { "records": { DATASET_TYPE: { PROCESSING_STAGE: count } }, "errors": { ERROR_TYPE: { SEVERITY: count } },
 *     "latency_seconds": { OPERATION_TYPE: { "count": 9, "sum": 1.5, "buckets"?: { "0.1": 7, "0.5": 9 } (at or below) } } },
 *   "data_quality": { DATASET_ID: { QUALITY_DIMENSION: score } }
 * counts since the instance's start. A number in place of an inner object is of stage "all", of severity "error",
 * of the data set "all". */
struct watch_data *watch_data_new(void);
void watch_data_free(struct watch_data *d); /* NULL is allowed */
/* Notes what a service's instances say (id -> collect_view); `f` for the limits of labels. */
void watch_data_service(struct watch_data *d, struct families *f, const char *service,
                        const struct cJSON *instances, uint64_t now_ms);
/* Tells how often collecting from a service failed. */
void watch_data_failures(struct families *f, const char *service, uint64_t failures);
/* Tells of all that was noted. */
void watch_data_write(struct watch_data *d, struct families *f, uint64_t now_ms);

#endif
