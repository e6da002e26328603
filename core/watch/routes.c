/* routes.c: which route the rows of traffic on the board belong to, and what the page tells of them.
 *
 * Invariants: names are sorted by identity. A route that left keeps its name for FAMILIES_KEEP_MS, as
 * its rows are on the board for at least that long. */
#include "watch/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/traffic.h"
#include "watch/families.h"

enum {
    PORTION_ROWS = 256
};

struct name {
    uint64_t identity, left_ms; /* left_ms: 0 = it is configured */
    unsigned number;            /* of its row on the board; BOARD_ROUTES: it has none of its own */
    bool tcp, seen;
    char *service, *path;
};

struct watch_routes {
    struct name *names;
    size_t count, size;
};

struct watch_routes *watch_routes_new(void)
{
    return mem_new(sizeof(struct watch_routes));
}

static void name_free(struct name *n)
{
    mem_free(n->service);
    mem_free(n->path);
}

void watch_routes_free(struct watch_routes *r)
{
    for (size_t i = 0; r && i < r->count; i++) {
        name_free(&r->names[i]);
    }
    if (r) {
        mem_free(r->names);
    }
    mem_free(r);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = ((const struct name *)a)->identity, right = ((const struct name *)b)->identity;
    return (left > right) - (left < right);
}

static struct name *find(const struct watch_routes *r, size_t sorted, uint64_t identity)
{
    struct name key = {.identity = identity};
    return sorted ? bsearch(&key, r->names, sorted, sizeof key, compare) : NULL;
}

/* ---- Names ------------------------------------------------------------------------------- */

static void note(struct watch_routes *r, size_t sorted, const char *service,
                 const struct cJSON *route, unsigned number)
{
    uint64_t identity = board_route_identity(service, route);
    struct name *n = find(r, sorted, identity);
    if (!n) {
        if (r->count == r->size) {
            r->size = r->size ? r->size * 2 : 16;
            r->names = mem_resize(r->names, r->size * sizeof *r->names);
        }
        n = &r->names[r->count++];
        *n = (struct name){.identity = identity,
                           .service = mem_copy(service),
                           .path = mem_copy(json_str(route, "path", "/"))};
    }
    n->seen = true;
    n->left_ms = 0;
    n->tcp = json_bool(route, "tcp", false);
    n->number = number < BOARD_ROUTES ? number : BOARD_ROUTES;
}

static void forget(struct watch_routes *r, uint64_t now_ms)
{
    size_t left = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct name *n = &r->names[i];
        if (!n->seen && !n->left_ms) {
            n->left_ms = now_ms ? now_ms : 1;
        }
        if (n->left_ms && now_ms - n->left_ms >= FAMILIES_KEEP_MS) {
            name_free(n);
        } else {
            r->names[left++] = *n;
        }
    }
    r->count = left;
}

void watch_routes_apply(struct watch_routes *r, const struct cJSON *config, uint64_t now_ms)
{
    size_t sorted = r->count;
    unsigned number = 0;
    for (size_t i = 0; i < sorted; i++) {
        r->names[i].seen = false;
    }
    for (struct cJSON *s = json_first(json_get(config, "services")); s; s = json_next(s)) {
        for (struct cJSON *route = json_first(json_get(s, "routes")); route;
             route = json_next(route)) {
            note(r, sorted, json_str(s, "name", ""), route, number++);
        }
    }
    forget(r, now_ms);
    if (r->count) {
        qsort(r->names, r->count, sizeof *r->names, compare);
    }
}

/* ---- Rows -------------------------------------------------------------------------------- */

