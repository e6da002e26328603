/* session.h: client connections and what they get from us alone; private to the proxy. */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/list.h"
#include "net/http1.h"
#include "net/net.h"
#include "net/peer.h"
#include "proxy/loop.h"

struct access;
struct cJSON;
struct exchange;
struct h2;
struct port;
struct proxy;
struct route;
struct sockaddr_storage;

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
/* While draining: closes those whose time is over. */
void proxy_listeners_end(struct proxy *p);

/* ---- session.c --------------------------------------------------------------------------- */

enum session_state {
    SESSION_PROXIED,   /* a proxy that is believed first says for whom it comes */
    SESSION_HANDSHAKE, /* of TLS */
    SESSION_HEAD,
    SESSION_EXCHANGE,
    SESSION_H2,      /* carries sessions of its own */
    SESSION_CLOSING, /* what waits is written, then it ends */
    SESSION_LINGER,  /* we wrote all; reads until the client has closed too */
    SESSION_DEAD,
    SESSION_STATES
};

/* The client of a session that has no socket of its own: a stream of a connection that carries many, or the proxy
 * itself. Such a session has one exchange; conn.fd is -1, and conn.readable, conn.writable and time-outs work as those of
 * a socket do. Heads are HTTP/1.1 text without Connection and Transfer-Encoding, bodies are bare, and their end is told. */
struct carrier {
    const char *protocol; /* as logs and Via tell it: "HTTP/2.0" */
    /* Bytes of the request's body; 0: it has ended; -EAGAIN, with conn.readable false: none now; or another -errno. With the
     * last bytes it may set session->ended already. When there is more it sets conn.readable and steps the session. */
    ssize_t (*recv)(struct session *s, void *to, size_t size);
    /* Takes all of it: a head (interim ones come alone; or empty), what follows of the body, and when `last` the end, with
     * trailers (as they stand behind chunks; or empty). The strings are borrowed. -errno. */
    int (*send)(struct session *s, struct str head, struct str data, bool last,
                struct str trailers);
    /* 1 = nothing waits for the client, 0 = some does: steps the session when that has changed, -errno. */
    int (*flush)(struct session *s);
    /* The session is over, with `reset` so that its client cannot take it for a clean end. What is lent to it is free;
     * `s` is not to be used any more. */
    void (*over)(struct session *s, bool reset);
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
    bool yields;       /* has had its share of this round */
    bool starved;      /* what is in `in` is not a whole head */
    bool last;         /* ends with the present answer */
    bool untidy;       /* request bytes may still come: linger */
    bool served;       /* has had an exchange */
    bool ended;        /* by a carrier: nothing follows what recv gave */
    uint32_t lingered; /* bytes thrown away since */
    uint32_t key;
    uint16_t from_port;
    uint8_t word;     /* enum peer_word: of `from`, for the present request */
    bool borrowed;    /* peer and key are what a proxy said, for the present request */
    bool said_secure; /* and it said that its client came by https */
    bool secure;      /* it came to us by https */
    struct net_ip
        from; /* who connected; behind a proxy that speaks the PROXY protocol: its client */
    char peer[NET_IP_TEXT]; /* the client, as all see it: policies, limits, logs, backends */
    const struct tls
        *tls;            /* that it came by, behind the handshake, be it a carrier's; NULL: none */
    struct list shaking; /* of handshakes under way */
    const struct carrier *carrier; /* NULL: the client is behind `conn` */
    void *carried;                 /* the carrier's own */
    const struct session *parent;  /* whose connection it came by; NULL: its own, or none */
    struct h2 *h2;                 /* SESSION_H2 */
};

void proxy_session_new(struct proxy *p, struct listener *l, int fd,
                       const struct sockaddr_storage *addr);
/* A session without a socket, for one exchange; `from` is who asks. NULL: out of sessions. */
struct session *proxy_session_carry(struct proxy *p, struct listener *l,
                                    const struct carrier *carrier, void *carried,
                                    const struct net_ip *from, uint16_t from_port);
/* Its request: `head` is HTTP/1.1 text, whole; "Transfer-Encoding: chunked" says that a body of unknown length comes.
 * `route`: NULL = by the head. The session may be dead afterwards. */
void proxy_session_request(struct session *s, struct str head, struct route *route);
/* Refuses it instead. */
void proxy_session_refuse(struct session *s, int status, const char *why);
/* Does all that can be done now. The session may be dead afterwards. */
void proxy_session_step(struct session *s);
/* Has it stepped behind the present batch of events. */
void proxy_session_soon(struct session *s);
void proxy_session_timeout(struct session *s);
/* Request bytes behind the head, as proxy_conn_recv. */
ssize_t proxy_session_recv(struct session *s, void *to, size_t size);
/* Writes to a socket, and keeps in `out` what the kernel does not take. -errno. */
int proxy_session_send(struct session *s, const struct iovec *iov, int count);
/* The same to any client: a head or nothing, body bytes as they are, and whether they are the last. */
int proxy_session_tell(struct session *s, struct str head, struct str data, bool last);
/* The client gets no more bytes, but may send some. */
void proxy_session_shut(struct session *s);
/* Writes what waits. 1 = none waits now, 0 = some still does, -errno. */
int proxy_session_flush(struct session *s);
/* Ends it now; with `reset` so that the client cannot take it for a clean end. */
void proxy_session_kill(struct session *s, bool reset);
/* Closes a client that has been idle for long between two requests, to make room; false: none is. Its
 * descriptor is free then, its memory behind this batch of events. */
