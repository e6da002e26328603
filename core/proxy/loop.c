/* loop.c: the worker's loop: edge-triggered epoll for data sockets, libuv embedded in it.
 *
 * Owns: the epoll descriptor, the clock of the loop, the graveyard.
 * Invariants: a data socket is registered once, for everything. Closed connections keep their
 * memory until the batch of events is through, since an event of the same batch may still name
 * them. libuv is asked when its descriptor fires, when its time-out is due, when somebody used it
 * (uv_due), and every 32 rounds under load, since it registers new handles only while it runs. */
#include "proxy/parts.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "proxy/inner.h"

enum {
    EVENTS = 256,
    UV_ROUNDS = 32
};

void proxy_now(struct proxy *p)
{
    p->now_us = clock_now_us();
    p->now_ms = p->now_us / 1000u;
}

void proxy_conn_init(struct conn *c, enum conn_kind kind, int fd)
{
    *c = (struct conn){.fd = fd, .kind = (uint8_t)kind};
    list_init(&c->node);
}

int proxy_conn_register(struct proxy *p, struct conn *c)
{
    if (c->registered) {
        return 0;
    }
    uint32_t events = c->kind == CONN_CLIENT || c->kind == CONN_UPSTREAM || c->kind == CONN_LINK
                          ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
                          : EPOLLIN;
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, c->fd, &event)) {
        return -errno;
    }
    c->registered = true;
    return 0;
}

void proxy_conn_bury(struct proxy *p, struct conn *c)
{
    if (c->fd < 0) {
        return;
    }
    proxy_timeout_stop(c);
    if (c->tls) {
        tls_close(c->tls);
        proxy_conn_break(c);
    }
    close(c->fd);
    c->fd = -1;
    list_append(&p->grave, &c->node);
}

void proxy_conn_break(struct conn *c)
{
    tls_free(c->tls);
    c->tls = NULL;
}

void proxy_conn_shut(struct conn *c)
{
    if (c->tls) {
        tls_close(c->tls);
    }
    (void)shutdown(c->fd, SHUT_WR);
}

static ssize_t recv_tls(struct conn *c, void *to, size_t size)
{
    ssize_t n = tls_recv(c->tls, to, size);
    /* Behind a part of a record the end may stand already, whose edge is past. */
    c->readable = n > 0 ? tls_more(c->tls) || c->hup : n == 0 || (n == -EAGAIN && c->hup);
    return n;
}

ssize_t proxy_conn_recv(struct conn *c, void *to, size_t size)
{
    if (c->tls) {
        return recv_tls(c, to, size);
    }
    ssize_t n;
    do {
        n = recv(c->fd, to, size, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        int error = errno;
        c->readable = false;
        return -error;
    }
    /* A short read emptied the socket; a new edge comes with new bytes. */
    c->readable = (size_t)n == size || c->hup || n == 0;
    return n;
}

bool proxy_conn_quiet(struct conn *c)
{
    char byte;
    if (c->tls) {
        c->readable = !tls_quiet(c->tls);
        return !c->readable;
    }
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        c->readable = false;
        return true;
    }
    return false;
}

