/* splice.c: large bodies both ways, and what is much in a tunnel, through a pipe, so that their bytes
 * never enter this process.
 *
 * Owns: the pipes; a few empty ones are kept for the next large body.
 * Invariants: only for bodies with a length, or in a tunnel, and only with nothing left in a buffer; a pipe with bytes
 * in it belongs to its exchange until it is empty. Without descriptors the bytes are copied
 * instead. */
#include "proxy/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/mem.h"
#include "board/board.h"

enum {
    PIPES_KEPT = 16
};

bool proxy_splice_wanted(const struct exchange *ex, const struct body *body)
{
    return !ex->no_bulk && body->framing == HTTP1_LENGTH && body->left > SCRATCH_BYTES;
}

static struct pipe *take(struct proxy *p)
{
    struct pipe *pipe = p->pipes;
    if (pipe) {
        p->pipes = pipe->next;
        p->pipe_count--;
        return pipe;
    }
    int fds[2];
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC)) {
        return NULL;
    }
    pipe = mem_new(sizeof *pipe);
    *pipe = (struct pipe){.out = fds[0], .in = fds[1]};
    /* May be refused to users with many pipes: then it stays small. */
    (void)fcntl(pipe->in, F_SETPIPE_SZ, SPLICE_BYTES);
    return pipe;
}

static void destroy(struct pipe *pipe)
{
    close(pipe->in);
    close(pipe->out);
    mem_free(pipe);
}

void proxy_pipe_give(struct proxy *p, struct pipe *pipe)
{
    if (!pipe) {
        return;
    }
    if (pipe->held || p->pipe_count >= PIPES_KEPT) {
        destroy(pipe);
        return;
    }
    pipe->next = p->pipes;
    p->pipes = pipe;
    p->pipe_count++;
}

void proxy_pipes_free(struct proxy *p)
{
    while (p->pipes) {
        struct pipe *pipe = p->pipes;
        p->pipes = pipe->next;
        destroy(pipe);
    }
    p->pipe_count = 0;
}

/* Pipe to socket; adds to *ret_moved. 1 = empty, 0 = the socket takes no more now, -errno. */
static int empty(struct pipe *pipe, struct conn *to, uint64_t *ret_moved)
{
    while (pipe->held) {
        if (!to->writable) {
            return 0;
        }
        ssize_t n =
            splice(pipe->out, NULL, to->fd, NULL, pipe->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EAGAIN) {
            to->writable = false;
        } else if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return n < 0 ? -errno : -EPIPE;
        } else if (n > 0) {
            pipe->held -= (size_t)n;
            *ret_moved += (uint64_t)n;
        }
    }
    return 1;
}

