/* session.c: a client connection.
 *
 *   (PROXIED ->) (HANDSHAKE ->) HEAD -> EXCHANGE -> HEAD -> ... -> CLOSING -> LINGER -> (gone)
 *
 * Invariants: one exchange at a time, so pipelined requests are answered in order; the next head is
 * looked at only when the answer before has left for the kernel. A connection is registered with
 * the loop only when it must wait: most that close after one answer never are. A session is stepped
 * a bounded number of times in a row, then others have their turn. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ban.h"
#include "base/err.h"
#include "board/board.h"

enum {
    STEPS = 16,
    LINGER_BYTES = 256 << 10,
    EVICT_LOOKS = 256 /* at connections with the same time-out, the oldest first */
};

/* What a connection begins with once it is known for whom it is. */
static enum session_state first_state(const struct session *s)
{
    return s->listener->port && s->listener->port->tls ? SESSION_HANDSHAKE : SESSION_HEAD;
}

void proxy_session_new(struct proxy *p, struct listener *l, int fd,
                       const struct sockaddr_storage *addr)
{
    struct session *s = proxy_pool_take(&p->session_pool);
    must(s);
    memset(s, 0, sizeof *s);
    proxy_conn_init(&s->conn, CONN_CLIENT, fd);
    s->conn.readable = s->conn.writable = true;
    s->proxy = p;
    s->listener = l;
    list_init(&s->ready);
    list_init(&s->shaking);
    list_append(&p->sessions, &s->node);
    net_ip_of((const struct sockaddr *)addr, &s->from, &s->from_port);
    proxy_peer_set(s, &s->from);
    s->state = proxy_peer_speaks_first(s) ? SESSION_PROXIED : first_state(s);
    l->sessions++;
    p->session_count++;
    board_add(&p->numbers->connections, 1);
    proxy_session_step(s);
}

struct session *proxy_session_carry(struct proxy *p, struct listener *l,
                                    const struct carrier *carrier, void *carried,
                                    const struct net_ip *from, uint16_t from_port)
{
    struct session *s = proxy_pool_take(&p->session_pool);
    if (!s) {
        return NULL;
    }
    memset(s, 0, sizeof *s);
    proxy_conn_init(&s->conn, CONN_CLIENT, -1);
    s->conn.registered = s->conn.readable = s->conn.writable = true;
    s->proxy = p;
    s->listener = l;
    s->carrier = carrier;
    s->carried = carried;
    s->state = SESSION_HEAD;
    s->from = *from;
    s->from_port = from_port;
    proxy_peer_set(s, from);
    list_init(&s->ready);
    list_init(&s->shaking);
    list_append(&p->sessions, &s->node);
    l->sessions++;
    p->session_count++;
    return s;
}

