/* script.h: Lua, for the rest of the program. The only room that sees lua.h.
 *
 * Three uses, three kinds of state:
 *   script_load   reads and checks a configuration with its policies (policy process, `check`)
 *   script_cold   answers snapshots: scale, alerts, whom to tell (policy process, JIT off)
 *   script_anomaly  holds figures against what was usual (policy process, JIT off)
 *   script_hot    picks backends per request (worker, JIT on)
 *
 * Policies run in a sandbox: allow-listed libraries copied per policy, no I/O, text only, memory
 * capped per state, a budget of thread CPU time per cold call. What a policy does wrong comes back as
 * a sentence with its file and line, never as a crash.
 *
 * THE CONFIGURATION as JSON, with every default filled in, durations in ms, sizes in bytes:
 * { "generation": "3f2a9c01d2e4b6a8",            hash of all source bytes
 *   "path": "/etc/tidegate/tidegate.lua", "directory": "/etc/tidegate",
 *   "cluster": { "id": "shop", "engine": "docker", "workers": 0 (= one per core),
 *     "admin": "127.0.0.1:9880" ("" = off), "state_dir": "", "runtime_dir": "" ("" = by default), "zone": "",
 *     "sample_interval_ms": 5000, "grace_ms": 30000, "spin_us": 0,
 *     "policy_errors": { "limit": 5, "window_ms": 600000 },      so many of one policy in quarantine it; 0 = never
 *     "history": { "enabled": true, "days": 14, "bytes": 2147483648, "rollup_days": 90 },
 *     "metrics": { "max_series": 2000, "max_values": 100 },
 *     "acme"?: { "email"?: "ops@shop.example", "directory": "https://...", "ca"?: "/abs", "challenge": "http-01" | "tls-alpn-01", "retry_ms": 60000, "at" },
 *     "docker": { "host": "" (= $DOCKER_HOST, else unix:///var/run/docker.sock), "network": "", "publish": false,
 *                 "tls": { "ca": "", "certificate": "", "key": "" } },
 *     "labels"?: { "prefix": "tidegate", "network": "", "listen": ["0.0.0.0:80"], "hosts": [], "exposed_by_default": false } },
 *   "services": [ {
 *     "name": "catalog", "at": "tidegate.lua:4", "source": "image" | "command" | "backends",
 *     "image": "acme/catalog:1.4", "pull": "missing" | "always" | "never",
 *     "command": ["./catalog", "--port", "$PORT"],    image: overrides CMD when not empty
 *     "directory": "/abs", "user": "",
 *     "environment": { "LOG_LEVEL": "info" },
 *     "resources": { "memory_bytes": 1073741824, "cpus": 0 (= no limit), "pids": 0, "files": 0 },
 *     "ports": [ { "container": 8080, "host": 0 (= none or ephemeral), "publish": false,
 *                  "host_ip": "", "protocol": "tcp" } ],
 *     "volumes": [ { "source": "catalog-cache", "target": "/var/cache", "read_only": false, "bind": false } ],
 *     "restart_policy": { "name": "unless-stopped", "max_retries": 0 },
 *     "health_check": { "kind": "http" | "tcp" | "grpc" ("path" is its service) | "engine" | "none",
 *       "path": "/health", "port": 0 (= first), "command": ["CMD", "/svc", "probe"] (kind engine; [] = the image's own),
 *       "interval_ms": 30000, "timeout_ms": 5000, "retries": 3, "rise": 1, "start_period_ms": 0,
 *       "explicit": true },                           false: nothing was configured (engine's, else HTTP, else running)
 *     "deploy": { "timeout_ms": 120000 },
 *     "stop_timeout_ms": 10000, "drain_timeout_ms": 30000,
 *     "tags": [ ["zone:1"], ["zone:0"] ... ]          per slot 1, 2, ... scale.max; one entry = for all; [] = none
 *     "scale": { "policy": "threshold", "params": { "cpu": 75, "memory": 80 }, "min": 2, "max": 20,     a policy among params: { "policy", "params", "up_cooldown_ms", "down_cooldown_ms" }
 *       "up_cooldown_ms": 300000, "down_cooldown_ms": 600000, "interval_ms": 15000, "idle_ms": 900000 (with min 0),
 *       "mode": "active" | "recommend" | "shadow" | "paused" | "pinned", "pinned"?: 4,
 *       "shadows"?: [ { "name": "queue" (of its own: "queue 2"), "policy": "queue", "params": {} } ],
 *       "step_limits": { "up_factor": 4, "up_count": 8, "up_period_ms": 30000, "down_percent": 25, "down_period_ms": 60000,
 *         "after_up_ms": 60000 },                       {} = off, these three
 *       "saturation": { "cpu": 95, "queue_wait_ms": 200, "times": 3, "more_percent": 50 },
 *       "churn": { "changes": 12, "window_ms": 3600000, "freeze_ms": 1800000 } },       absent for "backends"
 *     "routes": [ { "listen": "0.0.0.0:8080", "host": "catalog.local" ("" = any), "path": "/",
 *       "balance": { "policy": "ewma", "params": {} }, "shadow"?: { "policy": "ewma", "params": {} },
 *       "request": { "tags": ["header:X-Data-Affinity", "query:data_affinity_tags"], "dataset": [...], "processing": [...],
 *         "key": [] (= client), "zone": [],             the first source that a request has counts
 *         "function"?: "tidegate.lua:9" },              it says all of these, the lists are empty
 *       "sticky": { "cookie": "tidegate", "ttl_ms": 3600000 },                                              when given
 *       "max_retries": 3, "response_buffer": 16384, "backend_timeout_ms": 300000, "connect_timeout_ms": 2000,
 *       "client_timeout_ms": 60000, "at": "tidegate.lua:12", "tls"?: true (https, see below),
 *       "circuit_breaker": { "failure_threshold": 5, "recovery_timeout_ms": 60000, "success_threshold": 3, "trials": 1,
 *         "failures_on": ["connect", "timeout", "reset", "5xx"], "window_ms": 10000, "failure_rate": 0.5,
 *         "minimum_requests": 20, "explicit": true (by the route itself, not a default) },      {} = off, here and below
 *       "outlier_ejection": { "max_ejected": 50, "deviations": 1.9, "minimum_requests": 100, "window_ms": 10000,
 *         "base_time_ms": 30000, "max_time_ms": 300000 },
 *       "panic_threshold": 50, "queue": { "limit": 1000, "timeout_ms": 5000, "when_down": true (absent: for a moment) },
 *       "retry_budget": { "percent": 20, "min_per_second": 10 }, "slow_start_ms": 30000 (absent: the service's),
 *       "redirect"?, "answer"?, "maintenance"?, "path_change"?, "error_pages"? (also of "cluster"), "cors"?, "hsts"? (a text): as edge/edge.h
 *         has them, pages with their whole text,
 *       "canary"?: { "key"?: "address", "services": [ { "service": "catalog-v2", "percent": 5, "header"?, "cookie"?, "value"? } ] },
 *       "inner"?: { "service": "catalog", "place": 1, "canary": 1 } (no request finds it: the first canary of that service's first route) } ],
 *     "labelled"?: true,                             it is made of labels: backends are its containers (fleet_members)
 *     "backends": [ { "address": "10.0.0.5:9000", "weight": 2, "max_connections": 100,
 *       "capacity": 1000, "tags": ["zone:0"] } ],
 *     "protocol": "http" | "https" | "h2c" | "h2", "upstream_tls"?: { "ca"?: "/etc/ca.pem", "name"?: "shop.example", "verify": true,
 *       "certificate"?: "/etc/client.pem", "key"?: "/...", "at": "tidegate.lua:9" } (paths; the master opens them), "slow_start_ms": 0, "weight": 1, "max_connections": 100, "capacity": 1000,      of each of our own instances
 *     "anomaly": { "policy": "record", "params": {...}, "interval_ms": 15000, "incident_ms": 900000, "shadow"?: true },     {} = off
 *     "collect": { "health"?: "/health", "performance"?: "/performance", "data"?: "/data", "prometheus"?: "/metrics",
 *       "interval_ms": 15000, "timeout_ms"?: 5000, "max_body_bytes": 4194304, "max_samples": 10000 }          when given
 *   } ],
 *   "tls": [ { "listen": "0.0.0.0:8443", "at": "tidegate.lua:12",      one for each https listener: what its routes, and behind them
 *     the cluster, say together; a route on one has "tls": true. Paths only: the master alone opens them (app/certificates.h)
 *     "sources": [ { "certificate": "/etc/tidegate/shop.pem", "key": "/etc/tidegate/shop.key", "ocsp"?: "/...", "at": "tidegate.lua:13" } |
 *       { "folder": "/etc/tidegate/certs", "at" } | { "acme": "shop.example", "at" } ],                  in order: the first is shown to who names none
 *     "hosts": [ { "name": "shop.example" ("" = any), "at": "tidegate.lua:12" } ],       of its routes
 *     "client": "none" | "request" | "require", "client_ca"?: { "path": "/...", "at" }, "min_version": "1.2" | "1.3",
 *     "default"?: { "name": "shop.example" (its certificate is shown to who names an unknown one, else he is refused), "at" },
 *     "http2": true } ],
 *   "alerting": { "channels": ["ops"] (absent: all), "interval_ms": 5000, "group_by": ["alertname", "service"],
 *     "group_wait_ms": 10000, "group_interval_ms": 300000, "repeat_interval_ms": 14400000, "maintenance": true,
 *     "inhibit": [ { "source": { "alertname": "InstanceDown" }, "target": { "severity": "warning" }, "equal": ["service"] } ],
 *     "defaults": true | false | { ... },                              what was made of it is in "alerts" already
 *     "escalate"?: { "after_ms": 900000, "channels": ["boss"] }, "notify"?: { "policy": "by_severity", "params": {} },
 *     "heartbeat"?: { "url": SECRET, "interval_ms": 60000 } },
 *   "channels": [ { "name": "ops", "at": "tidegate.lua:24", "kind": "webhook" | "alertmanager" | "slack" | "pagerduty" |
 *       "email" | "ntfy" | "exec" | "log",
 *     "to": [SECRET, ...] | SECRET (pagerduty) | ["/bin/page"] (exec) | true (log) | { "to": [], "from": "", "server": "smtp://mail:25",
 *       "user"?: SECRET, "password"?: SECRET, "starttls": false, "ca": "" } (email),
 *     "url"?: SECRET (pagerduty), "headers": { "Authorization": SECRET }, "template"?: { "function": "tidegate.lua:24" },
 *     "timeout_ms": 10000, "send_resolved": true, "rate": { "per_minute": 30, "burst": 10 }, "give_up_ms": 86400000 } ],
 *       SECRET is { "text": "..." } | { "env": "NAME" } | { "file": "/path" }: read by who sends, when it sends
 *   "alerts": [ { "name": "HighErrorRate", "at": "tidegate.lua:25",           the shipped ones (policies/alerts.lua) come last
 *     "when": { "metric_path": "performance.error_rate", "operator": ">", "threshold": 0.05, "clear"?: 0.02 } |
 *       { "function": "tidegate.lua:25" } | { "policy": "burn_rate", "params": {} },
 *     "scope": "service" | "instance" | "tidegate", "services": [] (= all), "severity": "warning", "message": "",
 *     "labels": {}, "annotations": {}, "channels"?: ["ops"], "duration_ms": 0, "keep_firing_for_ms": 0,
 *     "missing": "keep" | "ok" | "alert", "cooldown_ms": 300000, "flap": { "changes": 6, "window_ms": 600000 } ({} = off),
 *     "escalate"?: { "after_ms": 900000, "channels": ["boss"] }, "shadow"?: true } ],
 *   "policies": [ { "kind": "balance", "name": "least_connections",
 *                   "origin": "policies/balance/least_connections.lua", "source": "return {...}",
 *                   "needs": ["key"] } ],              fields that it reads and are not always there; absent: all
 *   "libraries": [ { "name": "lib.stats", "origin": "...", "source": "..." } ],
 *   "labels"?: { "files": "3f2a9c01d2e4b6a8" (hash of the files, policies excepted),       with cluster.labels
 *     "sets": [ { "set": "9c01..." as it was given, "service"?: "web" (that its containers serve), "wanted"?: "web" (that they would),
 *       "port"?: 8080, "network"?: "shop_default", "weight": 1, "max_connections": 100, "capacity": 1000, "tags": [],
 *       "verdicts": [ { "label": "tidegate.route.host", "value"?: "shop.example", "verdict": "used" | "wrong" | "unused",
 *         "text": "route.host = \"shop.example\"" } ] } ] },
 *   "program": { "main": "tidegate.lua", "sources": { "tidegate.lua": "..." }, "answers": { "HOME": "/root" } (of env),
 *     "lists": { "more/x*.lua": ["more/x1.lua"] } (of include), "pack": "policies/alerts.lua" } }    only when it has functions
 *                                           (of routes, alerts, channels) that other processes need
 * Members of objects are sorted by name, so that equal parts have equal text.
 */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct record_field;

