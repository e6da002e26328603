/* probe.h: active health checks over HTTP, gRPC and TCP. Reports only changes.
 *
 *   WAITING --success x rise--> HEALTHY <--> UNHEALTHY (failures x retries / successes x rise)
 *
 * While WAITING the check runs every min(interval, 250 ms) and failures do not
 * count before start_period is over. After a first failure of a healthy one
 * the next checks come every min(interval, 1 s) until the matter is decided.
 * Start offsets are spread by a hash of the id. */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct uv_loop_s;
struct net_client;
struct probe_set;

enum probe_kind {
    PROBE_HTTP, /* GET path: 200..399 is a success */
    PROBE_TCP,  /* connect */
    PROBE_GRPC, /* grpc.health.v1.Health/Check: SERVING is a success */
    PROBE_KINDS
};

/* HTTPS: paths of PEM files, NULL = the system's authorities, and none of our own. */
struct probe_tls { /* borrowed */
    const char *ca, *certificate, *key;
    const char *name; /* that its certificate is for; NULL = its address */
    bool skip_verify;
};

struct probe_spec { /* borrowed */
    enum probe_kind kind;
    const char *address;         /* as net_addr_parse takes it; may also be "name:port" */
    const char *path;            /* HTTP: "/health"; gRPC: the service, "" = the server */
    const char *host;            /* HTTP: Host field; NULL = the address */
    bool http2;                  /* HTTP: version 2, from the first byte on */
    const struct probe_tls *tls; /* HTTP: over TLS; NULL = plain */
    uint32_t interval_ms, timeout_ms, start_period_ms;
    uint32_t retries; /* failures in a row before it is unhealthy, >= 1 */
    uint32_t rise;    /* successes in a row before it is healthy, >= 1 */
};

struct probe_result { /* borrowed */
    const char *id;
    bool healthy;
    uint32_t attempts; /* since it was added, or since the last change */
    uint32_t took_ms;  /* of the last attempt */
    int status;        /* HTTP status of the last attempt, 0 = none */
    const char *
        reason; /* "HTTP health check passed", "GET /health answered 500", "gRPC health: NOT_SERVING",
                           "connection refused", "no answer within 2000 ms" */
    const char *body; /* start of the last answer's body, cut at 512 bytes, or "" */
};

typedef void probe_changed_fn(void *arg, const struct probe_result *result);

/* `client` is lent for the set's life: close the set first. */
struct probe_set *probe_set_new(struct uv_loop_s *loop, struct net_client *client,
                                probe_changed_fn *on_change, void *arg);
void probe_set_close(struct probe_set *set);
/* Starts checking `id`; replaces a check of the same id (WAITING again). -EINVAL: address, or one of
 * interval, timeout, retries and rise is 0. */
int probe_add(struct probe_set *set, const char *id, const struct probe_spec *spec);
/* No callback for it comes afterwards. Unknown ids are ignored. */
void probe_remove(struct probe_set *set, const char *id);
/* Checks now and fast until decided, because traffic saw a failure. */
void probe_hurry(struct probe_set *set, const char *id);
/* The last result of `id`: reason and status of the latest attempt; "" and 0 when unknown. Lends:
 * until the next attempt. */
const char *probe_last_reason(const struct probe_set *set, const char *id, int *ret_status,
                              uint32_t *ret_attempts);

#endif
