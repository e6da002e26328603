/* grpc.c: what health checks of gRPC ask and are told: grpc.health.v1, two messages with one field each. */
#include "probe/grpc.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "net/grpc.h"
#include "net/net.h"

enum {
    PREFIX_BYTES = 5, /* before each message: not compressed, and its length */
    SERVING = 1
};

size_t probe_grpc_request(const char *service, char to[PROBE_GRPC_BYTES])
{
    size_t len = strlen(service), message = len ? len + 2 : 0;
    memset(to, 0, PREFIX_BYTES);
    to[4] = (char)message;
    if (message) {
        to[5] = 10; /* field 1, bytes */
        to[6] = (char)len;
        memcpy(to + 7, service, len);
    }
    return PREFIX_BYTES + message;
}

/* The number in field 1 of a HealthCheckResponse; 0, UNKNOWN, when it has none; -1: it is no such message. */
static int serving_of(const struct net_answer *answer)
{
    const unsigned char *bytes = (const unsigned char *)answer->body;
    if (answer->body_len < PREFIX_BYTES || bytes[0] != 0) {
        return -1;
    }
    if (answer->body_len == PREFIX_BYTES) {
        return 0;
    }
    return answer->body_len == PREFIX_BYTES + 2 && bytes[5] == 8 && bytes[6] < 4 ? bytes[6] : -1;
}

static void say_status(const struct net_answer *answer, int status, const char *service, char *to,
                       size_t size)
{
    if (status == GRPC_UNIMPLEMENTED) {
        snprintf(to, size, "gRPC health: UNIMPLEMENTED, the server has no grpc.health.v1.Health");
    } else if (status == GRPC_NOT_FOUND) {
        snprintf(to, size, "gRPC health: NOT_FOUND, it knows no service \"%s\"", service);
    } else {
        snprintf(to, size, "gRPC health: %s%s%s", grpc_status_name(status),
                 answer->grpc_message[0] ? ", " : "", answer->grpc_message);
    }
}

bool probe_grpc_serving(const struct net_answer *answer, const char *service, char *to, size_t size)
{
    static const char *const words[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    int status = grpc_status_parse(str_of(answer->grpc_status));
    int serving = status == GRPC_OK ? serving_of(answer) : -1;
    if (status == GRPC_NONE) {
        snprintf(to, size, "not an answer of gRPC: HTTP status %d", answer->status);
    } else if (status != GRPC_OK) {
        say_status(answer, status, service, to, size);
    } else if (serving < 0) {
        snprintf(to, size, "gRPC health: the answer is no HealthCheckResponse");
    } else {
        snprintf(to, size, "gRPC health: %s", words[serving]);
    }
    return serving == SERVING;
}