/* ---- Configuration ----------------------------------------------------------------------- */

/* Reads the configuration file and the policies that it names (from `policies/` beside it, then the
 * shipped ones), validates everything and runs every policy's examples.
 * `overrides` may be NULL or {"engine":"process"} and the like: keys of `cluster` that win.
 * 0: *ret_config is the object above, the caller owns it (json_free); *ret_warnings (may be "") is owned too.
 * -EINVAL: *reterr holds all errors found, one "file:line: what: what to do" a line (mem_free).
 * -ENOENT and other -errno: the file could not be read; *reterr says so. */
int script_load(const char *path, const struct cJSON *overrides, struct cJSON **ret_config,
                char **ret_warnings, char **reterr);

/* The same with services of labelled containers: an array of sets of labels in the order in which they count,
 * [{"set":"9c01...","container":"shop-web-1","service":"web" (unless a label says so),"labels":{"tidegate.port":"80"}}], without
 * effect where the cluster has no "labels". What is wrong in them is in "labels" of the result and no error. */
int script_load_labelled(const char *path, const struct cJSON *overrides,
                         const struct cJSON *labelled, struct cJSON **ret_config,
                         char **ret_warnings, char **reterr);
/* The same of a configuration that stands in no file: `source` in place of what `path` holds, which need not
 * exist; policies are looked for beside it. */
