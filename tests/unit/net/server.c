/* server.c: a scripted HTTP server for specs, on the loop of the test.
 *
 * Lua gives it raw bytes per path; it counts connections and requests and keeps
 * the last request, and a log of all. It answers on TCP and on unix sockets. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    ROUTES = 32,
    REQUEST_BYTES = 64 << 20,
    LOG_BYTES = 1 << 20
};

enum testserver_then { /* what happens behind the bytes */
    TESTSERVER_KEEP,
    TESTSERVER_CLOSE,
    TESTSERVER_HANG /* never another byte, also to later requests */
};

struct route {
    char path[64];
    char *bytes;
    size_t len;
    enum testserver_then then;
    uint32_t drip_ms; /* a byte each so often; 0 = all at once */
    bool once;        /* goes before the others of its path, and away after its use */
};

struct testserver {
    uv_loop_t *loop;
    uv_poll_t poll;
    int fd;
    uint32_t port;
    struct list peers;
    struct route routes[ROUTES];
    unsigned accepts, requests;
    struct buf last, log;
};

struct peer {
    struct list node;
    struct testserver *server;
    uv_poll_t poll;
    uv_timer_t timer;
    int fd;
    unsigned open;
    struct buf in, out;
    enum testserver_then then;
    uint32_t drip_ms;
    bool answering;
};

struct testserver *testserver_new(uv_loop_t *loop, const char *address);
uint32_t testserver_port(const struct testserver *s);
void testserver_route(struct testserver *s, const char *path, const char *bytes, size_t len,
                      enum testserver_then then, uint32_t drip_ms);
void testserver_once(struct testserver *s, const char *path, const char *bytes, size_t len,
                     enum testserver_then then, uint32_t drip_ms);
const char *testserver_log(const struct testserver *s, size_t *ret_len);
unsigned testserver_accepts(const struct testserver *s);
unsigned testserver_requests(const struct testserver *s);
unsigned testserver_open(const struct testserver *s);
const char *testserver_last(const struct testserver *s, size_t *ret_len);
void testserver_close(struct testserver *s);

static void on_peer_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    if (--p->open == 0) {
        close(p->fd);
        buf_free(&p->in);
        buf_free(&p->out);
        mem_free(p);
    }
}

static void drop(struct peer *p)
{
    if (uv_is_closing((uv_handle_t *)&p->poll)) {
        return;
    }
    list_remove(&p->node);
    uv_close((uv_handle_t *)&p->poll, on_peer_closed);
    uv_close((uv_handle_t *)&p->timer, on_peer_closed);
}

/* Length of the first whole request in `in`, or 0. */
static size_t request_len(const struct buf *in)
{
    const char *text = buf_str(in);
    const char *end = strstr(text, "\r\n\r\n");
    if (!end) {
        return 0;
    }
    size_t head = (size_t)(end - text) + 4;
    const char *length = strstr(text, "Content-Length: ");
    if (length && length < end) {
        uint64_t body = 0;
        struct str digits = {length + 16, strcspn(length + 16, "\r")};
        (void)str_to_u64(digits, &body);
        return in->len >= head + body ? head + (size_t)body : 0;
    }
    const char *chunked = strstr(text, "chunked");
    if (chunked && chunked < end) {
        const char *last = memmem(text + head - 2, in->len - head + 2, "\r\n0\r\n\r\n", 7);
        return last ? (size_t)(last - text) + 7 : 0;
    }
    return head;
}

static void take_requests(struct peer *p);
static void on_peer(uv_poll_t *poll, int status, int events);

static void send_some(struct peer *p)
{
    size_t len = p->drip_ms && p->out.len ? 1 : p->out.len;
    if (len) {
        ssize_t sent = send(p->fd, p->out.data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            drop(p);
            return;
        }
        buf_consume(&p->out, sent > 0 ? (size_t)sent : 0);
    }
    if (p->out.len) {
        if (!p->drip_ms) {
            uv_poll_start(&p->poll, UV_READABLE | UV_WRITABLE, on_peer);
        }
        return;
    }
    uv_timer_stop(&p->timer);
    uv_poll_start(&p->poll, UV_READABLE, on_peer);
    if (p->answering && p->then == TESTSERVER_CLOSE) {
        shutdown(p->fd, SHUT_RDWR);
        drop(p);
    } else if (p->answering && p->then == TESTSERVER_KEEP) {
        p->answering = false;
        take_requests(p);
    }
}

static void on_drip(uv_timer_t *timer)
{
    send_some(timer->data);
}

static struct route *route_of(struct testserver *s, const char *path, size_t len, bool once)
{
    for (struct route *r = s->routes; r < s->routes + ROUTES; r++) {
        if (r->bytes && r->once == once && strlen(r->path) == len && !memcmp(r->path, path, len)) {
            return r;
        }
    }
    return NULL;
}

