/* fleet.h: orchestration without I/O of its own. Keeps every service at the instances it should
 * have, level-triggered: each change of the world (configuration, engine, probe, decision, time)
 * ends in the same fleet_reconcile, which compares and starts the next step. So a crash at any
 * point is survived: list the engine, compare, go on.
 *
 *   instance:  CREATING -> STARTING -> WAITING -> UP <-> DOWN
 *                  |           |          |       |        |
 *                  +-----------+----------+-> FAILED    DRAINING -> STOPPING -> REMOVING -> (gone)
 *                                              (logs read) -----------------------^
 *
 *   FAILED is for instances that never were UP: a failed deploy. It keeps reason, last health output and log
 *   lines, removes the instance, and backs off (1 s doubling to 5 min) before the next try.
 *   DOWN: unhealthy, restarting, or ended. Leaves the roster at once. Back to UP by its probe; replaced when
 *   the engine will not restart it, or when it stays unhealthy for longer than health interval x retries.
 *
 * Takes time and results as arguments and starts work only through `engine` and the ports, so that a
 * simulation runs the same code on a virtual clock.
 *
 * ROSTER as JSON: { "version": 12, "services": [ { "name": "catalog", "backends": [
 *     { "id": "catalog-7", "slot": 3, "address": "172.18.0.2:8080", "weight": 1, "max_connections": 100,
 *       "capacity": 1000, "tags": ["zone:1"], "draining": false, "joined_ms": 123456 } ],
 *       "lost": ["catalog-5"] } ] }
 *   Only backends that may get requests, and draining ones that may still have some. `lost` (absent: none) names
 *   those that left because they are down or gone: what waits for their answer need not wait.
 *
 * SNAPSHOT as JSON: { "now_ms": 123456, "services": { "catalog": { "service": "catalog", "now": 123.456 (s), "time": 1790000000.5 (s since 1970), "instances": 4 (up),
 *     "desired": 4, "starting": 0, "min": 2, "max": 20, "cpu_percent": 61.2, "memory_percent": 40.1, "in_flight": 12, "rate": 310.5 (requests/s),
 *     "error_rate": 0.001, "p50_ms": 3.1, "p95_ms": 12.0, "p99_ms": 31.0, "queue": 0, "since_up_s": 12.5, "since_down_s": 600.0,
 *     "sample_age_s": 1.2, "hash": 0.4711, "metrics": {as watch/view.h has it, of the last sample} } } }
 *   Unknown numbers are absent; so are metrics before the first sample, and in what is kept with a decision.
 * DECISIONS as JSON: { "services": { "catalog": { "want": 5 | null, "reason": "High resource usage - CPU: 91.0%, Memory: 40.1%",
 *     "policy": "threshold", "origin": "policies/scale/threshold.lua",
 *     "shadows"?: [ { "name": "queue", "want": 6 | null, "reason": "..." } | { "name": "queue", "error": "..." } ] } | { "error": "policies/scale/x.lua:3: ..." } } }
 */
#ifndef FLEET_FLEET_H
#define FLEET_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct board;
struct cJSON;
struct engine;
struct engine_event;
struct fleet;
struct probe_result;
struct probe_spec;
struct record_field;

/* Who gets requests: the ROSTER above. Lent for the call. */
struct fleet_backend {
    const char *id, *address;
    int slot;
    double weight, max_connections, capacity;
    const struct cJSON *tags; /* NULL: none */
    bool draining;
    uint64_t joined_ms;
};

struct fleet_roster_service {
    const char *name;
    size_t first, count;      /* of its backends in the roster's */
    const struct cJSON *lost; /* NULL: none */
};

struct fleet_roster {
    uint64_t version;
    const struct fleet_roster_service *services;
    const struct fleet_backend *backends;
    size_t service_count;
};

/* What a scale policy gets to know of a service at a moment: one view of the snapshot above, but `metrics`.
 * Negative: unknown, and absent in the JSON. fleet_view_fields names the numbers. */
