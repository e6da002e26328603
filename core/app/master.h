/* master.h: the master's state, shared by the files of this room only.
 *
 *   master.c    life: start, tick, end
 *   services.c  the fleet, and who is told by whom: engine, probes, workers, policies
 *   workers.c   worker processes, listening sockets, rosters to them
 *   deciders.c  the policy process and the questions to it
 *   learned.c   what anomaly detectors learned and policies keep, over policy processes
 *   reload.c    generations, two-phase
 *   labels.c    services of labelled containers; labelled.c what needs no asking, labels_answer.c what became of each
 *   control.c   what operators ask for
 *   explain.c   questions to workers about requests
 *   facts.c     what happened, from fleet and workers
 *   history.c   what is remembered of it on disk; history_answers.c what is asked of that,
 *               history_collected.c what services tell of themselves
 *   kept.c      what must outlive us, as documents in the same store
 *   aside.c     balance policies that hang again and again
 *   faults.c    policies that fail, and which are not asked any more
 *   shadows.c   what shadow policies of routes would have picked
 *   watching.c  alerts: when they are evaluated, and with what
 *   metrics.c   the /metrics page
 *   telling.c   messages of alerts on their way to channels; telling_ask.c what is asked of that; heartbeat.c
 *   tracing.c   spans of requests on their way to a collector
 *   collecting.c  what services tell of themselves, and the views of it
 *   issuing.c   certificates from an ACME authority: for which names, when; issuing_order.c one that is under way;
 *               challenges.c what the authority is answered by workers
 *   certificates.c  certificates of https listeners, from files to workers; certificates_load.c, certificates_read.c,
 *               certificates_message.c what they are made of; certificates_told.c what is told of them
 *   names.c     host names in rosters
 *   lock.c      one master a cluster */
#ifndef APP_MASTER_H
#define APP_MASTER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "app/child.h"
#include "app/run.h"
#include "base/limits.h"
#include "base/map.h"
#include "engine/engine.h"
#include "watch/watch.h"

struct admin;
struct admin_request;
struct alerts;
struct board;
struct cJSON;
struct collect;
struct families;
struct fleet;
struct fleet_fact;
struct net_client;
struct outbox;
struct probe_set;

enum master_phase {
    MASTER_STARTING, /* first configuration is being loaded */
    MASTER_SERVING,
    MASTER_DRAINING, /* workers finish */
    MASTER_STOPPING, /* services are being stopped (--stop-services) */
    MASTER_CLOSING,  /* handles close */
    MASTER_PHASES
};

enum reload_phase {
    RELOAD_IDLE,
    RELOAD_LOADING,   /* a candidate policy process reads the files */
    RELOAD_PREPARING, /* workers build the generation */
    RELOAD_SWITCHING, /* it is in force; workers have not all said so */
    RELOAD_PHASES
};

/* A generation on its way. */
struct reload {
    enum reload_phase phase;
    bool again;     /* asked for meanwhile: the files may have changed since they were read */
    bool rehearsal; /* all but the switch; nothing is noted */
    bool by_labels; /* nobody asked: labels of containers are other ones than those in force */
    struct admin_request *next; /* asked for during one by labels, and comes then */
    bool next_rehearsal;
    uint32_t generation; /* of the one on its way */
    uint32_t seen;       /* highest that workers were told of: never given out twice, so that an
                            acknowledgement always means this try */
    uint64_t started_ms;
    struct child *candidate; /* its policy process */
    bool given, built;  /* it was given what was learned; it has built the generation on that */
    struct cJSON *diff; /* what it would have decided otherwise (script_compare), or NULL */
    struct cJSON *config;
    char *config_text;
    struct admin_request *asker; /* waits for the outcome; NULL = SIGHUP or the start */
    struct cJSON *outcome;       /* what it will be told, while workers switch */
    /* The last outcome. */
    bool told; /* there was one */
    bool ok;
    uint64_t ended_wall_ms;
    char *error;
};

/* One listening address with a socket for every worker. */
struct listener {
    struct listener *next;
    char *address;
    bool wanted; /* by the configuration in force or the one on its way */
    int fds[LIMIT_WORKERS];
};

