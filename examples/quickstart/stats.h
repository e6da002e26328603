/* stats.h - what the service did: counters since the start and a window over the last minute.
 *
 * Only the event loop touches it. Everything shown was counted: nothing here is made up. */
#ifndef QUICKSTART_STATS_H
#define QUICKSTART_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

enum {
    STATS_ROUTES_MAX = 48,
    STATS_STATUS_MAX = 600,
    STATS_BOUNDS = 12,
    STATS_WINDOW_S = 60,
    STATS_BUCKETS = 232, /* 8 per power of two of microseconds, up to 2^30 us */
};

/* A request that ended without a complete answer (client gone, /rst, /hang). */
enum {
    STATS_ABORTED = 499
};

struct stats_second {
    uint64_t second; /* of the monotonic clock; 0 = never used */
    uint64_t requests, errors, duration_us;
    uint64_t records_received, records_processed, records_bad;
    uint32_t buckets[STATS_BUCKETS];
};

struct stats {
    uint64_t started_us;
    uint64_t in_flight;
    uint64_t connections, connections_total;
    uint64_t records_received, records_processed, records_bad, record_last_us;
    uint64_t by_status[STATS_ROUTES_MAX][STATS_STATUS_MAX];
    uint64_t durations[STATS_ROUTES_MAX][STATS_BOUNDS + 1];
    double duration_s[STATS_ROUTES_MAX];
    struct stats_second window[STATS_WINDOW_S];
};

/* Name of the n-th path class for the label `path`, NULL behind the last. */
typedef const char *(*stats_name_fn)(int route);

void stats_start(struct stats *st, uint64_t now_us);

/* `observer`: the request only looked (health, metrics); it stays out of the window. */
void stats_request(struct stats *st, int route, int status, bool observer, uint64_t began_us,
                   uint64_t now_us);
/* `bad` of the received records were malformed; processed is 0 when the work failed. */
void stats_records(struct stats *st, uint64_t received, uint64_t processed, uint64_t bad,
                   uint64_t now_us);

/* Each appends one document. */
void stats_performance(struct stats *st, uint64_t now_us, struct bytes *to);
void stats_data(struct stats *st, uint64_t now_us, uint64_t queue_depth, struct bytes *to);
void stats_prometheus(struct stats *st, uint64_t now_us, uint64_t queue_depth, stats_name_fn name,
                      struct bytes *to);

#endif
