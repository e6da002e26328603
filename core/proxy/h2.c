/* h2.c: a connection of HTTP/2: bytes in and out, its time-outs and its end.
 *
 *   SESSION_HEAD -(preface, or ALPN)-> SESSION_H2 -(GOAWAY)-> SESSION_CLOSING -> SESSION_LINGER
 *
 * Owns: what nghttp2 knows of the connection, and its streams.
 * Invariants: what is to be written leaves in one send at the end of a round, as far as the kernel takes it; while it takes none
 * nothing more is made into frames, so that it waits in its streams, which are bounded each. Frames of a round are gathered in the
 * scratch buffer, so a connection that is idle holds none. A drain says GOAWAY twice (RFC 9113, 6.8): first that no new
 * streams are wanted, and, when those that were on their way have come, which was the last. A reload says none: streams under way keep
 * their generation, new ones get the new one, unless the address is not listened on any more or HTTP/2 is switched off there. */
#include "proxy/h2.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"

enum {
    PASSES = 4 /* of a round over those that have something to write */
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

bool proxy_h2_speaks(const struct session *s, struct str bytes)
{
    size_t len = bytes.len < sizeof preface - 1 ? bytes.len : sizeof preface - 1;
    const struct port *port = s->listener ? s->listener->port : NULL;
    return !s->carrier && !s->served && !s->tls && (!port || !port->no_http2) && len > 3 &&
           !memcmp(bytes.ptr, preface, len);
}

void proxy_h2_due(struct h2 *h2)
{
    if (list_empty(&h2->due)) {
        list_append(&h2->session->proxy->h2_due, &h2->due);
    }
}

void proxy_h2_fail(struct h2 *h2, uint32_t error)
{
    if (!h2->failed) {
        h2->failed = true;
        (void)nghttp2_session_terminate_session(h2->ng, error);
        proxy_h2_due(h2);
    }
}

/* Everything of it but the socket. */
static void release(struct h2 *h2)
{
    struct session *s = h2->session;
    h2->ended = true;
    while (!list_empty(&h2->streams)) {
        proxy_h2_stream_end(list_owner(h2->streams.next, struct h2_stream, node));
    }
    list_remove(&h2->due);
    nghttp2_session_del(h2->ng);
    s->h2 = NULL;
    board_sub(&s->proxy->numbers->h2_connections, 1);
    proxy_pool_give(&s->proxy->h2_pool, h2);
}

void proxy_h2_free(struct session *s)
{
    if (s->h2) {
        release(s->h2);
    }
}

/* What was said is still written, then it ends as any other connection. */
static void close_connection(struct h2 *h2)
{
    struct session *s = h2->session;
    release(h2);
    s->state = SESSION_CLOSING;
    s->untidy = true;
    proxy_timeout_stop(&s->conn);
    list_remove(&s->ready);
    list_append(&s->proxy->ready, &s->ready);
}

/* ---- writing ----------------------------------------------------------------------------- */

/* Gathers frames. Whether there is more than fits; -EPROTO. */
static int gather(struct h2 *h2)
{
    h2->full = false;
    while (h2->size - h2->len >= H2_FRAME_BYTES) {
        const uint8_t *bytes;
        ssize_t n = nghttp2_session_mem_send(h2->ng, &bytes);
        if (n < 0) {
            return -EPROTO;
        }
        if (!n) {
            return h2->full;
        }
        if ((size_t)n > h2->size - h2->len) {
            return -EPROTO; /* no frame is that long */
        }
        memcpy(h2->to + h2->len, bytes, (size_t)n);
        h2->len += (size_t)n;
    }
    return 1;
}

/* 1 = all is written, 0 = the kernel takes no more now, -errno. */
static int write_frames(struct h2 *h2)
{
    struct session *s = h2->session;
    bool waited = s->out != NULL;
    int rc = proxy_session_flush(s);
    h2->moved = h2->moved || (waited && rc > 0);
    h2->to = s->proxy->scratch;
    h2->size = SCRATCH_BYTES;
    for (int more = 1; rc > 0 && more;) {
        h2->len = 0;
        more = gather(h2);
        if (more < 0) {
            return more;
        }
        if (h2->len) {
            struct iovec iov = {h2->to, h2->len};
            rc = proxy_session_send(s, &iov, 1);
            rc = rc ? rc : !s->out;
        }
    }
    return rc;
}

static void run_turns(struct h2 *h2)
{
    while (!list_empty(&h2->turns)) {
        struct h2_stream *st = list_owner(h2->turns.next, struct h2_stream, turn);
        list_remove(&st->turn);
        proxy_h2_stream_turn(st);
    }
}

/* Has no streams but such as are answered. */
static bool unused(const struct h2 *h2)
{
    return h2->stream_count == h2->told;
}

static struct timeout *client_timeout(const struct session *s)
{
    const struct port *port = s->listener->port;
    return port ? port->client_timeout : s->proxy->idle_timeout;
}

static struct timeout *header_timeout(const struct session *s)
{
    const struct port *port = s->listener->port;
    return port ? port->header_timeout : s->proxy->idle_timeout;
}

/* What it waits for itself; a stream's session has its own time-outs. */
static void rest(struct h2 *h2)
{
    struct session *s = h2->session;
    struct proxy *p = s->proxy;
    struct timeout *t = NULL;
    if (h2->heading || !h2->greeted) {
        t = header_timeout(s);
        h2->moved = false;
    } else if (s->out || h2->orphans) {
        t = client_timeout(s);
    } else if (h2->leaving == 1) {
        t = p->drain_timeout;
        h2->moved = false;
    } else if (unused(h2)) {
        t = client_timeout(s);
        h2->moved = false; /* PINGs keep no connection */
    }
    proxy_timeout_keep(p, &s->conn, t, h2->moved);
    h2->moved = false;
}

/* Where there is nothing left to say it ends. False: the session is another's now. */
static bool settle(struct h2 *h2, int rc)
{
    struct session *s = h2->session;
    if (rc < 0) {
        proxy_session_kill(s, true);
        return false;
    }
    bool quiet = h2->failed || (h2->leaving > 1 && unused(h2));
    if ((quiet && rc) ||
        (!nghttp2_session_want_read(h2->ng) && !nghttp2_session_want_write(h2->ng))) {
        close_connection(h2);
        return false;
    }
    rest(h2);
    return true;
}

/* No new streams here: the first of two GOAWAYs. */
static void leave(struct h2 *h2)
{
    if (!h2->leaving) {
        h2->leaving = 1;
        (void)nghttp2_submit_shutdown_notice(h2->ng);
        proxy_h2_due(h2);
    }
}

static bool unwanted(const struct session *s)
{
    const struct port *port = s->listener->port;
    return s->proxy->draining || !port || port->no_http2;
}

static void write_one(struct h2 *h2)
{
    if (!h2->leaving && unwanted(h2->session)) {
        leave(h2);
    }
    int rc = write_frames(h2);
    if (rc >= 0) {
        run_turns(h2); /* streams that may tell more now, and those that are through */
    }
    (void)settle(h2, rc);
}

void proxy_h2_run(struct proxy *p)
{
    for (int i = 0; i < PASSES && !list_empty(&p->h2_due); i++) {
        struct list now;
        list_init(&now);
        while (!list_empty(&p->h2_due)) {
            struct list *node = p->h2_due.next;
            list_remove(node);
            list_append(&now, node);
        }
        while (!list_empty(&now)) {
            struct list *node = now.next;
            list_remove(node);
            write_one(list_owner(node, struct h2, due));
        }
    }
}

/* ---- reading ----------------------------------------------------------------------------- */

static void feed(struct h2 *h2, struct str bytes)
{
    if (!h2->failed) {
        ssize_t n = nghttp2_session_mem_recv(h2->ng, (const uint8_t *)bytes.ptr, bytes.len);
        if (n == NGHTTP2_ERR_FLOODED) {
            proxy_h2_calm(h2, BOARD_H2_PINGS); /* answers wait that nobody reads */
        } else if (n < 0) {
            proxy_h2_fail(h2,
                          n == NGHTTP2_ERR_NOMEM ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_PROTOCOL_ERROR);
        }
    }
    proxy_h2_due(h2);
    run_turns(h2);
}

bool proxy_h2_begin(struct session *s, struct str bytes)
{
    struct proxy *p = s->proxy;
    struct h2 *h2 = proxy_pool_take(&p->h2_pool);
    if (!h2) {
        proxy_session_kill(s, true);
        return false;
    }
    memset(h2, 0, sizeof *h2);
    h2->session = s;
    list_init(&h2->due);
    list_init(&h2->streams);
    list_init(&h2->turns);
    s->h2 = h2;
    s->state = SESSION_H2;
    board_add(&p->numbers->h2_connections, 1);
    if (proxy_h2_server(h2, p->current ? p->current->head_bytes : LIMIT_HEAD_BYTES) ||
        proxy_conn_register(p, &s->conn)) {
        proxy_session_kill(s, true);
        return false;
    }
    feed(h2, bytes);
    proxy_block_give(p, &s->in);
    return true;
}

bool proxy_h2_step(struct session *s)
{
    struct h2 *h2 = s->h2;
    if (s->conn.error) {
        proxy_session_kill(s, true);
        return false;
    }
    if (s->out && s->conn.writable) {
        proxy_h2_due(h2);
    }
    if (!s->conn.readable || h2->failed) {
        return false;
    }
    ssize_t n = proxy_conn_recv(&s->conn, s->proxy->scratch, SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return false;
    }
    if (n <= 0) {
        proxy_session_kill(s, n < 0);
        return false;
    }
    feed(h2, (struct str){s->proxy->scratch, (size_t)n});
    return true;
}

/* ---- ends -------------------------------------------------------------------------------- */

void proxy_h2_drain(struct session *s)
{
    leave(s->h2);
}

bool proxy_h2_idle(const struct session *s)
{
    return unused(s->h2) && !s->out;
}

void proxy_h2_timeout(struct session *s)
{
    struct h2 *h2 = s->h2;
    if (h2->heading || !h2->greeted) {
        proxy_h2_calm(h2, BOARD_H2_HEADERS);
    } else if (s->out || h2->orphans) {
        proxy_session_kill(s, true); /* it reads nothing */
        return;
    } else {
        h2->leaving = 2;
        (void)nghttp2_submit_goaway(h2->ng, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(h2->ng),
                                    NGHTTP2_NO_ERROR, NULL, 0);
    }
    proxy_h2_due(h2);
}

size_t proxy_h2_bytes(void)
{
    return sizeof(struct h2);
}

size_t proxy_h2_stream_bytes(void)
{
    return sizeof(struct h2_stream);
}

void proxy_h2_end(struct proxy *p)
{
    nghttp2_session_callbacks_del(p->h2_callbacks);
    nghttp2_option_del(p->h2_options);
}
