/* balance.h: which backend a request gets: who there is, what policies see, what came of it; private to the proxy. */
#ifndef PROXY_BALANCE_H
#define PROXY_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "net/http1.h"
#include "net/net.h"
#include "proxy/route.h"

struct board_circuit;
struct board_row;
struct cJSON;
struct exchange;
struct proxy;
struct field;
struct script_backend;
struct script_data;
struct script_request;

enum {
    TAG_BITS = 32, /* tags of a service that policies can tell apart */
    MOVES = 64     /* that a service remembers; a power of two */
};

/* ---- roster.c ---------------------------------------------------------------------------- */

/* An average over workers: parts of it, and what they make. */
struct merged {
    double sum, weight; /* of the other workers: values by weight, weights faded */
    uint64_t others_us; /* their newest sample */
    double value;       /* of all workers, as of at_us, the newest sample */
    uint64_t at_us;
};

struct backend {
    char *id;
    struct service *service; /* NULL: left the roster, finishes what it has */
    struct net_addr addr;
    struct board_row *row;
    struct board_circuit *circuit;
    struct list idle;                 /* upstreams, last used first */
    struct list links;                /* connections of HTTP/2 */
    uint32_t idle_count, connections; /* connections: idle ones too */
    uint32_t slot, index;             /* index: place in its service */
    uint32_t serial;                  /* no other backend of this proxy ever had it */
    uint32_t hash;                    /* of its id, not 0 */
    uint64_t *tags;                   /* hashes of its tags */
    uint32_t tag_count;
    int32_t zone;      /* hash of its zone, 0 = none */
    uint32_t attempts; /* exchanges that hold on to it */
    uint64_t others;   /* in flight of the other workers */
    struct merged response_ms, failed;
    double mean_ms;      /* of the last answers, */
    uint64_t mean_count; /* when there were so many */
    uint64_t looked_ms;  /* when the other workers' rows were looked at */
    bool news;           /* of our own since then */
    uint64_t joined_ms;
    uint64_t hurried_ms; /* when a check of it was asked for last */
    double weight, max_connections, capacity;
    bool draining;
    bool lost; /* left because it is down: will not answer what it has */
    bool seen; /* while a roster is applied */
};

struct service {
    char *name;
    struct backend **backends;
    uint32_t count;
    struct list routes; /* of all living generations */
    uint64_t
        gone_ms; /* none was there for a request first then, and none has answered since; 0: one has */
    uint64_t tags[TAG_BITS]; /* the hash of the tag behind each bit */
    uint32_t tag_count;
    uint32_t tags_version; /* counts changes of the bits */
    uint64_t panic_ms;     /* when its picks were last told to ignore the circuits */
    uint32_t moved[MOVES]; /* whose numbers moved last: indexes, a ring */
    uint32_t moves;        /* ever; the next one's place */
};

/* The service of that name, made when it is new. */
struct service *proxy_service_of(struct proxy *p, const char *name);
/* Whether it has a backend that takes new requests. */
bool proxy_service_ready(const struct service *service);
/* Frees it when it left the roster and nothing of it is under way. */
void proxy_backend_settle(struct proxy *p, struct backend *b);
void proxy_roster_free(struct proxy *p);

/* ---- view.c ------------------------------------------------------------------------------ */

/* What a policy may know of a request beside its method: see struct script_request. */
struct view {
    uint32_t key, tags, dataset, processing, path, implied;
    uint32_t session; /* hash of the backend that the session's cookie names, 0 = none */
    uint32_t tags_version;
    int32_t data, tag_count, zone;
    bool failed; /* the route's request function did */
};

struct view_plan;

/* Where a route (its JSON) looks, and what its policy needs. The caller owns it. */
struct view_plan *proxy_view_plan(const struct cJSON *config, const struct cJSON *route);
void proxy_view_plan_free(struct view_plan *plan); /* NULL is allowed */
/* Not 0. */
uint32_t proxy_hash(struct str s);
/* Notes the tags of a backend, then gives the service's their bits, then writes them to a row. */
void proxy_view_backend(struct backend *b, const struct cJSON *tags);
void proxy_view_tags(struct proxy *p, struct service *service);
void proxy_view_row(const struct service *service, const struct backend *b,
                    struct script_backend *row);
/* Whether the policy reads the mean of the last answers. */
bool proxy_view_wants_mean(const struct view_plan *plan);
/* Looks through the head of the exchange's request; NULL: it has none (TCP). */
void proxy_view_take(struct exchange *ex, const struct http1_head *head);
/* The row of the session's own backend among the first `count`, -1: none, or it is not eligible. */
int proxy_view_session(const struct exchange *ex, uint32_t count);
/* Writes what proxy_view_take found. */
void proxy_view_fill(const struct exchange *ex, uint32_t count, struct script_request *request);
/* Writes the Set-Cookie field of a session that is now with this backend; its length, 0: none. */
size_t proxy_view_cookie(const struct exchange *ex, char *to, size_t size);

/* ---- function.c -------------------------------------------------------------------------- */

/* What the route's request function says; empty with *ret_failed when it failed. Lent until the route's
 * generation runs Lua again. */