/* An operator who waits for a deploy. */
struct deploy_wait {
    struct deploy_wait *next;
    struct admin_request *request;
    char *service;
    uint64_t deadline_ms;
};

/* An operator who waits for a word on a request: that of the first worker, or of all. */
struct explain_wait {
    struct explain_wait *next;
    struct admin_request *request;
    uint64_t id, deadline_ms;
    char *of; /* the id of a request that was, "" of all that are; NULL: one is only spoken of */
    struct cJSON *found;                /* its decisions so far */
    struct cJSON *after;                /* of all that are: where each worker goes on; else NULL */
    bool lost;                          /* ... and that some had been forgotten */
    uint64_t left_out;                  /* more that workers know */
    unsigned pending;                   /* workers that have not answered */
    double reaches_s, failed_reaches_s; /* the shortest of the workers */
    bool complete;                      /* no worker has forgotten any */
};

enum {
    ASIDE_KILLS = 3
};

/* Workers that had to be killed inside a balance policy of the generation in force. */
struct aside {
    uint64_t killed_ms[ASIDE_KILLS]; /* a ring; 0 = none */
    unsigned next;
    bool on;  /* its balance policies are not used any more */
    bool due; /* ... and the workers have not been told */
};

/* Policies that fail. */
struct faults {
    struct map by_key; /* of point, place and name -> struct fault */
    uint32_t limit;    /* errors within window_ms that are too many; 0 = never */
    uint64_t window_ms;
    unsigned quarantined; /* of them */
};

/* What anomaly detectors learned, and policies keep. */
struct learned {
    struct map series; /* key -> struct learned_series */
    size_t changed;    /* of them, since they were written */
    size_t at;         /* where writing goes on */
    uint64_t due_ms;   /* when it is asked for next */
    uint64_t asked_ms; /* 0 = no answer is awaited */
    char *recent; /* the last views, on their way from one policy process to the next, or NULL */
};

struct issuing;      /* issuing.h */
struct labels;       /* labels.c */
struct names;        /* names.c */
struct history;      /* history.c */
struct kept_answer;  /* kept.c */
struct collecting;   /* collecting.c */
struct watching;     /* watching.c */
struct metrics;      /* metrics.c */
struct telling;      /* telling.c */
struct certificates; /* certificates.c */

/* Something that happened, for log, metrics and history. Borrowed. Kinds, beside those of fleet_fact:
 *   circuit_opened (again too), circuit_half_open, circuit_closed      a backend fails, is tried, is well
 *   backend_ejected, backend_returned                                  it does worse than its like
 *   panic_entered, panic_left     of a service: too few backends are let through, all are asked
 *   limit                         a worker refuses for want of descriptors or memory; at most one a second each */
struct fact {
    uint64_t at_ms; /* wall clock */
    const char *kind;
    const char *service, *backend; /* "" when of none */
    const char *what;              /* short sentence in lower case */
    const char *detail;            /* reason, or "" */
    int worker;                    /* who saw it; -1: the master */
    bool bad;                      /* logged as a warning */
};

/* A service whose requests ignore the circuits. */
struct panic {
    struct panic *next;
    char *service;
    uint64_t last_ms; /* a worker's last word */
};

struct master {
    const struct run_options *options;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t signals[4]; /* HUP, TERM, INT, USR1 */
    enum master_phase phase;
    int exit_code;
    char *config_path; /* absolute */
    char *runtime_dir, *state_dir, *socket_path, *serving_path;
    int lock_fd;
    bool
        had_predecessor; /* a master before us left without cleaning up: its workers may still listen */

    struct learned learned;

    struct cJSON *config; /* in force */
    char *config_text;
    uint32_t generation;
    struct reload reload;
    struct aside aside;
    struct faults faults;

    struct board *board;
    struct net_client *client;
    struct engine *engine;
    struct probe_set *probes;
    struct fleet *fleet;
    struct cJSON *status; /* services_status, as of status_ms; or NULL */
    uint64_t status_ms;
    struct admin *admin;
    struct names *names;
    struct labels *labels;
    struct certificates *certificates;
    struct collecting *collecting;
    struct metrics *metrics;
    struct history *history; /* NULL: nothing is kept */
    struct watching *watching;
    struct telling *telling;
    struct tracing *tracing; /* NULL: no span ever came */
    struct issuing *issuing;
    struct {
        char *text; /* the last CHALLENGES, or NULL: there are none */
        uint64_t version;
    } challenges;
    bool engine_up;

