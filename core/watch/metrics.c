/* metrics.c: what the page tells of the daemon, its workers, services and backends. Each family is a line
 * of a table here: which number it is. What it is called stands in catalog.c. */
#include "watch/watch.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "board/circuit.h"
#include "store/store.h"
#include "watch/alerts.h"
#include "watch/families.h"

enum {
    CONTAINER_DIGITS = 12
};

static void add_as(struct families *f, enum family family, const struct labels *base,
                   const char *name, const char *value, double number)
{
    struct labels labels;
    labels_begin(&labels);
    if (base) {
        labels.len = base->len;
        labels.count = base->count;
        memcpy(labels.text, base->text, base->len);
    }
    labels_add(&labels, name, value);
    families_add(f, family, &labels, number);
}

static double whole(const void *row, size_t offset)
{
    return (double)board_get((const uint64_t *)(const void *)((const char *)row + offset));
}

/* ---- Backends ---------------------------------------------------------------------------- */

static void durations(struct families *f, struct board *board, unsigned slot,
                      const struct labels *labels, const struct board_sum *sum)
{
    const struct family_bound *bounds = family_kind(FAMILY_BACKEND_REQUEST_DURATION)->bounds;
    uint64_t buckets[BOARD_BUCKETS] = {0}, counts[FAMILY_BUCKETS] = {0};
    unsigned to = 0;
    board_histogram(board, slot, buckets);
    for (unsigned b = 0; b < BOARD_BUCKETS; b++) {
        /* A bucket counts below a bound when its middle does; the last one has none. */
        double floor_us = (double)board_bucket_floor_us(b);
        double middle_us = b + 1 < BOARD_BUCKETS
                               ? (floor_us + (double)board_bucket_floor_us(b + 1)) / 2
                               : INFINITY;
        while (bounds[to].text && middle_us > bounds[to].value * 1e6) {
            to++;
        }
        counts[to] += buckets[b];
    }
    families_histogram(f, FAMILY_BACKEND_REQUEST_DURATION, labels, counts,
                       (double)sum->latency_us_sum / 1e6);
}

static void backend(struct families *f, struct board *board, unsigned slot,
                    const struct labels *labels)
{
    static const char *const OUTCOMES[BOARD_OUTCOMES] = {
        [BOARD_NO_ANSWER] = "none", [BOARD_1XX] = "1xx", [BOARD_2XX] = "2xx",
        [BOARD_3XX] = "3xx",        [BOARD_4XX] = "4xx", [BOARD_5XX] = "5xx",
    };
    static const struct {
        enum family family;
        size_t offset;
    } SUMS[] = {
        {FAMILY_BACKEND_IN_FLIGHT, offsetof(struct board_sum, in_flight)},
        {FAMILY_BACKEND_IDLE_CONNECTIONS, offsetof(struct board_sum, pooled)},
        {FAMILY_BACKEND_RETRIES, offsetof(struct board_sum, retries)},
        {FAMILY_BACKEND_RECEIVED_BYTES, offsetof(struct board_sum, bytes_in)},
        {FAMILY_BACKEND_SENT_BYTES, offsetof(struct board_sum, bytes_out)},
    };
    struct board_sum sum;
    board_sum(board, slot, &sum);
    for (unsigned o = 0; o < BOARD_OUTCOMES; o++) {
        add_as(f, FAMILY_BACKEND_REQUESTS, labels, "code", OUTCOMES[o], (double)sum.outcomes[o]);
    }
    for (size_t i = 0; i < sizeof SUMS / sizeof *SUMS; i++) {
        families_add(f, SUMS[i].family, labels, whole(&sum, SUMS[i].offset));
    }
    const struct board_circuit *circuit = board_circuit(board, slot);
    families_add(f, FAMILY_CIRCUIT_STATE, labels, board_circuit_state(circuit));
    families_add(f, FAMILY_CIRCUIT_OPENED, labels, (double)board_get(&circuit->opened));
    families_add(f, FAMILY_BACKEND_EJECTIONS, labels, (double)board_get(&circuit->ejected));
    durations(f, board, slot, labels, &sum);
}

