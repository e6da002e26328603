/* timeout.c: time-outs as one FIFO list for each length of time.
 *
 * Invariants: a list is ordered by the start of its entries, so only its head can be due; starting,
 * stopping and going on cost a few pointers and no system call. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"

struct timeout *proxy_timeout_of(struct proxy *p, uint32_t ms)
{
    for (struct timeout *t = p->timeouts; t; t = t->next) {
        if (t->ms == ms) {
            return t;
        }
    }
    struct timeout *t = mem_new(sizeof *t);
    t->ms = ms;
    list_init(&t->conns);
    t->next = p->timeouts;
    p->timeouts = t;
    return t;
}

void proxy_timeout_start(struct proxy *p, struct conn *c, struct timeout *t)
{
    list_remove(&c->node);
    list_append(&t->conns, &c->node);
    c->timeout = t;
    c->since_ms = p->now_ms;
}

void proxy_timeout_stop(struct conn *c)
{
    if (c->timeout) {
        list_remove(&c->node);
        c->timeout = NULL;
    }
}

void proxy_timeout_keep(struct proxy *p, struct conn *c, struct timeout *t, bool moved)
{
    if (!t) {
        proxy_timeout_stop(c);
    } else if (c->timeout != t || (moved && c->since_ms != p->now_ms)) {
        proxy_timeout_start(p, c, t);
    }
}

static struct conn *oldest(const struct timeout *t)
{
    return list_empty(&t->conns) ? NULL : list_owner(t->conns.next, struct conn, node);
}

int proxy_timeout_next(const struct proxy *p)
{
    uint64_t least = UINT64_MAX;
    for (const struct timeout *t = p->timeouts; t; t = t->next) {
        const struct conn *c = oldest(t);
        if (c && c->since_ms + t->ms < least) {
            least = c->since_ms + t->ms;
        }
    }
    if (least == UINT64_MAX) {
        return -1;
    }
    uint64_t left = least > p->now_ms ? least - p->now_ms : 0;
    return left > 60000 ? 60000 : (int)left;
}

static void fire(struct conn *c)
{
    switch ((enum conn_kind)c->kind) {
    case CONN_CLIENT:
        proxy_session_timeout(list_owner(c, struct session, conn));
        break;
    case CONN_UPSTREAM:
        proxy_upstream_timeout(list_owner(c, struct upstream, conn));
        break;
    case CONN_LINK:
        proxy_link_timeout(list_owner(c, struct link, conn));
        break;
    case CONN_DEADLINE:
        proxy_exchange_deadline(list_owner(c, struct exchange, deadline));
        break;
    case CONN_TOLD:
        proxy_h2_told_timeout(c);
        break;
    case CONN_UV:
    case CONN_LISTENER:
    case CONN_KINDS:
        must(!"a kind with time-outs");
    }
}

void proxy_timeout_run(struct proxy *p)
{
    for (struct timeout *t = p->timeouts; t; t = t->next) {
        struct conn *c;
        while ((c = oldest(t)) && c->since_ms + t->ms <= p->now_ms) {
            proxy_timeout_stop(c);
            fire(c);
        }
    }
}
