/* upstream.c: connections to backends and the idle ones of each, last used first.
 *
 * Invariants: an idle connection stays in the loop; whatever comes on it (bytes nobody asked for,
 * the end) closes it. When descriptors run out, the one that is idle longest goes, then a client that
 * is. */
#include "proxy/parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/err.h"
#include "board/board.h"

enum {
    IDLE_PER_BACKEND = 1024
};

static void leave_idle(struct upstream *u)
{
    list_remove(&u->idle);
    proxy_timeout_stop(&u->conn);
    u->backend->idle_count--;
    board_sub(&u->backend->row->pooled, 1);
}

static void destroy(struct upstream *u)
{
    struct proxy *p = u->proxy;
    struct backend *b = u->backend;
    proxy_block_give(p, &u->in);
    proxy_block_give(p, &u->out);
    proxy_conn_bury(p, &u->conn);
    u->backend = NULL;
    b->connections--;
    proxy_backend_settle(p, b);
}

static void close_idle(struct upstream *u)
{
    leave_idle(u);
    destroy(u);
}

void proxy_upstream_close_idle(struct backend *b)
{
    /* The backend itself must outlive its last connection here. */
    b->attempts++;
    while (!list_empty(&b->idle)) {
        close_idle(list_owner(b->idle.next, struct upstream, idle));
    }
    proxy_links_close_idle(b);
    b->attempts--;
}

bool proxy_upstream_evict(struct proxy *p)
{
    struct list *oldest = p->idle_timeout->conns.next;
    for (; oldest != &p->idle_timeout->conns; oldest = oldest->next) {
        struct conn *c = list_owner(oldest, struct conn, node);
        struct upstream *u = c->kind == CONN_UPSTREAM ? list_owner(c, struct upstream, conn) : NULL;
        if (u && !u->ex) { /* a route may give those in use the same time */
            close_idle(u);
            return true;
        }
        if (c->kind == CONN_LINK && proxy_link_evict(list_owner(c, struct link, conn))) {
            return true;
        }
    }
    return false;
}

/* Connections of a TCP route are passed on as they are. */
static bool wants_tls(const struct exchange *ex)
{
    return ex->route->protocol == PROTOCOL_HTTPS && !ex->tcp;
}

static bool take_idle(struct exchange *ex)
{
    struct backend *b = ex->backend;
    const struct tls_client *client = wants_tls(ex) ? proxy_backend_tls(ex) : NULL;
    while (!list_empty(&b->idle)) {
        struct upstream *u = list_owner(b->idle.next, struct upstream, idle);
        leave_idle(u);
        /* Made by other settings than those in force. */
        if (u->client != client) {
            destroy(u);
            continue;
        }
        /* What may not be sent twice is not sent into a connection that has ended already. */
        if (u->conn.hup || (!http1_idempotent(ex->method) && !proxy_conn_quiet(&u->conn))) {
            destroy(u);
            continue;
        }
        u->reused = true;
        ex->no_bulk = ex->no_bulk || u->conn.tls;
        u->ex = ex;
        ex->up = u;
        return true;
    }
    return false;
}

static int open_socket(struct proxy *p, const struct net_addr *addr)
{
    sa_family_t family = ((const struct sockaddr *)(const void *)addr->bytes)->sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) &&
        (proxy_upstream_evict(p) || proxy_session_evict(p))) {
        fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd < 0) {
        return -errno;
    }
    int one = 1;
    if (family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return fd;
}

int proxy_upstream_connect(struct proxy *p, const struct net_addr *addr, bool *ret_pending)
{
    int fd = open_socket(p, addr);
    if (fd < 0) {
        return fd;
    }
    *ret_pending = false;
    if (connect(fd, (const struct sockaddr *)(const void *)addr->bytes, addr->len)) {
        int error = errno;
        if (error != EINPROGRESS) {
            close(fd);
            return -error;
        }
        *ret_pending = true;
    }
    return fd;
}

bool proxy_upstream_ours(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -ENOSPC;
}