struct fleet_view {
    const char *service; /* lent */
    double now;          /* s */
    double time;         /* s since 1970 */
    double instances, desired, starting, min, max;
    double cpu_percent, memory_percent, in_flight, rate, error_rate;
    double p50_ms, p95_ms, p99_ms, queue;
    double since_up_s, since_down_s, sample_age_s;
    double hash; /* 0..1: of the service and the moment */
};

/* The services whose policies are asked together. Lent for the call. */
struct fleet_snapshot {
    uint64_t now_ms;
    const struct fleet_view *views;
    size_t count;
};

/* What a policy answered for a service. Borrowed. */
struct fleet_answer {
    const char *service;
    const char *policy, *origin, *reason; /* may be NULL */
    const char *error;                    /* NULL: none */
    bool given;                           /* `want` counts; else no opinion */
    double want;
    const struct cJSON *shadows; /* what shadow policies said, as in DECISIONS; NULL: nothing */
};

/* Something that happened, for log, history and metrics. Borrowed. */
struct fleet_fact {
    const char *kind;     /* "backend_up", "backend_down" (gets requests, does not any more),
                             "circuit_closed", "backend_returned" (it was let in again since it is
                             healthy), "instance" (its other states), "deploy", "decision",
                             "service", "engine" */
    const char *service;  /* "" when of none */
    const char *instance; /* "" when of none */
    const char *what;     /* short sentence in lower case: "instance up", "deploy failed" */
    const char *detail;   /* reason, or "" */
    bool bad;             /* logged as a warning */
};

/* What the fleet asks of its owner. Every function is called from inside fleet_* calls and must not
 * call back into the fleet before it returned. */
struct fleet_ports {
    void *arg;
    /* Starts or stops checking a backend; results come to fleet_on_probe. */
    int (*probe_add)(void *arg, const char *id, const struct probe_spec *spec);
    void (*probe_remove)(void *arg, const char *id);
    void (*probe_reason)(void *arg, const char *id, const char **ret_reason, int *ret_status,
                         uint32_t *ret_attempts);
    /* A new roster for all workers; its version is acknowledged by fleet_on_roster. */
    void (*roster)(void *arg, const struct fleet_roster *roster);
    /* The last metrics view of a service (watch/view.h) for fleet_snapshot_text; the caller owns it. NULL: there is
     * none; the function may be NULL, too. */
    struct cJSON *(*metrics)(void *arg, const char *service);
    /* Wants decisions for this snapshot: fleet_on_decisions or fleet_on_answer, or silence (hold). */
    void (*ask)(void *arg, const struct fleet_snapshot *snapshot);
    void (*fact)(void *arg, const struct fleet_fact *fact);
    /* Something that must outlive this process is so from now on; json NULL: not any more. Keys are
     * unique within a kind, and the JSON is for fleet_restore alone. */
    void (*keep)(void *arg, const char *kind, const char *key, const char *json);
    /* Milliseconds since 1970, for what is kept. */
    uint64_t (*wall_ms)(void *arg);
};

struct fleet *fleet_new(const struct fleet_ports *ports, struct board *board);
/* The engine's pending calls must have called back (engine closed) before. */
void fleet_free(struct fleet *f);

/* Sets or changes the engine; lent until fleet_free. */
void fleet_set_engine(struct fleet *f, struct engine *engine);
/* What a fleet before this one kept, before the first fleet_apply: holds that have not run out, cooldowns,
 * stopped services, drains, backends and weights as operators set them. What is of a service, instance or list
 * of backends that is not there any more is forgotten, and so is (told as a bad fact) what makes no sense. */
void fleet_restore(struct fleet *f, const char *kind, const char *key, const char *json);
/* The kinds that are kept, ended by NULL. */
const char *const *fleet_kept_kinds(void);
/* Applies a configuration (script.h), first or changed: what needs no new instance (scale, routes, tags,
 * weights) takes effect in place, a changed specification rolls, a service that is gone is drained and removed.
 * Borrows. */
void fleet_apply(struct fleet *f, const struct cJSON *config, uint64_t now_ms);

/* News. */
void fleet_on_engine_up(struct fleet *f, const char *description,
                        uint64_t now_ms); /* lists, compares */
