/* secure.c: TLS of clients: handshakes, how many there may be, and what is no TLS.
 *
 * Invariants: a handshake has the time of a head, from the first byte on and whatever comes. A client that says nothing, or
 * part of its first record, costs its session and a small object; those whose hello has come have one of
 * OpenSSL's, and of them there are HANDSHAKES at most: the oldest gives way, which is never one that a client and a
 * network of this world need. Handshakes are computing, so a round of the loop has few, and others' requests
 * do not wait for all that came at once. */
#include "proxy/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "board/board.h"

enum {
    HANDSHAKES = 1024,
    ROUND = 2 /* steps of handshakes in one round of the loop */
};

static const char plain_text[] = "this port speaks TLS: use https://";

int proxy_certificates(struct proxy *p, const struct cJSON *message, bool prepares, char **reterr)
{
    struct tls_store *store = NULL;
    int rc = tls_store_new(message, p->tls_store, &store, reterr);
    if (rc) {
        return rc;
    }
    p->tls_io = p->tls_io ? p->tls_io : tls_io_new();
    struct tls_store **to = prepares ? &p->tls_prepared : &p->tls_store;
    tls_store_free(*to);
    *to = store;
    return 0;
}

void proxy_secure_commit(struct proxy *p)
{
    if (p->tls_prepared) {
        tls_store_free(p->tls_store);
        p->tls_store = p->tls_prepared;
        p->tls_prepared = NULL;
    }
}

void proxy_secure_abort(struct proxy *p)
{
    tls_store_free(p->tls_prepared);
    p->tls_prepared = NULL;
}

void proxy_secure_free(struct proxy *p)
{
    proxy_secure_abort(p);
    tls_store_free(p->tls_store);
    tls_io_free(p->tls_io);
    p->tls_store = NULL;
    p->tls_io = NULL;
}

void proxy_secure_leave(struct session *s)
{
    if (!list_empty(&s->shaking)) {
        list_remove(&s->shaking);
        s->proxy->handshake_count--;
    }
}

/* Its hello has come: one more is under way. */
static void enter(struct session *s)
{
    struct proxy *p = s->proxy;
    if (!list_empty(&s->shaking)) {
        return;
    }
    if (p->handshake_count >= HANDSHAKES) {
        board_add(&p->numbers->handshakes_failed, 1);
        proxy_fact(p, "limit", "too many TLS handshakes are under way: the oldest gave way");
        proxy_session_kill(list_owner(p->handshakes.next, struct session, shaking), true);
    }
    list_append(&p->handshakes, &s->shaking);
    p->handshake_count++;
}

static bool begin(struct session *s)
{
    struct proxy *p = s->proxy;
    struct tls_server *server = tls_store_server(p->tls_store, s->listener->address);
    if (!server) {
        board_add(&p->numbers->handshakes_failed, 1);
        proxy_fact(p, "tls", "a connection was closed: there is no certificate for its port yet");
        proxy_session_kill(s, true);
        return false;
    }
    s->conn.tls = tls_accept(p->tls_io, server, s->conn.fd);
    s->secure = true;
    return true;
}

/* The first bytes are no hello of TLS; what looks like a request is told so in plain text. */
static bool refuse_plain(struct session *s)
{
    struct proxy *p = s->proxy;
    size_t len;
    const char *first = tls_first(s->conn.tls, &len);
    bool request = len > 0 && first[0] >= 'A' && first[0] <= 'Z';
    tls_free(s->conn.tls);
    s->conn.tls = NULL;
    s->secure = false;
    board_add(&p->numbers->not_tls, 1);
    proxy_fact(p, "tls",
               "what came to a port that speaks TLS was no TLS: a client that uses http:// "
               "there is told to use https://");
    if (!request) {
        proxy_session_kill(s, true);
        return false;
    }
    s->untidy = true;
    proxy_access_refused(s, NULL, 400, "");
    (void)proxy_answer(s, 400, "", plain_text, false, false);
    return s->state != SESSION_DEAD;
}

