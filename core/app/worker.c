/* worker.c: a worker process: the data plane with its wiring to the master.
 *
 * When the master dies the worker goes on with the last roster. It ends when a new master's workers
 * serve (the serving file names another pid), or when the grace time is over: then it drains. */
#include "app/children.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "app/child.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "board/board.h"
#include "ipc/ipc.h"
#include "proxy/proxy.h"

enum {
    ORPHAN_DRAIN_MS = 30000
};

struct worker {
    uv_loop_t loop;
    uv_timer_t orphan;
    uv_signal_t reopen;
    struct ipc *channel;
    struct board *board;
    struct proxy *proxy;
    unsigned index;
    uint32_t generation;      /* in force */
    const char *serving_path; /* names the pid of the master whose workers serve */
    unsigned long master_pid;
    uint64_t grace_ms;
    uint64_t orphan_since_ms;
};

static void tell(struct worker *w, enum ipc_type type, uint32_t generation, struct cJSON *takes)
{
    char *text = json_text(takes);
    if (w->channel) {
        (void)ipc_send_text(w->channel, type, generation, text);
    }
    mem_free(text);
    json_free(takes);
}

static void acknowledge(struct worker *w, uint32_t generation, const char *of, uint64_t version)
{
    struct cJSON *ack = json_object();
    json_set_str(ack, "of", of);
    json_set_num(ack, "version", (double)version);
    tell(w, IPC_ACK, generation, ack);
}

static void on_prepare(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *config = json_parse(m->data, m->len);
    char *error = NULL;
    if (proxy_prepare(w->proxy, m->generation, config, &error)) {
        struct cJSON *nack = json_object();
        json_set_str(nack, "of", "prepare");
        json_set_str(nack, "error", error ? error : "could not be prepared");
        tell(w, IPC_NACK, m->generation, nack);
    } else {
        w->grace_ms = (uint64_t)json_int(json_get(config, "cluster"), "grace_ms", 30000);
        acknowledge(w, m->generation, "prepare", m->generation);
    }
    mem_free(error);
    json_free(config);
}

/* Those of a generation that is on its way count from its COMMIT on. */
static void on_certificates(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *message = json_parse(m->data, m->len);
    char *error = NULL;
    if (proxy_certificates(w->proxy, message, m->generation != w->generation, &error)) {
        struct cJSON *nack = json_object();
        json_set_str(nack, "of", "certificates");
        json_set_str(nack, "error", error ? error : "certificates that do not parse");
        tell(w, IPC_NACK, m->generation, nack);
    } else {
        acknowledge(w, m->generation, "certificates", (uint64_t)json_int(message, "version", 0));
    }
    mem_free(error);
    json_free_secret(message);
}

static void on_roster(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *roster = json_parse(m->data, m->len);
    if (proxy_roster(w->proxy, roster)) {
        log_error("a roster that does not parse: keeping the old one", "bytes=%zu", m->len);
    } else {
        uint64_t version = (uint64_t)json_int(roster, "version", 0);
        board_set(&board_worker(w->board, w->index)->roster_version, version);
        acknowledge(w, m->generation, "roster", version);
    }
    json_free(roster);
}

static void on_listen(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *args = json_parse(m->data, m->len);
    const char *address = json_str(args, "address", "");
    if (m->fd < 0 || proxy_listen(w->proxy, address, m->fd)) {
        log_error("cannot listen", "address=%s", address);
    }
    json_free(args);
}

static void on_drain(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *args = json_parse(m->data, m->len);
    proxy_drain(w->proxy, (uint32_t)json_int(args, "deadline_ms", ORPHAN_DRAIN_MS), 0);
    json_free(args);
}

static void on_explain(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *args = json_parse(m->data, m->len);
    const char *request = json_str(args, "request", NULL);
    struct cJSON *out;
    if (request) {
        out = proxy_past(w->proxy, request);
    } else if (json_get(args, "after")) {
        out = proxy_trace(w->proxy, json_num(args, "after", -1), json_str(args, "service", NULL),
                          json_str(args, "route", NULL));
    } else {
        out = proxy_explain(w->proxy, json_str(args, "like", ""), json_str(args, "listen", ""));
    }
    json_set_num(out, "id", json_num(args, "id", 0));
    tell(w, IPC_EXPLAINED, m->generation, out);
    json_free(args);
}

static void on_quarantine(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *said = json_parse(m->data, m->len);
    proxy_quarantine(w->proxy, m->generation, json_str(said, "point", ""), json_str(said, "of", ""),
                     (uint32_t)json_int(said, "place", 0));
    json_free(said);
}

static void on_challenges(struct worker *w, const struct ipc_message *m)
{
    struct cJSON *said = json_parse(m->data, m->len);
    proxy_challenges(w->proxy, json_get(said, "answers"));
    acknowledge(w, m->generation, "challenges", (uint64_t)json_int(said, "version", 0));
    json_free(said);
}

static void on_message(void *arg, const struct ipc_message *m)
{
    struct worker *w = arg;
    if (m->type == IPC_PREPARE) {
        on_prepare(w, m);
    } else if (m->type == IPC_COMMIT) {
        if (!proxy_commit(w->proxy)) {
            w->generation = m->generation;
            acknowledge(w, m->generation, "commit", m->generation);
        }
    } else if (m->type == IPC_ABORT) {
        proxy_abort(w->proxy);
    } else if (m->type == IPC_CERTIFICATES) {
        on_certificates(w, m);
    } else if (m->type == IPC_ROSTER) {
        on_roster(w, m);
    } else if (m->type == IPC_LISTEN) {
        on_listen(w, m);
    } else if (m->type == IPC_DRAIN) {
        on_drain(w, m);
    } else if (m->type == IPC_QUARANTINE) {
        on_quarantine(w, m);
    } else if (m->type == IPC_EXPLAIN) {
        on_explain(w, m);
    } else if (m->type == IPC_CHALLENGES) {
        on_challenges(w, m);
    }
}

