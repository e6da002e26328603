/* past.h: decisions of late, for those who ask why; private to the proxy. */
#ifndef PROXY_PAST_H
#define PROXY_PAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "script/script.h"

struct backend;
struct cJSON;
struct exchange;
struct field;
struct proxy;
struct service;

/* What kept a backend out, in the order that it is looked at. */
enum past_state {
    PAST_DRAINING = 1,
    PAST_FULL,
    PAST_CIRCUIT, /* open or half-open */
    PAST_EJECTED,
    PAST_TRIED,
    PAST_TAKEN /* another worker took its last place, or the trial's, at the same moment */
};

/* Who chose. */
enum past_by {
    PAST_NOBODY, /* none was eligible */
    PAST_POLICY,
    PAST_SESSION,
    PAST_BUILTIN, /* the route has no policy, or it rests */
    PAST_FAILED   /* least connections, since the policy failed */
};

/* A decision: this, then the rows as the policy saw them, then the request's id. In a row that was not
 * eligible that field says why: - enum past_state. */
struct past {
    uint32_t bytes;
    uint16_t kept, count;   /* rows here, and that there were; PAST_FILLER: no decision */
    uint64_t position;      /* in the ring of all decisions */
    uint64_t at_us, before; /* the request's decision before: its position, 0 = none */
    const struct service *service;
    uint32_t generation, route; /* place in the generation */
    uint32_t chosen;            /* hash of its id, 0 = none */
    uint32_t took_us;
    uint16_t status; /* 0: none yet, or the client left */
    uint8_t by, tries, failure, id_len;
    bool panic, ended;
    struct script_request request;
};

enum {
    PAST_FILLER = UINT16_MAX,
    PAST_BYTES = 1 << 20,       /* of all decisions */
    PAST_FAILED_BYTES = 1 << 18 /* of those that came to no good */
};

/* Positions count bytes ever written; a decision is there while tail <= position < head. */
struct past_ring {
    char *bytes;
    uint32_t size; /* a power of two */
    uint32_t count;
    bool lost; /* some were overwritten */
    uint64_t head, tail;
};

/* A backend that left, so that its name is still known. */
struct past_name {
    uint32_t backend;
    char *id, *address;
};

enum {
    PAST_NAMES = 128
};

struct pasts {
    struct past_ring all, failed;
    struct past_name names[PAST_NAMES]; /* a ring */
    unsigned next_name;
    uint32_t turn; /* decisions over many backends */
    uint64_t since_us;
    uint8_t by; /* enum past_by of the present pick */
};

void proxy_past_open(struct proxy *p);
void proxy_past_close(struct proxy *p);
/* Notes a pick that came to `chosen`, or to none: NULL. */
void proxy_past_note(struct exchange *ex, uint32_t count, const struct field *f,
                     const struct backend *chosen);
/* The present attempt is over; the whole exchange is. */
void proxy_past_attempted(const struct exchange *ex);
void proxy_past_ended(const struct exchange *ex);
/* A backend leaves the roster. */
void proxy_past_leave(struct proxy *p, const struct backend *b);
/* The next decision of a ring at or behind *at (0: from the oldest on), which moves behind it; NULL: no more. */
const struct past *proxy_past_next(const struct past_ring *ring, uint64_t *at);
/* Whether `at` is where a decision begins, where the next one will, or is forgotten: no place between them. */
bool proxy_past_is_place(const struct past_ring *ring, uint64_t at);
const struct script_backend *proxy_past_rows(const struct past *past);
const char *proxy_past_id(const struct past *past); /* id_len bytes */

#endif
