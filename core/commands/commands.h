/* commands.h: the command line. One static table; each entry lives beside the function that runs
 * it, and help, manual page and completions are made from the same entries.
 *
 * THE CONTROL PROTOCOL, which the master answers (admin.h carries it). Every answer has "ok"; with
 * false it has "error": "what is wrong: what to do". Members with ? are optional. What changes something
 * that must outlive the daemon is answered when it is on disk; "warning" says when it could not be.
 *
 * {"command":"status","service"?:"catalog"}
 *     {"ok":true,"version":"0.1.0","cluster":"shop","pid":71,"config":"/etc/tidegate.lua",
 *      "generation":3,"hash":"3f2a9c01d2e4b6a8" (of all that was read for it),"policy":"up"|"down","uptime_s":12.5,
 *      "alerts":{"info":0,"warning":1,"critical":0},              that fire
 *      "failing":[{"about":"scale of catalog","point":"scale" (master.h: struct fault_news),"of","route"?,"policy",
 *        "error":"file:line: ...","input","fallback":"the number of instances stays","generation","errors","last":"2026-...Z",
 *        "quarantined":false,"since"?}],                         policies that failed in this generation
 *      "acme":[{"name":"shop.example","state":"missing" | "valid" | "expired","valid_until"?:"2026-...Z","failures":0 (in a row),
 *        "order"?:"validating" (one is under way), else "next":"2026-...Z","error"?:"of the last failure"}],
 *      "workers":[{"index":0,"pid":72,"connections":3,"accepted":900}],
 *      "certificates"?:{"count":2,"expires_first":"of shop.example (/etc/shop.pem), which expires on 2026-12-01","days_left":8.5},
 *      "reload"?:{"ok":false,"at":"2026-01-31T12:00:00.123Z","error":"..."},   the last one
 *      "engine":{...},"services":[...]}                          both as fleet_status has them; a service also has
 *      "route_shadows"?:[{"route":2,"path":"/","name":"ewma","asked":900,"differed":120,"errors":0}]
 * {"command":"decisions","service"?:"catalog","since_wall_ms":1700000000000}   0 = all
 *     {"ok":true,"decisions":[...]}                              as fleet_decisions has them
 * {"command":"events","service"?:"catalog","kind"?:"deploy,instance","since_wall_ms":0,"limit":100}
 *     {"ok":true,"events":[{"at","wall_ms","sequence","kind","service","subject","what","who","detail":{...}|"text","bad"}]}   newest last
 * {"command":"history","service":"catalog","metric"?:"rate","instance"?:"catalog-7" ("" = the service as a whole,
 *      absent = all),"from_ms","to_ms","step_ms":60000 (0 = one point for all)}
 *     {"ok":true,"service","from_ms","to_ms","step_ms","series":[{"instance","metric",
 *      "points":[[at_ms,min,max,mean,last,count]]}]}              oldest first
 * {"command":"scale","service":"catalog","instances":4,"hold_ms":600000}
 *     {"ok":true,"service":"catalog","was":2,"instances":4,"held_for_ms":600000}
 * {"command":"deploy","service":"catalog","wait":true,"timeout_ms":300000}
 *     {"ok":true,"service":"catalog","generation":4,"deploy"?:{...}}   at once; with "wait" when
 *     {"ok":false,"error":"deploy of catalog failed: ...",             it is decided, "deploy" as
 *      "deploy":{"state":"failed","reason","health_output","logs"}}    fleet_deploy_state has it
 * {"command":"drain","backend":"catalog-7","drain":true|false}   {"ok":true,...}
 * {"command":"restart","instance":"catalog-7"}                   {"ok":true,...}
 * {"command":"approve","service":"catalog"}
 *     {"ok":true,"service":"catalog","was":2,"instances":4}
 * {"command":"stop","service":"catalog"}                         {"ok":true,...}
 * {"command":"reload","dry_run"?:true}       when all workers have switched, or the old generation goes on
 *     {"ok":true,"generation":4,"hash":"...","dry_run":false,"all_switched"?:true,"warnings":"...",
 *      "diff"?:{...}}                             decisions that differ, as script_compare has it (script/script.h)
 *     {"ok":false,"error":"all errors, one a line"}
 * {"command":"explain","like":"GET /x Host: y X-Dataset-Id: z","listen"?:"0.0.0.0:8080"}
 *     {"ok":true,...}                   as proxy_explain has it; "backends" also lists the instances
 *                                       that get no requests at all, with state and "reason"
 * {"command":"explain","request":"3f2a9c..."}
 *     {"ok":true,"request":"...","found":[{...,"worker":0}],"left_out":0}   as proxy_past has it, of all
 *     workers
 * {"command":"trace","service"?:"catalog","route"?:"part of 'ADDRESS:PORT HOST/PATH'","after"?:{...} of the last answer}
 *     {"ok":true,"found":[{...,"worker":0}],"after":{"0":81920},"left_out":0,"lost":false}   decisions since then as
 *     proxy_trace has them, of all workers; without "after" none: what is made from now on comes with the next
 * {"command":"metrics","service"?:"catalog","instance"?:"catalog-7"}
 *     {"ok":true,"metrics":{...}}        a view as watch/view.h has it; without a service tidegate's own
 * {"command":"labels","container"?:"shop-web-1" (name or id)}    containers of others that have labels of ours
 *     {"ok":true,"on":true,"waiting"?:"why present labels are not in force","containers":[{"container","id","image","state","health",
 *      "serves":true (gets requests),"why"? (it does not),"wrong"?:true (somebody has to do something),"service"?,
 *      "routes"?:[{"listen","host","path"}],"address"?,"network"?,"backend"? (as status names it),"backend_state"?,
 *      "labels":[{"label","value"?,"verdict":"used"|"wrong"|"unused","text"}]}]}   verdicts as script.h has them
 * {"command":"alerts"}                                       as alerts_status has it (watch/alerts.h)
 * {"command":"silence","matchers":["service=shop"],"for_ms":7200000,"comment"?:"","author"?:"ann"}
 *     {"ok":true,"id":"3f2a9c01","ends":"2026-...Z","matches":2}
 * {"command":"silences"}                                     as alerts_silences has it
 * {"command":"unsilence","id":"3f2a9c01"}                        {"ok":true,...}
 * {"command":"ack","alert":"HighCPU" or the beginning of a fingerprint,"comment"?:"","author"?:"ann"}
 *     {"ok":true,"count":2}
 * {"command":"snapshot","generation"?:3}       for the console
 *     {"ok":true,"generation":3,"status":{...} as fleet_status has it,"metrics":{"catalog":{...}},
 *      "configuration"?:{...}}      as script.h has it, without environments, channels, alerts and functions; absent
 *                                  when its generation is the one that was given
 * {"command":"channels"}                                     of alerts: how each does
 *     {"ok":true,"waiting":2,"channels":[{"name","kind","sent","failed" (tries),"retried","dropped","waiting",
 *      "last_sent"?,"failing_since"?,"last_error"?,"next_try_s"?}]}   also in the answer to "status"
 * {"command":"alert_test","channel":"ops"}                   when its outcome is known
 *     {"ok":true,"channel":"ops","said":"answered 200","took_ms":12}   or false, "error" as the receiver said it
 * {"command":"certificates"}
 *     {"ok":true,"certificates":[{"names":["shop.example"],"issuer":"CN=...","serial":"0A1B","key_type":"ECDSA P-256",
 *      "not_before","not_after","not_after_ms","file"?:"/etc/shop.pem" | "source"?:"acme","key_file"?,"at"?:"tidegate.lua:13",
 *      "listeners":["0.0.0.0:8443"],"ocsp_until"?,"kept"?: true (its files are no good now: as they were before)}]}
 * {"command":"version"}
 *     {"ok":true,"version":"0.1.0","pid":71,"cluster":"shop"}
 */
