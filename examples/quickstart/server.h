/* server.h - one event loop, its connections, and what a route may do with them.
 *
 *   service.c   options, the probe              routes.c   what each path answers
 *   server.c    listeners, timers, signals      http.c     the wire format
 *   conn.c      one connection's life           load.c     threads for what blocks
 *   reply.c     heads and bodies of answers     stats.c    what was done
 *
 * A connection:  HEAD -> [BODY] -> WAIT or SEND -> HEAD (keep-alive)  or  FINISH -> LINGER -> gone
 * One request at a time: pipelined ones stay in the input until the answer before is complete.
 * Everything runs on the loop's thread. */
#ifndef QUICKSTART_SERVER_H
#define QUICKSTART_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "http.h"
#include "load.h"
#include "sha256.h"
#include "stats.h"

enum {
    SERVER_LISTENERS_MAX = 2,
    SERVER_DRAIN_MS = 10000, /* from SIGTERM to the end, whatever is still open */
};

/* As given on the command line; the texts live as long as the process. */
struct server_options {
    const char *host, *unix_path; /* unix_path may be NULL */
    int port;                     /* -1: do not listen on TCP; 0: any free one */
    const char *service, *instance;
    uint64_t start_delay_ms, health_delay_ms, body_max_bytes;
    int threads;
    bool ignore_term;
};

/* What epoll reports to; embedded at the front of its owner. */
struct source {
    void (*fn)(struct source *self, uint32_t events);
};

struct timer {
    uint64_t at_us;
    size_t place; /* in the heap, 0 when not armed */
    void (*fn)(void *arg);
    void *arg;
};

enum conn_state {
    CONN_HEAD,   /* reads a request head, or waits for one */
    CONN_BODY,   /* reads the request's body */
    CONN_WAIT,   /* a timer or a thread will go on */
    CONN_SEND,   /* produces the answer's body */
    CONN_FINISH, /* the answer is complete; closes when it is sent */
    CONN_LINGER, /* said goodbye, waits for the client to say it too */
    CONN_GONE,
};

enum conn_sink {
    SINK_DISCARD,
    SINK_HASH,
    SINK_ECHO
};

/* A body to produce: a pattern of 64 characters, again and again. */
struct answer {
    uint64_t left, done; /* bytes */
    size_t chunk;        /* 0: as it is; else chunked, in chunks of this size */
    uint64_t pause_us;   /* between chunks */
    bool cut;            /* close when nothing is left, although more was promised */
};

/* What one /work request asks for. */
struct work {
    uint64_t cpu_us, latency_us, bytes, records, bad;
    int status;
};

struct route;

struct conn {
    struct source source;
    struct server *server;
    struct conn *prev, *next;
    int fd;
    uint64_t id;
    enum conn_state state;
    bool readable, writable; /* as far as is known */
    bool throttled;          /* a step waits until `out` is sent */
    bool half_closed, ended; /* the client will send no more; and all of it was read */
    struct bytes in, out;
    size_t searched; /* bytes of `in` without an end of head */
    struct timer timer;
    void (*wait_fn)(struct conn *c);
    struct load_job *job; /* on a thread for this connection, or NULL */

    /* of the present request */
    const struct route *route; /* NULL: no such path */
    uint64_t count;            /* requests on this connection so far, with this one */
    uint64_t began_us;
    bool busy; /* counted as in flight */
    bool keep_alive, old_http, head_only, hangs;
    int status;
    char *head; /* kept while a body is read */
    size_t head_len;
    enum conn_sink sink;
    bool chunked_in;
    struct http_chunks chunks;
    uint64_t body_left, body_bytes;
    struct sha256 hash;
    struct answer answer;
    struct work work;
};

typedef void (*route_fn)(struct conn *c, const struct http_request *r);

struct route {
    const char *path; /* also its class in the metrics */
    bool prefix;      /* matches path/... too */
    bool post, any;   /* allowed beside GET and HEAD: POST; every method */
    bool observer;    /* looks only: stays out of /performance */
    enum conn_sink sink;
    route_fn fn; /* called with the whole body read; with SINK_ECHO before it */
};

struct listener {
    struct source source;
    struct server *server;
    int fd;
};

struct server {
    struct server_options options;
    int epoll_fd, spare_fd;
    struct source signals, wakeups;
    int signal_fd, wakeup_fd;
    struct listener listeners[SERVER_LISTENERS_MAX];
    size_t listener_count;
    struct conn *conns, *gone;
    struct timer **heap; /* [1..heap_count], the earliest first */
    size_t heap_count, heap_room;
    struct timer start_timer, drain_timer;
    bool draining, ended;
    int exit_code;
    uint64_t next_id, started_us;
    struct load *load;
    struct stats stats;
    struct http_request request; /* scratch of the request being dispatched */
    char common[512];            /* header lines of every answer, made once a second */
    size_t common_len;
    uint64_t common_second;
    bool sick;
    double fail_rate, fail_debt;
    uint64_t slow_us;
};

uint64_t clock_us(void);

/* server.c ----------------------------------------------------------------------------------- */

/* Runs until SIGTERM or SIGINT and the drain behind it; returns the exit code. Signals must be
 * blocked as server_signals_block() does it before the first thread starts. */
int server_run(const struct server_options *options);
void server_signals_block(void);

/* Calls fn(arg) once after that time, at the earliest from the next turn of the loop. */
void server_timer_arm(struct server *s, struct timer *timer, uint64_t after_us,
                      void (*fn)(void *arg), void *arg);
void server_timer_stop(struct server *s, struct timer *timer);

/* conn.c ------------------------------------------------------------------------------------- */

/* Takes the accepted descriptor. */
void conn_open(struct server *s, int fd);
/* Serves what is there, then closes a connection that waits for a next request. */
void conn_drain(struct conn *c);
/* Closes at once; the memory goes at the end of the loop's turn. */
void conn_close(struct conn *c);
/* Closes with a reset instead of an orderly end. */
void conn_reset(struct conn *c);
void conn_free(struct conn *c);

/* Goes on later: when `after_us` has passed, when the job is done (takes it), or never. */
void conn_wait(struct conn *c, uint64_t after_us, void (*fn)(struct conn *c));
void conn_work(struct conn *c, enum load_kind kind, uint64_t amount,
               void (*fn)(struct conn *c, const struct load_job *job));
void conn_hang(struct conn *c);
/* Gives a finished job back to the connection that waits for it, if it is still there. */
void conn_job_done(struct load_job *job);

/* reply.c ------------------------------------------------------------------------------------ */

/* Exactly one of the next three answers a request, at once or later. A whole answer: */
void reply(struct conn *c, int status, const char *type, struct str body);
void reply_json(struct conn *c, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A head with Content-Length `length`, or chunked with length -1. The body is c->answer, to be set
 * after the call. */
void reply_start(struct conn *c, int status, const char *type, int64_t length);
/* 405 with what the route allows. */
void reply_not_allowed(struct conn *c);
/* Adds the next piece, or chunk, of c->answer. */
void reply_piece_add(struct conn *c);

/* routes.c ----------------------------------------------------------------------------------- */

/* NULL when no route has this path. */
const struct route *route_find(struct str path);
/* Row in the statistics; NULL is the row of unknown paths. */
int route_index(const struct route *route);
const char *route_name(int index);
bool route_allows(const struct route *route, enum http_method method);

#endif
