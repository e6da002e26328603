/* pick.c: which backend gets this attempt.
 *
 * The route's policy decides over rows that are filled here; when it fails or names a row that it
 * may not, C takes the one with the fewest requests in flight for its weight, and lapse.c hears of it.
 * Allocates nothing. */
#include "proxy/parts.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/ban.h"
#include "board/board.h"

enum {
    TIMED_PICKS = 16,    /* one in so many is timed, and counts for all of them */
    WARM_PICKS = 2048,   /* of a route: by then its policy is compiled, */
    SHADOW_PICKS = 16,   /* a shadow is asked about one in so many */
    LOOK_PICKS = 1 << 17 /* and whether it still is is looked up so often: a power of two */
};

enum mark {
    MARK_HEALTHY = 1,
    MARK_ADMITTED = 2,
    MARK_ELIGIBLE = 4,
    MARK_FULL = 8
};

static bool was_tried(const struct exchange *ex, const struct backend *b)
{
    for (unsigned i = 0; i < ex->tries; i++) {
        if (ex->tried[i] == b->serial) {
            return true;
        }
    }
    return false;
}

/* Slow start: from a tenth of the weight to all of it. */
static double ramp_of(const struct guard *g, double age_s)
{
    if (age_s * 1000 >= g->slow_start_ms) {
        return 1;
    }
    return 0.1 + 0.9 * (age_s * 1000 / g->slow_start_ms);
}

void proxy_moved(struct backend *b)
{
    if (b->service) {
        b->service->moved[b->service->moves++ % MOVES] = b->index;
    }
}

static bool is_full(const struct backend *b, const struct script_backend *row)
{
    return b->max_connections > 0 && row->in_flight >= b->max_connections;
}

/* Too few are let through: the circuits are ignored, for they would bring all to the ground. */
static void panic(const struct exchange *ex, uint32_t count, struct field *f)
{
    const struct route *r = ex->route;
    f->panic = true;
    f->eligible = f->full = 0;
    f->in_flight = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct backend *b = r->service->backends[i];
        struct script_backend *row = &r->rows[i];
        bool may = !b->draining && !was_tried(ex, b), full = is_full(b, row);
        row->eligible = may && !full;
        f->eligible += may && !full;
        f->full += may && full;
        f->in_flight += row->eligible ? row->in_flight : 0;
    }
}

/* Adds a row to the sums of the route, or takes it off them. */
static void count_row(struct route *r, uint32_t i, uint32_t by)
{
    struct field *f = &r->field;
    unsigned marks = r->marks[i];
    double in_flight = marks & MARK_ELIGIBLE ? r->rows[i].in_flight : 0;
    f->healthy += marks & MARK_HEALTHY ? by : 0;
    f->admitted += marks & MARK_ADMITTED ? by : 0;
    f->eligible += marks & MARK_ELIGIBLE ? by : 0;
    f->full += marks & MARK_FULL ? by : 0;
    f->in_flight += by == 1 ? in_flight : -in_flight;
}

/* Whether a circuit in this state lets a request through to it, a trial included. */
static bool admits(const struct proxy *p, const struct guard *g, const struct backend *b,
                   int32_t circuit)
{
    return !b->draining &&
           (circuit == BOARD_CLOSED || board_circuit_admits(b->circuit, &g->rule, p->now_ms));
}

static int32_t circuit_of(const struct guard *g, const struct backend *b)
{
    return g->tracks ? (int32_t)board_circuit_state(b->circuit) : BOARD_CLOSED;
}

bool proxy_pick_ready(const struct proxy *p, const struct route *r)
{
    const struct service *service = r->service;
    for (uint32_t i = 0; i < service->count && i < r->capacity; i++) {
        const struct backend *b = service->backends[i];
        if (admits(p, &r->guard, b, circuit_of(&r->guard, b))) {
            return true;
        }
    }
    return false;
}

