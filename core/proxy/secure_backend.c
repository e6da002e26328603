/* secure_backend.c: TLS to backends: handshakes of new connections, and what operators are told of those that fail.
 *
 * Invariants: a connection on which the handshake is not over counts as connecting: it has the time of a
 * connection, and its failure is one. One that was made with other settings than those in force is not used again. */
#include "proxy/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"

enum {
    TOLD_PER_S = 1
};

/* What helps, by a part of OpenSSL's reason. */
static const struct {
    const char *reason, *help;
} helps[] = {
    {"self-signed", "name its authority: upstream_tls = { ca = \"ca.pem\" }"},
    {"unable to get", "name its authority: upstream_tls = { ca = \"ca.pem\" }"},
    {"mismatch",
     "say which name its certificate is for: upstream_tls = { name = \"shop.example\" }"},
    {"has expired", "it has to be renewed there"},
    {"not yet valid", "compare the clocks of both machines"},
    {"wrong version number", "it speaks no TLS there: protocol = \"http\", or another port"},
    {"packet length too long", "it speaks no TLS there: protocol = \"http\", or another port"},
    {"certificate required", "it wants one of us: upstream_tls = { certificate =, key = }"},
    {"alert bad certificate", "it does not take ours: upstream_tls = { certificate =, key = }"},
    {"unknown ca", "it does not take ours: upstream_tls = { certificate =, key = }"},
    {"unrecognized name", "it knows no such name: upstream_tls = { name = \"shop.example\" }"},
    {"did not choose h2", "it speaks HTTP/1.1: protocol = \"https\""},
    {"no application protocol", "it speaks HTTP/1.1: protocol = \"https\""},
    {"protocol version", "it speaks nothing newer than TLS 1.1"},
};

static const char *help_for(const char *reason)
{
    for (size_t i = 0; i < sizeof helps / sizeof helps[0]; i++) {
        if (strstr(reason, helps[i].reason)) {
            return helps[i].help;
        }
    }
    return "look at its own log";
}

static void tell(struct proxy *p, const struct backend *b, const char *reason)
{
    unsigned skipped;
    if (!log_allowed(&p->backend_tls_limit, TOLD_PER_S, &skipped)) {
        return;
    }
    char text[768]; /* an address, a reason and a help; longer ones are cut */
    (void)snprintf(text, sizeof text, "no TLS with %s: %s; %s", b->addr.text, reason,
                   help_for(reason));
    proxy_tell(p, "tls", b->service ? b->service->name : "", b->id, text);
}

/* The part of an address that a certificate can be for: "10.0.0.5:443", "[::1]:443". */
static void host_of(const struct net_addr *addr, char to[NET_ADDR_TEXT])
{
    struct str text = str_of(addr->text);
    bool six = text.len && text.ptr[0] == '[';
    ptrdiff_t end = str_find(text, six ? ']' : ':');
    (void)str_put(to, NET_ADDR_TEXT, str_sub(text, six, end < 0 ? text.len : (size_t)end));
}

struct tls_client *proxy_backend_tls(const struct exchange *ex)
{
    const struct proxy *p = ex->session->proxy;
    return tls_store_client(p->tls_store, ex->route->service->name);
}

/* *ret_client: what c is secured with. */
static int begin(const struct exchange *ex, struct backend *b, struct conn *c,
                 struct tls_client **ret_client)
{
    struct proxy *p = ex->session->proxy;
    char host[NET_ADDR_TEXT];
    *ret_client = proxy_backend_tls(ex);
    if (!*ret_client) {
        tell(p, b, "what its certificate is to be checked with is not there yet");
        return -EPROTO;
    }
    host_of(&b->addr, host);
    c->tls = tls_connect(p->tls_io, *ret_client, c->fd, host, b->addr.text);
    return 0;
}

static int shake(struct proxy *p, const struct backend *b, struct conn *c)
{
    if (!(c->writable || c->readable || c->error)) {
        return 0;
    }
    int rc = tls_handshake(c->tls);
    if (rc == 1) {
        c->writable = true;
        c->readable = tls_more(c->tls) || c->hup;
        return 1;
    }
    if (rc == 0) {
        c->writable = !tls_blocked(c->tls);
        c->readable = false;
        return c->hup ? -ECONNRESET : 0;
    }
    if (rc == -EPROTO) {
        tell(p, b, tls_why(c->tls));
    }
    return rc;
}

int proxy_backend_secure(const struct exchange *ex, struct upstream *u)
{
    int rc = begin(ex, u->backend, &u->conn, &u->client);
    u->securing = !rc;
    return rc;
}

int proxy_backend_shake(struct upstream *u)
{
    int rc = u->introduced ? shake(u->proxy, u->backend, &u->conn) : 0;
    u->securing = rc != 1;
    return rc;
}

int proxy_link_secure(const struct exchange *ex, struct link *l)
{
    return begin(ex, l->backend, &l->conn, &l->client);
}

int proxy_link_shake(struct link *l)
{
    int rc = shake(l->proxy, l->backend, &l->conn);
    if (rc == 1 && !tls_http2(l->conn.tls)) {
        tell(l->proxy, l->backend, "it did not choose h2 by ALPN");
        return -EPROTO;
    }
    return rc;
}
