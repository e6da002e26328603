/* peer.c: who a client is, behind proxies that are believed.
 *
 * A PROXY header tells it for a connection, X-Forwarded-For or Forwarded for a request. `from` is who the connection
 * is from, `peer` and `key` are the client of the present request, which is what everybody looks at.
 * Invariants: what a peer says counts only when it is one of the route's trusted proxies; bytes of a PROXY
 * header are looked at without taking them, so nothing behind it is ever read with it. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ban.h"
#include "base/hash.h"
#include "board/board.h"

void proxy_peer_set(struct session *s, const struct net_ip *ip)
{
    net_ip_text(ip, s->peer);
    s->key = ip->len ? (uint32_t)hash_bytes(ip->bytes, ip->len) : 0;
}

static bool believes(const struct trust *trust, const struct session *s)
{
    return trust && net_networks_have(trust->networks, trust->count, &s->from);
}

bool proxy_peer_speaks_first(const struct session *s)
{
    const struct port *port = s->listener ? s->listener->port : NULL;
    return port && believes(port->proxies, s);
}

int proxy_peer_read(struct session *s)
{
    struct proxy *p = s->proxy;
    struct net_proxied said;
    ssize_t n;
    do {
        n = recv(s->conn.fd, p->scratch, LIMIT_PROXY_HEADER_BYTES, MSG_PEEK);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
    }
    ssize_t len =
        net_proxied_parse((struct str){p->scratch, (size_t)n}, LIMIT_PROXY_HEADER_BYTES, &said);
    if (len < 0) {
        board_add(&p->numbers->bad_requests, 1);
        proxy_fact(p, "proxy_protocol",
                   "a trusted proxy did not begin with a PROXY header: its connection was closed");
        return (int)len;
    }
    if (!len) {
        return s->conn.hup ? -ECONNRESET : 0;
    }
    if (recv(s->conn.fd, p->scratch, (size_t)len, 0) != len) {
        return -ECONNRESET;
    }
    if (said.from.len) {
        s->from = said.from;
        s->from_port = said.from_port;
        proxy_peer_set(s, &s->from);
    }
    return 1;
}

/* The values of all fields of that name, at most `most`; their number. */
static size_t collect(const struct http1_head *head, bool rfc7239, struct str *to, size_t most)
{
    size_t count = 0;
    for (uint32_t i = 0; i < head->field_count && count < most; i++) {
        const struct http1_field *f = &head->fields[i];
        if (rfc7239 ? str_is_nocase(f->name, "forwarded") : f->known == HTTP1_X_FORWARDED_FOR) {
            to[count++] = f->value;
        }
    }
    return count;
}

static bool says_https(const struct http1_head *head, const struct str *forwarded, size_t count)
{
    const struct http1_field *f = http1_find(head, HTTP1_X_FORWARDED_PROTO);
    if (f) {
        return str_is_nocase(f->value, "https") || str_is_nocase(f->value, "wss");
    }
    return count && str_is_nocase(net_forwarded_proto(forwarded[count - 1]), "https");
}

void proxy_peer_find(struct session *s, const struct route *r, const struct http1_head *head)
{
    struct str fields[LIMIT_FIELDS], forwarded[LIMIT_FIELDS];
    if (s->borrowed) {
        proxy_peer_set(s, &s->from);
    }
    s->borrowed = s->said_secure = false;
    s->word = !r->trust ? PEER_UNASKED : believes(r->trust, s) ? PEER_BELIEVED : PEER_DOUBTED;
    if (s->word != PEER_BELIEVED) {
        return;
    }
    size_t count = collect(head, false, fields, LIMIT_FIELDS);
    size_t others = collect(head, true, forwarded, LIMIT_FIELDS);
    bool rfc7239 = !count;
    struct net_ip client =
        net_forwarded_client(rfc7239 ? forwarded : fields, rfc7239 ? others : count, rfc7239,
                             r->trust->networks, r->trust->count, &s->from);
    s->said_secure = says_https(head, forwarded, others);
    s->borrowed = true;
    proxy_peer_set(s, &client);
}

bool proxy_peer_secure(const struct session *s)
{
    return s->said_secure || s->secure;
}

size_t proxy_peer_write(const struct session *s, int version, char to[NET_PROXIED_BYTES])
{
    struct net_proxied said = {.from = s->from, .from_port = s->from_port};
    struct sockaddr_storage local = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof local;
    if (s->borrowed && !net_ip_parse(str_of(s->peer), &said.from)) {
        said.from_port = 0;
    }
    int fd = s->parent ? s->parent->conn.fd : s->conn.fd;
    if (fd >= 0) {
        (void)getsockname(fd, (struct sockaddr *)&local, &len);
    }
    net_ip_of((const struct sockaddr *)&local, &said.to, &said.to_port);
    return net_proxied_write(&said, version, to);
}
