/* parts.h: what the files of the proxy share; not for other rooms.
 *
 *   loop.c      epoll with libuv inside, sockets and their flags, the graveyard
 *   pool.c      objects from memory that was sized at start
 *   timeout.c   one FIFO list for each length of time
 *   server.c    listeners, accepting
 *   session.c   a client connection: HEAD -> EXCHANGE -> HEAD ... -> CLOSING -> LINGER
 *   exchange.c  one request and its answer: SENDING -> ANSWER -> BODY | TUNNEL;  attempt.c  its backends
 *   stream.c    bodies both ways, back-pressure, chunks;  splice.c  large ones inside the kernel
 *   tunnel.c    bytes both ways behind a 101
 *   upstream.c  connections to backends and their idle pools
 *   forward.c   heads written anew;  answer.c  our own answers
 *   access.c    the access log
 *   route.c     generations: listen + host + path + method + headers -> route
 *   rules.c     what a route asks of a request, changes in heads, and its limits
 *   view.c      what policies see of a request; sessions
 *   pick.c      which backend;  roster.c  backends and services;  tally.c  numbers on the board
 *   guard.c     circuits, comparison of backends, retry budget;  queue.c  waiting for a place
 *
 * Everything happens in proxy_session_step: events only set flags on a connection and call it, and
 * it goes on until nothing moves. Memory of closed connections is reused only behind the batch of
 * events that they died in. */
#ifndef PROXY_PARTS_H
#define PROXY_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "board/circuit.h"
#include "net/http1.h"
#include "net/net.h"
#include "proxy/proxy.h"
#include "script/script.h"

struct board_row;
struct board_worker;
struct exchange;
struct session;
struct sockaddr_storage;

enum {
    SCRATCH_BYTES = 64 << 10,   /* one receive, and the most that waits in one direction */
    HEAD_EXTRA_BYTES = 4 << 10, /* what a head may grow by when it is written anew */
    BLOCK_BYTES = SCRATCH_BYTES + LIMIT_HEAD_BYTES + HEAD_EXTRA_BYTES + 64, /* 64: chunk framing */
    REQUEST_ID_BYTES = 128, /* longest X-Request-Id that is kept */
    TRIES = 16,             /* backends that one request may see */
    PEER_BYTES = 46,        /* INET6_ADDRSTRLEN */
    HOST_BYTES = 256,
    TAG_BITS = 32,   /* tags of a service that policies can tell apart */
    MEAN_OVER = 100, /* response times that response_mean_ms is the mean of */
    CLIENT_BUCKETS = 1024,
    SPLICE_BYTES = 1 << 20
};

/* ---- pool.c ------------------------------------------------------------------------------ */

struct pool {
    char *base;
    void *free; /* last given first */
    size_t item, size;
    uint32_t count, touched, used;
};

/* Room for `count` items of `item` bytes; nothing is resident before it is used. -ENOMEM. */
int proxy_pool_init(struct pool *pool, size_t item, uint32_t count);
void proxy_pool_free(struct pool *pool);
/* An item with whatever bytes it has, or NULL when all are out. */
void *proxy_pool_take(struct pool *pool);
void proxy_pool_give(struct pool *pool, void *item);

/* Bytes that wait. */
struct block {
    uint32_t at, len;
    char bytes[BLOCK_BYTES];
};

/* An empty block, or NULL when all are out. */
struct block *proxy_block_take(struct proxy *p);
/* A block with these bytes (at most BLOCK_BYTES), or NULL. */
struct block *proxy_block_with(struct proxy *p, struct str bytes);
/* Gives *block back and clears it; *block may be NULL. */
void proxy_block_give(struct proxy *p, struct block **block);

/* ---- loop.c ------------------------------------------------------------------------------ */

enum conn_kind {
    CONN_UV, /* libuv's own descriptor */
    CONN_LISTENER,
    CONN_CLIENT,
    CONN_UPSTREAM,
    CONN_DEADLINE, /* no socket: the end of an exchange's time */
    CONN_KINDS
};