int script_load_text(const char *path, const char *source, struct cJSON **ret_config,
                     char **reterr);

/* A shipped file's source by "balance/round_robin" or "meta", or NULL. Static storage. */
const char *script_shipped(const char *name, size_t *ret_len);

/* ---- Cold decisions ----------------------------------------------------------------------- */

struct script_cold;

/* Builds the state of a loaded configuration; -EINVAL with a sentence. `config` is borrowed. */
int script_cold_new(const struct cJSON *config, struct script_cold **ret_cold, char **reterr);
/* The same with what its policies kept: {KEY: SAVED} as script_cold_save gave it, of other uses too (borrowed). A state of
 * another version is given to the policy's migrate; -EINVAL also when that raises or gives what is no plain data. */
int script_cold_go_on(const struct cJSON *config, const struct cJSON *learned,
                      struct script_cold **ret_cold, char **reterr);
/* What policies keep, in portions of at most `most` from *at on (begin with 0), or NULL behind the last. What is no plain
 * data is logged with its place and left out. The caller owns it. Keys are "scale:POLICY|SERVICE|",
 * "alert:POLICY|ALERT|" and "notify:POLICY||". */
struct cJSON *script_cold_save(struct script_cold *cold, size_t *at, size_t most);
void script_cold_free(struct script_cold *cold);
/* Bytes that its state holds when garbage is thrown away, which this does. */
size_t script_cold_bytes(struct script_cold *cold);
/* Answers a snapshot (fleet.h) with decisions (fleet.h); the caller owns the result. Never fails: a
 * service whose policy raised, overran its budget or answered nonsense gets {"error": "file:line: ...",
 * "input": "instances 3, cpu_percent 91.5", "quarantined"?: true (it was not asked)}. */
