/* h2_stream.c: a stream: the carrier of a session that has one exchange.
 *
 *   (HEADERS) fresh -> a session -> its answer submitted -> last -> finished -> closed by nghttp2 -> (gone)
 *
 * Invariants: a stream lives until nghttp2 has closed it, its session until it has told all or broken off: small answers that the
 * client's windows have room for leave no session waiting. The client may send another window of its request only for what its
 * session has read, which it does while nothing waits for the backend; the window of the connection is given back as bytes come,
 * so a stream that stands still holds up no other. Of an answer no more than one read of the backend waits here. A stream that is
 * answered before its request has ended is not reset at once: there are clients that drop the answer when the reset comes in
 * the same packet. What still comes is thrown away, until it is too much or takes too long; such a stream holds no memory but its
 * own, counts among those that a client may have, and keeps no connection. */
#include "proxy/h2.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"

static struct proxy *proxy_of(const struct h2_stream *st)
{
    return st->h2->session->proxy;
}

struct h2_stream *proxy_h2_stream_new(struct h2 *h2, int32_t id)
{
    struct proxy *p = h2->session->proxy;
    struct h2_stream *st = proxy_pool_take(&p->stream_pool);
    if (!st) {
        return NULL;
    }
    memset(st, 0, sizeof *st);
    st->head = proxy_block_take(p);
    if (!st->head) {
        proxy_pool_give(&p->stream_pool, st);
        return NULL;
    }
    st->h2 = h2;
    st->id = id;
    list_init(&st->turn);
    proxy_conn_init(&st->told, CONN_TOLD, -1);
    list_append(&h2->streams, &st->node);
    h2->stream_count++;
    return st;
}

static void stop_told(struct h2_stream *st)
{
    if (st->told.timeout) {
        proxy_timeout_stop(&st->told);
        st->h2->told--;
    }
}

static void destroy(struct h2_stream *st)
{
    struct proxy *p = proxy_of(st);
    must(!st->session);
    stop_told(st);
    proxy_h2_head_drop(st);
    proxy_block_give(p, &st->in);
    proxy_block_give(p, &st->out);
    list_remove(&st->node);
    list_remove(&st->turn);
    st->h2->stream_count--;
    st->h2->orphans -= st->orphan;
    proxy_pool_give(&p->stream_pool, st);
}

void proxy_h2_stream_note(struct h2_stream *st)
{
    if (list_empty(&st->turn)) {
        list_append(&st->h2->turns, &st->turn);
    }
}

/* ---- the request ------------------------------------------------------------------------- */

int proxy_h2_stream_data(struct h2_stream *st, struct str data)
{
    struct block *b = st->in;
    if (!b) {
        b = st->in = proxy_block_take(proxy_of(st));
        if (!b) {
            board_add(&proxy_of(st)->numbers->exhausted, 1);
            return -ENOBUFS;
        }
    }
    if (data.len > sizeof b->bytes - b->len) {
        memmove(b->bytes, b->bytes + b->at, b->len - b->at);
        b->len -= b->at;
        b->at = 0;
    }
    if (data.len > sizeof b->bytes - b->len) {
        return -ENOBUFS; /* the window does not allow it */
    }
    memcpy(b->bytes + b->len, data.ptr, data.len);
    b->len += (uint32_t)data.len;
    return 0;
}

static ssize_t stream_recv(struct session *s, void *to, size_t size)
{
    struct h2_stream *st = s->carried;
    struct block *b = st->in;
    if (!b) {
        s->ended = st->ended;
        s->conn.readable = st->ended;
        return st->ended ? 0 : st->closed ? -ECONNRESET : -EAGAIN;
    }
    size_t n = b->len - b->at < size ? b->len - b->at : size;
    memcpy(to, b->bytes + b->at, n);
    b->at += (uint32_t)n;
    if (b->at == b->len) {
        proxy_block_give(s->proxy, &st->in);
        s->ended = st->ended;
        s->conn.readable = st->ended;
    }
    if (!st->ended && !st->closed) {
        (void)nghttp2_session_consume_stream(st->h2->ng, st->id, n);
        proxy_h2_due(st->h2);
    }
    return (ssize_t)n;
}

/* ---- the answer -------------------------------------------------------------------------- */

