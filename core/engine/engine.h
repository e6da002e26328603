/* engine.h: what starts, watches and ends instances. `docker` and `process`
 * implement it, and pass one common suite (tests/unit/engine/suite.lua).
 *
 *   created --start--> running --(ends)--> exited --remove--> gone
 *
 * Identity: the engine keeps with every instance the labels of its spec and
 * gives them back in list and inspect, so that nothing else has to be stored.
 * `name` is unique on the engine and is the idempotency key: create of a name
 * that exists and carries our labels answers -EEXIST.
 *
 * `process` runs "command" as a child of the host, which outlives tidegate. $PORT, ${PORT} and every
 * other variable of the child's environment are replaced in its arguments, $$ is a dollar. The port is
 * ports[0].host, or chosen at start and then kept while it stays free: look at the address after each
 * start. It has no health of its own (ENGINE_HEALTH_NONE). "process": {"control_groups": false} in
 * the cluster's configuration makes it go without them. Nobody else in the process may wait for any child
 * (waitpid(-1)), since exit codes would be lost.
 *
 * All calls are asynchronous by net.h's rule (fail and never call back, or
 * call back once, later). An outcome after a time-out is unknown: the caller
 * looks the name up (engine_inspect) before it acts. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct net_client;
struct cJSON;
struct engine;

enum engine_state {
    ENGINE_CREATED,
    ENGINE_RUNNING,
    ENGINE_RESTARTING, /* ended, and the engine's restart policy will start it again */
    ENGINE_PAUSED,
    ENGINE_EXITED,
    ENGINE_GONE, /* unknown to the engine */
    ENGINE_STATES
};

enum engine_health {    /* the engine's own check (Docker HEALTHCHECK) */
    ENGINE_HEALTH_NONE, /* has no check of its own */
    ENGINE_HEALTH_STARTING,
    ENGINE_HEALTHY,
    ENGINE_UNHEALTHY,
    ENGINE_HEALTHS
};

enum {
    ENGINE_ID_BYTES = 80,
    ENGINE_NAME_BYTES = 200
};

/* What to create. Borrowed until engine_create returns. */
struct engine_spec {
    const char *name;              /* "tg-shop-catalog-7" */
    const char *cluster, *service; /* labels tidegate.cluster, tidegate.service */
    uint32_t serial;               /* label tidegate.serial: the 7 above */
    uint32_t slot; /* label tidegate.slot: 1 .. n, stable place of the instance in its service */
    uint32_t generation;   /* label tidegate.generation: rises with each deploy of the service */
    const char *spec_hash; /* label tidegate.spec */
    const struct cJSON *service_config; /* the service as script.h shapes it: image, command, ... */
};

/* An instance as the engine knows it. Strings are borrowed until the callback returns. */
struct engine_instance {
    const char *id; /* engine's own id, < ENGINE_ID_BYTES */
    const char *name;
    const char *service; /* labels; "" when it has none of ours */
    const char *spec_hash;
    uint32_t serial, slot, generation;
    enum engine_state state;
    enum engine_health health;
    const char *health_output; /* last output of the engine's check, or "" */
    const char *address; /* "172.18.0.3:8080" where to reach its first port; "" when not running */
    uint32_t pid;        /* 0 = not running or not local */
    int exit_code;
    bool oom_killed;
    uint32_t restarts;
    const char *error; /* why it could not start, or "" */
    uint64_t started_wall_ms;
};

/* Why a call failed, beyond the errno-style code: what the operator reads. */
struct engine_error {
    int code; /* 0, -ENOENT (image or instance), -EEXIST (name), -EADDRINUSE (port), -EINVAL (spec),
                 -ENOSPC, -EACCES, -ETIMEDOUT (outcome unknown), -ECONNREFUSED (engine down),
                 -EAGAIN (engine's own fault), -ECANCELED */
    const char *text; /* "image not found: acme/x:1", "" when code is 0; borrowed */
};

typedef void engine_done_fn(void *arg, const struct engine_error *error);
typedef void engine_created_fn(void *arg, const struct engine_error *error, const char *id);
typedef void engine_inspected_fn(void *arg, const struct engine_error *error,
                                 const struct engine_instance *instance);
typedef void engine_listed_fn(void *arg, const struct engine_error *error,
                              const struct engine_instance *instances, size_t count);
/* Containers of others, as JSON: lent until it returns. NULL with an error. */
typedef void engine_others_fn(void *arg, const struct engine_error *error,
                              const struct cJSON *others);
typedef void engine_logs_fn(void *arg, const struct engine_error *error, const char *text,
                            size_t len);

struct engine_sample { /* totals since the start of the instance, and limits */
    double cpu_seconds;
    double cpu_cores_allotted;   /* limit, or the host's cores */
    uint64_t memory_bytes;       /* working set: without page cache that can be dropped */
    uint64_t memory_limit_bytes; /* limit, or the host's memory */
    uint64_t at_us;              /* monotonic time of reading */
    uint64_t network_rx_bytes, network_tx_bytes;
    uint32_t pids;
};
typedef void engine_sampled_fn(void *arg, const struct engine_error *error,
                               const struct engine_sample *sample);

union engine_callback { /* of a call that an engine keeps until it is finished */
    engine_done_fn *done;
    engine_created_fn *created;
    engine_inspected_fn *inspected;
    engine_listed_fn *listed;
    engine_sampled_fn *sampled;
    engine_logs_fn *logs;
    engine_others_fn *others;
};

