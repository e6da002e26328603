/* link.c: connections of HTTP/2 to backends, each with as many exchanges as the backend allows; see link.h.
 *
 * Owns: the sockets, what is written to them, their time-outs.
 * Invariants: nghttp2 is entered from here only with nothing of ours under way on the stack: its callbacks (lane.c)
 * set flags and name sessions that are to go on, and what those ask for is written once behind each batch of
 * events, for all of them together. A link is never closed from within nghttp2. */
#include "proxy/parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/err.h"
#include "board/board.h"

enum {
    LINKS_MOST = 16,         /* of a backend in one worker; then exchanges wait for room on one */
    STREAMS_MOST = 250,      /* on a link, whatever the backend allows */
    STREAMS_FIRST = 100,     /* before its SETTINGS came: RFC 9113 advises no fewer */
    READS = 4,               /* in a row, then others have their turn */
    CHUNK_BYTES = 16384 + 16 /* most that nghttp2 writes at once: a frame */
};

static bool unused(const struct link *l)
{
    return list_empty(&l->streams);
}

/* Its streams have been told, or there are none. */
static void destroy(struct link *l)
{
    struct proxy *p = l->proxy;
    struct backend *b = l->backend;
    must(unused(l));
    nghttp2_session_del(l->http2);
    l->http2 = NULL;
    proxy_block_give(p, &l->out);
    list_remove(&l->node);
    list_remove(&l->due);
    proxy_conn_bury(p, &l->conn);
    l->backend = NULL;
    b->connections--;
    proxy_backend_settle(p, b);
}

static void fail(struct link *l, int error)
{
    proxy_link_lose(l, error);
    destroy(l);
}

/* ---- writing and reading ----------------------------------------------------------------- */

/* Writes what waits. 1 = none does now, 0 = some still does, -errno. */
static int flush_kept(struct link *l)
{
    struct block *b = l->out;
    struct iovec iov = {b->bytes + b->at, b->len - b->at};
    ssize_t n = l->conn.writable ? proxy_conn_send(&l->conn, &iov, 1) : 0;
    if (n < 0) {
        return (int)n;
    }
    b->at += (uint32_t)n;
    l->taken += (uint64_t)n;
    if (b->at < b->len) {
        return 0;
    }
    proxy_block_give(l->proxy, &l->out);
    return 1;
}

/* Has nghttp2 write into `to`, as much as is sure to fit; bytes or -errno. */
static ssize_t gather(struct link *l, char *to, size_t size)
{
    size_t len = 0;
    while (size - len >= CHUNK_BYTES) {
        const uint8_t *bytes;
        ssize_t n = nghttp2_session_mem_send(l->http2, &bytes);
        if (n < 0 || (size_t)n > size - len) {
            return -EPROTO;
        }
        if (!n) {
            break;
        }
        memcpy(to + len, bytes, (size_t)n);
        len += (size_t)n;
        l->made += (uint64_t)n;
    }
    return (ssize_t)len;
}

static int flush(struct link *l)
{
    struct proxy *p = l->proxy;
    for (;;) {
        int rc = l->out ? flush_kept(l) : 1;
        if (rc <= 0 || !l->conn.writable) {
            return rc < 0 ? rc : 0;
        }
        ssize_t len = gather(l, p->scratch, SCRATCH_BYTES);
        if (len <= 0) {
            return (int)len;
        }
        struct iovec iov = {p->scratch, (size_t)len};
        ssize_t n = proxy_conn_send(&l->conn, &iov, 1);
        if (n < 0) {
            return (int)n;
        }
        l->taken += (uint64_t)n;
        if (n < len) {
            l->out = proxy_block_with(p, (struct str){p->scratch + n, (size_t)(len - n)});
            if (!l->out) {
                return -ENOBUFS;
            }
        }
    }
}

