/* edge.h: what a route does to a request before a backend gets it, and to the answer behind it.
 *
 * Each step is one module: made of its part of a route's JSON, asked with the request, and it writes what it has
 * to say into the caller's memory. The proxy asks them in a fixed order, each only where the route has it
 * (core/proxy/steps.c):
 *
 *   redirect -> rate limits -> static answer -> backend
 *
 * Owns nothing but what `_new` read. No sockets, no sessions, no clock, no allocation while a request is
 * looked at. The JSON comes from script/edge.lua, which has refused what is not sound; what is said here of
 * bad JSON is for those who write it by hand.
 *
 * A new step: keys in script/schema.lua, their meaning in script/edge.lua, a module here with its spec in
 * tests/unit/edge, and its place in steps.c. */
#ifndef EDGE_H
#define EDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "net/http1.h"

struct cJSON;

/* ---- What all steps share ---------------------------------------------------------------- */

/* A request as its client sent it. Lent by the caller: until the step returns. */
struct edge_request {
    const struct http1_head *head;
    const char *host; /* of the route: one name; "": any, then the client's word counts */
    const char *peer; /* the client's address */
    bool secure;      /* it came over TLS */
};

/* An answer of our own. What it lends lives as long as the step and the memory that it was asked with. */
struct edge_answer {
    int status;
    struct str type, body; /* type empty: no body */
    struct str fields;     /* whole lines, each with its CR LF */
};

/* Memory that steps write to, one after the other. */
struct edge_out {
    char *bytes;
    size_t len, size;
    bool full; /* something did not fit: nothing of what was put since counts */
};

void edge_put(struct edge_out *out, struct str bytes);
void edge_put_text(struct edge_out *out, const char *text);
void edge_put_number(struct edge_out *out, uint64_t number);
/* "NAME: VALUE" and CR LF. */
void edge_put_field(struct edge_out *out, const char *name, struct str value);
/* What was put since `from`, which was out->len then. */
struct str edge_put_since(const struct edge_out *out, size_t from);

/* ---- template.c -------------------------------------------------------------------------- */

/* Text with places such as {path}. */
struct edge_template;

/* `names`: of the places, ended by NULL. A brace that begins none of them is text. The caller owns it. */
struct edge_template *edge_template_new(const char *text, const char *const *names);
void edge_template_free(struct edge_template *t); /* NULL is allowed */
/* `values`: of each name. */
void edge_template_put(const struct edge_template *t, const struct str *values,
                       struct edge_out *out);

/* ---- redirect.c -------------------------------------------------------------------------- */

/* {"to":"https://{host}{uri}","status":308}: {host} is without its port, {path} begins with a slash, {query} is
 * without its question mark, {uri} is path and query. */
struct edge_redirect;

int edge_redirect_new(const struct cJSON *json, struct edge_redirect **ret_redirect, char **reterr);
void edge_redirect_free(struct edge_redirect *r); /* NULL is allowed */
/* Where the client is sent. False: the request names no host, and one is needed; or it does not fit. */
bool edge_redirect_answer(const struct edge_redirect *r, const struct edge_request *request,
                          struct edge_out *out, struct edge_answer *ret_answer);

/* ---- fixed.c ----------------------------------------------------------------------------- */

/* {"status":200,"type":"text/plain","body":"..."} */
struct edge_fixed;

int edge_fixed_new(const struct cJSON *json, struct edge_fixed **ret_fixed, char **reterr);
void edge_fixed_free(struct edge_fixed *f); /* NULL is allowed */
struct edge_answer edge_fixed_answer(const struct edge_fixed *f);

#endif