struct cJSON *script_cold_decide(struct script_cold *cold, const struct cJSON *snapshot);

/* The same for one service, without JSON: its view is a record (base/record.h). Borrowed. */
struct script_view {
    const char *service;
    const struct record_field *fields; /* the same ones for all calls */
    size_t field_count;
    const void *record;
};

struct script_decision { /* texts are lent until the next decision */
    const char *policy, *origin;
    const char *reason, *error; /* error NULL: none, else there is no reason */
    bool quarantined;           /* it was not asked: `error` says why */
    const char *part;           /* a policy among its parameters that raised ... */
    const char *part_error;     /* ... this, and did not keep the others; NULL: none */
    bool opinion;               /* `want` counts */
    double want;
};

/* -ENOENT: no policy scales that service. */
int script_cold_answer(struct script_cold *cold, const struct script_view *view,
                       struct script_decision *ret_decision);
/* As script_cold_new, with the JIT on: for simulations in a process of their own, since it takes the process-wide
 * parts as script_hot_live does, and a call ends 10 to 24 ms after it began to loop. */
int script_cold_new_live(const struct cJSON *config, struct script_cold **ret_cold, char **reterr);
/* A policy that is not to be asked any more: {"point":"scale" | "alert" | "notify" | "template", "of": the service,
 * alert or channel, "error"}. Its service holds, its alert gets no result, messages go where the alerts say and in
 * our words. Other points are none of ours. */
