/* master.c: the supervisor's life: in which order things start, what happens in a tick, in which order
 * they end.
 *
 *   STARTING -> first configuration -> master_build -> SERVING -> master_stop -> DRAINING (workers finish)
 *            -> STOPPING (--stop-services) -> CLOSING (handles) -> the loop is empty
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
#include "fleet/fleet.h"
#include "watch/catalog.h"

enum {
    TICK_MS = 100,
    DRAIN_MS = 30000, /* what open requests get at the end */
    STOP_SERVICES_MS = 120000
};

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
    int rc = make_places(m, cluster, reterr);
    /* Its workers go on for grace_ms after its death; take over before. */
    m->take_over_by_ms = clock_now_ms() + (uint64_t)json_int(cluster, "grace_ms", 30000) / 2;
    m->worker_count = count_workers(m, cluster);
    if (!rc) {
        history_open(m, cluster); /* first: others take from it what was kept */
        learned_open(m);
        rc = board_new(m->worker_count, &m->board);
    }
    if (!rc) {
        issuing_open(m);
    }
    rc = rc ? rc : services_open(m, reterr);
    labels_open(m);
    rc = rc ? rc : collecting_open(m, reterr);
    if (!rc) {
        watching_open(m);
        metrics_open(m);
        telling_open(m);
        rc = workers_listen(m, config, reterr);
    }
    rc = rc ? rc : build_admin(m, cluster, reterr);
    rc = rc ? rc : services_connect(m, cluster, reterr); /* last: from here on there is news */
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
    /* Whoever waits for a word gets one. */
    control_close(m);
    metrics_close(m);
    explain_close(m);
    history_answers_close(m);
    kept_close(m);
    reload_close(m);
    admin_close(m->admin);
    m->admin = NULL;
    /* No more news... */
    deciders_close(m);
    telling_close(m);
    tracing_close(m);
    issuing_close(m);
    labels_close(m);
    services_close(m);
    watching_close(m);
    collecting_close(m);
    facts_close(m);
    faults_close(m);
    /* ... so what is remembered is complete. */
    learned_close(m);
    history_close(m);
    workers_close_listeners(m);
    lock_release(m);
    close_handle(&m->tick);
    for (size_t i = 0; i < sizeof m->signals / sizeof m->signals[0]; i++) {
        uv_unref((uv_handle_t *)&m->signals[i]); /* heard to the end, see leave_signals */
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
        learned_ask(m, false);
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

static void serve_tick(struct master *m, uint64_t now_ms)
{
    /* Our processes; the services; what is seen of them; what is made of that; who waits. */
    workers_tick(m, now_ms);
    aside_tick(m);
    deciders_tick(m, now_ms);
    fleet_tick(m->fleet, now_ms);
    names_tick(m->names, now_ms);
    labels_tick(m, now_ms);
    certificates_tick(m, now_ms);
    facts_tick(m, now_ms);
    collecting_tick(m, now_ms);
    watching_tick(m, now_ms);
    telling_tick(m, now_ms);
    tracing_tick(m, now_ms);
    issuing_tick(m);
    learned_tick(m, now_ms);
    history_tick(m, now_ms);
    control_tick(m, now_ms);
    explain_tick(m, now_ms);
    kept_tick(m, now_ms);
    services_forget(m);
}

static void on_tick(uv_timer_t *timer)
{
    struct master *m = timer->data;
    uint64_t now_us = clock_now_us(), now_ms = now_us / 1000;
    note_lag(m, now_us);
    reload_tick(m, now_ms);
    if (m->phase == MASTER_SERVING) {
        serve_tick(m, now_ms);
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
        reload_begin(m, NULL, false);
    } else if (signum == SIGUSR1) {
        reopen_logs(m);
    } else {
        master_stop(m, 0);
    }
}

static void watch_signals(struct master *m)
{
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uv_signal_init(&m->loop, &m->signals[i]);
        m->signals[i].data = m;
        uv_signal_start(&m->signals[i], on_signal, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* libuv gives them their default back, which is to kill us: whoever asks twice would cut off what is being
 * written, or spoil the exit code. So they are closed last, and blocked. */
static void leave_signals(struct master *m)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (size_t i = 0; i < sizeof m->signals / sizeof m->signals[0]; i++) {
        close_handle(&m->signals[i]);
    }
    uv_run(&m->loop, UV_RUN_DEFAULT);
}

static void release(struct master *m)
{
    certificates_close(m);
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
    certificates_open(&m);
    uv_loop_init(&m.loop);
    watch_signals(&m);
    uv_timer_init(&m.loop, &m.tick);
    m.tick.data = &m;
    uv_timer_start(&m.tick, on_tick, TICK_MS, TICK_MS);
    reload_begin(&m, NULL, false);
    uv_run(&m.loop, UV_RUN_DEFAULT);
    leave_signals(&m);
    if (uv_loop_close(&m.loop)) {
        log_error("handles are still open at the end", "");
        m.exit_code = m.exit_code ? m.exit_code : 70;
    }
    release(&m);
    return m.exit_code;
}
