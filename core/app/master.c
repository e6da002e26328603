/* master.c: the supervisor. Wiring only: who is told by whom, in which order things start and end.
 *
 *   engine  --listener-->  fleet  --ports.roster-->  workers
 *   probes  --changed--->    |    --ports.ask----->  policy process --DECISIONS--> fleet
 *   workers --ACK------->    |    --ports.fact---->  facts.c: log, counters
 *   admin   --control.c->    +    --ports.probe_*->  probes
 *
 * Holds the engine's socket and runs no Lua. */
#include "app/master.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "app/paths.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "engine/engine.h"
#include "fleet/fleet.h"
#include "net/net.h"
#include "probe/probe.h"
#include "watch/catalog.h"

enum {
    TICK_MS = 100,
    DRAIN_MS = 30000, /* what open requests get at the end */
    STOP_SERVICES_MS = 120000
};

/* ---- What the fleet asks of us ---------------------------------------------------------- */

static int port_probe_add(void *arg, const char *id, const struct probe_spec *spec)
{
    struct master *m = arg;
    return probe_add(m->probes, id, spec);
}

static void port_probe_remove(void *arg, const char *id)
{
    struct master *m = arg;
    probe_remove(m->probes, id);
}

static void port_probe_reason(void *arg, const char *id, const char **ret_reason, int *ret_status,
                              uint32_t *ret_attempts)
{
    struct master *m = arg;
    *ret_reason = probe_last_reason(m->probes, id, ret_status, ret_attempts);
}

static void port_roster(void *arg, uint64_t version, const char *json)
{
    workers_roster(arg, version, json);
}

static struct cJSON *port_metrics(void *arg, const char *service)
{
    return collecting_metrics(arg, service);
}

static void port_ask(void *arg, const char *snapshot_json)
{
    (void)deciders_ask(arg, CHILD_DECIDE, snapshot_json);
}

static void port_fact(void *arg, const struct fleet_fact *fact)
{
    facts_on_fleet(arg, fact);
}

static void port_keep(void *arg, const char *kind, const char *key, const char *json)
{
    kept_put(arg, kind, key, json);
}

static uint64_t port_wall_ms(void *arg)
{
    (void)arg;
    return clock_wall_ms();
}

static void on_kept(struct master *m, const char *kind, const char *key, const char *json)
{
    fleet_restore(m->fleet, kind, key, json);
}

/* ---- What engine and probes tell --------------------------------------------------------- */

static void on_engine_up(void *arg, const char *description)
{
    struct master *m = arg;
    m->engine_up = true;
    fleet_on_engine_up(m->fleet, description, clock_now_ms());
}

static void on_engine_down(void *arg, const char *why)
{
    struct master *m = arg;
    m->engine_up = false;
    m->counters.engine_outages++;
    fleet_on_engine_down(m->fleet, why, clock_now_ms());
}

static void on_engine_event(void *arg, const struct engine_event *event)
{
    struct master *m = arg;
    fleet_on_engine_event(m->fleet, event, clock_now_ms());
}

static void on_probe(void *arg, const struct probe_result *result)
{
    struct master *m = arg;
    fleet_on_probe(m->fleet, result, clock_now_ms());
}

/* ---- Start ------------------------------------------------------------------------------ */

void master_log_args(const struct master *m, const char **to)
{
    static const char *const levels[LOG_LEVELS] = {"debug", "info", "warn", "error"};
    to[0] = levels[m->options->log_level];
    to[1] = m->options->log_json ? "json" : "text";
    to[2] = m->options->log_file ? m->options->log_file : "-";
}

static int make_places(struct master *m, const struct cJSON *cluster, char **reterr)
{
    const char *id = json_str(cluster, "id", "default");
    const char *runtime =
        m->options->runtime_dir ? m->options->runtime_dir : json_str(cluster, "runtime_dir", "");
    const char *state =
        m->options->state_dir ? m->options->state_dir : json_str(cluster, "state_dir", "");
    m->runtime_dir = paths_runtime_dir(runtime, id);
    m->state_dir = paths_state_dir(state, id);
    m->socket_path = paths_control_socket(m->runtime_dir);
    m->serving_path = mem_printf("%s/serving", m->runtime_dir);
    int rc = paths_make(m->runtime_dir, reterr);
    if (!rc) {
        rc = paths_make(m->state_dir, reterr);
    }
    return rc ? rc : lock_take(m, reterr);
}

static unsigned count_workers(const struct master *m, const struct cJSON *cluster)
{
    int64_t count =
        m->options->workers >= 0 ? m->options->workers : json_int(cluster, "workers", 0);
    if (count <= 0) {
        count = sysconf(_SC_NPROCESSORS_ONLN);
    }
    return count < 1 ? 1 : count > LIMIT_WORKERS ? LIMIT_WORKERS : (unsigned)count;
}

