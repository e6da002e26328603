/* exchange.h: one request and its answer, and the connections to backends that carry them; private to the proxy. */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/list.h"
#include "board/circuit.h"
#include "net/http1.h"
#include "proxy/balance.h"
#include "proxy/link.h"
#include "proxy/loop.h"
#include "proxy/steps.h"

struct backend;
struct board_times;
struct generation;
struct course;
struct net_addr;
struct proxy;
struct reply;
struct route;
struct session;

enum {
    REQUEST_ID_BYTES = 128, /* longest X-Request-Id that is kept */
    TRIES = 16,             /* backends that one request may see */
    TRACE_DIGITS = 32,
    SPAN_DIGITS = 16,
    TRACEPARENT_BYTES = 55, /* of version 00 */
    SPLICE_BYTES = 1 << 20
};

/* ---- forward.c --------------------------------------------------------------------------- */

/* Writes the request head for the backend into `to`; its length, or -ENOBUFS. */
ssize_t proxy_forward_request(const struct exchange *ex, const struct http1_head *head, char *to,
                              size_t size);
/* The same for an answer, an interim one included. */
ssize_t proxy_forward_answer(const struct exchange *ex, const struct http1_head *head, char *to,
                             size_t size);

/* The fields of a trailer section that may go on, and the empty line; 0 when none may. -ENOBUFS. */
ssize_t proxy_forward_trailers(const struct exchange *ex, const struct http1_head *head, char *to,
                               size_t size);

/* ---- trailer.c --------------------------------------------------------------------------- */

/* Whether a request says that its client takes trailers. */
bool proxy_trailer_wanted(const struct http1_head *request);
/* Whether all fields of an answer's trailer section concern more than this hop, as far as its head tells. */
bool proxy_trailer_fits(const struct http1_head *answer);
/* Whether a trailer field, or the announcement of one, may go to the client. */
bool proxy_trailer_allowed(const struct exchange *ex, struct str name);
/* Behind a body with a length trailers may come by HTTP/2: then its end is that of the stream, where its client takes them. */
void proxy_trailer_await(const struct exchange *ex, struct http1_head *answer);
/* Keeps a piece of the answer's trailer section. */
void proxy_trailer_keep(struct exchange *ex, struct str piece);
/* The whole section as the client gets it, its empty line included; empty: no field of it goes on. Lends: as long
 * as the exchange. */
struct str proxy_trailer_end(struct exchange *ex);

/* ---- span.c ------------------------------------------------------------------------------ */

/* The trace that a request is part of, as its only and valid traceparent tells (W3C Trace Context, version 00); empty:
 * it begins here. */
struct str proxy_span_of(const struct http1_head *head);
/* Begins a span of ours: of a generation that traces. */
void proxy_span_begin(struct exchange *ex, const struct http1_head *head);
/* The traceparent that the backend gets: what came, or ours. Lends: `to`. */
struct str proxy_span_text(const struct exchange *ex, struct str came,
                           char to[TRACEPARENT_BYTES + 1]);
/* The exchange is over: its span is told, if it is one of the sample. `whole` as in proxy_access_exchange. */
void proxy_span_end(const struct exchange *ex, bool whole);
struct spans;
void proxy_spans_free(struct spans *spans); /* tells what waits; NULL is allowed */

/* ---- exchange.c -------------------------------------------------------------------------- */

enum exchange_state {
    EXCHANGE_QUEUED,  /* every backend is full */
    EXCHANGE_PAUSED,  /* a step waits for something; none has a backend up to here */
    EXCHANGE_SENDING, /* the kept part of the request goes to the backend */
    EXCHANGE_ANSWER,  /* waits for a head; the rest of the request may stream */
    EXCHANGE_HELD,    /* its answer is kept until it is whole */
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
    struct str
        trailers; /* what came of the section of HTTP1_CHUNKED in the last proxy_body_take; lends: as `in` there */
    bool done;
};