    struct child *policy; /* NULL while it is being started again */
    /* Hears the policy process's answers to EVALUATE and NOTIFY, borrowed; NULL: none will come, to none of that
     * kind. May itself be NULL. */
    void (*on_answer)(struct master *m, enum child_question question, const struct cJSON *answer);
    uint64_t policy_retry_ms, policy_back_off_ms;
    struct child *workers[LIMIT_WORKERS];
    uint64_t worker_retry_ms[LIMIT_WORKERS];
    unsigned worker_count;
    unsigned children; /* processes that have not exited yet */
    struct listener *listeners;
    char *roster; /* last text for the workers, names resolved */
    uint64_t roster_version, roster_acked;
    bool taking_over; /* until then workers of a master before us serve, and ours do not listen */
    uint64_t take_over_by_ms;
    uint64_t acks_from_ms; /* workers of a dead master may use an older roster until then */
    bool serving_told;     /* the serving file names us */
    uint64_t drain_deadline_ms;

    struct deploy_wait *waits;
    struct kept_answer *kept_answers;
    struct explain_wait *explains;
    uint64_t explained; /* questions so far: their ids */
    struct panic *panics;
    struct watch_counters counters;
    uint64_t started_ms, last_tick_us;
};

/* ---- services.c ---- */
/* Makes the fleet, with what was kept of it, and its probes. */
int services_open(struct master *m, char **reterr);
/* Connects the engine: news comes from here on. */
int services_connect(struct master *m, const struct cJSON *cluster, char **reterr);
/* Frees in the last callbacks, the fleet excepted: engine calls end in it. */
void services_close(struct master *m);
/* fleet_status of all services at this tick, made once however many want it. Lent until services_forget. */
const struct cJSON *services_status(struct master *m, uint64_t now_ms);
void services_forget(struct master *m);
/* When what is due each `interval_ms` is due next: at a multiple of it, so that those with one interval meet in one
 * tick and need one status. */
uint64_t services_next_ms(uint64_t now_ms, uint64_t interval_ms);

/* ---- workers.c ---- */
/* Opens sockets for every address the configuration names that is not open yet; -errno with a sentence.
 * While taking over it opens none. */
int workers_listen(struct master *m, const struct cJSON *config, char **reterr);
/* Closes the sockets of addresses that the configuration in force does not name. */
void workers_close_unused(struct master *m);
int workers_start(struct master *m);
/* Sends the generation on its way to all ready workers. */
void workers_prepare(struct master *m);
void workers_commit(struct master *m);
void workers_abort(struct master *m);
/* Sends all of them a message of the generation in force. */
void workers_tell(struct master *m, enum ipc_type type, const char *text);
/* Sends the configuration in force again, it has changed in place. No generation may be on its way. */
void workers_again(struct master *m);
/* A new roster from the fleet. */
void workers_roster(struct master *m, uint64_t version, const char *json);
/* Sends the last roster again (names changed). */
void workers_roster_again(struct master *m);
/* Heartbeats, restarts. */
void workers_tick(struct master *m, uint64_t now_ms);
void workers_drain(struct master *m, uint32_t deadline_ms);
void workers_kill(struct master *m);
unsigned workers_alive(const struct master *m);
void workers_close_listeners(struct master *m);

/* ---- tracing.c ---- */
/* Spans of a worker (IPC_SPANS). Takes `told`, which may be NULL. */
void tracing_take(struct master *m, struct cJSON *told);
void tracing_tick(struct master *m, uint64_t now_ms);
void tracing_close(struct master *m); /* what waits is lost */

