/* connect.c: whether something accepts connections there; see net.h.
 *
 * Owns: one struct attempt per connection; it is freed when both of its
 * handles have closed.
 * Invariants: `done` is called once, from the timer or the poll, never from
 * net_try_connect: an outcome that is known at once waits for the timer. */
#include "net/net.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/mem.h"

struct attempt {
    uv_timer_t timer;
    uv_poll_t poll;
    int fd;
    int known;     /* outcome when the timer fires: of connect(2) itself, or -ETIMEDOUT */
    unsigned open; /* handles */
    uint64_t began_ms;
    net_connected_fn *done;
    void *arg;
};

static void on_closed(uv_handle_t *handle)
{
    struct attempt *a = handle->data;
    if (--a->open == 0) {
        close(a->fd);
        mem_free(a);
    }
}

static void finish(struct attempt *a, int error)
{
    net_connected_fn *done = a->done;
    void *arg = a->arg;
    uint32_t took = (uint32_t)(clock_now_ms() - a->began_ms);
    uv_close((uv_handle_t *)&a->timer, on_closed);
    if (a->open == 2) {
        uv_close((uv_handle_t *)&a->poll, on_closed);
    }
    done(arg, error, took);
}

static void on_timer(uv_timer_t *timer)
{
    struct attempt *a = timer->data;
    finish(a, a->known);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct attempt *a = poll->data;
    (void)events;
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len)) {
        error = errno;
    }
    finish(a, error ? -error : status);
}

int net_try_connect(struct uv_loop_s *loop, const struct net_addr *addr, uint32_t timeout_ms,
                    net_connected_fn *done, void *arg)
{
    sa_family_t family;
    memcpy(&family, addr->bytes, sizeof family);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    struct attempt *a = mem_new(sizeof *a);
    *a = (struct attempt){.fd = fd, .done = done, .arg = arg, .began_ms = clock_now_ms()};
    int rc = connect(fd, (const struct sockaddr *)addr->bytes, addr->len) ? -errno : 0;
    bool pending = rc == -EINPROGRESS;
    if (pending && (rc = uv_poll_init_socket(loop, &a->poll, fd))) {
        close(fd);
        mem_free(a);
        return rc;
    }
    a->known = pending ? -ETIMEDOUT : rc;
    a->open = pending ? 2 : 1;
    uv_update_time(loop); /* else a busy loop's old time shortens the attempt */
    uv_timer_init(loop, &a->timer);
    a->timer.data = a->poll.data = a;
    uv_timer_start(&a->timer, on_timer, pending ? timeout_ms : 0, 0);
    if (pending) {
        uv_poll_start(&a->poll, UV_WRITABLE, on_poll);
    }
    return 0;
}
