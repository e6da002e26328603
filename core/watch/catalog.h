/* catalog.h: all families of metrics there are, in the order of the page. A new one is a name here, a line in
 * catalog.c and one in README.md, and a writer that adds to it. */
#ifndef WATCH_CATALOG_H
#define WATCH_CATALOG_H

#include <stdbool.h>

enum family {
    /* What services do: names, labels and buckets are fixed. */
    FAMILY_DATA_SERVICE_REQUESTS,
    FAMILY_DATA_SERVICE_REQUEST_DURATION,
    FAMILY_DATA_SERVICE_CPU_USAGE,
    FAMILY_DATA_SERVICE_MEMORY_USAGE,
    FAMILY_DATA_PROCESSING_RECORDS,
    FAMILY_DATA_PROCESSING_LATENCY,
    FAMILY_DATA_PROCESSING_ERRORS,
    FAMILY_DATA_QUALITY_SCORE,
    /* Routes. */
    FAMILY_ROUTE_REQUESTS,
    FAMILY_ROUTE_REQUEST_DURATION,
    FAMILY_ROUTE_IN_FLIGHT,
    FAMILY_ROUTE_QUEUE_LENGTH,
    FAMILY_ROUTE_RETRIES,
    /* Backends. */
    FAMILY_BACKEND_REQUESTS,
    FAMILY_BACKEND_REQUEST_DURATION,
    FAMILY_BACKEND_IN_FLIGHT,
    FAMILY_BACKEND_IDLE_CONNECTIONS,
    FAMILY_BACKEND_RETRIES,
    FAMILY_BACKEND_RECEIVED_BYTES,
    FAMILY_BACKEND_SENT_BYTES,
    FAMILY_BACKEND_EJECTIONS,
    FAMILY_CIRCUIT_STATE,
    FAMILY_CIRCUIT_OPENED,
    /* Services. */
    FAMILY_INSTANCES,
    FAMILY_INSTANCES_DESIRED,
    FAMILY_INSTANCES_MIN,
    FAMILY_INSTANCES_MAX,
    FAMILY_SERVICE_GENERATION,
    FAMILY_SERVICE_QUEUE_LENGTH,
    FAMILY_SERVICE_CPU,
    FAMILY_SERVICE_MEMORY,
    FAMILY_COLLECT_UP,
    FAMILY_COLLECT_DURATION,
    FAMILY_COLLECT_FAILURES,
    FAMILY_COLLECT_SAMPLES,
    /* Workers. */
    FAMILY_CONNECTIONS,
    FAMILY_CONNECTIONS_ACCEPTED,
    FAMILY_REQUESTS_NO_ROUTE,
    FAMILY_REQUESTS_NO_BACKEND,
    FAMILY_REQUESTS_BAD,
    FAMILY_REQUESTS_ABORTED,
    FAMILY_QUEUE_LENGTH,
    FAMILY_REQUESTS_QUEUED,
    FAMILY_QUEUE_REFUSED,
    FAMILY_RETRIES_DENIED,
    FAMILY_CIRCUIT_PANICS,
    FAMILY_EXHAUSTED,
    FAMILY_ACCESS_LOG_LOST,
    FAMILY_PICKS,
    FAMILY_PICK_SECONDS,
    FAMILY_BALANCE_ERRORS,
    FAMILY_BALANCE_INTERPRETED,
    FAMILY_REQUEST_FUNCTION_ERRORS,
    /* The daemon. */
    FAMILY_BUILD_INFO,
    FAMILY_CONFIG_INFO,
    FAMILY_UPTIME,
    FAMILY_GENERATION,
    FAMILY_RELOADS,
    FAMILY_RELOAD_LAST_SUCCESS,
    FAMILY_DECISIONS,
    FAMILY_EVENTS,
    FAMILY_POLICY_ERRORS,
    FAMILY_POLICY_ANSWER,
    FAMILY_WORKER_DEATHS,
    FAMILY_POLICY_DEATHS,
    FAMILY_ENGINE_UP,
    FAMILY_ENGINE_OUTAGES,
    FAMILY_ENGINE_CALLS,
    FAMILY_ALERTS,
    FAMILY_ALERTS_MUTED,
    FAMILY_ALERT_RULES,
    FAMILY_ALERT_SILENCES,
    FAMILY_ALERT_EVALUATIONS,
    FAMILY_ALERT_ERRORS,
    FAMILY_ALERT_MESSAGES,
    FAMILY_NOTIFICATIONS,
    FAMILY_NOTIFICATIONS_WAITING,
    FAMILY_ANOMALIES,
    FAMILY_STORE_LOST,
    FAMILY_STORE_ERRORS,
    FAMILY_STORE_WAITING,
    FAMILY_STORE_BYTES,
    FAMILY_STORE_SERIES_COUNT,
    FAMILY_LOOP_LAG,
    FAMILY_LOOP_LAG_MAX,
    FAMILY_PROCESS_CPU,
    FAMILY_PROCESS_MEMORY,
    FAMILY_PROCESS_FDS,
    FAMILY_PROCESS_MAX_FDS,
    FAMILY_PROCESS_START,
    /* This page. */
    FAMILY_SCRAPE_DURATION,
    FAMILY_METRICS_SERIES,
    FAMILY_METRICS_DROPPED,
    FAMILIES
};

enum family_type {
    FAMILY_COUNTER,
    FAMILY_GAUGE,
    FAMILY_HISTOGRAM,
    FAMILY_TYPES
};

struct family_bound {
    double value;
    const char *text; /* "0.1", "1.0": Prometheus keeps it verbatim */
};

enum {
    FAMILY_LABELS = 4,
    FAMILY_BUCKETS = 18
};

struct family_kind {
    const char *name;
    enum family_type type;
    const char *labels; /* names, by commas */
    const char *help;
    const struct family_bound *bounds; /* of a histogram, the last one has no text; else NULL */
    bool lone;                         /* a gauge that means nothing when it is added to others */
};

/* "tidegate_instances" and so on. */
const struct family_kind *family_kind(enum family family);
/* Of a histogram, the one to infinity not counted. */
unsigned family_bounds(enum family family);
const char *family_type_name(enum family_type type);

#endif
