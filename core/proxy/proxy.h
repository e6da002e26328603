/* proxy.h: a worker's data plane: accept, parse, pick, forward, tally.
 *
 * It owns the worker's loop: one edge-triggered epoll for data sockets with the libuv loop
 * embedded (timers, ipc, signals). It is told everything by app/worker.c and never reads files.
 *
 *   prepare(config) -> commit | abort        generations, two-phase
 *   listen(address, fd)                      sockets that the master opened
 *   roster(json)                             which backends (fleet.h)
 *   drain -> idle                            accept no more, finish what is open
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdbool.h>
#include <stdint.h>

struct uv_loop_s;
struct board;
struct cJSON;
struct proxy;

struct proxy_options {
    struct uv_loop_s *loop; /* lent for the proxy's life */
    struct board *board;    /* lent */
    unsigned worker;        /* our index on the board */
};

int proxy_new(const struct proxy_options *options, struct proxy **ret_proxy);
/* Builds routes and pickers of a configuration beside the present one; -EINVAL with a sentence. With
 * "builtin_balance" in it there are no pickers: least connections in C decides. */
int proxy_prepare(struct proxy *p, uint32_t generation, const struct cJSON *config, char **reterr);
/* From the next request on the prepared generation counts; requests in flight finish on the old.
 * Listeners whose address no route of the new one names are closed. -ENOENT: nothing prepared. */
int proxy_commit(struct proxy *p);
void proxy_abort(struct proxy *p);
/* A listening socket for an address ("0.0.0.0:8080" as in the configuration). Takes fd. A second one for
 * the same address is closed. Accepts once a committed route names the address. */
int proxy_listen(struct proxy *p, const char *address, int fd);
/* Applies a roster; -EINVAL when it is not one. Backends that left finish what they have. */
int proxy_roster(struct proxy *p, const struct cJSON *roster);
/* Takes certificates, keys of tickets and what TLS to backends needs (net/tls.h has the message): for connections that
 * begin from now on; with `prepares` from the next proxy_commit on (proxy_abort forgets it). A listener whose port the
 * configuration wants TLS on, and that has none here, closes its connections. On an error what was there goes on:
 * -EINVAL, -ELIBACC, with a sentence. */
int proxy_certificates(struct proxy *p, const struct cJSON *message, bool prepares, char **reterr);
enum {
    /* So long the kernel may keep a connection that says nothing from a listener, and some more. */
    PROXY_PARKED_MS = 1300
};
/* Accepts what is queued, closes the listeners listen_ms from now, says Connection: close on what follows;
 * connections still open at deadline_ms from now are cut. proxy_run returns when none is left. With
 * PROXY_PARKED_MS nobody who has connected is turned away; 0 is for when nothing serves afterwards. */
void proxy_drain(struct proxy *p, uint32_t deadline_ms, uint32_t listen_ms);
/* Nobody will send a roster any more: who waits for a service without backends is answered 503, as is who
 * comes from now on, so that they ask again where somebody starts one. */
void proxy_orphan(struct proxy *p);
/* How a request such as "GET /x Host: y" would be decided on now; nothing changes. `listen` is the
 * address it comes to, or "": the first that has a route for it. The caller owns
 * {"ok":true,"generation":3,"service":"catalog","policy":"least_connections",
 *  "route":{"listen":"0.0.0.0:80","host":"","path":"/","tcp":false},
 *  "decides":"score"|"loop" (of the policy's own)|"session"|"builtin","chosen":"catalog-1"|null,
 *  "equal":2 (have the lowest score),"panic":false,"tags_asked":0,"policy_error"?:"...","request_error"?:"...",
 *  "backends":[{"backend":"catalog-1","address","chosen":true,"eligible":true,"score"?:0.5,
 *    "reason":"" | "draining" | "full: 5 of 5" | "circuit open" | "ejected, circuit open","in_flight":0,"weight":1,"ramp":1,
 *    "response_ms":1.5,"error_rate":0,"circuit":"closed","tags":0 (of those asked),
 *    "zone"?:"same"|"other" (than the request's, where the policy reads zones)}],
 *  "rewritten"?:"/v1/x" (path for the backend),"canaries"?:["catalog-v2"] (services that other requests may go to)}
 * with "decides":"answer","answer":{"by":"redirect","status":301,"location"?:"..."} and no backends when it is answered here,
 * or {"ok":false,"error":"..."}. */