/* A socket of the loop. The flags remember what edge-triggered events said. */
struct conn {
    int fd; /* -1: closed, waits in the graveyard */
    uint8_t kind;
    bool registered;
    bool readable, writable;
    bool hup;                /* the peer will send no more, or the connection is gone */
    bool error;              /* gone in both directions */
    struct timeout *timeout; /* NULL: no time-out runs */
    uint64_t since_ms;
    struct list node; /* of the time-out's list, or of the graveyard */
};

void proxy_conn_init(struct conn *c, enum conn_kind kind, int fd);
/* Has the loop watch it; does nothing the second time. -errno. */
int proxy_conn_register(struct proxy *p, struct conn *c);
/* Closes it; its owner's memory is reused behind this batch of events. */
void proxy_conn_bury(struct proxy *p, struct conn *c);
/* Bytes received; 0 at the end; -EAGAIN or another -errno. Keeps `readable` right. */
ssize_t proxy_conn_recv(struct conn *c, void *to, size_t size);
/* Bytes that the kernel took, 0 when it takes none now; -errno. Keeps `writable` right. */
ssize_t proxy_conn_send(struct conn *c, const struct iovec *iov, int count);
/* Reads the clock anew. */
void proxy_now(struct proxy *p);

/* ---- timeout.c --------------------------------------------------------------------------- */

struct timeout {
    struct timeout *next;
    uint32_t ms;
    struct list conns; /* oldest first */
};

/* The list for this length; lives as long as the proxy. */
struct timeout *proxy_timeout_of(struct proxy *p, uint32_t ms);
/* Starts it from now, in place of another one. */
void proxy_timeout_start(struct proxy *p, struct conn *c, struct timeout *t);
/* Has it run: goes on when it runs already and nothing moved. NULL stops. */
void proxy_timeout_keep(struct proxy *p, struct conn *c, struct timeout *t, bool moved);
void proxy_timeout_stop(struct conn *c);
/* ms until the next one ends, -1 when none runs. */
int proxy_timeout_next(const struct proxy *p);
void proxy_timeout_run(struct proxy *p);

/* ---- roster.c ---------------------------------------------------------------------------- */

struct backend {
    char *id;
    struct service *service; /* NULL: left the roster, finishes what it has */
    struct net_addr addr;
    struct board_row *row;
    struct board_circuit *circuit;
    struct list idle;                 /* upstreams, last used first */
    uint32_t idle_count, connections; /* connections: idle ones too */
    uint32_t slot, index;             /* index: place in its service */
    uint32_t hash;                    /* of its id, not 0 */
    uint64_t *tags;                   /* hashes of its tags */
    uint32_t tag_count;
    int32_t zone;               /* hash of its zone, 0 = none */
    float window_ms[MEAN_OVER]; /* the last response times, for their mean */
    uint32_t window_count;      /* ever written */
    double window_sum;
    double around_sum, around_fresh, around_best; /* response times of the other workers */
    uint64_t around_ms;                           /* when they were looked up */
    uint32_t attempts;                            /* exchanges that hold on to it */
    uint64_t others, others_ms; /* in flight of the other workers, and when it was summed */
    uint64_t joined_ms;
    uint64_t failed_ms;
    uint64_t hurried_ms; /* when a check of it was asked for last */
    double weight, max_connections, capacity;
    double error_rate; /* decayed, 0..1 */
    bool draining;
    bool seen; /* while a roster is applied */
};

struct service {
    char *name;
    struct backend **backends;
    uint32_t count;
    struct list routes;      /* of all living generations */
    uint64_t tags[TAG_BITS]; /* the hash of the tag behind each bit */
    uint32_t tag_count;
    uint32_t tags_version; /* counts changes of the bits */
};

/* The service of that name, made when it is new. */
struct service *proxy_service_of(struct proxy *p, const char *name);
/* Frees it when it left the roster and nothing of it is under way. */
void proxy_backend_settle(struct proxy *p, struct backend *b);
void proxy_roster_free(struct proxy *p);

/* ---- view.c ------------------------------------------------------------------------------ */

/* What a policy may know of a request beside its method: see struct script_request. */
struct view {
    uint32_t key, tags, dataset, processing, path, implied;
    uint32_t session; /* hash of the backend that the session's cookie names, 0 = none */
    uint32_t tags_version;
    int32_t data, tag_count, zone;
};

struct view_plan;

