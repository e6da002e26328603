/* stream.c: bodies both ways.
 *
 * Invariants: one side is read only while nothing waits to be written to the other, so what is kept
 * for a slow reader is at most one receive. Chunked bodies are decoded and framed anew, a request's
 * without its trailers; a body that ends too early never gets a clean end on the other side. */
#include "proxy/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "board/board.h"
#include "proxy/coding.h"
#include "proxy/inner.h"

static ssize_t take_chunks(struct body *body, struct str in, char *to, size_t *ret_used)
{
    size_t at = 0, len = 0;
    body->trailers = (struct str){NULL, 0};
    while (at < in.len && !body->chunks.done) {
        struct str piece;
        size_t used;
        bool trailers = body->chunks.trailers;
        if (http1_chunks_next(&body->chunks, str_sub(in, at, in.len), &piece, &used)) {
            return -EPROTO;
        }
        if (piece.len) {
            memmove(to + len, piece.ptr, piece.len);
            len += piece.len;
        }
        if (trailers) {
            body->trailers = str_sub(in, at, at + used);
        }
        at += used;
    }
    body->done = body->chunks.done;
    *ret_used = at;
    return (ssize_t)len;
}

ssize_t proxy_body_take(struct body *body, struct str in, char *to, size_t *ret_used)
{
    size_t len = in.len;
    switch (body->framing) {
    case HTTP1_CHUNKED:
        return take_chunks(body, in, to, ret_used);
    case HTTP1_LENGTH:
        if (len >= body->left) {
            len = (size_t)body->left;
            body->done = true;
        }
        body->left -= len;
        break;
    case HTTP1_UNTIL_CLOSE:
        break;
    case HTTP1_NO_BODY:
    case HTTP1_FRAMINGS:
        len = 0;
        body->done = true;
        break;
    }
    if (to != in.ptr) {
        memmove(to, in.ptr, len);
    }
    *ret_used = len;
    return (ssize_t)len;
}

ssize_t proxy_body_came(struct exchange *ex, struct str in, size_t *ret_used)
{
    char *at = (char *)(uintptr_t)in.ptr; /* our own buffer */
    ssize_t n = proxy_body_take(&ex->in, in, at, ret_used);
    if (ex->in.framing == HTTP1_UNTIL_CLOSE && (!in.len || ex->session->ended)) {
        ex->in.done = true;
    }
    return n;
}

int proxy_body_first(struct exchange *ex, struct str rest, size_t *ret_taken)
{
    struct block *b = ex->request;
    char *at = (char *)(uintptr_t)rest.ptr; /* our own buffer: decoded in place */
    ssize_t n = proxy_body_came(ex, rest, ret_taken);
    if (n < 0) {
        return (int)n;
    }
    ex->body_bytes += (uint64_t)n;
    if (ex->route->rules.max_body && ex->body_bytes > ex->route->rules.max_body) {
        return -EFBIG;
    }
    bool chunked = ex->to_backend == HTTP1_CHUNKED;
    /* `rest` has at most SCRATCH_BYTES less the received head, the block has room for both. */
    if (n && chunked) {
        b->len += (uint32_t)snprintf(b->bytes + b->len, 32, "%zx\r\n", (size_t)n);
    }
    memcpy(b->bytes + b->len, at, (size_t)n);
    b->len += (uint32_t)n;
    if (n && chunked) {
        memcpy(b->bytes + b->len, "\r\n", 2);
        b->len += 2;
    }
    if (chunked && ex->in.done) {
        memcpy(b->bytes + b->len, "0\r\n\r\n", 5);
        b->len += 5;
    }
    return 0;
}

/* Adds a piece of body in the receiver's framing, at most 4 parts; `line` (20 bytes) must live as long
 * as iov. `trailers`: with the empty line behind them; or empty. */
static int add_body(struct iovec *iov, int count, struct str data, bool chunked, bool last,
                    struct str trailers, char *line)
{
    static const char ends[] = "\r\n0\r\n\r\n";
    if (data.len && chunked) {
        int len = snprintf(line, 20, "%zx\r\n", data.len);
        iov[count++] = (struct iovec){line, (size_t)len};
    }
    if (data.len) {
        iov[count++] = (struct iovec){(char *)(uintptr_t)data.ptr, data.len};
    }
    if (chunked && (data.len || last)) {
        size_t from = data.len ? 0 : 2;
        size_t to = !last ? 2 : trailers.len ? 5 : 7;
        iov[count++] = (struct iovec){(char *)(uintptr_t)ends + from, to - from};
        if (trailers.len) {
            iov[count++] = (struct iovec){(char *)(uintptr_t)trailers.ptr, trailers.len};
        }
    }
    return count;
}

/* Pipelined bytes behind the body wait for their turn. */
static int keep_rest(struct session *s, struct str rest)
{
    if (!rest.len) {
        return 0;
    }
    must(!s->in);
    s->in = proxy_block_with(s->proxy, rest);
    s->starved = false;
    return s->in ? 0 : -ENOBUFS;
}

