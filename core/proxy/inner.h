/* inner.h: requests of the proxy's own, beside those of clients: questions of forward_auth, and mirrored ones; private
 * to the proxy. Each is a session without a socket on an inner route, so pools, circuits, queue and time-outs are those of
 * its service. */
#ifndef PROXY_INNER_H
#define PROXY_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/str.h"
#include "net/peer.h"
#include "proxy/steps.h"

struct carrier;
struct exchange;
struct generation;
struct http1_head;
struct listener;
struct proxy;
struct route;
struct session;

enum {
    INNER_BODY_BYTES = 16 << 10, /* kept of an answer */
    INNER_ASKED = 256,           /* questions at a time */
    INNER_MIRRORED = 64          /* mirrored requests at a time */
};

struct inner {
    struct list node; /* of those that have not begun */
    struct proxy *proxy;
    struct exchange *outer;        /* that waits for the answer; NULL: nobody does */
    struct session *session;       /* NULL: it has not begun, or is over */
    struct listener *listener;     /* that of its client */
    struct generation *generation; /* of the route */
    struct route *route;
    struct net_ip from;
    uint16_t from_port;
    bool secure;   /* its client came by https */
    bool mirrored; /* it is a mirrored request: its answer is dropped */
    bool over;     /* nothing more comes */
    bool whole;    /* the answer is */
    bool cut;      /* its body is longer than is kept */
    char *request; /* head and body; freed when it begins, but for the body */
    size_t head_len, len, at;
    char *answer; /* its head as a client would get it; NULL: none came */
    size_t answer_len;
    char *body;
    size_t body_len;
};

extern const struct carrier proxy_inner_carrier;

/* Of a client's exchange, to `route`; `request` (head and body) is copied. It begins in this round of the loop, when
 * nobody else is in the middle of a step. The caller waits for it as ex->course->asks, or nobody does (`mirrored`).
 * NULL: too many are under way. */
struct inner *proxy_inner_new(struct exchange *ex, struct route *route, struct str head,
                              struct str body, bool mirrored);
/* Nobody waits for it any more: it ends. NULL is allowed. */
void proxy_inner_leave(struct inner *in);
/* Begins those that have not begun. */
void proxy_inner_run(struct proxy *p);
/* Those that have not begun never do. */
void proxy_inner_drop(struct proxy *p);

/* ---- ask.c ------------------------------------------------------------------------------- */

/* Asks the route's service whether the request may go on; asked again when the answer is there. */
enum stepped proxy_ask(struct exchange *ex, const struct http1_head *head, struct reply *ret_reply);
/* A request is about to go to its backend: has a copy of it sent, or waits for its body, where the route wants that.
 * `head`: of the client. */
void proxy_mirror(struct exchange *ex, const struct http1_head *head);
/* ex->course->copy: more of the body came; ex->in.done: that is all. */
void proxy_mirror_more(struct exchange *ex, struct str data);
/* The request never gets whole. */
void proxy_mirror_drop(struct exchange *ex);

#endif