static void answer(struct peer *p, const char *request)
{
    static const char missing[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const char *path = strchr(request, ' ');
    size_t len = path ? strcspn(++path, " ?") : 0;
    p->answering = true;
    p->then = TESTSERVER_KEEP;
    p->drip_ms = 0;
    struct route *r = route_of(p->server, path, len, true);
    r = r ? r : route_of(p->server, path, len, false);
    if (!r) {
        (void)buf_text(&p->out, missing);
        send_some(p);
        return;
    }
    (void)buf_append(&p->out, r->bytes, r->len);
    p->then = r->then;
    p->drip_ms = r->drip_ms;
    if (r->once) {
        mem_release(&r->bytes);
    }
    if (p->drip_ms) {
        uv_timer_start(&p->timer, on_drip, p->drip_ms, p->drip_ms);
    } else {
        send_some(p);
    }
}

static void take_requests(struct peer *p)
{
    size_t len = p->answering ? 0 : request_len(&p->in);
    if (!len) {
        return;
    }
    struct testserver *s = p->server;
    s->requests++;
    buf_clear(&s->last);
    (void)buf_append(&s->last, p->in.data, len);
    if (buf_append(&s->log, p->in.data, len) || buf_text(&s->log, "\n")) {
        buf_clear(&s->log);
    }
    buf_consume(&p->in, len);
    answer(p, buf_str(&s->last));
}

static void on_peer(uv_poll_t *poll, int status, int events)
{
    struct peer *p = poll->data;
    char bytes[65536];
    if (events & UV_WRITABLE) {
        send_some(p);
        if (uv_is_closing((uv_handle_t *)poll)) {
            return;
        }
    }
    if (status || events & UV_READABLE) {
        ssize_t got = recv(p->fd, bytes, sizeof bytes, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN) ||
            (got > 0 && buf_append(&p->in, bytes, (size_t)got))) {
            drop(p);
            return;
        }
        take_requests(p);
    }
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct testserver *s = poll->data;
    (void)events;
    int fd = status ? -1 : accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    s->accepts++;
    struct peer *p = mem_new(sizeof *p);
    *p = (struct peer){.server = s, .fd = fd, .open = 2};
    buf_init(&p->in, REQUEST_BYTES);
    buf_init(&p->out, REQUEST_BYTES);
    list_append(&s->peers, &p->node);
    uv_poll_init_socket(s->loop, &p->poll, fd);
    uv_timer_init(s->loop, &p->timer);
    p->poll.data = p->timer.data = p;
    uv_poll_start(&p->poll, UV_READABLE, on_peer);
}

struct testserver *testserver_new(uv_loop_t *loop, const char *address)
{
    struct net_addr addr;
    int fd;
    if (net_addr_parse(address, &addr) || net_listen(&addr, false, &fd)) {
        return NULL;
    }
    struct testserver *s = mem_new(sizeof *s);
    *s = (struct testserver){.loop = loop, .fd = fd};
    list_init(&s->peers);
    buf_init(&s->last, REQUEST_BYTES);
    buf_init(&s->log, LOG_BYTES);
    unsigned char bound[NET_ADDR_BYTES] = {0};
    socklen_t len = sizeof bound;
    getsockname(fd, (struct sockaddr *)bound, &len);
    s->port = (uint32_t)(bound[2] << 8 | bound[3]); /* the same place in both internet families */
    uv_poll_init_socket(loop, &s->poll, fd);
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_accept);
    return s;
}

uint32_t testserver_port(const struct testserver *s)
{
    return s->port;
}

static void set_route(struct route *r, const char *path, const char *bytes, size_t len)
{
    *r = (struct route){.bytes = mem_copy_bytes(bytes, len), .len = len};
    str_copy(r->path, sizeof r->path, path);
}

static struct route *free_route(struct testserver *s)
{
    struct route *r = s->routes;
    while (r->bytes) {
        r++;
        must(r < s->routes + ROUTES);
    }
    return r;
}

void testserver_route(struct testserver *s, const char *path, const char *bytes, size_t len,
                      enum testserver_then then, uint32_t drip_ms)
{
    struct route *r = route_of(s, path, strlen(path), false);
    if (r) {
        mem_release(&r->bytes);
    } else {
        r = free_route(s);
    }
    set_route(r, path, bytes, len);
    r->then = then;
    r->drip_ms = drip_ms;
}

void testserver_once(struct testserver *s, const char *path, const char *bytes, size_t len,
                     enum testserver_then then, uint32_t drip_ms)
{
    struct route *r = free_route(s);
    set_route(r, path, bytes, len);
    r->then = then;
    r->drip_ms = drip_ms;
    r->once = true;
}

const char *testserver_log(const struct testserver *s, size_t *ret_len)
{
    *ret_len = s->log.len;
    return buf_str(&s->log);
}

unsigned testserver_accepts(const struct testserver *s)
{
    return s->accepts;
}

unsigned testserver_requests(const struct testserver *s)
{
    return s->requests;
}

unsigned testserver_open(const struct testserver *s)
{
    unsigned count = 0;
    for (const struct list *at = s->peers.next; at != &s->peers; at = at->next) {
        count++;
    }
    return count;
}

const char *testserver_last(const struct testserver *s, size_t *ret_len)
{
    *ret_len = s->last.len;
    return buf_str(&s->last);
}

static void on_server_closed(uv_handle_t *handle)
{
    struct testserver *s = handle->data;
    for (struct route *r = s->routes; r < s->routes + ROUTES; r++) {
        mem_free(r->bytes);
    }
    buf_free(&s->last);
    buf_free(&s->log);
    mem_free(s);
}

void testserver_close(struct testserver *s)
{
    while (!list_empty(&s->peers)) {
        drop(list_owner(s->peers.next, struct peer, node));
    }
    close(s->fd);
    uv_close((uv_handle_t *)&s->poll, on_server_closed);
}
