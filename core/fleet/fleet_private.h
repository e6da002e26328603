/* fleet_private.h: what the files of this room share.
 *
 *   fleet.c     the fleet: news, time, configuration
 *   spec.c      a service's settings, and hash
 *   service.c   one service: what is missing, what is over
 *   roll.c      census, places, who goes first
 *   instance.c  state machine
 *   step.c      what an instance does next
 *   call.c      calls of the engine and their outcomes
 *   observe.c   what the engine says of instances
 *   check.c     health
 *   adopt.c     list, compare
 *   roster.c    who gets traffic
 *   sample.c    load
 *   view.c      what policies get to know
 *   audit.c     the ring of decisions
 *   scale.c     asks policies, applies counts
 *   rails.c     what no policy may do
 *   pace.c      steps of the last while
 *   zero.c      services without instances while nobody asks
 *   shadow.c    policies that are only asked
 *   operate.c   what operators ask for
 *   report.c    status
 *   backends.c  what they change of backends
 *   members.c   backends of services from labels
 *   keep.c      what outlives the process
 *
 * Every public entry sets fleet.now_ms and ends in fleet_settle. Callbacks of the engine bring no
 * time; the last known one counts (at most a tick old). */
#ifndef FLEET_FLEET_PRIVATE_H
#define FLEET_FLEET_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "board/board.h"
#include "engine/engine.h"
#include "fleet/fleet.h"

enum {
    FLEET_LAUNCHES = 4,    /* creates and starts in flight over the fleet: more only adds latency */
    FLEET_LIST_MS = 30000, /* list and compare at least this often */
    FLEET_RETRY_MS = 1000, /* after a call that failed and must succeed in the end */
    FLEET_TRIES = 3,       /* of a call whose outcome stays unknown */
    FLEET_GRACE_MS = 2000, /* from the end of an instance to its replacement */
    FLEET_RUNNING_MS = 1000,      /* an instance without any check is up when it ran so long */
    FLEET_STABLE_MS = 10000,      /* up for so long: the service's back-off starts afresh */
    FLEET_QUICK_DEATH_MS = 60000, /* ended sooner than this after it was up: crash loop */
    FLEET_BACK_OFF_MS = 1000,
    FLEET_BACK_OFF_MOST_MS = 300000,
    FLEET_LOG_LINES = 50,
    FLEET_LOG_BYTES = 16 << 10, /* kept of a failed instance's log */
    FLEET_WEIGHT_MOST = 1000,
    FLEET_STEPS = 128,            /* of a service's count, remembered */
    FLEET_STARTS = 16,            /* start-up times, remembered */
    FLEET_START_MOST_MS = 300000, /* counted of one that took longer */
    FLEET_SHADOWS = 4,            /* policies asked beside a service's own */
    FLEET_CONSTRAINTS = 12,       /* of one decision: rules are fewer */
    FLEET_NO_SLOT = -1
};

enum fleet_state {
    FLEET_NEW, /* made in this moment */
    FLEET_CREATING,
    FLEET_STARTING,
    FLEET_WAITING,
    FLEET_UP,
    FLEET_DOWN,
    FLEET_DRAINING,
    FLEET_FAILED,
    FLEET_STOPPING,
    FLEET_REMOVING,
    FLEET_GONE,
    FLEET_STATES
};

enum fleet_call {
    FLEET_CALL_NONE,
    FLEET_CALL_CREATE,
    FLEET_CALL_START,
    FLEET_CALL_INSPECT,
    FLEET_CALL_LOGS,
    FLEET_CALL_STOP,
    FLEET_CALL_REMOVE,
    FLEET_CALL_LIST, /* these two are of no instance's state */
    FLEET_CALL_SAMPLE,
    FLEET_CALLS
};

enum {
    FLEET_GAPS = 5
};

