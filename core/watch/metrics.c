/* metrics.c: the /metrics page: what fleet knows of services and instances, what the workers count
 * on the scoreboard, what the master counts itself.
 *
 * Invariants: every counter of a backend carries the backend as a label, histograms too. Its row on
 * the board starts at zero and goes with it, so a series never falls while it exists; sums over a
 * service would. */
#include "watch/watch.h"

#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "board/circuit.h"
#include "watch/exposition.h"

enum {
    LABEL_BYTES = 4096
};

/* A backend with its figures, summed over the workers. */
struct row {
    char *labels; /* service="...",backend="..." */
    unsigned slot;
    struct board_sum sum;
    uint64_t circuit, opened, ejected;
};

struct service {
    char *labels;               /* service="..." */
    const struct cJSON *status; /* borrowed */
};

/* What the page is made of. */
struct page {
    struct exposition x;
    struct board *board;
    struct service *services;
    struct row *rows;
    size_t service_count, count, cap;
};

static const char *const OUTCOMES[BOARD_OUTCOMES] = {
    [BOARD_NO_ANSWER] = "none", [BOARD_1XX] = "1xx", [BOARD_2XX] = "2xx",
    [BOARD_3XX] = "3xx",        [BOARD_4XX] = "4xx", [BOARD_5XX] = "5xx",
};

/* Bounds of the histogram, with the text that Prometheus keeps verbatim. */
static const struct {
    uint64_t us;
    const char *text;
} BOUNDS[] = {
    {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},    {10000, "0.01"},
    {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"},   {500000, "0.5"},
    {1000000, "1.0"}, {2500000, "2.5"}, {5000000, "5.0"}, {10000000, "10.0"},
};

static const char *const STATES[] = {"new",  "creating", "starting", "waiting",  "up",
                                     "down", "failed",   "draining", "stopping", "removing"};
enum {
    STATE_COUNT = sizeof STATES / sizeof *STATES
};

/* `labels` with one more; the caller owns it. */
static char *labelled(const char *labels, const char *name, const char *value)
{
    struct buf text;
    buf_init(&text, LABEL_BYTES);
    (void)buf_text(&text, labels);
    exposition_label(&text, name, value);
    return buf_take(&text);
}

static void counted(struct exposition *x, const char *name, const char *labels, const char *label,
                    const char *value, uint64_t count)
{
    char *all = labelled(labels, label, value);
    exposition_count(x, name, all, count);
    mem_free(all);
}

/* ---- Backends ----------------------------------------------------------------------------- */

/* Whether the labels are new: two samples of one series would make the page worthless. Frees them
 * when they are not. */
static bool fresh(struct map *seen, char *labels)
{
    if (map_get(seen, labels)) {
        mem_free(labels);
        return false;
    }
    (void)map_put(seen, labels, labels);
    return true;
}

static void add_row(struct page *p, struct map *seen, const char *service,
                    const struct cJSON *instance)
{
    int64_t slot = json_int(instance, "slot", -1);
    if (slot < 0 || slot >= LIMIT_BACKENDS) {
        return;
    }
    char *labels = labelled(service, "backend", json_str(instance, "id", "?"));
    if (!fresh(seen, labels)) {
        return;
    }
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->rows = mem_resize(p->rows, p->cap * sizeof *p->rows);
    }
    struct row *row = &p->rows[p->count++];
    row->labels = labels;
    row->slot = (unsigned)slot;
    board_sum(p->board, row->slot, &row->sum);
    const struct board_circuit *circuit = board_circuit(p->board, row->slot);
    row->circuit = board_circuit_state(circuit);
    row->opened = board_get(&circuit->opened);
    row->ejected = board_get(&circuit->ejected);
}

