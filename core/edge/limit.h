/* limit.h: how often a route may be asked: its limits, whom each counts, and what a client is told.
 *
 * What a client learns are the fields of the IETF draft "RateLimit header fields for HTTP" in the form that
 * clients have learned to read (draft-ietf-httpapi-ratelimit-headers-06: RateLimit-Limit, -Remaining, -Reset and
 * -Policy; the later form of one structured field is read by hardly any). Limit is the burst, so never less than
 * Remaining; Reset is when all of it will be there again. */
#ifndef EDGE_LIMIT_H
#define EDGE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "board/rate.h"

struct board;
struct cJSON;
struct http1_head;

/* The limits of a route. */
struct edge_limits;

enum {
    EDGE_LIMITS = 8,             /* of a route */
    EDGE_LIMIT_FIELD_BYTES = 256 /* of the fields below, each line with its end */
};

/* What was decided, and by which of them. */
struct edge_limited {
    struct board_rated rated;
    uint8_t which;
};

/* From a route's "rate_limit"; NULL when it has none. `route`: its identity, so that limits that stay as they
 * are go on counting over a reload; one that is changed begins anew. */
struct edge_limits *edge_limits_new(const struct cJSON *json, uint64_t route);
void edge_limits_free(struct edge_limits *l); /* NULL is allowed */
/* Whether the request may go on: then all limits have counted it, else none has. `address`: of the client, as
 * text; of IPv6 its /64 counts. Without the header or cookie that a limit counts by, the address does. */
bool edge_limits_ask(const struct edge_limits *l, struct board *b, const struct http1_head *head,
                     const char *address, uint64_t now_us, struct edge_limited *ret);
/* What is answered to who may not. */
int edge_limits_status(const struct edge_limits *l, const struct edge_limited *limited);
/* Whether answers that passed tell the state, too. */
bool edge_limits_told(const struct edge_limits *l);
/* The fields, each with CR LF; Retry-After first when it was refused. */
struct str edge_limits_fields(const struct edge_limits *l, const struct edge_limited *limited,
                              char to[EDGE_LIMIT_FIELD_BYTES]);

#endif