enum fleet_check {    /* what decides that an instance is healthy */
    FLEET_CHECK_OPEN, /* not decided: the engine has not yet said whether it has a check of its own
                       */
    FLEET_CHECK_HTTP,
    FLEET_CHECK_TCP,
    FLEET_CHECK_GRPC,
    FLEET_CHECK_ENGINE,
    FLEET_CHECK_RUNNING, /* nothing but that it runs */
    FLEET_CHECKS
};

/* Whose word sets a service's count. Bounds hold in all of them. */
enum fleet_mode {
    FLEET_ACTIVE,    /* its policy's, and operators' */
    FLEET_RECOMMEND, /* operators'; they may approve what the policy recommends */
    FLEET_SHADOW,    /* operators'; the policy only reports */
    FLEET_PAUSED,    /* operators'; the policy rests */
    FLEET_PINNED,    /* the configuration's */
    FLEET_MODES
};

/* Settings of the guard rails that have any; 0 in the first of a group: that rule is off. */
struct rails {
    double up_factor; /* within up_period at most this times as many, or up_count more */
    uint32_t up_count, up_period_ms;
    double down_percent; /* within down_period at most so many of them fewer, but one */
    uint32_t down_period_ms, after_up_ms;
    double saturation_percent; /* so many more when they are saturated and the policy wants none */
    uint32_t saturation_times;
    double saturation_cpu;
    uint32_t saturation_wait_ms;
    uint32_t churn_changes; /* of direction within churn_window: downs freeze */
    uint32_t churn_window_ms, churn_freeze_ms;
};

/* A service's settings, read once per configuration. Strings are lent by service.config. */
struct spec {
    bool is_static;      /* `backends`: not ours to start */
    char hash[17];       /* of what only a new instance can take over */
    uint64_t check_hash; /* of the health check, to see that it changed */
    const char *check_kind, *check_path;
    bool http2; /* its instances speak it */
    bool https; /* ... TLS, and `upstream_tls` (of the configuration) says how they are checked */
    const struct cJSON *upstream_tls;
    bool check_explicit;
    uint32_t check_port, check_interval_ms, check_timeout_ms, check_retries, check_rise;
    uint32_t check_start_period_ms;
    bool has_ports;
    uint32_t deploy_timeout_ms, stop_timeout_ms, drain_timeout_ms;
    bool scaled; /* a policy decides how many */
    const char *policy;
    uint32_t min, max;
    uint32_t up_cooldown_ms, down_cooldown_ms, scale_interval_ms;
    enum fleet_mode mode;
    uint32_t pinned; /* when mode is FLEET_PINNED */
    struct rails rails;
    uint32_t idle_ms; /* with min 0: so long without a request, and none is left */
    double weight, max_connections, capacity;
};

/* Requests of a service in a window of time. */
struct traffic {
    uint64_t since_ms;
    uint64_t requests, failures; /* failures: no answer or 5xx */
    uint64_t buckets[BOARD_BUCKETS];
};

/* What such a window comes to. Negative: unknown. */
struct figures {
    double rate, error_rate, p50_ms, p95_ms, p99_ms;
};

/* Load of one instance. */
struct usage {
    struct engine_sample last;
    bool has_last; /* `last` holds a sample */
    bool calling;
    uint64_t next_ms;                   /* when to sample again */
    uint64_t at_ms;                     /* of the percentages; 0 = none yet */
    double cpu_percent, memory_percent; /* of what is allotted */
    double received_rate, sent_rate;    /* network, bytes/s; -1 = unknown */
};

struct instance {
    struct list node; /* in service.instances, or in fleet.graves */
    struct fleet *fleet;
    struct service *service;         /* NULL once gone */
    char *id;                        /* "catalog-7", "legacy@10.0.0.5:9000" */
    char *name;                      /* on the engine: "tg-shop-catalog-7"; NULL for a static one */
    struct cJSON *backend;           /* static: its part of the configuration; else NULL */
    double weight;                   /* set by an operator; 0 = none */
    char engine_id[ENGINE_ID_BYTES]; /* "" until known */
    char spec_hash[17];
    uint32_t serial, generation;
    uint32_t place; /* 1 .. n: stable role in the service */

