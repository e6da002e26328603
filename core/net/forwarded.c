/* forwarded.c: the client as a chain of proxies tells of it; see peer.h.
 *
 * The chain is read from its end, where the proxies that we believe wrote; what a client put before it is never
 * reached unless all behind it are believed. Only the last CHAIN_MOST hops are looked at. */
#include <string.h>

#include "base/ban.h"
#include "net/peer.h"

enum {
    CHAIN_MOST = 32
};

struct chain {
    struct str hops[CHAIN_MOST]; /* the last ones */
    size_t count;
};

static void add(struct chain *c, struct str hop)
{
    if (c->count == CHAIN_MOST) {
        memmove(c->hops, c->hops + 1, sizeof c->hops - sizeof c->hops[0]);
        c->count--;
    }
    c->hops[c->count++] = hop;
}

/* What stands before the first `c` outside of quotes; as str_next. */
static bool next_unquoted(struct str *rest, char c, struct str *ret_part)
{
    bool quoted = false;
    size_t at = 0;
    if (!rest->ptr) {
        return false;
    }
    for (; at < rest->len && (quoted || rest->ptr[at] != c); at++) {
        if (quoted && rest->ptr[at] == '\\') {
            at += at + 1 < rest->len;
        } else if (rest->ptr[at] == '"') {
            quoted = !quoted;
        }
    }
    *ret_part = str_sub(*rest, 0, at);
    *rest = at < rest->len ? str_sub(*rest, at + 1, rest->len) : (struct str){NULL, 0};
    return true;
}

/* The value of a parameter of one element, without quotes; escapes within stay, and then it is no address. */
static struct str parameter(struct str element, const char *name)
{
    struct str pair, key;
    while (next_unquoted(&element, ';', &pair)) {
        struct str value = str_trim(pair);
        if (!str_next(&value, '=', &key) || !str_is_nocase(key, name)) {
            continue;
        }
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"') {
            value = str_sub(value, 1, value.len - 1);
        }
        return value;
    }
    return (struct str){NULL, 0};
}

/* "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]:4711". */
static bool hop_ip(struct str hop, struct net_ip *ret_ip)
{
    struct str host = hop;
    ptrdiff_t colon = str_find(hop, ':'), end = str_find(hop, ']');
    if (hop.len && hop.ptr[0] == '[') {
        if (end < 0 || ((size_t)end + 1 < hop.len && hop.ptr[end + 1] != ':')) {
            return false;
        }
        host = str_sub(hop, 1, (size_t)end);
    } else if (colon >= 0 && str_find(str_sub(hop, (size_t)colon + 1, hop.len), ':') < 0) {
        host = str_sub(hop, 0, (size_t)colon);
    }
    return !net_ip_parse(host, ret_ip);
}

static void read_field(struct chain *c, struct str field, bool rfc7239)
{
    struct str element;
    while (rfc7239 ? next_unquoted(&field, ',', &element) : str_next(&field, ',', &element)) {
        element = str_trim(element);
        if (element.len) {
            add(c, rfc7239 ? parameter(element, "for") : element);
        }
    }
}

struct net_ip net_forwarded_client(const struct str *fields, size_t count, bool rfc7239,
                                   const struct net_network *networks, size_t network_count,
                                   const struct net_ip *peer)
{
    struct chain chain = {.count = 0};
    struct net_ip client = *peer, hop;
    for (size_t i = 0; i < count; i++) {
        read_field(&chain, fields[i], rfc7239);
    }
    while (chain.count && net_networks_have(networks, network_count, &client) &&
           hop_ip(chain.hops[--chain.count], &hop)) {
        client = hop;
    }
    return client;
}

struct str net_forwarded_proto(struct str field)
{
    struct str element, last = {NULL, 0};
    while (next_unquoted(&field, ',', &element)) {
        last = element;
    }
    return parameter(last, "proto");
}