/* What the engine calls it: of a container's id the part that is shown, of anything else the instance. */
static void container_of(const struct cJSON *instance, char to[LIMIT_NAME_BYTES + 1])
{
    const char *id = json_str(instance, "engine_id", "");
    bool container = strspn(id, "0123456789abcdef") == 64 && !id[64];
    snprintf(to, LIMIT_NAME_BYTES + 1, "%.*s", container ? CONTAINER_DIGITS : LIMIT_NAME_BYTES,
             container ? id : json_str(instance, "id", "?"));
}

static void usage(struct families *f, const char *service, const struct cJSON *instance)
{
    char container[LIMIT_NAME_BYTES + 1];
    struct labels labels;
    container_of(instance, container);
    labels_begin(&labels);
    labels_add(&labels, "service_name", service);
    labels_add(&labels, "container_id", container);
    families_add(f, FAMILY_DATA_SERVICE_CPU_USAGE, &labels, json_num(instance, "cpu_percent", NAN));
    families_add(f, FAMILY_DATA_SERVICE_MEMORY_USAGE, &labels,
                 json_num(instance, "memory_bytes", NAN));
}

void watch_instance(struct families *f, struct board *board, const char *service,
                    const struct cJSON *instance)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "service", service);
    labels_add(&labels, "backend", json_str(instance, "id", "?"));
    int64_t slot = json_int(instance, "slot", -1);
    if (slot >= 0 && slot < LIMIT_BACKENDS) {
        backend(f, board, (unsigned)slot, &labels);
    }
    usage(f, service, instance);
}

/* ---- Services ---------------------------------------------------------------------------- */

static void states(struct families *f, const struct cJSON *service, const struct labels *labels)
{
    static const char *const STATES[] = {"new",  "creating", "starting", "waiting",  "up",
                                         "down", "failed",   "draining", "stopping", "removing"};
    enum {
        COUNT = sizeof STATES / sizeof *STATES
    };
    double counts[COUNT] = {0};
    for (const struct cJSON *i = json_first(json_get(service, "instances")); i; i = json_next(i)) {
        const char *state = json_str(i, "state", "");
        unsigned s = 0;
        while (s < COUNT && strcmp(STATES[s], state) != 0) {
            s++;
        }
        if (s < COUNT) {
            counts[s]++;
        } else {
            add_as(f, FAMILY_INSTANCES, labels, "state", "other", 1);
        }
    }
    for (unsigned s = 0; s < COUNT; s++) {
        add_as(f, FAMILY_INSTANCES, labels, "state", STATES[s], counts[s]);
    }
}

static void add_shadow(struct families *f, const char *service, const struct cJSON *x)
{
    const char *name = json_str(x, "name", "?");
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "service", service);
    labels_add(&labels, "policy", name);
    families_add(f, FAMILY_SHADOW_INSTANCES, &labels, json_num(x, "would", NAN));
    const struct watch_shadow shadow = {
        .point = "scale",
        .of = service,
        .route = "",
        .policy = name,
        .answers = (uint64_t)json_int(x, "asked", 0),
        .differences = (uint64_t)json_int(x, "differed", 0),
        .errors = (uint64_t)json_int(x, "errors", 0),
    };
    watch_shadow(f, &shadow);
}

void watch_shadow(struct families *f, const struct watch_shadow *shadow)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "point", shadow->point);
    labels_add(&labels, "of", shadow->of);
    labels_add(&labels, "route", shadow->route);
    labels_add(&labels, "policy", shadow->policy);
    families_add(f, FAMILY_SHADOW_ANSWERS, &labels, (double)shadow->answers);
    families_add(f, FAMILY_SHADOW_DIFFERENCES, &labels, (double)shadow->differences);
    families_add(f, FAMILY_SHADOW_ERRORS, &labels, (double)shadow->errors);
}

