/* proxied.c: headers of the PROXY protocol; see peer.h.
 *
 * Version 1 is a line: "PROXY TCP4 192.0.2.1 10.0.0.1 51000 443" CR LF, at most 107 bytes. Version 2 is binary:
 *
 *   12 bytes signature | version 2, command | family, protocol | length (2) | addresses | TLVs, skipped
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "net/peer.h"

enum {
    LINE_MOST = 107,
    HEAD_BYTES = 16, /* of version 2, before the addresses */
    VERSION_COMMAND_AT = 12,
    FAMILY_AT = 13,
    LENGTH_AT = 14,
    TCP4 = 0x11, /* address family and transport of version 2 */
    TCP6 = 0x21,
    LOCAL = 0x20, /* version and command */
    PROXY = 0x21
};

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

static bool begins(struct str bytes, const char *with, size_t len)
{
    return !memcmp(bytes.ptr, with, bytes.len < len ? bytes.len : len);
}

/* ---- version 1 --------------------------------------------------------------------------- */

/* Decimal digits, not more than one zero at the front. */
static int parse_port(struct str text, uint16_t *ret_port)
{
    uint64_t port;
    if (str_to_u64(text, &port) || port > 65535 || (text.len > 1 && text.ptr[0] == '0')) {
        return -EPROTO;
    }
    *ret_port = (uint16_t)port;
    return 0;
}

static int parse_address(struct str text, uint8_t len, struct net_ip *ret_ip)
{
    bool colon = str_find(text, ':') >= 0;
    /* An IPv4 address within an IPv6 one is told as IPv4, and still belongs to TCP6. */
    return net_ip_parse(text, ret_ip) || colon != (len == 16) ? -EPROTO : 0;
}

static int parse_line(struct str line, struct net_proxied *ret_proxied)
{
    struct net_proxied said = {.from_port = 0};
    struct str family, from, to, from_port;
    if (!str_next(&line, ' ', &family) || !str_next(&line, ' ', &family)) {
        return -EPROTO;
    }
    if (str_is(family, "UNKNOWN")) {
        *ret_proxied = said;
        return 0;
    }
    uint8_t len = str_is(family, "TCP4") ? 4 : str_is(family, "TCP6") ? 16 : 0;
    if (!len || !str_next(&line, ' ', &from) || !str_next(&line, ' ', &to) ||
        !str_next(&line, ' ', &from_port) || parse_address(from, len, &said.from) ||
        parse_address(to, len, &said.to) || parse_port(from_port, &said.from_port) ||
        parse_port(line, &said.to_port)) {
        return -EPROTO;
    }
    *ret_proxied = said;
    return 0;
}

static ssize_t parse_first(struct str bytes, size_t most, struct net_proxied *ret_proxied)
{
    size_t limit = most < LINE_MOST ? most : LINE_MOST;
    struct str seen = str_sub(bytes, 0, limit);
    const char *end = memchr(seen.ptr, '\n', seen.len);
    if (!end) {
        return bytes.len < limit ? 0 : -EPROTO;
    }
    size_t len = (size_t)(end - seen.ptr);
    if (!len || end[-1] != '\r' || parse_line(str_sub(bytes, 0, len - 1), ret_proxied)) {
        return -EPROTO;
    }
    return (ssize_t)len + 1;
}

/* ---- version 2 --------------------------------------------------------------------------- */

static uint16_t number_at(struct str bytes, size_t at)
{
    return (uint16_t)((uint8_t)bytes.ptr[at] << 8 | (uint8_t)bytes.ptr[at + 1]);
}

static struct net_ip ip_at(struct str bytes, size_t at, uint8_t len)
{
    char text[NET_IP_TEXT];
    struct net_ip ip = {.len = len}, plain;
    memcpy(ip.bytes, bytes.ptr + at, len);
    /* Through its text, so that a mapped IPv4 address is one. */
    net_ip_text(&ip, text);
    return net_ip_parse(str_of(text), &plain) ? ip : plain;
}