static const char *method_name(unsigned method)
{
    static const char *const NAMES[BOARD_METHODS] = {
        "other", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    return NAMES[method < BOARD_METHODS ? method : 0];
}

/* Labels of one of the two kinds; of rows that have no route all are "other". */
static void place(struct families *f, const struct name *n, const char *service, const char *path,
                  struct labels *to)
{
    labels_begin(to);
    labels_add(to, service, n ? n->service : "other");
    labels_add(to, path, n ? families_value(f, FAMILY_DATA_SERVICE_REQUESTS, 1, n->path) : "other");
}

static const char *class_of(unsigned status)
{
    static const char *const CLASSES[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    return CLASSES[status < 600 ? status / 100 : 0];
}

static void add_class(struct families *f, const struct name *n, const char *class, double count)
{
    struct labels labels;
    place(f, n, "service", "route", &labels);
    labels_add(&labels, "code", class);
    families_add(f, FAMILY_ROUTE_REQUESTS, &labels, count);
}

static void write_count(struct families *f, const struct name *n, const struct board_count *c)
{
    struct labels labels;
    char status[8]; /* of 65535 */
    snprintf(status, sizeof status, "%03u", c->status);
    double count = (double)board_get(&c->count);
    if (!n && count <= 0) {
        return;
    }
    place(f, n, "service_name", "endpoint", &labels);
    labels_add(&labels, "method", n ? method_name(c->method) : "other");
    labels_add(&labels, "status",
               n ? families_value(f, FAMILY_DATA_SERVICE_REQUESTS, 3, status) : "other");
    families_add(f, FAMILY_DATA_SERVICE_REQUESTS, &labels, count);
    add_class(f, n, n ? class_of(c->status) : "other", count);
}

/* The buckets on the board, by the bounds of the family, which are some of theirs. */
static void histogram(struct families *f, enum family family, const struct labels *labels,
                      const uint64_t *buckets, uint64_t us_sum)
{
    const struct family_bound *bounds = family_kind(family)->bounds;
    uint64_t counts[FAMILY_BUCKETS] = {0};
    unsigned to = 0;
    for (unsigned b = 0; b < BOARD_TIME_BUCKETS; b++) {
        uint64_t bound_us = board_time_bound_us(b);
        while (bounds[to].text && (double)bound_us > bounds[to].value * 1e6 + 0.5) {
            to++;
        }
        counts[to] += buckets[b];
    }
    families_histogram(f, family, labels, counts, (double)us_sum / 1e6);
}

static void write_times(struct families *f, const struct name *n, const struct board_times *d)
{
    struct labels labels;
    uint64_t buckets[BOARD_TIME_BUCKETS], all = 0, us_sum = board_get(&d->us_sum);
    for (unsigned b = 0; b < BOARD_TIME_BUCKETS; b++) {
        buckets[b] = board_get(&d->buckets[b]);
        all += buckets[b];
    }
    uint64_t in_flight = board_get(&d->in_flight);
    if (!n && !all && !in_flight) {
        return;
    }
    place(f, n, "service_name", "endpoint", &labels);
    labels_add(&labels, "method", n ? method_name(d->method) : "other");
    histogram(f, FAMILY_DATA_SERVICE_REQUEST_DURATION, &labels, buckets, us_sum);
    place(f, n, "service", "route", &labels);
    histogram(f, FAMILY_ROUTE_REQUEST_DURATION, &labels, buckets, us_sum);
    families_add(f, FAMILY_ROUTE_IN_FLIGHT, &labels, (double)in_flight);
    families_add(f, FAMILY_ROUTE_RETRIES, &labels, (double)board_get(&d->repeated));
}

/* What a configured route has before its first request: a rate needs something to rise from. */
static void write_route(struct families *f, struct board *board, const struct name *n)
{
    static const uint64_t NONE[BOARD_TIME_BUCKETS];
    struct labels labels;
    place(f, n, "service", "route", &labels);
    if (n->left_ms) {
        return;
    }
    if (n->number < BOARD_ROUTES) {
        families_add(f, FAMILY_ROUTE_QUEUE_LENGTH, &labels,
                     (double)board_queue_length(board, n->number));
    }
    if (n->tcp) {
        return;
    }
    families_add(f, FAMILY_ROUTE_IN_FLIGHT, &labels, 0);
    families_add(f, FAMILY_ROUTE_RETRIES, &labels, 0);
    histogram(f, FAMILY_ROUTE_REQUEST_DURATION, &labels, NONE, 0);
    for (unsigned status = 200; status < 600; status += 100) {
        add_class(f, n, class_of(status), 0);
    }
}

/* False: nobody remembers the route. NULL in *ret_name: it has none. */
static bool known(const struct watch_routes *r, uint64_t route, uint64_t now_ms,
                  const struct name **ret_name)
{
    const struct name *n = find(r, r->count, route);
    *ret_name = n;
    return n ? !n->left_ms || now_ms - n->left_ms < FAMILIES_KEEP_MS : route == BOARD_ROUTE_OTHER;
}

static void write_row(const struct watch_routes *r, struct families *f, struct board *board,
                      unsigned worker, unsigned row, uint64_t now_ms)
{
    const struct name *n;
    if (row < board_counts_used(board, worker)) {
        const struct board_count *c = board_count_at(board, worker, row);
        if (c->used && known(r, c->route, now_ms, &n)) {
            write_count(f, n, c);
        }
    }
    if (row < board_times_used(board, worker)) {
        const struct board_times *d = board_times_at(board, worker, row);
        if (d->used && known(r, d->route, now_ms, &n)) {
            write_times(f, n, d);
        }
    }
}

bool watch_routes_write(struct watch_routes *r, struct families *f, struct board *board,
                        uint64_t now_ms, uint64_t *at)
{
    /* First the routes, as worker 0, then the rows of worker n as n + 1. */
    unsigned who = (unsigned)(*at >> 32), row = (unsigned)*at;
    unsigned counts = who ? board_counts_used(board, who - 1) : (unsigned)r->count;
    unsigned times = who ? board_times_used(board, who - 1) : 0;
    unsigned rows = counts > times ? counts : times;
    for (unsigned i = 0; i < PORTION_ROWS && row < rows; i++, row++) {
        if (who) {
            write_row(r, f, board, who - 1, row, now_ms);
        } else {
            write_route(f, board, &r->names[row]);
        }
    }
    if (row < rows) {
        *at = (uint64_t)who << 32 | row;
    } else {
        *at = (uint64_t)(who + 1) << 32;
    }
    return row < rows || who < board_workers(board);
}
