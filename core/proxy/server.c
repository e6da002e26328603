/* server.c: listening sockets and what comes out of them.
 *
 * Invariants: a listener is in the loop exactly while the present generation names its address and
 * nobody drains. Closed, it stays listed until its last session has ended, since those are still
 * routed by its port.
 * Running out of descriptors: idle connections to backends make room, then clients that are idle. When there
 * are none the reserve is given up for a moment to take the connection and refuse it, since a
 * level-triggered listener that is not emptied would keep the loop busy. */
#include "proxy/parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"
#include "board/board.h"

enum {
    ACCEPTS = 64, /* of one listener before others have their turn */
    DEFER_S = 1   /* the kernel's granularity: it tries once more to connect, which ends the wait */
};

static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                           "Content-Length: 0\r\nConnection: close\r\n\r\n";

static int reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void refuse(const struct listener *l, int fd)
{
    if (!l->port || !l->port->tcp) {
        (void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(fd);
}

/* Takes one connection with the reserved descriptor; false when none waits. */
static bool refuse_one(struct proxy *p, struct listener *l)
{
    if (p->reserve >= 0) {
        close(p->reserve);
        p->reserve = -1;
    }
    int fd = accept4(l->conn.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    bool taken = fd >= 0;
    if (taken) {
        refuse(l, fd);
        board_add(&p->numbers->exhausted, 1);
        proxy_fact(p, "limit", "out of file descriptors: a connection was refused");
    }
    p->reserve = reserve_open();
    return taken;
}

/* Early enough: what is closed now is room only for the next batch of events. */
static bool nearly_full(const struct pool *sessions)
{
    uint32_t low = sessions->count / 16 < ACCEPTS ? sessions->count / 16 : ACCEPTS;
    return sessions->count - sessions->used <= low;
}

static void accept_some(struct proxy *p, struct listener *l, int most)
{
    for (int i = 0; i < most && l->conn.fd >= 0; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        addr.ss_family = AF_UNSPEC;
        int fd = accept4(l->conn.fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            board_add(&p->numbers->accepted, 1);
            if (nearly_full(&p->session_pool)) {
                (void)proxy_session_evict(p);
            }
            if (p->session_pool.used == p->session_pool.count) {
                refuse(l, fd);
                board_add(&p->numbers->exhausted, 1);
                proxy_fact(p, "limit", "out of sessions: a connection was refused");
            } else {
                proxy_session_new(p, l, fd, &addr);
            }
        } else if (errno == EMFILE || errno == ENFILE) {
            if (!proxy_upstream_evict(p) && !proxy_session_evict(p) && !refuse_one(p, l)) {
                return;
            }
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

void proxy_listener_event(struct proxy *p, struct listener *l)
{
    accept_some(p, l, ACCEPTS);
}

static void settle(struct listener *l)
{
    if (!l->sessions && l->conn.fd < 0) {
        list_remove(&l->node);
        mem_free(l);
    }
}

void proxy_listener_leave(struct listener *l)
{
    must(l->sessions > 0);
    l->sessions--;
    settle(l);
}

void proxy_listener_close(struct proxy *p, struct listener *l)
{
    if (l->conn.fd >= 0) {
        if (l->conn.registered) {
            (void)epoll_ctl(p->epoll, EPOLL_CTL_DEL, l->conn.fd, NULL);
        }
        close(l->conn.fd);
        l->conn.fd = -1;
    }
    settle(l);
}

/* HTTP clients speak first, so accepting waits for their bytes; of other protocols nobody knows. It
 * fails on unix sockets, where it means nothing. */
static void defer(const struct listener *l, bool on)
{
    int seconds = !on || (l->port && l->port->tcp) ? 0 : DEFER_S;
    (void)setsockopt(l->conn.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds);
}

/* Points every listener at its port of the present generation and starts or ends it accordingly. */
void proxy_listeners_point(struct proxy *p)
{
    struct list *next;
    for (struct list *at = p->listeners.next; at != &p->listeners; at = next) {
        struct listener *l = list_owner(at, struct listener, node);
        next = at->next;
        l->port = p->current ? proxy_generation_port(p->current, l->address) : NULL;
        if (l->conn.fd < 0) {
            continue;
        }
        if (l->port) {
            defer(l, true);
            int rc = proxy_conn_register(p, &l->conn);
            if (rc) {
                proxy_fact(p, "listen", err_text(rc));
            }
        } else if (p->current && !(p->prepared && proxy_generation_port(p->prepared, l->address))) {
            proxy_listener_close(p, l);
        }
    }
}

static struct listener *find(struct proxy *p, const char *address)
{
    for (struct list *at = p->listeners.next; at != &p->listeners; at = at->next) {
        struct listener *l = list_owner(at, struct listener, node);
        if (l->conn.fd >= 0 && !strcmp(l->address, address)) {
            return l;
        }
    }
    return NULL;
}

int proxy_listen(struct proxy *p, const char *address, int fd)
{
    if (p->draining || find(p, address)) {
        close(fd);
        return 0;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        strlen(address) >= NET_ADDR_TEXT) {
        int rc = flags < 0 ? -errno : -EINVAL;
        close(fd);
        return rc;
    }
    /* Inherited by accepted sockets; it fails on unix sockets, where it means nothing. */
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct listener *l = mem_new(sizeof *l);
    proxy_conn_init(&l->conn, CONN_LISTENER, fd);
    (void)str_copy(l->address, sizeof l->address, address);
    list_append(&p->listeners, &l->node);
    l->port = p->current ? proxy_generation_port(p->current, address) : NULL;
    defer(l, true);
    return l->port ? proxy_conn_register(p, &l->conn) : 0;
}

/* Takes up who waits in its queue, and closes it; the listener after it. */
static struct list *end_listener(struct proxy *p, struct listener *l)
{
    l->sessions++; /* holds it while its queue is emptied */
    if (l->port) {
        accept_some(p, l, 1 << 16);
    }
    proxy_listener_close(p, l);
    struct list *next = l->node.next;
    proxy_listener_leave(l);
    return next;
}

void proxy_listeners_end(struct proxy *p)
{
    if (!p->listen_ms || p->now_ms < p->listen_ms) {
        return;
    }
    p->listen_ms = 0;
    for (struct list *next, *at = p->listeners.next; at != &p->listeners; at = next) {
        next = end_listener(p, list_owner(at, struct listener, node));
    }
}

/* Whether a service behind it has no backend here: another worker may know one. */
static bool lacks_backends(const struct listener *l)
{
    for (uint32_t i = 0; l->port && i < l->port->count; i++) {
        const struct site *site = &l->port->sites[i];
        for (uint32_t k = 0; k < site->count; k++) {
            if (!site->routes[k]->service->count) {
                return true;
            }
        }
    }
    return l->port && l->port->tcp && !l->port->tcp->service->count;
}

/* A connection whose first bytes have not come is known to its listener alone, and is reset when that is
 * closed, also if others listen on the same port. Without deferring the kernel hands it over when it tries
 * to connect once more, a second after the first time. Where we have nobody to ask, new clients are better
 * off with the others at once. */
void proxy_drain(struct proxy *p, uint32_t deadline_ms, uint32_t listen_ms)
{
    proxy_now(p);
    p->drain_ms = p->now_ms + deadline_ms;
    if (!p->draining) {
        p->listen_ms = p->now_ms + listen_ms;
        for (struct list *next, *at = p->listeners.next; at != &p->listeners; at = next) {
            struct listener *l = list_owner(at, struct listener, node);
            next = at->next;
            if (l->conn.fd >= 0 && listen_ms && lacks_backends(l)) {
                next = end_listener(p, l);
            } else if (l->conn.fd >= 0) {
                defer(l, false);
            }
        }
    }
    p->draining = true;
    proxy_listeners_end(p);
    /* Idle connections may still send one request; after a second of silence they are closed. */
    for (struct list *at = p->sessions.next; at != &p->sessions; at = at->next) {
        struct session *s = list_owner(at, struct session, node);
        if (s->state == SESSION_HEAD && !s->in) {
            proxy_timeout_start(p, &s->conn, p->drain_timeout);
        } else if (s->state == SESSION_H2) {
            proxy_h2_drain(s);
        }
    }
}