void fleet_on_engine_down(struct fleet *f, const char *why,
                          uint64_t now_ms); /* freezes; traffic goes on */
void fleet_on_engine_event(struct fleet *f, const struct engine_event *event, uint64_t now_ms);
void fleet_on_probe(struct fleet *f, const struct probe_result *result, uint64_t now_ms);
/* After the start: whether what ran before us is known and was checked once, so that the roster has all
 * who can serve. */
bool fleet_surveyed(const struct fleet *f);
/* All workers have applied this roster version (or newer). */
void fleet_on_roster(struct fleet *f, uint64_t version, uint64_t now_ms);
void fleet_on_decisions(struct fleet *f, const struct cJSON *decisions, uint32_t generation,
                        uint64_t now_ms);
/* The same for one service, without JSON. */
void fleet_on_answer(struct fleet *f, const struct fleet_answer *answer, uint32_t generation,
                     uint64_t now_ms);
/* The ROSTER as JSON text; the caller owns it (mem_free). */
char *fleet_roster_text(const struct fleet_roster *roster);
/* The SNAPSHOT as JSON text; the caller owns it (mem_free). */
char *fleet_snapshot_text(const struct fleet *f, const struct fleet_snapshot *snapshot);
/* The numbers of struct fleet_view, in the order of the JSON. Static. */
const struct record_field *fleet_view_fields(size_t *ret_count);
/* Time passes: call about every 100 ms. Deadlines, back-offs, samples, snapshots. */
void fleet_tick(struct fleet *f, uint64_t now_ms);

/* What operators ask for. All return a result object that the caller owns: {"ok":true,...} or
 * {"ok":false,"error":"no such service: x: services are a, b"}. `who` goes into the audit record. */
struct cJSON *fleet_scale(struct fleet *f, const char *service, uint32_t instances,
                          uint64_t hold_ms, const char *who, uint64_t now_ms);
/* Does what the policy of a service in mode "recommend" recommends at present. */
struct cJSON *fleet_approve(struct fleet *f, const char *service, const char *who, uint64_t now_ms);
/* New generation of the service: rolls one by one. ret generation in "generation"; see fleet_deploy_state. */
struct cJSON *fleet_deploy(struct fleet *f, const char *service, const char *who, uint64_t now_ms);
/* Progress of the present roll: {"state":"rolling"|"done"|"failed","generation":3,"reason":"...",
 * "health_output":"...","logs":"..."}; the caller owns it; NULL: no such service. */
struct cJSON *fleet_deploy_state(const struct fleet *f, const char *service);
/* A backend (instance id or address) gets no new requests / gets them again. */
struct cJSON *fleet_drain(struct fleet *f, const char *backend, bool drain, const char *who,
                          uint64_t now_ms);
/* A service with `backends` gets one more or loses one, until a configuration comes whose list of them
 * differs from the one before. `address` as net_addr_parse takes it. */
struct cJSON *fleet_backend(struct fleet *f, const char *service, const char *address, bool add,
                            const char *who, uint64_t now_ms);
/* Who serves a service from labels (script.h: "labelled") now, in place of those before: [{"id":"shop-web-1" (unique),
 * "address","weight","max_connections","capacity","tags","health"?:"healthy" (as its engine's own check has it; absent:
 * it has none)}]. Who is not there any more gets no new requests and goes when it has answered. Takes the list;
 * a service that is none of these is left alone. */
void fleet_members(struct fleet *f, const char *service, struct cJSON *takes, uint64_t now_ms);
/* One of them ended: what waits for its answers need not wait. */
void fleet_member_lost(struct fleet *f, const char *service, const char *id, const char *why,
                       uint64_t now_ms);
/* Another weight for a backend (instance id or address), for as long as it lives or until its service's
 * list of backends changes. */
struct cJSON *fleet_weight(struct fleet *f, const char *backend, double weight, const char *who,
                           uint64_t now_ms);
/* Replaces an instance: new one healthy first, then the old one drained. */
struct cJSON *fleet_restart(struct fleet *f, const char *instance, const char *who,
                            uint64_t now_ms);
