/* traffic.c: see traffic.h.
 *
 * Invariants: a row is filled in before it counts as used, and `used` counts before the number of rows
 * does, so that who reads another worker's never meets half a name. A cell of an index holds the number
 * of a row + 1; indexes are twice as large as their rows are many, so that looking ends soon. */
#include "board/traffic.h"

#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board_private.h"

enum {
    COUNT_CELLS = 2 * BOARD_COUNT_ROWS,
    TIME_CELLS = 2 * BOARD_TIME_ROWS
};

struct board_traffic {
    struct board_traffic_rows *rows;
    uint16_t count_cells[COUNT_CELLS], time_cells[TIME_CELLS];
    uint32_t free_counts, free_times; /* rows that were used once and are free, at most */
};

/* The bounds of the seed's histogram, 0.1 to 120 s, and those of ours, 0.5 ms to 10 s. */
static const uint64_t BOUNDS_US[BOARD_TIME_BUCKETS] = {
    500,    1000,    2500,    5000,    10000,    25000,    50000,    100000,    250000,
    500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 120000000, UINT64_MAX,
};

uint64_t board_route_identity(const char *service, const struct cJSON *route)
{
    static const char *const KEYS[] = {"listen", "host", "path", "methods", "headers"};
    uint64_t hash = hash_bytes(service, strlen(service));
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        char *text = json_text(json_get(route, KEYS[i]));
        hash = hash_more(hash, text, strlen(text));
        mem_free(text);
    }
    return hash == BOARD_ROUTE_OTHER ? 1 : hash;
}

uint64_t board_time_bound_us(unsigned bucket)
{
    must(bucket < BOARD_TIME_BUCKETS);
    return BOUNDS_US[bucket];
}

