/* cidr.c: IP addresses and networks of them; see peer.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ban.h"
#include "net/peer.h"

static struct net_ip of_four(const void *bytes)
{
    struct net_ip ip = {.len = 4};
    memcpy(ip.bytes, bytes, 4);
    return ip;
}

static struct net_ip of_sixteen(const struct in6_addr *addr)
{
    if (IN6_IS_ADDR_V4MAPPED(addr)) {
        return of_four(addr->s6_addr + 12);
    }
    struct net_ip ip = {.len = 16};
    memcpy(ip.bytes, addr->s6_addr, 16);
    return ip;
}

void net_ip_of(const struct sockaddr *addr, struct net_ip *ret_ip, uint16_t *ret_port)
{
    uint16_t port = 0;
    *ret_ip = (struct net_ip){.len = 0};
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        *ret_ip = of_four(&in->sin_addr);
        port = ntohs(in->sin_port);
    } else if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)addr;
        *ret_ip = of_sixteen(&in->sin6_addr);
        port = ntohs(in->sin6_port);
    }
    if (ret_port) {
        *ret_port = port;
    }
}

int net_ip_parse(struct str text, struct net_ip *ret_ip)
{
    char buffer[NET_IP_TEXT];
    struct in_addr four;
    struct in6_addr six;
    if (!text.len || memchr(text.ptr, '\0', text.len) || !str_put(buffer, sizeof buffer, text)) {
        return -EINVAL;
    }
    if (inet_pton(AF_INET, buffer, &four) == 1) {
        *ret_ip = of_four(&four);
        return 0;
    }
    if (inet_pton(AF_INET6, buffer, &six) == 1) {
        *ret_ip = of_sixteen(&six);
        return 0;
    }
    return -EINVAL;
}

void net_ip_text(const struct net_ip *ip, char to[NET_IP_TEXT])
{
    int family = ip->len == 4 ? AF_INET : AF_INET6;
    if (!ip->len || !inet_ntop(family, ip->bytes, to, NET_IP_TEXT)) {
        (void)str_copy(to, NET_IP_TEXT, "unknown");
    }
}

int net_network_parse(struct str text, struct net_network *ret_network)
{
    struct str rest = text, host;
    struct net_ip ip;
    uint64_t bits;
    if (!str_next(&rest, '/', &host) || net_ip_parse(host, &ip)) {
        return -EINVAL;
    }
    if (host.len == text.len) {
        bits = ip.len * 8u;
    } else if (str_to_u64(rest, &bits) || bits > ip.len * 8u) {
        return -EINVAL;
    }
    *ret_network = (struct net_network){.ip = ip, .bits = (uint8_t)bits};
    return 0;
}

static bool has(const struct net_network *network, const struct net_ip *ip)
{
    unsigned whole = network->bits / 8u, left = network->bits % 8u;
    if (network->ip.len != ip->len || memcmp(network->ip.bytes, ip->bytes, whole)) {
        return false;
    }
    return !left || ((network->ip.bytes[whole] ^ ip->bytes[whole]) >> (8 - left)) == 0;
}

bool net_networks_have(const struct net_network *networks, size_t count, const struct net_ip *ip)
{
    for (size_t i = 0; ip->len && i < count; i++) {
        if (has(&networks[i], ip)) {
            return true;
        }
    }
    return false;
}
