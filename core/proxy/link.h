/* link.h: connections of HTTP/2 to backends, shared by exchanges; private to the proxy.
 *
 * A link is one connection; the `struct upstream` of an exchange is then a stream of it, with no socket of its
 * own: its conn has the flags and time-outs of one. Heads are HTTP/1.1 text on both ways, so that the rest of the
 * proxy need not know; bodies come and go as they are, without chunks.
 *
 *   CONNECTING -> open -> LEAVING (GOAWAY, drain, out of stream ids: takes no more) -> gone with its last stream */
#ifndef PROXY_LINK_H
#define PROXY_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/list.h"
#include "proxy/loop.h"

struct backend;
struct exchange;
struct nghttp2_session;
struct proxy;
struct tls_client;
struct upstream;

enum {
    /* Links with streams open that say nothing. gRPC's servers count pings that come sooner than five minutes apart
     * as abuse. */
    LINK_SILENCE_MS = 310000, /* until we ask whether the backend is there, */
    LINK_PONG_MS = 15000      /* and how long it may take to answer */
};

struct link {
    struct conn conn;
    struct proxy *proxy;
    struct backend *backend;
    struct nghttp2_session *http2;
    struct list node;     /* of its backend */
    struct list due;      /* of those that have something to do behind this batch of events */
    struct list streams;  /* upstreams with an exchange */
    struct block *out;    /* what the kernel would not take yet */
    uint64_t made, taken; /* bytes ever: written by nghttp2; handed to the kernel */
    uint32_t open; /* streams that are not closed, those that nobody waits for any more included */
    struct tls_client *client; /* that it is secured with; NULL: it is plain */
    bool connecting, leaving;
    bool reached; /* there is a connection; what is left is a handshake */
    bool settled; /* the backend's SETTINGS came */
    bool heard;   /* something came since the time-out was set */
    bool pinged;  /* and nothing came since */
};

/* What an upstream has beside its conn when it is a stream. */
struct lane {
    struct link
        *link;        /* NULL: the connection has gone, or the stream is closed and taken from it */
    struct list node; /* of the link's */
    int32_t id;       /* 0: not yet asked for */
    struct block *in; /* heads and body that the exchange did not take yet, */
    uint32_t head_left;   /* of which so much is heads, for which no window is given back */
    uint32_t section;     /* bytes of its trailer section */
    uint64_t made_before; /* what the link had made before its head */
    int error;            /* why it broke off, -errno; 0: it did not */
    bool written;         /* its head was */
    bool asked;           /* nghttp2 has the end of the request */
    bool final;           /* the head that comes, or came last, is that of the final answer, */
    bool headed;          /* and it is whole */
    bool ended;           /* the whole answer came */
    bool closed;
    bool untouched; /* the backend says, or we know, that it saw nothing of the request */
};

/* ---- link.c ------------------------------------------------------------------------------ */

/* A stream (lane) for the exchange on a link to its backend that has room, on a new one, or one that waits for room. -errno as
 * proxy_upstream_open. */
int proxy_link_open(struct exchange *ex);
/* For links that begin to be quiet from now on; tests have not so long. */
void proxy_links_patience(struct proxy *p, uint32_t silence_ms, uint32_t pong_ms);
/* It has something to write, or to read on. */
void proxy_link_due(struct link *l);
/* What is due; behind every batch of events. */
void proxy_links_run(struct proxy *p);
void proxy_link_event(struct link *l);
void proxy_link_timeout(struct link *l);
/* Closes those of a backend that nobody uses; the others go with their last stream when the backend is drained or has left. */
void proxy_links_close_idle(struct backend *b);
/* Closes it when nobody uses it; to have its descriptor. */
bool proxy_link_evict(struct link *l);

/* ---- lane.c ----------------------------------------------------------------------- */

/* A client's session of nghttp2 for the link; -ENOMEM. */
int proxy_link_session(struct link *l);
/* The link is gone: its streams with it. */
void proxy_link_lose(struct link *l, int error);
/* The functions of upstream.c for streams: more of the request that stands in ex->request: 0 or -errno. */
int proxy_lane_ask(struct upstream *u);
ssize_t proxy_lane_recv(struct upstream *u, void *to, size_t size);
int proxy_lane_send(struct upstream *u, const struct iovec *iov, int count);
int proxy_lane_flush(struct upstream *u);
/* No more of the request comes. */
void proxy_lane_end(struct upstream *u);
/* Whether all of the answer is there and taken. */
bool proxy_lane_ended(const struct upstream *u);
/* Whether the backend cannot have seen anything of the request, as far as that is known of a stream that broke off. */
bool proxy_lane_untouched(const struct upstream *u);
void proxy_lane_release(struct upstream *u);

#endif
