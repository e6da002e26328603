/* alerts.h: alert rules, their states, who is told when. A pure module: time and figures come as
 * arguments, everything it starts goes through ports, so that specs run it on a virtual clock.
 *
 *     views, results --evaluate-->  states  --flush-->  groups  --notify-->  outbox, channels
 *                                     |                   |
 *                                     +--save, remove-----+-->  store (one batch a call)
 *
 *     INACTIVE --holds--> PENDING --for `duration`--> FIRING --clear for keep_firing_for--> RESOLVED
 *         ^                  |                          ^            (holds again) |            |
 *         +---holds no more--+                          +--------------------------+---- told --+
 *
 * An alert is one rule at one subject: a service, an instance, or tidegate itself. What its labels are
 * is its identity: alertname, severity, service, instance and the rule's own; their hash is the
 * fingerprint. An episode is from firing to resolved. One that fires again before anybody was told
 * that it is over goes on as the same episode.
 *
 * CLEARING. With a `clear` threshold the condition ends only beyond it. Unless `flap` is off, an alert
 * ends only when it has been clear for six evaluations (10 s at least, window / changes at most), and one
 * whose condition changed `changes` times within the window stays firing until it did so less often.
 * A subject that is no longer in the views is gone: its alerts end at once. A missing number, a
 * result that is absent or an error leave the state as it is, unless the rule says otherwise.
 *
 * TOLD. A group is told of: its first firing alerts after group_wait; what changed since, at most every
 * group_interval; again after repeat_interval while nothing changed and not all are acknowledged.
 * Resolved is told of what was told as firing, and of nothing else. An alert that fires again within
 * its cooldown is told when that is over, if it still fires.
 *
 * NOT TOLD, of rules with `shadow`: never; they are shown and noted, and explain no others. And while: silenced (by an operator), inhibited (by another alert that explains it), or under
 * maintenance: while tidegate itself deploys, scales or drains a service, and a settling time after, its
 * alerts wait as pending, for ten minutes at most, critical ones for two.
 *
 * EVALUATE takes views: { "services": { "shop": { view, "instances": { "shop-1": view } } },
 *   "tidegate": view }, and of the policy process (NULL: it gave none): { "rules": { RULE: { SUBJECT: {
 *   "firing": true, "value"?: 3, "message"?: "" } | { "missing": true } | { "error": "..." } } }, "errors"?: [...], "anomalies": [ { "service", "instance"?,
 *   "metric", "score", "severity": "high" | "medium", "value", "type", "description", "incident"?, "shadow"? } ] };
 *   SUBJECT = "service", "service/instance" or "tidegate".
 *
 * NOTIFY gives { "id": "9f0c...-1", "reason": "firing" | "resolved" | "repeat" | "escalation", "channels": ["ops"] (absent: all),
 *   "keys": ["FINGERPRINT/STARTS_MS/firing"], "group": {
 *     "version": "4", "groupKey": "{}:{alertname=\"HighCPU\"}", "truncatedAlerts": 0, "status": "firing" | "resolved",
 *     "receiver": "tidegate", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "",
 *     "alerts": [ { "status": "firing" | "resolved", "labels": {}, "annotations": { "summary": "the message" },
 *       "startsAt": "2026-01-31T12:00:00.000Z", "endsAt": "0001-01-01T00:00:00Z" (firing) | "2026-...", "generatorURL": "",
 *       "fingerprint": "89abcdef01234567" } ] } }     "id" is stable: the same news again has the same
 *
 * DOCUMENTS, kinds "alert_state" (keys FINGERPRINT, "group:..." and "anomaly:...") and "silence" (keys are ids): what
 * `save` was given is given back to alerts_restore at the next start. */
#ifndef WATCH_ALERTS_H
#define WATCH_ALERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct alerts;
struct cJSON;

/* Something that happened, for log and history. Borrowed. */
struct alerts_fact {
    const char *service;  /* "" when of none */
    const char *instance; /* "" when of none */
    const char *name;     /* of the alert */
    const char *what;     /* "alert firing", "alert resolved", "alert silenced", ... */
    const char *detail;   /* the message, or "" */
    const char *who;      /* the operator, or "" */
    bool bad;
};

/* Called from inside alerts_* calls; must not call back into alerts. */
struct alerts_ports {
    void *arg;
    /* What is said between these belongs together: all of it is kept or none. */
    void (*begin)(void *arg);
    void (*commit)(void *arg);
    void (*save)(void *arg, const char *kind, const char *key, const char *json);
    void (*remove)(void *arg, const char *kind, const char *key);
    /* A group's message is due; lends it until return. */
    void (*notify)(void *arg, const struct cJSON *message);
    void (*fact)(void *arg, const struct alerts_fact *fact);
};