/* Tells a backend that wants it for whom the connection is; a fresh one takes so few bytes at once. */
static int introduce(const struct exchange *ex, struct upstream *u)
{
    char header[NET_PROXIED_BYTES];
    size_t len = proxy_peer_write(ex->session, ex->route->send_proxy, header);
    u->introduced = u->personal = true;
    return send(u->conn.fd, header, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EPIPE;
}

int proxy_upstream_open(struct exchange *ex, bool fresh)
{
    struct proxy *p = ex->session->proxy;
    struct backend *b = ex->backend;
    if (ex->bare) {
        return proxy_link_open(ex);
    }
    if (!fresh && take_idle(ex)) {
        return 0;
    }
    bool pending = false;
    int fd = proxy_upstream_connect(p, &b->addr, &pending);
    if (fd < 0) {
        return fd;
    }
    struct upstream *u = proxy_pool_take(&p->upstream_pool);
    if (!u) {
        close(fd);
        return -ENOBUFS;
    }
    memset(u, 0, sizeof *u);
    proxy_conn_init(&u->conn, CONN_UPSTREAM, fd);
    list_init(&u->idle);
    u->conn.writable = !pending;
    u->connecting = true;
    u->proxy = p;
    u->backend = b;
    b->connections++;
    int rc = proxy_conn_register(p, &u->conn);
    if (rc) {
        destroy(u);
        return rc;
    }
    u->introduced = !ex->route->send_proxy;
    if (!pending && !u->introduced && introduce(ex, u)) {
        destroy(u);
        return -EPIPE;
    }
    if (wants_tls(ex)) {
        ex->no_bulk = true;
        rc = proxy_backend_secure(ex, u);
        if (rc) {
            destroy(u);
            return rc;
        }
    }
    u->ex = ex;
    ex->up = u;
    return 0;
}

void proxy_upstream_release(struct upstream *u, bool keep)
{
    struct proxy *p = u->proxy;
    struct backend *b = u->backend;
    if (u->shared) {
        proxy_lane_release(u);
        return;
    }
    u->ex->up = NULL;
    u->ex = NULL;
    proxy_timeout_stop(&u->conn);
    if (!keep || u->personal || u->conn.hup || u->out || u->broken || !b->service || b->draining ||
        b->idle_count >= IDLE_PER_BACKEND || (u->conn.readable && !proxy_conn_quiet(&u->conn))) {
        destroy(u);
        return;
    }
    proxy_block_give(p, &u->in);
    list_prepend(&b->idle, &u->idle);
    b->idle_count++;
    board_add(&b->row->pooled, 1);
    proxy_timeout_start(p, &u->conn, p->idle_timeout);
}

ssize_t proxy_upstream_recv(struct upstream *u, void *to, size_t size)
{
    return u->shared ? proxy_lane_recv(u, to, size) : proxy_conn_recv(&u->conn, to, size);
}

void proxy_upstream_event(struct upstream *u)
{
    if (u->ex) {
        if (!u->introduced && u->conn.writable && !u->conn.error) {
            (void)introduce(u->ex, u); /* when it fails, so does what is sent next */
        }
        proxy_session_step(u->ex->session);
    } else if (u->conn.hup || (u->conn.readable && !proxy_conn_quiet(&u->conn))) {
        close_idle(u);
    }
}

void proxy_upstream_timeout(struct upstream *u)
{
    struct exchange *ex = u->ex;
    if (!ex) {
        close_idle(u);
        return;
    }
    struct session *s = ex->session;
    ex->timed_out = true;
    if (u->connecting || ex->held) {
        (void)proxy_attempt_failed(ex);
    } else if (ex->state == EXCHANGE_TUNNEL) {
        (void)proxy_exchange_abort(ex);
    } else {
        ex->failure = FAILURE_TIMEOUT;
        (void)proxy_exchange_refuse(ex, 504, "the backend did not answer in time");
    }
    proxy_session_step(s);
}