void watch_service(struct families *f, const struct cJSON *service)
{
    static const struct {
        enum family family;
        const char *path;
        double factor;
    } NUMBERS[] = {
        {FAMILY_INSTANCES_DESIRED, "desired", 1},
        {FAMILY_INSTANCES_RECOMMENDED, "recommended", 1},
        {FAMILY_INSTANCES_MIN, "min", 1},
        {FAMILY_INSTANCES_MAX, "max", 1},
        {FAMILY_SERVICE_GENERATION, "generation", 1},
        {FAMILY_SERVICE_QUEUE_LENGTH, "traffic.queue", 1},
        {FAMILY_SERVICE_HELD, "zero.held", 1},
        {FAMILY_SERVICE_WAKES, "zero.wakes", 1},
        {FAMILY_SERVICE_CPU, "resources.cpu_percent", 0.01},
        {FAMILY_SERVICE_MEMORY, "resources.memory_percent", 0.01},
    };
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "service", json_str(service, "name", "?"));
    states(f, service, &labels);
    const struct cJSON *shadow = json_first(json_get(service, "shadows"));
    for (; shadow; shadow = json_next(shadow)) {
        add_shadow(f, json_str(service, "name", "?"), shadow);
    }
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        double value = json_value_num(json_path(service, NUMBERS[i].path), NAN);
        families_add(f, NUMBERS[i].family, &labels, value * NUMBERS[i].factor);
    }
}

void watch_collected(struct families *f, const struct watch_target *t)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "service", t->service);
    labels_add(&labels, "instance", t->instance);
    labels_add(&labels, "endpoint", t->endpoint);
    families_add(f, FAMILY_COLLECT_FAILURES, &labels, (double)t->failures);
    if (t->tried) {
        families_add(f, FAMILY_COLLECT_UP, &labels, t->up);
        families_add(f, FAMILY_COLLECT_DURATION, &labels, t->took_s);
        families_add(f, FAMILY_COLLECT_SAMPLES, &labels, (double)t->samples);
    }
}

/* ---- Workers ----------------------------------------------------------------------------- */

static void floods(struct families *f, const struct board_worker *worker, const char *number)
{
    static const char *const REASONS[BOARD_H2_FLOODS] = {
        "resets",     "settings", "pings",         "empty_frames",
        "priorities", "windows",  "continuations", "headers",
    };
    for (int i = 0; i < BOARD_H2_FLOODS; i++) {
        struct labels labels;
        labels_begin(&labels);
        labels_add(&labels, "worker", number);
        labels_add(&labels, "reason", REASONS[i]);
        families_add(f, FAMILY_HTTP2_FLOODS, &labels, (double)board_get(&worker->h2_floods[i]));
    }
}

