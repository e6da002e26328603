/* control.c: what operators ask for over the control socket (commands.h describes the protocol) and
 * over HTTP. One table entry and one function a command. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/admin.h"
#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "fleet/fleet.h"
#include "net/net.h"
#include "watch/alerts.h"

typedef void control_fn(struct master *m, struct admin_request *request, const struct cJSON *args);

static struct cJSON *refusal(const char *error)
{
    struct cJSON *no = json_object();
    json_set_bool(no, "ok", false);
    json_set_str(no, "error", error);
    return no;
}

static struct cJSON *workers_json(struct master *m)
{
    struct cJSON *list = json_array();
    for (unsigned i = 0; i < m->worker_count; i++) {
        const struct board_worker *row = board_worker(m->board, i);
        struct cJSON *one = json_object();
        json_set_num(one, "index", i);
        json_set_num(one, "pid", m->workers[i] ? m->workers[i]->process.pid : 0);
        json_set_num(one, "generation", m->workers[i] ? m->workers[i]->generation : 0);
        json_set_num(one, "connections", (double)board_get(&row->connections));
        json_set_num(one, "accepted", (double)board_get(&row->accepted));
        json_set_num(one, "policy_errors", (double)board_get(&row->policy_errors));
        json_set_num(one, "interpreted", (double)board_get(&row->interpreted));
        json_set_num(one, "request_errors", (double)board_get(&row->reader_errors));
        json_set(list, NULL, one);
    }
    return list;
}

static struct cJSON *alerts_json(const struct master *m)
{
    struct alerts_figures f;
    struct cJSON *out = json_object();
    alerts_figures(watching_alerts(m), &f);
    for (int i = 0; i < ALERTS_SEVERITIES; i++) {
        json_set_num(out, alerts_severity_name((enum alerts_severity)i),
                     (double)f.count[ALERTS_FIRING][i]);
    }
    return out;
}

static struct cJSON *reload_json(const struct master *m)
{
    char at[32];
    struct cJSON *out = json_object();
    clock_iso(m->reload.ended_wall_ms, at, sizeof at);
    json_set_bool(out, "ok", m->reload.ok);
    json_set_str(out, "at", at);
    if (!m->reload.ok) {
        json_set_str(out, "error", m->reload.error);
    }
    return out;
}

/* Which one expires first. */
static void set_certificates(struct master *m, struct cJSON *status)
{
    double days = 0;
    if (certificates_days_left(m, &days)) {
        struct cJSON *all = certificates_status(m), *out = json_object();
        char *words = certificates_words(m);
        json_set_num(out, "count", (double)json_count(all));
        json_set_str(out, "expires_first", words);
        json_set_num(out, "days_left", days);
        json_set(status, "certificates", out);
        mem_free(words);
        json_free(all);
    }
}

/* The whole picture, owned by the caller; NULL: no such service. */
static struct cJSON *status_json(struct master *m, const char *service)
{
    struct cJSON *out = fleet_status(m->fleet, service, clock_now_ms());
    if (!out) {
        return NULL;
    }
    json_set_bool(out, "ok", true);
    json_set_str(out, "version", TIDEGATE_VERSION);
    json_set_str(out, "cluster", json_str(json_get(m->config, "cluster"), "id", ""));
    json_set_num(out, "pid", (double)getpid());
    json_set_num(out, "policy_pid", m->policy ? m->policy->process.pid : 0);
    json_set_str(out, "config", m->config_path);
    json_set_num(out, "generation", m->generation);
    json_set_str(out, "hash", json_str(m->config, "generation", ""));
    json_set_str(out, "policy", m->policy && m->policy->ready ? "up" : "down");
    json_set_num(out, "uptime_s", (double)(clock_now_ms() - m->started_ms) / 1000.0);
    json_set(out, "workers", workers_json(m));
    json_set(out, "alerts", alerts_json(m));
    json_set(out, "channels", telling_status(m));
    json_set_bool(out, "balance_set_aside", m->aside.on);
    json_set(out, "failing", faults_status(m));
    json_set(out, "acme", issuing_status(m));
    set_certificates(m, out);
    shadows_status(m, out);
    if (m->reload.told) {
        json_set(out, "reload", reload_json(m));
    }
    return out;
}

static void do_certificates(struct master *m, struct admin_request *request,
                            const struct cJSON *args)
{
    struct cJSON *out = json_object();
    (void)args;
    json_set_bool(out, "ok", true);
    json_set(out, "certificates", certificates_status(m));
    admin_answer(request, out);
}

static void do_status(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    const char *service = json_str(args, "service", NULL);
    struct cJSON *out = status_json(m, service);
    if (!out) {
        char *error = mem_printf("no such service: %s: `tidegate status` lists them", service);
        out = refusal(error);
        mem_free(error);
    }
    admin_answer(request, out);
}

static void do_decisions(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    history_ask_decisions(m, request, args);
}