static int take_addresses(struct str bytes, size_t len, struct net_proxied *ret_proxied)
{
    uint8_t family = (uint8_t)bytes.ptr[FAMILY_AT];
    uint8_t size = family == TCP4 ? 4 : family == TCP6 ? 16 : 0;
    if (!size) {
        return 0; /* a unix socket or a datagram: nothing that tells a client */
    }
    if (len < HEAD_BYTES + 2u * size + 4u) {
        return -EPROTO;
    }
    size_t ports = HEAD_BYTES + 2u * size;
    *ret_proxied = (struct net_proxied){.from = ip_at(bytes, HEAD_BYTES, size),
                                        .to = ip_at(bytes, HEAD_BYTES + size, size),
                                        .from_port = number_at(bytes, ports),
                                        .to_port = number_at(bytes, ports + 2)};
    return 0;
}

static ssize_t parse_second(struct str bytes, size_t most, struct net_proxied *ret_proxied)
{
    if (bytes.len < HEAD_BYTES) {
        return 0;
    }
    size_t len = HEAD_BYTES + (size_t)number_at(bytes, LENGTH_AT);
    uint8_t command = (uint8_t)bytes.ptr[VERSION_COMMAND_AT];
    if (len > most || (command != LOCAL && command != PROXY)) {
        return -EPROTO;
    }
    if (bytes.len < len) {
        return 0;
    }
    *ret_proxied = (struct net_proxied){.from_port = 0};
    if (command == PROXY && take_addresses(bytes, len, ret_proxied)) {
        return -EPROTO;
    }
    return (ssize_t)len;
}

ssize_t net_proxied_parse(struct str bytes, size_t most, struct net_proxied *ret_proxied)
{
    if (!bytes.len) {
        return 0;
    }
    if (begins(bytes, "PROXY ", 6)) {
        return parse_first(bytes, most, ret_proxied);
    }
    return begins(bytes, signature, sizeof signature - 1) ? parse_second(bytes, most, ret_proxied)
                                                          : -EPROTO;
}

/* ---- writing ----------------------------------------------------------------------------- */

static void put_number(char *to, unsigned n)
{
    to[0] = (char)(n >> 8);
    to[1] = (char)(n & 0xff);
}

static size_t write_second(const struct net_proxied *p, uint8_t len, char *to)
{
    size_t size = len ? 2u * len + 4u : 0;
    memcpy(to, signature, sizeof signature - 1);
    to[VERSION_COMMAND_AT] = len ? PROXY : LOCAL;
    to[FAMILY_AT] = len == 4 ? TCP4 : len ? TCP6 : 0;
    put_number(to + LENGTH_AT, (unsigned)size);
    if (len) {
        char *at = to + HEAD_BYTES;
        memcpy(at, p->from.bytes, len);
        memcpy(at + len, p->to.bytes, len);
        put_number(at + 2u * len, p->from_port);
        put_number(at + 2u * len + 2, p->to_port);
    }
    return HEAD_BYTES + size;
}

size_t net_proxied_write(const struct net_proxied *p, int version, char to[NET_PROXIED_BYTES])
{
    uint8_t len = p->from.len == p->to.len ? p->from.len : 0;
    if (version == 2) {
        return write_second(p, len, to);
    }
    char from_text[NET_IP_TEXT], to_text[NET_IP_TEXT];
    net_ip_text(&p->from, from_text);
    net_ip_text(&p->to, to_text);
    int n = len ? snprintf(to, NET_PROXIED_BYTES, "PROXY TCP%c %s %s %u %u\r\n",
                           len == 4 ? '4' : '6', from_text, to_text, p->from_port, p->to_port)
                : snprintf(to, NET_PROXIED_BYTES, "PROXY UNKNOWN\r\n");
    return (size_t)n;
}