static int build_engine(struct master *m, const struct cJSON *cluster, char **reterr)
{
    struct engine_options options = {
        .loop = &m->loop,
        .client = m->client,
        .cluster_config = cluster,
        .state_dir = m->state_dir,
        .listener = {m, on_engine_up, on_engine_down, on_engine_event},
    };
    int rc = engine_new(&options, &m->engine, reterr);
    if (!rc) {
        fleet_set_engine(m->fleet, m->engine);
        m->engine->kind->open(m->engine);
    }
    return rc;
}

static int build_admin(struct master *m, const struct cJSON *cluster, char **reterr)
{
    struct admin_options options = {
        .loop = &m->loop,
        .socket_path = m->socket_path,
        .http_address = json_str(cluster, "admin", ""),
        .on_command = control_command,
        .on_page = control_page,
        .arg = m,
    };
    return admin_open(&options, &m->admin, reterr);
}

int master_build(struct master *m, char **reterr)
{
    const struct cJSON *config = m->reload.config;
    const struct cJSON *cluster = json_get(config, "cluster");
    struct fleet_ports ports = {
        .arg = m,
        .probe_add = port_probe_add,
        .probe_remove = port_probe_remove,
        .probe_reason = port_probe_reason,
        .roster = port_roster,
        .metrics = port_metrics,
        .ask = port_ask,
        .fact = port_fact,
        .keep = port_keep,
        .wall_ms = port_wall_ms,
    };
    int rc = make_places(m, cluster, reterr);
    /* Its workers go on for grace_ms after its death; take over before. */
    m->take_over_by_ms = clock_now_ms() + (uint64_t)json_int(cluster, "grace_ms", 30000) / 2;
    m->worker_count = count_workers(m, cluster);
    if (!rc) {
        history_open(m, cluster);
        learned_open(m);
        rc = board_new(m->worker_count, &m->board);
    }
    if (!rc) {
        rc = net_client_new(&m->loop, &m->client, reterr);
    }
    if (!rc) {
        m->names = names_new(m);
        m->fleet = fleet_new(&ports, m->board);
        for (const char *const *kind = fleet_kept_kinds(); *kind; kind++) {
            kept_recall(m, *kind, on_kept);
        }
        m->probes = probe_set_new(&m->loop, m->client, on_probe, m);
        watching_open(m);
        metrics_open(m);
        rc = collecting_open(m, reterr);
    }
    if (!rc) {
        rc = workers_listen(m, config, reterr);
    }
    if (!rc) {
        rc = build_admin(m, cluster, reterr);
    }
    if (!rc) {
        rc = build_engine(m, cluster, reterr);
    }
    if (rc && !*reterr) {
        *reterr = mem_printf("cannot start: %s", err_text(rc));
    }
    return rc;
}

/* ---- Life and end ----------------------------------------------------------------------- */

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* Everything that holds the loop is closed; uv_run returns when the last callback has run. */
static void close_all(struct master *m)
{
    m->phase = MASTER_CLOSING;
    control_close(m);
    metrics_close(m);
    explain_close(m);
    history_answers_close(m);
    kept_close(m);
    reload_close(m);
    deciders_close(m);
    admin_close(m->admin);
    m->admin = NULL;
    probe_set_close(m->probes);
    m->probes = NULL;
    if (m->engine) {
        m->engine->kind->close(m->engine);
        m->engine = NULL;
    }
    net_client_close(m->client);
    m->client = NULL;
    watching_close(m);
    collecting_close(m);
    facts_close(m);
    learned_close(m);
    history_close(m);
    names_close(m->names);
    m->names = NULL;
    workers_close_listeners(m);
    lock_release(m);
    close_handle(&m->tick);
    for (size_t i = 0; i < sizeof m->signals / sizeof m->signals[0]; i++) {
        close_handle(&m->signals[i]);
    }
}

static void drain(struct master *m)
{
    m->phase = MASTER_DRAINING;
    m->drain_deadline_ms = clock_now_ms() + DRAIN_MS + 1000;
    log_info("draining: no new connections", "workers=%u", workers_alive(m));
    workers_drain(m, DRAIN_MS);
    workers_close_listeners(m); /* else who connects now would wait for nobody */
}

void master_stop(struct master *m, int exit_code)
{
    m->exit_code = exit_code;
    if (m->phase == MASTER_STARTING) {
        workers_kill(m);
        close_all(m);
    } else if (m->phase == MASTER_SERVING) {
        learned_ask(m);
        drain(m);
    } else {
        log_warn("asked to stop again: ending at once", "");
        workers_kill(m);
        m->drain_deadline_ms = 0;
    }
}