static void do_scale(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    int64_t instances = json_int(args, "instances", -1);
    int64_t hold_ms = json_int(args, "hold_ms", 600000);
    if (instances < 0 || instances > LIMIT_INSTANCES || hold_ms < 0) {
        admin_answer(request, refusal(hold_ms < 0 ? "hold_ms must not be negative"
                                                  : "instances must be a number from 0 to 1000"));
        return;
    }
    kept_answer(m, request,
                fleet_scale(m->fleet, json_str(args, "service", ""), (uint32_t)instances,
                            (uint64_t)hold_ms, admin_who(request), clock_now_ms()));
}

static void do_deploy(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    const char *service = json_str(args, "service", "");
    struct cJSON *out = fleet_deploy(m->fleet, service, admin_who(request), clock_now_ms());
    if (!json_bool(out, "ok", false) || !json_bool(args, "wait", false)) {
        admin_answer(request, out);
        return;
    }
    json_free(out);
    struct deploy_wait *w = mem_new(sizeof *w);
    w->request = request;
    w->service = mem_copy(service);
    w->deadline_ms = clock_now_ms() + (uint64_t)json_int(args, "timeout_ms", 300000);
    w->next = m->waits;
    m->waits = w;
}

static void do_drain(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    kept_answer(m, request,
                fleet_drain(m->fleet, json_str(args, "backend", ""), json_bool(args, "drain", true),
                            admin_who(request), clock_now_ms()));
}

static void do_backend(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    const char *address = json_str(args, "backend", "");
    struct net_addr addr;
    int rc = net_addr_parse(address, &addr);
    if (rc && rc != -EDESTADDRREQ) {
        admin_answer(request, refusal("a backend is HOST:PORT or unix:/PATH"));
        return;
    }
    kept_answer(m, request,
                fleet_backend(m->fleet, json_str(args, "service", ""), rc ? address : addr.text,
                              json_bool(args, "add", true), admin_who(request), clock_now_ms()));
}

static void do_weight(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    double weight = json_num(args, "weight", 0);
    if (weight < 1 || weight > 1000) {
        admin_answer(request, refusal("a weight is a number from 1 to 1000"));
        return;
    }
    kept_answer(m, request,
                fleet_weight(m->fleet, json_str(args, "backend", ""), weight, admin_who(request),
                             clock_now_ms()));
}

static void do_restart(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    admin_answer(request, fleet_restart(m->fleet, json_str(args, "instance", ""),
                                        admin_who(request), clock_now_ms()));
}

static void do_approve(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    kept_answer(
        m, request,
        fleet_approve(m->fleet, json_str(args, "service", ""), admin_who(request), clock_now_ms()));
}

static void do_stop(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    kept_answer(
        m, request,
        fleet_stop(m->fleet, json_str(args, "service", ""), admin_who(request), clock_now_ms()));
}

static void do_reload(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    reload_begin(m, request, json_bool(args, "dry_run", false));
}

static void do_version(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    (void)args;
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", true);
    json_set_str(out, "version", TIDEGATE_VERSION);
    json_set_num(out, "pid", (double)getpid());
    json_set_str(out, "cluster", json_str(json_get(m->config, "cluster"), "id", ""));
    admin_answer(request, out);
}

/* Of the configuration what the console needs, and nothing that is secret. */
static struct cJSON *shareable(const struct cJSON *config)
{
    static const char *const KEPT[] = {"generation", "path",     "directory", "cluster",
                                       "services",   "policies", "libraries"};
    struct cJSON *out = json_object();
    for (size_t i = 0; i < sizeof KEPT / sizeof *KEPT; i++) {
        if (json_get(config, KEPT[i])) {
            json_set(out, KEPT[i], json_copy(json_get(config, KEPT[i])));
        }
    }
    struct cJSON *service = json_first(json_get(out, "services"));
    for (; service; service = json_next(service)) {
        json_remove(service, "environment");
        json_remove(service, "command");
    }
    return out;
}

static void do_snapshot(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    struct cJSON *out = json_object(), *metrics = json_object();
    struct cJSON *status = fleet_status(m->fleet, NULL, clock_now_ms());
    const struct cJSON *service = json_first(json_get(status, "services"));
    for (; service; service = json_next(service)) {
        const char *name = json_str(service, "name", "");
        struct cJSON *view = collecting_metrics(m, name);
        if (view) {
            json_set(metrics, name, view);
        }
    }
    json_set_bool(out, "ok", true);
    json_set_num(out, "generation", m->generation);
    if (json_int(args, "generation", 0) != (int64_t)m->generation) {
        json_set(out, "configuration", shareable(m->config));
    }
    json_set(out, "status", status);
    json_set(out, "metrics", metrics);
    admin_answer(request, out);
}

static void do_explain(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    explain_begin(m, request, args);
}

static void do_trace(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    explain_trace(m, request, args);
}

static void do_events(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    history_ask_events(m, request, args);
}

static void do_history(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    history_ask_samples(m, request, args);
}

static void do_metrics(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    admin_answer(request, collecting_answer(m, json_str(args, "service", NULL),
                                            json_str(args, "instance", NULL), clock_now_ms()));
}