void script_cold_quarantine(struct script_cold *cold, const struct cJSON *said);
/* Asks the alerts whose `when` is a function or a policy about a moment's views (watch):
 * {"views":{"services":{NAME:{view...,"instances":{ID:view}}},"tidegate":{...}}} ->
 * {"rules":{ALERT:{SUBJECT:{"firing":true,"value"?:0.7,"message"?:"..."} | {"missing":true} | {"error":"file:line: ...","input","policy"}}}}
 * A SUBJECT is "catalog", "catalog/catalog-7" or "tidegate". Numbers that a view does not have read as NaN; a rule
 * that read one and did not fire is "missing". Never fails; the caller owns the result. */
struct cJSON *script_cold_evaluate(struct script_cold *cold, const struct cJSON *question);
/* Who hears of a group of alerts, and in which words: {"id":7,"about":{"status","alerts":[...],"commonLabels",
 * "channels":["ops"],...}} -> {"id":7,"send":[{"channel":"ops","text"?:"what the template made"}],"errors":[{"point":"notify" |
 * "template","of":the channel or "","policy","error":"file:line: ...","input"}],
 * "shadow"?:{"policy","channels":["ops"],"same":true (as where it goes) | "error":"file:line: ..."}}
 * Without a notify policy, when it fails, and with "fixed":true in the question, they are the channels named. Never fails; the caller owns the result. */
struct cJSON *script_cold_notify(struct script_cold *cold, const struct cJSON *question);

/* What generation `now` would have decided otherwise than `was`, on the last views of each service: `recent` is {"services":
 * {NAME:[view, ...]},"question"?: as script_cold_evaluate takes it}. Policies of both go on from `learned` (may be NULL). All
 * borrowed; the caller owns the result:
 * {"views":20 (most of a service),"partial":false (true: it took 2 s and ended there),
 *  "services":[{"service","was":"threshold","now":"queue" (policies),"views":20,"differ":7,
 *   "last":{"desired":4,"was":{"want":4,"reason"|"error"},"now":{...}}}],        the last that differs, held to its bounds
 *  "alerts":[{"alert","subject","was":true,"now":false,"error"?}]}            rules that are functions or policies */
struct cJSON *script_compare(const struct cJSON *was, const struct cJSON *now,
                             const struct cJSON *learned, const struct cJSON *recent);

/* ---- Anomalies ---------------------------------------------------------------------------- */

/* The detectors of all services that have `anomaly`: one learning state for each series, which is a metric of
 * the policy in a service or in one of its instances. A state exists from its series' first figure on; that of
 * an instance that no view had for an hour is forgotten. */
struct script_anomaly;

/* Builds the policies of a loaded configuration; -EINVAL with a sentence. `config` is borrowed. */
int script_anomaly_new(const struct cJSON *config, struct script_anomaly **ret_anomaly,
                       char **reterr);
