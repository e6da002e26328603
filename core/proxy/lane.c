/* lane.c: streams of HTTP/2 on links to backends: what is asked, and what comes back; see link.h.
 *
 * Owns: the translation of heads between HTTP/1.1 text and fields of HTTP/2, and what a stream holds.
 * Invariants: the callbacks only write into a lane and name its session: everything else goes on behind them. A
 * backend may send as much of a body as one block holds; it gets window for more when the exchange takes it, that
 * of the connection at once, so that one slow client holds up no other. What goes to the backend is fetched
 * by nghttp2 as its windows allow, from the request that is kept and behind it from `out`. */
#include "proxy/parts.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"

enum {
    FIELDS_MOST = 600, /* of a request: LIMIT_FIELDS, what a route sets (at most 400), ours */
    LINK_WINDOW_BYTES = 1 << 20 /* of the connection: what may be on its way for all streams */
};

static void wake(struct upstream *u)
{
    u->conn.readable = true;
    proxy_session_soon(u->ex->session);
}

static struct upstream *lane_of(nghttp2_session *http2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(http2, id);
}

/* ---- to the backend ---------------------------------------------------------------------- */

static size_t give(struct block *b, uint8_t *to, size_t size)
{
    size_t len = b->len - b->at < size ? b->len - b->at : size;
    memcpy(to, b->bytes + b->at, len);
    b->at += (uint32_t)len;
    return len;
}

static ssize_t on_read(nghttp2_session *http2, int32_t id, uint8_t *to, size_t size,
                       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct upstream *u = lane_of(http2, id);
    (void)source;
    (void)arg;
    if (!u) {
        return NGHTTP2_ERR_DEFERRED;
    }
    struct exchange *ex = u->ex;
    size_t len = give(ex->request, to, size);
    if (ex->request->at == ex->request->len && ex->state == EXCHANGE_SENDING) {
        ex->state = EXCHANGE_ANSWER;
    }
    if (u->out && len < size) {
        len += give(u->out, to + len, size - len);
        if (u->out->at == u->out->len) {
            proxy_block_give(u->proxy, &u->out);
        }
    }
    bool all = ex->request->at == ex->request->len && !u->out;
    if (all) {
        proxy_session_soon(ex->session);
    }
    if (all && ex->in.done) {
        u->lane.asked = true;
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)len;
    }
    return len ? (ssize_t)len : NGHTTP2_ERR_DEFERRED;
}

/* What is of one hop only, or has a name of its own in HTTP/2: RFC 9113, 8.2.2 and 8.3.1. */
static bool stays(struct str name, struct str value)
{
    static const char *const names[] = {"connection", "keep-alive",        "proxy-connection",
                                        "upgrade",    "transfer-encoding", "host"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (str_is(name, names[i])) {
            return true;
        }
    }
    return str_is(name, "te") && !str_is(value, "trailers");
}

static nghttp2_nv field_of(struct str name, struct str value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.ptr,
                        .value = (uint8_t *)(uintptr_t)value.ptr,
                        .namelen = name.len,
                        .valuelen = value.len};
}

static void lower(struct str s)
{
    char *at = (char *)(uintptr_t)s.ptr; /* our own buffer */
    for (size_t i = 0; i < s.len; i++) {
        at[i] = at[i] >= 'A' && at[i] <= 'Z' ? (char)(at[i] + ('a' - 'A')) : at[i];
    }
}

/* The fields of a head that forward.c wrote, in place; how many, or -ENOBUFS. *ret_len: bytes of the head. */
static ssize_t fields_of(struct str head, const char *scheme, nghttp2_nv *to, size_t *ret_len)
{
    struct str rest = head, line, method, target;
    size_t count = 4;
    if (!str_next(&rest, '\n', &line) || !str_next(&line, ' ', &method) ||
        !str_next(&line, ' ', &target)) {
        return -EINVAL;
    }
    to[0] = field_of(str_of(":method"), method);
    to[1] = field_of(str_of(":scheme"), str_of(scheme));
    to[2] = field_of(str_of(":authority"), str_of(""));
    to[3] = field_of(str_of(":path"), target);
    while (str_next(&rest, '\n', &line) && line.len > 1) {
        struct str name;
        if (!str_next(&line, ':', &name)) {
            return -EINVAL;
        }
        struct str value = str_trim(str_sub(line, 0, line.len - 1));
        lower(name);
        if (str_is(name, "host")) {
            to[2] = field_of(str_of(":authority"), value);
        }
        if (stays(name, value)) {
            continue;
        }
        if (count == FIELDS_MOST) {
            return -ENOBUFS;
        }
        to[count++] = field_of(name, value);
    }
    *ret_len = (size_t)(rest.ptr - head.ptr);
    return (ssize_t)count;
}