enum progress proxy_stream_in(struct exchange *ex)
{
    struct session *s = ex->session;
    struct upstream *u = ex->up;
    int rc = u->broken ? 0 : proxy_upstream_flush(u);
    if (rc < 0) {
        u->broken = true;
        u->conn.readable = true;
        return PROGRESS_SOME;
    }
    if (rc && (ex->in_pipe || (s->conn.readable && proxy_splice_wanted(ex, &ex->in)))) {
        return proxy_splice_in(ex);
    }
    if (!rc || !s->conn.readable) {
        return PROGRESS_NONE;
    }
    char *scratch = s->proxy->scratch;
    ssize_t n = proxy_session_recv(s, scratch, SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return PROGRESS_NONE;
    }
    if (n < 0 || (n == 0 && ex->in.framing != HTTP1_UNTIL_CLOSE)) {
        return proxy_exchange_abort(ex); /* the client left in the middle of its request */
    }
    struct str in = {scratch, (size_t)n};
    size_t used = 0;
    ssize_t len = proxy_body_came(ex, in, &used);
    uint64_t most = ex->route->rules.max_body;
    ex->body_bytes += len > 0 ? (uint64_t)len : 0;
    if (len < 0 || (most && ex->body_bytes > most)) {
        return proxy_exchange_refuse_body(ex, len < 0 ? -EPROTO : -EFBIG);
    }
    if (!proxy_exchange_fast_enough(ex)) {
        return proxy_exchange_refuse(ex, 408, "the body comes too slowly");
    }
    if (keep_rest(s, str_sub(in, used, in.len))) {
        return proxy_exchange_abort(ex);
    }
    struct iovec iov[4];
    char line[20]; /* a size_t in hexadecimal, CR LF and NUL */
    int count = add_body(iov, 0, (struct str){scratch, (size_t)len},
                         ex->to_backend == HTTP1_CHUNKED, ex->in.done, (struct str){NULL, 0}, line);
    ex->streamed = true;
    if (ex->course && ex->course->copy) {
        proxy_mirror_more(ex, (struct str){scratch, (size_t)len});
    }
    board_add(&ex->backend->row->bytes_in, (uint64_t)len);
    if (count && proxy_upstream_send(u, iov, count)) {
        u->broken = true;
        u->conn.readable = true;
    }
    if (u->shared && ex->in.done && !count) {
        proxy_lane_end(u);
    }
    return PROGRESS_SOME;
}

/* Each client in its framing. */
int proxy_stream_send(struct exchange *ex, struct str head, struct str data, bool last,
                      struct str trailers)
{
    struct session *s = ex->session;
    if (s->carrier) {
        return s->carrier->send(s, head, data, last, trailers);
    }
    struct iovec iov[5];
    char line[20];
    int count = 0;
    if (head.len) {
        iov[count++] = (struct iovec){(char *)(uintptr_t)head.ptr, head.len};
    }
    count = add_body(iov, count, data, ex->to_client == HTTP1_CHUNKED, last, trailers, line);
    return count ? proxy_session_send(s, iov, count) : 0;
}

enum progress proxy_stream_answer(struct exchange *ex, struct str head, struct str bytes)
{
    char *at = (char *)(uintptr_t)bytes.ptr; /* our own buffer: decoded in place */
    size_t used = 0;
    ssize_t len = 0;
    if (bytes.len && !ex->out.done) {
        len = proxy_body_take(&ex->out, bytes, at, &used);
        if (len < 0) {
            ex->failure = FAILURE_RESET;
            return proxy_exchange_refuse(ex, 502, "the backend's body is not well chunked");
        }
    }
    if (used < bytes.len) {
        ex->up_keep = false; /* more than it had announced */
    }
    struct str trailers = {NULL, 0};
    if (ex->bare && ex->out.framing == HTTP1_UNTIL_CLOSE && proxy_lane_ended(ex->up)) {
        ex->out.done = true;
        trailers = ex->trailers ? proxy_trailer_end(ex) : trailers;
    }
    if (ex->trailers && ex->out.trailers.len) {
        proxy_trailer_keep(ex, ex->out.trailers);
        trailers = ex->out.done ? proxy_trailer_end(ex) : trailers;
    }
    if (ex->coder) {
        return proxy_coding_send(ex, head, (struct str){at, (size_t)len});
    }
    ex->head_sent = true;
    board_add(&ex->backend->row->bytes_out, (uint64_t)len);
    ex->sent_bytes += (uint64_t)len;
    if (proxy_stream_send(ex, head, (struct str){at, (size_t)len}, ex->out.done, trailers)) {
        return proxy_exchange_abort(ex);
    }
    return ex->out.done ? proxy_exchange_finish(ex) : PROGRESS_SOME;
}

enum progress proxy_stream_out(struct exchange *ex)
{
    struct session *s = ex->session;
    struct upstream *u = ex->up;
    int rc = proxy_session_flush(s);
    if (rc <= 0) {
        return rc < 0 ? proxy_exchange_abort(ex) : PROGRESS_NONE;
    }
    if (ex->pipe || (u->conn.readable && proxy_splice_wanted(ex, &ex->out))) {
        return proxy_splice_out(ex);
    }
    if (ex->coder && proxy_coding_waits(ex)) {
        return proxy_coding_step(ex);
    }
    if (!u->conn.readable) {
        return PROGRESS_NONE;
    }
    char *scratch = s->proxy->scratch;
    ssize_t n = proxy_upstream_recv(u, scratch, ex->coder ? CODED_BYTES : SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return PROGRESS_NONE;
    }
    if (n == 0 && ex->out.framing == HTTP1_UNTIL_CLOSE) {
        ex->out.done = true;
        return proxy_stream_answer(ex, (struct str){NULL, 0}, (struct str){NULL, 0});
    }
    if (n <= 0) {
        return proxy_exchange_cut(ex);
    }
    return proxy_stream_answer(ex, (struct str){NULL, 0}, (struct str){scratch, (size_t)n});
}
