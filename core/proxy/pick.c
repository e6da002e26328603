/* pick.c: which backend gets this attempt.
 *
 * The route's policy decides over rows that are filled here; when it fails or names a row that it
 * may not, C takes the one with the fewest requests in flight for its weight; when it fails again
 * and again, it is asked once a second only, so that one that runs away costs little. Allocates
 * nothing. In flight is our own number, exact, and that of the other workers, at most a millisecond
 * old. */
#include "proxy/parts.h"

#include <errno.h>
#include <time.h>

#include "base/ban.h"
#include "board/board.h"

enum {
    FAILURES_MOST = 8, /* in a row; then the policy rests */
    REST_MS = 1000,
    TIMED_PICKS = 16 /* one in so many is timed, and counts for all of them */
};

static double in_flight(struct proxy *p, struct backend *b)
{
    uint64_t own = b->row->in_flight;
    if (b->others_ms != p->now_ms) {
        uint64_t all = board_in_flight(p->options.board, b->slot);
        b->others = all > own ? all - own : 0;
        b->others_ms = p->now_ms;
    }
    return (double)(own + b->others);
}

static bool was_tried(const struct exchange *ex, const struct backend *b)
{
    for (unsigned i = 0; i < ex->tries; i++) {
        if (ex->tried[i] == b) {
            return true;
        }
    }
    return false;
}

/* Writes what changes from request to request; returns how many rows may be picked. */
static uint32_t fill(struct proxy *p, const struct exchange *ex, uint32_t count)
{
    const struct route *r = ex->route;
    uint32_t eligible = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct backend *b = r->service->backends[i];
        struct script_backend *row = &r->rows[i];
        uint64_t ewma_ms = b->row->ewma_at_us / 1000u;
        row->in_flight = in_flight(p, b);
        row->response_ms = proxy_faded(b->row->ewma_ms, (double)(p->now_ms - ewma_ms));
        row->error_rate =
            b->error_rate > 0 ? proxy_faded(b->error_rate, (double)(p->now_ms - b->failed_ms)) : 0;
        row->response_mean_ms = proxy_tally_mean(b);
        row->age_s = p->now_ms > b->joined_ms ? (double)(p->now_ms - b->joined_ms) / 1000.0 : 0;
        bool full = b->max_connections > 0 && row->in_flight >= b->max_connections;
        row->eligible = !b->draining && !full && !was_tried(ex, b);
        eligible += (uint32_t)row->eligible;
    }
    return eligible;
}

/* Least in flight for the weight; equal ones in turn, beginning anywhere. */
static int least_connections(struct proxy *p, const struct route *r, uint32_t count)
{
    uint32_t from = (uint32_t)(proxy_random(p) % count);
    int best = -1;
    double least = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = from + i < count ? from + i : from + i - count;
        const struct script_backend *row = &r->rows[at];
        double weight = row->weight > 0 ? row->weight : 1;
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

static int ask_policy(struct proxy *p, const struct exchange *ex, uint32_t count)
{
    struct script_request request = {
        .now_ms = (double)p->now_us / 1000.0,
        .hash = (uint32_t)proxy_random(p),
        .method = (int32_t)ex->method,
        .attempt = ex->tries,
    };
    proxy_view_fill(ex, count, &request);
    bool timed = p->numbers->picks % TIMED_PICKS == 0;
    uint64_t from = timed ? now_ns() : 0;
    int at = script_pick(ex->route->picker, &request);
    board_add(&p->numbers->picks, 1);
    if (timed) {
        board_add(&p->numbers->pick_ns_sum, (now_ns() - from) * TIMED_PICKS);
    }
    return at;
}

/* The policy failed: told, and at the eighth time in a row it rests. */
static void note_failure(struct proxy *p, struct route *r, int at)
{
    const char *why = at == -EIO ? script_picker_error(r->picker)
                                 : "a balance policy chose a backend that it may not";
    proxy_fact(p, "policy", why);
    if (++r->failures >= FAILURES_MOST) {
        r->aside_ms = p->now_ms + REST_MS;
    }
}

struct backend *proxy_pick(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    struct route *r = ex->route;
    struct service *service = r->service;
    uint32_t count = service->count < r->capacity ? service->count : r->capacity;
    if (!count || !fill(p, ex, count)) {
        return NULL;
    }
    int at = proxy_view_session(ex, count);
    if (at >= 0) {
        return service->backends[at];
    }
    if (!r->picker) {
        return service->backends[least_connections(p, r, count)];
    }
    bool resting = p->now_ms < r->aside_ms;
    at = resting ? -EIO : ask_policy(p, ex, count);
    if (at == -ENOENT) {
        return NULL;
    }
    if (at < 0 || (uint32_t)at >= count || !r->rows[at].eligible) {
        board_add(&p->numbers->policy_errors, 1);
        if (!resting) {
            note_failure(p, r, at);
        }
        return service->backends[least_connections(p, r, count)];
    }
    r->failures = 0;
    return service->backends[at];
}
