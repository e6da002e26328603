/* h2_fuzz.c: libFuzzer target of HTTP/2 to clients (scripts/dev fuzz): frames through nghttp2 into our calls, and answers back.
 *
 * The first byte says in which pieces the rest comes, whether the preface comes before it, and how much of what goes out is taken.
 * Behind the carrier stands a double in place of sessions and exchanges, which answers in one of several ways by the request's path. Beside memory
 * errors it checks that a head made of fields reads as HTTP/1.1 with exactly these lines, that bodies are never more than a window, and that
 * nothing is left of a connection that has ended.
 * sources: core/proxy/h2.c core/proxy/h2_frames.c core/proxy/h2_head.c core/proxy/h2_stream.c core/proxy/h2_limits.c core/proxy/pool.c core/net/http1_request.c core/net/http1_response.c core/net/http1_fields.c core/net/http1_chunks.c core/base/str.c -lnghttp2
 */
#include "proxy/h2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    BLOCKS = 24, /* few: running out is tried too */
    STREAMS = 64
};

/* How a request is answered. */
enum way {
    WAY_AT_ONCE,
    WAY_IN_PIECES,
    WAY_CUT,
    WAY_ECHO, /* with trailers */
    WAY_LARGE,
    WAY_NEVER,
    WAYS
};

struct answer {
    struct session session;
    enum way way;
    uint32_t step;
    uint64_t read;
    bool over;
};

static struct proxy proxy;
static struct port port;
static struct listener listener;
static struct timeout timeout;
static struct session client;
static struct board_worker numbers;
static struct answer answers[STREAMS];
static struct {
    const uint8_t *at, *end;
    size_t piece, room;
} wire;

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

void err_must_failed(const char *what, const char *file, int line)
{
    (void)what;
    (void)file;
    (void)line;
    abort();
}

/* ---- in place of the rest of the proxy ---------------------------------------------------- */

void board_add(uint64_t *field, uint64_t amount)
{
    *field += amount;
}

void board_sub(uint64_t *field, uint64_t amount)
{
    check(*field >= amount);
    *field -= amount;
}

void proxy_fact(struct proxy *p, const char *kind, const char *text)
{
    (void)p;
    check(kind[0] && text[0]);
}

uint64_t proxy_random(struct proxy *p)
{
    return p->random[0] = p->random[0] * 6364136223846793005u + 1442695040888963407u;
}

int proxy_conn_register(struct proxy *p, struct conn *c)
{
    (void)p;
    c->registered = true;
    return 0;
}

void proxy_conn_init(struct conn *c, enum conn_kind kind, int fd)
{
    *c = (struct conn){.fd = fd, .kind = (uint8_t)kind};
    list_init(&c->node);
}

void proxy_timeout_start(struct proxy *p, struct conn *c, struct timeout *t)
{
    static struct timeout any;
    (void)p;
    c->timeout = t ? t : &any;
}

void proxy_timeout_keep(struct proxy *p, struct conn *c, struct timeout *t, bool moved)
{
    (void)p;
    (void)moved;
    c->timeout = t;
}

void proxy_timeout_stop(struct conn *c)
{
    c->timeout = NULL;
}

ssize_t proxy_conn_recv(struct conn *c, void *to, size_t size)
{
    size_t left = (size_t)(wire.end - wire.at);
    size_t n = wire.piece < left ? wire.piece : left;
    n = n < size ? n : size;
    c->readable = false;
    if (!n) {
        return -EAGAIN;
    }
    memcpy(to, wire.at, n);
    wire.at += n;
    return (ssize_t)n;
}

int proxy_session_send(struct session *s, const struct iovec *iov, int count)
{
    check(count == 1 && iov->iov_len <= SCRATCH_BYTES);
    if (iov->iov_len <= wire.room && !s->out) {
        wire.room -= iov->iov_len;
        return 0;
    }
    s->out = s->out ? s->out : proxy_block_take(s->proxy);
    if (!s->out || s->out->len + iov->iov_len > BLOCK_BYTES) {
        return -ENOBUFS;
    }
    memcpy(s->out->bytes + s->out->len, iov->iov_base, iov->iov_len);
    s->out->len += (uint32_t)iov->iov_len;
    return 0;
}

int proxy_session_flush(struct session *s)
{
    if (s->out && wire.room) {
        proxy_block_give(s->proxy, &s->out);
    }
    return !s->out;
}

void proxy_session_kill(struct session *s, bool reset)
{
    if (s->state == SESSION_DEAD) {
        return;
    }
    s->state = SESSION_DEAD;
    if (s->carrier) {
        s->carrier->over(s, reset);
        list_owner(s, struct answer, session)->over = true;
        return;
    }
    proxy_h2_free(s);
    proxy_block_give(s->proxy, &s->in);
    proxy_block_give(s->proxy, &s->out);
}

struct session *proxy_session_carry(struct proxy *p, struct listener *l,
                                    const struct carrier *carrier, void *carried,
                                    const struct net_ip *from, uint16_t from_port)
{
    (void)from;
    (void)from_port;
    for (int i = 0; i < STREAMS; i++) {
        struct answer *a = &answers[i];
        if (a->over) {
            memset(a, 0, sizeof *a);
            a->session.proxy = p;
            a->session.listener = l;
            a->session.carrier = carrier;
            a->session.carried = carried;
            a->session.state = SESSION_EXCHANGE;
            a->session.conn.readable = true;
            return &a->session;
        }
    }
    return NULL;
}

static struct str text(const char *from)
{
    return (struct str){from, strlen(from)};
}

static int send(struct session *s, const char *head, struct str data, bool last,
                const char *trailers)
{
    return s->carrier->send(s, text(head), data, last, text(trailers));
}