/* Where a route (its JSON) looks, and what its policy needs. The caller owns it. */
struct view_plan *proxy_view_plan(const struct cJSON *config, const struct cJSON *route);
void proxy_view_plan_free(struct view_plan *plan); /* NULL is allowed */
/* Not 0. */
uint32_t proxy_hash(struct str s);
/* Notes the tags of a backend, then gives the service's their bits, then writes them to a row. */
void proxy_view_backend(struct backend *b, const struct cJSON *tags);
void proxy_view_tags(struct proxy *p, struct service *service);
void proxy_view_row(const struct service *service, const struct backend *b,
                    struct script_backend *row);
/* Looks through the head of the exchange's request; NULL: it has none (TCP). */
void proxy_view_take(struct exchange *ex, const struct http1_head *head);
/* The row of the session's own backend among the first `count`, -1: none, or it is not eligible. */
int proxy_view_session(const struct exchange *ex, uint32_t count);
/* Writes what proxy_view_take found. */
void proxy_view_fill(const struct exchange *ex, uint32_t count, struct script_request *request);
/* Writes the Set-Cookie field of a session that is now with this backend; its length, 0: none. */
size_t proxy_view_cookie(const struct exchange *ex, char *to, size_t size);

/* ---- rules.c ----------------------------------------------------------------------------- */

struct pair {
    char *name, *value;
};

/* What is done to the fields of a head that passes. */
struct change {
    struct pair *set; /* in place of what came under these names */
    char **remove;
    uint32_t set_count, remove_count;
};

struct rules {
    char **methods;      /* none: every one */
    struct pair *fields; /* all must be there */
    uint32_t method_count, field_count;
    struct change request, answer;
    uint64_t slow_ms;        /* so long a client may be slower than min_body_rate */
    uint64_t min_body_rate;  /* bytes/s of a request's body; 0 = any */
    uint64_t max_body;       /* bytes of a request's body; 0 = no limit */
    uint32_t max_per_client; /* requests under way for one address in this worker; 0 = no limit */
};

/* Zeroed rules from a route's JSON. */
void proxy_rules_read(const struct cJSON *route, struct rules *rules);
void proxy_rules_free(struct rules *rules);
bool proxy_rules_match(const struct rules *rules, const struct http1_head *head);
/* How much they ask for: of routes with the same path the higher one is looked at first. */
uint32_t proxy_rules_rank(const struct rules *rules);
/* Whether some request fits both and neither asks for more. */
bool proxy_rules_equal(const struct rules *a, const struct rules *b);
bool proxy_change_sets(const struct change *change, struct str name);
/* Whether a field that came under this name is left out. */
bool proxy_change_drops(const struct change *change, struct str name);
/* Counts the exchange for its client; false: the client has as many as its route allows. */
bool proxy_client_enter(struct exchange *ex);

/* ---- route.c ----------------------------------------------------------------------------- */

/* How an attempt failed. */
enum failure {
    FAILURE_NONE,
    FAILURE_CONNECT,
    FAILURE_TIMEOUT,
    FAILURE_RESET, /* cut off, or malformed */
    FAILURE_5XX,
    FAILURES
};

/* A route's settings against failing and full backends; guard.c and queue.c. */
struct guard {
    bool tracks; /* circuits count at all */
    bool compares, budgeted;
    bool counts[FAILURES];
    struct board_rule rule;
    double panic; /* below this part of admitted backends all are asked */
    double eject_share, eject_deviations;
    uint32_t eject_minimum, eject_window_ms, eject_base_ms, eject_most_ms;
    double slow_start_ms;
    uint32_t queue_limit;
    struct timeout *queue_timeout;
    double retry_ratio, retry_floor;
};

/* Requests and repeats of late, decaying. */
struct budget {
    double asked, repeated;
    uint64_t at_ms;
};

struct route {
    struct list node;              /* of its service */
    struct list queue, queue_node; /* exchanges that wait; of the proxy's queues while some do */
    struct generation *generation;
    struct service *service;
    char *path;
    size_t path_len;
    uint32_t max_retries;
    struct timeout *connect_timeout, *client_timeout;
    struct timeout *first_byte_timeout, *idle_timeout; /* silence of the backend: before, within */
    struct timeout *total_timeout;                     /* NULL: no limit */
    uint32_t number;                                   /* of its queue on the board */
    struct guard guard;
    struct budget budget;
    struct script_backend *rows;
    uint32_t capacity;
    struct script_picker *picker; /* NULL: C decides */
    struct view_plan *view;
    struct rules rules;
    uint32_t failures; /* of the policy, in a row */
    uint64_t aside_ms; /* after many of them it is not asked before then */
};