/* ---- Without a master ------------------------------------------------------------------- */

/* Whether the workers of another master serve now. */
static bool succeeded(const struct worker *w)
{
    char text[32] = ""; /* a pid in decimal */
    FILE *file = fopen(w->serving_path, "re");
    if (!file) {
        return false;
    }
    bool read_one = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    return read_one && strtoul(text, NULL, 10) != w->master_pid;
}

static void on_orphan_look(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    bool over = clock_now_ms() - w->orphan_since_ms > w->grace_ms;
    if (over || succeeded(w)) {
        log_info(over ? "no new master within the grace time: draining"
                      : "a new master serves: draining",
                 "");
        uv_timer_stop(timer);
        proxy_drain(w->proxy, ORPHAN_DRAIN_MS, over ? 0 : PROXY_PARKED_MS);
    }
}

static void on_closed(void *arg, int error)
{
    struct worker *w = arg;
    ipc_close(w->channel);
    w->channel = NULL;
    w->orphan_since_ms = clock_now_ms();
    proxy_orphan(w->proxy);
    log_warn("the master is gone: serving on with the last roster", "error=%d grace_ms=%llu", error,
             (unsigned long long)w->grace_ms);
    uv_timer_start(&w->orphan, on_orphan_look, CHILD_ORPHAN_LOOK_MS, CHILD_ORPHAN_LOOK_MS);
}

/* ---- Life ------------------------------------------------------------------------------- */

static void on_fact(void *arg, const char *kind, const char *service, const char *backend,
                    const char *text)
{
    struct cJSON *fact = json_object();
    json_set_str(fact, "kind", kind);
    json_set_str(fact, "service", service);
    json_set_str(fact, "backend", backend);
    json_set_str(fact, "text", text);
    tell(arg, IPC_FACT, 0, fact);
}

static void on_fault(void *arg, const struct proxy_fault *f)
{
    struct cJSON *fault = json_object();
    json_set_str(fault, "kind", "fault");
    json_set_str(fault, "point", f->point);
    json_set_str(fault, "service", f->service);
    json_set_num(fault, "place", f->place);
    json_set_str(fault, "policy", f->policy);
    json_set_str(fault, "error", f->error);
    json_set_str(fault, "input", f->input);
    json_set_num(fault, "errors", (double)f->errors);
    json_set_num(fault, "calls", (double)f->calls);
    tell(arg, IPC_FACT, f->generation, fault);
}

static void on_spans(void *arg, struct cJSON *spans, uint64_t left_out)
{
    struct cJSON *told = json_object();
    json_add(told, "spans", spans);
    json_set_num(told, "left_out", (double)left_out);
    tell(arg, IPC_SPANS, 0, told);
}

static void on_reopen(uv_signal_t *handle, int signum)
{
    struct worker *w = handle->data;
    (void)signum;
    log_reopen();
    if (w->proxy) {
        proxy_reopen(w->proxy);
    }
}

static int start(struct worker *w)
{
    int rc = board_open(CHILD_BOARD_FD, &w->board);
    if (rc || w->index >= board_workers(w->board)) {
        log_error("no scoreboard", "error=%d", rc);
        return -1;
    }
    board_set(&board_worker(w->board, w->index)->pid, (uint64_t)getpid());
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->orphan);
    w->orphan.data = w;
    uv_signal_init(&w->loop, &w->reopen);
    w->reopen.data = w;
    uv_signal_start(&w->reopen, on_reopen, SIGUSR1);
    struct proxy_options options = {&w->loop, w->board, w->index};
    if (proxy_new(&options, &w->proxy) ||
        ipc_open(&w->loop, CHILD_CHANNEL_FD, on_message, on_closed, w, &w->channel)) {
        log_error("cannot start", "");
        return -1;
    }
    proxy_on_fact(w->proxy, on_fact, w);
    proxy_on_fault(w->proxy, on_fault, w);
    proxy_on_spans(w->proxy, on_spans, w);
    return ipc_send_text(w->channel, IPC_READY, 0, "{}");
}

int worker_main(int argc, char **argv)
{
    struct worker w = {.grace_ms = 30000};
    char who[32]; /* "worker." and a number below LIMIT_WORKERS */
    w.index = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0;
    snprintf(who, sizeof who, "worker.%u", w.index);
    child_close_from(CHILD_BOARD_FD + 1);
    child_open_log(who, argc, argv);
    w.serving_path = argc > 6 ? argv[6] : "";
    w.master_pid = argc > 7 ? strtoul(argv[7], NULL, 10) : 0;
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (start(&w)) {
        return 1;
    }
    proxy_run(w.proxy);
    proxy_free(w.proxy);
    ipc_close(w.channel);
    uv_close((uv_handle_t *)&w.orphan, NULL);
    uv_close((uv_handle_t *)&w.reopen, NULL);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    int busy = uv_loop_close(&w.loop);
    if (busy) {
        log_error("handles are still open at the end", "");
    }
    board_free(w.board);
    return busy ? 1 : 0;
}
