/* steps.h: what a route does to a request before it has a backend, and to its answer; private to the proxy. */
#ifndef PROXY_STEPS_H
#define PROXY_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"
#include "edge/compress.h"
#include "edge/edge.h"

struct cJSON;
struct exchange;
struct generation;
struct edge_limits;
struct edge_users;
struct edge_forward;
struct http1_head;
struct inner;
struct login;
struct proxy;
struct reply;
struct route;

enum {
    STEP_BYTES = 3 * LIMIT_HEAD_BYTES, /* what steps write for one request */
    COURSE_FIELDS_BYTES = 1024,        /* of fields for its answer */
    COURSE_REQUEST_BYTES = 4096        /* of fields for its backend */
};

/* What steps came to. */
enum stepped {
    STEPPED_ON,       /* to the next one, to the backend */
    STEPPED_ANSWERED, /* the exchange is gone */
    STEPPED_WAITS,    /* till proxy_steps_wake */
    STEPPED_RESULTS
};

/* What a route has; NULL: not this. */
struct steps {
    char *hsts; /* value of Strict-Transport-Security */
    struct edge_cors *cors;
    struct edge_redirect *redirect;
    struct edge_maintenance *maintenance;
    struct edge_limits *limits;
    struct edge_users *users;
    struct edge_canary *canary;
    struct route *canaries[EDGE_CANARIES]; /* inner routes to its services; NULL: not there */
    struct edge_fixed *fixed;
    struct edge_path *path;
    struct edge_pages *pages;
    struct edge_compress *compress;
    struct edge_forward *forward;
    struct route *forward_route, *mirror_route; /* inner routes; NULL: not there */
    double mirror_percent;
    uint32_t mirror_most; /* bytes of a body */
};

/* What steps noted of one exchange. */
struct course {
    struct str
        path; /* for the backend in place of the request's own; lent till its head is written; empty: the same */
    struct str prefix; /* what was stripped of it; empty: nothing. Lent by the route */
    bool
        rewritten; /* its head has another path than the client's, which stands in X-Original-URI */
    bool cors;     /* what the backend says of CORS does not count */
    uint32_t fields_len, request_len;
    uint8_t at;                         /* the step that waits */
    bool woken;                         /* and has what it waits for */
    struct edge_asked asked;            /* what the client says of compressed answers */
    struct login *login;                /* that it waits for; NULL: for none */
    struct inner *asks;                 /* whether it may go on; NULL: nobody */
    struct inner *copy;                 /* that waits for the rest of the body; NULL: none */
    struct str user;                    /* who logged in, in `request`; empty: nobody */
    char fields[COURSE_FIELDS_BYTES];   /* lines that its answer gets, whoever makes it */
    char request[COURSE_REQUEST_BYTES]; /* lines that its backend gets */
};

/* Reads the steps of a route's JSON; r->steps stays NULL when it has none. -EINVAL with a sentence. */
int proxy_steps_new(struct route *r, const struct cJSON *json, char **reterr);
void proxy_steps_free(struct steps *steps); /* NULL is allowed */
/* Inner routes are those that canaries of others lead to: no request finds them by itself, and they have the steps of
 * the route that they belong to. Points them at each other, when all are built. */
void proxy_steps_link(const struct generation *g, const struct cJSON *config);
/* For an exchange whose route has steps: all of them, in their order. */
enum stepped proxy_steps_request(struct exchange *ex, const struct http1_head *head);
/* From the step on that waited. */
enum stepped proxy_steps_again(struct exchange *ex, const struct http1_head *head);
/* What a step waits for has come. */
void proxy_steps_wake(struct exchange *ex);
/* ex->course: its client has logged in. */
void proxy_steps_user(struct exchange *ex, struct str user);
/* Whether a field of the client's is kept from backends: a step says what stands there. */
bool proxy_steps_hides(const struct exchange *ex, struct str name);
/* Gives an answer of our own what steps and error pages have for it. Lends: until the next one. */
void proxy_steps_reply(struct exchange *ex, struct reply *reply);
/* The same for one to a request without an exchange. */
void proxy_steps_reply_bare(struct proxy *p, struct reply *reply);
/* ex->course: whether a page of ours takes the place of the backend's answer with this status. */
bool proxy_steps_intercept(const struct exchange *ex, int status);
/* ex->course: whether a field of the backend's answer gives way to ours. */
bool proxy_steps_drops(const struct exchange *ex, struct str name);
/* ex->course: how answers are compressed; NULL: they are not. */
const struct edge_compress *proxy_steps_compress(const struct exchange *ex);
/* Tells what would come of a request that is only spoken of: "answer" when it would be answered here, "rewritten",
 * "canaries". The route whose backends are chosen among; NULL: none. Rates and log-ins are not looked at. */
struct route *proxy_steps_explain(const struct exchange *ex, const struct http1_head *head,
                                  struct cJSON *to);
/* Gives ex->course back. */
void proxy_steps_end(struct exchange *ex);

#endif