static uint32_t cell_of(uint64_t route, uint32_t what)
{
    return (uint32_t)((route ^ what * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static uint32_t what_of(unsigned method, unsigned status)
{
    return method << 16 | status;
}

static void index_count(struct board_traffic *t, unsigned row)
{
    const struct board_count *c = &t->rows->counts[row];
    uint32_t at = cell_of(c->route, what_of(c->method, c->status));
    while (t->count_cells[at % COUNT_CELLS]) {
        at++;
    }
    t->count_cells[at % COUNT_CELLS] = (uint16_t)(row + 1);
}

static void index_times(struct board_traffic *t, unsigned row)
{
    const struct board_times *d = &t->rows->times[row];
    uint32_t at = cell_of(d->route, what_of(d->method, 0));
    while (t->time_cells[at % TIME_CELLS]) {
        at++;
    }
    t->time_cells[at % TIME_CELLS] = (uint16_t)(row + 1);
}

static void index_all(struct board_traffic *t)
{
    memset(t->count_cells, 0, sizeof t->count_cells);
    memset(t->time_cells, 0, sizeof t->time_cells);
    t->free_counts = t->free_times = 0;
    for (unsigned i = 1; i < t->rows->counts_used; i++) {
        if (t->rows->counts[i].used) {
            index_count(t, i);
        } else {
            t->free_counts++;
        }
    }
    for (unsigned i = 1; i < t->rows->times_used; i++) {
        if (t->rows->times[i].used) {
            index_times(t, i);
        } else {
            t->free_times++;
        }
    }
}

struct board_traffic *board_traffic_new(struct board *b, unsigned worker)
{
    struct board_traffic *t = mem_new(sizeof *t);
    t->rows = board_traffic_rows(b, worker);
    if (!t->rows->counts_used) { /* the rows of what finds no other */
        t->rows->counts[0].used = t->rows->times[0].used = true;
        __atomic_store_n(&t->rows->counts_used, 1, __ATOMIC_RELEASE);
        __atomic_store_n(&t->rows->times_used, 1, __ATOMIC_RELEASE);
    }
    index_all(t);
    return t;
}

void board_traffic_free(struct board_traffic *t)
{
    mem_free(t);
}

/* ---- Rows come and go -------------------------------------------------------------------- */

/* A row that nobody uses: one that was given away, else the next; 0: there is none. */
static unsigned vacant_count(struct board_traffic *t)
{
    for (unsigned i = 1; t->free_counts && i < t->rows->counts_used; i++) {
        if (!t->rows->counts[i].used) {
            t->free_counts--;
            return i;
        }
    }
    return t->rows->counts_used < BOARD_COUNT_ROWS ? t->rows->counts_used : 0;
}

static unsigned vacant_times(struct board_traffic *t)
{
    for (unsigned i = 1; t->free_times && i < t->rows->times_used; i++) {
        if (!t->rows->times[i].used) {
            t->free_times--;
            return i;
        }
    }
    return t->rows->times_used < BOARD_TIME_ROWS ? t->rows->times_used : 0;
}

static void publish(bool *used, uint32_t *rows_used, unsigned row)
{
    __atomic_store_n(used, true, __ATOMIC_RELEASE);
    if (row == *rows_used) {
        __atomic_store_n(rows_used, row + 1, __ATOMIC_RELEASE);
    }
}

static struct board_count *take_count(struct board_traffic *t, uint64_t route, unsigned method,
                                      unsigned status)
{
    unsigned row = vacant_count(t);
    struct board_count *c = &t->rows->counts[row];
    if (row) {
        *c = (struct board_count){
            .route = route, .method = (uint16_t)method, .status = (uint16_t)status};
        publish(&c->used, &t->rows->counts_used, row);
        index_count(t, row);
    }
    return c;
}

static struct board_times *take_times(struct board_traffic *t, uint64_t route, unsigned method)
{
    unsigned row = vacant_times(t);
    struct board_times *d = &t->rows->times[row];
    if (row) {
        *d = (struct board_times){.route = route, .method = (uint16_t)method};
        publish(&d->used, &t->rows->times_used, row);
        index_times(t, row);
    }
    return d;
}

static bool among(uint64_t route, const uint64_t *routes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (routes[i] == route) {
            return true;
        }
    }
    return false;
}

/* Whether a row goes: its route left long ago, also if it comes back just now. */
static bool leaves(uint64_t *left_ms, bool there, uint64_t now_ms)
{
    if (*left_ms && now_ms - *left_ms >= BOARD_TRAFFIC_KEEP_MS) {
        return true;
    }
    board_set(left_ms, there ? 0 : *left_ms ? *left_ms : now_ms ? now_ms : 1);
    return false;
}

void board_traffic_keep(struct board_traffic *t, const uint64_t *routes, size_t count,
                        uint64_t now_ms)
{
    for (unsigned i = 1; i < t->rows->counts_used; i++) {
        struct board_count *c = &t->rows->counts[i];
        if (c->used && leaves(&c->left_ms, among(c->route, routes, count), now_ms)) {
            __atomic_store_n(&c->used, false, __ATOMIC_RELEASE);
        }
    }
    for (unsigned i = 1; i < t->rows->times_used; i++) {
        struct board_times *d = &t->rows->times[i];
        if (d->used && leaves(&d->left_ms, among(d->route, routes, count), now_ms) &&
            !d->in_flight) {
            __atomic_store_n(&d->used, false, __ATOMIC_RELEASE);
        }
    }
    index_all(t);
}

/* ---- Counting ---------------------------------------------------------------------------- */

struct board_times *board_traffic_times(struct board_traffic *t, uint64_t route, unsigned method)
{
    for (uint32_t at = cell_of(route, what_of(method, 0));; at++) {
        uint16_t row = t->time_cells[at % TIME_CELLS];
        if (!row) {
            return take_times(t, route, method);
        }
        struct board_times *d = &t->rows->times[row - 1];
        if (d->route == route && d->method == method) {
            return d;
        }
    }
}

void board_traffic_observe(struct board_times *times, uint64_t us)
{
    unsigned bucket = 0;
    /* Half of the requests of most services are over within the first few. */
    while (us > BOUNDS_US[bucket]) {
        bucket++;
    }
    board_add(&times->us_sum, us);
    board_add(&times->buckets[bucket], 1);
}

void board_traffic_count(struct board_traffic *t, uint64_t route, unsigned method, unsigned status)
{
    struct board_count *c = NULL;
    for (uint32_t at = cell_of(route, what_of(method, status)); !c; at++) {
        uint16_t row = t->count_cells[at % COUNT_CELLS];
        if (!row) {
            c = take_count(t, route, method, status);
        } else if (t->rows->counts[row - 1].route == route &&
                   t->rows->counts[row - 1].method == method &&
                   t->rows->counts[row - 1].status == status) {
            c = &t->rows->counts[row - 1];
        }
    }
    board_add(&c->count, 1);
}

/* ---- Reading ----------------------------------------------------------------------------- */

unsigned board_counts_used(const struct board *b, unsigned worker)
{
    return __atomic_load_n(&board_traffic_rows(b, worker)->counts_used, __ATOMIC_ACQUIRE);
}

unsigned board_times_used(const struct board *b, unsigned worker)
{
    return __atomic_load_n(&board_traffic_rows(b, worker)->times_used, __ATOMIC_ACQUIRE);
}

const struct board_count *board_count_at(const struct board *b, unsigned worker, unsigned at)
{
    must(at < BOARD_COUNT_ROWS);
    return &board_traffic_rows(b, worker)->counts[at];
}

const struct board_times *board_times_at(const struct board *b, unsigned worker, unsigned at)
{
    must(at < BOARD_TIME_ROWS);
    return &board_traffic_rows(b, worker)->times[at];
}