static void gather(struct page *p, const struct cJSON *services)
{
    struct map seen = {0};
    p->services = mem_array(json_count(services) + 1, sizeof *p->services);
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        char *labels = labelled("", "service", json_str(s, "name", "?"));
        if (!fresh(&seen, labels)) {
            continue;
        }
        p->services[p->service_count++] = (struct service){labels, s};
        for (const struct cJSON *i = json_first(json_get(s, "instances")); i; i = json_next(i)) {
            add_row(p, &seen, labels, i);
        }
    }
    map_free(&seen);
}

static void histogram(struct page *p, const struct row *row)
{
    static const char BUCKET[] = "tidegate_request_duration_seconds_bucket";
    uint64_t buckets[BOARD_BUCKETS] = {0};
    board_histogram(p->board, row->slot, buckets);
    uint64_t total = 0;
    unsigned next = 0;
    for (unsigned b = 0; b < BOARD_BUCKETS; b++) {
        /* A bucket counts below a bound when its middle does. */
        uint64_t floor_us = board_bucket_floor_us(b);
        uint64_t end_us = b + 1 < BOARD_BUCKETS ? board_bucket_floor_us(b + 1) : UINT64_MAX;
        uint64_t middle_us = floor_us + (end_us - floor_us) / 2;
        while (next < sizeof BOUNDS / sizeof *BOUNDS && middle_us > BOUNDS[next].us) {
            counted(&p->x, BUCKET, row->labels, "le", BOUNDS[next++].text, total);
        }
        total += buckets[b];
    }
    while (next < sizeof BOUNDS / sizeof *BOUNDS) {
        counted(&p->x, BUCKET, row->labels, "le", BOUNDS[next++].text, total);
    }
    counted(&p->x, BUCKET, row->labels, "le", "+Inf", total);
    exposition_number(&p->x, "tidegate_request_duration_seconds_sum", row->labels,
                      (double)row->sum.latency_us_sum / 1e6);
    exposition_count(&p->x, "tidegate_request_duration_seconds_count", row->labels, total);
}

/* One family of a figure of every backend. */
static void backend_family(struct page *p, const char *name, enum exposition_type type,
                           const char *help, size_t offset)
{
    exposition_family(&p->x, name, type, help);
    for (size_t i = 0; i < p->count; i++) {
        const uint64_t *value = (const uint64_t *)((const char *)&p->rows[i] + offset);
        exposition_count(&p->x, name, p->rows[i].labels, *value);
    }
}

static void backends(struct page *p)
{
    exposition_family(
        &p->x, "tidegate_backend_requests_total", EXPOSITION_COUNTER,
        "Requests sent to a backend, by the class of its answer; none: it gave none.");
    for (size_t i = 0; i < p->count; i++) {
        for (unsigned o = 0; o < BOARD_OUTCOMES; o++) {
            counted(&p->x, "tidegate_backend_requests_total", p->rows[i].labels, "code",
                    OUTCOMES[o], p->rows[i].sum.outcomes[o]);
        }
    }
    backend_family(p, "tidegate_backend_in_flight", EXPOSITION_GAUGE,
                   "Requests at a backend whose answer is not finished.",
                   offsetof(struct row, sum.in_flight));
    backend_family(p, "tidegate_backend_idle_connections", EXPOSITION_GAUGE,
                   "Connections to a backend that wait for a request.",
                   offsetof(struct row, sum.pooled));
    backend_family(p, "tidegate_backend_retries_total", EXPOSITION_COUNTER,
                   "Attempts at a backend that were repeated at another.",
                   offsetof(struct row, sum.retries));
    backend_family(p, "tidegate_backend_received_bytes_total", EXPOSITION_COUNTER,
                   "Bytes of request bodies taken from clients for a backend.",
                   offsetof(struct row, sum.bytes_in));
    backend_family(p, "tidegate_backend_sent_bytes_total", EXPOSITION_COUNTER,
                   "Bytes of answer bodies of a backend passed on to clients.",
                   offsetof(struct row, sum.bytes_out));
    backend_family(p, "tidegate_circuit_state", EXPOSITION_GAUGE,
                   "Circuit of a backend: 0 closed, 1 half-open, 2 open.",
                   offsetof(struct row, circuit));
    backend_family(p, "tidegate_circuit_opened_total", EXPOSITION_COUNTER,
                   "Times that a backend's circuit opened because it failed.",
                   offsetof(struct row, opened));
    backend_family(p, "tidegate_backend_ejections_total", EXPOSITION_COUNTER,
                   "Times that a backend was put out because it did worse than others.",
                   offsetof(struct row, ejected));
    exposition_family(&p->x, "tidegate_request_duration_seconds", EXPOSITION_HISTOGRAM,
                      "Time from a request's dispatch to a backend until its answer.");
    for (size_t i = 0; i < p->count; i++) {
        histogram(p, &p->rows[i]);
    }
}