bool proxy_session_evict(struct proxy *p);
/* The exchange is over: the next head, or the end. */
void proxy_session_next(struct session *s);

/* For a whole head, however it trickles in. */
struct timeout *proxy_header_timeout(const struct session *s);

/* ---- secure.c ---------------------------------------------------------------------------- */

/* SESSION_HANDSHAKE: goes on with it; whether the session goes on. */
bool proxy_secure_step(struct session *s);
void proxy_secure_timeout(struct session *s);
/* Its handshake is over, one way or the other. */
void proxy_secure_leave(struct session *s);
/* What was prepared counts; is forgotten; all of it is. */
void proxy_secure_commit(struct proxy *p);
void proxy_secure_abort(struct proxy *p);
void proxy_secure_free(struct proxy *p);
/* Whether a request came on a connection (s->tls is not NULL) with a certificate that is not for its host, where another
 * is: 421. */
bool proxy_secure_misdirected(const struct session *s, const struct http1_head *head);
/* Whether what came to a plain port is a hello of TLS. */
bool proxy_secure_hello(struct str bytes);

/* ---- peer.c ------------------------------------------------------------------------------ */

/* Whether what a peer says of its own client counts. */
enum peer_word {
    PEER_UNASKED, /* no proxies are named: what it says goes on, and stands for nothing */
    PEER_DOUBTED, /* it is none of them: what it says is dropped */
    PEER_BELIEVED
};

/* The client is `ip`: peer and key follow. */
void proxy_peer_set(struct session *s, const struct net_ip *ip);
/* Whether a PROXY header comes first on a new connection. */
bool proxy_peer_speaks_first(const struct session *s);
/* Takes the PROXY header off the socket: 1 = there it is, 0 = it is not whole, -EPROTO or another -errno. */
int proxy_peer_read(struct session *s);
/* Before a request on that route: who its client is. */
void proxy_peer_find(struct session *s, const struct route *r, const struct http1_head *head);
/* Whether the client came by https, as far as we see or a believed proxy says. */
bool proxy_peer_secure(const struct session *s);
/* The PROXY header (version 1 or 2) that tells a backend of the client. Its length. */
size_t proxy_peer_write(const struct session *s, int version, char to[NET_PROXIED_BYTES]);

/* ---- h2.c -------------------------------------------------------------------------------- */

/* Whether these first bytes are a client's of HTTP/2, and it may be one. */
bool proxy_h2_speaks(const struct session *s, struct str bytes);
/* The connection is one of HTTP/2 from here on; `bytes` came already. False: it is gone. */
bool proxy_h2_begin(struct session *s, struct str bytes);
/* Reads some; whether there may be more. */
bool proxy_h2_step(struct session *s);
void proxy_h2_timeout(struct session *s);
/* What still comes of a request was waited for long enough. */
void proxy_h2_told_timeout(struct conn *c);
/* Tells the client to go elsewhere. */
void proxy_h2_drain(struct session *s);
bool proxy_h2_idle(const struct session *s);
/* Ends its streams. */
void proxy_h2_free(struct session *s);
/* Writes what a round came to. */
void proxy_h2_run(struct proxy *p);
/* Sizes of a connection's and a stream's own memory. */
size_t proxy_h2_bytes(void);
size_t proxy_h2_stream_bytes(void);
/* Frees what all connections share. */
void proxy_h2_end(struct proxy *p);

/* ---- answer.c ---------------------------------------------------------------------------- */

/* An answer of our own; what it names is lent. */
struct reply {
    int status;
    const char
        *why; /* a short sentence of ours: with the id it is the body when there is no type */
    struct str type, body; /* of an operator's */
    struct str fields;     /* more of them: whole lines */
    const char *id;        /* of the request; "": it has none */
    bool head_only;
    bool keep; /* the connection may go on */
    bool grpc; /* to a call of gRPC, which is told a status of its own */
};

/* Sends it; -errno. */
int proxy_reply(struct session *s, const struct reply *reply);
/* A reply that is but a sentence, or the cluster's page for such a status. */
int proxy_answer(struct session *s, int status, const char *id, const char *why, bool head_only,
                 bool keep);
/* The present time as in a Date field. Lends: until the next call. */
const char *proxy_date(struct proxy *p);
/* 32 random hexadecimal digits and NUL. */
void proxy_request_id(struct proxy *p, char ret_id[33]);
uint64_t proxy_random(struct proxy *p);

/* ---- challenge.c ------------------------------------------------------------------------- */

/* Answers the challenge of an ACME authority when it is one that we know; only while there are some. The session may
 * be dead afterwards. */
bool proxy_challenge_answer(struct session *s, const struct http1_head *head);

/* ---- refuse.c ---------------------------------------------------------------------------- */

/* The client's own request id where it is sound, else a new one: REQUEST_ID_BYTES and NUL at most. */
void proxy_request_id_of(struct proxy *p, const struct http1_head *head, char *ret_id);
/* Answers a request that has no exchange. */
void proxy_refuse(struct session *s, const struct http1_head *head, int status, const char *why);
/* What is answered here, whatever the routes say; false: go on. */
bool proxy_refuse_early(struct session *s, const struct http1_head *head);

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

#endif
