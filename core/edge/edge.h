/* edge.h: what a route does to a request before a backend gets it, and to the answer behind it.
 *
 * Each step is one module: made of its part of a route's JSON, asked with the request, and it writes what it has
 * to say into the caller's memory. The proxy asks them in a fixed order, each only where the route has it
 * (core/proxy/steps.c):
 *
 *   CORS -> redirect -> maintenance -> rate limits -> log-in -> forward_auth -> canary -> fixed answer -> path -> backend
 *
 * Of these limit.h, users.h and forward.h say who is let through, password.h what a hash of a password is, and compress.h
 * how answers go out.
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
    bool secure;      /* it came by https */
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

/* {"to":"https://{host}{uri}","status":308,"secures"?:true}: {host} is without its port, {path} begins with a slash,
 * {query} is without its question mark, {uri} is path and query. "secures": not for who came by https already, to a
 * proxy before us, for instance: he would come back for ever. */
struct edge_redirect;

int edge_redirect_new(const struct cJSON *json, struct edge_redirect **ret_redirect, char **reterr);
void edge_redirect_free(struct edge_redirect *r); /* NULL is allowed */
/* Whether it is none of this request's. */
bool edge_redirect_passes(const struct edge_redirect *r, const struct edge_request *request);
/* Where the client is sent. False: the request names no host, and one is needed; or it does not fit. */
bool edge_redirect_answer(const struct edge_redirect *r, const struct edge_request *request,
                          struct edge_out *out, struct edge_answer *ret_answer);

/* ---- fixed.c ----------------------------------------------------------------------------- */

/* {"status":200,"type":"text/plain","body":"..."} */
struct edge_fixed;

int edge_fixed_new(const struct cJSON *json, struct edge_fixed **ret_fixed, char **reterr);
void edge_fixed_free(struct edge_fixed *f); /* NULL is allowed */
struct edge_answer edge_fixed_answer(const struct edge_fixed *f);

/* ---- path.c ------------------------------------------------------------------------------ */

/* {"strip":"/api","add":"/v1","rules":[{"from":"/old/{rest}","to":"/new/{rest}"}]}: the first rule that fits the whole path
 * counts; {name} is a part of one segment, and at the end of `from` all that is left. */
struct edge_path;

int edge_path_new(const struct cJSON *json, struct edge_path **ret_path, char **reterr);
void edge_path_free(struct edge_path *p); /* NULL is allowed */
/* The path for the backend, and what was stripped of it (empty: nothing), lent. 1; 0 = as it came; -EINVAL: it climbs;
 * -ENOBUFS. */
int edge_path_apply(const struct edge_path *p, struct str path, struct edge_out *out,
                    struct str *ret_path, struct str *ret_prefix);
/* Whether a segment is "..", in any spelling that servers take for it: %2e, backslashes, parameters behind it. */
bool edge_path_climbs(struct str path);

/* ---- pages.c ----------------------------------------------------------------------------- */

/* {"pages":[{"from":500,"to":599,"type":"text/html","body":"... {status} {reason} {request_id} ..."}],"intercept":false}:
 * the first page for a status counts. */
struct edge_pages;

int edge_pages_new(const struct cJSON *json, struct edge_pages **ret_pages, char **reterr);
void edge_pages_free(struct edge_pages *p); /* NULL is allowed */
/* False: there is no page for it. `id` of the request: characters that mean something to a browser are left out. */
bool edge_pages_answer(const struct edge_pages *p, int status, const char *id, struct edge_out *out,
                       struct edge_answer *ret_answer);
/* Whether a page takes the place of a backend's answer with this status. */
bool edge_pages_intercept(const struct edge_pages *p, int status);

/* {"type":"text/html","body":"...","retry_after_s":600,"allow":["10.0.0.0/8"]} */
struct edge_maintenance;

int edge_maintenance_new(const struct cJSON *json, struct edge_maintenance **ret_maintenance,
                         char **reterr);
void edge_maintenance_free(struct edge_maintenance *m); /* NULL is allowed */
/* False: the client is one of those that may pass. */
bool edge_maintenance_answer(const struct edge_maintenance *m, const struct edge_request *request,
                             const char *id, struct edge_out *out, struct edge_answer *ret_answer);

/* ---- cors.c ------------------------------------------------------------------------------ */

/* {"origins":["https://shop.example"],"methods":"GET, PUT","headers":"*","expose":"","credentials":false,"max_age_s":600};
 * a first label "*" of an origin's host is for one or more; headers "*": whatever a preflight asks for. */
struct edge_cors;

enum edge_cors_result {
    EDGE_CORS_ON,
    EDGE_CORS_PREFLIGHT, /* is answered with 204 */
    EDGE_CORS_REFUSED,   /* a preflight of an origin that may not */
    EDGE_CORS_RESULTS
};

int edge_cors_new(const struct cJSON *json, struct edge_cors **ret_cors, char **reterr);
void edge_cors_free(struct edge_cors *c); /* NULL is allowed */
/* Puts what every answer to the request says, and what only that to a preflight does. */
enum edge_cors_result edge_cors_ask(const struct edge_cors *c, const struct edge_request *request,
                                    struct edge_out *fields, struct edge_out *preflight);

/* ---- canary.c ---------------------------------------------------------------------------- */

enum {
    EDGE_CANARIES = 8 /* services beside a route's own */
};

/* {"key"?:"address" | "header:X-User" | "cookie:session","services":[{"percent":5,"header"?:"X-Canary","cookie"?:"canary",
 * "value"?:"1"}]}: without a value any that is not empty. */
struct edge_canary;

int edge_canary_new(const struct cJSON *json, struct edge_canary **ret_canary, char **reterr);
void edge_canary_free(struct edge_canary *c); /* NULL is allowed */
/* Which of them, -1: the route's own. `salt`: of the route; `chance`: 64 bits, for requests without a key. */
int edge_canary_choose(const struct edge_canary *c, const struct edge_request *request,
                       uint64_t salt, uint64_t chance);

/* Value of a cookie of the request; empty: it has none of that name. */
struct str edge_cookie(const struct http1_head *head, const char *name);

#endif
