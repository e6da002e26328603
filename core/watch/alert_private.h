/* alert_private.h: what the files of alerts share. See alerts.h for what it all means.
 *
 *   alerts.c          life, configuration, one evaluation from end to end
 *   alert_rules.c     rules as they were read, and which numbers of a view they want
 *   alert_states.c    the state machine of one alert
 *   alert_labels.c    labels, identity, matchers
 *   alert_text.c      messages and numbers for people
 *   alert_mutes.c     silences, inhibition, maintenance
 *   alert_groups.c    who is told when
 *   alert_messages.c  what is told
 *   alert_anomalies.c anomalies as alerts
 *   alert_keep.c      documents
 *   alert_report.c    status and figures
 *
 * Moments are int64_t of the monotonic clock: what began before a restart lies before 0 perhaps. NEVER
 * means that it did not happen. */
#ifndef WATCH_ALERT_PRIVATE_H
#define WATCH_ALERT_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "watch/alerts.h"

#define NEVER INT64_MIN

enum alert_limits {
    ALERT_SETTLE_EVALUATIONS = 6,
    ALERT_SETTLE_LEAST_MS = 10000,
    ALERT_MAINTENANCE_AFTER_MS = 30000, /* counts as maintenance still */
    ALERT_HELD_MOST_MS = 600000,
    ALERT_HELD_MOST_CRITICAL_MS = 120000,
    ALERT_ANOMALY_QUIET_MS = 600000,
    ALERT_MESSAGE_BYTES = 2000,
    ALERT_MESSAGE_ALERTS = 500, /* in one message, the rest is counted */
    ALERT_SILENCES = 1000,
    ALERT_MATCHERS = 32,
    ALERT_MATCHER_BYTES = 300,
    ALERT_ANOMALIES = 1000, /* at once */
    ALERT_PATH_BYTES = 256,
};

enum alert_scope {
    SCOPE_SERVICE,
    SCOPE_INSTANCE,
    SCOPE_TIDEGATE
};

enum alert_missing {
    MISSING_KEEP,
    MISSING_OK,
    MISSING_ALERT
};

enum alert_operator {
    OPERATOR_ABOVE,
    OPERATOR_BELOW,
    OPERATOR_AT_LEAST,
    OPERATOR_AT_MOST,
    OPERATOR_IS,
    OPERATOR_IS_NOT
};

/* How a rule's numbers are written for people. */
enum alert_unit {
    UNIT_NONE,
    UNIT_RATIO,
    UNIT_BYTES
};

/* What one look at a rule's condition says. */
enum alert_outcome {
    OUTCOME_HOLDS,
    OUTCOME_BETWEEN, /* holds no more, and is not clear yet */
    OUTCOME_CLEAR,
    OUTCOME_UNKNOWN
};

struct alert_escalation {
    uint64_t after_ms;      /* 0 = none */
    struct cJSON *channels; /* owned */
};

struct alert_rule {
    char *name;
    uint32_t index;
    bool outside; /* its outcome comes from the policy process */
    bool shadow;  /* nobody is told */
    uint32_t path;
    enum alert_operator operator;
    double threshold, clear;
    bool has_threshold;
    enum alert_unit unit;
    enum alert_scope scope;
    enum alert_missing missing;
    enum alerts_severity severity;
    uint64_t duration_ms, keep_ms, cooldown_ms, settle_ms, flap_window_ms;
    uint32_t flap_changes; /* 0 = off */
    char *message;
    struct cJSON *services, *labels, *annotations;
    struct cJSON *channels; /* NULL = all */
    struct alert_escalation escalation;
    char *failing; /* of tidegate itself: which policies fail, by the last view; NULL = not known */
    char *certificate; /* the same: which certificate expires first */
    uint64_t identity; /* of what makes its alerts' labels */
};

/* The numbers that rules want, by their path in a view. */
struct alert_paths {
    struct alert_path *slots; /* open addressing */
    size_t cap, used;
    uint32_t count; /* of numbers */
    double *values; /* of the view at hand; NAN = unknown */
};

/* A rule at a subject. */
struct alert_cell {
    struct alert_rule *rule;
    struct alert *alert; /* NULL: inactive, and nothing to remember */
};

struct alert_subject {
    enum alert_scope scope;
    char *service, *instance; /* "" when it has none */
    struct alert_cell *cells; /* by index of their rules */
    uint32_t count;
    uint64_t seen; /* number of the evaluation */
};

