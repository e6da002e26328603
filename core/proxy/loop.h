/* loop.h: what the loop is made of: memory, sockets, time-outs; private to the proxy. */
#ifndef PROXY_LOOP_H
#define PROXY_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/str.h"

struct proxy;
struct tls;

enum {
    SCRATCH_BYTES = 64 << 10,   /* one receive, and the most that waits in one direction */
    HEAD_EXTRA_BYTES = 4 << 10, /* what a head may grow by when it is written anew */
    BLOCK_BYTES = SCRATCH_BYTES + LIMIT_HEAD_BYTES + HEAD_EXTRA_BYTES + 64, /* 64: chunk framing */
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
    CONN_LINK,
    CONN_DEADLINE, /* no socket: the end of an exchange's time */
    CONN_TOLD,     /* no socket: a stream of HTTP/2 that was answered before its request ended */
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
    struct tls *tls;         /* NULL: bytes are as they come; only the functions below look at it */
    struct timeout *timeout; /* NULL: no time-out runs */
    uint64_t since_ms;
    struct list node; /* of the time-out's list, or of the graveyard */
};

void proxy_conn_init(struct conn *c, enum conn_kind kind, int fd);
/* Has the loop watch it; does nothing the second time. -errno. */
int proxy_conn_register(struct proxy *p, struct conn *c);
/* Closes it; its owner's memory is reused behind this batch of events. */
void proxy_conn_bury(struct proxy *p, struct conn *c);
/* Says that nothing follows. */
void proxy_conn_shut(struct conn *c);
/* Forgets TLS, so that the end that follows is no clean one. */
void proxy_conn_break(struct conn *c);
/* Bytes received; 0 at the end; -EAGAIN or another -errno. Keeps `readable` right. */
ssize_t proxy_conn_recv(struct conn *c, void *to, size_t size);
/* Whether the other side is still there and has said nothing; costs a system call. */
bool proxy_conn_quiet(struct conn *c);
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

#endif