/* ---- certificates.c ---- */
void certificates_open(struct master *m);
/* Reads what a configuration wants; -EINVAL with a line "file:line: ..." for each that is wrong. */
int certificates_prepare(struct master *m, const struct cJSON *config, char **reterr);
/* Sends it to all ready workers, before the generation on its way. */
void certificates_send(struct master *m);
/* The same for one that has just come: of the generation in force or (candidate) on its way. */
void certificates_welcome(struct master *m, struct child *w, bool candidate);
/* It is in force, or it is not to be. */
void certificates_commit(struct master *m);
void certificates_abort(struct master *m);
void certificates_on_ack(struct master *m, struct child *w, uint64_t version);
/* Gives a certificate that is in no file. `source`: whose it is ("acme"); `id`: the host that it is for, as the
 * configuration has it; `alpn`: NULL, or the protocol of a challenge ("acme-tls/1"), which then is on all https
 * listeners. Replaces the one of the same three. Chain and key are PEM, copied; workers switch at once, also when
 * their generation is about to change. -EINVAL with a sentence: nothing of it can be served. */
int certificates_provide(struct master *m, const char *source, const char *id, const char *alpn,
                         const char *chain, const char *key, char **reterr);
void certificates_withdraw(struct master *m, const char *source, const char *id, const char *alpn);
/* Whether all workers that serve have what is in force. */
bool certificates_told(const struct master *m);
/* How long the one that expires first is good for, those left out that an authority renews in time; 0: there is none where
 * there should be. False: there is none to look after. */
bool certificates_days_left(const struct master *m, double *ret_days);
/* Which one that is: "shop.example (/etc/shop.pem), which expires on 2026-12-01T..."; owned, NULL: there is none. */
char *certificates_words(const struct master *m);
/* [{"names","issuer","serial","key_type","not_before","not_after","not_after_ms","file"? | "source"?,"key_file"?,"at"?,
 *   "listeners":["0.0.0.0:8443"],"ocsp_until"?,"kept"?: true (what its files hold now is no good)}] */
struct cJSON *certificates_status(const struct master *m);
/* As metrics. */
void certificates_metrics(const struct master *m, struct families *f);
/* Looks at the files. */
void certificates_tick(struct master *m, uint64_t now_ms);
void certificates_close(struct master *m);

/* ---- deciders.c ---- */
/* A policy process that has been told nothing yet; messages go to `on_message`, its exit to `on_exited`. */
int deciders_spawn(struct master *m, ipc_message_fn *on_message, child_exited_fn *on_exited,
                   struct child **ret_child);
/* The process of a new generation, which has its configuration, takes over; the old one is dismissed. Takes child. */
void deciders_adopt(struct master *m, struct child *child);
/* Sends a question; false when nobody is there to answer, or one of that kind has no answer yet (of NOTIFY
 * several may be open). Each that was sent ends in one call of master.on_answer, decisions excepted: they go to
 * the fleet, or nowhere. */
bool deciders_ask(struct master *m, enum child_question question, const char *text);
void deciders_tick(struct master *m, uint64_t now_ms);
void deciders_close(struct master *m);

/* ---- learned.c ---- */
/* Reads what was kept before this start. */
void learned_open(struct master *m);
/* A part of what the policy process was asked for. */
void learned_on_portion(struct master *m, const struct cJSON *portion);
/* Gives all that is known to a process, for the configuration that it gets next. `strict`: one that cannot go on
 * from there refuses; else it begins anew. */
void learned_give(struct master *m, struct child *child, bool strict);
/* Asks the policy process for what it knows, and for the last views with `recent`; it comes in portions. */
void learned_ask(struct master *m, bool recent);
/* Whether they are still worth waiting for. */
bool learned_awaited(const struct master *m, uint64_t now_ms);
void learned_tick(struct master *m, uint64_t now_ms);
/* Writes what there is; before the history closes. */
void learned_close(struct master *m);

/* ---- reload.c ---- */
/* Starts one; `asker` (may be NULL) is answered with the outcome. One at a time: an asker is refused
 * meanwhile, without one (SIGHUP) another follows. A rehearsal does all but switch. */
void reload_begin(struct master *m, struct admin_request *asker, bool rehearsal);
/* One that nobody asked for: containers have other labels. Refused, only labels.c hears of it. */
void reload_begin_labels(struct master *m);
/* The policy process has told all that was learned. */
void reload_on_learned(struct master *m);
/* A worker acknowledged, refused with `error`, or is gone. */
void reload_on_worker(struct master *m, const struct child *worker, const char *error);
void reload_tick(struct master *m, uint64_t now_ms);
void reload_close(struct master *m);