/* ---- Services ----------------------------------------------------------------------------- */

static void states_of(struct exposition *x, const struct cJSON *service, const char *labels)
{
    uint64_t counts[STATE_COUNT] = {0}, other = 0;
    for (const struct cJSON *i = json_first(json_get(service, "instances")); i; i = json_next(i)) {
        const char *state = json_str(i, "state", "");
        unsigned s = 0;
        while (s < STATE_COUNT && strcmp(STATES[s], state) != 0) {
            s++;
        }
        if (s < STATE_COUNT) {
            counts[s]++;
        } else {
            other++;
        }
    }
    for (unsigned s = 0; s < STATE_COUNT; s++) {
        counted(x, "tidegate_instances", labels, "state", STATES[s], counts[s]);
    }
    if (other) {
        counted(x, "tidegate_instances", labels, "state", "other", other);
    }
}

/* One gauge of every service that has the number at `path`, times `factor`. */
static void service_family(struct page *p, const char *name, const char *help, const char *path,
                           double factor)
{
    exposition_family(&p->x, name, EXPOSITION_GAUGE, help);
    for (size_t i = 0; i < p->service_count; i++) {
        const struct cJSON *value = json_path(p->services[i].status, path);
        if (value) {
            exposition_number(&p->x, name, p->services[i].labels,
                              json_value_num(value, NAN) * factor);
        }
    }
}

static void services(struct page *p)
{
    exposition_family(&p->x, "tidegate_instances", EXPOSITION_GAUGE,
                      "Instances of a service by state.");
    for (size_t i = 0; i < p->service_count; i++) {
        states_of(&p->x, p->services[i].status, p->services[i].labels);
    }
    service_family(p, "tidegate_instances_desired", "Instances that a service should have.",
                   "desired", 1);
    service_family(p, "tidegate_instances_min", "Fewest instances that scaling may leave.", "min",
                   1);
    service_family(p, "tidegate_instances_max", "Most instances that scaling may make.", "max", 1);
    service_family(p, "tidegate_service_generation",
                   "Generation of a service, rises with each deploy.", "generation", 1);
    service_family(p, "tidegate_service_queue_length",
                   "Requests of a service that wait for a backend, over all workers.",
                   "traffic.queue", 1);
    service_family(p, "tidegate_service_cpu_ratio",
                   "Mean CPU use of a service's instances, as a part of their allotment.",
                   "resources.cpu_percent", 0.01);
    service_family(p, "tidegate_service_memory_ratio",
                   "Mean memory use of a service's instances, as a part of their limit.",
                   "resources.memory_percent", 0.01);
}

/* ---- Workers ------------------------------------------------------------------------------ */

static void worker_family(struct page *p, const char *name, enum exposition_type type,
                          const char *help, size_t offset, double factor)
{
    exposition_family(&p->x, name, type, help);
    for (unsigned w = 0; w < board_workers(p->board); w++) {
        const char *row = (const char *)board_worker(p->board, w);
        char labels[32]; /* worker="4294967295" at most */
        snprintf(labels, sizeof labels, "worker=\"%u\"", w);
        uint64_t value = board_get((const uint64_t *)(row + offset));
        if (factor == 1) {
            exposition_count(&p->x, name, labels, value);
        } else {
            exposition_number(&p->x, name, labels, (double)value * factor);
        }
    }
}