static void fill_row(const struct exchange *ex, struct route *r, uint32_t i)
{
    struct proxy *p = ex->session->proxy;
    const struct guard *g = &r->guard;
    struct backend *b = r->service->backends[i];
    struct script_backend *row = &r->rows[i];
    proxy_tally_fill(p, b, proxy_view_wants_mean(r->view), row);
    row->age_s = p->now_ms > b->joined_ms ? (double)(p->now_ms - b->joined_ms) * 0.001 : 0;
    row->ramp = ramp_of(g, row->age_s);
    row->circuit = circuit_of(g, b);
    bool admitted = admits(p, g, b, row->circuit);
    bool may = admitted && !was_tried(ex, b), full = is_full(b, row);
    double weight = b->weight * row->ramp;
    r->changes += row->eligible != (may && !full) || row->weight != weight;
    row->eligible = may && !full;
    row->weight = weight;
    r->marks[i] = (uint8_t)((b->draining ? 0 : MARK_HEALTHY) | (admitted ? MARK_ADMITTED : 0) |
                            (may && !full ? MARK_ELIGIBLE : 0) | (may && full ? MARK_FULL : 0));
}

static void fill_all(const struct exchange *ex, struct route *r, uint32_t count)
{
    r->field = (struct field){0};
    for (uint32_t i = 0; i < count; i++) {
        fill_row(ex, r, i);
        count_row(r, i, 1);
    }
}

static void fill_moved(const struct exchange *ex, struct route *r, uint32_t count)
{
    const struct service *service = r->service;
    uint32_t last = UINT32_MAX;
    for (uint32_t at = r->seen_moves; at != service->moves; at++) {
        uint32_t i = service->moved[at % MOVES];
        if (i != last && i < count) {
            count_row(r, i, UINT32_MAX);
            fill_row(ex, r, i);
            count_row(r, i, 1);
        }
        last = i;
    }
}

struct field proxy_pick_fill(const struct exchange *ex, uint32_t count)
{
    struct proxy *p = ex->session->proxy;
    struct route *r = ex->route;
    if (ex->tries || r->filled_ms != p->now_ms || r->service->moves - r->seen_moves > MOVES) {
        fill_all(ex, r, count);
    } else {
        fill_moved(ex, r, count);
    }
    r->seen_moves = r->service->moves;
    r->filled_ms = ex->tries ? 0 : p->now_ms; /* whom this one tried the next one may have */
    struct field f = r->field;
    bool respected = f.healthy == 1 && r->guard.alone;
    if (f.admitted < f.healthy && f.admitted < r->guard.panic * f.healthy && !respected) {
        panic(ex, count, &f);
        r->changes++;
        r->filled_ms = 0;
    }
    return f;
}

int proxy_pick_least(struct proxy *p, const struct route *r, uint32_t count)
{
    uint32_t from = (uint32_t)(proxy_random(p) % count);
    int best = -1;
    double least = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = from + i < count ? from + i : from + i - count;
        const struct script_backend *row = &r->rows[at];
        double weight = row->weight > 0 ? row->weight : row->ramp;
        double load = (row->in_flight + 1) / weight;
        if (row->eligible && (best < 0 || load < least)) {
            best = (int)at;
            least = load;
        }
    }
    return best;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct script_request proxy_pick_request(const struct exchange *ex, const struct field *f,
                                         uint32_t count)
{
    struct proxy *p = ex->session->proxy;
    struct script_request request = {
        .now_ms = (double)p->now_us / 1000.0,
        .in_flight = f->in_flight,
        .changes = ex->route->changes,
        .hash = (uint32_t)proxy_random(p),
        .method = (int32_t)ex->method,
        .attempt = ex->tries,
    };
    proxy_view_fill(ex, count, &request);
    return request;
}

/* A policy that LuaJIT does not compile, or gave up, is told: it works, but it costs. */
static void look_at_code(struct proxy *p, struct route *r)
{
    char text[200]; /* an origin of less than 100 bytes, and words */
    bool interpreted = !script_picker_compiled(r->picker);
    if (interpreted == r->interpreted) {
        return;
    }
    r->interpreted = interpreted;
    if (!interpreted) {
        board_sub(&p->numbers->interpreted, 1);
        return;
    }
    board_add(&p->numbers->interpreted, 1);
    snprintf(text, sizeof text,
             "%.99s: runs interpreted, some ten times slower: LuaJIT compiles numbers, fields and "
             "numeric loops",
             script_picker_origin(r->picker));
    proxy_fact(p, "policy", text);
}

