/* route.h: generations of routes, and what each asks, changes and allows; private to the proxy. */
#ifndef PROXY_ROUTE_H
#define PROXY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "board/circuit.h"
#include "net/http1.h"
#include "net/peer.h"

struct access;
struct cJSON;
struct edge_pages;
struct exchange;
struct proxy;
struct script_backend;
struct script_hot;
struct script_picker;
struct script_request;
struct script_reader;
struct service;
struct steps;
struct view_plan;

enum {
    HOST_BYTES = 256
};

/* ---- rules.c ----------------------------------------------------------------------------- */

struct pair {
    char *name, *value;
};

/* What is done to the fields of a head that passes. */
struct change {
    struct pair *set; /* in place of what came under these names */
    char **remove;
    uint32_t set_count, remove_count;
};

struct rules {
    char **methods;      /* none: every one */
    struct pair *fields; /* all must be there */
    uint32_t method_count, field_count;
    struct change request, answer;
    uint64_t slow_ms;        /* so long a client may be slower than min_body_rate */
    uint64_t min_body_rate;  /* bytes/s of a request's body; 0 = any */
    uint64_t max_body;       /* bytes of a request's body; 0 = no limit */
    uint32_t max_per_client; /* requests under way for one address; 0 = no limit */
};

/* Zeroed rules from a route's JSON. */
void proxy_rules_read(const struct cJSON *route, struct rules *rules);
void proxy_rules_free(struct rules *rules);
bool proxy_rules_match(const struct rules *rules, const struct http1_head *head);
/* How much they ask for: of routes with the same path the higher one is looked at first. */
uint32_t proxy_rules_rank(const struct rules *rules);
/* Whether some request fits both and neither asks for more. */
bool proxy_rules_equal(const struct rules *a, const struct rules *b);
bool proxy_change_sets(const struct change *change, struct str name);
/* Whether a field that came under this name is left out. */
bool proxy_change_drops(const struct change *change, struct str name);
/* Counts the exchange for its client; false: the client has as many as its route allows. */
bool proxy_client_enter(struct exchange *ex);
/* Does nothing when it is not counted. */
void proxy_client_leave(struct exchange *ex);

/* ---- route.c ----------------------------------------------------------------------------- */

/* How an attempt failed. */
enum failure {
    FAILURE_NONE,
    FAILURE_CONNECT,
    FAILURE_TIMEOUT,
    FAILURE_RESET, /* cut off, or malformed */
    FAILURE_5XX,
    FAILURES
};

/* What becomes of a request when there is no backend that it may wait for a place at. */
enum when_down {
    DOWN_BRIEFLY, /* it waits while the last one has gone but a moment ago */
    DOWN_WAITS,
    DOWN_REFUSED
};

/* A route's settings against failing and full backends; guard.c and queue.c. */
struct guard {
    bool tracks; /* circuits count at all */
    bool compares, budgeted;
    bool alone; /* also the circuit of an only backend keeps requests away */
    bool counts[FAILURES];
    struct board_rule rule;
    double panic; /* below this part of admitted backends all are asked */
    double eject_share, eject_deviations;
    uint32_t eject_minimum, eject_window_ms, eject_base_ms, eject_most_ms;
    double slow_start_ms;
    uint32_t queue_limit;
    enum when_down when_down;
    struct timeout *queue_timeout;
    double retry_ratio, retry_per_second;
};

/* What the backends of a pick are like. */
struct field {
    uint32_t healthy;  /* not draining */
    uint32_t admitted; /* healthy, and the circuit lets them */
    uint32_t eligible;
    uint32_t full;    /* would be eligible, but have no place */
    double in_flight; /* of the eligible ones together */
    bool panic;
};

/* Failures of what decides for a route. */
struct lapses {
    uint32_t in_a_row;
    uint64_t aside_ms;           /* after many of them it is not asked before then */
    bool quarantined;            /* it is not asked any more */
    uint64_t calls;              /* ever */
    uint64_t errors, told_calls; /* since they were told; calls when they were */
    uint64_t tell_ms;            /* not before */
};

/* A policy that is asked beside the route's own. */
struct shadow {
    struct script_picker *picker; /* NULL: there is none */
    char *policy;
    uint32_t failures; /* in a row */
    bool rests;        /* after too many of them */
};

/* Proxies in front of us whose word on their clients counts. */
struct trust {
    struct net_network *networks;
    uint32_t count;
};

/* What the backends of a service speak. */
enum protocol {
    PROTOCOL_HTTP,  /* HTTP/1.1 */
    PROTOCOL_H2C,   /* HTTP/2, from the first byte on */
    PROTOCOL_HTTPS, /* HTTP/1.1 over TLS */
    PROTOCOL_H2,    /* HTTP/2 over TLS, as ALPN agrees */
    PROTOCOLS
};