/* Our alert says why. In TLS 1.3 a client whose certificate is refused has sent a request already: closing with that
 * unread would reset the connection, and it might lose the alert. */
static bool listen_on(struct session *s)
{
    struct proxy *p = s->proxy;
    proxy_secure_leave(s);
    proxy_session_shut(s);
    tls_free(s->conn.tls);
    s->conn.tls = NULL;
    s->secure = false;
    s->state = SESSION_LINGER;
    proxy_timeout_start(p, &s->conn, p->linger_timeout);
    if (!s->conn.registered && proxy_conn_register(p, &s->conn)) {
        proxy_session_kill(s, true);
        return false;
    }
    s->conn.readable = true;
    return true;
}

static bool fail(struct session *s, int rc)
{
    struct proxy *p = s->proxy;
    board_add(&p->numbers->handshakes_failed, 1);
    if (rc == -EPROTO) {
        char text[512]; /* an address, a peer and a sentence of OpenSSL's; longer ones are cut */
        (void)snprintf(text, sizeof text, "%s: no TLS with %s: %s", s->listener->address, s->peer,
                       tls_why(s->conn.tls));
        proxy_fact(p, "tls", text);
        return listen_on(s);
    }
    proxy_session_kill(s, false);
    return false;
}

static bool succeed(struct session *s)
{
    struct proxy *p = s->proxy;
    const struct tls *t = s->conn.tls;
    board_add(&p->numbers->handshakes, 1);
    if (tls_resumed(t)) {
        board_add(&p->numbers->handshakes_resumed, 1);
    }
    proxy_secure_leave(s);
    proxy_timeout_stop(&s->conn);
    if (tls_acme(t)) { /* the authority has seen what it wanted to see */
        proxy_session_kill(s, false);
        return false;
    }
    s->tls = t;
    s->state = SESSION_HEAD;
    s->conn.readable = tls_more(t) || s->conn.hup;
    return !tls_http2(t) || proxy_h2_begin(s, (struct str){NULL, 0});
}

static bool wait(struct session *s)
{
    struct proxy *p = s->proxy;
    if (!s->conn.timeout) {
        proxy_timeout_start(p, &s->conn, proxy_header_timeout(s));
    }
    if (proxy_conn_register(p, &s->conn)) {
        proxy_session_kill(s, true);
    }
    return false;
}

bool proxy_secure_step(struct session *s)
{
    struct proxy *p = s->proxy;
    if (s->conn.error) {
        proxy_session_kill(s, true);
        return false;
    }
    if (!s->conn.tls && !begin(s)) {
        return false;
    }
    struct tls *t = s->conn.tls;
    if (!s->conn.readable && !(tls_blocked(t) && s->conn.writable)) {
        return wait(s);
    }
    if (p->handshake_steps >= ROUND) {
        list_append(&p->ready, &s->ready);
        return false;
    }
    int rc = tls_handshake(t);
    if (tls_begun(t)) {
        p->handshake_steps++;
        enter(s);
    }
    if (rc == 1) {
        return succeed(s);
    }
    if (rc == -ENOMSG) {
        return refuse_plain(s);
    }
    if (rc) {
        return fail(s, rc);
    }
    s->conn.writable = s->conn.writable && !tls_blocked(t);
    s->conn.readable = s->conn.hup; /* then the next step finds the end */
    return s->conn.readable || wait(s);
}

void proxy_secure_timeout(struct session *s)
{
    board_add(&s->proxy->numbers->handshakes_failed, 1);
    proxy_session_kill(s, true);
}

bool proxy_secure_misdirected(const struct session *s, const struct http1_head *head)
{
    char name[HOST_BYTES];
    size_t len;
    return proxy_host_name(head->host, name, sizeof name, &len) && len && !tls_covers(s->tls, name);
}

bool proxy_secure_hello(struct str bytes)
{
    return bytes.len > 2 && bytes.ptr[0] == 22 && bytes.ptr[1] == 3;
}