static int ask_policy(struct proxy *p, const struct exchange *ex, const struct field *f,
                      uint32_t count)
{
    p->asked = proxy_pick_request(ex, f, count);
    bool timed = p->numbers->picks % TIMED_PICKS == 0;
    uint64_t from = timed ? now_ns() : 0;
    int at = script_pick(ex->route->picker, &p->asked);
    board_add(&p->numbers->picks, 1);
    if (++ex->route->asks % LOOK_PICKS == WARM_PICKS && ex->generation == p->current) {
        look_at_code(p, ex->route);
    }
    if (timed) {
        board_add(&p->numbers->pick_ns_sum, (now_ns() - from) * TIMED_PICKS);
    }
    return at;
}

/* The row to take; -ENOENT: the policy wants none. */
static int choose(struct proxy *p, struct exchange *ex, const struct field *f, uint32_t count)
{
    struct route *r = ex->route;
    int at = proxy_view_session(ex, count);
    if (at >= 0 && r->rows[at].eligible) {
        p->pasts.by = PAST_SESSION;
        return at;
    }
    if (!r->picker || r->lapses.quarantined) {
        p->pasts.by = PAST_BUILTIN;
        return proxy_pick_least(p, r, count);
    }
    bool asked = proxy_lapse_may_ask(p, &r->lapses);
    at = asked ? ask_policy(p, ex, f, count) : -EIO;
    p->pasts.by = PAST_POLICY;
    if (at == -ENOENT) {
        return at;
    }
    if (at < 0 || (uint32_t)at >= count || !r->rows[at].eligible) {
        board_add(&p->numbers->policy_errors, 1);
        if (asked) {
            proxy_lapse(ex, &r->lapses, NULL,
                        at == -EIO ? script_picker_error(r->picker)
                                   : "the policy chose a backend that it may not");
        }
        p->pasts.by = asked ? PAST_FAILED : PAST_BUILTIN;
        return proxy_pick_least(p, r, count);
    }
    r->lapses.in_a_row = 0;
    if (r->shadow.picker && p->asked.hash % SHADOW_PICKS == 0) {
        proxy_shadow_ask(p, r, count, at);
    }
    return at;
}

/* Takes a place at b, unless another worker took the last one meanwhile, or the trial. */
static bool reserve(struct proxy *p, struct exchange *ex, struct backend *b, struct field *f)
{
    ex->ticket = (struct board_ticket){0};
    proxy_moved(b);
    if (ex->route->guard.tracks && !proxy_guard_enter(ex, b) && !f->panic) {
        return false;
    }
    uint64_t most = b->max_connections > 0 ? (uint64_t)b->max_connections : 0;
    if (board_reserve(p->options.board, p->options.worker, b->slot, most)) {
        return true;
    }
    board_circuit_leave(b->circuit, &ex->ticket);
    f->full++;
    return false;
}

struct backend *proxy_pick(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    struct route *r = ex->route;
    struct service *service = r->service;
    uint32_t count = service->count < r->capacity ? service->count : r->capacity;
    struct field f = proxy_pick_fill(ex, count);
    p->pasts.by = PAST_NOBODY;
    if (f.panic) {
        proxy_guard_panic(p, service, &f);
    }
    for (; f.eligible; f.eligible--) {
        int at = choose(p, ex, &f, count);
        if (at == -ENOENT) {
            break;
        }
        struct backend *b = service->backends[at];
        if (reserve(p, ex, b, &f)) {
            proxy_past_note(ex, count, &f, b);
            return b;
        }
        r->rows[at].eligible = 0;
        r->changes++;
        f.in_flight -= r->rows[at].in_flight;
    }
    proxy_past_note(ex, count, &f, NULL);
    ex->all_full = !f.eligible && f.full;
    ex->none = !f.eligible && (f.admitted || !f.healthy || f.panic);
    return NULL;
}