int proxy_lane_ask(struct upstream *u)
{
    struct proxy *p = u->proxy;
    struct exchange *ex = u->ex;
    struct link *l = u->lane.link;
    nghttp2_nv fields[FIELDS_MOST];
    if (u->lane.id || !l) {
        return l ? 0 : -ECONNRESET;
    }
    /* Names are written in small letters; what is kept stays as it is. */
    size_t most = ex->request->len < sizeof p->head_bytes ? ex->request->len : sizeof p->head_bytes;
    memcpy(p->head_bytes, ex->request->bytes, most);
    size_t len = 0;
    ssize_t count =
        fields_of((struct str){p->head_bytes, most}, l->client ? "https" : "http", fields, &len);
    if (count < 0) {
        return (int)count;
    }
    bool bodiless = ex->in.done && len == ex->request->len;
    nghttp2_data_provider body = {.read_callback = on_read};
    int32_t id =
        nghttp2_submit_request(l->http2, NULL, fields, (size_t)count, bodiless ? NULL : &body, u);
    if (id < 0) {
        return -ENOBUFS;
    }
    u->lane.id = id;
    u->lane.asked = bodiless;
    l->open++;
    ex->request->at = (uint32_t)len;
    if (ex->request->at == ex->request->len) {
        ex->state = EXCHANGE_ANSWER;
    }
    proxy_link_due(l);
    return 0;
}

static bool sends(const struct upstream *u)
{
    return u->lane.link && !u->lane.closed;
}

int proxy_lane_send(struct upstream *u, const struct iovec *iov, int count)
{
    struct proxy *p = u->proxy;
    if (!sends(u)) {
        return -EPIPE;
    }
    u->out = u->out ? u->out : proxy_block_take(p);
    if (!u->out) {
        return -ENOBUFS;
    }
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len > sizeof u->out->bytes - u->out->len) {
            return -ENOBUFS;
        }
        memcpy(u->out->bytes + u->out->len, iov[i].iov_base, iov[i].iov_len);
        u->out->len += (uint32_t)iov[i].iov_len;
    }
    proxy_lane_end(u);
    return 0;
}

int proxy_lane_flush(struct upstream *u)
{
    return !sends(u) ? -EPIPE : u->out ? 0 : 1;
}

void proxy_lane_end(struct upstream *u)
{
    if (sends(u)) {
        (void)nghttp2_session_resume_data(u->lane.link->http2, u->lane.id);
        proxy_link_due(u->lane.link);
    }
}

/* ---- from the backend -------------------------------------------------------------------- */

/* Keeps bytes for the exchange. -ENOBUFS. */
static int keep(struct upstream *u, const void *bytes, size_t len)
{
    struct block *b = u->lane.in;
    if (!b) {
        b = u->lane.in = proxy_block_take(u->proxy);
    }
    if (b && b->at && len > sizeof b->bytes - b->len) {
        memmove(b->bytes, b->bytes + b->at, b->len - b->at);
        b->len -= b->at;
        b->at = 0;
    }
    if (!b || len > sizeof b->bytes - b->len) {
        u->lane.error = -ENOBUFS;
        return -ENOBUFS;
    }
    memcpy(b->bytes + b->len, bytes, len);
    b->len += (uint32_t)len;
    return 0;
}

static int keep_head(struct upstream *u, const void *bytes, size_t len)
{
    if (u->lane.head_left + len > LIMIT_HEAD_BYTES) {
        u->lane.error = -EMSGSIZE;
        return -EMSGSIZE;
    }
    int rc = keep(u, bytes, len);
    u->lane.head_left += rc ? 0 : (uint32_t)len;
    return rc;
}

static int keep_status(struct upstream *u, struct str value)
{
    char line[64]; /* 13 bytes and one of http1_reason's words */
    uint64_t status;
    if (str_to_u64(value, &status) || status < 100 || status > 599) {
        u->lane.error = -EPROTO;
        return -EPROTO;
    }
    u->lane.final = status >= 200;
    int len =
        snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", (int)status, http1_reason((int)status));
    return keep_head(u, line, (size_t)len);
}