/* Socket to pipe, which is empty: bytes, 0 = the socket ended, -errno. */
static ssize_t fill(struct pipe *pipe, struct conn *from, size_t most)
{
    ssize_t n;
    do {
        n = splice(from->fd, NULL, pipe->in, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        int error = errno;
        from->readable = false;
        return -error;
    }
    pipe->held += (size_t)n;
    return n;
}

int proxy_splice_pass(struct proxy *p, struct pipe **pipe, struct conn *from, struct conn *to,
                      uint64_t *ret_moved)
{
    *ret_moved = 0;
    *pipe = *pipe ? *pipe : take(p);
    if (!*pipe) {
        return -ENOSYS;
    }
    ssize_t n = (*pipe)->held ? 1 : -EAGAIN;
    if (!(*pipe)->held && from->readable) {
        n = fill(*pipe, from, SPLICE_BYTES);
        if (n == -EINVAL) {
            from->readable = true; /* as it was: it is to be copied */
            n = -ENOSYS;
        }
    }
    int rc = n > 0 ? empty(*pipe, to, ret_moved) : 1;
    if (rc < 0) {
        return rc;
    }
    if (n <= 0) {
        proxy_pipe_give(p, *pipe);
        *pipe = NULL;
        return n == -EAGAIN ? 0 : n < 0 ? (int)n : -ENODATA;
    }
    return *ret_moved || rc ? 1 : 0;
}

enum pass {
    PASS_NONE,
    PASS_SOME,
    PASS_COPY,   /* it cannot be done here, and nothing moved */
    PASS_SOURCE, /* the side that sends is gone */
    PASS_TARGET  /* ... that receives */
};

/* More of a body with a length. *ret_filled left the source, *ret_moved went to the target; the pipe is
 * given back when nothing is in it. */
static enum pass pass_body(struct proxy *p, struct pipe **pipe, struct body *body,
                           struct conn *from, struct conn *to, uint64_t *ret_filled,
                           uint64_t *ret_moved)
{
    *ret_filled = *ret_moved = 0;
    *pipe = *pipe ? *pipe : take(p);
    if (!*pipe) {
        return PASS_COPY;
    }
    ssize_t n = -EAGAIN;
    bool waited = (*pipe)->held > 0;
    if (!waited && from->readable && !body->done) {
        n = fill(*pipe, from, body->left < SPLICE_BYTES ? (size_t)body->left : SPLICE_BYTES);
        *ret_filled = n > 0 ? (uint64_t)n : 0;
        body->left -= *ret_filled;
        body->done = !body->left;
    }
    int rc = empty(*pipe, to, ret_moved);
    if (rc) {
        proxy_pipe_give(p, *pipe);
        *pipe = NULL;
    }
    if (n == -EINVAL) {
        from->readable = true; /* as it was: it is to be copied */
        return PASS_COPY;
    }
    if (n <= 0 && n != -EAGAIN) {
        return PASS_SOURCE;
    }
    /* A pipe that was waited for is empty now: the source's edge may be long past. */
    return rc < 0 ? PASS_TARGET : n > 0 || (rc && waited) ? PASS_SOME : PASS_NONE;
}

enum progress proxy_splice_out(struct exchange *ex)
{
    struct session *s = ex->session;
    uint64_t filled, moved;
    enum pass pass =
        pass_body(s->proxy, &ex->pipe, &ex->out, &ex->up->conn, &s->conn, &filled, &moved);
    board_add(&ex->backend->row->bytes_out, moved);
    ex->sent_bytes += moved;
    switch (pass) {
    case PASS_SOURCE:
        ex->failure = FAILURE_RESET;
        return proxy_exchange_abort(ex); /* cut off */
    case PASS_TARGET:
        return proxy_exchange_abort(ex);
    case PASS_COPY:
        ex->no_bulk = true;
        return PROGRESS_SOME;
    case PASS_NONE:
    case PASS_SOME:
        break;
    }
    if (ex->out.done && !ex->pipe) {
        return proxy_exchange_finish(ex);
    }
    return pass == PASS_SOME ? PROGRESS_SOME : PROGRESS_NONE;
}

enum progress proxy_splice_in(struct exchange *ex)
{
    struct session *s = ex->session;
    uint64_t filled, moved;
    enum pass pass =
        pass_body(s->proxy, &ex->in_pipe, &ex->in, &s->conn, &ex->up->conn, &filled, &moved);
    board_add(&ex->backend->row->bytes_in, moved);
    ex->body_bytes += filled;
    ex->streamed = ex->streamed || filled;
    switch (pass) {
    case PASS_SOURCE:
        return proxy_exchange_abort(ex); /* the client left in the middle of its request */
    case PASS_TARGET:
        ex->up->broken = true;
        ex->up->conn.readable = true; /* it may have answered before */
        return PROGRESS_SOME;
    case PASS_COPY:
        ex->no_bulk = true;
        return PROGRESS_SOME;
    case PASS_NONE:
    case PASS_SOME:
        break;
    }
    if (filled && !proxy_exchange_fast_enough(ex)) {
        return proxy_exchange_refuse(ex, 408, "the body comes too slowly");
    }
    return pass == PASS_SOME ? PROGRESS_SOME : PROGRESS_NONE;
}