enum engine_event_kind {
    ENGINE_EVENT_STARTED,
    ENGINE_EVENT_DIED, /* exit_code, oom in the same event where known */
    ENGINE_EVENT_OOM,
    ENGINE_EVENT_HEALTH, /* health changed */
    ENGINE_EVENT_REMOVED,
    ENGINE_EVENT_PAUSED,
    ENGINE_EVENT_UNPAUSED,
    ENGINE_EVENTS
};

struct engine_event { /* borrowed */
    enum engine_event_kind kind;
    const char *id, *name, *service;
    int exit_code;
    enum engine_health health;
};

/* Of a container that is not ours, while these are followed. */
enum engine_other_kind {
    ENGINE_OTHER_FOLLOWED, /* from here on nothing is missed: list now. No id */
    ENGINE_OTHER_CHANGED,  /* list again */
    ENGINE_OTHER_LEAVING,  /* it was told to end, and may still answer for a while */
    ENGINE_OTHER_DIED,
    ENGINE_OTHER_LOST, /* nothing is heard of any of them: follow again, later. No id */
    ENGINE_OTHERS
};

/* What the engine tells by itself. After `up` the listener lists and compares, since events may
 * have been missed; that is also how a restart of the engine and a gap in the stream look. */
struct engine_listener {
    void *arg;
    void (*up)(void *arg, const char *description); /* "docker 20.10.24, API 1.41" */
    void (*down)(void *arg, const char *why); /* not reachable or hung; comes once per outage */
    void (*event)(void *arg, const struct engine_event *event);
    void (*other)(void *arg, enum engine_other_kind kind, const char *id); /* may be NULL */
};

/* One static table per implementation. Every function may be called at any time between open and
 * close; while the engine is down calls fail later with -ECONNREFUSED. `id` may be an id or a name. */
struct engine_kind {
    const char *name;               /* "docker", "process" */
    void (*open)(struct engine *e); /* starts connecting, with back-off for ever */
    int (*create)(struct engine *e, const struct engine_spec *spec, engine_created_fn *done,
                  void *arg); /* pulls a missing image first */
    int (*start)(struct engine *e, const char *id, engine_done_fn *done, void *arg);
    int (*inspect)(struct engine *e, const char *id, engine_inspected_fn *done, void *arg);
    /* All instances of our cluster in any state. */
    int (*list)(struct engine *e, engine_listed_fn *done, void *arg);
    /* SIGTERM, after timeout_s SIGKILL; done when it is not running. Not running: success. */
    int (*stop)(struct engine *e, const char *id, uint32_t timeout_s, engine_done_fn *done,
                void *arg);
    /* Kills if it runs, and deletes it with its anonymous volumes. Unknown: success. */
    int (*remove)(struct engine *e, const char *id, engine_done_fn *done, void *arg);
    int (*sample)(struct engine *e, const char *id, engine_sampled_fn *done, void *arg);
    /* Last `lines` lines of stdout and stderr. */
    int (*logs)(struct engine *e, const char *id, uint32_t lines, engine_logs_fn *done, void *arg);
    /* All containers of the engine that are not ours, those of other tidegates included. NULL: it has none. An array of
     * {"id","name","image","created":1700000000 (s since 1970),"state":"running","health":"healthy" (engine_health_name),
     *  "cluster" (of the tidegate that made it, "" = none),"project","service" (compose's words, or ""),"oneoff":false,
     *  "network_mode":"bridge" | "host" | "container:ID" | ...,"networks":[{"name","ipv4","ipv6"}] ("" = none),
     *  "ports":[{"port":80,"host_ip":"0.0.0.0","host_port":8080 (0 = not published)}] (TCP, lowest first),
     *  "labels":{those that begin with `prefix` and a dot}}. */
    int (*others)(struct engine *e, const char *prefix, engine_others_fn *done, void *arg);
    /* Where published ports of containers are, and those of the host's network: "127.0.0.1". Lent. */
    const char *(*host)(const struct engine *e);
    /* Whether listener.other hears of them; NULL: it never does. Over outages the engine follows again by itself. */
    void (*follow)(struct engine *e, bool on);
    /* Cancels what is under way; frees when the loop's close callbacks have run. */
    void (*close)(struct engine *e);
};

/* Head of every implementation's own struct. */
struct engine {
    const struct engine_kind *kind;
    struct uv_loop_s *loop;
    struct engine_listener listener;
};

struct engine_options {
    struct uv_loop_s *loop;
    struct net_client *client;          /* lent for the engine's life; docker only */
    const struct cJSON *cluster_config; /* "cluster" of the configuration; borrowed */
    const char *state_dir; /* process: for records and logs; made when missing, its parent is not */
    struct engine_listener listener;
};

/* Makes the engine that cluster_config names; -EINVAL with a sentence in *reterr (mem_free). */
int engine_new(const struct engine_options *options, struct engine **ret_engine, char **reterr);
/* Implementations, for engine_new. */
int engine_docker_new(const struct engine_options *options, struct engine **ret_engine,
                      char **reterr);
int engine_process_new(const struct engine_options *options, struct engine **ret_engine,
                       char **reterr);

/* "created", "running", ... */
const char *engine_state_name(enum engine_state state);
/* "none", "starting", "healthy", "unhealthy" */
const char *engine_health_name(enum engine_health health);

#endif
