/* grpc.h: what of gRPC stands in the fields of HTTP/2: deadlines and statuses (gRPC over HTTP/2, PROTOCOL-HTTP2.md).
 * Pure functions; messages are nobody's business here. */
#ifndef NET_GRPC_H
#define NET_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum grpc_status {
    GRPC_OK,
    GRPC_CANCELLED,
    GRPC_UNKNOWN,
    GRPC_INVALID_ARGUMENT,
    GRPC_DEADLINE_EXCEEDED,
    GRPC_NOT_FOUND,
    GRPC_ALREADY_EXISTS,
    GRPC_PERMISSION_DENIED,
    GRPC_RESOURCE_EXHAUSTED,
    GRPC_FAILED_PRECONDITION,
    GRPC_ABORTED,
    GRPC_OUT_OF_RANGE,
    GRPC_UNIMPLEMENTED,
    GRPC_INTERNAL,
    GRPC_UNAVAILABLE,
    GRPC_DATA_LOSS,
    GRPC_UNAUTHENTICATED,
    GRPC_STATUSES
};

enum {
    GRPC_NONE = -1 /* no status is known */
};

/* Whether a content type is gRPC's: "application/grpc", "application/grpc+proto", "application/grpc;x=y". Not gRPC-Web's. */
bool grpc_type(struct str content_type);
/* A grpc-timeout, strictly: 1 to 8 digits and one of H M S m u n; in milliseconds, rounded up. -EINVAL. */
int grpc_timeout(struct str value, uint64_t *ret_ms);
/* A grpc-status; GRPC_NONE when it is no number, GRPC_UNKNOWN for numbers that have no name. */
int grpc_status_parse(struct str value);
/* "UNAVAILABLE" */
const char *grpc_status_name(int status);
/* What a client of gRPC is told for an answer of ours with an HTTP status. As gRPC's http-grpc-status-mapping.md, but where
 * we know more than a client does: 504 is a deadline, 429, 413 and 431 are limits, 408 a client that was too slow. */
enum grpc_status grpc_status_of_http(int status);
/* The HTTP status that comes nearest, as google.rpc.Code names them: what metrics and circuits count. */
int grpc_status_to_http(int status);
/* Whether it tells against the server, and not of the request: what a 5xx is to HTTP. */
bool grpc_status_failed(int status);
/* Writes a message as grpc-message has it: percent-encoded outside of printable ASCII. Cut at `size`, with NUL. */
void grpc_message(struct str text, char *to, size_t size);

#endif
