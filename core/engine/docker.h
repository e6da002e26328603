/* docker.h: the parts of the Docker engine among each other. Only
 * core/engine/docker*.c includes it.
 *
 *   docker.c          the table, settings, open and close; one call (docker_op)
 *   docker_link.c     connection: ping, version, info, events; watchdog; back-off
 *   docker_events.c   the event stream; docker_lines.c cuts streams into lines
 *   docker_create.c   create = image, network, container; with docker_pull.c,
 *                     docker_network.c, docker_body.c (the JSON that is sent)
 *   docker_calls.c    start, stop, remove, logs
 *   docker_inspect.c  inspect and list; docker_parse.c reads what they answer
 *   docker_others.c   containers of others, and a stream of what happens to them; docker_others_read.c
 *                     reads both
 *   docker_stats.c    samples; docker_cgroup.c reads them from files
 *   docker_diff.c     Podman: finds by listing what its events do not tell
 *   docker_errors.c   status and message -> errno-style code and sentence
 *
 * A call of the engine's table is a `docker_op`: a chain of HTTP calls, one at
 * a time, each with a step that gets its answer. The chain ends in the op's own
 * callback exactly once; when the engine is closed, in its `fail`. */
#ifndef ENGINE_DOCKER_H
#define ENGINE_DOCKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "engine/engine.h"
#include "net/net.h"

struct cJSON;
struct docker;
struct docker_op;

/* ---- One call ---------------------------------------------------------------------------- */

/* Gets the answer of the op's HTTP call, or of its wait (docker_op_later): then only `error` and
 * `error_text` are set. Either goes on with another call or ends the op. */
typedef void docker_step_fn(struct docker_op *op, const struct net_answer *answer);
/* Ends the op: docker_op_end, the caller's callback, memory. */
typedef void docker_fail_fn(struct docker_op *op, const struct engine_error *error);

/* First member of each call's own struct. */
struct docker_op {
    struct list node; /* in docker.ops from begin to end */
    struct docker *docker;
    struct net_call *call; /* under way, or NULL */
    docker_step_fn *step;
    docker_fail_fn *fail;
    bool due; /* step is to run in the next turn of the loop, with due_error */
    int due_error;
};

struct docker_request {
    const char *method;       /* NULL = GET */
    const char *path;         /* "/containers/json", escaped, without the version; borrowed */
    const struct cJSON *body; /* sent as JSON; borrowed; NULL = none */
    const char *header;       /* one more field, or NULL */
    uint32_t timeout_ms;      /* 0 = none */
    uint32_t silence_ms;
    bool connecting; /* goes out while the link is not up; unversioned without `versioned` */
    bool versioned;
    net_head_fn *on_head; /* arg of both is the op */
    net_data_fn *on_data;
};

void docker_op_begin(struct docker *d, struct docker_op *op, docker_fail_fn *fail);
/* Sends a request; `step` gets the answer later, also when the link is down (-ECONNREFUSED). */
void docker_op_call(struct docker_op *op, const struct docker_request *request,
                    docker_step_fn *step);