#ifndef COMMANDS_H
#define COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct cJSON;
struct command_call;

enum command_exit {
    COMMAND_FINE = 0,
    COMMAND_NO = 1, /* the answer is no */
    COMMAND_WRONG_USAGE = 2,
    COMMAND_NO_DAEMON = 3,
};

struct command_option {
    const char *name;  /* "for", without its dashes */
    const char *value; /* "DURATION", or choices as in "text|json"; NULL = a switch */
    const char *doc;   /* lower case, no full stop */
};

struct command {
    const char *name;
    const char *arguments;                /* "SERVICE N", "[CONFIG]" or "" */
    unsigned least, most;                 /* how many of them */
    const char *summary;                  /* one line, lower case, no full stop */
    const char *doc;                      /* sentences for its help and the manual page */
    const char *example;                  /* whole lines, "tidegate scale catalog 4 --for 10m" */
    const struct command_option *options; /* up to an entry without name; NULL = none */
    const char *refusal; /* said before the daemon's errors when it says no; NULL = nothing */
    bool asks;           /* talks to the daemon: takes --socket, --cluster and --json too */
    int (*run)(const struct command_call *call); /* returns an enum command_exit */
};

/* A command as it was typed. */
struct command_call {
    const struct command *command;
    const char *const *args;
    unsigned arg_count;
    const char *const *values; /* of the options, see command_value */
};