void script_anomaly_free(struct script_anomaly *anomaly);
/* Takes the metrics views of a moment: {"wall_ms", "views":{"services":{NAME:{view,"instances":{ID:view}}}},
 * "suppressed":[NAME]}. A series gets a point when its view is newer ("at_ms") and `interval_ms` after the last
 * one; absent figures are no points; suppressed services neither learn nor tell. The caller owns the result:
 * {"anomalies":[{"service","instance"?,"metric","score","severity":"medium"|"high","value","type","description",
 *   "policy","shadow"?:true,"incident":"catalog@2026-01-31T12:00:00.000Z"}],
 *  "errors":[{"service","metric"?,"policy","error":"file:line: ...","input","limit"?:true (a bound of ours, not its
 *   fault)}]}
 * Anomalies of a service belong to one incident until `incident_ms` went by without any; the third service within
 * that time joins the incident of the first. What goes wrong in one series or policy touches no other. */
struct cJSON *script_anomaly_feed(struct script_anomaly *anomaly, const struct cJSON *request);
/* As script_cold_quarantine; "anomaly" of a service is ours: it neither learns nor tells. */
void script_anomaly_quarantine(struct script_anomaly *anomaly, const struct cJSON *said);
/* What was learned, in portions: {KEY: text or JSON} of at most `most` series from *at on (begin with 0), or NULL
 * behind the last. The caller owns it. Keys name policy, service, instance and metric. */
struct cJSON *script_anomaly_save(struct script_anomaly *anomaly, size_t *at, size_t most);
/* Takes up what was saved, before the first feed; what fits no series, or is of another version, is learned anew.
 * `series` is borrowed. */
void script_anomaly_restore(struct script_anomaly *anomaly, const struct cJSON *series);

/* One series alone, for replaying it: the policy NAME for the metric "value", as `config` (may be NULL or the path of
 * a configuration) has it for the first service that uses it, else with its defaults. `policy` NULL: "record", or
 * what the first service uses. -EINVAL with a sentence. */
struct script_replay;
int script_replay_new(const char *policy, const char *config, struct script_replay **ret_replay,
                      char **reterr);
void script_replay_free(struct script_replay *replay);
/* *ret_score of a point, 1 or more is an alarm; NaN values give 0. -EINVAL with a sentence. */
int script_replay_push(struct script_replay *replay, double at_s, double value, double *ret_score,
                       char **reterr);

/* The LuaJIT that is loaded: "LuaJIT 2.1.0-beta3". */
void script_lua_version(char *to, size_t size);

/* ---- Hot picks ---------------------------------------------------------------------------- */

/* One backend as a balance policy sees it: only scalars, so that a const reference is safe.
 * C fills it before each pick. policies/meta.lua describes the same fields. */
struct script_backend {
    double in_flight; /* over all workers */
    double weight;    /* slow start included */
    double max_connections;
    double capacity;         /* requests/s */
    double response_ms;      /* decayed response time, 0 = unknown */
    double error_rate;       /* 0..1, decayed; 0 = none known */
    double age_s;            /* since it joined */
    double response_mean_ms; /* mean of the last 100, as the seed has it; 0 = unknown */
    double ramp;             /* slow start: the part that `weight` is of the configured one, 0..1 */
    uint32_t tags;           /* bit set of its tags: those that most backends of the service have */
    uint32_t hash;           /* stable over restarts and reloads: of its id */
    int32_t zone;            /* hash of its zone, 0 = none */
    int32_t circuit;         /* 0 closed, 1 half-open, 2 open */
    int32_t eligible; /* 0: do not pick (draining, unhealthy, full, circuit, already tried) */
    int32_t index;    /* 1..n, its own place */
};

/* What a policy may know of the request. Numbers only; strings are interned when the roster comes. */
struct script_request {
    double now_ms;    /* monotonic */
    double in_flight; /* of all eligible backends together */
    uint32_t changes; /* another number whenever an eligible or a weight of the rows is another */
    uint32_t hash;    /* chance of this request, uniform */
    uint32_t key;     /* hash of the client address */
    uint32_t tags;    /* bit set of the tags asked for (data_affinity_tags), as in script_backend */
    uint32_t dataset; /* hash of the dataset_id, 0 = none */
    uint32_t processing; /* hash of the processing_type, 0 = none */
    uint32_t path;       /* hash of the path */
    uint32_t implied;    /* bits of the tags dataset:<id> and processing:<type>, where known */
    int32_t data;        /* 1 when it came with any tag, data set or processing type */
    int32_t tag_count;   /* tags asked for, known here or not */
    int32_t zone;        /* hash of the zone of the request, else of this tidegate; 0 = none */
    int32_t sticky;      /* index of the backend that a session cookie names, 0 = none */
    int32_t method;      /* enum http1_method */
    int32_t attempt;     /* 0 first, then 1, 2 for retries */
};