/* ---- labels.c ---- */
void labels_open(struct master *m);
/* News of the engine. */
void labels_on_other(struct master *m, enum engine_other_kind kind, const char *id);
/* The sets for a reload that is about to load; lent until the next call. NULL: none. */
const struct cJSON *labels_give(struct master *m);
/* Whether that configuration has other files than the one in force, which nobody asked for. */
bool labels_stale(const struct master *m, const struct cJSON *config);
/* What labels_give gave is not taken up. */
void labels_refused(struct master *m, const char *why);
/* A configuration is in force, and the fleet has it. */
void labels_apply(struct master *m);
/* After the start: the labels of what runs are in force, or cannot be. */
bool labels_surveyed(const struct master *m);
void labels_tick(struct master *m, uint64_t now_ms);
void labels_close(struct master *m);
/* What is known of containers (engine.h: others), with "leaving_ms" while one is ending; lent, NULL: nothing. */
const struct cJSON *labels_containers(const struct master *m);
/* What the configuration in force has of its labels; lent, NULL: nothing. */
const struct cJSON *labels_set_of(const struct master *m, const struct cJSON *container);
/* As labelled_address. */
char *labels_address(const struct master *m, const struct cJSON *container, const struct cJSON *set,
                     const char **ret_network, char **reterr);
bool labels_leaving(const struct cJSON *container, uint64_t now_ms);
/* Why labels are not taken up as they are; lent, NULL: they are, or will be at once. */
const char *labels_waiting(const struct master *m);
/* labels_answer.c: the answer to "labels" (commands.h); `name` may be NULL. The caller owns it. */
struct cJSON *labels_answer(struct master *m, const char *name, uint64_t now_ms);

/* ---- control.c ---- */
void control_command(void *arg, struct admin_request *request, const char *command,
                     const struct cJSON *args);
void control_page(void *arg, struct admin_request *request, const char *path);
void control_tick(struct master *m, uint64_t now_ms);
void control_close(struct master *m);

/* ---- explain.c ---- */
/* Asks; the request is answered by the worker's word, or refused when there is none in time. */
void explain_begin(struct master *m, struct admin_request *request, const struct cJSON *args);
/* The same of the decisions that are made. */
void explain_trace(struct master *m, struct admin_request *request, const struct cJSON *args);
/* A worker's word. */
void explain_on_worker(struct master *m, const struct child *w, struct cJSON *takes);
void explain_tick(struct master *m, uint64_t now_ms);
void explain_close(struct master *m);

/* ---- facts.c ---- */
/* Fills in the kinds that are counted; before anything else may happen. */
void facts_open(struct master *m);
/* Takes note of one: the only place that every fact passes. */
void facts_take(struct master *m, const struct fact *fact);
void facts_on_fleet(struct master *m, const struct fleet_fact *fact);
void facts_on_worker(struct master *m, const struct child *worker, const struct cJSON *fact);
void facts_tick(struct master *m, uint64_t now_ms);
void facts_close(struct master *m);

/* ---- history.c ---- */
/* Opens the store; without one everything goes on, and the log says why. */
void history_open(struct master *m, const struct cJSON *cluster);
/* All of these do nothing when there is no history. */
void history_on_fact(struct master *m, const struct fact *fact);
/* Something of the daemon itself. `kind` as store.h lists them, `detail` may be NULL. */
void history_note(struct master *m, const char *kind, const char *subject, const char *what,
                  const char *detail, bool bad);
/* A process of ours died: kind "worker" or "policy". */
void history_note_exit(struct master *m, const char *kind, unsigned index, int status, int signal);
/* What an operator asked for; `args` is the request. */
void history_on_operator(struct master *m, const char *who, const char *command,
                         const struct cJSON *args);
void history_tick(struct master *m, uint64_t now_ms);
/* Answers who still waits, writes what there is and closes; frees in the last callback. */
void history_close(struct master *m);

/* ---- history_answers.c ---- */
/* Commands as commands.h describes them; answered at once or later. */
void history_ask_decisions(struct master *m, struct admin_request *request,
                           const struct cJSON *args);
void history_ask_events(struct master *m, struct admin_request *request, const struct cJSON *args);
void history_ask_samples(struct master *m, struct admin_request *request, const struct cJSON *args);
/* Whoever still waits is refused. */
void history_answers_close(struct master *m);

