/* steps.h: what a route does to a request before it has a backend, and to its answer; private to the proxy. */
#ifndef PROXY_STEPS_H
#define PROXY_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

struct cJSON;
struct exchange;
struct http1_head;
struct reply;
struct route;

enum {
    STEP_BYTES = 3 * LIMIT_HEAD_BYTES, /* what steps write for one request */
    COURSE_FIELDS_BYTES = 1024         /* of fields for its answer */
};

/* What steps came to. */
enum stepped {
    STEPPED_ON,       /* to the next one, to the backend */
    STEPPED_ANSWERED, /* the exchange is gone */
    STEPPED_RESULTS
};

struct steps;

/* What steps noted of one exchange. */
struct course {
    uint32_t fields_len;
    char fields[COURSE_FIELDS_BYTES]; /* lines that its answer gets, whoever makes it */
};

/* Reads the steps of a route's JSON; r->steps stays NULL when it has none. -EINVAL with a sentence. */
int proxy_steps_new(struct route *r, const struct cJSON *json, char **reterr);
void proxy_steps_free(struct steps *steps); /* NULL is allowed */
/* For an exchange whose route has steps: all of them, in their order. */
enum stepped proxy_steps_request(struct exchange *ex, const struct http1_head *head);
/* ex->course: gives an answer of our own what the steps have for it. Lends: until the next request. */
void proxy_steps_reply(struct exchange *ex, struct reply *reply);
/* ex->course: whether a field of the backend's answer gives way to ours. */
bool proxy_steps_drops(const struct exchange *ex, struct str name);
/* Gives ex->course back. */
void proxy_steps_end(struct exchange *ex);

#endif
