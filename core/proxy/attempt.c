/* attempt.c: which backends one exchange sees, one after the other.
 *
 * Invariants: an attempt is repeated only while nothing of a final answer went to the client, nothing
 * beyond what is kept went out, either the method may be repeated or the kernel took no byte, and
 * the route's retry budget allows it. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "board/board.h"
#include "net/grpc.h"

enum {
    REVIVE_MS = 100, /* between two that wait for any backend and try all again */
    AGAIN_MOST = 3   /* in a row at one backend, which never saw the request */
};

static struct proxy *proxy_of(const struct exchange *ex)
{
    return ex->session->proxy;
}

static enum progress give_up(struct exchange *ex)
{
    return ex->timed_out ? proxy_exchange_refuse(ex, 504, "no backend answered in time")
                         : proxy_exchange_refuse(ex, 502, "no backend answered");
}

static bool may_repeat(struct exchange *ex)
{
    return ex->tries < ex->route->max_retries && ex->tries < TRIES - 1 &&
           proxy_budget_repeat(proxy_of(ex), ex->route);
}

/* The backend of this attempt has failed, another one gets the next. */
static void leave(struct exchange *ex)
{
    ex->tried[ex->tries++] = ex->backend->serial;
    proxy_tally_failure(ex, true);
    proxy_tally_end(ex);
}

/* Whether it waits although no backend is there. Instances that die together are back in a second or
 * two as a rule; in a longer outage only its first requests are kept, the later ones know at once.
 * An open circuit is no reason to wait: it stays open for longer. */
static bool waits_down(struct exchange *ex)
{
    const struct guard *g = &ex->route->guard;
    if (proxy_of(ex)->orphan && !ex->route->service->count) {
        return false;
    }
    uint64_t *gone_ms = &ex->route->service->gone_ms, now_ms = proxy_of(ex)->now_ms;
    if (g->when_down == DOWN_BRIEFLY && ex->none) {
        *gone_ms = *gone_ms ? *gone_ms : now_ms;
        return now_ms - *gone_ms < g->queue_timeout->ms;
    }
    return g->when_down == DOWN_WAITS;
}

/* We have no descriptor for another connection: no backend can help that, and none is to blame. */
static enum progress exhausted(struct exchange *ex)
{
    struct proxy *p = proxy_of(ex);
    proxy_fact(p, "limit", "out of file descriptors: a request was refused");
    board_add(&p->numbers->exhausted, 1);
    board_add(&p->numbers->no_backend, 1);
    proxy_tally_end(ex);
    return proxy_exchange_refuse(ex, 503, "out of file descriptors");
}

/* No backend may have it now: it waits for one, or is answered. */
static enum progress stay(struct exchange *ex)
{
    bool wants = ex->all_full || waits_down(ex);
    if (wants && ex->route->guard.queue_limit && proxy_queue_join(ex)) {
        return PROGRESS_SOME;
    }
    if (ex->tries) {
        return give_up(ex);
    }
    board_add(&proxy_of(ex)->numbers->no_backend, 1);
    return proxy_exchange_refuse(ex, 503,
                                 ex->all_full ? "all backends are full" : "no backend is ready");
}

/* Sends the request to b, or to the next backend that may have it. */
static enum progress attempt(struct exchange *ex, struct backend *b)
{
    for (; b; b = proxy_pick(ex)) {
        proxy_tally_begin(ex, b);
        ex->request->at = 0;
        ex->timed_out = false;
        int rc = proxy_upstream_open(ex, ex->tcp);
        if (!rc) {
            ex->state = EXCHANGE_SENDING;
            return PROGRESS_SOME;
        }
        if (proxy_upstream_ours(rc)) {
            return exhausted(ex);
        }
        bool more = may_repeat(ex);
        ex->tried[ex->tries++] = b->serial;
        ex->failure = FAILURE_CONNECT;
        proxy_tally_failure(ex, more);
        proxy_tally_end(ex);
        if (!more) {
            return give_up(ex);
        }
    }
    return stay(ex);
}

enum progress proxy_attempt_first(struct exchange *ex)
{
    struct route *r = ex->route;
    proxy_budget_ask(proxy_of(ex), r);
    if (!list_empty(
            &r->queue)) { /* those who wait go first; this one waits for what they wait for */
        const struct exchange *first = list_owner(r->queue.next, struct exchange, waiting);
        ex->all_full = first->all_full;
        ex->none = first->none;
        return stay(ex);
    }
    return attempt(ex, proxy_pick(ex));
}