struct exchange {
    struct session *session;
    struct upstream *up; /* NULL: between two attempts */
    struct generation *generation;
    struct route *route;
    struct backend *backend; /* counted in flight there; NULL: between two attempts */
    struct course *course;   /* what its route's steps noted; NULL: it has none */
    struct block *request;   /* head and first body bytes as sent: kept to be sent again */
    struct view view;        /* what policies see of the request */
    struct list waiting;     /* of the route's queue */
    uint32_t tried[TRIES];   /* serials of backends: one that left may be freed */
    struct block *held;      /* head and body of an answer that is not whole yet */
    uint64_t held_bytes;     /* of its body */
    uint16_t held_status;
    struct board_ticket ticket; /* of the backend's circuit */
    struct board_times *times;  /* counted in flight there; NULL: TCP */
    uint64_t attempt_us;
    uint64_t past; /* position of its last decision, 0 = none; see past.h */
    enum http1_method method;
    uint8_t state;
    uint8_t tries;
    uint8_t failure; /* enum failure of the present attempt */
    bool all_full;   /* why the last pick had none: a place may come free, */
    bool none;       /* or there was none to ask that it has not asked; else circuits are open */
    uint8_t client_minor;
    uint16_t status; /* told to the client; 0: nothing yet */
    bool client_keep;
    bool tcp;      /* no HTTP: from connecting on a tunnel */
    bool upgrade;  /* a WebSocket is wanted: nothing follows the head before the 101 */
    bool streamed; /* bytes went out that `request` does not hold */
    uint8_t
        again; /* other connections to the same backend, after one failed that is no fault of it */
    bool timed_out;           /* the last failure was a time-out */
    bool answered;            /* a byte of an answer came */
    bool tallied;             /* the attempt's outcome is counted */
    bool head_sent;           /* of the final answer */
    bool up_keep;             /* the upstream connection may be used again */
    bool client_end, up_end;  /* tunnel: that side has ended */
    struct body in;           /* from the client */
    struct body out;          /* from the backend */
    struct edge_coder *coder; /* the answer is compressed by it; NULL: it is not */
    enum http1_framing to_client, to_backend;
    bool te_trailers;       /* the client takes trailers, */
    bool trailers;          /* and this answer's may go on */
    struct block *trailer;  /* the section so far; NULL: nothing yet */
    struct pipe *pipe;      /* bytes of the answer inside the kernel; NULL = none */
    struct pipe *in_pipe;   /* the same of what goes to the backend */
    bool bulk_in, bulk_out; /* tunnel: much comes that way, it goes through a pipe */
    bool no_bulk;           /* pipes are not to be had: all is copied */
    bool traced;            /* has a span of its own: what stands at the end */
    bool sampled;           /* that is told */
    bool grpc;              /* a call of gRPC */
    int8_t grpc_status;     /* what it came to; GRPC_NONE: not known yet. Only of those */
    uint32_t due_place;     /* among those with a deadline of their own, from 1; 0: it has none */
    uint64_t due_ms;        /* that deadline */
    bool bare;              /* its backends speak HTTP/2: no chunks on the way there */
    bool client_shared;     /* counted on the board for its client, under client_key */
    uint64_t client_key;
    struct list client;   /* of its client's bucket: counted there instead */
    struct conn deadline; /* only its time-out */
    uint64_t began_us;
    uint64_t sent_bytes;           /* of the answer's body, to the client */
    uint64_t body_bytes;           /* of the request's body, decoded, so far */
    uint64_t await_ms, awaited_ms; /* waits for the client since (0: does not); so long before */
    char id[REQUEST_ID_BYTES + 1];
    /* Only where `traced`, in hexadecimal digits. */
    char trace_id[TRACE_DIGITS], span_id[SPAN_DIGITS], parent_id[SPAN_DIGITS];
    bool has_parent;
};

/* Begins an exchange for the head just parsed; `rest` is what was received behind it. `route`: NULL = by
 * the head. Answers by itself what it refuses. *ret_taken: bytes of `rest` that belonged to the request. */
void proxy_exchange_begin(struct session *s, struct route *route, const struct http1_head *head,
                          struct str rest, size_t *ret_taken);
/* The same from behind its steps. */
void proxy_exchange_go_on(struct exchange *ex, const struct http1_head *head, struct str rest,
                          size_t *ret_taken);
