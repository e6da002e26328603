/* resolve.c: names to addresses, by libuv's thread pool; see net.h.
 *
 * Owns: one struct resolution per lookup, from the start to its callback. */
#include "net/net.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

struct resolution {
    uv_getaddrinfo_t request;
    net_resolved_fn *done;
    void *arg;
};

static int error_of(int uv_status)
{
    switch (uv_status) {
    case UV_EAI_AGAIN:
        return -EAGAIN;
    case UV_EAI_MEMORY:
        return -ENOMEM;
    case UV_ECANCELED:
    case UV_EAI_CANCELED:
        return -ECANCELED;
    default:
        return -EHOSTUNREACH;
    }
}

/* Writes the numeric form with its port and reads it back, so that text and bytes agree. */
static int address_of(const struct addrinfo *info, struct net_addr *ret_addr)
{
    char host[NI_MAXHOST], port[NI_MAXSERV], text[NI_MAXHOST + NI_MAXSERV + 4];
    if (getnameinfo(info->ai_addr, info->ai_addrlen, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        return -EHOSTUNREACH;
    }
    snprintf(text, sizeof text, info->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return net_addr_parse(text, ret_addr) ? -EHOSTUNREACH : 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct resolution *r = request->data;
    struct net_addr addr = {.len = 0};
    int error = status ? error_of(status) : found ? address_of(found, &addr) : -EHOSTUNREACH;
    uv_freeaddrinfo(found);
    r->done(r->arg, error, error ? NULL : &addr);
    mem_free(r);
}

int net_resolve(struct uv_loop_s *loop, const char *host_port, net_resolved_fn *done, void *arg)
{
    struct net_addr numeric;
    int rc = net_addr_parse(host_port, &numeric);
    struct str s = str_of(host_port);
    if ((rc && rc != -EDESTADDRREQ) || str_starts(s, "unix:")) {
        return -EINVAL;
    }
    struct str scheme[] = {str_of("http://"), str_of("tcp://")};
    for (size_t i = 0; i < 2; i++) {
        if (str_starts(s, scheme[i].ptr)) {
            s = str_sub(s, scheme[i].len, s.len);
        }
    }
    /* The port stands behind the last colon; brackets only hold IPv6. */
    const char *colon = strrchr(s.ptr, ':');
    struct str host = str_sub(s, 0, (size_t)(colon - s.ptr));
    if (str_starts(host, "[")) {
        host = str_sub(host, 1, host.len - 1);
    }
    char name[256]; /* net_addr_parse lets through 253 bytes */
    if (!str_put(name, sizeof name, host.len ? host : str_of("0.0.0.0"))) {
        return -EINVAL;
    }
    struct resolution *r = mem_new(sizeof *r);
    *r = (struct resolution){.done = done, .arg = arg};
    r->request.data = r;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    rc = uv_getaddrinfo(loop, &r->request, on_resolved, name, colon + 1, &hints);
    if (rc) {
        mem_free(r);
        return rc;
    }
    return 0;
}