static void workers(struct families *f, struct board *board)
{
    static const struct {
        enum family family;
        size_t offset;
        double factor;
    } NUMBERS[] = {
        {FAMILY_CONNECTIONS, offsetof(struct board_worker, connections), 1},
        {FAMILY_CONNECTIONS_ACCEPTED, offsetof(struct board_worker, accepted), 1},
        {FAMILY_REQUESTS_NO_ROUTE, offsetof(struct board_worker, no_route), 1},
        {FAMILY_REQUESTS_NO_BACKEND, offsetof(struct board_worker, no_backend), 1},
        {FAMILY_REQUESTS_BAD, offsetof(struct board_worker, bad_requests), 1},
        {FAMILY_REQUESTS_ABORTED, offsetof(struct board_worker, aborted), 1},
        {FAMILY_QUEUE_LENGTH, offsetof(struct board_worker, queued), 1},
        {FAMILY_REQUESTS_QUEUED, offsetof(struct board_worker, queued_total), 1},
        {FAMILY_QUEUE_REFUSED, offsetof(struct board_worker, queue_refused), 1},
        {FAMILY_RETRIES_DENIED, offsetof(struct board_worker, retries_denied), 1},
        {FAMILY_CIRCUIT_PANICS, offsetof(struct board_worker, panics), 1},
        {FAMILY_EXHAUSTED, offsetof(struct board_worker, exhausted), 1},
        {FAMILY_ACCESS_LOG_LOST, offsetof(struct board_worker, access_lost), 1},
        {FAMILY_RATE_LIMITED, offsetof(struct board_worker, rate_limited), 1},
        {FAMILY_AUTH_FAILED, offsetof(struct board_worker, auth_failed), 1},
        {FAMILY_AUTH_ERRORS, offsetof(struct board_worker, auth_errors), 1},
        {FAMILY_HTTP2_CONNECTIONS, offsetof(struct board_worker, h2_connections), 1},
        {FAMILY_HTTP2_REQUESTS, offsetof(struct board_worker, h2_streams), 1},
        {FAMILY_TLS_HANDSHAKES, offsetof(struct board_worker, handshakes), 1},
        {FAMILY_TLS_RESUMED, offsetof(struct board_worker, handshakes_resumed), 1},
        {FAMILY_TLS_FAILED, offsetof(struct board_worker, handshakes_failed), 1},
        {FAMILY_PLAIN_ON_TLS_PORT, offsetof(struct board_worker, not_tls), 1},
        {FAMILY_TLS_ON_PLAIN_PORT, offsetof(struct board_worker, tls_on_plain), 1},
        {FAMILY_MIRRORED, offsetof(struct board_worker, mirrored), 1},
        {FAMILY_MIRROR_DROPPED, offsetof(struct board_worker, mirror_dropped), 1},
        {FAMILY_PICKS, offsetof(struct board_worker, picks), 1},
        {FAMILY_PICK_SECONDS, offsetof(struct board_worker, pick_ns_sum), 1e-9},
        {FAMILY_BALANCE_ERRORS, offsetof(struct board_worker, policy_errors), 1},
        {FAMILY_BALANCE_INTERPRETED, offsetof(struct board_worker, interpreted), 1},
        {FAMILY_REQUEST_FUNCTION_ERRORS, offsetof(struct board_worker, reader_errors), 1},
    };
    for (unsigned w = 0; w < board_workers(board); w++) {
        char number[16]; /* of LIMIT_WORKERS */
        struct labels labels;
        snprintf(number, sizeof number, "%u", w);
        labels_begin(&labels);
        labels_add(&labels, "worker", number);
        for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
            double value = whole(board_worker(board, w), NUMBERS[i].offset);
            families_add(f, NUMBERS[i].family, &labels, value * NUMBERS[i].factor);
        }
        floods(f, board_worker(board, w), number);
    }
}

/* ---- The daemon itself ------------------------------------------------------------------- */

static double resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%*u %llu", &pages) != 1) {
        pages = 0;
    }
    if (file) {
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_descriptors(void)
{
    double count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) {
        count++;
    }
    if (dir) {
        closedir(dir);
    }
    return count > 3 ? count - 3 : 0; /* without ".", ".." and the one that lists */
}

static double most_descriptors(void)
{
    struct rlimit files;
    bool known = !getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur != RLIM_INFINITY;
    return known ? (double)files.rlim_cur : NAN;
}

static void single(struct families *f, const struct watch_counters *c, bool engine_up)
{
    uint64_t now_ms = clock_wall_ms();
    bool sane = now_ms > c->started_wall_ms;
    const struct {
        enum family family;
        double value;
    } NUMBERS[] = {
        {FAMILY_UPTIME, sane ? (double)(now_ms - c->started_wall_ms) / 1000 : 0},
        {FAMILY_GENERATION, c->generation},
        {FAMILY_RELOAD_LAST_SUCCESS, (double)c->reloaded_wall_ms / 1000},
        {FAMILY_POLICY_ERRORS, (double)c->policy_errors},
        {FAMILY_WORKER_DEATHS, (double)c->worker_deaths},
        {FAMILY_POLICY_DEATHS, (double)c->policy_deaths},
        {FAMILY_ENGINE_UP, engine_up},
        {FAMILY_ENGINE_OUTAGES, (double)c->engine_outages},
        {FAMILY_LOOP_LAG_MAX, (double)c->loop_lag_us_max / 1e6},
        {FAMILY_PROCESS_CPU, (double)clock_cpu_us() / 1e6},
        {FAMILY_PROCESS_MEMORY, resident_bytes()},
        {FAMILY_PROCESS_FDS, open_descriptors()},
        {FAMILY_PROCESS_MAX_FDS, most_descriptors()},
        {FAMILY_PROCESS_START, (double)c->started_wall_ms / 1000},
    };
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        families_add(f, NUMBERS[i].family, NULL, NUMBERS[i].value);
    }
}

