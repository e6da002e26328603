/* conn.c: the connections of both sides; see internal.h.
 *
 * Invariants: while WRITING or later no byte of the peer is looked at; a request that waits points
 * at its connection and back, or at none once the peer has left. */
#include "admin/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/limits.h"
#include "base/mem.h"

static uint32_t timeout_of(const struct admin_conn *c)
{
    uint32_t ms = c->listener->admin->options.timeout_ms;
    return ms ? ms : ADMIN_TIMEOUT_MS;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct admin_conn *c = handle->data;
    if (--c->handles) {
        return;
    }
    struct admin *a = c->listener->admin;
    buf_free(&c->in);
    mem_free(c->out);
    mem_free(c->body);
    mem_free(c);
    admin_released(a);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    struct admin_conn *c = handle->data;
    /* One for all: libuv fills and hands it over before it asks again. */
    *ret_buf = uv_buf_init(c->listener->admin->scratch, ADMIN_SCRATCH_BYTES);
}

/* Closed both ways, as opposed to a peer that only sends no more and still reads. */
static bool hung_up(const struct admin_conn *c)
{
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&c->pipe, &fd)) {
        return true;
    }
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static void on_end(struct admin_conn *c)
{
    uv_read_stop((uv_stream_t *)&c->pipe);
    c->ended = true;
    switch (c->state) {
    case ADMIN_READING:
        c->listener->side->bytes(c);
        break;
    case ADMIN_WAITING:
        if (hung_up(c)) {
            admin_conn_close(c);
        }
        break;
    case ADMIN_LINGERING:
        admin_conn_close(c);
        break;
    case ADMIN_WRITING:
    case ADMIN_CLOSING:
    case ADMIN_CONN_STATES:
        break;
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct admin_conn *c = stream->data;
    if (n < 0) {
        on_end(c);
    } else if (n > 0 && c->state == ADMIN_READING) {
        size_t room = c->in.limit - c->in.len;
        c->overflow = (size_t)n > room;
        (void)buf_append(&c->in, bytes->base, c->overflow ? room : (size_t)n);
        c->listener->side->bytes(c);
    } else if (n > 0 && c->state == ADMIN_WAITING) {
        uv_read_stop(stream); /* it has no more to say that we would hear */
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct admin_conn *c = timer->data;
    if (c->state == ADMIN_READING) {
        c->listener->side->late(c);
    } else {
        admin_conn_close(c);
    }
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    struct admin_conn *c = shutdown->data;
    if (c->state == ADMIN_LINGERING && (status || c->ended)) {
        admin_conn_close(c);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct admin_conn *c = write->data;
    if (c->state != ADMIN_WRITING) {
        return;
    }
    if (status) {
        admin_conn_close(c);
        return;
    }
    c->state = ADMIN_LINGERING;
    uv_timer_start(&c->timer, on_timer, ADMIN_LINGER_MS, 0);
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->pipe, on_shutdown)) {
        admin_conn_close(c);
    }
}

/* Who is at the other end of a unix socket; false when that one may not ask. */
static bool identify(struct admin_conn *c)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&c->pipe, &fd) ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)) {
        return false;
    }
    snprintf(c->who, sizeof c->who, "uid %u pid %u", (unsigned)peer.uid, (unsigned)peer.pid);
    return peer.uid == 0 || peer.uid == geteuid();
}

static void refuse(struct admin_conn *c, const char *why)
{
    if (c->listener->side->refuse) {
        c->listener->side->refuse(c, why);
    }
    admin_conn_close(c);
}

void admin_conn_accept(uv_stream_t *server, int status)
{
    struct admin_listener *l = server->data;
    if (status) {
        return;
    }
    struct admin_conn *c = mem_new(sizeof *c);
    c->listener = l;
    buf_init(&c->in, l->side->limit);
    list_append(&l->admin->conns, &c->link);
    (void)uv_pipe_init(l->admin->options.loop, &c->pipe, 0);
    (void)uv_timer_init(l->admin->options.loop, &c->timer);
    c->pipe.data = c->timer.data = c->write.data = c;
    c->handles = 2;
    l->admin->handles++;
    l->clients++;
    int rc = uv_accept(server, (uv_stream_t *)&c->pipe);
    if (!rc && l->side->local && !identify(c)) {
        refuse(c, "only the user of the daemon and root may ask: run as one of them");
        return;
    }
    if (!rc && l->clients > LIMIT_ADMIN_CLIENTS) {
        refuse(c, "too many clients at once: try again");
        return;
    }
    if (rc || uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read)) {
        admin_conn_close(c);
        return;
    }
    uv_timer_start(&c->timer, on_timer, timeout_of(c), 0);
}

void admin_conn_write(struct admin_conn *c, char *bytes, size_t len)
{
    admin_conn_write_both(c, bytes, len, NULL, 0);
}

void admin_conn_write_both(struct admin_conn *c, char *head, size_t head_len, char *body,
                           size_t body_len)
{
    c->state = ADMIN_WRITING;
    c->out = head;
    c->body = body;
    uv_timer_start(&c->timer, on_timer, timeout_of(c), 0);
    uv_buf_t out[] = {uv_buf_init(head, (unsigned)head_len), uv_buf_init(body, (unsigned)body_len)};
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe, out, body_len ? 2 : 1, on_written)) {
        admin_conn_close(c);
    }
}

void admin_conn_wait(struct admin_conn *c)
{
    c->state = ADMIN_WAITING;
    uv_timer_stop(&c->timer);
}

void admin_conn_close(struct admin_conn *c)
{
    if (c->state == ADMIN_CLOSING) {
        return;
    }
    c->state = ADMIN_CLOSING;
    c->listener->clients--;
    admin_request_left(c);
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}