struct site {              /* one host of one address */
    char *host;            /* "shop.example", ".shop.example" for "*.shop.example", "" for any */
    struct route **routes; /* longest path first, then by rank of the rules, then as declared */
    uint32_t count;
};

struct port { /* one listening address */
    char *address;
    struct site *sites;
    uint32_t count;
    struct map exact;                                /* host -> struct site * */
    struct timeout *client_timeout, *header_timeout; /* before a route is known */
    struct route *tcp; /* its connections are tunnels to this route's backends; NULL: HTTP */
};

struct access;

struct generation {
    uint32_t number;
    uint32_t refs;                    /* the proxy's own, and one for each exchange */
    uint32_t head_bytes, head_fields; /* most in the head of a request */
    struct access *access;            /* NULL: none */
    bool builtin;                     /* its policies are set aside: C decides */
    struct script_hot *hot;
    struct route *routes;
    uint32_t route_count;
    struct port *ports;
    uint32_t port_count;
};

struct port *proxy_generation_port(const struct generation *g, const char *address);
/* The route for a request, or NULL. */
struct route *proxy_route_find(const struct port *port, const struct http1_head *head);
void proxy_generation_ref(struct generation *g);
void proxy_generation_unref(struct generation *g); /* NULL is allowed */
/* Writes what the roster knows of a backend into the rows of all routes to its service. */
void proxy_route_fill(struct service *service);

/* ---- access.c ---------------------------------------------------------------------------- */

/* A log as cluster.access_log (NULL when it names no path) wants it; -errno with a sentence. */
int proxy_access_new(struct proxy *p, const struct cJSON *json, struct access **ret_access,
                     char **reterr);
/* Writes what waits, then frees itself in a callback of the loop. NULL is allowed. */
void proxy_access_free(struct access *a);
void proxy_access_reopen(struct access *a); /* NULL is allowed */
/* An exchange is over; `whole`: its answer did not break off. */
void proxy_access_exchange(struct exchange *ex, bool whole);
/* A request that never became one; `head` may be NULL, `id` may be "". */
void proxy_access_refused(struct session *s, const struct http1_head *head, int status,
                          const char *id);

/* ---- server.c ---------------------------------------------------------------------------- */

struct listener {
    struct conn conn;
    struct list node;
    struct port *port; /* of the present generation; NULL: not named by it */
    uint32_t sessions; /* that came through it */
    char address[NET_ADDR_TEXT];
};

void proxy_listeners_point(struct proxy *p);
void proxy_listener_event(struct proxy *p, struct listener *l);
/* Closes the socket; the rest goes with the last session. */
void proxy_listener_close(struct proxy *p, struct listener *l);
void proxy_listener_leave(struct listener *l);

/* ---- session.c --------------------------------------------------------------------------- */

enum session_state {
    SESSION_HEAD,
    SESSION_EXCHANGE,
    SESSION_CLOSING, /* what waits is written, then it ends */
    SESSION_LINGER,  /* we wrote all; reads until the client has closed too */
    SESSION_DEAD,
    SESSION_STATES
};

struct session {
    struct conn conn;
    struct proxy *proxy;
    struct list node;  /* of all sessions */
    struct list ready; /* of those that go on without an event */
    struct listener *listener;
    struct exchange *ex;
    struct block *in;  /* received, not yet used */
    struct block *out; /* the kernel would not take it yet */
    uint8_t state;
    bool starved;      /* what is in `in` is not a whole head */
    bool last;         /* ends with the present answer */
    bool untidy;       /* request bytes may still come: linger */
    uint32_t lingered; /* bytes thrown away since */
    uint32_t key;
    char peer[PEER_BYTES];
};

void proxy_session_new(struct proxy *p, struct listener *l, int fd,
                       const struct sockaddr_storage *addr);