/* Clients first, then what served them. */
static void end_tick(struct master *m, uint64_t now_ms)
{
    if (m->phase == MASTER_DRAINING && !workers_alive(m)) {
        if (learned_awaited(m, now_ms)) {
            return;
        }
        if (!m->options->stop_services) {
            close_all(m);
            return;
        }
        m->phase = MASTER_STOPPING;
        m->drain_deadline_ms = now_ms + STOP_SERVICES_MS;
        log_info("stopping all services", "");
        fleet_stop_all(m->fleet, now_ms);
    } else if (m->phase == MASTER_DRAINING && now_ms > m->drain_deadline_ms) {
        workers_kill(m);
    } else if (m->phase == MASTER_STOPPING) {
        /* No worker is left that could use an old roster. */
        fleet_on_roster(m->fleet, m->roster_version, now_ms);
        fleet_tick(m->fleet, now_ms);
        if (fleet_idle(m->fleet) || now_ms > m->drain_deadline_ms) {
            close_all(m);
        }
    }
}

/* How late this tick is, by the one before. */
static void note_lag(struct master *m, uint64_t now_us)
{
    uint64_t due_us = m->last_tick_us + TICK_MS * 1000,
             lag_us = now_us > due_us ? now_us - due_us : 0;
    if (m->last_tick_us) {
        struct watch_counters *c = &m->counters;
        watch_time(&c->loop_lag, FAMILY_LOOP_LAG, (double)lag_us / 1e6);
        c->loop_lag_us_max = lag_us > c->loop_lag_us_max ? lag_us : c->loop_lag_us_max;
        collecting_note_lag(m, lag_us);
    }
    m->last_tick_us = now_us;
}

static void on_tick(uv_timer_t *timer)
{
    struct master *m = timer->data;
    uint64_t now_us = clock_now_us(), now_ms = now_us / 1000;
    note_lag(m, now_us);
    reload_tick(m, now_ms);
    if (m->phase == MASTER_SERVING) {
        workers_tick(m, now_ms);
        aside_tick(m);
        deciders_tick(m, now_ms);
        learned_tick(m, now_ms);
        fleet_tick(m->fleet, now_ms);
        control_tick(m, now_ms);
        explain_tick(m, now_ms);
        facts_tick(m, now_ms);
        history_tick(m, now_ms);
        kept_tick(m, now_ms);
        names_tick(m->names, now_ms);
        collecting_tick(m, now_ms);
        watching_tick(m, now_ms);
    } else if (m->phase != MASTER_STARTING) {
        end_tick(m, now_ms);
    }
}

static void reopen_logs(struct master *m)
{
    log_reopen();
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i]) {
            uv_process_kill(&m->workers[i]->process, SIGUSR1);
        }
    }
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct master *m = handle->data;
    if (signum == SIGHUP) {
        reload_begin(m, NULL);
    } else if (signum == SIGUSR1) {
        reopen_logs(m);
    } else {
        master_stop(m, 0);
    }
}

static void watch_signals(struct master *m)
{
    static const int numbers[4] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1};
    for (size_t i = 0; i < 4; i++) {
        uv_signal_init(&m->loop, &m->signals[i]);
        m->signals[i].data = m;
        uv_signal_start(&m->signals[i], on_signal, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN);
}

static void release(struct master *m)
{
    fleet_free(m->fleet);
    board_free(m->board);
    json_free(m->config);
    mem_free(m->config_text);
    mem_free(m->roster);
    mem_free(m->config_path);
    mem_free(m->runtime_dir);
    mem_free(m->state_dir);
    mem_free(m->socket_path);
    mem_free(m->serving_path);
}

int app_run(const struct run_options *options)
{
    struct master m = {.options = options, .lock_fd = -1};
    char path[PATH_MAX];
    if (log_open("master", options->log_file, options->log_level, options->log_json)) {
        log_error("the log file cannot be opened: choose another with --log-file", "file=%s",
                  options->log_file);
        return 1;
    }
    m.config_path = mem_copy(realpath(options->config, path) ? path : options->config);
    m.started_ms = clock_now_ms();
    m.counters.started_wall_ms = clock_wall_ms();
    facts_open(&m);
    uv_loop_init(&m.loop);
    watch_signals(&m);
    uv_timer_init(&m.loop, &m.tick);
    m.tick.data = &m;
    uv_timer_start(&m.tick, on_tick, TICK_MS, TICK_MS);
    reload_begin(&m, NULL);
    uv_run(&m.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&m.loop)) {
        log_error("handles are still open at the end", "");
        m.exit_code = m.exit_code ? m.exit_code : 70;
    }
    release(&m);
    return m.exit_code;
}