struct cJSON *proxy_explain(struct proxy *p, const char *like, const char *listen);
/* The decisions on the request with this id that this worker still knows, at most the last 16, the oldest
 * first. The caller owns
 * {"ok":true,"found":[{"at_ms":1790000000000 (wall clock),"generation":3,"service":"catalog","attempt":0,
 *    "route"?,"policy"?: while their generation is in force,"panic","decides","equal","tags_asked","chosen","backends"
 *    as above; "decides" "nobody": none was eligible; scores are computed anew from the inputs of then,
 *    "count":3 (backends then),"outcome":{"ended":true,"status":200 (told to the client) or 0,
 *    "failure":"" | "cannot connect" | ...,"took_ms":3.2}}],
 *  "left_out":0 (older ones), "kept":2300,"reaches_s":12.5,"failed_kept":10,"failed_reaches_s":300.1,"complete":false (some were forgotten)}. */
struct cJSON *proxy_past(struct proxy *p, const char *id);
/* The decisions that were made since `after` (below 0: none, only where to begin) and have come to something, or wait
 * for it for longer than a second; the newest 16 of them. Of one service, or of routes whose "ADDRESS:PORT HOST/PATH" contains
 * `route`; both may be NULL. The caller owns
 * {"ok":true,"found":[{as above,"request":"its id"}],"after":81920 (for the next time),
 *  "left_out":0 (older ones since then),"lost":false (some were forgotten before they were asked for)}. */
struct cJSON *proxy_trace(struct proxy *p, double after, const char *service, const char *route);
/* What ACME authorities are answered: an object of tokens and texts. GET /.well-known/acme-challenge/TOKEN gets the text,
 * whatever host and listener it comes to and before any route is looked for; other tokens go by the routes. NULL or
 * none in it: nothing is answered. */
void proxy_challenges(struct proxy *p, const struct cJSON *answers);
/* Opens the access log's file again. */
void proxy_reopen(struct proxy *p);
/* Runs until drained or proxy_stop. */
void proxy_run(struct proxy *p);
void proxy_stop(struct proxy *p);
/* Closes everything; the loop must still run once for its close callbacks. */
void proxy_free(struct proxy *p);

/* News. All of them together at most one a second: "policy" (a policy runs interpreted),
 * "limit", "listen", "tags", "access_log", "tls" (handshakes that failed, and what was no TLS). Always told: "circuit_opened", "circuit_half_open", "circuit_closed",
 * "backend_ejected", "backend_returned". At most once a second, for each backend: "backend_failed" (it
 * should be checked soon); for each service: "panic" (requests ignore the circuits just now).
 * `service` and `backend` are "" where there is none. */
typedef void proxy_fact_fn(void *arg, const char *kind, const char *service, const char *backend,
                           const char *text);
void proxy_on_fact(struct proxy *p, proxy_fact_fn *fn, void *arg);

/* That what decides for a route failed: told at the first failure, then at most once a second. */
struct proxy_fault {
    const char *point, *service; /* "balance" | "request" */
    uint32_t place;              /* of the route in its service, from 1 */
    const char *policy, *error;  /* "function"; "file:line: ..." */
    const char *input;           /* the last request, and who could have had it */
    uint32_t generation;
    uint64_t errors, calls; /* since it was told last */
};

typedef void proxy_fault_fn(void *arg, const struct proxy_fault *fault);
void proxy_on_fault(struct proxy *p, proxy_fault_fn *fn, void *arg);
/* Spans of requests, as OTLP's JSON has them, at most a second after they ended. `left_out`: more that were not kept, since
 * it was told last. Takes `spans`, an array. */
typedef void proxy_spans_fn(void *arg, struct cJSON *spans, uint64_t left_out);
void proxy_on_spans(struct proxy *p, proxy_spans_fn *fn, void *arg);
/* What decides for a route is not asked any more in this generation: C decides, or nothing is known of its
 * requests' data. */
void proxy_quarantine(struct proxy *p, uint32_t generation, const char *point, const char *service,
                      uint32_t place);

#endif
