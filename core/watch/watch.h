/* watch.h: what is told to the outside: metrics (this file), later series, alerts, anomalies.
 *
 * Exposition is Prometheus text 0.0.4. */
#ifndef WATCH_WATCH_H
#define WATCH_WATCH_H

#include <stddef.h>
#include <stdint.h>

struct board;
struct buf;
struct cJSON;

enum {
    WATCH_EVENTS = 24
};

/* How often something of a kind happened. */
struct watch_event {
    const char *kind; /* lent; NULL: the end of the list */
    uint64_t count;
};

/* Counters that the master keeps for itself. Zeroed at start. */
struct watch_counters {
    struct watch_event events[WATCH_EVENTS];
    uint64_t reloads_ok, reloads_failed;
    uint64_t engine_outages;
    uint64_t worker_deaths, policy_deaths;
    uint64_t policy_errors; /* cold ones; hot ones are on the board */
    uint64_t decisions, decisions_up, decisions_down, decisions_held;
    uint64_t loop_lag_us_max; /* since the last scrape */
    uint64_t started_wall_ms;
    uint32_t generation;
};

/* Appends a whole page. `status` is fleet_status of all services (names, instances, backends with
 * their "slot"); the traffic figures come from the board. -ENOBUFS when the buffer's limit is
 * reached. */
int watch_metrics(struct buf *to, struct board *board, const struct cJSON *status,
                  const struct watch_counters *counters);

#endif