static void do_labels(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    admin_answer(request, labels_answer(m, json_str(args, "container", NULL), clock_now_ms()));
}

static void do_alerts(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    watching_ask(m, request, json_str(args, "command", ""), args);
}

static void do_channels(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    telling_ask(m, request, json_str(args, "command", ""), args);
}

static const struct {
    const char *name;
    control_fn *run;
    bool changes; /* is logged with who asked */
} commands[] = {
    {"status", do_status, false},
    {"decisions", do_decisions, false},
    {"scale", do_scale, true},
    {"deploy", do_deploy, true},
    {"drain", do_drain, true},
    {"restart", do_restart, true},
    {"stop", do_stop, true},
    {"reload", do_reload, true},
    {"backend", do_backend, true},
    {"weight", do_weight, true},
    {"events", do_events, false},
    {"history", do_history, false},
    {"metrics", do_metrics, false},
    {"alerts", do_alerts, false},
    {"silences", do_alerts, false},
    {"silence", do_alerts, true},
    {"unsilence", do_alerts, true},
    {"ack", do_alerts, true},
    {"explain", do_explain, false},
    {"version", do_version, false},
    {"snapshot", do_snapshot, false},
    {"channels", do_channels, false},
    {"alert_test", do_channels, true},
    {"trace", do_trace, false},
    {"approve", do_approve, true},
    {"labels", do_labels, false},
    {"certificates", do_certificates, false},
};

void control_command(void *arg, struct admin_request *request, const char *command,
                     const struct cJSON *args)
{
    struct master *m = arg;
    if (m->phase != MASTER_SERVING) {
        admin_answer(request, refusal("tidegate is starting or stopping: try again"));
        return;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (str_same(commands[i].name, command)) {
            if (commands[i].changes) {
                char *text = json_text(args);
                log_info("operator", "who=%s asks=%s", admin_who(request), text);
                history_on_operator(m, admin_who(request), command, args);
                mem_free(text);
            }
            commands[i].run(m, request, args);
            return;
        }
    }
    char *error = mem_printf("unknown command \"%s\": is the daemon of another version?", command);
    admin_answer(request, refusal(error));
    mem_free(error);
}

/* ---- Deploys that somebody waits for ---------------------------------------------------- */

/* The answer when it is decided, else NULL. */
static struct cJSON *deploy_outcome(struct master *m, const struct deploy_wait *w, uint64_t now_ms)
{
    struct cJSON *state = fleet_deploy_state(m->fleet, w->service);
    const char *name = json_str(state, "state", "gone");
    struct cJSON *out = NULL;
    if (str_same(name, "done")) {
        out = json_object();
        json_set_bool(out, "ok", true);
        json_set_str(out, "service", w->service);
        json_set_num(out, "generation", json_num(state, "generation", 0));
    } else if (str_same(name, "failed") || str_same(name, "gone")) {
        char *error = mem_printf("deploy of %s failed: %s", w->service,
                                 json_str(state, "reason", "the service is gone"));
        out = refusal(error);
        mem_free(error);
    } else if (now_ms >= w->deadline_ms) {
        out = refusal("the deploy is not finished yet: it goes on; `tidegate status` shows it");
    }
    if (out) {
        json_set(out, "deploy", state);
    } else {
        json_free(state);
    }
    return out;
}

void control_tick(struct master *m, uint64_t now_ms)
{
    for (struct deploy_wait **at = &m->waits; *at;) {
        struct deploy_wait *w = *at;
        struct cJSON *out = deploy_outcome(m, w, now_ms);
        if (!out) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        admin_answer(w->request, out);
        mem_free(w->service);
        mem_free(w);
    }
}

void control_close(struct master *m)
{
    while (m->waits) {
        struct deploy_wait *w = m->waits;
        m->waits = w->next;
        admin_answer(w->request, refusal("tidegate is stopping"));
        mem_free(w->service);
        mem_free(w);
    }
}

/* ---- HTTP ------------------------------------------------------------------------------- */

static void answer_text(struct admin_request *request, int status, const char *type, char *text)
{
    admin_answer_page(request, status, type, "", text, strlen(text));
}

void control_page(void *arg, struct admin_request *request, const char *path)
{
    static const char TEXT[] = "text/plain; charset=utf-8";
    struct master *m = arg;
    if (str_same(path, "/healthz")) {
        bool well = m->phase == MASTER_SERVING && m->serving_told && workers_alive(m) > 0;
        answer_text(request, well ? 200 : 503, TEXT, mem_copy(well ? "ok\n" : "not serving\n"));
    } else if (str_same(path, "/metrics")) {
        metrics_ask(m, request);
    } else if (str_same(path, "/status")) {
        struct cJSON *status = status_json(m, NULL);
        answer_text(request, 200, "application/json", json_text(status));
        json_free(status);
    } else {
        answer_text(request, 404, TEXT, mem_copy("here are /healthz, /metrics and /status\n"));
    }
}