/* Does all that can be done now. The session may be dead afterwards. */
void proxy_session_step(struct session *s);
void proxy_session_timeout(struct session *s);
/* Writes, and keeps in `out` what the kernel does not take. -errno. */
int proxy_session_send(struct session *s, const struct iovec *iov, int count);
/* Writes what waits. 1 = none waits now, 0 = some still does, -errno. */
int proxy_session_flush(struct session *s);
/* Ends it now; with `reset` so that the client cannot take it for a clean end. */
void proxy_session_kill(struct session *s, bool reset);
/* The exchange is over: the next head, or the end. */
void proxy_session_next(struct session *s);

/* ---- answer.c ---------------------------------------------------------------------------- */

/* An answer of our own. `id` may be "". `keep`: the connection may go on. -errno. */
int proxy_answer(struct session *s, int status, const char *id, const char *why, bool head_only,
                 bool keep);
/* The present time as in a Date field. Lends: until the next call. */
const char *proxy_date(struct proxy *p);
/* 32 random hexadecimal digits and NUL. */
void proxy_request_id(struct proxy *p, char ret_id[33]);
uint64_t proxy_random(struct proxy *p);

/* ---- forward.c --------------------------------------------------------------------------- */

/* Writes the request head for the backend into `to`; its length, or -ENOBUFS. */
ssize_t proxy_forward_request(const struct exchange *ex, const struct http1_head *head, char *to,
                              size_t size);
/* The same for an answer, an interim one included. */
ssize_t proxy_forward_answer(const struct exchange *ex, const struct http1_head *head, char *to,
                             size_t size);

/* ---- exchange.c -------------------------------------------------------------------------- */

enum exchange_state {
    EXCHANGE_QUEUED,  /* every backend is full */
    EXCHANGE_SENDING, /* the kept part of the request goes to the backend */
    EXCHANGE_ANSWER,  /* waits for a head; the rest of the request may stream */
    EXCHANGE_BODY,
    EXCHANGE_TUNNEL,
    EXCHANGE_STATES
};

/* What a step came to. */
enum progress {
    PROGRESS_NONE,
    PROGRESS_SOME,
    PROGRESS_OVER, /* the exchange is gone */
    PROGRESSES
};

/* A body on its way; zeroed: none. */
struct body {
    enum http1_framing framing;
    uint64_t left; /* HTTP1_LENGTH */
    struct http1_chunks chunks;
    bool done;
};

struct exchange {
    struct session *session;
    struct upstream *up; /* NULL: between two attempts */
    struct generation *generation;
    struct route *route;
    struct backend *backend; /* counted in flight there; NULL: between two attempts */
    struct block *request;   /* head and first body bytes as sent: kept to be sent again */
    struct view view;        /* what policies see of the request */
    struct list waiting;     /* of the route's queue */
    struct backend *tried[TRIES];
    struct board_ticket ticket; /* of the backend's circuit */
    uint64_t attempt_us;
    enum http1_method method;
    uint8_t state;
    uint8_t tries;
    uint8_t failure; /* enum failure of the present attempt */
    bool all_full;   /* why the last pick had none: a place may come free */
    uint8_t client_minor;
    uint16_t status; /* told to the client; 0: nothing yet */
    bool client_keep;
    bool tcp;                /* no HTTP: from connecting on a tunnel */
    bool upgrade;            /* a WebSocket is wanted: nothing follows the head before the 101 */
    bool streamed;           /* bytes went out that `request` does not hold */
    bool again;              /* had its fresh connection after a reused one failed */
    bool timed_out;          /* the last failure was a time-out */
    bool answered;           /* a byte of an answer came */
    bool tallied;            /* the attempt's outcome is counted */
    bool head_sent;          /* of the final answer */
    bool up_keep;            /* the upstream connection may be used again */
    bool client_end, up_end; /* tunnel: that side has ended */
    struct body in;          /* from the client */
    struct body out;         /* from the backend */
    enum http1_framing to_client;
    struct pipe *pipe;    /* bytes of the answer inside the kernel; NULL = none */
    struct list client;   /* of its client's bucket, when the route limits clients */
    struct conn deadline; /* only its time-out */
    uint64_t began_us;
    uint64_t sent_bytes;           /* of the answer's body, to the client */
    uint64_t body_bytes;           /* of the request's body, decoded, so far */
    uint64_t await_ms, awaited_ms; /* waits for the client since (0: does not); so long before */
    char id[REQUEST_ID_BYTES + 1];
};

