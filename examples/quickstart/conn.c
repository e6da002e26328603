/* conn.c - the life of one connection, see server.h.
 *
 * Edge-triggered: `readable` and `writable` remember what epoll said until a call says otherwise.
 * A step function does one bounded thing and returns whether another step can follow. */
#define _GNU_SOURCE 1
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 4096,       /* room for a head */
    READ_BODY_BYTES = 65536, /* room for a piece of a body */
    OUT_HIGH_BYTES = 262144, /* more is not produced before this is sent */
    LINGER_US = 1000000,
};

struct conn_job {
    struct load_job job;
    struct conn *conn; /* NULL when it went before the job was done */
    void (*fn)(struct conn *c, const struct load_job *job);
};

uint64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Counts the request's end; status STATS_ABORTED when it got no complete answer. */
static void request_count(struct conn *c, int status)
{
    struct server *s = c->server;

    if (c->busy) {
        c->busy = false;
        s->stats.in_flight--;
        stats_request(&s->stats, route_index(c->route), status, c->route && c->route->observer,
                      c->began_us, clock_us());
    }
}

static void request_finish(struct conn *c)
{
    request_count(c, c->status);
    free(c->head);
    c->head = NULL;
    c->state = c->keep_alive && !c->server->draining ? CONN_HEAD : CONN_FINISH;
}

/* reading ------------------------------------------------------------------------------------ */

/* One read. Returns whether bytes came; the end of input moves the connection on itself. */
static bool conn_read(struct conn *c, size_t room)
{
    if (!c->readable) {
        return false;
    }
    char *to = bytes_reserve(&c->in, room);
    ssize_t n = recv(c->fd, to, room, 0);
    if (n > 0) {
        bytes_grown(&c->in, (size_t)n);
        /* A short read emptied the socket; only a hang-up seen before could lie behind it. */
        c->readable = (size_t)n == room || c->half_closed;
        return true;
    }
    if (n < 0 && errno == EINTR) {
        return true;
    }
    if (n < 0 && errno == EAGAIN) {
        c->readable = false;
        return false;
    }
    c->readable = false;
    c->ended = true;
    if (n == 0 && c->state == CONN_HEAD && bytes_len(&c->in) == 0) {
        c->state = CONN_FINISH;
    } else {
        conn_close(c);
    }
    return false;
}

static void refuse(struct conn *c, int status)
{
    c->keep_alive = false;
    c->answer = (struct answer){0};
    reply_json(c, status, "{\"error\":\"%s\"}\n", http_reason(status));
}

static void dispatch(struct conn *c, const struct http_request *r)
{
    if (!c->route) {
        reply_json(c, 404, "{\"error\":\"no such path\"}\n");
    } else if (!route_allows(c->route, r->method)) {
        reply_not_allowed(c);
    } else {
        c->route->fn(c, r);
    }
}

/* The request has a body: keeps the head until it has been read. */
static void body_begin(struct conn *c, const struct http_request *r, const char *head, size_t len)
{
    bool echo = c->sink == SINK_ECHO;

    c->chunked_in = r->chunked;
    c->chunks = (struct http_chunks){0};
    c->body_left = r->length;
    if (r->length > c->server->options.body_max_bytes) {
        refuse(c, 413);
        return;
    }
    if (r->expects_continue && bytes_len(&c->in) == 0) {
        static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";
        bytes_add(&c->out, CONTINUE, sizeof CONTINUE - 1);
    }
    if (echo) {
        dispatch(c, r);
    } else {
        c->head = malloc(len);
        if (!c->head) {
            refuse(c, 503);
            return;
        }
        memcpy(c->head, head, len);
        c->head_len = len;
    }
    c->state = CONN_BODY;
}

static void request_begin(struct conn *c, const struct http_request *r)
{
    c->route = route_find(r->path);
    c->keep_alive = r->keep_alive && !c->server->draining;
    c->old_http = r->minor == 0;
    c->head_only = r->method == HTTP_HEAD;
    c->sink = c->route && route_allows(c->route, r->method) ? c->route->sink : SINK_DISCARD;
    c->body_bytes = 0;
    if (c->sink == SINK_HASH) {
        sha256_start(&c->hash);
    }
}

