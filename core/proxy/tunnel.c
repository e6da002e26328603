/* tunnel.c: bytes both ways behind a 101 or of a TCP route, with half-closes passed on.
 *
 * Invariants: a way is copied until a whole receive's worth came at once; then it goes through a
 * pipe until its source has no more for the moment. A pipe is begun only with nothing left in a
 * buffer, and copying goes on only behind an empty pipe, so that bytes keep their order. */
#include "proxy/parts.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/ban.h"
#include "board/board.h"

/* One way through a pipe. *bulk turns false when copying is to go on. */
static enum progress pass(struct exchange *ex, struct pipe **pipe, struct conn *from,
                          struct conn *to, bool *bulk, uint64_t *ret_moved)
{
    int rc = proxy_splice_pass(ex->session->proxy, pipe, from, to, ret_moved);
    if (rc >= 0) {
        *bulk = *pipe != NULL;
        return rc ? PROGRESS_SOME : PROGRESS_NONE;
    }
    *bulk = false;
    if (rc == -ENODATA) {
        return PROGRESS_SOME; /* copying finds the end too */
    }
    ex->no_bulk = true;
    return rc == -ENOSYS ? PROGRESS_SOME : proxy_exchange_abort(ex);
}

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
    if (ex->bulk_in) {
        struct board_row *row = ex->backend->row;
        uint64_t moved;
        enum progress progress =
            pass(ex, &ex->in_pipe, &s->conn, &ex->up->conn, &ex->bulk_in, &moved);
        board_add(&row->bytes_in, moved);
        return progress;
    }
    if (ex->client_end || !s->conn.readable) {
        return PROGRESS_NONE;
    }
    ssize_t n = proxy_session_recv(s, s->proxy->scratch, SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return PROGRESS_NONE;
    }
    if (n < 0) {
        return proxy_exchange_abort(ex);
    }
    if (n == 0) {
        ex->client_end = true;
        proxy_conn_shut(&ex->up->conn);
        return PROGRESS_SOME;
    }
    struct iovec iov = {s->proxy->scratch, (size_t)n};
    board_add(&ex->backend->row->bytes_in, (uint64_t)n);
    ex->bulk_in = n == SCRATCH_BYTES && !ex->no_bulk;
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
    if (ex->bulk_out) {
        struct board_row *row = ex->backend->row;
        uint64_t moved;
        enum progress progress = pass(ex, &ex->pipe, &u->conn, &s->conn, &ex->bulk_out, &moved);
        board_add(&row->bytes_out, moved);
        if (progress != PROGRESS_OVER) {
            ex->sent_bytes += moved;
        }
        return progress;
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
        proxy_session_shut(s);
        return PROGRESS_SOME;
    }
    struct str data = {s->proxy->scratch, (size_t)n};
    board_add(&ex->backend->row->bytes_out, (uint64_t)n);
    ex->bulk_out = n == SCRATCH_BYTES && !ex->no_bulk;
    ex->sent_bytes += (uint64_t)n;
    return proxy_session_tell(s, (struct str){NULL, 0}, data, false) ? proxy_exchange_abort(ex)
                                                                     : PROGRESS_SOME;
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
    if (ex->client_end && ex->up_end && !ex->session->out && !ex->up->out && !ex->pipe &&
        !ex->in_pipe) {
        return proxy_exchange_finish(ex);
    }
    return in > out ? in : out;
}