/* Reads what is there, some at a time. -errno: it is over. */
static int take(struct link *l)
{
    struct proxy *p = l->proxy;
    for (int i = 0; i < READS && l->conn.readable; i++) {
        ssize_t n = proxy_conn_recv(&l->conn, p->scratch, SCRATCH_BYTES);
        if (n == -EAGAIN) {
            return 0;
        }
        if (n <= 0) {
            return n < 0 ? (int)n : -ECONNRESET;
        }
        l->pinged = false;
        l->heard = true;
        ssize_t used = nghttp2_session_mem_recv(l->http2, (const uint8_t *)p->scratch, (size_t)n);
        if (used < 0) {
            return -EPROTO;
        }
    }
    return 0;
}

/* The connection is there, or could not be made. */
static int greet(struct link *l)
{
    int error = 0, rc;
    socklen_t len = sizeof error;
    if (!l->reached && !l->conn.writable && !l->conn.error) {
        return 0;
    }
    if (!l->reached && (getsockopt(l->conn.fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)) {
        return error ? -error : -ECONNREFUSED;
    }
    l->reached = true;
    if (l->client && (rc = proxy_link_shake(l)) <= 0) {
        return rc;
    }
    l->connecting = false;
    for (struct list *at = l->streams.next; at != &l->streams; at = at->next) {
        struct upstream *u = list_owner(at, struct upstream, lane.node);
        u->connecting = false;
        proxy_session_soon(u->ex->session);
    }
    return 0;
}

/* What time-out runs: none while it is new, as its exchanges have their own for that. */
static void set_timeout(struct link *l)
{
    struct proxy *p = l->proxy;
    struct timeout *t = unused(l)       ? p->idle_timeout
                        : l->connecting ? NULL
                        : l->pinged     ? p->pong_timeout
                                        : p->silence_timeout;
    proxy_timeout_keep(p, &l->conn, t, l->heard);
    l->heard = false;
}

/* Whether it goes when nobody uses it. */
static bool ending(const struct link *l)
{
    const struct backend *b = l->backend;
    return l->leaving || l->connecting || !b->service || b->draining ||
           (!nghttp2_session_want_read(l->http2) && !nghttp2_session_want_write(l->http2));
}

static void run(struct link *l)
{
    int rc = l->connecting ? greet(l) : 0;
    if (!rc && !l->connecting) {
        rc = take(l);
        rc = rc ? rc : flush(l);
    }
    if (rc) {
        fail(l, rc);
        return;
    }
    if (unused(l) && !l->out && ending(l)) {
        destroy(l);
        return;
    }
    set_timeout(l);
    if (l->conn.readable && !l->connecting) {
        proxy_link_due(l);
    }
}

/* ---- opening ----------------------------------------------------------------------------- */

static uint32_t room_of(const struct link *l)
{
    uint32_t most = STREAMS_FIRST;
    if (l->settled) {
        most =
            nghttp2_session_get_remote_settings(l->http2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    }
    most = most < STREAMS_MOST ? most : STREAMS_MOST;
    return l->open < most ? most - l->open : 0;
}

/* One that was made with other settings than those in force takes no more. */
static bool usable(struct link *l, const struct tls_client *client)
{
    if (l->client != client && !l->leaving) {
        l->leaving = true;
        proxy_link_due(l);
    }
    return !l->leaving && nghttp2_session_check_request_allowed(l->http2);
}

/* The first with room; else, in *ret_least, the one with the fewest streams. *ret_count: of all. */
static struct link *choose(struct backend *b, const struct tls_client *client,
                           struct link **ret_least, uint32_t *ret_count)
{
    *ret_least = NULL;
    *ret_count = 0;
    for (struct list *at = b->links.next; at != &b->links; at = at->next) {
        struct link *l = list_owner(at, struct link, node);
        ++*ret_count;
        if (!usable(l, client)) {
            continue;
        }
        if (room_of(l)) {
            return l;
        }
        if (!*ret_least || l->open < (*ret_least)->open) {
            *ret_least = l;
        }
    }
    return NULL;
}

static int connect_to(const struct exchange *ex, struct link **ret_link)
{
    struct proxy *p = ex->session->proxy;
    struct backend *b = ex->backend;
    bool pending = false;
    int fd = proxy_upstream_connect(p, &b->addr, &pending);
    if (fd < 0) {
        return fd;
    }
    struct link *l = proxy_pool_take(&p->link_pool);
    if (!l) {
        close(fd);
        return -ENOBUFS;
    }
    memset(l, 0, sizeof *l);
    proxy_conn_init(&l->conn, CONN_LINK, fd);
    l->conn.writable = !pending;
    l->connecting = true;
    l->proxy = p;
    l->backend = b;
    list_init(&l->due);
    list_init(&l->streams);
    list_append(&b->links, &l->node);
    b->connections++;
    int rc = proxy_link_session(l);
    rc = rc ? rc : proxy_conn_register(p, &l->conn);
    rc = rc || ex->route->protocol != PROTOCOL_H2 ? rc : proxy_link_secure(ex, l);
    if (rc) {
        destroy(l);
        return rc;
    }
    proxy_link_due(l);
    *ret_link = l;
    return 0;
}

int proxy_link_open(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    struct backend *b = ex->backend;
    uint32_t count;
    const struct tls_client *client =
        ex->route->protocol == PROTOCOL_H2 ? proxy_backend_tls(ex) : NULL;
    struct link *least, *l = choose(b, client, &least, &count);
    if (!l && count < LINKS_MOST) {
        int rc = connect_to(ex, &l);
        if (rc && !(least && proxy_upstream_ours(rc))) {
            return rc;
        }
    }
    l = l ? l : least;
    struct upstream *u = l ? proxy_pool_take(&p->upstream_pool) : NULL;
    if (!u) {
        return -ENOBUFS;
    }
    memset(u, 0, sizeof *u);
    proxy_conn_init(&u->conn, CONN_UPSTREAM, -1);
    list_init(&u->idle);
    u->conn.writable = true;
    u->shared = true;
    u->connecting = l->connecting;
    u->reused = !l->connecting;
    u->proxy = p;
    u->backend = b;
    u->ex = ex;
    u->lane.link = l;
    list_append(&l->streams, &u->lane.node);
    b->connections++;
    ex->up = u;
    ex->no_bulk = true; /* its bytes are framed */
    return 0;
}

/* ---- public ------------------------------------------------------------------------------ */

void proxy_links_patience(struct proxy *p, uint32_t silence_ms, uint32_t pong_ms)
{
    p->silence_timeout = proxy_timeout_of(p, silence_ms);
    p->pong_timeout = proxy_timeout_of(p, pong_ms);
}

void proxy_link_due(struct link *l)
{
    if (list_empty(&l->due)) {
        list_append(&l->proxy->links_due, &l->due);
    }
}

void proxy_links_run(struct proxy *p)
{
    struct list now; /* those that become due again wait for the next round */
    list_init(&now);
    while (!list_empty(&p->links_due)) {
        struct list *node = p->links_due.next;
        list_remove(node);
        list_append(&now, node);
    }
    while (!list_empty(&now)) {
        struct list *node = now.next;
        list_remove(node);
        run(list_owner(node, struct link, due));
    }
}

void proxy_link_event(struct link *l)
{
    int rc = l->connecting ? greet(l) : take(l);
    if (rc) {
        fail(l, rc);
    } else {
        proxy_link_due(l);
    }
}

/* Closes one that nobody uses, and says so. */
static void leave(struct link *l)
{
    if (!l->connecting) {
        (void)nghttp2_session_terminate_session(l->http2, NGHTTP2_NO_ERROR);
        (void)flush(l);
    }
    destroy(l);
}

void proxy_link_timeout(struct link *l)
{
    if (unused(l)) {
        leave(l);
    } else if (l->pinged) {
        fail(l, -ETIMEDOUT);
    } else {
        l->pinged = true;
        (void)nghttp2_submit_ping(l->http2, NGHTTP2_FLAG_NONE, NULL);
        proxy_link_due(l);
    }
}

bool proxy_link_evict(struct link *l)
{
    if (!unused(l)) {
        return false;
    }
    destroy(l);
    return true;
}

void proxy_links_close_idle(struct backend *b)
{
    /* The backend itself must outlive its last connection here. */
    b->attempts++;
    struct list *next;
    for (struct list *at = b->links.next; at != &b->links; at = next) {
        struct link *l = list_owner(at, struct link, node);
        next = at->next;
        if (unused(l)) {
            leave(l);
        }
    }
    b->attempts--;
}