static bool step_head(struct conn *c)
{
    struct http_request *r = &c->server->request;

    if (bytes_len(&c->out) >= OUT_HIGH_BYTES) {
        c->throttled = true;
        return false;
    }
    while (c->searched == 0 && bytes_len(&c->in) >= 2 && memcmp(bytes_at(&c->in), "\r\n", 2) == 0) {
        bytes_take(&c->in, 2);
    }
    size_t len = bytes_len(&c->in);
    size_t head_len = len > 0 ? http_head_length(bytes_at(&c->in), len, c->searched) : 0;
    c->searched = len;
    if (head_len == 0 && len < HTTP_HEAD_MAX) {
        return conn_read(c, READ_BYTES);
    }
    c->searched = 0;
    c->began_us = clock_us();
    c->busy = true;
    c->server->stats.in_flight++;
    c->count++;
    c->route = NULL;
    c->head_only = false;
    const char *head = bytes_at(&c->in);
    int status =
        head_len == 0 || head_len > HTTP_HEAD_MAX ? 431 : http_head_parse(head, head_len, r);
    if (status) {
        refuse(c, status);
        return true;
    }
    bytes_take(&c->in, head_len); /* its bytes stay where they are until the next read */
    request_begin(c, r);
    if (r->chunked || r->length > 0) {
        body_begin(c, r, head, head_len);
    } else {
        dispatch(c, r);
    }
    return true;
}

static void body_take(struct conn *c, struct str piece)
{
    c->body_bytes += piece.len;
    if (c->sink == SINK_HASH) {
        sha256_add(&c->hash, piece.at, piece.len);
    } else if (c->sink == SINK_ECHO && !c->head_only && piece.len > 0) {
        if (c->chunked_in) {
            bytes_addf(&c->out, "%zx\r\n", piece.len);
        }
        bytes_add(&c->out, piece.at, piece.len);
        if (c->chunked_in) {
            bytes_add(&c->out, "\r\n", 2);
        }
    }
}

static void body_end(struct conn *c)
{
    if (c->sink == SINK_ECHO) {
        if (c->chunked_in && !c->head_only) {
            bytes_add(&c->out, "0\r\n\r\n", 5);
        }
        request_finish(c);
        return;
    }
    http_head_parse(c->head, c->head_len, &c->server->request);
    dispatch(c, &c->server->request);
}

/* A body that cannot be read to its end. */
static void body_fail(struct conn *c, int status)
{
    if (c->sink == SINK_ECHO) {
        conn_close(c); /* the answer has begun: cutting it off is all that can be said */
    } else {
        refuse(c, status);
    }
}

static bool step_body(struct conn *c)
{
    struct str piece = {NULL, 0};
    size_t len = bytes_len(&c->in), used = 0;

    if (bytes_len(&c->out) >= OUT_HIGH_BYTES) {
        c->throttled = true;
        return false;
    }
    if (len == 0) {
        return conn_read(c, READ_BODY_BYTES);
    }
    if (c->chunked_in) {
        used = http_chunks_next(&c->chunks, bytes_at(&c->in), len, &piece);
    } else {
        used = len < c->body_left ? len : (size_t)c->body_left;
        piece = (struct str){bytes_at(&c->in), used};
        c->body_left -= used;
    }
    body_take(c, piece);
    bytes_take(&c->in, used);
    if (c->chunked_in && c->chunks.state == HTTP_CHUNK_BAD) {
        body_fail(c, 400);
    } else if (c->body_bytes > c->server->options.body_max_bytes) {
        body_fail(c, 413);
    } else if (c->chunked_in ? c->chunks.state == HTTP_CHUNK_DONE : c->body_left == 0) {
        body_end(c);
    }
    return true;
}

/* answering ---------------------------------------------------------------------------------- */

static void on_pause_over(struct conn *c)
{
    c->state = CONN_SEND;
}

static bool step_send(struct conn *c)
{
    struct answer *a = &c->answer;

    if (a->left == 0 || c->head_only) {
        if (a->chunk && !c->head_only && !c->old_http) {
            bytes_add(&c->out, "0\r\n\r\n", 5);
        }
        c->keep_alive = c->keep_alive && !a->cut;
        request_finish(c);
        return true;
    }
    if (bytes_len(&c->out) >= OUT_HIGH_BYTES) {
        c->throttled = true;
        return false;
    }
    reply_piece_add(c);
    if (a->left > 0 && a->pause_us > 0) {
        conn_wait(c, a->pause_us, on_pause_over);
    }
    return true;
}

static bool step_linger(struct conn *c)
{
    bytes_take(&c->in, bytes_len(&c->in));
    return conn_read(c, READ_BYTES);
}

static bool step(struct conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return step_head(c);
    case CONN_BODY:
        return step_body(c);
    case CONN_SEND:
        return step_send(c);
    case CONN_LINGER:
        return step_linger(c);
    case CONN_WAIT:
    case CONN_FINISH:
    case CONN_GONE:
        break;
    }
    return false;
}

/* Sends what it can. Returns whether nothing is left to send. */
static bool flush(struct conn *c)
{
    while (c->state != CONN_GONE && c->writable && bytes_len(&c->out) > 0) {
        ssize_t n = send(c->fd, bytes_at(&c->out), bytes_len(&c->out), MSG_NOSIGNAL);
        if (n >= 0) {
            bytes_take(&c->out, (size_t)n);
        } else if (errno == EAGAIN) {
            c->writable = false;
        } else if (errno != EINTR) {
            conn_close(c);
        }
    }
    return bytes_len(&c->out) == 0;
}

