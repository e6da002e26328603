/* ipc.c: see ipc.h.
 *
 * Frame: u32 length of the payload, u16 type, u16 has_fd, u32 generation, in the machine's own
 * byte order (both ends are the same binary), then the payload. A descriptor rides on the first
 * byte of its frame; since the kernel never merges bytes across one, the receiver pairs
 * descriptors with frames in order.
 *
 * Owns: the socket, the queue of frames to send, the buffer of bytes received.
 * Invariants: sending tries at once and queues the rest, so order is kept and nothing blocks. */
#include "ipc/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"

enum {
    RECEIVE_BYTES = 64 << 10, /* one read */
    FDS_WAITING = 128         /* received descriptors whose frames are not complete yet */
};

struct frame_head {
    uint32_t len;
    uint16_t type;
    uint16_t has_fd;
    uint32_t generation;
};

struct frame {
    struct list node;
    int fd;      /* -1 = none, or sent already */
    bool secret; /* has keys in it */
    size_t len, sent;
    char bytes[]; /* head and payload */
};

struct ipc {
    uv_poll_t poll;
    int fd;
    bool failed; /* told by on_closed */
    bool closing;
    bool want_write;
    ipc_message_fn *on_message;
    ipc_closed_fn *on_closed;
    void *arg;
    struct list queue; /* of struct frame */
    struct buf in;
    int fds[FDS_WAITING];
    unsigned fd_count;
};

static void fail(struct ipc *c, int error)
{
    if (c->failed || c->closing) {
        return;
    }
    c->failed = true;
    uv_poll_stop(&c->poll);
    c->on_closed(c->arg, error);
}

/* ---- Receiving ------------------------------------------------------------------------- */

static int take_fd(struct ipc *c)
{
    if (!c->fd_count) {
        return -1;
    }
    int fd = c->fds[0];
    c->fd_count--;
    memmove(c->fds, c->fds + 1, c->fd_count * sizeof c->fds[0]);
    return fd;
}

/* Hands out every complete frame; 0 or -EPROTO. */
static int deliver(struct ipc *c)
{
    size_t at = 0;
    int rc = 0;
    while (!c->closing && !rc) {
        struct frame_head h;
        if (c->in.len - at < sizeof h) {
            break;
        }
        memcpy(&h, c->in.data + at, sizeof h);
        if (h.len > LIMIT_IPC_BYTES || h.type >= IPC_TYPES || h.has_fd > 1) {
            rc = -EPROTO;
            break;
        }
        c->in.secret = c->in.secret || h.type == IPC_CERTIFICATES;
        if (c->in.len - at - sizeof h < h.len) {
            break;
        }
        int fd = h.has_fd ? take_fd(c) : -1;
        if (h.has_fd && fd < 0) {
            rc = -EPROTO;
            break;
        }
        /* The payload's end is the next frame's start: lend it a NUL for the time of the call. */
        char *data = c->in.data + at + sizeof h;
        char saved = data[h.len];
        data[h.len] = '\0';
        struct ipc_message m = {(enum ipc_type)h.type, h.generation, data, h.len, fd};
        c->on_message(c->arg, &m);
        data[h.len] = saved;
        if (h.type == IPC_CERTIFICATES) {
            mem_wipe(data, h.len);
        }
        at += sizeof h + h.len;
    }
    buf_consume(&c->in, at);
    return rc;
}

static void keep_fds(struct ipc *c, struct msghdr *msg)
{
    for (struct cmsghdr *cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm)) {
        if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cm) + i * sizeof fd, sizeof fd);
            if (c->fd_count < FDS_WAITING) {
                c->fds[c->fd_count++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

/* One read; returns bytes, 0 at the end, or -errno. */
static ssize_t receive(struct ipc *c)
{
    char bytes[RECEIVE_BYTES];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t got = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0) {
        return -errno;
    }
    keep_fds(c, &msg);
    if (got > 0 && buf_append(&c->in, bytes, (size_t)got)) {
        got = -EPROTO;
    }
    if (c->in.secret) {
        mem_wipe(bytes, sizeof bytes);
    }
    return got;
}

static void on_readable(struct ipc *c)
{
    ssize_t got = receive(c);
    if (got == -EAGAIN || got == -EINTR) {
        return;
    }
    int rc = got > 0 ? deliver(c) : (int)got;
    if (got <= 0 || rc) {
        fail(c, rc);
    }
}

/* ---- Sending --------------------------------------------------------------------------- */

static void frame_free(struct frame *f)
{
    list_remove(&f->node);
    if (f->fd >= 0) {
        close(f->fd);
    }
    if (f->secret) {
        mem_wipe(f->bytes, f->len);
    }
    mem_free(f);
}

static ssize_t send_some(struct ipc *c, struct frame *f)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {f->bytes + f->sent, f->len - f->sent};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (f->fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
        struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cm), &f->fd, sizeof f->fd);
    }
    ssize_t sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : sent;
}

