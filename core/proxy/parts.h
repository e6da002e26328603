/* parts.h: what the files of the proxy share; not for other rooms.
 *
 *   loop.c      epoll with libuv inside, sockets and their flags, the graveyard
 *   pool.c      objects from memory that was sized at start
 *   timeout.c   one FIFO list for each length of time
 *   server.c    listeners, accepting;  secure.c  TLS of clients;  secure_backend.c  TLS to backends
 *   h2.c        a client connection with many streams, each with a session of its own: h2.h and its files
 *   session.c   a client connection: HEAD -> EXCHANGE -> HEAD ... -> CLOSING -> LINGER; or a client behind a carrier
 *   exchange.c  one request and its answer: SENDING -> ANSWER -> BODY | TUNNEL;  attempt.c  its backends
 *   pause.c     requests that wait for a step;  login.c  passwords, checked on threads
 *   inner.c     requests of our own;  ask.c  what they are: forward_auth, mirror
 *   stream.c    bodies both ways, back-pressure, chunks;  splice.c  large ones inside the kernel
 *   coding.c    answers that go out compressed
 *   hold.c      small answers kept until they are whole;  trailer.c  fields behind chunked ones
 *   tunnel.c    bytes both ways behind a 101
 *   grpc.c      calls of gRPC;  deadline.c  deadlines that clients name
 *   upstream.c  connections to backends and their idle pools
 *   link.c      those of HTTP/2, which exchanges share;  lane.c  a stream of one
 *   forward.c   heads written anew;  answer.c  our own answers;  refuse.c  to what never becomes an exchange
 *   access.c    the access log;  span.c  traces
 *   route.c     generations: listen + host + path + method + headers -> route
 *   rules.c     what a route asks of a request, changes in heads, and its limits
 *   steps.c     what else a route does to requests and answers: the steps of room edge;  steps_told.c  the same told
 *   view.c      what policies see of a request; sessions;  function.c  a route's own function for that
 *   pick.c      which backend;  roster.c  backends and services;  tally.c  numbers on the board
 *   explain.c   one decision told;  past.c  decisions of late;  past_told.c  those of a request told
 *   guard.c     circuits, comparison of backends, retry budget;  queue.c  waiting for a place
 *
 * Headers by what they are about: loop.h, session.h, exchange.h, link.h, route.h, steps.h, balance.h.
 *
 * Everything happens in proxy_session_step: events only set flags on a connection and call it, and
 * it goes on until nothing moves. Memory of closed connections is reused only behind the batch of
 * events that they died in. */
#ifndef PROXY_PARTS_H
#define PROXY_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "edge/compress.h"
#include "net/http1.h"
#include "net/tls.h"
#include "proxy/balance.h"
#include "proxy/exchange.h"
#include "proxy/link.h"
#include "proxy/loop.h"
#include "proxy/past.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/session.h"
#include "proxy/steps.h"
#include "script/script.h"

struct board_worker;

enum {
    CLIENT_BUCKETS = 1024
};

struct proxy {
    struct proxy_options options;
    struct board_worker *numbers;
    struct board_traffic *traffic;
    int epoll;
    int reserve; /* a descriptor to give up when accepting needs one */
    struct conn uv;
    bool stopped, draining;
    bool orphan;     /* no roster comes any more */
    bool uv_due;     /* libuv has something to start */
    unsigned rounds; /* since libuv ran */
    uint64_t now_us, now_ms;
    uint64_t spin_until_us; /* events come close together: until then it does not sleep */
    uint64_t drain_ms;      /* connections are cut then, */
    uint64_t listen_ms;     /* and listeners closed then; 0: they are */
    uint32_t session_count;
    struct list sessions, listeners, ready, grave;
    struct list clients[CLIENT_BUCKETS]; /* exchanges that the board has no room to count */
    struct list queues;                  /* routes with exchanges that wait */
    bool queue_due;                      /* a place may have come free */
    uint64_t queue_ms;                   /* last look */
    uint32_t holds;                      /* answers held */
    uint32_t backend_serial;             /* of the newest */
    struct list links_due;               /* with something to do behind this batch of events */
    struct pool session_pool, exchange_pool, upstream_pool, link_pool, block_pool, course_pool;
    struct exchange **deadlines; /* a heap; NULL: nobody ever had one */
    uint32_t deadline_count;
    struct pool h2_pool, stream_pool;
    struct list h2_due; /* connections of HTTP/2 with something to write */
    struct nghttp2_session_callbacks *h2_callbacks;
    struct nghttp2_option *h2_options;
    struct timeout *timeouts;
    struct timeout *register_timeout, *linger_timeout, *idle_timeout, *drain_timeout;
    struct timeout *silence_timeout, *pong_timeout;
    struct tls_io *tls_io;                      /* NULL: nobody speaks TLS */
    struct tls_store *tls_store, *tls_prepared; /* in force; from the next commit on */
    struct list handshakes;                    /* sessions whose hello has come, the oldest first */
    uint32_t handshake_count, handshake_steps; /* of them; steps in this round of the loop */
    struct map services;
    struct cJSON *challenges; /* NULL: none (challenge.c) */
    struct generation *current, *prepared;
    struct edge_coders coders;
    struct list inners;             /* requests of our own that have not begun */
    uint32_t asked_count, mirrored; /* all of them */
    struct logins *logins;          /* NULL: nobody logged in yet */
    struct pipe *pipes;
    unsigned pipe_count;
    uint64_t random[2];
    uint64_t date_ms;
    char date[32];
    proxy_fact_fn *on_fact;
    void *fact_arg;
    proxy_fault_fn *on_fault;
    void *fault_arg;
    proxy_spans_fn *on_spans;
    void *spans_arg;
    struct spans *spans; /* that wait to be told; NULL: there never were any */
    struct log_limit fact_limit, backend_tls_limit;
    struct pasts pasts;
    struct script_request asked; /* what the policy was asked last */
    struct http1_head head;      /* of whatever is parsed just now */
    char head_bytes[LIMIT_HEAD_BYTES + HEAD_EXTRA_BYTES];
    char scratch[SCRATCH_BYTES];
    char step_bytes[STEP_BYTES];  /* what steps write of the request, */
    char reply_bytes[STEP_BYTES]; /* and of an answer of our own */
};

#endif