void proxy_session_kill(struct session *s, bool reset)
{
    struct proxy *p = s->proxy;
    if (s->ex) {
        (void)proxy_exchange_abort(s->ex);
        return;
    }
    if (s->state == SESSION_DEAD) {
        return;
    }
    s->state = SESSION_DEAD;
    proxy_h2_free(s);
    proxy_block_give(p, &s->in);
    proxy_block_give(p, &s->out);
    list_remove(&s->node);
    list_remove(&s->ready);
    proxy_secure_leave(s);
    if (s->carrier) {
        s->carrier->over(s, reset);
        proxy_timeout_stop(&s->conn);
        list_append(&p->grave, &s->conn.node);
    } else {
        if (reset) {
            struct linger hard = {.l_onoff = 1};
            proxy_conn_break(&s->conn);
            (void)setsockopt(s->conn.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
        proxy_conn_bury(p, &s->conn);
        board_sub(&p->numbers->connections, 1);
    }
    proxy_listener_leave(s->listener);
    s->listener = NULL;
    p->session_count--;
}

static struct session *oldest_idle(const struct timeout *t)
{
    const struct list *at = t->conns.next;
    for (int i = 0; i < EVICT_LOOKS && at != &t->conns; i++, at = at->next) {
        struct conn *c = list_owner(at, struct conn, node);
        struct session *s = c->kind == CONN_CLIENT ? list_owner(c, struct session, conn) : NULL;
        bool idle = s && ((s->state == SESSION_HEAD && !s->in && !s->out) ||
                          (s->state == SESSION_H2 && proxy_h2_idle(s)));
        bool shakes = s && s->state == SESSION_HANDSHAKE;
        if (shakes || (idle && proxy_conn_quiet(c))) {
            return s;
        }
    }
    return NULL;
}

bool proxy_session_evict(struct proxy *p)
{
    struct session *oldest = NULL;
    for (const struct timeout *t = p->timeouts; t; t = t->next) {
        struct session *s = oldest_idle(t);
        if (s && (!oldest || s->conn.since_ms < oldest->conn.since_ms)) {
            oldest = s;
        }
    }
    if (oldest) {
        proxy_session_kill(oldest, false);
        proxy_fact(p, "limit", "out of descriptors or sessions: an idle client was closed");
    }
    return oldest != NULL;
}

void proxy_session_next(struct session *s)
{
    must(!s->ex);
    proxy_timeout_stop(&s->conn);
    s->starved = false;
    s->served = true;
    s->state = s->last || s->carrier ? SESSION_CLOSING : SESSION_HEAD;
}

/* Appends what lies behind the first `skip` bytes of iov. */
static int keep_rest(struct block *to, const struct iovec *iov, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t len = iov[i].iov_len;
        size_t from = skip < len ? skip : len;
        skip -= from;
        if (len - from > sizeof to->bytes - to->len) {
            return -ENOBUFS;
        }
        if (len > from) {
            memcpy(to->bytes + to->len, (const char *)iov[i].iov_base + from, len - from);
            to->len += (uint32_t)(len - from);
        }
    }
    return 0;
}

/* Sends and keeps the rest in *out; what waits there already goes first. */
static int send_or_keep(struct proxy *p, struct conn *c, struct block **out,
                        const struct iovec *iov, int count)
{
    size_t size = 0;
    ssize_t sent = 0;
    for (int i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    if (!*out && c->writable) {
        sent = proxy_conn_send(c, iov, count);
        if (sent < 0) {
            return (int)sent;
        }
    }
    if ((size_t)sent == size) {
        return 0;
    }
    if (!*out) {
        *out = proxy_block_take(p);
        if (!*out) {
            return -ENOBUFS;
        }
    }
    return keep_rest(*out, iov, count, (size_t)sent);
}

static int flush(struct proxy *p, struct conn *c, struct block **out)
{
    struct block *b = *out;
    if (!b) {
        return 1;
    }
    if (!c->writable) {
        return 0;
    }
    struct iovec iov = {b->bytes + b->at, b->len - b->at};
    ssize_t n = proxy_conn_send(c, &iov, 1);
    if (n < 0) {
        return (int)n;
    }
    b->at += (uint32_t)n;
    if (b->at < b->len) {
        return 0;
    }
    proxy_block_give(p, out);
    return 1;
}

int proxy_session_send(struct session *s, const struct iovec *iov, int count)
{
    return send_or_keep(s->proxy, &s->conn, &s->out, iov, count);
}

ssize_t proxy_session_recv(struct session *s, void *to, size_t size)
{
    return s->carrier ? s->carrier->recv(s, to, size) : proxy_conn_recv(&s->conn, to, size);
}

int proxy_session_tell(struct session *s, struct str head, struct str data, bool last)
{
    if (s->carrier) {
        return s->carrier->send(s, head, data, last, (struct str){NULL, 0});
    }
    struct iovec iov[2] = {{(char *)(uintptr_t)head.ptr, head.len},
                           {(char *)(uintptr_t)data.ptr, data.len}};
    return head.len ? proxy_session_send(s, iov, data.len ? 2 : 1)
                    : proxy_session_send(s, iov + 1, 1);
}

void proxy_session_shut(struct session *s)
{
    if (s->carrier) {
        struct str none = {NULL, 0};
        s->conn.error |= s->carrier->send(s, none, none, true, none) < 0;
    } else {
        proxy_conn_shut(&s->conn);
    }
}

int proxy_session_flush(struct session *s)
{
    if (s->carrier) {
        return s->carrier->flush(s);
    }
    return s->out ? flush(s->proxy, &s->conn, &s->out) : 1;
}

int proxy_upstream_send(struct upstream *u, const struct iovec *iov, int count)
{
    return u->shared ? proxy_lane_send(u, iov, count)
                     : send_or_keep(u->proxy, &u->conn, &u->out, iov, count);
}

int proxy_upstream_flush(struct upstream *u)
{
    return u->shared ? proxy_lane_flush(u) : flush(u->proxy, &u->conn, &u->out);
}

static void watch(struct session *s)
{
    if (proxy_conn_register(s->proxy, &s->conn)) {
        proxy_session_kill(s, true);
    }
}

static struct timeout *client_timeout(const struct session *s)
{
    const struct port *port = s->listener ? s->listener->port : NULL;
    return port ? port->client_timeout : s->proxy->idle_timeout;
}

struct timeout *proxy_header_timeout(const struct session *s)
{
    const struct port *port = s->listener ? s->listener->port : NULL;
    return port ? port->header_timeout : s->proxy->idle_timeout;
}

/* Between two requests, or within a head: waits for bytes, but not for ever. */
static void wait_for_bytes(struct session *s)
{
    struct proxy *p = s->proxy;
    struct timeout *t = s->in         ? proxy_header_timeout(s)
                        : p->draining ? p->drain_timeout
                                      : client_timeout(s);
    proxy_timeout_keep(p, &s->conn, t, false);
    watch(s);
}

/* What was used of the received bytes is gone; what is left waits in s->in. */
static void consume(struct session *s, struct str bytes, size_t used)
{
    struct str rest = str_sub(bytes, used, bytes.len);
    if (s->in) {
        s->in->at += (uint32_t)used;
        if (s->in->at == s->in->len) {
            proxy_block_give(s->proxy, &s->in);
        }
    } else if (rest.len) {
        s->in = proxy_block_with(s->proxy, rest);
        if (!s->in) {
            proxy_session_kill(s, true);
        }
    }
}

static bool refuse_head(struct session *s, int status, const char *why)
{
    board_add(&s->proxy->numbers->bad_requests, 1);
    s->untidy = true;
    proxy_access_refused(s, NULL, status, "");
    (void)proxy_answer(s, status, "", why, false, false);
    return s->state != SESSION_DEAD;
}

/* Whether a head of this length, as far as it came, keeps the configured limits. */
static bool head_allowed(const struct session *s, size_t len, uint32_t fields)
{
    const struct generation *g = s->proxy->current;
    return !g || (len <= g->head_bytes && fields <= g->head_fields);
}

static bool take_head(struct session *s, struct str bytes)
{
    struct proxy *p = s->proxy;
    size_t used = 0, taken = 0;
    int status = 400;
    switch (http1_parse_request(bytes, &p->head, &used, &status)) {
    case HTTP1_MORE:
        if (!head_allowed(s, bytes.len, 0)) {
            return refuse_head(s, 431, "the head is longer than allowed");
        }
        if (!s->in) {
            s->in = proxy_block_with(p, bytes);
            if (!s->in) {
                return refuse_head(s, 503, "out of memory for heads");
            }
            proxy_timeout_stop(&s->conn); /* the head's own time begins */
        }
        s->starved = true;
        return true;
    case HTTP1_DONE:
        if (!head_allowed(s, used, p->head.field_count)) {
            return refuse_head(s, 431, "the head is longer than allowed");
        }
        proxy_exchange_begin(s, NULL, &p->head, str_sub(bytes, used, bytes.len), &taken);
        if (s->state == SESSION_DEAD) {
            return false;
        }
        consume(s, bytes, used + taken);
        return s->state != SESSION_DEAD;
    case HTTP1_BAD:
    case HTTP1_RESULTS:
        break;
    }
    if (proxy_h2_speaks(s, bytes)) {
        return proxy_h2_begin(s, bytes);
    }
    if (!s->secure && proxy_secure_hello(bytes)) {
        board_add(&p->numbers->tls_on_plain, 1);
        proxy_fact(p, "tls",
                   "a client spoke TLS on a port that is plain: it was closed; listen with "
                   "\"https://\" before the address, or have it use http://");
        proxy_session_kill(s, false);
        return false;
    }
    return refuse_head(s, status, "the request could not be understood");
}

void proxy_session_request(struct session *s, struct str head, struct route *route)
{
    struct proxy *p = s->proxy;
    size_t used = 0, taken = 0;
    int status = 400;
    ssize_t n = 0;
    enum http1_result result = http1_parse_request(head, &p->head, &used, &status);
    if (result != HTTP1_DONE || used != head.len) {
        (void)refuse_head(s, status, "the request could not be understood");
    } else if (!head_allowed(s, used, p->head.field_count)) {
        (void)refuse_head(s, 431, "the head is longer than allowed");
    } else {
        if (p->head.framing != HTTP1_NO_BODY) {
            n = s->carrier->recv(s, p->scratch, SCRATCH_BYTES);
        }
        struct str rest = {p->scratch, n > 0 ? (size_t)n : 0};
        proxy_exchange_begin(s, route, &p->head, rest, &taken);
        if (rest.len && s->ex && s->ex->state == EXCHANGE_PAUSED) {
            s->in = proxy_block_with(p, rest);
            s->conn.error = !s->in;
        }
    }
    proxy_session_step(s);
}

void proxy_session_refuse(struct session *s, int status, const char *why)
{
    (void)refuse_head(s, status, why);
    proxy_session_step(s);
}

/* Returns whether to go on. */
static bool step_proxied(struct session *s)
{
    int rc = s->conn.error ? -ECONNRESET : s->conn.readable ? proxy_peer_read(s) : 0;
    if (rc < 0) {
        proxy_session_kill(s, true);
        return false;
    }
    if (rc) {
        s->state = (uint8_t)first_state(s);
        proxy_timeout_stop(&s->conn);
        return true;
    }
    s->conn.readable = false; /* a new edge comes with more of it */
    proxy_timeout_keep(s->proxy, &s->conn, proxy_header_timeout(s), false);
    watch(s);
    return false;
}

static bool step_head(struct session *s)
{
    struct proxy *p = s->proxy;
    const struct port *port = s->listener ? s->listener->port : NULL;
    if (port && port->tcp) {
        return proxy_exchange_begin_tcp(s);
    }
    int rc = proxy_session_flush(s);
    if (rc < 0 || s->conn.error) {
        proxy_session_kill(s, true);
        return false;
    }
    if (!rc) {
        proxy_timeout_keep(p, &s->conn, client_timeout(s), false);
        watch(s);
        return false;
    }
    struct block *in = s->in;
    if (in && !s->starved) {
        return take_head(s, (struct str){in->bytes + in->at, in->len - in->at});
    }
    if (!s->conn.readable) {
        wait_for_bytes(s);
        return false;
    }
    if (in && in->at) {
        memmove(in->bytes, in->bytes + in->at, in->len - in->at);
        in->len -= in->at;
        in->at = 0;
    }
    ssize_t n = in ? proxy_conn_recv(&s->conn, in->bytes + in->len, SCRATCH_BYTES - in->len)
                   : proxy_conn_recv(&s->conn, p->scratch, SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return true;
    }
    if (n <= 0) {
        proxy_session_kill(s, false);
        return false;
    }
    if (in) {
        in->len += (uint32_t)n;
        return take_head(s, (struct str){in->bytes, in->len});
    }
    return take_head(s, (struct str){p->scratch, (size_t)n});
}

static bool step_exchange(struct session *s)
{
    if (s->conn.error && s->ex->state != EXCHANGE_TUNNEL) {
        proxy_session_kill(s, true);
        return false;
    }
    bool more = proxy_exchange_step(s->ex) != PROGRESS_NONE && s->state != SESSION_DEAD;
    if (s->yields) {
        s->yields = false;
        if (more) {
            list_append(&s->proxy->ready, &s->ready);
        }
        return false;
    }
    return more;
}

static bool step_closing(struct session *s)
{
    int rc = proxy_session_flush(s);
    if (rc < 0) {
        proxy_session_kill(s, true);
        return false;
    }
    if (!rc) {
        proxy_timeout_keep(s->proxy, &s->conn, client_timeout(s), false);
        watch(s);
        return false;
    }
    if (s->carrier || (!s->untidy && !s->in && !s->conn.readable)) {
        proxy_session_kill(s, false);
        return false;
    }
    proxy_session_shut(s);
    s->state = SESSION_LINGER;
    proxy_timeout_start(s->proxy, &s->conn, s->proxy->linger_timeout);
    watch(s);
    return s->state == SESSION_LINGER;
}

/* Closing with unread bytes would reset the connection, and the client might lose our answer. */
static bool step_linger(struct session *s)
{
    if (!s->conn.readable) {
        return false;
    }
    ssize_t n = proxy_conn_recv(&s->conn, s->proxy->scratch, SCRATCH_BYTES);
    if (n > 0) {
        s->lingered += (uint32_t)n;
    }
    if (n == -EAGAIN || (n > 0 && s->lingered < LINGER_BYTES)) {
        return n > 0;
    }
    proxy_session_kill(s, false);
    return false;
}

void proxy_session_step(struct session *s)
{
    bool more = true;
    list_remove(&s->ready);
    for (int i = 0; more && i < STEPS; i++) {
        switch ((enum session_state)s->state) {
        case SESSION_PROXIED:
            more = step_proxied(s);
            break;
        case SESSION_HANDSHAKE:
            more = proxy_secure_step(s);
            break;
        case SESSION_HEAD:
            more = step_head(s);
            break;
        case SESSION_EXCHANGE:
            more = step_exchange(s);
            break;
        case SESSION_H2:
            more = proxy_h2_step(s);
            break;
        case SESSION_CLOSING:
            more = step_closing(s);
            break;
        case SESSION_LINGER:
            more = step_linger(s);
            break;
        case SESSION_DEAD:
        case SESSION_STATES:
            more = false;
            break;
        }
    }
    if (more && s->state != SESSION_DEAD) {
        list_append(&s->proxy->ready, &s->ready);
    }
}

void proxy_session_soon(struct session *s)
{
    list_remove(&s->ready);
    list_append(&s->proxy->ready, &s->ready);
}

void proxy_session_timeout(struct session *s)
{
    switch ((enum session_state)s->state) {
    case SESSION_PROXIED:
        proxy_session_kill(s, true);
        break;
    case SESSION_HANDSHAKE:
        proxy_secure_timeout(s);
        break;
    case SESSION_HEAD:
        if (s->out || !s->in) {
            proxy_session_kill(s, s->out != NULL);
        } else {
            (void)refuse_head(s, 408, "the head took too long");
        }
        break;
    case SESSION_EXCHANGE:
        if (!s->conn.registered) {
            watch(s); /* so that we learn when it goes away */
        } else {
            proxy_exchange_timeout(s->ex);
        }
        break;
    case SESSION_H2:
        proxy_h2_timeout(s);
        break;
    case SESSION_CLOSING:
    case SESSION_LINGER:
        proxy_session_kill(s, s->state == SESSION_CLOSING);
        break;
    case SESSION_DEAD:
    case SESSION_STATES:
        break;
    }
    proxy_session_step(s);
}
