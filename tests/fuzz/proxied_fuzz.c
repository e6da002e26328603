/* proxied_fuzz.c: libFuzzer target of what proxies in front say of clients (scripts/dev fuzz).
 *
 * PROXY headers: what was taken for one is the same with whatever behind it, no part of it is one, and it reads the
 * same when it is written anew. The same bytes are read as X-Forwarded-For, as Forwarded and as addresses.
 * sources: core/net/proxied.c core/net/forwarded.c core/net/cidr.c core/base/str.c
 */
#include <stdlib.h>
#include <string.h>

#include "net/peer.h"

enum {
    MOST = 4096
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static bool same(const struct net_proxied *a, const struct net_proxied *b)
{
    return a->from.len == b->from.len && a->to.len == b->to.len &&
           !memcmp(a->from.bytes, b->from.bytes, a->from.len) &&
           !memcmp(a->to.bytes, b->to.bytes, a->to.len) && a->from_port == b->from_port &&
           a->to_port == b->to_port;
}

static void write_anew(const struct net_proxied *said)
{
    for (int version = 1; version <= 2 && said->from.len && said->from.len == said->to.len;
         version++) {
        char bytes[NET_PROXIED_BYTES];
        struct net_proxied again;
        size_t len = net_proxied_write(said, version, bytes);
        check(len <= sizeof bytes);
        check(net_proxied_parse((struct str){bytes, len}, MOST, &again) == (ssize_t)len);
        check(same(said, &again));
    }
}

static void read_header(struct str bytes)
{
    struct net_proxied said, again;
    ssize_t len = net_proxied_parse(bytes, MOST, &said);
    check(len >= -71 && len <= (ssize_t)bytes.len);
    if (len <= 0) {
        return;
    }
    for (size_t part = 0; part < (size_t)len; part++) {
        check(net_proxied_parse(str_sub(bytes, 0, part), MOST, &again) == 0);
    }
    check(net_proxied_parse(str_sub(bytes, 0, (size_t)len), MOST, &again) == len);
    check(same(&said, &again));
    write_anew(&said);
}

static void read_fields(struct str bytes)
{
    struct net_network networks[2];
    struct net_ip peer;
    check(!net_network_parse(str_of("10.0.0.0/8"), &networks[0]));
    check(!net_network_parse(str_of("::/0"), &networks[1]));
    check(!net_ip_parse(str_of("10.0.0.1"), &peer));
    struct str fields[2] = {str_sub(bytes, 0, bytes.len / 2),
                            str_sub(bytes, bytes.len / 2, bytes.len)};
    for (int rfc7239 = 0; rfc7239 < 2; rfc7239++) {
        struct net_ip client = net_forwarded_client(fields, 2, rfc7239, networks, 2, &peer);
        check(client.len == 4 || client.len == 16);
        client = net_forwarded_client(fields, 2, rfc7239, networks, 0, &peer);
        check(!memcmp(client.bytes, peer.bytes, peer.len));
    }
    struct str proto = net_forwarded_proto(bytes);
    check(!proto.len || (proto.ptr >= bytes.ptr && proto.ptr + proto.len <= bytes.ptr + bytes.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size};
    struct net_network network;
    read_header(bytes);
    read_fields(bytes);
    if (!net_network_parse(bytes, &network)) {
        check(net_networks_have(&network, 1, &network.ip));
    }
    return 0;
}