/* Begins an exchange for the head just parsed; `rest` is what was received behind it. Answers by
 * itself what it refuses. *ret_taken: bytes of `rest` that belonged to the request. */
void proxy_exchange_begin(struct session *s, const struct http1_head *head, struct str rest,
                          size_t *ret_taken);
/* Begins a tunnel for a connection to a TCP route. False: the session is gone. */
bool proxy_exchange_begin_tcp(struct session *s);
enum progress proxy_exchange_step(struct exchange *ex);
/* Gives up: answers with the status, or cuts the client when its answer has begun. */
enum progress proxy_exchange_refuse(struct exchange *ex, int status, const char *why);
/* The same for a request body: 413 for -EFBIG, else 400. */
enum progress proxy_exchange_refuse_body(struct exchange *ex, int rc);
/* The answer is through. */
enum progress proxy_exchange_finish(struct exchange *ex);
/* The client is gone or must be cut. */
enum progress proxy_exchange_abort(struct exchange *ex);
/* The client let us wait too long. */
void proxy_exchange_timeout(struct exchange *ex);
/* All of its time is over. */
void proxy_exchange_deadline(struct exchange *ex);
/* Whether its client keeps up the rate that the route wants, now that body bytes came. */
bool proxy_exchange_fast_enough(struct exchange *ex);

/* ---- attempt.c --------------------------------------------------------------------------- */

/* Sends it to its first backend, has it wait for one, or answers. */
enum progress proxy_attempt_first(struct exchange *ex);
/* The backend failed us: tries again where that is right, else answers. */
enum progress proxy_attempt_failed(struct exchange *ex);
/* Leaves the queue when there is a backend for it now; the exchange may be gone then. */
bool proxy_attempt_resume(struct exchange *ex);

/* ---- stream.c, splice.c, tunnel.c -------------------------------------------------------- */

/* Takes body bytes off `in`, decoded, and moves them together at `to` (may be in.ptr). *ret_used:
 * bytes of `in` consumed. Length of the decoded ones, or -EPROTO. */
ssize_t proxy_body_take(struct body *body, struct str in, char *to, size_t *ret_used);
/* More of the request's body from the client to the backend. */
enum progress proxy_stream_in(struct exchange *ex);
/* `bytes` came from the backend behind the head that stands in `head` (may be empty). Writes both.
 */
enum progress proxy_stream_answer(struct exchange *ex, struct str head, struct str bytes);
/* More of the answer's body. */
enum progress proxy_stream_out(struct exchange *ex);
enum progress proxy_tunnel_step(struct exchange *ex);

struct pipe {
    struct pipe *next;
    int in, out;
    size_t held;
};
/* Moves answer bytes inside the kernel; PROGRESS_OVER only when the exchange ended. */
enum progress proxy_splice_out(struct exchange *ex);
bool proxy_splice_wanted(const struct exchange *ex);
void proxy_pipe_give(struct proxy *p, struct pipe *pipe); /* NULL is allowed */
void proxy_pipes_free(struct proxy *p);

/* ---- upstream.c -------------------------------------------------------------------------- */

struct upstream {
    struct conn conn;
    struct proxy *proxy;
    struct backend *backend;
    struct exchange *ex; /* NULL: idle */
    struct list idle;    /* of its backend */
    struct block *in;    /* part of a head */
    struct block *out;   /* body bytes that the kernel would not take yet */
    bool reused;
    bool connecting;
    bool broken; /* takes no more of the request; an answer may still be read */
};

/* A connection for the exchange: an idle one unless `fresh`. -errno. */
int proxy_upstream_open(struct exchange *ex, bool fresh);
/* Gives it back; it is kept when it may be used again. */
void proxy_upstream_release(struct upstream *u, bool keep);
void proxy_upstream_event(struct upstream *u);
void proxy_upstream_timeout(struct upstream *u);
/* As proxy_session_send and proxy_session_flush. */
int proxy_upstream_send(struct upstream *u, const struct iovec *iov, int count);
int proxy_upstream_flush(struct upstream *u);
/* Closes all idle ones of a backend. */
void proxy_upstream_close_idle(struct backend *b);