    enum fleet_state state; /* written by fleet_instance_to only */
    uint64_t since_ms;      /* of the state */
    char *reason;           /* why it is in this state */
    bool adopted;           /* found running, not started by us */
    bool doomed;            /* to be replaced: an operator asked for it */
    bool drained;           /* kept out of traffic by an operator */
    bool ended;             /* DOWN, and the engine will not start it again */
    bool excused;           /* ended while the engine was away: no crash of its own */
    bool oom;
    uint32_t oom_kills; /* seen by us */
    bool unsure;        /* outcome of the last call is unknown: look before the next step */
    bool taken;         /* the engine knew the name before our create */
    unsigned tries;

    enum engine_state engine_state;
    enum engine_health health;
    char *health_output; /* NULL = none */
    char *error;         /* why the engine could not start it; NULL = none */
    char *address;       /* "" when unknown */
    uint32_t restarts, restarts_base;
    int exit_code;
    uint32_t pid;
    uint64_t started_wall_ms;

    enum fleet_check check;
    bool watched; /* the probe has it */
    bool fit;     /* healthy, but no row of the board was free */
    bool no_path; /* the unasked-for health path does not exist: connect instead */

    uint64_t created_ms, running_ms; /* running_ms: seen running since; 0 = not */
    uint64_t up_ms;                  /* joined the roster; 0 = never */
    uint64_t inspect_ms;             /* look at it then; 0 = no need */
    uint64_t retry_ms;               /* not before */

    int slot;               /* on the board, or FLEET_NO_SLOT */
    bool routed;            /* is in the roster, maybe as draining */
    uint64_t drain_version; /* first roster without new requests for it; 0 = not yet sent */

    enum fleet_call call; /* in flight */
    unsigned calls;       /* in flight, with samples */
    uint64_t seq;         /* fleet.seq when the last call began or ended */

    struct usage usage;
    uint64_t seen_requests, seen_failures; /* on the board, already counted in traffic */
    uint32_t *seen_buckets;                /* BOARD_BUCKETS, or NULL */
};

/* Why the last try to start an instance failed. */
struct failure {
    bool shown; /* logs were read, all is here */
    uint64_t at_ms;
    char *instance, *reason, *health_output, *logs;
};

enum fleet_action {
    FLEET_NO_CHANGE,
    FLEET_SCALE_UP,
    FLEET_SCALE_DOWN,
    FLEET_HOLD,
    FLEET_ACTIONS
};

/* What changed or kept back the number that a policy wanted, in the order in which they are applied. */
enum fleet_rule {
    FLEET_RULE_NONE,
    FLEET_RULE_POLICY_ERROR,
    FLEET_RULE_STALE,
    FLEET_RULE_SATURATION, /* the only one that raises it */
    FLEET_RULE_MIN,
    FLEET_RULE_MAX,
    FLEET_RULE_COOLDOWN,
    FLEET_RULE_ROLLOUT,
    FLEET_RULE_BACK_OFF,
    FLEET_RULE_BUSY,
    FLEET_RULE_MANUAL,
    FLEET_RULE_ENGINE_DOWN,
    FLEET_RULE_AFTER_UP,
    FLEET_RULE_CHURN,
    FLEET_RULE_STEP,
    FLEET_RULE_RECOMMEND, /* these four are the modes */
    FLEET_RULE_SHADOW,
    FLEET_RULE_PAUSED,
    FLEET_RULE_PINNED,
    FLEET_RULES
};

struct constraint {
    enum fleet_rule rule;
    uint32_t before, after;
};

/* One decision, or several alike in a row. */
struct decision {
    uint64_t wall_ms, last_wall_ms; /* first and last of `count` */
    uint32_t count;
    uint32_t policy_generation;
    char *service, *policy, *origin, *reason;
    struct fleet_view inputs; /* service NULL: there are none */
    int64_t want;             /* -1 = no opinion */
    uint32_t was, result;
    enum fleet_action action;
    enum fleet_rule held; /* the last rule that kept it back */
    struct constraint constraints[FLEET_CONSTRAINTS];
    unsigned constraint_count;
    char *shadows; /* JSON text or NULL */
};