/* Runs the command line; the process's exit code. */
int commands_main(int argc, char **argv);
/* The table, ended by NULL. Static storage. */
const struct command *const *commands_all(void);
/* NULL when there is none of that name. */
const struct command *command_find(const char *name);
/* The option at place `index` of a command's own ones and those that every command of its kind has;
 * NULL behind the last. */
const struct command_option *command_option_at(const struct command *command, unsigned index);
/* The nearest command to a misspelt word, or NULL when none is near. */
const char *command_nearest(const char *word);

/* For run functions. */

/* What was given for an option ("" for a switch), or NULL when it was not. */
const char *command_value(const struct command_call *call, const char *option);
/* Argument `index`, or NULL when it was not given. */
const char *command_arg(const struct command_call *call, unsigned index);
/* Reads a duration such as "90s", "1h30m", "250ms" or "15" (seconds). -EINVAL, -ERANGE. */
int command_duration_ms(const char *text, uint64_t *ret_ms);
/* Option as a duration, `otherwise` when not given; a bad one is told: COMMAND_WRONG_USAGE. */
int command_duration(const struct command_call *call, const char *option, uint64_t otherwise,
                     uint64_t *ret_ms);
/* Prints "tidegate: what is wrong: what to do" to stderr; returns `exit_code`. */
int command_fail(int exit_code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says what paths_find_socket said; its exit code. */
int command_no_socket(int rc, const char *sentence);
/* Asks the daemon; takes `request`. COMMAND_FINE with *ret_answer: the caller owns it and prints.
 * COMMAND_FINE without: --json printed it already. Else everything is told: return the code. */
int command_ask(const struct command_call *call, struct cJSON *request, uint64_t timeout_ms,
                struct cJSON **ret_answer);

/* The same for who looks at the answer also when --json has printed it. */
int command_ask_whole(const struct command_call *call, struct cJSON *request, uint64_t timeout_ms,
                      struct cJSON **ret_answer);

/* The entries. */
extern const struct command command_run, command_check, command_version;
extern const struct command command_status, command_decisions, command_explain, command_metrics;
extern const struct command command_labels;
extern const struct command command_history, command_events;
extern const struct command command_scale, command_deploy, command_drain, command_undrain,
    command_backend, command_weight, command_restart, command_approve, command_stop, command_reload;
extern const struct command command_anomaly, command_simulate;
extern const struct command command_alert;
extern const struct command command_alerts, command_silence, command_ack;
extern const struct command command_policy;
extern const struct command command_repl;
extern const struct command command_certificates;
extern const struct command command_doctor;
extern const struct command command_help;

/* acme.c: certificates by ACME, "acme" of a status; nothing when there are none. */
void commands_show_acme(struct buf *to, const struct cJSON *list, unsigned width, bool colour);
/* scaling.c: "held by max 99 -> 5, cooldown 5 -> 4" of a decision, "" when nothing did; the caller owns it. Lines
 * about what keeps a service's policy from deciding. */
char *commands_rules_text(const struct cJSON *decision);
void commands_show_scaling(struct buf *to, const struct cJSON *service, unsigned width);

/* show.c: human output, appended to `to`. `columns` is the width to keep to. */
void commands_show_status(struct buf *to, const struct cJSON *answer, unsigned columns,
                          bool colour);
void commands_show_decisions(struct buf *to, const struct cJSON *answer, unsigned columns,
                             bool colour);
/* labels.c: likewise. */
void commands_show_labels(struct buf *to, const struct cJSON *answer, unsigned columns,
                          bool colour);
/* history.c: likewise; a series' table and its drawing take one of the answer's series. */
void commands_show_history(struct buf *to, const struct cJSON *answer, unsigned columns,
                           bool colour);
void commands_show_series(struct buf *to, const struct cJSON *series, unsigned columns,
                          bool colour);
void commands_show_plot(struct buf *to, const struct cJSON *answer, const struct cJSON *series,
                        unsigned columns);
void commands_show_events(struct buf *to, const struct cJSON *answer, unsigned columns,
                          bool colour);
/* alerts.c: the same of alerts and silences; `all`: also what nobody is told of. */
void commands_show_alerts(struct buf *to, const struct cJSON *answer, bool all, unsigned columns,
                          bool colour);
void commands_show_silences(struct buf *to, const struct cJSON *answer, unsigned columns,
                            bool colour);

#endif