/* Drains and removes all instances of a service until the next deploy of it, also over restarts of ours. */
struct cJSON *fleet_stop(struct fleet *f, const char *service, const char *who, uint64_t now_ms);
/* Stops all services of ours (--stop-services); fleet_idle tells when it is done. */
void fleet_stop_all(struct fleet *f, uint64_t now_ms);
bool fleet_idle(const struct fleet *f);

/* Names of all services as an array; the caller owns it. */
struct cJSON *fleet_names(const struct fleet *f);

/* Calls of the engine of one kind. */
struct fleet_calls {
    const char *name; /* "create", "start", "inspect", "logs", "stop", "remove", "list", "sample" */
    uint64_t succeeded, failed;
};

/* Those of kind `at`, from 0; false: there are no more. */
bool fleet_calls(const struct fleet *f, unsigned at, struct fleet_calls *ret_calls);

/* {"services":[{"name","source" (as script.h has it, "labels" or "gone"),"desired","min","max","up","starting","draining","generation","rolling",
 *   "stopped","oom_kills" (of its instances, ever),"manual_for_s" (while set by hand),"frozen_for_s" (while downs are frozen),
 *   "mode":"active"|"recommend"|"shadow"|"paused"|"pinned","recommended" (instances that wait to be approved),
 *   "shadows"?:[{"name":"queue","asked":900,"differed":12,"errors":0,"would":6,"own":4 (what the service's own policy wants within the bounds),
 *     "reason" | "error"}],
 *   "last_decision":{...} or null,
 *   "zero":{"idle_s","quiet_s" (since the last request),"waking" (the first instance is on its way, no policy is asked),"wakes","held" (requests
 *     that wait for it),"cold_starts_a_day":{"60","300","900","1800","3600"} (gaps longer than so many s)},     with min 0 only
 *   "deploy":{"state","generation","reason","instance","failures","next_try_s"},
 *   "resources":{"cpu_percent","memory_percent"},
 *   "traffic":{"rate","in_flight","queue","p50_ms","p95_ms","p99_ms","error_rate"},      of the last sample interval; in_flight and queue: now
 *   "instances":[{"id","engine_id" (a container's, as the engine has it),"state","address","slot" (row of the board, -1 = none),"index" (place 1 .. n),
 *     "generation","age_s","restarts","oom_kills","reason","drained" (by an operator),"pid","running" (unless static),
 *     "cpu_percent","memory_percent","memory_bytes","received_bytes_per_second","sent_bytes_per_second" (all: when
 *     fresh),"circuit":"closed"|"half-open"|"open","circuit_opened","ejected" (how often),
 *     "in_flight","requests","errors"}]}],
 *  "engine":{"name","state":"up"|"down","description"}}; unknown numbers are absent.
 * service NULL = all. NULL: no such service. The caller owns it. */
struct cJSON *fleet_status(const struct fleet *f, const char *service, uint64_t now_ms);
/* {"decisions":[{"at":"2026-...Z","wall_ms","last_wall_ms","count","service","policy","origin",
 *   "generation","inputs":{...},"want":5 | null,"was":4,"result":5,
 *   "action":"scale_up"|"scale_down"|"no_change"|"hold","reason":"...",
 *   "constraints":[{"rule":"max","before":9,"after":5},{"rule":"step",...}],
 *   "held_by":"step" (the last rule that kept it back) | "",
 *   "shadows"?:[{"name":"queue","would":6,"own":4,"reason":"..."} | {"name","error"}]}]}, newest last.
 * Each rule that changed the number, in the order applied: policy_error, stale, saturation, min, max, cooldown, rollout,
 * back_off, busy, manual, engine_down, after_up, churn, step (rails.c tells what they mean), and the mode when it is not active. `before` is the policy's number,
 * or what there was when it has none; then `after` may be the same.
 * Alike ones in a row without a change are one record: `count` of them, from wall_ms to last_wall_ms, with the
 * figures of the last. A change that a bound cut short has both an action and held_by.
 * since_wall_ms 0 = all kept. */
struct cJSON *fleet_decisions(const struct fleet *f, const char *service, uint64_t since_wall_ms);

#endif