static void workers(struct page *p)
{
    static const struct {
        const char *name;
        enum exposition_type type;
        size_t offset;
        double factor;
        const char *help;
    } FAMILIES[] = {
        {"tidegate_connections", EXPOSITION_GAUGE, offsetof(struct board_worker, connections), 1,
         "Open connections of clients."},
        {"tidegate_connections_accepted_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, accepted), 1, "Connections of clients that were accepted."},
        {"tidegate_requests_no_route_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, no_route), 1, "Requests answered 404 for want of a route."},
        {"tidegate_requests_no_backend_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, no_backend), 1,
         "Requests answered 503 for want of a backend."},
        {"tidegate_requests_bad_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, bad_requests), 1, "Requests refused as malformed."},
        {"tidegate_requests_aborted_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, aborted), 1,
         "Exchanges cut off in the middle of an answer."},
        {"tidegate_access_log_lost_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, access_lost), 1,
         "Lines of the access log that could not be written."},
        {"tidegate_queue_length", EXPOSITION_GAUGE, offsetof(struct board_worker, queued), 1,
         "Requests that wait because all backends are full."},
        {"tidegate_requests_queued_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, queued_total), 1, "Requests that had to wait so."},
        {"tidegate_queue_refused_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, queue_refused), 1,
         "Requests answered 503 because the queue was full or the wait too long."},
        {"tidegate_retries_denied_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, retries_denied), 1,
         "Attempts not repeated because the retry budget was spent."},
        {"tidegate_circuit_panics_total", EXPOSITION_COUNTER, offsetof(struct board_worker, panics),
         1, "Picks that ignored the circuits because too few were closed."},
        {"tidegate_exhausted_total", EXPOSITION_COUNTER, offsetof(struct board_worker, exhausted),
         1, "Connections and requests refused for want of file descriptors or memory."},
        {"tidegate_picks_total", EXPOSITION_COUNTER, offsetof(struct board_worker, picks), 1,
         "Backends picked by balance policies."},
        {"tidegate_pick_seconds_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, pick_ns_sum), 1e-9, "Time spent in balance policies."},
        {"tidegate_balance_errors_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, policy_errors), 1,
         "Picks that fell back because the balance policy failed."},
        {"tidegate_balance_interpreted", EXPOSITION_GAUGE,
         offsetof(struct board_worker, interpreted), 1,
         "Routes whose balance policy LuaJIT does not compile: it costs more than it should."},
        {"tidegate_request_function_errors_total", EXPOSITION_COUNTER,
         offsetof(struct board_worker, reader_errors), 1,
         "Requests that went on without data because their route's request function failed."},
    };
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        worker_family(p, FAMILIES[i].name, FAMILIES[i].type, FAMILIES[i].help, FAMILIES[i].offset,
                      FAMILIES[i].factor);
    }
}

/* ---- The daemon itself -------------------------------------------------------------------- */

static void one(struct exposition *x, const char *name, enum exposition_type type, const char *help,
                double value)
{
    exposition_family(x, name, type, help);
    exposition_number(x, name, "", value);
}

static void master(struct page *p, const struct watch_counters *c, bool engine_up)
{
    struct exposition *x = &p->x;
    uint64_t now_ms = clock_wall_ms(),
             acted = c->decisions_up + c->decisions_down + c->decisions_held;
    exposition_family(x, "tidegate_build_info", EXPOSITION_GAUGE,
                      "Always 1; its label tells the version.");
    exposition_number(x, "tidegate_build_info", "version=\"" TIDEGATE_VERSION "\"", 1);
    one(x, "tidegate_uptime_seconds", EXPOSITION_GAUGE, "Time since the daemon started.",
        now_ms > c->started_wall_ms ? (double)(now_ms - c->started_wall_ms) / 1000 : 0);
    one(x, "tidegate_generation", EXPOSITION_GAUGE, "Generation of the configuration in force.",
        c->generation);
    exposition_family(x, "tidegate_reloads_total", EXPOSITION_COUNTER,
                      "Reloads of the configuration.");
    exposition_count(x, "tidegate_reloads_total", "result=\"ok\"", c->reloads_ok);
    exposition_count(x, "tidegate_reloads_total", "result=\"refused\"", c->reloads_failed);
    exposition_family(x, "tidegate_decisions_total", EXPOSITION_COUNTER,
                      "Scaling decisions by outcome.");
    exposition_count(x, "tidegate_decisions_total", "action=\"scale_up\"", c->decisions_up);
    exposition_count(x, "tidegate_decisions_total", "action=\"scale_down\"", c->decisions_down);
    exposition_count(x, "tidegate_decisions_total", "action=\"hold\"", c->decisions_held);
    exposition_count(x, "tidegate_decisions_total", "action=\"no_change\"",
                     c->decisions > acted ? c->decisions - acted : 0);
    exposition_family(x, "tidegate_events_total", EXPOSITION_COUNTER,
                      "Changes of backends, circuits, services and the engine, as in the log.");
    for (size_t i = 0; i < WATCH_EVENTS && c->events[i].kind; i++) {
        counted(x, "tidegate_events_total", "", "kind", c->events[i].kind, c->events[i].count);
    }
    one(x, "tidegate_policy_errors_total", EXPOSITION_COUNTER,
        "Failures of policies in the policy process.", (double)c->policy_errors);
    one(x, "tidegate_worker_deaths_total", EXPOSITION_COUNTER, "Workers that ended unasked.",
        (double)c->worker_deaths);
    one(x, "tidegate_policy_deaths_total", EXPOSITION_COUNTER,
        "Policy processes that ended unasked.", (double)c->policy_deaths);
    one(x, "tidegate_engine_up", EXPOSITION_GAUGE, "Whether the engine is reachable.", engine_up);
    one(x, "tidegate_engine_outages_total", EXPOSITION_COUNTER, "Times that the engine was lost.",
        (double)c->engine_outages);
    one(x, "tidegate_loop_lag_seconds", EXPOSITION_GAUGE,
        "Longest delay of the master's loop since the last scrape.",
        (double)c->loop_lag_us_max / 1e6);
}

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

static void process(struct exposition *x, const struct watch_counters *c)
{
    struct rlimit files;
    one(x, "process_cpu_seconds_total", EXPOSITION_COUNTER, "CPU time of the master process.",
        (double)clock_cpu_us() / 1e6);
    one(x, "process_resident_memory_bytes", EXPOSITION_GAUGE,
        "Resident memory of the master process.", resident_bytes());
    one(x, "process_open_fds", EXPOSITION_GAUGE, "Open descriptors of the master process.",
        open_descriptors());
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur != RLIM_INFINITY) {
        one(x, "process_max_fds", EXPOSITION_GAUGE, "Most descriptors that the master may open.",
            (double)files.rlim_cur);
    }
    one(x, "process_start_time_seconds", EXPOSITION_GAUGE, "When the daemon started, since 1970.",
        (double)c->started_wall_ms / 1000);
}

int watch_metrics(struct buf *to, struct board *board, const struct cJSON *status,
                  const struct watch_counters *counters)
{
    struct page p = {.x = {.to = to}, .board = board};
    const char *engine = json_value_str(json_path(status, "engine.state"), "");
    gather(&p, json_get(status, "services"));
    master(&p, counters, !strcmp(engine, "up"));
    services(&p);
    backends(&p);
    workers(&p);
    process(&p.x, counters);
    for (size_t i = 0; i < p.count; i++) {
        mem_free(p.rows[i].labels);
    }
    for (size_t i = 0; i < p.service_count; i++) {
        mem_free(p.services[i].labels);
    }
    mem_free(p.rows);
    mem_free(p.services);
    return p.x.error;
}