static void labelled(struct families *f, const struct watch_counters *c)
{
    char hash[17];
    uint64_t acted = c->decisions_up + c->decisions_down + c->decisions_held;
    uint64_t unchanged = c->decisions > acted ? c->decisions - acted : 0;
    hash_hex(c->config_hash, hash);
    const struct {
        enum family family;
        const char *label, *value;
        double number;
    } NUMBERS[] = {
        {FAMILY_BUILD_INFO, "version", TIDEGATE_VERSION, 1},
        {FAMILY_CONFIG_INFO, "hash", hash, 1},
        {FAMILY_RELOADS, "result", "ok", (double)c->reloads_ok},
        {FAMILY_RELOADS, "result", "refused", (double)c->reloads_failed},
        {FAMILY_SPANS, "result", "exported", (double)c->spans_exported},
        {FAMILY_SPANS, "result", "failed", (double)c->spans_failed},
        {FAMILY_SPANS, "result", "dropped", (double)c->spans_dropped},
        {FAMILY_ACME_RENEWALS, "result", "ok", (double)c->renewals_ok},
        {FAMILY_ACME_RENEWALS, "result", "failed", (double)c->renewals_failed},
        {FAMILY_ANOMALIES, "severity", "high", (double)c->anomalies_high},
        {FAMILY_ANOMALIES, "severity", "medium", (double)c->anomalies_medium},
        {FAMILY_DECISIONS, "action", "scale_up", (double)c->decisions_up},
        {FAMILY_DECISIONS, "action", "scale_down", (double)c->decisions_down},
        {FAMILY_DECISIONS, "action", "hold", (double)c->decisions_held},
        {FAMILY_DECISIONS, "action", "no_change", (double)unchanged},
    };
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        add_as(f, NUMBERS[i].family, NULL, NUMBERS[i].label, NUMBERS[i].value, NUMBERS[i].number);
    }
    for (size_t i = 0; i < WATCH_EVENTS && c->events[i].kind; i++) {
        add_as(f, FAMILY_EVENTS, NULL, "kind", c->events[i].kind, (double)c->events[i].count);
    }
}

void watch_engine_calls(struct families *f, const char *call, uint64_t succeeded, uint64_t failed)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "call", call);
    add_as(f, FAMILY_ENGINE_CALLS, &labels, "result", "ok", (double)succeeded);
    add_as(f, FAMILY_ENGINE_CALLS, &labels, "result", "failed", (double)failed);
}

void watch_alerts(struct families *f, const struct alerts_figures *figures)
{
    for (unsigned state = ALERTS_PENDING; state < ALERTS_STATES; state++) {
        for (unsigned severity = 0; severity < ALERTS_SEVERITIES; severity++) {
            struct labels labels;
            labels_begin(&labels);
            labels_add(&labels, "state", alerts_state_name((enum alerts_state)state));
            labels_add(&labels, "severity", alerts_severity_name((enum alerts_severity)severity));
            families_add(f, FAMILY_ALERTS, &labels, (double)figures->count[state][severity]);
        }
    }
    add_as(f, FAMILY_ALERTS_MUTED, NULL, "by", "silence", (double)figures->silenced);
    add_as(f, FAMILY_ALERTS_MUTED, NULL, "by", "shadow", (double)figures->shadows);
    add_as(f, FAMILY_ALERTS_MUTED, NULL, "by", "inhibition", (double)figures->inhibited);
    add_as(f, FAMILY_ALERTS_MUTED, NULL, "by", "acknowledgement", (double)figures->acknowledged);
    families_add(f, FAMILY_ALERT_RULES, NULL, (double)figures->rules);
    families_add(f, FAMILY_ALERT_SILENCES, NULL, (double)figures->silences);
    families_add(f, FAMILY_ALERT_EVALUATIONS, NULL, (double)figures->evaluations);
    families_add(f, FAMILY_ALERT_ERRORS, NULL, (double)figures->policy_errors);
    families_add(f, FAMILY_ALERT_MESSAGES, NULL, (double)figures->notifications);
}

