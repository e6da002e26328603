/* splice.c: large answers through a pipe, so that their bytes never enter this process.
 *
 * Owns: the pipes; a few empty ones are kept for the next large body.
 * Invariants: only for bodies with a length, only with nothing left in a buffer; a pipe with bytes
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

bool proxy_splice_wanted(const struct exchange *ex)
{
    return ex->out.framing == HTTP1_LENGTH && ex->out.left > SCRATCH_BYTES;
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

/* Pipe to client. 1 = empty, 0 = the client takes no more now, -errno. */
static int empty(struct exchange *ex)
{
    struct session *s = ex->session;
    struct pipe *pipe = ex->pipe;
    while (pipe->held) {
        if (!s->conn.writable) {
            return 0;
        }
        ssize_t n = splice(pipe->out, NULL, s->conn.fd, NULL, pipe->held,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EAGAIN) {
            s->conn.writable = false;
        } else if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return n < 0 ? -errno : -EPIPE;
        } else if (n > 0) {
            pipe->held -= (size_t)n;
            board_add(&ex->backend->row->bytes_out, (uint64_t)n);
            ex->sent_bytes += (uint64_t)n;
        }
    }
    return 1;
}

/* Backend to pipe: bytes, 0 = it ended, -errno. */
static ssize_t fill(struct exchange *ex)
{
    struct conn *c = &ex->up->conn;
    size_t most = ex->out.left < SPLICE_BYTES ? (size_t)ex->out.left : SPLICE_BYTES;
    ssize_t n;
    do {
        n = splice(c->fd, NULL, ex->pipe->in, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        int error = errno;
        c->readable = false;
        return -error;
    }
    ex->pipe->held += (size_t)n;
    ex->out.left -= (size_t)n;
    ex->out.done = !ex->out.left;
    return n;
}

enum progress proxy_splice_out(struct exchange *ex)
{
    struct session *s = ex->session;
    if (!ex->pipe) {
        ex->pipe = take(s->proxy);
        if (!ex->pipe) {
            return proxy_exchange_refuse(ex, 502, "out of file descriptors");
        }
    }
    ssize_t n = -EAGAIN;
    if (!ex->pipe->held && ex->up->conn.readable && !ex->out.done) {
        n = fill(ex);
        if (n <= 0 && n != -EAGAIN) {
            ex->failure = FAILURE_RESET;
            return proxy_exchange_abort(ex); /* cut off */
        }
    }
    int rc = empty(ex);
    if (rc < 0) {
        return proxy_exchange_abort(ex);
    }
    if (rc) {
        proxy_pipe_give(s->proxy, ex->pipe);
        ex->pipe = NULL;
        if (ex->out.done) {
            return proxy_exchange_finish(ex);
        }
    }
    return n > 0 ? PROGRESS_SOME : PROGRESS_NONE;
}