/* A policy that is asked beside a service's own. */
struct shadow {
    char *name;          /* NULL: there is none here */
    char *reason;        /* of the last answer, or its error */
    uint32_t would, own; /* what would come of its last answer, and of the service's policy's */
    bool failed;         /* the last answer was an error */
    uint64_t asked, differed, errors;
    int told; /* 1: that it would have more, -1: fewer, 0: that it agrees, or nothing */
    uint64_t told_ms;
};

/* Steps of a service's count in the last while. */
struct pace {
    struct step {
        uint64_t at_ms;
        uint32_t before, after;
        bool by_policy;
    } steps[FLEET_STEPS];
    uint64_t count;           /* ever made; the last is at (count - 1) % FLEET_STEPS */
    uint64_t turns_from;      /* changes of direction are counted from this one on */
    uint64_t frozen_until_ms; /* downs */
    uint32_t saturated;       /* evaluations in a row */
};

/* What zero.c knows of a service; it alone writes here. */
struct zero {
    uint64_t asked_ms;         /* last request that was seen */
    uint64_t since_ms;         /* gaps are counted since then */
    uint64_t gaps[FLEET_GAPS]; /* times that nobody asked for longer than some lengths */
    uint64_t wakes;
    bool waking;    /* until the policy is asked again */
    uint64_t up_ms; /* ... whose first instance is up since; 0 = not yet */
};

struct service {
    struct list node; /* in fleet.services, in the order of the configuration */
    struct fleet *fleet;
    char *name;
    struct cJSON *config; /* owned; NULL when only its instances are known */
    struct spec spec;
    uint32_t first_route, route_count; /* numbers of its routes on the board */
    uint64_t backends_hash;            /* of the backends as last configured */
    bool edited;                       /* operators added or removed some since */
    bool gone;                         /* not in the configuration any more */
    bool stopped;                      /* until the next deploy */
    bool settled;                      /* `desired` is set */
    bool desired_kept;                 /* ... to what was so before our start */
    bool deploying;                    /* not all instances are of the wanted generation yet */
    bool announced;                    /* ... and that was told */
    uint32_t desired;
    uint32_t generation, generation_most;
    uint32_t serial;    /* highest seen */
    uint32_t oom_kills; /* of its instances, those that are gone too */
    struct list instances;
    struct cJSON *vanished; /* ids that were up and are gone, for the next roster; or NULL */

    unsigned failures;
    uint64_t failed_ms, not_before_ms;
    struct failure failure;

    uint64_t ask_ms;                         /* next snapshot */
    bool asking;                             /* a question is under way ... */
    struct fleet_view asked;                 /* ... with these inputs */
    uint64_t changed_up_ms, changed_down_ms; /* 0 = never; may be before boot: wrapped */
    uint64_t manual_until_ms;
    uint64_t decision;    /* 1 + number of the last record; 0 = none */
    enum fleet_rule told; /* last reason to hold that was told as a fact */
    struct pace pace;
    struct shadow shadows[FLEET_SHADOWS];
    uint32_t startup_ms[FLEET_STARTS]; /* of the last ones that came up: from running to up */
    uint32_t startup_count;            /* ever */
    uint32_t startup_most_ms;          /* of these */
    bool recommended;                  /* `recommendation` waits for an operator's word */
    uint32_t recommendation;

    struct zero zero;

    uint64_t sample_ms; /* next window */
    struct traffic window, since_ask;
    struct figures figures; /* of the last full window */
};

struct slot {
    bool taken;
    uint64_t free_version; /* usable again when all workers have this roster */
};

