/* forward.h: asking a service whether a request may go on: what it is asked, and what its answer means.
 *
 *   2xx            goes on; chosen fields of the answer are set on the request, cookies on the client's answer
 *   3xx, 401, 403  is what the client gets
 *   other          the service fails: nobody goes on */
#ifndef EDGE_FORWARD_H
#define EDGE_FORWARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "edge/edge.h"

/* What a route says of it. */
struct edge_forward;

enum edge_word {
    EDGE_WORD_GRANTED,
    EDGE_WORD_DENIED,
    EDGE_WORD_FAILED
};

/* From a route's "forward_auth", {"path":"/verify","headers":["X-User"],"request_headers":["X-Api-Key"]}; NULL when
 * it has none. */
struct edge_forward *edge_forward_new(const struct cJSON *json);
void edge_forward_free(struct edge_forward *f); /* NULL is allowed */
/* Writes the head of the question: GET, of the client's request its Host, Cookie, Authorization, Accept and the chosen
 * fields, its id, and what it is in X-Forwarded-Method and -Uri. */
void edge_forward_ask(const struct edge_forward *f, const struct http1_head *request,
                      const char *id, struct edge_out *out);
enum edge_word edge_forward_word(const struct http1_head *answer);
/* What a granted request gets: lines for the backend, and for the client's answer. False: they do not fit. */
bool edge_forward_grant(const struct edge_forward *f, const struct http1_head *answer,
                        struct edge_out *request, struct edge_out *reply);
/* The lines that a refused client gets, and what type the body has. */
struct str edge_forward_deny(const struct http1_head *answer, struct edge_out *out);
/* Whether a field of the client's is kept from backends, since the service says what stands there. */
bool edge_forward_hides(const struct edge_forward *f, struct str name);

/* Whether they are the same to programs that make variables of fields: without regard to case, "_" as "-". */
bool edge_name_alike(struct str name, const char *other);

#endif