/* ---- pick.c, tally.c --------------------------------------------------------------------- */

/* Chooses by the route's policy, else by least connections, and counts the request in flight there;
 * NULL: none may have it, because all are full with ex->all_full. */
struct backend *proxy_pick(struct exchange *ex);
void proxy_tally_begin(struct exchange *ex, struct backend *b);
/* What is left of a number that nothing renewed for so long: about e^-(age / 5 s). */
double proxy_faded(double value, double age_ms);
/* The response time over all workers, each by its freshness, faded by that of the freshest; 0 = none
 * yet. */
double proxy_tally_response(struct proxy *p, struct backend *b);
/* Mean of the last response times of this worker, 0 = none yet. */
double proxy_tally_mean(const struct backend *b);
/* A final head came. */
void proxy_tally_answer(struct exchange *ex, int status);
/* The attempt got no answer, ex->failure says how. */
void proxy_tally_failure(struct exchange *ex, bool repeated);
/* The attempt is over, whatever it came to. */
void proxy_tally_end(struct exchange *ex);
/* At most one a second. */
void proxy_fact(struct proxy *p, const char *kind, const char *text);
/* One that must not be lost: the caller bounds how often. */
void proxy_tell(struct proxy *p, const char *kind, const char *backend, const char *text);

/* ---- guard.c ----------------------------------------------------------------------------- */

void proxy_guard_read(struct proxy *p, struct guard *g, const struct cJSON *service,
                      const struct cJSON *route);
/* The exchange goes to b: its circuit lets it through, or not. */
bool proxy_guard_enter(struct exchange *ex, struct backend *b);
/* What the attempt came to: only the first time counts, and only with a ticket. */
void proxy_guard_result(struct exchange *ex, enum failure failure);
/* It came to nothing. */
void proxy_guard_leave(struct exchange *ex);
/* Has the backend checked soon: it failed. */
void proxy_suspect(struct proxy *p, struct backend *b, enum failure failure);
/* A request came; one may be repeated, and then is. */
void proxy_budget_ask(struct proxy *p, struct route *r);
bool proxy_budget_repeat(struct proxy *p, struct route *r);

/* ---- queue.c ----------------------------------------------------------------------------- */

/* false: it is full. */
bool proxy_queue_join(struct exchange *ex);
/* Does nothing when it is in none. */
void proxy_queue_leave(struct exchange *ex);
/* After a batch of events. */
void proxy_queue_run(struct proxy *p);
/* How long the loop may sleep for it; -1 = for ever. */
int proxy_queue_wait_ms(const struct proxy *p);

/* ---- the whole --------------------------------------------------------------------------- */

struct proxy {
    struct proxy_options options;
    struct board_worker *numbers;
    int epoll;
    int reserve; /* a descriptor to give up when accepting needs one */
    struct conn uv;
    bool stopped, draining;
    bool uv_due;     /* libuv has something to start */
    unsigned rounds; /* since libuv ran */
    uint64_t now_us, now_ms;
    uint64_t drain_ms; /* connections are cut then */
    uint32_t session_count;
    struct list sessions, listeners, ready, grave;
    struct list clients[CLIENT_BUCKETS];
    struct list queues; /* routes with exchanges that wait */
    bool queue_due;     /* a place may have come free */
    uint64_t queue_ms;  /* last look */
    struct pool session_pool, exchange_pool, upstream_pool, block_pool;
    struct timeout *timeouts;
    struct timeout *register_timeout, *linger_timeout, *idle_timeout, *drain_timeout;
    struct map services;
    struct generation *current, *prepared;
    struct pipe *pipes;
    unsigned pipe_count;
    uint64_t random[2];
    uint64_t date_ms;
    char date[32];
    proxy_fact_fn *on_fact;
    void *fact_arg;
    struct log_limit fact_limit;
    struct http1_head head; /* of whatever is parsed just now */
    char head_bytes[LIMIT_HEAD_BYTES + HEAD_EXTRA_BYTES];
    char scratch[SCRATCH_BYTES];
};

#endif