struct fleet {
    struct fleet_ports ports;
    struct board *board;
    struct engine *engine; /* NULL = none yet */
    char *engine_text;     /* description, or why it is down */
    bool engine_up;
    bool listed; /* compared since it came up: we may act */
    bool listing;
    bool list_again;     /* the one under way came too early */
    uint64_t list_ms;    /* next list */
    uint64_t list_seq;   /* seq when the list under way began */
    uint64_t seq;        /* counts calls and their ends */
    uint64_t buried_seq; /* seq when the last instance was gone */
    uint64_t now_ms;
    bool applied; /* there is a configuration */
    bool quiet;   /* a call was cancelled: nothing happens before the next tick */
    char *cluster;
    uint32_t sample_interval_ms;

    struct list services;
    struct map by_name;   /* service name -> service */
    struct map instances; /* instance id -> instance */
    struct map names;     /* engine name -> instance */
    struct map kept;      /* from before our start, not taken yet: kind \n key -> struct cJSON */
    struct list graves;   /* gone, but a call is still under way */
    unsigned launches;    /* instances CREATING or STARTING */

    uint64_t call_counts[FLEET_CALLS][2]; /* of the engine: succeeded, failed */

    bool roster_due;
    uint64_t roster_version, roster_acked;
    uint64_t roster_hash;
    struct slot slots[LIMIT_BACKENDS];

    struct decision decisions[LIMIT_DECISIONS];
    uint64_t decision_count; /* ever made */
};

/* ---- fleet.c ---- */
/* We know the engine's state and may change it. */
bool fleet_can_act(const struct fleet *f);
void fleet_tell(struct fleet *f, const char *kind, const struct service *s,
                const struct instance *i, const char *what, const char *detail, bool bad);
/* Ends every entry: sends a due roster, frees what is gone. */
void fleet_settle(struct fleet *f);

/* ---- spec.c ---- */
void fleet_spec_read(struct spec *spec, const struct cJSON *config);
const char *fleet_mode_name(enum fleet_mode mode);
/* Equal for equal values whatever the order of members. */
uint64_t fleet_spec_hash(const struct cJSON *value);
/* The tags of a place (an array, lent) or NULL. */
const struct cJSON *fleet_spec_tags(const struct cJSON *config, uint32_t place);

/* ---- service.c ---- */
struct service *fleet_service_find(const struct fleet *f, const char *name);
struct service *fleet_service_new(struct fleet *f, const char *name);
void fleet_service_free(struct service *s);
/* Takes the service's part of a configuration over; borrows. */
void fleet_service_apply(struct service *s, const struct cJSON *config);
/* Makes instances of the configured backends, and drops those of others. */
void fleet_service_apply_backends(struct service *s);
/* Lets go of static backends that are not configured any more. */
void fleet_service_drop_backends(struct service *s);
/* How many there should be: 0 when stopped or gone. */
uint32_t fleet_service_want(const struct service *s);
/* A new generation; all instances before it are old. */
void fleet_service_renew(struct service *s, const char *why);
/* Compares and takes the next steps. */
void fleet_service_reconcile(struct service *s);
/* A start failed, or an instance ended soon: the next try waits. */
void fleet_service_back_off(struct service *s);
void fleet_service_back_off_reset(struct service *s);
void fleet_failure_clear(struct failure *failure);
/* After the first list: as many as run. */
void fleet_service_settle_desired(struct service *s);

/* ---- members.c ---- */
/* Its backends are labelled containers (members), not configured. */
bool fleet_labelled(const struct cJSON *config);
/* The instance has its part of the configuration: what its engine says of it, and where it is now. */
void fleet_member_told(struct instance *i);

/* ---- roll.c ---- */
struct census {
    unsigned current, current_up, launching; /* of the wanted generation, alive */
    unsigned old, old_up;                    /* to be replaced, alive */
    unsigned leaving;                        /* draining, failed, stopping, removing */
};
bool fleet_alive(const struct instance *i);
/* Not yet up for the first time, and started by us. */
bool fleet_launching(const struct instance *i);
/* Alive, of the wanted generation, and worth to keep. */
bool fleet_current(const struct instance *i);
void fleet_census(const struct service *s, struct census *ret_census);
/* Lowest place without a current instance. */
uint32_t fleet_free_place(const struct service *s);
/* Who goes next; NULL: none. */
struct instance *fleet_old_victim(const struct service *s);
struct instance *fleet_extra_victim(const struct service *s);