struct script_data proxy_function_ask(const struct exchange *ex, const struct http1_head *head,
                                      bool *ret_failed);

/* ---- pick.c, tally.c --------------------------------------------------------------------- */

/* Chooses by the route's policy, else by least connections, and counts the request in flight there;
 * NULL: none may have it, because all are full with ex->all_full. */
struct backend *proxy_pick(struct exchange *ex);

/* The numbers of b moved: rows are refreshed. Every writer of what rows are made of says so. */
void proxy_moved(struct backend *b);

/* Whether the route has a backend that takes a new request and whose circuit lets it. */
bool proxy_pick_ready(const struct proxy *p, const struct route *r);
/* Parts of it, also for explain.c: writes what changes from request to request into the first
 * `count` rows of the route: those that moved, and each millisecond all of them, for what fades and
 * what other workers do, */
struct field proxy_pick_fill(const struct exchange *ex, uint32_t count);
/* what the policy may know of the request, */
struct script_request proxy_pick_request(const struct exchange *ex, const struct field *f,
                                         uint32_t count);
/* and without a policy: least in flight for the weight; equal ones in turn, beginning anywhere.
 * -1: none is eligible. */
int proxy_pick_least(struct proxy *p, const struct route *r, uint32_t count);
void proxy_tally_begin(struct exchange *ex, struct backend *b);
/* What is left of a number that nothing renewed for so long: about e^-(age / 5 s). */
double proxy_faded(double value, double age_ms);
/* Writes to a row what all workers know of the backend: in flight, response times (the mean only when
 * it is wanted) and error rate. Our own is exact, that of others at most a millisecond old. */
void proxy_tally_fill(struct proxy *p, struct backend *b, bool mean, struct script_backend *row);
/* A final head came. */
void proxy_tally_answer(struct exchange *ex, int status);
/* The attempt got no answer, ex->failure says how. */
void proxy_tally_failure(struct exchange *ex, bool repeated);
/* The attempt is over, whatever it came to. */
void proxy_tally_end(struct exchange *ex);
/* A request of a client begins; it is over, and answered with ex->status (0: the client left before). */
void proxy_tally_request(struct exchange *ex);
void proxy_tally_request_end(struct exchange *ex);
/* It goes by another route of the same generation from here on. */
void proxy_tally_request_move(struct exchange *ex, struct route *to);
/* At most one a second. */
void proxy_fact(struct proxy *p, const char *kind, const char *text);
/* One that must not be lost: the caller bounds how often. */
void proxy_tell(struct proxy *p, const char *kind, const char *service, const char *backend,
                const char *text);

/* ---- shadow.c ---------------------------------------------------------------------------- */

/* The shadow policy of a route, where its JSON has one; -EINVAL. */
int proxy_shadow_new(struct route *r, const struct cJSON *json, char **reterr);
void proxy_shadow_free(struct route *r);
/* Counting begins anew. */
void proxy_shadow_begin(struct proxy *p, const struct generation *g);
/* Asks it about the pick that was just made of the first `count` rows; the route must have one. */
void proxy_shadow_ask(struct proxy *p, struct route *r, uint32_t count, int chosen);

/* ---- lapse.c ----------------------------------------------------------------------------- */

/* What decides for a route ("balance" or "request") may be asked now; that counts as a call. */
bool proxy_lapse_may_ask(const struct proxy *p, struct lapses *l);
/* It failed for this exchange: told, and when it did so many times in a row it rests. `head`: what the request
 * function saw; NULL: it was the policy. */
void proxy_lapse(const struct exchange *ex, struct lapses *l, const struct http1_head *head,
                 const char *error);

/* ---- guard.c ----------------------------------------------------------------------------- */

void proxy_guard_read(struct proxy *p, struct guard *g, const struct cJSON *service,
                      const struct cJSON *route);
/* The exchange goes to b: its circuit lets it through, or not. */
bool proxy_guard_enter(struct exchange *ex, struct backend *b);
/* What the attempt came to: only the first time counts, and only with a ticket. */
void proxy_guard_result(struct exchange *ex, enum failure failure);
/* It came to nothing. */
void proxy_guard_leave(struct exchange *ex);
/* "cannot connect" and so on. */
const char *proxy_guard_word(enum failure failure);
/* A pick ignored the circuits. */
void proxy_guard_panic(struct proxy *p, struct service *service, const struct field *f);
/* Has the backend checked soon: it failed. */
void proxy_suspect(struct proxy *p, struct backend *b, enum failure failure);
/* A request came; one may be repeated, and then is. */
void proxy_budget_ask(struct proxy *p, struct route *r);
bool proxy_budget_repeat(struct proxy *p, struct route *r);

/* ---- queue.c ----------------------------------------------------------------------------- */

/* false: it is full. */
bool proxy_queue_join(struct exchange *ex);
/* Does nothing when it is in none. */
void proxy_queue_leave(struct exchange *ex);
/* After a batch of events. */
void proxy_queue_run(struct proxy *p);
/* How long the loop may sleep for it; -1 = for ever. */
int proxy_queue_wait_ms(const struct proxy *p);

#endif