struct route {
    struct list node;              /* of its service */
    struct list queue, queue_node; /* exchanges that wait; of the proxy's queues while some do */
    struct generation *generation;
    struct service *service;
    char *path;
    size_t path_len;
    enum protocol protocol;
    uint32_t max_retries;
    uint64_t response_buffer; /* longest body of an answer that is held until it is whole */
    struct timeout *connect_timeout, *client_timeout;
    struct timeout *first_byte_timeout, *idle_timeout; /* silence of the backend: before, within */
    struct timeout *total_timeout;                     /* NULL: no limit */
    uint32_t number;                                   /* of its row on the board */
    uint64_t identity; /* hash of what tells it from others: the same beyond a reload */
    struct guard guard;
    struct script_backend *rows;
    uint8_t *marks; /* of each row: what it counts for in `field` */
    uint32_t capacity;
    struct field field;           /* of the rows as they are filled */
    uint64_t filled_ms;           /* when all of them were; 0 = to be done anew */
    uint32_t seen_moves;          /* of the service, that are in the rows */
    uint32_t changes;             /* of who is eligible, and of weights */
    struct script_picker *picker; /* NULL: C decides */
    struct shadow shadow;
    struct view_plan *view;
    struct script_reader *reader; /* its request function; NULL: none */
    struct lapses lapses, reader_lapses;
    struct rules rules;
    struct steps *steps; /* NULL: it has none */
    bool inner;          /* a part of another route, whose steps it borrows */
    uint64_t revived_ms; /* when one that waits could try all again */
    uint32_t asks;       /* of the policy, ever; wraps */
    bool interpreted;    /* LuaJIT gave its policy up */
    uint32_t place;      /* in its service, from 1 */
    char *host, *policy; /* as configured; these three for explain.c */
    struct cJSON *params;
    struct trust *trust; /* NULL: no proxies are named */
    bool forwarded;      /* backends get a Forwarded field, too */
    uint8_t send_proxy;  /* version of the PROXY header that backends get; 0: none */
};

struct site {              /* one host of one address */
    char *host;            /* "shop.example", ".shop.example" for "*.shop.example", "" for any */
    struct route **routes; /* longest path first, then by rank of the rules, then as declared */
    uint32_t count;
};

struct port { /* one listening address */
    char *address;
    struct site *sites;
    uint32_t count;
    struct map exact;                                /* host -> struct site * */
    struct timeout *client_timeout, *header_timeout; /* before a route is known */
    bool no_http2;                                   /* only HTTP/1 */
    bool tls;                                        /* clients come by https */
    struct route *tcp; /* its connections are tunnels to this route's backends; NULL: HTTP */
    const struct trust *proxies; /* they begin with a PROXY header; NULL: nobody does */
};

struct access;

struct generation {
    uint32_t number;
    uint32_t refs;                    /* the proxy's own, and one for each exchange */
    uint32_t head_bytes, head_fields; /* most in the head of a request */
    uint32_t spin_us;         /* looks on without sleeping for so long; 0 = sleeps at once */
    struct access *access;    /* NULL: none */
    struct edge_pages *pages; /* for answers of our own that no route has one for; NULL: none */
    double
        trace_share; /* of the requests that are part of no trace, whose spans are told; below 0: none has one */
    bool builtin; /* its policies are set aside: C decides */
    struct script_hot *hot;
    struct route *routes;
    uint32_t route_count;
    struct port *ports;
    uint32_t port_count;
};

/* Whether backends are asked on links, by HTTP/2. */
static inline bool proxy_route_links(const struct route *r)
{
    return r->protocol == PROTOCOL_H2C || r->protocol == PROTOCOL_H2;
}
/* "route" and "policy" as proxy_explain tells them. */
void proxy_explain_route(struct cJSON *to, const struct port *port, const struct route *r);
/* ... and a backend's "tags" and "zone". */
void proxy_explain_nearness(struct cJSON *to, const struct script_backend *row,
                            const struct script_request *request);
/* A host without port and last dot, in lower case; false when it is longer than any. */
bool proxy_host_name(struct str host, char *to, size_t size, size_t *ret_len);
struct port *proxy_generation_port(const struct generation *g, const char *address);
/* The route for a request, or NULL. */
struct route *proxy_route_find(const struct port *port, const struct http1_head *head);
void proxy_generation_ref(struct generation *g);
void proxy_generation_unref(struct generation *g); /* NULL is allowed */
/* Writes what the roster knows of a backend into the rows of all routes to its service. */
void proxy_route_fill(struct service *service);

#endif