/* ---- instance.c ---- */
struct instance *fleet_instance_new(struct service *s, uint32_t serial, const char *id,
                                    const char *name);
void fleet_instance_free(struct instance *i);
/* The only writer of a state. `why` may be NULL: none. */
void fleet_instance_to(struct instance *i, enum fleet_state to, const char *why);
/* Takes it out of traffic, then stops and removes it. */
void fleet_instance_drop(struct instance *i, const char *why);
/* Its start has failed. */
void fleet_instance_fail(struct instance *i, const char *why);
/* Out of traffic at once; the engine is asked what became of it. */
void fleet_instance_down(struct instance *i, const char *why);
/* All of a failed instance is known now. */
void fleet_instance_failure_shown(struct instance *i);
bool fleet_instance_in_traffic(const struct instance *i);
const char *fleet_state_name(enum fleet_state state);

/* ---- step.c ---- */
void fleet_instance_step(struct instance *i);

/* ---- call.c: each needs call == FLEET_CALL_NONE and fleet_can_act ---- */
void fleet_call_create(struct instance *i);
void fleet_call_start(struct instance *i);
void fleet_call_inspect(struct instance *i);
void fleet_call_logs(struct instance *i);
void fleet_call_stop(struct instance *i);
void fleet_call_remove(struct instance *i);
/* Counts the outcome of one. */
void fleet_call_note(struct fleet *f, enum fleet_call call, int code);
/* The engine was closed, or does not answer. Returns whether `code` says so. */
bool fleet_call_lost(struct fleet *f, int code);

/* ---- observe.c ---- */
void fleet_observe(struct instance *i, const struct engine_instance *seen);
void fleet_observe_gone(struct instance *i);

/* ---- check.c ---- */
/* Decides how it is checked, and starts the probe where one is needed. Needs an instance that runs.
 */
void fleet_check_start(struct instance *i);
void fleet_check_stop(struct instance *i);
/* Time passed for an instance that waits or is down. */
void fleet_check_step(struct instance *i);
/* "health check time-out: GET /health answered 500"; the caller owns it. */
char *fleet_check_verdict(const struct instance *i);
/* How long an instance may stay unhealthy before it is replaced. */
uint64_t fleet_check_patience_ms(const struct instance *i);

/* ---- adopt.c ---- */
void fleet_list(struct fleet *f);

/* ---- roster.c ---- */
/* Gives the instance a slot on the board; false when none is free. */
bool fleet_slot_take(struct instance *i);
void fleet_slot_release(struct instance *i);
/* Sends a new roster when it differs from the last. */
void fleet_roster_send(struct fleet *f);

/* ---- sample.c ---- */
void fleet_sample_tick(struct fleet *f);
/* The window's figures until now; starts the next. */
void fleet_traffic_close(struct service *s, struct traffic *window, struct figures *ret_figures);
/* Mean over the instances with fresh samples; -1 = unknown. */
struct load {
    double cpu_percent, memory_percent;
    uint64_t age_ms;          /* of the oldest one counted */
    unsigned fresh, expected; /* expected: up long enough to have one */
};
void fleet_load(const struct service *s, struct load *ret_load);
/* Whether its percentages and rates are of now. */
bool fleet_usage_fresh(const struct instance *i);
uint64_t fleet_service_in_flight(const struct service *s);
/* Requests on its routes that wait for a backend. */
uint64_t fleet_service_queue(const struct service *s);

/* ---- view.c ---- */
/* What is so now. Closes the window of traffic since the last one. */
void fleet_view_take(struct service *s, struct fleet_view *ret_view);
struct cJSON *fleet_view_json(const struct fleet_view *view);