/* ---- kept.c ---- */
/* A document: what must outlive us. json NULL: not any more. */
void kept_put(struct master *m, const char *kind, const char *key, const char *json);
/* Calls back for each document of that kind before it returns; at the start only. */
typedef void kept_fn(struct master *m, const char *kind, const char *key, const char *json);
void kept_recall(struct master *m, const char *kind, kept_fn *fn);
/* Answers an operator's word that changed something, when all of it is on disk. */
void kept_answer(struct master *m, struct admin_request *request, struct cJSON *takes);
void kept_on_durable(struct master *m, uint64_t sequence);
void kept_tick(struct master *m, uint64_t now_ms);
void kept_close(struct master *m);

/* ---- history_collected.c ---- */
/* Views of a sample (watch/view.h): keeps what services tell of themselves. */
void history_on_views(struct master *m, const struct cJSON *views, uint64_t wall_ms);

/* ---- aside.c ---- */
/* A worker was killed for it hung inside a policy. */
void aside_note_kill(struct master *m, uint64_t now_ms);
void aside_tick(struct master *m);
/* Another generation is in force. */
void aside_clear(struct master *m);

/* ---- faults.c ---- */
/* That a policy failed. Texts may be "", never NULL. */
struct fault_news {
    const char *point; /* balance | request | scale | part | alert | anomaly | notify | template */
    const char *of;    /* the service, alert or channel */
    unsigned place;    /* of a route in its service, from 1; else 0 */
    const char *policy, *error, *input;
    uint32_t generation;    /* that it ran in */
    uint64_t errors, calls; /* since the last news; 0 errors: 1; 0 calls: not counted */
    bool harmless;          /* no strike: others decide in its place */
    bool once;              /* they are one strike, being of one moment */
};

void faults_note(struct master *m, const struct fault_news *news);
/* The answers of the policy process; how many errors were in them, those of alerts excepted. */
unsigned faults_on_decisions(struct master *m, const struct cJSON *decisions, uint32_t generation);
void faults_on_evaluated(struct master *m, const struct cJSON *answer);
unsigned faults_on_notified(struct master *m, const struct cJSON *answer);
/* A worker's word, as worker.c writes it. */
void faults_on_worker(struct master *m, const struct cJSON *said, uint32_t generation);
/* Another configuration is in force: nothing is in quarantine. */
void faults_apply(struct master *m, const struct cJSON *config);
/* Tells a process that was just given the generation in force what it is not to ask. */
void faults_give(struct master *m, struct child *child, bool worker);
/* Those of this generation, an array that the caller owns (commands.h: status). */
struct cJSON *faults_status(const struct master *m);
/* The worst of them in a sentence that the caller owns; "" = none. */
char *faults_words(const struct master *m);
/* Tells the metrics. */
void faults_write(const struct master *m, struct families *families);
void faults_close(struct master *m);

/* ---- shadows.c: shadow policies of routes ---- */
/* Adds "route_shadows" to the services of a status that have some, and their figures to the page of metrics. */
void shadows_status(const struct master *m, struct cJSON *status);
void shadows_write(const struct master *m, struct families *families);

/* ---- metrics.c ---- */
void metrics_open(struct master *m);
/* Another configuration is in force. */
void metrics_apply(struct master *m);
/* Answers with the page, later. */
void metrics_ask(struct master *m, struct admin_request *request);
void metrics_close(struct master *m);

/* ---- collecting.c ---- */
/* -errno with a sentence. */
int collecting_open(struct master *m, char **reterr);
/* A configuration is in force: services may be asked for other things. */
void collecting_apply(struct master *m, const struct cJSON *config);
/* The loop was so late; the worst since the last look counts. */
void collecting_note_lag(struct master *m, uint64_t lag_us);
void collecting_tick(struct master *m, uint64_t now_ms);
/* A copy of a service's view as of the last sample, without its instances; NULL: none. Does not ask the fleet. */
struct cJSON *collecting_metrics(const struct master *m, const char *service);
/* The answer to an operator's "metrics" (commands/commands.h); service and instance may be NULL. */
struct cJSON *collecting_answer(struct master *m, const char *service, const char *instance,
                                uint64_t now_ms);