/* Begins a tunnel for a connection to a TCP route. False: the session is gone. */
bool proxy_exchange_begin_tcp(struct session *s);
enum progress proxy_exchange_step(struct exchange *ex);
/* Notes that it broke off and takes it apart: the session has none then, and says the rest itself. */
void proxy_exchange_leave(struct exchange *ex);
/* The backend broke off in the middle of its answer: the client must not take it for the end. */
enum progress proxy_exchange_cut(struct exchange *ex);
/* Gives up: answers with the status, or cuts the client when its answer has begun. */
enum progress proxy_exchange_refuse(struct exchange *ex, int status, const char *why);
/* Ends it with this answer, of which id, head_only and keep are filled in. */
enum progress proxy_exchange_reply(struct exchange *ex, struct reply *reply);
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

/* ---- hold.c ------------------------------------------------------------------------------ */

/* Keeps an answer that is not whole: `head` as the client gets it, and what came of its body. False: it is to be
 * sent on at once. */
bool proxy_hold_begin(struct exchange *ex, int status, struct str head, struct str body);
/* More of it. */
enum progress proxy_hold_step(struct exchange *ex);
/* Throws it away, if there is one. */
void proxy_hold_drop(struct exchange *ex);

/* ---- pause.c ----------------------------------------------------------------------------- */

/* A step waits: keeps the request. STEPPED_WAITS, or STEPPED_ANSWERED. */
enum stepped proxy_pause_begin(struct exchange *ex, const struct http1_head *head);
enum progress proxy_pause_step(struct exchange *ex);

/* ---- attempt.c --------------------------------------------------------------------------- */

/* Sends it to its first backend, has it wait for one, or answers. */
enum progress proxy_attempt_first(struct exchange *ex);
/* The backend failed us: tries again where that is right, else answers. */
enum progress proxy_attempt_failed(struct exchange *ex);
/* Its backend left the roster as lost: tries another where that is right. It may be gone then; its
 * session goes on in the next round. */
void proxy_attempt_lost(struct exchange *ex);
/* The backend answers that it is not available, and nothing else: another one is asked where that is right; then true. */
bool proxy_attempt_elsewhere(struct exchange *ex, enum progress *ret_progress);
/* Leaves the queue when there is a backend for it now; the exchange may be gone then. */
bool proxy_attempt_resume(struct exchange *ex);

/* ---- grpc.c, deadline.c ------------------------------------------------------------------ */

/* Whether a request is a call of gRPC. */
bool proxy_grpc_asked(const struct http1_head *head);
/* The exchange is one. -EINVAL: its deadline is none. */
int proxy_grpc_begin(struct exchange *ex, const struct http1_head *head);
/* The backend's grpc-status. */
void proxy_grpc_note(struct exchange *ex, struct str value);
/* The HTTP status that the backend's answer with this one amounts to, as far as it came. */
int proxy_grpc_outcome(const struct exchange *ex, int status);
/* The HTTP status that what the client was told amounts to; 0: it left before. */
int proxy_grpc_told(const struct exchange *ex);
/* Whether the answer with this head and what came behind it says that the backend is unavailable, and nothing else. */
bool proxy_grpc_unavailable(const struct exchange *ex, const struct http1_head *head,
                            struct str rest);
/* A call fails whose answer may have begun: then its client is told in trailers, or cut where it takes none. */
enum progress proxy_grpc_end(struct exchange *ex, int status, const char *why);
/* The time that its client gave it is over. */
void proxy_grpc_lapsed(struct exchange *ex);
/* Fields for an answer of our own with this HTTP status; their length. */
size_t proxy_grpc_status_lines(int status, const char *why, char *to, size_t size);

/* Ends it so long from now; it must have none yet. */
void proxy_deadline_start(struct exchange *ex, uint64_t ms);
void proxy_deadline_stop(struct exchange *ex);
/* ms until the next one ends, -1 when none runs. */
int proxy_deadline_next(const struct proxy *p);
void proxy_deadline_run(struct proxy *p);

/* ---- stream.c, splice.c, tunnel.c -------------------------------------------------------- */