struct script_hot;
struct script_picker;

/* A worker's state for one generation; -EINVAL with a sentence. `config` is borrowed.
 * `heartbeat` (may be NULL) is made odd while Lua runs. Only one may be "live" at a time (script_hot_live). */
int script_hot_new(const struct cJSON *config, uint64_t *heartbeat, struct script_hot **ret_hot,
                   char **reterr);
/* Frees it with all its pickers. */
void script_hot_free(struct script_hot *hot);
/* This generation takes over the process-wide parts (JIT, interruption); the one before is passive. */
void script_hot_live(struct script_hot *hot);

/* A picker: policy + params of one route over `capacity` rows at `rows`, which the caller keeps at this
 * address for the picker's life. -EINVAL. */
int script_picker_new(struct script_hot *hot, const char *policy, const struct cJSON *params,
                      struct script_backend *rows, uint32_t capacity,
                      struct script_picker **ret_picker, char **reterr);
void script_picker_free(struct script_picker *picker);
/* The roster changed: the first `count` rows are in use now. */
void script_picker_resize(struct script_picker *picker, uint32_t count);
/* Picks a row: index 0 .. count-1 of an eligible row; -ENOENT: the policy wants none;
 * -EIO: it failed (script_picker_error), the caller falls back. Allocates nothing in C. */
int script_pick(struct script_picker *picker, const struct script_request *request);
/* What the policy's `score` says of each row in use, for people who ask; NaN: no number. Not for the
 * way of a request; the turns of equal rows stay as they are. `ret_scores` has room for all rows.
 * -ENOTSUP: the policy decides by a loop of its own; -EIO: it failed (script_picker_error). */
int script_picker_scores(struct script_picker *picker, const struct script_request *request,
                         double *ret_scores);
/* Whether its picks run as machine code: to be asked when there were some thousand, and not for each. What
 * LuaJIT gives up stays interpreted, which takes some ten times as long. */
bool script_picker_compiled(struct script_picker *picker);
/* "policies/balance/x.lua:3": where its function stands. Lends. */
const char *script_picker_origin(const struct script_picker *picker);
/* "policies/balance/x.lua:12: ..." of the last failure. Lends. */
const char *script_picker_error(const struct script_picker *picker);

/* ---- What a route's `request` function says of a request ----------------------------------- */

struct script_text { /* borrowed bytes */
    const char *ptr;
    size_t len;
};

/* A request as the function sees it; lent for the call. */
struct script_head {
    struct script_text method, host, path, query, client;
    struct script_text subject; /* of the client's verified certificate; empty: it has none */
    const void *of;             /* what `field` gets */
    /* The first header field of that name in any case; false: none. Does not call Lua. */
    bool (*field)(const void *of, const char *name, size_t len, struct script_text *ret_value);
};

/* What it answered; empty: nothing. Lent until the next call into this hot state. */
struct script_data {
    struct script_text dataset, tags /* with commas between */, processing, key, zone;
};

struct script_reader;

/* The function of the `route`-th route (from 1) of a service. The configuration's "program" is run for
 * that, once for each hot state. -EINVAL with a sentence. */
int script_reader_new(struct script_hot *hot, const char *service, uint32_t route,
                      struct script_reader **ret_reader, char **reterr);
void script_reader_free(struct script_reader *reader); /* NULL is allowed */
/* Asks it, inside the limits of a pick; -EIO: it failed (script_reader_error), *ret_data is untouched. */
int script_read(struct script_reader *reader, const struct script_head *head,
                struct script_data *ret_data);
/* "tidegate.lua:12: ..." of the last failure. Lends. */
const char *script_reader_error(const struct script_reader *reader);

#endif