static void want_no_more(struct h2_stream *st)
{
    (void)nghttp2_submit_rst_stream(st->h2->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    proxy_h2_due(st->h2);
}

void proxy_h2_stream_dropped(struct h2_stream *st, size_t len)
{
    st->dropped += (uint32_t)len;
    if (st->dropped <= H2_DROPPED_BYTES) {
        (void)nghttp2_session_consume_stream(st->h2->ng, st->id, len);
        proxy_h2_due(st->h2);
    } else if (st->told.timeout) {
        stop_told(st);
        want_no_more(st);
    }
}

void proxy_h2_stream_told(struct h2_stream *st)
{
    st->h2->orphans -= st->orphan;
    st->orphan = false;
    if (st->ended || st->tunnel) {
        return;
    }
    if (st->dropped > H2_DROPPED_BYTES) {
        want_no_more(st);
    } else {
        proxy_timeout_start(proxy_of(st), &st->told, proxy_of(st)->linger_timeout);
        st->h2->told++;
    }
}

void proxy_h2_told_timeout(struct conn *c)
{
    struct h2_stream *st = list_owner(c, struct h2_stream, told);
    st->h2->told--; /* its time-out has been stopped */
    want_no_more(st);
}

static ssize_t on_read(nghttp2_session *ng, int32_t id, uint8_t *to, size_t length, uint32_t *flags,
                       nghttp2_data_source *source, void *arg)
{
    struct h2_stream *st = source->ptr;
    size_t left = st->out ? st->out->len - st->out->at : 0;
    (void)to;
    (void)arg;
    if (!left && !st->last) {
        return NGHTTP2_ERR_DEFERRED;
    }
    length = left < length ? left : length;
    if (length) {
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }
    if (!st->last || length < left) {
        return (ssize_t)length;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (st->trailer_len) {
        nghttp2_nv nv[LIMIT_FIELDS];
        struct str text = {st->out->bytes + st->out->len, st->trailer_len};
        size_t count = proxy_h2_fields(text, false, nv, LIMIT_FIELDS);
        if (count && !nghttp2_submit_trailer(ng, id, nv, count)) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        }
    }
    st->finished = true; /* nghttp2 has the end, or is getting it */
    return (ssize_t)length;
}

void proxy_h2_stream_took(struct h2_stream *st, size_t len)
{
    st->h2->moved = true;
    st->out->at += (uint32_t)len;
    if (st->out->at < st->out->len) {
        return;
    }
    if (!st->last || st->finished) {
        proxy_block_give(proxy_of(st), &st->out);
        st->trailer_len = 0;
    }
    if (st->waits) {
        st->waits = false;
        proxy_h2_stream_note(st);
    }
}

/* The status of our own text: "HTTP/1.1 200 OK". */
static int status_of(struct str line)
{
    return line.len < 12
               ? 502
               : (line.ptr[9] - '0') * 100 + (line.ptr[10] - '0') * 10 + line.ptr[11] - '0';
}

static int submit(struct h2_stream *st, struct str head, bool empty)
{
    nghttp2_nv nv[H2_FIELDS];
    struct str line = {NULL, 0};
    char digits[3];
    (void)str_next(&head, '\n', &line);
    int status = status_of(line);
    bool tunnel = st->tunnel && status == 101;  /* RFC 8441: begins with a 200 */
    bool refused = st->tunnel && status >= 200; /* then it is a stream as any other, */
    bool mistaken = refused && status < 300;    /* and must not look as if it were open */
    memcpy(digits, tunnel ? "200" : mistaken ? "502" : line.ptr + 9, 3);
    st->tunnel = st->tunnel && !refused;
    nv[0] = (nghttp2_nv){(uint8_t *)(uintptr_t) ":status", (uint8_t *)digits, 7, 3,
                         NGHTTP2_NV_FLAG_NONE};
    size_t count = 1 + proxy_h2_fields(head, tunnel, nv + 1, H2_FIELDS - 1);
    if (status < 200 && !tunnel) {
        return nghttp2_submit_headers(st->h2->ng, NGHTTP2_FLAG_NONE, st->id, NULL, nv, count, NULL);
    }
    st->begun = true;
    nghttp2_data_provider provider = {.source.ptr = st, .read_callback = on_read};
    return nghttp2_submit_response(st->h2->ng, st->id, nv, count, empty ? NULL : &provider);
}

/* Appends what waits for its frames. */
static int keep(struct h2_stream *st, struct str data, struct str trailers)
{
    struct block *b = st->out;
    if (!b) {
        b = st->out = proxy_block_take(proxy_of(st));
    }
    if (!b || data.len + trailers.len > sizeof b->bytes - b->len) {
        board_add(&proxy_of(st)->numbers->exhausted, !b);
        return -ENOBUFS;
    }
    if (data.len) {
        memcpy(b->bytes + b->len, data.ptr, data.len);
        b->len += (uint32_t)data.len;
    }
    if (trailers.len) {
        memcpy(b->bytes + b->len, trailers.ptr, trailers.len);
        st->trailer_len = (uint32_t)trailers.len;
    }
    return 0;
}

static int stream_send(struct session *s, struct str head, struct str data, bool last,
                       struct str trailers)
{
    struct h2_stream *st = s->carried;
    if (st->closed) {
        return -ECONNRESET;
    }
    bool empty = last && !data.len && !trailers.len;
    if ((data.len || trailers.len) && keep(st, data, trailers)) {
        return -ENOBUFS;
    }
    st->last = last;
    proxy_h2_due(st->h2);
    if (head.len) {
        int rc = submit(st, head, empty);
        if (rc) {
            return -EPROTO;
        }
        if (empty) {
            st->finished = true; /* nghttp2 has the end, or is getting it */
        }
        return 0;
    }
    int rc = nghttp2_session_resume_data(st->h2->ng, st->id);
    return rc && rc != NGHTTP2_ERR_INVALID_ARGUMENT ? -EPROTO
                                                    : 0; /* it was not asked for data yet */
}

/* Whether what is left of the answer leaves at the end of the round, whatever the client does. */
static bool leaves(const struct h2_stream *st)
{
    int32_t left = st->out ? (int32_t)(st->out->len - st->out->at) : 0;
    return !st->h2->session->out &&
           left <= nghttp2_session_get_stream_remote_window_size(st->h2->ng, st->id) &&
           left <= nghttp2_session_get_remote_window_size(st->h2->ng);
}

static int stream_flush(struct session *s)
{
    struct h2_stream *st = s->carried;
    if (st->closed) {
        return st->finished ? 1 : -ECONNRESET;
    }
    if (st->last ? st->finished || leaves(st) : !st->out) {
        return 1;
    }
    st->waits = true;
    return 0;
}

static void stream_over(struct session *s, bool reset)
{
    struct h2_stream *st = s->carried;
    st->session = NULL;
    if (st->closed) {
        proxy_h2_due(st->h2); /* it may have been the last */
        destroy(st);
        return;
    }
    if (st->h2->ended) {
        return;
    }
    if (st->in) {
        proxy_h2_stream_dropped(st, st->in->len - st->in->at);
        proxy_block_give(s->proxy, &st->in);
    }
    if (reset || (st->tunnel && !st->ended)) {
        st->finished = true;
        (void)nghttp2_submit_rst_stream(st->h2->ng, NGHTTP2_FLAG_NONE, st->id,
                                        reset ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_NO_ERROR);
    } else if (!st->finished) {
        st->orphan = true;
        st->h2->orphans++;
    }
    proxy_h2_due(st->h2);
}

static const struct carrier carrier = {"HTTP/2.0", stream_recv, stream_send, stream_flush,
                                       stream_over};

/* ---- turns ------------------------------------------------------------------------------- */

static const char *why(int status)
{
    switch (status) {
    case 431:
        return "the head is longer than allowed";
    case 501:
        return "only WebSocket may be reached this way";
    default:
        return "the request could not be understood";
    }
}

static void begin(struct h2_stream *st)
{
    struct session *parent = st->h2->session;
    struct proxy *p = parent->proxy;
    st->fresh = false;
    struct session *s =
        proxy_session_carry(p, parent->listener, &carrier, st, &parent->from, parent->from_port);
    if (!s) {
        board_add(&p->numbers->exhausted, 1);
        proxy_fact(p, "limit", "out of sessions: a request was refused");
        proxy_h2_head_drop(st);
        (void)nghttp2_submit_rst_stream(st->h2->ng, NGHTTP2_FLAG_NONE, st->id,
                                        NGHTTP2_REFUSED_STREAM);
        proxy_h2_due(st->h2);
        return;
    }
    st->session = s;
    s->parent = parent;
    s->tls = parent->tls;
    s->secure = parent->secure;
    board_add(&p->numbers->h2_streams, 1);
    struct str text;
    if (!proxy_h2_head(st, &text)) {
        proxy_h2_head_drop(st);
        proxy_session_refuse(s, st->status, why(st->status));
        return;
    }
    struct block *head = st->head; /* the stream may be gone before the request is through */
    st->head = NULL;
    proxy_h2_head_drop(st);
    proxy_session_request(s, text, NULL);
    proxy_block_give(p, &head);
}

void proxy_h2_stream_turn(struct h2_stream *st)
{
    struct session *s = st->session;
    if (st->closed && !s) {
        destroy(st);
    } else if (st->closed && !st->finished) {
        proxy_session_kill(s, true); /* the client left */
    } else if (st->fresh) {
        begin(st);
    } else if (s) {
        s->conn.readable |= st->in || st->ended;
        proxy_session_step(s);
    }
}

void proxy_h2_stream_end(struct h2_stream *st)
{
    st->closed = false; /* it is freed here, not there */
    if (st->session) {
        proxy_session_kill(st->session, true);
    }
    destroy(st);
}