/* One step of the answer; whether there may be another. */
static bool answer(struct answer *a)
{
    static char large[60000];
    struct session *s = &a->session;
    const char ok[] = "HTTP/1.1 200 OK\r\nX-Some: thing\r\nConnection: close\r\n\r\n";
    struct str none = {NULL, 0};
    int rc = 0;
    bool last = false;
    switch (a->way) {
    case WAY_AT_ONCE:
        last = true;
        rc = send(s, ok, text(a->read % 2 ? "hello" : ""), true, "");
        break;
    case WAY_IN_PIECES:
        last = a->step == 4;
        rc = a->step == 0   ? send(s, "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n", none, false, "")
             : a->step == 1 ? send(s, ok, none, false, "")
                            : send(s, "", (struct str){large, a->step * 1000}, last, "");
        break;
    case WAY_LARGE:
        last = a->step == 3;
        rc = send(s, a->step ? "" : ok, (struct str){large, sizeof large}, last, "");
        break;
    case WAY_ECHO: {
        ssize_t n = s->carrier->recv(s, large, sizeof large);
        if (n == -EAGAIN) {
            return false;
        }
        check(n <= H2_WINDOW_BYTES);
        last = n == 0;
        rc = n < 0 ? (int)n
                   : send(s, a->step ? "" : ok, (struct str){large, (size_t)n}, last,
                          last ? "X-Sum: 1\r\n\r\n" : "");
        break;
    }
    case WAY_CUT:
    case WAYS:
        rc = -EPIPE;
        break;
    case WAY_NEVER:
        return false;
    }
    a->step++;
    if (rc) {
        proxy_session_kill(s, true);
    } else if (last) {
        s->state = SESSION_CLOSING;
    }
    return true;
}

void proxy_session_step(struct session *s)
{
    struct answer *a = list_owner(s, struct answer, session);
    for (int i = 0; i < 16 && s->state != SESSION_DEAD; i++) {
        int rc = s->carrier->flush(s);
        if (rc < 0 || (rc && s->state == SESSION_CLOSING)) {
            proxy_session_kill(s, rc < 0);
            return;
        }
        if (!rc || !answer(a)) {
            return;
        }
    }
}

static struct http1_head head;

void proxy_session_request(struct session *s, struct str in, struct route *route)
{
    size_t used = 0;
    int status = 0;
    check(!route);
    /* No field may have brought a line of its own. */
    size_t lines = 0;
    for (size_t i = 0; i < in.len; i++) {
        lines += in.ptr[i] == '\n';
        check(in.ptr[i] != '\n' || (i && in.ptr[i - 1] == '\r'));
        check(in.ptr[i] != '\r' || (i + 1 < in.len && in.ptr[i + 1] == '\n'));
    }
    enum http1_result result = http1_parse_request(in, &head, &used, &status);
    if (result != HTTP1_DONE) {
        proxy_session_kill(s, true);
        return;
    }
    check(used == in.len && lines == head.field_count + 2);
    struct answer *a = list_owner(s, struct answer, session);
    a->way = (enum way)(head.path.len % WAYS);
    a->read = head.path.len;
    proxy_session_step(s);
}

void proxy_session_refuse(struct session *s, int status, const char *why)
{
    check(status >= 400 && why[0]);
    (void)send(s, "HTTP/1.1 400 Bad Request\r\n\r\n", text(why), true, "");
    s->state = SESSION_CLOSING;
    proxy_session_step(s);
}

/* ---- the target -------------------------------------------------------------------------- */

static void begin(void)
{
    static bool made;
    struct proxy *p = &proxy;
    if (!made) {
        made = true;
        check(!proxy_pool_init(&p->h2_pool, sizeof(struct h2), 2));
        check(!proxy_pool_init(&p->stream_pool, sizeof(struct h2_stream), STREAMS));
        check(!proxy_pool_init(&p->block_pool, sizeof(struct block), BLOCKS));
    }
    list_init(&p->h2_due);
    list_init(&p->ready);
    p->numbers = &numbers;
    p->now_ms = 1000;
    port.client_timeout = port.header_timeout = &timeout;
    listener.port = &port;
    for (int i = 0; i < STREAMS; i++) {
        answers[i].over = true;
    }
    client = (struct session){.proxy = p, .listener = &listener, .state = SESSION_HEAD};
    client.conn.writable = true;
    list_init(&client.ready);
}

static void round_of(uint8_t control)
{
    wire.room = control & 32 ? 2000 : 1 << 20;
    proxy.now_ms += 3;
    client.conn.readable = true;
    if (client.state == SESSION_H2) {
        (void)proxy_h2_step(&client);
    }
    proxy_h2_run(&proxy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    if (size < 2) {
        return 0;
    }
    uint8_t control = data[0];
    begin();
    wire.at = data + 1;
    wire.end = data + size;
    wire.piece = control & 7 ? (size_t)(control & 7) * (control & 8 ? 1 : 100) : size;
    struct str first = {hello, control & 16 ? 0 : sizeof hello - 1};
    if (proxy_h2_begin(&client, first)) {
        while (client.state == SESSION_H2 && wire.at < wire.end) {
            round_of(control);
        }
    }
    if (client.state == SESSION_H2 && control & 64) {
        proxy_h2_drain(&client);
        round_of(control);
        proxy_h2_timeout(&client);
    }
    for (int i = 0; i < 4 && client.state == SESSION_H2; i++) {
        round_of(control & ~32);
    }
    proxy_session_kill(&client, true);
    proxy_block_give(&proxy, &client.out);
    for (int i = 0; i < STREAMS; i++) {
        check(answers[i].over);
    }
    check(!proxy.block_pool.used && !proxy.stream_pool.used && !proxy.h2_pool.used);
    check(!numbers.h2_connections && list_empty(&proxy.h2_due));
    return 0;
}