/* `fields`: of HTTP/1.1 text, of a trailer section. */
static int keep_section(struct upstream *u, struct str bytes)
{
    u->lane.section += (uint32_t)bytes.len;
    if (u->lane.section > LIMIT_HEAD_BYTES) {
        u->lane.error = -EMSGSIZE;
        return -EMSGSIZE;
    }
    proxy_trailer_keep(u->ex, bytes);
    return 0;
}

static int on_header(nghttp2_session *http2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct upstream *u = lane_of(http2, frame->hd.stream_id);
    struct str n = {(const char *)name, name_len}, v = {(const char *)value, value_len};
    (void)flags;
    (void)arg;
    if (!u || u->lane.error) {
        return 0;
    }
    int rc = 0;
    if (u->ex->grpc && u->lane.final && str_is(n, "grpc-status")) {
        proxy_grpc_note(u->ex, v);
    }
    if (u->lane.headed) {
        const struct str parts[] = {n, {": ", 2}, v, {"\r\n", 2}};
        bool wanted = u->ex->te_trailers || u->ex->session->carrier;
        for (size_t i = 0; !rc && wanted && i < 4; i++) {
            rc = parts[i].len ? keep_section(u, parts[i]) : 0;
        }
    } else if (str_is(n, ":status")) {
        rc = keep_status(u, v);
    } else {
        rc = keep_head(u, n.ptr, n.len);
        rc = rc ? rc : keep_head(u, ": ", 2);
        rc = rc ? rc : keep_head(u, v.ptr, v.len);
        rc = rc ? rc : keep_head(u, "\r\n", 2);
    }
    return rc ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_data(nghttp2_session *http2, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t len, void *arg)
{
    struct upstream *u = lane_of(http2, id);
    (void)flags;
    (void)arg;
    (void)nghttp2_session_consume_connection(http2, len);
    if (!u || u->lane.error || keep(u, bytes, len)) {
        (void)nghttp2_session_consume_stream(http2, id, len);
        if (u) {
            (void)nghttp2_submit_rst_stream(http2, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        }
        return 0;
    }
    wake(u);
    return 0;
}

/* Streams above the last one that the backend took were not seen by it: RFC 9113, 6.8. */
static void on_goaway(struct link *l, int32_t last)
{
    l->leaving = true;
    for (struct list *at = l->streams.next; at != &l->streams; at = at->next) {
        struct upstream *u = list_owner(at, struct upstream, lane.node);
        if ((!u->lane.id || u->lane.id > last) && !u->lane.ended && !u->lane.error) {
            u->lane.untouched = true;
            u->lane.error = -ECONNRESET;
            wake(u);
        }
    }
}

static int on_frame(nghttp2_session *http2, const nghttp2_frame *frame, void *arg)
{
    struct link *l = arg;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        on_goaway(l, frame->goaway.last_stream_id);
        return 0;
    }
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        l->settled = true;
        return 0;
    }
    bool heads = frame->hd.type == NGHTTP2_HEADERS;
    struct upstream *u =
        heads || frame->hd.type == NGHTTP2_DATA ? lane_of(http2, frame->hd.stream_id) : NULL;
    if (!u || u->lane.error) {
        return 0;
    }
    if (heads && !u->lane.headed) {
        u->lane.headed = u->lane.final;
        if (keep_head(u, "\r\n", 2)) {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        wake(u);
    } else if (heads && u->lane.section && keep_section(u, (struct str){"\r\n", 2})) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        u->lane.ended = true;
        wake(u);
    }
    return 0;
}

static int before_frame(nghttp2_session *http2, const nghttp2_frame *frame, void *arg)
{
    struct link *l = arg;
    struct upstream *u =
        frame->hd.type == NGHTTP2_HEADERS ? lane_of(http2, frame->hd.stream_id) : NULL;
    if (u) {
        u->lane.written = true;
        u->lane.made_before = l->made;
    }
    return 0;
}

/* A request that nghttp2 would not send any more: the backend leaves. */
static int on_not_sent(nghttp2_session *http2, const nghttp2_frame *frame, int error, void *arg)
{
    struct upstream *u =
        frame->hd.type == NGHTTP2_HEADERS ? lane_of(http2, frame->hd.stream_id) : NULL;
    (void)error;
    (void)arg;
    if (u) {
        u->lane.untouched = true;
    }
    return 0;
}