struct alert {
    struct list link;        /* in alerts.active */
    struct list in_group;    /* in group.members */
    struct alert_cell *cell; /* NULL: its rule or subject is gone, or it is an anomaly */
    struct alert_group *group;
    char fingerprint[17];
    char *name, *service, *instance;
    enum alerts_state state;
    enum alerts_severity severity;
    enum alert_unit unit;
    struct cJSON *labels;
    struct cJSON *annotations; /* rendered, `summary` is the message */
    struct cJSON *channels;    /* NULL = all */
    struct alert_escalation escalation;
    char *said; /* by the function or policy, in place of the rule's message */
    double value;
    bool has_value;
    int64_t pending_ms, firing_ms, clear_ms;
    int64_t held_ms; /* since when it would fire but for maintenance */
    uint64_t starts_wall_ms, ends_wall_ms;
    bool holds;       /* as last seen */
    int64_t *changes; /* ring of the last flap_changes moments */
    uint32_t change_at, change_cap;
    int64_t flap_until_ms;
    bool shadow;     /* its rule is one */
    bool told;       /* as firing, in this episode */
    int64_t told_ms; /* when one of its episodes was told first */
    bool escalated;
    char *ack_who, *ack_comment;
    uint64_t ack_wall_ms;
    char silenced[17]; /* id of the silence, or "" */
    uint64_t silences_seen;
    const char *inhibited; /* name of who does, in the list of inhibitions; or NULL */
    bool anomaly;
    char *incident;
    int64_t seen_ms;  /* an anomaly: last reported */
    bool dirty, kept; /* to be saved; has a document */
};

struct alert_group {
    struct list link;
    char *key, *id; /* id: of its document and messages */
    struct cJSON *labels, *channels;
    bool incident;
    struct list members;
    int64_t news_ms; /* since when there is something to tell */
    int64_t told_ms;
    uint64_t serial;            /* messages so far */
    enum alerts_severity worst; /* told: of an incident */
    bool dirty, kept;
};

struct alert_matcher;
struct alert_path;
struct inhibition;

struct alert_silence {
    struct list link;
    char id[17];
    struct alert_matcher *matchers;
    uint32_t count;
    char *author, *comment;
    uint64_t starts_wall_ms, ends_wall_ms;
};

struct alerts {
    struct alerts_ports ports;
    bool in_batch;
    struct alert_rule **rules;
    uint32_t rule_count;
    struct map by_name; /* of rules */
    struct alert_paths paths;
    struct map subjects; /* "service", "service/instance", "" = tidegate */
    struct buf key;      /* of the subject at hand */
    struct list active;  /* all alerts there are */
    struct list groups;
    struct list silences;
    uint64_t silences_generation, silences_made;
    uint64_t silences_next_ms; /* wall: when the first one ends; 0 = none */
    struct inhibition *inhibitions;
    uint32_t inhibition_count;
    struct map maintained; /* service -> int64_t: last seen under own work */
    struct cJSON *channels, *group_by;
    struct alert_escalation escalation;
    uint64_t interval_ms, group_wait_ms, group_interval_ms, repeat_interval_ms;
    bool maintenance;
    uint64_t evaluations, policy_errors, notifications;
    int64_t due_ms; /* nothing happens by time alone before */
    int64_t now_ms; /* of the call at hand */
    uint64_t wall_ms;
};

/* ---- alerts.c ---- */
void alerts_batch(struct alerts *a); /* what follows belongs to the call's batch */
void alerts_fact_of(struct alerts *a, const struct alert *al, const char *what, const char *who,
                    bool bad);
/* The subject, made if it is not there. */
struct alert_subject *alerts_subject(struct alerts *a, enum alert_scope scope, const char *service,
                                     const char *instance);

/* ---- alert_rules.c ---- */
/* Reads one of config.alerts; `alerting` has what it inherits. */
struct alert_rule *alert_rule_new(const struct cJSON *config, const struct cJSON *alerting,
                                  uint32_t index);
void alert_rule_free(struct alert_rule *r);
bool alert_rule_covers(const struct alert_rule *r, const struct alert_subject *s);
enum alert_outcome alert_rule_look(const struct alert_rule *r, double value);
void alert_escalation_read(struct alert_escalation *e, const struct cJSON *config);
/* The number at `path` is wanted; its index. */
uint32_t alert_paths_want(struct alert_paths *p, const char *path);
/* Takes all wanted numbers from a view. Allocates nothing. */
void alert_paths_read(struct alert_paths *p, const struct cJSON *view);
void alert_paths_free(struct alert_paths *p);

/* ---- alert_states.c ---- */
struct alert *alert_new(struct alerts *a, const char *name, enum alerts_severity severity,
                        const char *service, const char *instance, struct cJSON *labels);
