/* tunnel.c: bytes both ways behind a 101, with half-closes passed on. */
#include "proxy/parts.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/ban.h"
#include "board/board.h"

/* What the client had sent before the 101 came. */
static enum progress send_held(struct exchange *ex)
{
    struct session *s = ex->session;
    struct block *b = s->in;
    struct iovec iov = {b->bytes + b->at, b->len - b->at};
    if (proxy_upstream_send(ex->up, &iov, 1)) {
        return proxy_exchange_abort(ex);
    }
    proxy_block_give(s->proxy, &s->in);
    return PROGRESS_SOME;
}

static enum progress to_backend(struct exchange *ex)
{
    struct session *s = ex->session;
    int rc = proxy_upstream_flush(ex->up);
    if (rc <= 0) {
        return rc < 0 ? proxy_exchange_abort(ex) : PROGRESS_NONE;
    }
    if (s->in) {
        return send_held(ex);
    }
    if (ex->client_end || !s->conn.readable) {
        return PROGRESS_NONE;
    }
    ssize_t n = proxy_conn_recv(&s->conn, s->proxy->scratch, SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return PROGRESS_NONE;
    }
    if (n < 0) {
        return proxy_exchange_abort(ex);
    }
    if (n == 0) {
        ex->client_end = true;
        (void)shutdown(ex->up->conn.fd, SHUT_WR);
        return PROGRESS_SOME;
    }
    struct iovec iov = {s->proxy->scratch, (size_t)n};
    board_add(&ex->backend->row->bytes_in, (uint64_t)n);
    return proxy_upstream_send(ex->up, &iov, 1) ? proxy_exchange_abort(ex) : PROGRESS_SOME;
}

static enum progress to_client(struct exchange *ex)
{
    struct session *s = ex->session;
    struct upstream *u = ex->up;
    int rc = proxy_session_flush(s);
    if (rc <= 0) {
        return rc < 0 ? proxy_exchange_abort(ex) : PROGRESS_NONE;
    }
    if (ex->up_end || !u->conn.readable) {
        return PROGRESS_NONE;
    }
    ssize_t n = proxy_conn_recv(&u->conn, s->proxy->scratch, SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return PROGRESS_NONE;
    }
    if (n < 0) {
        return proxy_exchange_abort(ex);
    }
    if (n == 0) {
        ex->up_end = true;
        (void)shutdown(s->conn.fd, SHUT_WR);
        return PROGRESS_SOME;
    }
    struct iovec iov = {s->proxy->scratch, (size_t)n};
    board_add(&ex->backend->row->bytes_out, (uint64_t)n);
    ex->sent_bytes += (uint64_t)n;
    return proxy_session_send(s, &iov, 1) ? proxy_exchange_abort(ex) : PROGRESS_SOME;
}

enum progress proxy_tunnel_step(struct exchange *ex)
{
    enum progress in = to_backend(ex);
    if (in == PROGRESS_OVER) {
        return in;
    }
    enum progress out = to_client(ex);
    if (out == PROGRESS_OVER) {
        return out;
    }
    if (ex->client_end && ex->up_end && !ex->session->out && !ex->up->out) {
        return proxy_exchange_finish(ex);
    }
    return in > out ? in : out;
}