/* What came of the request's body, decoded where it stands; *ret_used and the result as proxy_body_take. */
ssize_t proxy_body_came(struct exchange *ex, struct str in, size_t *ret_used);
/* Puts what came of the body with its head behind that in ex->request. -EPROTO, -EFBIG. */
int proxy_body_first(struct exchange *ex, struct str rest, size_t *ret_taken);
/* Takes body bytes off `in`, decoded, and moves them together at `to` (may be in.ptr). *ret_used:
 * bytes of `in` consumed. Length of the decoded ones, or -EPROTO. */
ssize_t proxy_body_take(struct body *body, struct str in, char *to, size_t *ret_used);
/* More of the request's body from the client to the backend. */
enum progress proxy_stream_in(struct exchange *ex);
/* Writes a piece of answer to the client in its framing; either part may be empty. -errno. */
int proxy_stream_send(struct exchange *ex, struct str head, struct str data, bool last,
                      struct str trailers);
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
/* Move bytes of the answer's and of the request's body inside the kernel. */
enum progress proxy_splice_out(struct exchange *ex);
enum progress proxy_splice_in(struct exchange *ex);
/* One way of a tunnel, nothing of which waits in a buffer: moves bytes through *pipe, taken when it is
 * NULL and given back when the source has no more now. *ret_moved: what the target took. 1 = some
 * moved, 0 = none can now, -ENODATA: the source ended and all is through, -ENOSYS: it does not work
 * here and nothing moved, or another -errno. */
int proxy_splice_pass(struct proxy *p, struct pipe **pipe, struct conn *from, struct conn *to,
                      uint64_t *ret_moved);
/* Whether what is left of it is worth that. */
bool proxy_splice_wanted(const struct exchange *ex, const struct body *body);
void proxy_pipe_give(struct proxy *p, struct pipe *pipe); /* NULL is allowed */
void proxy_pipes_free(struct proxy *p);

/* ---- upstream.c -------------------------------------------------------------------------- */

struct tls_client;

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
    bool broken;               /* takes no more of the request; an answer may still be read */
    bool introduced;           /* needs no PROXY header, or has sent it */
    bool personal;             /* it has: the connection is this client's alone */
    bool securing;             /* the handshake of TLS is not over: it is connecting until then */
    bool shared;               /* a stream of a link: it has no socket, and `lane` counts */
    struct tls_client *client; /* that it is secured with; NULL: it is plain */
    struct lane lane;
};

/* A connection for the exchange: an idle one unless `fresh`. -errno; proxy_upstream_ours tells whether that was for want
 * of something of our own, descriptors or memory, and no fault of the backend. */
int proxy_upstream_open(struct exchange *ex, bool fresh);
bool proxy_upstream_ours(int rc);
/* A socket that connects, or (*ret_pending) will have; -errno. */
int proxy_upstream_connect(struct proxy *p, const struct net_addr *addr, bool *ret_pending);
/* Gives up the connection that is idle longest; false: none is. */
bool proxy_upstream_evict(struct proxy *p);
/* Gives it back; it is kept when it may be used again. */
void proxy_upstream_release(struct upstream *u, bool keep);
void proxy_upstream_event(struct upstream *u);
void proxy_upstream_timeout(struct upstream *u);
/* As proxy_conn_recv. */
ssize_t proxy_upstream_recv(struct upstream *u, void *to, size_t size);
/* As proxy_session_send and proxy_session_flush. */
int proxy_upstream_send(struct upstream *u, const struct iovec *iov, int count);
int proxy_upstream_flush(struct upstream *u);
/* Closes all idle ones of a backend. */
void proxy_upstream_close_idle(struct backend *b);

/* ---- secure_backend.c -------------------------------------------------------------------- */

/* What connections to its backend are to be secured with; NULL: nothing is there. */
struct tls_client *proxy_backend_tls(const struct exchange *ex);
/* A new connection speaks TLS. -EPROTO: it cannot, which was told. */
int proxy_backend_secure(const struct exchange *ex, struct upstream *u);
/* Goes on with the handshake: 1 = it is over, 0 = it waits, -errno. */
int proxy_backend_shake(struct upstream *u);
/* The same for a link, whose backend has to agree on HTTP/2. */
int proxy_link_secure(const struct exchange *ex, struct link *l);
int proxy_link_shake(struct link *l);

#endif