/* Of a rule at a subject: in its cell, inactive. */
struct alert *alert_of_cell(struct alerts *a, struct alert_subject *s, struct alert_cell *cell);
/* Lists nothing of it any more; removes its document. */
void alert_free(struct alerts *a, struct alert *al);
/* What its rule says now: channels, escalation, flap. */
void alert_adopt(struct alert *al, struct alert_cell *cell);
void alert_step(struct alerts *a, struct alert *al, enum alert_outcome outcome);
/* Its rule or subject is gone, or it is over whatever its condition says: may free it. */
void alert_end(struct alerts *a, struct alert *al);
void alert_fire(struct alerts *a, struct alert *al);
/* The end was told, or need not be: may free it. */
void alert_put_away(struct alerts *a, struct alert *al);
bool alert_flaps(const struct alert *al, int64_t now_ms);

/* ---- alert_labels.c ---- */
/* Labels of an alert; `own` may have numbers and booleans. The caller owns them. */
struct cJSON *alert_labels(const struct cJSON *own, const char *name, enum alerts_severity severity,
                           const char *service, const char *instance);
void alert_fingerprint(const struct cJSON *labels, char ret_hex[17]);
/* For qsort of alerts: firing, pending, resolved; the worst first, then as they began. */
int alert_by_weight(const void *left, const void *right);
/* "service=shop" and the like; -1 with a sentence. The caller owns it. */
int alert_matchers_read(const struct cJSON *texts, struct alert_matcher **ret_list,
                        uint32_t *ret_count, char **reterr);
void alert_matchers_free(struct alert_matcher *list, uint32_t count);
bool alert_matchers_match(const struct alert_matcher *list, uint32_t count,
                          const struct cJSON *labels);
struct cJSON *alert_matchers_json(const struct alert_matcher *list, uint32_t count);

/* ---- alert_text.c ---- */
/* A template with its placeholders filled in. The caller owns it. */
char *alert_render(const char *text, const struct alert *al, int64_t now_ms);
/* Renders message and annotations anew. */
void alert_describe(struct alert *al, int64_t now_ms);
const char *alert_summary(const struct alert *al);
/* "1m 30s"; at most 32 bytes with NUL. */
void alert_duration_text(uint64_t ms, char ret_text[32]);
/* "5.3 %", "1.2 GB", "17"; at most 32 bytes with NUL. */
void alert_number_text(double value, enum alert_unit unit, char ret_text[32]);

/* ---- alert_mutes.c ---- */
void alert_inhibitions_read(struct alerts *a, const struct cJSON *config);
void alert_inhibitions_free(struct alerts *a);
/* Who explains whom, among what fires now. */
void alert_inhibit(struct alerts *a);
/* Looks whether a silence is about it. */
void alert_silence_look(struct alerts *a, struct alert *al);
void alert_silences_expire(struct alerts *a);
/* {"ok":true,...} as alerts_silence has it, or NULL with a sentence. */
struct cJSON *alert_silence_make(struct alerts *a, const struct cJSON *matchers, uint64_t for_ms,
                                 const char *author, const char *comment, char **reterr);
bool alert_silence_drop(struct alerts *a, const char *id, const char *who);
bool alert_silence_restore(struct alerts *a, const char *id, const struct cJSON *doc);
void alert_silences_free(struct alerts *a);
void alert_maintain(struct alerts *a, const struct cJSON *suppressed);
bool alert_maintained(const struct alerts *a, const struct alert *al);
void alert_maintenance_free(struct alerts *a);

/* ---- alert_groups.c ---- */
/* Puts an alert that fires into its group. */
void alert_group_join(struct alerts *a, struct alert *al);
void alert_group_leave(struct alert *al);
/* Into the groups that the configuration in force asks for. */
void alert_groups_renew(struct alerts *a);
/* Tells what is due; sets due_ms. */
void alert_groups_flush(struct alerts *a);
void alert_groups_restore(struct alerts *a, const struct cJSON *doc);
void alert_groups_free(struct alerts *a);
/* When this alert will be told, or told again; NEVER if it will not. */
int64_t alert_told_next(const struct alerts *a, const struct alert *al, bool *ret_again);

/* ---- alert_messages.c ---- */
struct alert_message {
    const char *reason;
    const struct cJSON *channels; /* NULL = all */
    struct alert **alerts;
    uint32_t count;
};
void alert_message_send(struct alerts *a, struct alert_group *g, const struct alert_message *m);

/* ---- alert_anomalies.c ---- */
void alert_anomalies_take(struct alerts *a, const struct cJSON *list);
void alert_anomalies_settle(struct alerts *a);

/* ---- alert_keep.c ---- */
/* Saves what is dirty. */
void alert_keep(struct alerts *a);
void alert_keep_silence(struct alerts *a, const struct alert_silence *s);
void alert_restore(struct alerts *a, const char *key, const struct cJSON *doc);

#endif