static bool waits_for_any(const struct exchange *ex)
{
    enum when_down when = ex->route->guard.when_down;
    return when == DOWN_WAITS || (when == DOWN_BRIEFLY && ex->none);
}

bool proxy_attempt_resume(struct exchange *ex)
{
    uint64_t now_ms = proxy_of(ex)->now_ms;
    if (ex->tries && waits_for_any(ex) && now_ms - ex->route->revived_ms >= REVIVE_MS) {
        ex->route->revived_ms = now_ms;
        ex->tries = 0; /* what it tried may be back, and nobody else may tell */
    }
    struct backend *b = proxy_pick(ex);
    if (!b && (ex->all_full || waits_for_any(ex))) {
        return false;
    }
    proxy_queue_leave(ex);
    (void)attempt(ex, b);
    return true;
}

/* Whether this backend may have it once more on a connection that is not this one: it was closing while we took it
 * from the pool, or its backend leaves it, or refused a stream of it and there is no other backend. */
static bool stale(const struct exchange *ex, bool untouched)
{
    const struct upstream *u = ex->up;
    if (ex->timed_out || ex->answered || u->connecting) {
        return false;
    }
    if (u->shared && untouched) {
        return ex->again < AGAIN_MOST &&
               (!u->lane.link || u->lane.link->leaving || ex->route->service->count == 1);
    }
    return u->reused && !ex->again;
}

enum progress proxy_attempt_failed(struct exchange *ex)
{
    bool untouched =
        (ex->request->at == 0 || (ex->up->shared && proxy_lane_untouched(ex->up))) && !ex->answered;
    bool here = stale(ex, untouched);
    bool may = !ex->streamed && (untouched || http1_idempotent(ex->method));
    ex->failure = ex->up->connecting ? FAILURE_CONNECT
                  : ex->timed_out    ? FAILURE_TIMEOUT
                                     : FAILURE_RESET;
    proxy_upstream_release(ex->up, false);
    proxy_hold_drop(ex);
    proxy_block_give(ex->session->proxy, &ex->trailer);
    ex->answered = false;
    if (may && here) {
        ex->again++;
        ex->failure = FAILURE_NONE;
        ex->request->at = 0;
        board_add(&ex->backend->row->retries, 1);
        int rc = proxy_upstream_open(ex, true);
        if (!rc) {
            ex->state = EXCHANGE_SENDING;
            return PROGRESS_SOME;
        }
        if (proxy_upstream_ours(rc)) {
            return exhausted(ex);
        }
    }
    if (!may || !may_repeat(ex)) {
        return give_up(ex);
    }
    leave(ex);
    return attempt(ex, proxy_pick(ex));
}

/* Whether there is a backend that the request has not seen. */
static bool has_fresh(const struct exchange *ex)
{
    const struct service *service = ex->route->service;
    for (uint32_t i = 0; i < service->count; i++) {
        const struct backend *b = service->backends[i];
        bool seen = b == ex->backend || b->draining;
        for (int k = 0; k < ex->tries; k++) {
            seen = seen || ex->tried[k] == b->serial;
        }
        if (!seen) {
            return true;
        }
    }
    return false;
}

bool proxy_attempt_elsewhere(struct exchange *ex, enum progress *ret_progress)
{
    if (ex->streamed || !has_fresh(ex) || !may_repeat(ex)) {
        return false;
    }
    ex->failure = FAILURE_5XX;
    proxy_upstream_release(ex->up, true);
    proxy_block_give(proxy_of(ex), &ex->trailer);
    ex->answered = false;
    ex->grpc_status = GRPC_NONE;
    leave(ex);
    *ret_progress = attempt(ex, proxy_pick(ex));
    return true;
}

void proxy_attempt_lost(struct exchange *ex)
{
    struct session *s = ex->session;
    bool waits =
        ex->state == EXCHANGE_SENDING || ex->state == EXCHANGE_ANSWER || ex->state == EXCHANGE_HELD;
    if (ex->backend->service || !waits || ex->tcp || ex->streamed ||
        !http1_idempotent(ex->method) || !proxy_service_ready(ex->route->service) ||
        !may_repeat(ex)) {
        return;
    }
    ex->failure = FAILURE_TIMEOUT;
    proxy_upstream_release(ex->up, false);
    proxy_hold_drop(ex);
    proxy_block_give(proxy_of(ex), &ex->trailer);
    ex->answered = false;
    leave(ex);
    (void)attempt(ex, proxy_pick(ex));
    if (s->state !=
        SESSION_DEAD) { /* its next step is not taken here: others are being looked at */
        list_remove(&s->ready);
        list_append(&s->proxy->ready, &s->ready);
    }
}