/* Sends what goes; 0, or -errno other than "later". */
static int flush(struct ipc *c)
{
    while (!list_empty(&c->queue)) {
        struct frame *f = list_owner(c->queue.next, struct frame, node);
        ssize_t sent = send_some(c, f);
        if (sent == -EAGAIN || sent == -EINTR || sent == -ENOBUFS) {
            return 0;
        }
        if (sent < 0) {
            return (int)sent;
        }
        if (f->fd >= 0) {
            close(f->fd);
            f->fd = -1;
        }
        f->sent += (size_t)sent;
        if (f->sent == f->len) {
            frame_free(f);
        }
    }
    return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct ipc *c)
{
    bool want_write = !list_empty(&c->queue);
    if (!c->failed && !c->closing && want_write != c->want_write) {
        c->want_write = want_write;
        uv_poll_start(&c->poll, UV_READABLE | (want_write ? UV_WRITABLE : 0), on_poll);
    }
}

static void release(struct ipc *c)
{
    buf_free(&c->in);
    mem_free(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct ipc *c = poll->data;
    if (status < 0) {
        fail(c, status);
    }
    if (!c->failed && !c->closing && (events & UV_READABLE)) {
        on_readable(c);
    }
    if (!c->failed && !c->closing && (events & UV_WRITABLE)) {
        int rc = flush(c);
        if (rc) {
            fail(c, rc);
        }
    }
    watch(c);
}

int ipc_send(struct ipc *c, enum ipc_type type, uint32_t generation, const char *data, size_t len,
             int fd)
{
    if (c->failed || c->closing) {
        return -EPIPE;
    }
    if (len > LIMIT_IPC_BYTES) {
        return -EMSGSIZE;
    }
    int copy = -1;
    if (fd >= 0 && (copy = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) {
        return -errno;
    }
    struct frame_head h = {(uint32_t)len, (uint16_t)type, fd >= 0, generation};
    struct frame *f = mem_new(sizeof *f + sizeof h + len);
    f->fd = copy;
    f->secret = type == IPC_CERTIFICATES;
    f->len = sizeof h + len;
    memcpy(f->bytes, &h, sizeof h);
    if (len) {
        memcpy(f->bytes + sizeof h, data, len);
    }
    list_append(&c->queue, &f->node);
    /* A broken socket shows on the next poll too; on_closed must not run inside a send. */
    (void)flush(c);
    watch(c);
    return 0;
}

int ipc_send_text(struct ipc *c, enum ipc_type type, uint32_t generation, const char *text)
{
    return ipc_send(c, type, generation, text, strlen(text), -1);
}

/* ---- Life ------------------------------------------------------------------------------ */

int ipc_open(struct uv_loop_s *loop, int fd, ipc_message_fn *on_message, ipc_closed_fn *on_closed,
             void *arg, struct ipc **ret_channel)
{
    struct ipc *c = mem_new(sizeof *c);
    int rc = uv_poll_init(loop, &c->poll, fd);
    if (rc) {
        mem_free(c);
        return rc;
    }
    c->poll.data = c;
    c->fd = fd;
    c->on_message = on_message;
    c->on_closed = on_closed;
    c->arg = arg;
    list_init(&c->queue);
    buf_init(&c->in, LIMIT_IPC_BYTES + RECEIVE_BYTES + sizeof(struct frame_head));
    uv_poll_start(&c->poll, UV_READABLE, on_poll);
    *ret_channel = c;
    return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void ipc_close(struct ipc *c)
{
    if (!c || c->closing) {
        return;
    }
    c->closing = true;
    while (!list_empty(&c->queue)) {
        frame_free(list_owner(c->queue.next, struct frame, node));
    }
    while (c->fd_count) {
        close(take_fd(c));
    }
    uv_poll_stop(&c->poll);
    uv_close((uv_handle_t *)&c->poll, on_poll_closed);
    close(c->fd);
}

int ipc_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0 ? -errno
                                                                                           : 0;
}