static void on_linger_over(void *arg)
{
    conn_close(arg);
}

/* Steps until nothing more can be done now. */
static void conn_run(struct conn *c)
{
    do {
        c->throttled = false;
        while (step(c)) {
        }
    } while (flush(c) && c->throttled);

    if (c->state == CONN_FINISH && bytes_len(&c->out) == 0) {
        if (c->ended) {
            conn_close(c);
        } else {
            /* Closing with unread input would reset the connection and take the answer along. */
            shutdown(c->fd, SHUT_WR);
            c->state = CONN_LINGER;
            server_timer_arm(c->server, &c->timer, LINGER_US, on_linger_over, c);
            while (step(c)) {
            }
        }
    }
    if (c->state == CONN_HEAD && bytes_len(&c->in) == 0 && bytes_len(&c->out) == 0) {
        bytes_free(&c->in); /* an idle connection costs no buffers */
        bytes_free(&c->out);
    }
}

static void on_conn(struct source *source, uint32_t events)
{
    struct conn *c = (struct conn *)source;

    if (c->state == CONN_GONE) {
        return;
    }
    c->readable = c->readable || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    c->writable = c->writable || (events & EPOLLOUT);
    c->half_closed = c->half_closed || (events & EPOLLRDHUP);
    if (c->state == CONN_WAIT &&
        ((events & (EPOLLERR | EPOLLHUP)) || (c->hangs && c->half_closed))) {
        conn_close(c);
    } else {
        conn_run(c);
    }
}

void conn_open(struct server *s, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    struct conn *c = calloc(1, sizeof *c);

    if (!c) {
        close(fd);
        return;
    }
    event.data.ptr = &c->source;
    c->source.fn = on_conn;
    c->server = s;
    c->fd = fd;
    c->id = ++s->next_id;
    c->next = s->conns;
    if (s->conns) {
        s->conns->prev = c;
    }
    s->conns = c;
    s->stats.connections++;
    s->stats.connections_total++;
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        conn_close(c);
    }
}

void conn_drain(struct conn *c)
{
    c->readable = true; /* a request may have come that epoll has not told of yet */
    if (c->state == CONN_HEAD) {
        conn_run(c);
    }
    if (c->state == CONN_HEAD && bytes_len(&c->in) == 0) {
        c->state = CONN_FINISH;
        conn_run(c);
    }
}

void conn_close(struct conn *c)
{
    struct server *s = c->server;

    if (c->state == CONN_GONE) {
        return;
    }
    request_count(c, STATS_ABORTED);
    server_timer_stop(s, &c->timer);
    if (c->job) {
        ((struct conn_job *)c->job)->conn = NULL;
        c->job = NULL;
    }
    close(c->fd);
    c->fd = -1;
    c->state = CONN_GONE;
    if (c->prev) {
        c->prev->next = c->next;
    } else {
        s->conns = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    c->next = s->gone;
    s->gone = c;
    s->stats.connections--;
}

void conn_reset(struct conn *c)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    conn_close(c);
}

void conn_free(struct conn *c)
{
    free(c->head);
    bytes_free(&c->in);
    bytes_free(&c->out);
    free(c);
}

static void on_timer(void *arg)
{
    struct conn *c = arg;
    void (*fn)(struct conn *) = c->wait_fn;

    fn(c);
    conn_run(c);
}

void conn_wait(struct conn *c, uint64_t after_us, void (*fn)(struct conn *c))
{
    c->state = CONN_WAIT;
    c->wait_fn = fn;
    server_timer_arm(c->server, &c->timer, after_us, on_timer, c);
}

void conn_work(struct conn *c, enum load_kind kind, uint64_t amount,
               void (*fn)(struct conn *c, const struct load_job *job))
{
    struct conn_job *job = calloc(1, sizeof *job);

    if (!job) {
        refuse(c, 503);
        return;
    }
    job->job.kind = kind;
    job->job.amount = amount;
    job->conn = c;
    job->fn = fn;
    c->job = &job->job;
    c->state = CONN_WAIT;
    load_submit(c->server->load, &job->job);
}

void conn_job_done(struct load_job *load_job)
{
    struct conn_job *job = (struct conn_job *)load_job;
    struct conn *c = job->conn;

    if (c) {
        c->job = NULL;
        job->fn(c, load_job);
        conn_run(c);
    }
    free(job);
}

void conn_hang(struct conn *c)
{
    c->state = CONN_WAIT;
    c->hangs = true;
}
