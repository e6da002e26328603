/* grpc.c: see grpc.h. */
#include "net/grpc.h"

#include <errno.h>

#include "base/ban.h"

enum {
    TIMEOUT_DIGITS = 8
};

/* In the order of the enum: name, HTTP status (google/rpc/code.proto), whether the server failed. What failed is what
 * Envoy takes for a 5xx in its outlier detection, less UNIMPLEMENTED: a client that asks for what is not there. */
static const struct {
    const char *name;
    int http;
    bool failed;
} statuses[GRPC_STATUSES] = {
    {"OK", 200, false},
    {"CANCELLED", 499, false},
    {"UNKNOWN", 500, true},
    {"INVALID_ARGUMENT", 400, false},
    {"DEADLINE_EXCEEDED", 504, true},
    {"NOT_FOUND", 404, false},
    {"ALREADY_EXISTS", 409, false},
    {"PERMISSION_DENIED", 403, false},
    {"RESOURCE_EXHAUSTED", 429, false},
    {"FAILED_PRECONDITION", 400, false},
    {"ABORTED", 409, false},
    {"OUT_OF_RANGE", 400, false},
    {"UNIMPLEMENTED", 501, false},
    {"INTERNAL", 500, true},
    {"UNAVAILABLE", 503, true},
    {"DATA_LOSS", 500, true},
    {"UNAUTHENTICATED", 401, false},
};

bool grpc_type(struct str content_type)
{
    static const char name[] = "application/grpc";
    const size_t len = sizeof name - 1;
    if (!str_is_nocase(str_sub(content_type, 0, len), name)) {
        return false;
    }
    char next = content_type.len > len ? content_type.ptr[len] : ';';
    return next == ';' || next == '+' || next == ' ';
}

int grpc_timeout(struct str value, uint64_t *ret_ms)
{
    uint64_t n;
    if (value.len < 2 || value.len > TIMEOUT_DIGITS + 1 ||
        str_to_u64(str_sub(value, 0, value.len - 1), &n)) {
        return -EINVAL;
    }
    switch (value.ptr[value.len - 1]) {
    case 'H':
        *ret_ms = n * 3600000u;
        return 0;
    case 'M':
        *ret_ms = n * 60000u;
        return 0;
    case 'S':
        *ret_ms = n * 1000u;
        return 0;
    case 'm':
        *ret_ms = n;
        return 0;
    case 'u':
        *ret_ms = (n + 999u) / 1000u;
        return 0;
    case 'n':
        *ret_ms = (n + 999999u) / 1000000u;
        return 0;
    default:
        return -EINVAL;
    }
}

int grpc_status_parse(struct str value)
{
    uint64_t n;
    if (str_to_u64(value, &n)) {
        return GRPC_NONE;
    }
    return n < GRPC_STATUSES ? (int)n : GRPC_UNKNOWN;
}

const char *grpc_status_name(int status)
{
    return status >= 0 && status < GRPC_STATUSES ? statuses[status].name : "";
}

enum grpc_status grpc_status_of_http(int status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
    case 405:
    case 501:
        return GRPC_UNIMPLEMENTED;
    case 408:
    case 504:
        return GRPC_DEADLINE_EXCEEDED;
    case 413:
    case 429:
    case 431:
        return GRPC_RESOURCE_EXHAUSTED;
    case 502:
    case 503:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

int grpc_status_to_http(int status)
{
    return status >= 0 && status < GRPC_STATUSES ? statuses[status].http : 500;
}

bool grpc_status_failed(int status)
{
    return status >= 0 && status < GRPC_STATUSES && statuses[status].failed;
}

void grpc_message(struct str text, char *to, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;
    for (size_t i = 0; i < text.len && len + 4 <= size; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '%') {
            to[len++] = (char)c;
        } else {
            to[len++] = '%';
            to[len++] = digits[c >> 4];
            to[len++] = digits[c & 15];
        }
    }
    to[len] = '\0';
}