void watch_fault(struct families *f, const struct watch_fault *fault)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "point", fault->point);
    labels_add(&labels, "of", fault->of);
    labels_add(&labels, "route", fault->route);
    families_add(f, FAMILY_POLICY_FAULTS, &labels, (double)fault->errors);
    families_add(f, FAMILY_POLICY_QUARANTINED, &labels, fault->quarantined);
}

void watch_channel(struct families *f, const struct watch_channel *c)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "channel", c->channel);
    add_as(f, FAMILY_NOTIFICATIONS, &labels, "result", "sent", (double)c->sent);
    add_as(f, FAMILY_NOTIFICATIONS, &labels, "result", "failed", (double)c->failed);
    add_as(f, FAMILY_NOTIFICATIONS, &labels, "result", "retried", (double)c->retried);
    add_as(f, FAMILY_NOTIFICATIONS, &labels, "result", "dropped", (double)c->dropped);
    families_add(f, FAMILY_NOTIFICATIONS_WAITING, &labels, (double)c->waiting);
}

void watch_certificate(struct families *f, const char *name, const char *file, double not_after_s)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "name", name);
    labels_add(&labels, "file", file);
    families_add(f, FAMILY_CERTIFICATE_NOT_AFTER, &labels, not_after_s);
}

void watch_store(struct families *f, const struct store_figures *figures)
{
    add_as(f, FAMILY_STORE_LOST, NULL, "kind", "sample", (double)figures->samples_lost);
    add_as(f, FAMILY_STORE_LOST, NULL, "kind", "event", (double)figures->events_lost);
    families_add(f, FAMILY_STORE_ERRORS, NULL, (double)figures->errors);
    families_add(f, FAMILY_STORE_WAITING, NULL, (double)(figures->sequence - figures->durable));
    families_add(f, FAMILY_STORE_BYTES, NULL, (double)figures->bytes);
    families_add(f, FAMILY_STORE_SERIES_COUNT, NULL, (double)figures->series);
}

void watch_time(struct watch_times *times, int family, double seconds)
{
    const struct family_bound *bounds = family_kind((enum family)family)->bounds;
    unsigned at = 0;
    while (bounds[at].text && seconds > bounds[at].value) {
        at++;
    }
    times->counts[at]++;
    times->sum_s += seconds;
}

static void times(struct families *f, const struct watch_counters *c)
{
    families_histogram(f, FAMILY_LOOP_LAG, NULL, c->loop_lag.counts, c->loop_lag.sum_s);
    families_histogram(f, FAMILY_SCRAPE_DURATION, NULL, c->scrapes.counts, c->scrapes.sum_s);
    for (size_t i = 0; i < WATCH_QUESTIONS && c->answers[i].what; i++) {
        struct labels labels;
        labels_begin(&labels);
        labels_add(&labels, "question", c->answers[i].what);
        families_histogram(f, FAMILY_POLICY_ANSWER, &labels, c->answers[i].counts,
                           c->answers[i].sum_s);
    }
}

void watch_master(struct families *f, struct board *board, const struct watch_counters *counters,
                  bool engine_up)
{
    single(f, counters, engine_up);
    labelled(f, counters);
    times(f, counters);
    workers(f, board);
}
