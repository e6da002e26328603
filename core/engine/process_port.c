/* process_port.c: ports for instances.
 *
 * They are chosen below the range from which the kernel takes ports for outgoing
 * connections: a proxy opens thousands of those, and one of them could sit on
 * the port of an instance just when that restarts. */
#include "engine/process.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"

enum {
    FIRST_PORT = 20000,
    LAST_PORT = 32767,
    TRIES = 256
};

static int bind_to(uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof in;
    int one = 1, rc = 0;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* With it only a listener counts, not the rest of a closed connection. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&in, sizeof in) ||
        getsockname(fd, (struct sockaddr *)&in, &len)) {
        rc = -errno;
    } else {
        *ret_port = ntohs(in.sin_port);
    }
    close(fd);
    return rc;
}

int process_port_check(uint16_t port)
{
    uint16_t bound;
    return bind_to(port, &bound) == -EADDRINUSE ? -EADDRINUSE : 0;
}

static bool recorded(const struct process *p, uint16_t port)
{
    size_t at = 0;
    const char *name;
    void *value;
    while (map_next(&p->by_name, &at, &name, &value)) {
        if (((const struct instance *)value)->port == port) {
            return true;
        }
    }
    return false;
}

static uint16_t last_candidate(void)
{
    unsigned low = LAST_PORT + 1;
    FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (range) {
        if (fscanf(range, "%u", &low) != 1) {
            low = LAST_PORT + 1;
        }
        fclose(range);
    }
    return (uint16_t)(low > LAST_PORT ? LAST_PORT : low - 1);
}

uint16_t process_port_choose(const struct process *p)
{
    uint16_t last = last_candidate(), port = 0;
    uint64_t seed[2] = {clock_now_us(), (uint64_t)getpid()};
    if (last > FIRST_PORT + TRIES) {
        uint32_t count = (uint32_t)(last - FIRST_PORT + 1);
        /* A random start, so that engines beside each other do not race for the same ones. */
        uint32_t start = (uint32_t)(hash_bytes(seed, sizeof seed) % count);
        for (uint32_t n = 0; n < TRIES; n++) {
            uint16_t candidate = (uint16_t)(FIRST_PORT + (start + n) % count);
            if (!recorded(p, candidate) && !process_port_check(candidate)) {
                return candidate;
            }
        }
    }
    for (int n = 0; n < TRIES; n++) {
        if (!bind_to(0, &port) && !recorded(p, port)) {
            return port;
        }
    }
    return 0;
}

uint16_t process_port_fixed(const struct instance *i)
{
    int64_t host = json_int(json_first(json_get(i->config, "ports")), "host", 0);
    return host > 0 && host < 65536 ? (uint16_t)host : 0;
}
