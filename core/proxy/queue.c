/* queue.c: requests that wait because every backend that may have them is full, or, where the route
 * says so, because there is none.
 *
 * One FIFO for each route and worker. A place that frees at this worker wakes the first at once; the
 * other workers' are looked for every TICK_MS while somebody waits. A new request never overtakes
 * those that wait here; among workers it is each one's first that competes.
 *
 * The limit is of the route over all workers, by the numbers on the board; two workers that take the
 * last place at the same moment both have it.
 *
 * Invariants: who waits has neither backend nor connection, its client's socket is in the loop, so
 * that it leaves when the client does (its end counts too: who stops sending while it waits is gone
 * far more often than half-closed), and its time-out is the queue's. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "board/board.h"

enum {
    TICK_MS = 2
};

static uint64_t *length_of(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    return &board_route(p->options.board, p->options.worker, ex->route->number)->queued;
}

bool proxy_queue_join(struct exchange *ex)
{
    struct session *s = ex->session;
    struct proxy *p = s->proxy;
    struct route *r = ex->route;
    if (r->guard.queue_limit <= board_queue_length(p->options.board, r->number)) {
        board_add(&p->numbers->queue_refused, 1);
        return false;
    }
    ex->state = EXCHANGE_QUEUED;
    if (list_empty(&r->queue)) {
        list_append(&p->queues, &r->queue_node);
    }
    list_append(&r->queue, &ex->waiting);
    board_add(length_of(ex), 1);
    board_add(&p->numbers->queued, 1);
    board_add(&p->numbers->queued_total, 1);
    if (proxy_conn_register(p, &s->conn)) {
        s->conn.error = true; /* the next step cuts it */
    }
    proxy_timeout_start(p, &s->conn, r->guard.queue_timeout);
    return true;
}

void proxy_queue_leave(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    if (list_empty(&ex->waiting)) {
        return;
    }
    list_remove(&ex->waiting);
    if (list_empty(&ex->route->queue)) {
        list_remove(&ex->route->queue_node);
    }
    board_sub(length_of(ex), 1);
    board_sub(&p->numbers->queued, 1);
    proxy_timeout_stop(&ex->session->conn);
}

void proxy_orphan(struct proxy *p)
{
    p->orphan = true;
    p->queue_due = true;
}

/* Lets those go on for whom there is a place now. */
static void serve(struct proxy *p, struct route *r)
{
    struct generation *g = r->generation;
    proxy_generation_ref(g);
    while (!list_empty(&r->queue)) {
        struct exchange *ex = list_owner(r->queue.next, struct exchange, waiting);
        struct session *s = ex->session;
        if (s->conn.hup) {
            proxy_session_step(s); /* which ends it */
            continue;
        }
        if (p->orphan && !r->service->count) {
            board_add(&p->numbers->queue_refused, 1);
            (void)proxy_exchange_refuse(ex, 503, "no backend, and nobody who could start one");
        } else if (!proxy_attempt_resume(ex)) {
            break;
        }
        proxy_session_step(s);
    }
    proxy_generation_unref(g);
    p->queue_ms = p->now_ms;
}

void proxy_queue_run(struct proxy *p)
{
    if (list_empty(&p->queues) || (!p->queue_due && p->now_ms - p->queue_ms < TICK_MS)) {
        p->queue_due = false;
        return;
    }
    p->queue_due = false;
    struct list now;
    list_init(&now);
    while (!list_empty(&p->queues)) {
        struct list *node = p->queues.next;
        list_remove(node);
        list_append(&now, node);
    }
    while (!list_empty(&now)) {
        struct list *node = now.next;
        struct route *r = list_owner(node, struct route, queue_node);
        list_remove(node);
        list_append(&p->queues, node);
        serve(p, r);
    }
}

int proxy_queue_wait_ms(const struct proxy *p)
{
    return list_empty(&p->queues) ? -1 : p->queue_due ? 0 : TICK_MS;
}