/* Runs `step` in the next turn of the loop with nothing but this error (0 or negative). */
void docker_op_later(struct docker_op *op, int error, docker_step_fn *step);
/* The op is out of the engine's books; its memory stays the caller's. */
void docker_op_end(struct docker_op *op);
/* Ends the op by its `fail` with a sentence. */
void docker_op_fail(struct docker_op *op, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "prefix" + escaped + "suffix"; mem_free. */
char *docker_path(const char *prefix, const char *raw, const char *suffix);

/* ---- The engine -------------------------------------------------------------------------- */

enum docker_link {
    DOCKER_DOWN,
    DOCKER_UP,
    DOCKER_CLOSED
};

struct docker_settings {
    char *cluster;   /* id, on every label */
    char *unix_path; /* NULL when remote */
    char *base_url;  /* "http://docker", "https://host:2376" */
    char *host;      /* where published ports are reached: "127.0.0.1" or the remote host */
    bool publish;    /* reach instances by published ports instead of container addresses */
    char *network;   /* name of an existing one, or NULL: the cluster's own */
    char *ca, *certificate, *key; /* or NULL */
};

struct docker_session; /* docker_link.c: one connection, from ping to the end of its events */
struct docker_network; /* docker_network.c: look-up under way */
struct docker_diff;    /* docker_diff.c */
struct docker_follow;  /* docker_others.c */

struct docker {
    struct engine engine; /* first */
    struct net_client *client;
    struct docker_settings settings;
    struct net_tls tls;

    enum docker_link link;
    struct docker_session *session; /* being made or up; NULL between attempts */
    struct docker_op *ping;         /* the watchdog's, under way */
    uv_timer_t tick;                /* next attempt when down, next ping when up */
    uint32_t backoff_ms;
    uint64_t up_since_ms;
    bool told_down;
    char why[LIMIT_REASON_BYTES]; /* why it is down */

    char prefix[16]; /* "/v1.41" */
    bool podman;
    double host_cores; /* from /info; 0 = unknown */
    uint64_t host_memory_bytes;

    char network_id[ENGINE_ID_BYTES]; /* "" = to be looked up */
    struct docker_network *finding_network;
    struct map samplers;          /* id -> struct docker_sampler */
    struct docker_diff *diff;     /* Podman only */
    bool following;               /* containers of others are wanted ... */
    struct docker_follow *follow; /* ... and this is the stream; NULL = none yet */

    struct list ops;
    uv_timer_t soon;  /* works off the ops that are due */
    unsigned handles; /* still open */
};

static inline bool docker_is_local(const struct docker *d)
{
    return d->settings.unix_path != NULL;
}

/* Reads cluster_config; -EINVAL with a sentence. docker_settings_free takes a half-filled one. */
int docker_settings_read(const struct cJSON *cluster_config, struct docker_settings *ret_settings,
                         char **reterr);
void docker_settings_free(struct docker_settings *s);

/* ---- Connection -------------------------------------------------------------------------- */

void docker_link_open(struct docker *d);
/* The connection is of no use any more: tells the listener once per outage, tries again. */
void docker_link_lost(struct docker *d, const char *why);
void docker_link_close(struct docker *d);

/* ---- Errors ------------------------------------------------------------------------------ */

struct docker_fault {
    int code; /* as in struct engine_error */
    char text[LIMIT_REASON_BYTES];
};

/* Whether the answer has one of the 2xx codes, or 304 (already so). */
bool docker_answer_ok(const struct net_answer *answer);
/* What a failed answer means. Never 0. */
void docker_fault_of(const struct net_answer *answer, struct docker_fault *ret_fault);
/* The same for an HTTP status and a body, which may be anything. */
void docker_fault_of_body(int status, const char *body, size_t len, struct docker_fault *ret_fault);
/* Ends the op by its `fail` with what the answer means. Renegotiates when the engine refused the
 * version of the API, which happens when it was exchanged under us. */
void docker_op_refused(struct docker_op *op, const struct net_answer *answer);

/* ---- Streams of lines -------------------------------------------------------------------- */

struct docker_lines {
    struct buf partial;
    bool skipping;    /* in a line beyond LIMIT_ENGINE_LINE_BYTES */
    uint64_t skipped; /* lines that were left out */
};

/* Lent until it returns, not NUL-terminated. */
typedef void docker_line_fn(void *arg, const char *line, size_t len);
void docker_lines_init(struct docker_lines *l);
void docker_lines_feed(struct docker_lines *l, const char *bytes, size_t len, docker_line_fn *each,
                       void *arg);
/* Gives what stands behind the last line break, if anything. */
void docker_lines_end(struct docker_lines *l, docker_line_fn *each, void *arg);
void docker_lines_free(struct docker_lines *l);

/* Path of the filtered stream; mem_free. */
char *docker_events_path(const struct docker *d);
/* One line of it: tells the listener. `arg` is the docker. */
void docker_events_line(void *arg, const char *line, size_t len);

/* ---- Containers -------------------------------------------------------------------------- */

/* An inspected container. */
struct docker_container {
    struct engine_instance instance; /* points into the rest */
    struct cJSON *json;
    char address[NET_ADDR_TEXT];
    bool tty;
    double cpu_limit_cores;      /* 0 = none */
    uint64_t memory_limit_bytes; /* 0 = none */
};

/* Takes `json`, the body of an inspect. False when it is not one (freed all the same). */
bool docker_container_read(const struct docker *d, struct cJSON *json,
                           struct docker_container *ret_container);
/* The same from a member of a list, which tells less: no pid, health or exit code. Borrows it. */
bool docker_container_read_listed(const struct cJSON *listed,
                                  struct docker_container *ret_container);
void docker_container_free(struct docker_container *c);
/* Whether labels are those of our cluster. */
bool docker_labels_ours(const struct docker *d, const struct cJSON *labels);
enum engine_state docker_state_of(const char *status);
enum engine_health docker_health_of(const char *status);

/* Body of POST /containers/create. `network` is the id or name to join. -EINVAL with a sentence in
 * *reterr (mem_free). */
int docker_body_create(const struct docker *d, const struct engine_spec *spec,
                       struct cJSON **ret_body, char **reterr);
/* Sets the network, which is known later. */
void docker_body_join(const struct docker *d, struct cJSON *body, const char *service);

/* Pulls an image: `done` gets the outcome once, never from inside. An op of its own, whose end is
 * -ECANCELED when the engine closes. */
typedef void docker_pulled_fn(void *arg, const struct engine_error *error);
void docker_pull(struct docker *d, const char *image, docker_pulled_fn *done, void *arg);

/* Finds or makes the network, then d->network_id is set. `done` as above, at once when known. */
typedef void docker_network_fn(void *arg, const struct engine_error *error);
void docker_network_find(struct docker *d, docker_network_fn *done, void *arg);

int docker_create(struct engine *e, const struct engine_spec *spec, engine_created_fn *done,
                  void *arg);
int docker_start(struct engine *e, const char *id, engine_done_fn *done, void *arg);
int docker_inspect(struct engine *e, const char *id, engine_inspected_fn *done, void *arg);
int docker_list(struct engine *e, engine_listed_fn *done, void *arg);
int docker_stop(struct engine *e, const char *id, uint32_t timeout_s, engine_done_fn *done,
                void *arg);
int docker_remove(struct engine *e, const char *id, engine_done_fn *done, void *arg);
int docker_sample(struct engine *e, const char *id, engine_sampled_fn *done, void *arg);
int docker_logs(struct engine *e, const char *id, uint32_t lines, engine_logs_fn *done, void *arg);

/* ---- Samples ----------------------------------------------------------------------------- */

/* Files of one running container. Kept open they are read five times as fast. */
struct docker_cgroup;

/* `id` in full. -ENOENT and others when the files cannot be read from here, or are those of
 * another process with that pid (we may live in another pid namespace). */
int docker_cgroup_open(uint32_t pid, const char *id, bool keep_open,
                       struct docker_cgroup **ret_cgroup);
/* Sets usage, not limits. -ENODEV and the like when the container ended. */
int docker_cgroup_read(struct docker_cgroup *c, struct engine_sample *ret_sample);
void docker_cgroup_free(struct docker_cgroup *c);

/* Forgets what is known of it: it ended, or started anew. */
void docker_samplers_forget(struct docker *d, const char *id);
void docker_samplers_clear(struct docker *d);

/* ---- Containers of others ---------------------------------------------------------------- */

int docker_others(struct engine *e, const char *prefix, engine_others_fn *done, void *arg);
/* What `others` gives (engine.h) of a list's body; NULL: it is none. The caller owns it. */
struct cJSON *docker_others_read(const char *body, size_t len, const char *prefix);
void docker_follow(struct engine *e, bool on);
/* The connection stands: follows, if that is wanted. */
void docker_follow_start(struct docker *d);
/* Lets go of the stream. */
void docker_follow_stop(struct docker *d);
/* The names of events that are of use, into an array. */
void docker_follow_actions(struct cJSON *list);
/* One line of it: what it tells, and of whom (lent by *ret_json, which the caller frees); false: nothing. */
bool docker_follow_read(const char *line, size_t len, struct cJSON **ret_json,
                        enum engine_other_kind *ret_kind, const char **ret_id);

/* ---- Podman ------------------------------------------------------------------------------ */

void docker_diff_start(struct docker *d);
void docker_diff_stop(struct docker *d);

#endif