ssize_t proxy_conn_send(struct conn *c, const struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                             .msg_iovlen = (size_t)count};
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    ssize_t n;
    if (c->tls) {
        n = tls_send(c->tls, iov, count);
        c->writable = n >= 0 && (size_t)n == size;
        return n;
    }
    do {
        n = count == 1 ? send(c->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                       : sendmsg(c->fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        int error = errno;
        c->writable = false;
        return error == EAGAIN ? 0 : -error;
    }
    c->writable = (size_t)n == size;
    return n;
}

static void empty_grave(struct proxy *p)
{
    while (!list_empty(&p->grave)) {
        struct conn *c = list_owner(p->grave.next, struct conn, node);
        list_remove(&c->node);
        if (c->kind == CONN_CLIENT) {
            proxy_pool_give(&p->session_pool, list_owner(c, struct session, conn));
        } else if (c->kind == CONN_LINK) {
            proxy_pool_give(&p->link_pool, list_owner(c, struct link, conn));
        } else {
            proxy_pool_give(&p->upstream_pool, list_owner(c, struct upstream, conn));
        }
    }
}

static void run_uv(struct proxy *p)
{
    p->rounds = 0;
    p->uv_due = false;
    uv_run(p->options.loop, UV_RUN_NOWAIT);
    proxy_now(p);
}

static void dispatch(struct proxy *p, const struct epoll_event *event)
{
    struct conn *c = event->data.ptr;
    if (c->fd < 0) {
        return;
    }
    c->readable |= (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    c->writable |= (event->events & EPOLLOUT) != 0;
    c->hup |= (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    c->error |= (event->events & (EPOLLHUP | EPOLLERR)) != 0;
    switch ((enum conn_kind)c->kind) {
    case CONN_UV:
        p->uv_due = true;
        break;
    case CONN_LISTENER:
        proxy_listener_event(p, list_owner(c, struct listener, conn));
        break;
    case CONN_CLIENT:
        proxy_session_step(list_owner(c, struct session, conn));
        break;
    case CONN_UPSTREAM:
        proxy_upstream_event(list_owner(c, struct upstream, conn));
        break;
    case CONN_LINK:
        proxy_link_event(list_owner(c, struct link, conn));
        break;
    case CONN_DEADLINE:
    case CONN_TOLD:
    case CONN_KINDS:
        break;
    }
}

/* Sessions that gave way to others in mid-stream; those that do so again wait for the next round.
 */
static void run_ready(struct proxy *p)
{
    struct list now;
    list_init(&now);
    while (!list_empty(&p->ready)) {
        struct list *node = p->ready.next;
        list_remove(node);
        list_append(&now, node);
    }
    while (!list_empty(&now)) {
        struct list *node = now.next;
        list_remove(node);
        proxy_session_step(list_owner(node, struct session, ready));
    }
}

static int wait_ms(struct proxy *p)
{
    if (!list_empty(&p->ready) || !list_empty(&p->links_due) || !list_empty(&p->h2_due) ||
        p->uv_due) {
        return 0;
    }
    int wait = proxy_timeout_next(p);
    int queue = proxy_queue_wait_ms(p), deadline = proxy_deadline_next(p);
    if (deadline >= 0 && (wait < 0 || deadline < wait)) {
        wait = deadline;
    }
    if (queue >= 0 && (wait < 0 || queue < wait)) {
        wait = queue;
    }
    int uv = uv_loop_alive(p->options.loop) ? uv_backend_timeout(p->options.loop) : -1;
    if (uv >= 0 && (wait < 0 || uv < wait)) {
        wait = uv;
    }
    if (p->draining) {
        uint64_t until_ms = p->listen_ms && p->listen_ms < p->drain_ms ? p->listen_ms : p->drain_ms;
        int left = until_ms > p->now_ms ? (int)(until_ms - p->now_ms) : 0;
        wait = wait < 0 || left < wait ? left : wait;
    }
    return wait;
}

/* Whether the drain is through; at its deadline what is left is cut. */
static bool drained(struct proxy *p)
{
    if (!p->draining) {
        return false;
    }
    proxy_listeners_end(p);
    if (p->now_ms >= p->drain_ms) {
        while (!list_empty(&p->sessions)) {
            proxy_session_kill(list_owner(p->sessions.next, struct session, node), true);
        }
        empty_grave(p);
    }
    return p->session_count == 0 && (!p->listen_ms || p->now_ms >= p->drain_ms);
}

void proxy_run(struct proxy *p)
{
    struct epoll_event events[EVENTS];
    p->stopped = false;
    p->uv_due = true; /* handles made before the loop ran */
    while (!p->stopped && !drained(p)) {
        int wait = wait_ms(p);
        bool spinning = wait != 0 && p->now_us < p->spin_until_us;
        int n = epoll_wait(p->epoll, events, EVENTS, spinning ? 0 : wait);
        proxy_now(p);
        if (n == 0 && spinning) {
            continue;
        }
        if (n > 0 && p->current) {
            p->spin_until_us = p->now_us + p->current->spin_us;
        }
        p->handshake_steps = 0;
        for (int i = 0; i < n; i++) {
            dispatch(p, &events[i]);
        }
        run_ready(p);
        proxy_timeout_run(p);
        proxy_deadline_run(p);
        proxy_queue_run(p);
        if (!list_empty(&p->links_due)) {
            proxy_links_run(p);
        }
        if (!list_empty(&p->h2_due)) {
            proxy_h2_run(p);
        }
        if (p->uv_due || n <= 0 || ++p->rounds >= UV_ROUNDS) {
            run_uv(p);
        }
        if (!list_empty(&p->inners)) {
            proxy_inner_run(p);
        }
        empty_grave(p);
    }
}

void proxy_stop(struct proxy *p)
{
    p->stopped = true;
}
