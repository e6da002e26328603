/* peer.h: who is behind a connection: addresses, networks of proxies that are believed, and what such
 * proxies say of their clients: the PROXY protocol (versions 1 and 2, as HAProxy's proxy-protocol.txt
 * has them), X-Forwarded-For and Forwarded (RFC 7239). Nothing here allocates or blocks. */
#ifndef NET_PEER_H
#define NET_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

struct sockaddr;

enum {
    NET_IP_TEXT = 46,       /* INET6_ADDRSTRLEN */
    NET_PROXIED_BYTES = 108 /* the longest header that we write: version 1, two IPv6 addresses */
};

/* ---- cidr.c ------------------------------------------------------------------------------ */

/* An IP address; IPv4 ones that were mapped into IPv6 are IPv4. */
struct net_ip {
    uint8_t len; /* 4 or 16; 0: none, such as that of a unix socket */
    uint8_t bytes[16];
};

/* The address in a sockaddr; ret_port (host order) may be NULL. */
void net_ip_of(const struct sockaddr *addr, struct net_ip *ret_ip, uint16_t *ret_port);
/* "10.0.0.1", "2001:db8::1"; no port, no brackets. -EINVAL. */
int net_ip_parse(struct str text, struct net_ip *ret_ip);
/* "unknown" when there is none. */
void net_ip_text(const struct net_ip *ip, char to[NET_IP_TEXT]);

struct net_network {
    struct net_ip ip;
    uint8_t bits; /* of its prefix */
};

/* "10.0.0.0/8", "::1" (all bits). -EINVAL; bits behind the prefix are ignored. */
int net_network_parse(struct str text, struct net_network *ret_network);
bool net_networks_have(const struct net_network *networks, size_t count, const struct net_ip *ip);

/* ---- proxied.c --------------------------------------------------------------------------- */

/* What a PROXY header says. */
struct net_proxied {
    struct net_ip from, to; /* the client's connection: its ends; len 0: not told */
    uint16_t from_port, to_port;
};

/* Reads a header of version 1 or 2 at the start of `bytes`: its length; 0: it goes on behind them; -EPROTO: it
 * is none, or longer than `most`. A proxy that speaks for itself (LOCAL, UNKNOWN) tells no addresses. */
ssize_t net_proxied_parse(struct str bytes, size_t most, struct net_proxied *ret_proxied);
/* Writes one of that version (1 or 2); its length. Addresses that are not of one family are not told. */
size_t net_proxied_write(const struct net_proxied *proxied, int version,
                         char to[NET_PROXIED_BYTES]);

/* ---- forwarded.c ------------------------------------------------------------------------- */

/* Goes back through a chain of proxies that are believed: `fields` are the values of all X-Forwarded-For fields (of
 * all Forwarded ones when `rfc7239`), in the order they came; `peer` sent them. The client is the last address that
 * is not of `networks`, or the first of all when every one is; what is no address ends the chain. */
struct net_ip net_forwarded_client(const struct str *fields, size_t count, bool rfc7239,
                                   const struct net_network *networks, size_t network_count,
                                   const struct net_ip *peer);
/* The protocol that the last element of a Forwarded field names (RFC 7239 5.4); empty: none. */
struct str net_forwarded_proto(struct str field);

#endif