static int on_close(nghttp2_session *http2, int32_t id, uint32_t code, void *arg)
{
    struct link *l = arg;
    struct upstream *u = lane_of(http2, id);
    l->open--;
    if (!u) {
        return 0;
    }
    u->lane.closed = true;
    if (!u->lane.ended && !u->lane.error) {
        u->lane.untouched = u->lane.untouched || code == NGHTTP2_REFUSED_STREAM;
        u->lane.error = -ECONNRESET;
    }
    wake(u);
    return 0;
}

int proxy_link_session(struct link *l)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_HEAD_BYTES},
    };
    int rc = nghttp2_session_callbacks_new(&callbacks);
    rc = rc ? rc : nghttp2_option_new(&option);
    if (!rc) {
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_frame);
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_option_set_no_auto_window_update(option, 1);
        rc = nghttp2_session_client_new2(&l->http2, callbacks, l, option);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    rc = rc ? rc : nghttp2_submit_settings(l->http2, NGHTTP2_FLAG_NONE, settings, 2);
    rc = rc ? rc
            : nghttp2_session_set_local_window_size(l->http2, NGHTTP2_FLAG_NONE, 0,
                                                    LINK_WINDOW_BYTES);
    return rc ? -ENOMEM : 0;
}

/* ---- the exchange's side ----------------------------------------------------------------- */

ssize_t proxy_lane_recv(struct upstream *u, void *to, size_t size)
{
    struct lane *lane = &u->lane;
    struct block *b = lane->in;
    if (!b) {
        u->conn.readable = lane->ended || lane->error;
        return lane->error ? lane->error : lane->ended ? 0 : -EAGAIN;
    }
    size_t len = b->len - b->at < size ? b->len - b->at : size;
    memcpy(to, b->bytes + b->at, len);
    b->at += (uint32_t)len;
    uint32_t heads = lane->head_left < len ? lane->head_left : (uint32_t)len;
    lane->head_left -= heads;
    if (len > heads && lane->link && !lane->closed) {
        (void)nghttp2_session_consume_stream(lane->link->http2, lane->id, len - heads);
        proxy_link_due(lane->link);
    }
    if (b->at == b->len) {
        proxy_block_give(u->proxy, &lane->in);
        u->conn.readable = lane->ended || lane->error;
    }
    return (ssize_t)len;
}

bool proxy_lane_ended(const struct upstream *u)
{
    return u->lane.ended && !u->lane.in;
}

bool proxy_lane_untouched(const struct upstream *u)
{
    return u->lane.untouched;
}

static void leave(struct upstream *u)
{
    struct lane *lane = &u->lane;
    list_remove(&lane->node);
    lane->link = NULL;
}

void proxy_lane_release(struct upstream *u)
{
    struct proxy *p = u->proxy;
    struct backend *b = u->backend;
    struct lane *lane = &u->lane;
    struct link *l = lane->link;
    bool whole = lane->ended && lane->asked; /* else nobody would say the end of the request */
    u->ex->up = NULL;
    u->ex = NULL;
    if (l && lane->id && !lane->closed) {
        (void)nghttp2_session_set_stream_user_data(l->http2, lane->id, NULL);
        if (!whole) {
            (void)nghttp2_submit_rst_stream(l->http2, NGHTTP2_FLAG_NONE, lane->id, NGHTTP2_CANCEL);
        }
    }
    if (l) {
        leave(u);
        proxy_link_due(l);
    }
    proxy_block_give(p, &u->in);
    proxy_block_give(p, &u->out);
    proxy_block_give(p, &lane->in);
    proxy_timeout_stop(&u->conn);
    list_append(&p->grave, &u->conn.node);
    u->backend = NULL;
    b->connections--;
    proxy_backend_settle(p, b);
}

void proxy_link_lose(struct link *l, int error)
{
    while (!list_empty(&l->streams)) {
        struct upstream *u = list_owner(l->streams.next, struct upstream, lane.node);
        if (!u->lane.ended && !u->lane.error) {
            u->lane.untouched = !u->lane.written || l->taken <= u->lane.made_before;
            u->lane.error = error;
        }
        u->conn.error = u->conn.error || l->connecting;
        u->lane.closed = true;
        leave(u);
        wake(u);
    }
}