/* Who is asked, and how often that failed (watch/collect.h); lent, NULL before the start. */
const struct collect *collecting_targets(const struct master *m);
void collecting_close(struct master *m);
/* The views of now (watch/view.h) for rules, functions and policies; the caller owns them. */
struct cJSON *collecting_views(struct master *m, uint64_t now_ms);

/* ---- watching.c ---- */
void watching_open(struct master *m);
/* A configuration is in force. */
void watching_apply(struct master *m, const struct cJSON *config);
void watching_tick(struct master *m, uint64_t now_ms);
void watching_close(struct master *m);
/* The commands about alerts (commands.h), answered at once. */
void watching_ask(struct master *m, struct admin_request *request, const char *command,
                  const struct cJSON *args);
/* For metrics and pages (watch/alerts.h); lent, NULL before the start. */
const struct alerts *watching_alerts(const struct master *m);

/* ---- telling.c ---- */
void telling_open(struct master *m);
/* A configuration is in force, and the alerts have it. */
void telling_apply(struct master *m, const struct cJSON *config);
/* Alerts have something to tell (watch/alerts.h: NOTIFY). */
void telling_notify(struct master *m, const struct cJSON *message);
/* Somebody acknowledged alerts: channels that know what that is are told. */
void telling_acknowledged(struct master *m);
/* The policy process's answer to a NOTIFY; NULL: none will come, to none. */
void telling_on_answer(struct master *m, const struct cJSON *answer);
/* What the shadow of the notify policy said so far, as metrics. */
void telling_write_shadow(const struct master *m, struct families *f);
/* The store has all up to this sequence on disk. */
void telling_on_durable(struct master *m, uint64_t sequence);
void telling_tick(struct master *m, uint64_t now_ms);
void telling_close(struct master *m);
/* For metrics (watch/outbox.h); lent. */
const struct outbox *telling_outbox(const struct master *m);
/* Messages that are not delivered yet. */
uint64_t telling_waiting(const struct master *m);
/* How each channel does (commands.h: channels), an array that the caller owns. */
struct cJSON *telling_status(const struct master *m);
/* The commands "channels" and "alert_test". */
void telling_ask(struct master *m, struct admin_request *request, const char *command,
                 const struct cJSON *args);

/* ---- issuing.c ---- */
/* Reads what was kept before this start. */
void issuing_open(struct master *m);
/* A configuration is in force: other names, perhaps another authority. */
void issuing_apply(struct master *m, const struct cJSON *config);
void issuing_tick(struct master *m);
void issuing_close(struct master *m);
/* Whether asking for a certificate of this name fails again and again. */
bool issuing_fails(const struct master *m, const char *name);
/* A name of which that is so and which has none, and why; NULL: there is none. Lends. */
const char *issuing_missing(const struct master *m, const char **ret_error);
/* How each name does (commands.h: status), an array that the caller owns. */
struct cJSON *issuing_status(const struct master *m);

/* ---- challenges.c ---- */
/* Has workers answer one token, and no other; NULL: none. */
void challenges_set(struct master *m, const char *token, const char *answer);
/* To a worker that was just started. */
void challenges_give(struct master *m, struct child *worker);
/* Whether all workers that serve have taken the last ones. */
bool challenges_ready(const struct master *m);

/* ---- names.c ---- */
struct names *names_new(struct master *m);
/* The roster with every host name replaced by an address; backends whose name is not known yet are left out.
 * The caller owns the text. */
char *names_resolve(struct names *n, const char *roster);
/* Asks again for names that are old. */
void names_tick(struct names *n, uint64_t now_ms);
void names_close(struct names *n);

/* ---- lock.c ---- */
/* Takes the cluster's lock in runtime_dir; -EEXIST with the other's pid in *reterr. */
int lock_take(struct master *m, char **reterr);
/* Writes our pid into the serving file: workers of a dead master drain. */
void lock_serving(struct master *m);
void lock_release(struct master *m);

/* ---- master.c ---- */
/* The first configuration is there: builds everything. Called by reload.c once. */
int master_build(struct master *m, char **reterr);
/* Ends: the outcome of the process is `exit_code`. */
void master_stop(struct master *m, int exit_code);
/* Level, format, file for a child's command line; `to` gets 3 entries. Lends. */
void master_log_args(const struct master *m, const char **to);

#endif
