/* addr.c: numeric endpoints and listening on them; see net.h. */
#include "net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/str.h"

_Static_assert(NET_ADDR_BYTES >= sizeof(struct sockaddr_un), "every family fits");
_Static_assert(NET_ADDR_TEXT >= sizeof(struct sockaddr_un) + 5, "its text too");

enum {
    LISTEN_BACKLOG = 4096
};

static int parse_unix(struct str path, struct net_addr *ret_addr)
{
    /* "unix:///run/x.sock" is how other tools write it. */
    if (str_starts(path, "//")) {
        path = str_sub(path, 2, path.len);
    }
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (!path.len || memchr(path.ptr, '\0', path.len)) {
        return -EINVAL;
    }
    if (!str_put(un.sun_path, sizeof un.sun_path, path)) {
        return -ENAMETOOLONG;
    }
    *ret_addr = (struct net_addr){.len = sizeof un};
    memcpy(ret_addr->bytes, &un, sizeof un);
    snprintf(ret_addr->text, sizeof ret_addr->text, "unix:%s", un.sun_path);
    return 0;
}

static int parse_port(struct str text, uint16_t *ret_port)
{
    uint64_t port;
    if (str_to_u64(text, &port) || port > 65535) {
        return -EINVAL;
    }
    *ret_port = (uint16_t)port;
    return 0;
}

static int parse_v6(struct str s, struct net_addr *ret_addr)
{
    ptrdiff_t end = str_find(s, ']');
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_in6 in = {.sin6_family = AF_INET6};
    uint16_t port;
    if (end < 1 || !str_put(host, sizeof host, str_sub(s, 1, (size_t)end)) ||
        inet_pton(AF_INET6, host, &in.sin6_addr) != 1) {
        return -EINVAL;
    }
    struct str rest = str_sub(s, (size_t)end + 1, s.len);
    if (!str_starts(rest, ":") || parse_port(str_sub(rest, 1, rest.len), &port)) {
        return -EINVAL;
    }
    in.sin6_port = htons(port);
    *ret_addr = (struct net_addr){.len = sizeof in};
    memcpy(ret_addr->bytes, &in, sizeof in);
    inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
    snprintf(ret_addr->text, sizeof ret_addr->text, "[%s]:%u", host, port);
    return 0;
}

/* Letters, digits, '-', '.' and '_', at most 253 bytes, and not made of digits and dots alone: that
 * is a misspelt IPv4 address. */
static bool is_host_name(struct str host)
{
    bool letter = false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!alpha && !(c >= '0' && c <= '9') && c != '-' && c != '.') {
            return false;
        }
        letter |= alpha;
    }
    return letter && host.len <= 253;
}

static int parse_v4(struct str s, struct net_addr *ret_addr)
{
    ptrdiff_t colon = str_find(s, ':');
    uint16_t port;
    if (colon < 0 || parse_port(str_sub(s, (size_t)colon + 1, s.len), &port)) {
        return -EINVAL;
    }
    struct str host = str_sub(s, 0, (size_t)colon);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    char text[INET_ADDRSTRLEN] = "0.0.0.0";
    if (host.len &&
        (!str_put(text, sizeof text, host) || inet_pton(AF_INET, text, &in.sin_addr) != 1)) {
        return is_host_name(host) && port ? -EDESTADDRREQ : -EINVAL;
    }
    *ret_addr = (struct net_addr){.len = sizeof in};
    memcpy(ret_addr->bytes, &in, sizeof in);
    snprintf(ret_addr->text, sizeof ret_addr->text, "%s:%u", text, port);
    return 0;
}

int net_addr_parse(const char *text, struct net_addr *ret_addr)
{
    struct str s = str_of(text);
    if (str_starts(s, "http://")) {
        s = str_sub(s, 7, s.len);
    } else if (str_starts(s, "tcp://")) {
        s = str_sub(s, 6, s.len);
    }
    if (str_starts(s, "unix:")) {
        return parse_unix(str_sub(s, 5, s.len), ret_addr);
    }
    return str_starts(s, "[") ? parse_v6(s, ret_addr) : parse_v4(s, ret_addr);
}

static sa_family_t family_of(const struct net_addr *addr)
{
    sa_family_t family;
    memcpy(&family, addr->bytes, sizeof family);
    return family;
}

/* A socket file that nobody listens on any more is removed; anything else is left. */
static void remove_stale(const struct net_addr *addr)
{
    struct sockaddr_un un;
    struct stat st;
    memcpy(&un, addr->bytes, sizeof un);
    if (lstat(un.sun_path, &st) || !S_ISSOCK(st.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, (const struct sockaddr *)&un, sizeof un) && errno == ECONNREFUSED) {
        unlink(un.sun_path);
    }
    close(fd);
}

int net_listen(const struct net_addr *addr, bool reuse_port, int *ret_fd)
{
    sa_family_t family = family_of(addr);
    int one = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int rc = 0;
    if (family == AF_UNIX) {
        remove_stale(addr);
    } else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
               (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one)) ||
               (family == AF_INET6 &&
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one))) {
        rc = -errno;
        goto out;
    }
    if (bind(fd, (const struct sockaddr *)addr->bytes, addr->len) || listen(fd, LISTEN_BACKLOG)) {
        rc = -errno;
        goto out;
    }
    *ret_fd = fd;
    fd = -1;
out:
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}
