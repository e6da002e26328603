/* grpc.h: the messages of grpc.health.v1; private to the room. */
#ifndef PROBE_GRPC_H
#define PROBE_GRPC_H

#include <stdbool.h>
#include <stddef.h>

struct net_answer;

enum {
    PROBE_GRPC_SERVICE_BYTES =
        120, /* longest name of a service: what it adds to stays a one-byte length */
    PROBE_GRPC_BYTES = 7 + PROBE_GRPC_SERVICE_BYTES
};

/* Writes what is asked of the service, "" = of the server; its length. */
size_t probe_grpc_request(const char *service, char to[PROBE_GRPC_BYTES]);
/* Whether the answer, which came, says SERVING; `to` gets the reason. */
bool probe_grpc_serving(const struct net_answer *answer, const char *service, char *to,
                        size_t size);

#endif