/* ---- zero.c ---- */
/* Whether the last instance may go, and the first request bring one. */
bool fleet_zero_able(const struct service *s);
/* No policy is asked: there is nothing, or the first instance is on its way. */
bool fleet_zero_rests(const struct service *s);
/* Fewest instances that a policy may want. */
uint32_t fleet_zero_least(const struct service *s);
/* A request came, or is under way. */
void fleet_zero_asked(struct service *s);
void fleet_zero_tick(struct fleet *f);
/* "zero" of the status; NULL: not of this service. The caller owns it. */
struct cJSON *fleet_zero_json(const struct service *s);

/* ---- scale.c ---- */
void fleet_scale_tick(struct fleet *f);
enum fleet_cause {
    FLEET_BY_CONFIGURATION, /* bounds changed, or it is pinned */
    FLEET_BY_OPERATOR,
    FLEET_BY_REQUEST, /* scale to zero: the first instance; these two leave cooldowns alone */
    FLEET_BY_SILENCE, /* ... and the last one */
    FLEET_BY_POLICY
};
/* Sets how many there should be, remembers when and which way. The only one that does so once a service is
 * settled: false, and nothing changed: its mode keeps this cause from it. */
bool fleet_scale_set(struct service *s, uint32_t desired, enum fleet_cause cause);
/* The mode that would, or FLEET_RULE_NONE. */
enum fleet_rule fleet_scale_barred(const struct service *s, enum fleet_cause cause);

/* ---- shadow.c ---- */
/* Takes over which there are; those that stay go on counting. */
void fleet_shadow_apply(struct service *s);
void fleet_shadow_free(struct service *s);
/* What they said beside the decision (fleet.h: "shadows"; NULL: nothing). */
void fleet_shadow_take(struct service *s, const struct cJSON *said, const struct decision *d);
/* As status has it, or for a record without counts; NULL: none. The caller owns it. */
struct cJSON *fleet_shadow_json(const struct service *s, bool counts);

/* ---- rails.c ---- */
/* Holds d->want (-1: no opinion) to what no policy may do: sets result, action, held and constraints. `error`: there
 * is no answer, or none that makes sense. */
void fleet_rails_judge(struct service *s, struct decision *d, bool error);
/* It came up: how long it took. */
void fleet_rails_note_start(struct instance *i);
/* Whether what it uses is of its work, and not of its start. */
bool fleet_rails_warm(const struct instance *i);

/* ---- pace.c ---- */
void fleet_pace_note(struct pace *pace, uint32_t before, uint32_t after, bool by_policy,
                     uint64_t now_ms);
/* Fewest and most that there should have been within the last `period_ms`; `desired`: as it is now. */
void fleet_pace_range(const struct pace *pace, uint32_t desired, uint32_t period_ms,
                      uint64_t now_ms, uint32_t *ret_least, uint32_t *ret_most);
/* How often policies changed direction within the last `window_ms`. */
unsigned fleet_pace_turns(const struct pace *pace, uint32_t window_ms, uint64_t now_ms);

/* ---- keep.c ---- */
/* These keep what is so now, or forget what is not. */
void fleet_keep_scale(struct service *s); /* also ends a hold that has run out */
void fleet_keep_stopped(const struct service *s);
void fleet_keep_backends(const struct service *s);
void fleet_keep_weight(const struct instance *i);
void fleet_keep_drain(const struct instance *i);
void fleet_keep_forget_instance(const struct instance *i);
void fleet_keep_forget_service(const struct service *s);
/* These set what was kept of it, if there is something: a service before it is settled, its backends when its
 * configuration and backends_hash are there, an instance when it is made. */
void fleet_kept_take_service(struct service *s);
void fleet_kept_take_backends(struct service *s);
void fleet_kept_take_instance(struct instance *i);
/* Forgets what nobody will take any more. */
void fleet_kept_drop(struct fleet *f);
void fleet_kept_free(struct fleet *f);

/* ---- audit.c ---- */
/* Keeps a copy; tells it as a fact when something new happened. */
void fleet_audit_record(struct service *s, const struct decision *d);
void fleet_audit_free(struct fleet *f);
/* The last one of the service, or NULL. */
const struct decision *fleet_audit_last(const struct service *s);
struct cJSON *fleet_audit_json(const struct decision *d);

#endif
