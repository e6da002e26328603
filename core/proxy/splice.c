/* splice.c: large answers, and what is much in a tunnel, through a pipe, so that their bytes never
 * enter this process.
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

bool proxy_splice_ready(struct exchange *ex)
{
    if (ex->out.framing == HTTP1_LENGTH && ex->out.left > SCRATCH_BYTES) {
        ex->pipe = take(ex->session->proxy);
    }
    return ex->pipe != NULL;
}

enum progress proxy_splice_out(struct exchange *ex)
{
    struct session *s = ex->session;
    ssize_t n = -EAGAIN;
    bool waited = ex->pipe->held > 0;
    if (!waited && ex->up->conn.readable && !ex->out.done) {
        n = fill(ex->pipe, &ex->up->conn,
                 ex->out.left < SPLICE_BYTES ? (size_t)ex->out.left : SPLICE_BYTES);
        if (n <= 0 && n != -EAGAIN) {
            ex->failure = FAILURE_RESET;
            return proxy_exchange_abort(ex); /* cut off */
        }
        ex->out.left -= n > 0 ? (uint64_t)n : 0;
        ex->out.done = !ex->out.left;
    }
    uint64_t moved = 0;
    int rc = empty(ex->pipe, &s->conn, &moved);
    board_add(&ex->backend->row->bytes_out, moved);
    ex->sent_bytes += moved;
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
    /* A pipe that was waited for is empty now: the backend's edge may be long past. */
    return n > 0 || (rc && waited) ? PROGRESS_SOME : PROGRESS_NONE;
}