enum alerts_state {
    ALERTS_INACTIVE,
    ALERTS_PENDING,
    ALERTS_FIRING,
    ALERTS_RESOLVED, /* and not told yet */
    ALERTS_STATES
};

enum alerts_severity {
    ALERTS_INFO,
    ALERTS_WARNING,
    ALERTS_CRITICAL,
    ALERTS_SEVERITIES
};

/* Both clocks at one moment: monotonic for durations, wall for what is shown and kept. */
struct alerts_now {
    uint64_t now_ms, wall_ms;
};

struct alerts *alerts_new(const struct alerts_ports *ports);
void alerts_free(struct alerts *a);

/* The configuration (script.h), first or changed. Alerts whose rule is there still, with the same labels and
 * scope, go on; those of others end. Borrows. */
void alerts_apply(struct alerts *a, const struct cJSON *config, struct alerts_now at);
/* One document as it was saved, after the first alerts_apply and before the first evaluation. What cannot be read
 * is left out. */
void alerts_restore(struct alerts *a, const char *kind, const char *key, const char *json,
                    struct alerts_now at);

/* One evaluation of everything, and what follows from it. `suppressed` is an array of services under own
 * work, or NULL. Borrows. */
void alerts_evaluate(struct alerts *a, const struct cJSON *views, const struct cJSON *results,
                     const struct cJSON *suppressed, struct alerts_now at);
/* Time passes: groups, escalations, silences that end. Cheap when nothing is due. */
void alerts_tick(struct alerts *a, struct alerts_now at);

/* Operators. Results are owned by the caller: {"ok":true,...} or {"ok":false,"error":"..."}. */

/* `matchers` is an array of texts: service=shop, instance=~shop-.*, severity!=info, alertname!~High.*; regular
 * expressions are POSIX extended and match the whole value. {"ok":true,"id":"3f2a9c01","ends":"2026-...Z","matches":2}. */
struct cJSON *alerts_silence(struct alerts *a, const struct cJSON *matchers, uint64_t for_ms,
                             const char *author, const char *comment, struct alerts_now at);
struct cJSON *alerts_unsilence(struct alerts *a, const char *id, const char *who,
                               struct alerts_now at);
/* {"ok":true,"silences":[{"id","matchers":["service=shop"],"author","comment","starts","ends","ends_in_s","matches"}]} */
struct cJSON *alerts_silences(const struct alerts *a, struct alerts_now at);
/* Acknowledges what fires under this fingerprint (or a beginning of one, of 4 digits at least) or name. {"ok":true,"count":2}. */
struct cJSON *alerts_acknowledge(struct alerts *a, const char *which, const char *who,
                                 const char *comment, struct alerts_now at);

/* {"ok":true,"alerts":[{"name","state":"pending"|"firing"|"resolved","severity","service"?,"instance"?,"labels":{},
 *    "fingerprint","value"?,"message","since":"2026-...Z","since_s","next":"fires in 40 s" (or ""),
 *    "silenced"?:"ID","inhibited"?:"InstanceDown","shadow"?:true,"maintenance"?:true,"flapping"?:true,"told":true,"escalated"?:true,
 *    "acknowledged"?:{"who","comment","at"}}],     firing before pending, worst first
 *  "rules":42,"policy_errors":0,"silences":1} */
struct cJSON *alerts_status(const struct alerts *a, struct alerts_now at);

struct alerts_figures {
    uint64_t count[ALERTS_STATES][ALERTS_SEVERITIES]; /* now; inactive is always 0 */
    uint64_t silenced, inhibited, acknowledged;       /* of those that fire */
    uint64_t shadows; /* of shadow rules, fire; counted nowhere else */
    uint64_t rules, silences;
    uint64_t evaluations;
    uint64_t policy_errors; /* results that were errors, since the start */
    uint64_t notifications; /* messages given to `notify` */
};

void alerts_figures(const struct alerts *a, struct alerts_figures *ret_figures);
/* "inactive", "pending", "firing", "resolved"; "info", "warning", "critical". */
const char *alerts_state_name(enum alerts_state state);
const char *alerts_severity_name(enum alerts_severity severity);
/* The configured time between evaluations. */
uint64_t alerts_interval_ms(const struct alerts *a);

#endif
