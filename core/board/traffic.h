/* traffic.h: what clients were answered, by route, method and status, and how long it took.
 *
 * Each worker has two lists of rows on the board that only it writes: counts by (route, method, status)
 * and durations by (route, method). They are found by hashes that a worker keeps for itself, so counting
 * takes no lock and no memory, and the master reads the rows in use and nothing else. As rows belong to
 * the worker's place and not to its process, the next process there goes on with them; and as a route is
 * named by its identity, they live on beyond a reload. When there is no room for one more, the last row
 * (route BOARD_ROUTE_OTHER) counts it.
 *
 * A route that is in no configuration any more keeps its rows for BOARD_TRAFFIC_KEEP_MS; the first new
 * configuration after that gives them away. */
#ifndef BOARD_TRAFFIC_H
#define BOARD_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/board.h"

struct cJSON;

enum {
    BOARD_COUNT_ROWS = 8192,
    BOARD_TIME_ROWS = 4096,
    BOARD_TIME_BUCKETS = 18, /* the last one is open */
    BOARD_METHODS = 10,      /* as enum http1_method; 0 = other */
    BOARD_TRAFFIC_KEEP_MS = 300000
};

/* The identity of what could not be told apart; also of no route. */
enum {
    BOARD_ROUTE_OTHER = 0
};

/* Answers of one status. */
struct board_count {
    uint64_t route;
    uint64_t count;
    uint64_t left_ms; /* when its route left the configuration; 0 = it is there */
    uint16_t method, status;
    bool used; /* false: free */
};

/* Requests of one method. */
struct board_times {
    uint64_t route;
    uint64_t left_ms;
    uint64_t in_flight;                   /* gauge: begun, not ended */
    uint64_t repeated;                    /* attempts that were repeated at another backend */
    uint64_t us_sum;                      /* of what ended */
    uint64_t buckets[BOARD_TIME_BUCKETS]; /* each counts once */
    uint16_t method;
    bool used;
};

/* A worker's side. */
struct board_traffic;

/* What tells a route (as in the configuration's JSON) of a service from others, also beyond a reload; never
 * BOARD_ROUTE_OTHER. */
uint64_t board_route_identity(const char *service, const struct cJSON *route);
/* Upper bound of a bucket, included; UINT64_MAX for the last. */
uint64_t board_time_bound_us(unsigned bucket);

/* The caller owns it. Finds what the worker before it left. Lends b. */
struct board_traffic *board_traffic_new(struct board *b, unsigned worker);
void board_traffic_free(struct board_traffic *t); /* NULL is allowed */
/* Another configuration is in force: these are its routes. */
void board_traffic_keep(struct board_traffic *t, const uint64_t *routes, size_t count,
                        uint64_t now_ms);
/* The row of a method of a route. Lent for as long as it has something in flight. */
struct board_times *board_traffic_times(struct board_traffic *t, uint64_t route, unsigned method);
/* A request took so long. */
void board_traffic_observe(struct board_times *times, uint64_t us);
/* It was answered so. */
void board_traffic_count(struct board_traffic *t, uint64_t route, unsigned method, unsigned status);

/* For readers: rows 0 .. used - 1, some of them free; lent. */
unsigned board_counts_used(const struct board *b, unsigned worker);
unsigned board_times_used(const struct board *b, unsigned worker);
const struct board_count *board_count_at(const struct board *b, unsigned worker, unsigned at);
const struct board_times *board_times_at(const struct board *b, unsigned worker, unsigned at);

#endif
