/* reload.c: generations. The first load at the start is the same way with nothing to go back to.
 *
 *   IDLE -> LOADING (a fresh policy process reads, checks, builds)
 *        -> PREPARING (sockets are open, every worker builds it beside the old; the policy process tells what it
 *             learned, and the candidate builds on that)
 *        -> all acknowledged: COMMIT, the new policy process takes over, the fleet applies the rest
 *             -> SWITCHING until every worker said that it serves it: then the outcome is told
 *        -> anything else, or PREPARE_MS over, or only a rehearsal: ABORT, the old generation goes on */
#include "app/master.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "fleet/fleet.h"

enum {
    LOAD_MS = 10000, /* reading files and running all examples */
    DIFFS_LOGGED = 10,
    PREPARE_MS = 2000,
    SWITCH_MS = 2000
};

static void forget(struct reload *r)
{
    json_free(r->config);
    r->config = NULL;
    mem_release(&r->config_text);
    json_free(r->diff);
    r->diff = NULL;
    r->phase = RELOAD_IDLE;
}

static void answer(struct master *m, struct cJSON *takes)
{
    if (m->reload.asker) {
        admin_answer(m->reload.asker, takes);
        m->reload.asker = NULL;
    } else {
        json_free(takes);
    }
}

static void note_outcome(struct master *m, const char *error)
{
    struct reload *r = &m->reload;
    r->told = m->phase != MASTER_STARTING;
    r->ok = !error;
    r->ended_wall_ms = clock_wall_ms();
    mem_free(r->error);
    r->error = mem_copy(error);
}

static void log_errors(const char *errors)
{
    struct str rest = str_of(errors), line;
    while (str_next(&rest, '\n', &line)) {
        char *text = mem_copy_bytes(line.ptr, line.len);
        if (*text) {
            log_error("configuration refused", "error=%s", text);
        }
        mem_free(text);
    }
}

/* What was built or opened for a generation that does not come into force goes. */
static void drop(struct master *m)
{
    struct reload *r = &m->reload;
    if (r->phase == RELOAD_PREPARING && m->phase == MASTER_SERVING) {
        workers_abort(m);
        workers_close_unused(m);
    }
    certificates_abort(m);
    child_dismiss(r->candidate);
    r->candidate = NULL;
    forget(r);
}

/* It does not come into force. At the start that is the end: the errors go to stderr plainly, be it
 * the configuration or the place that is no good. */
static void refuse(struct master *m, const char *errors)
{
    struct reload *r = &m->reload;
    bool loaded = r->phase == RELOAD_PREPARING;
    drop(m);
    if (r->by_labels) {
        labels_refused(m, errors);
        return;
    }
    if (m->phase == MASTER_STARTING) {
        fprintf(stderr, "tidegate: %s%s\n", loaded ? "" : "the configuration does not load:\n",
                errors);
        master_stop(m, 1);
        return;
    }
    if (!r->rehearsal) {
        note_outcome(m, errors);
        m->counters.reloads_failed++;
        log_errors(errors);
        log_error("reload refused: the old generation goes on", "generation=%u hash=%s",
                  m->generation, json_str(m->config, "generation", ""));
        history_note(m, "reload", "", "reload refused", errors, true);
    }
    struct cJSON *no = json_object();
    json_set_bool(no, "ok", false);
    json_set_str(no, "error", errors);
    answer(m, no);
}

/* What an accepted generation is, for who asked. */
static struct cJSON *accepted(const struct reload *r, const struct cJSON *config)
{
    struct cJSON *yes = json_object();
    json_set_bool(yes, "ok", true);
    json_set_num(yes, "generation", r->generation);
    json_set_str(yes, "hash", json_str(config, "generation", ""));
    json_set_bool(yes, "dry_run", r->rehearsal);
    json_set_str(yes, "warnings", json_str(config, "warnings", ""));
    if (r->diff) {
        json_set(yes, "diff", json_copy(r->diff));
    }
    return yes;
}

static bool all_switched(const struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        const struct child *w = m->workers[i];
        if (w && w->ready && w->generation != m->generation) {
            return false;
        }
    }
    return true;
}

/* Whoever waits hears of it when no worker serves the generation before any more. */
static void tell_switched(struct master *m, bool late)
{
    struct reload *r = &m->reload;
    if (r->phase == RELOAD_SWITCHING && (late || all_switched(m))) {
        struct cJSON *outcome = r->outcome;
        r->outcome = NULL;
        r->phase = RELOAD_IDLE;
        json_set_bool(outcome, "all_switched", !late);
        answer(m, outcome);
    }
}

static void log_diff(const struct cJSON *diff)
{
    const struct cJSON *one = json_first(json_get(diff, "services"));
    for (unsigned n = 0; one && n < DIFFS_LOGGED; one = json_next(one), n++) {
        const struct cJSON *last = json_get(one, "last"), *was = json_get(last, "was"),
                           *now = json_get(last, "now");
        log_info("decides otherwise than before",
                 "service=%s differ=%d of=%d was=%g now=%g reason=\"%s\"",
                 json_str(one, "service", ""), (int)json_int(one, "differ", 0),
                 (int)json_int(one, "views", 0), json_num(was, "want", -1),
                 json_num(now, "want", -1), json_str(now, "reason", json_str(now, "error", "")));
    }
    for (one = json_first(json_get(diff, "alerts")); one; one = json_next(one)) {
        log_info("judges otherwise than before", "alert=%s subject=%s firing=%d",
                 json_str(one, "alert", ""), json_str(one, "subject", ""),
                 json_bool(one, "now", false));
    }
}

/* All workers have it: from here on nothing can refuse. */
static void commit(struct master *m)
{
    struct reload *r = &m->reload;
    r->outcome = accepted(r, r->config);
    json_free(m->config);
    mem_free(m->config_text);
    m->config = r->config;
    m->config_text = r->config_text;
    r->config = NULL;
    r->config_text = NULL;
    m->generation = r->generation;
    certificates_commit(m);
    m->counters.generation = m->generation;
    aside_clear(m);
    faults_apply(m, m->config);
    deciders_adopt(m, r->candidate);
    r->candidate = NULL;
    forget(r);
    if (m->phase == MASTER_SERVING) {
        const char *hash = json_str(m->config, "generation", "");
        workers_commit(m);
        workers_close_unused(m);
        log_diff(json_get(r->outcome, "diff"));
        m->counters.reloads_ok++;
        log_info("reloaded", "generation=%u hash=%s took_ms=%llu by=%s", m->generation, hash,
                 (unsigned long long)(clock_now_ms() - r->started_ms),
                 r->by_labels ? "labels" : "request");
        char *detail = mem_printf("generation %u, %s%s", m->generation, hash,
                                  r->by_labels ? ": labels of containers changed" : "");
        history_note(m, "reload", "", "reloaded", detail, false);
        mem_free(detail);
    }
    note_outcome(m, NULL);
    fleet_apply(m->fleet, m->config, clock_now_ms());
    collecting_apply(m, m->config);
    watching_apply(m, m->config);
    metrics_apply(m);
    telling_apply(m, m->config);
    issuing_apply(m, m->config);
    labels_apply(m);
    r->phase = RELOAD_SWITCHING;
    r->started_ms = clock_now_ms();
    tell_switched(m, false);
}

static bool all_prepared(const struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        const struct child *w = m->workers[i];
        /* One that is not up yet gets the generation in force when it is. */
        if (w && w->ready && w->prepared != m->reload.generation) {
            return false;
        }
    }
    return true;
}

/* Goes on when nobody is left to wait for. */
static void go_on(struct master *m)
{
    if (!m->reload.built || !all_prepared(m)) {
        return;
    }
    if (m->reload.rehearsal) {
        struct cJSON *yes = accepted(&m->reload, m->reload.config);
        drop(m);
        answer(m, yes);
    } else {
        commit(m);
    }
}

void reload_on_learned(struct master *m)
{
    struct reload *r = &m->reload;
    if (r->phase == RELOAD_PREPARING && !r->given && r->candidate) {
        r->given = true;
        learned_give(m, r->candidate, m->phase == MASTER_SERVING);
        child_send(r->candidate, IPC_CONFIG, r->generation, r->config_text);
    }
}

void reload_on_worker(struct master *m, const struct child *w, const char *error)
{
    struct reload *r = &m->reload;
    if (m->phase != MASTER_SERVING) {
        return;
    }
    if (r->phase == RELOAD_PREPARING && error) {
        char *text = mem_printf("worker %u: %s", w->index, error);
        refuse(m, text);
        mem_free(text);
    } else if (r->phase == RELOAD_PREPARING) {
        go_on(m);
    } else {
        tell_switched(m, false);
    }
}

/* What only a restart can change; a sentence that the caller owns, or NULL. */
static char *needs_restart(const struct master *m, const struct cJSON *config)
{
    static const char *const keys[] = {"id", "engine", "state_dir", "runtime_dir", "admin"};
    const struct cJSON *now = json_get(m->config, "cluster"), *then = json_get(config, "cluster");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!str_same(json_str(now, keys[i], ""), json_str(then, keys[i], ""))) {
            return mem_printf("cluster.%s changed from \"%s\" to \"%s\": restart tidegate for that",
                              keys[i], json_str(now, keys[i], ""), json_str(then, keys[i], ""));
        }
    }
    return NULL;
}

static void log_warnings(const struct cJSON *config)
{
    const char *warnings = json_str(config, "warnings", "");
    if (*warnings) {
        log_warn("configuration", "warning=%s", warnings);
    }
}

static void on_config(struct master *m, const struct ipc_message *message)
{
    struct reload *r = &m->reload;
    char *error = NULL;
    r->config = json_parse(message->data, message->len);
    r->config_text = mem_copy_bytes(message->data, message->len);
    r->phase = RELOAD_PREPARING;
    r->started_ms = clock_now_ms();
    if (!r->config) {
        error = mem_copy("the policy process sent a configuration that does not parse");
    } else if (certificates_prepare(m, r->config, &error)) {
        log_warnings(r->config);
    } else if (m->phase == MASTER_STARTING) {
        log_warnings(r->config);
        if (!master_build(m, &error)) {
            reload_on_learned(m); /* what the last daemon kept */
            commit(m);
            m->phase = MASTER_SERVING;
            (void)workers_start(m); /* what fails is tried again by the tick */
        }
    } else {
        if (!r->by_labels) {
            log_warnings(r->config);
        }
        error =
            r->by_labels && labels_stale(m, r->config)
                ? mem_copy("the files of the configuration were changed since they were loaded: "
                           "`tidegate reload` takes up these and the labels")
                : needs_restart(m, r->config);
        if (!error && !workers_listen(m, r->config, &error)) {
            r->seen = r->generation;
            certificates_send(m);
            workers_prepare(m);
            learned_ask(m, true);
            if (!m->learned.asked_ms) {
                reload_on_learned(m); /* nobody is there to ask */
            }
        }
    }
    if (error) {
        refuse(m, error);
    }
    mem_free(error);
}

static void on_candidate_message(void *arg, const struct ipc_message *message)
{
    struct child *child = arg;
    struct master *m = child->arg;
    if (message->fd >= 0) {
        close(message->fd);
    }
    if (child != m->reload.candidate) {
        return;
    }
    if (m->reload.phase == RELOAD_PREPARING && message->type == IPC_ACK) {
        struct cJSON *ack = json_parse(message->data, message->len);
        m->reload.built = true;
        m->reload.diff = json_get(ack, "diff") ? json_copy(json_get(ack, "diff")) : NULL;
        json_free(ack);
        go_on(m);
    } else if (message->type == IPC_READY) {
        struct cJSON *load = json_object(), *overrides = json_object();
        json_set_str(load, "path", m->config_path);
        if (m->options->engine) {
            json_set_str(overrides, "engine", m->options->engine);
        }
        if (m->options->admin) {
            json_set_str(overrides, "admin", m->options->admin);
        }
        json_set(load, "overrides", overrides);
        if (labels_give(m)) {
            json_set(load, "labelled", json_copy(labels_give(m)));
        }
        char *text = json_text(load);
        child_send(child, IPC_LOAD, m->reload.generation, text);
        mem_free(text);
        json_free(load);
    } else if (message->type == IPC_CONFIG && m->reload.phase == RELOAD_LOADING) {
        on_config(m, message);
    } else if (message->type == IPC_NACK) {
        struct cJSON *nack = json_parse(message->data, message->len);
        refuse(m, json_str(nack, "error", "no reason given"));
        json_free(nack);
    }
}

static void on_candidate_exited(void *arg, struct child *child, int status, int signal)
{
    struct master *m = arg;
    m->children--;
    if (child == m->reload.candidate) {
        m->reload.candidate = NULL;
        char *text = mem_printf(
            "the process that loads the configuration died (status %d, signal %d)", status, signal);
        refuse(m, text);
        mem_free(text);
    }
}

static struct cJSON *refusal(const char *error)
{
    struct cJSON *no = json_object();
    json_set_bool(no, "ok", false);
    json_set_str(no, "error", error);
    return no;
}

static void begin(struct master *m, struct admin_request *asker, bool rehearsal, bool by_labels)
{
    struct reload *r = &m->reload;
    r->phase = RELOAD_LOADING;
    r->given = r->built = false;
    r->rehearsal = rehearsal;
    r->by_labels = by_labels;
    r->again = r->again && (rehearsal || by_labels);
    r->generation = (r->seen > m->generation ? r->seen : m->generation) + 1;
    r->started_ms = clock_now_ms();
    r->asker = asker;
    int rc = deciders_spawn(m, on_candidate_message, on_candidate_exited, &r->candidate);
    if (rc) {
        char *text = mem_printf("cannot start a policy process: %s", err_text(rc));
        refuse(m, text);
        mem_free(text);
    }
}

void reload_begin(struct master *m, struct admin_request *asker, bool rehearsal)
{
    struct reload *r = &m->reload;
    bool stopping = m->phase > MASTER_SERVING;
    if (r->phase == RELOAD_IDLE && !stopping) {
        begin(m, asker, rehearsal, false);
    } else if (asker && r->by_labels && !r->next && !stopping) {
        r->next = asker; /* whom nobody told of the other one */
        r->next_rehearsal = rehearsal;
    } else if (asker) {
        admin_answer(asker, refusal(stopping ? "tidegate is stopping"
                                             : "a reload is under way already: wait for it"));
    } else {
        r->again = true;
    }
}

void reload_begin_labels(struct master *m)
{
    if (m->reload.phase == RELOAD_IDLE && m->phase == MASTER_SERVING) {
        begin(m, NULL, false, true);
    }
}

void reload_tick(struct master *m, uint64_t now_ms)
{
    struct reload *r = &m->reload;
    uint64_t age = now_ms - r->started_ms;
    if (r->phase == RELOAD_PREPARING && !r->given && !learned_awaited(m, now_ms)) {
        reload_on_learned(m); /* it says nothing: go on from what it told last */
    }
    if (r->phase == RELOAD_IDLE && r->next && m->phase == MASTER_SERVING) {
        struct admin_request *asker = r->next;
        r->next = NULL;
        reload_begin(m, asker, r->next_rehearsal);
    } else if (r->phase == RELOAD_IDLE && r->again && m->phase == MASTER_SERVING) {
        reload_begin(m, NULL, false);
    } else if (r->phase == RELOAD_LOADING && age > LOAD_MS) {
        struct child *stuck = r->candidate;
        refuse(m, "loading took longer than 10 s: is there an endless loop in it?");
        child_kill(stuck);
    } else if (r->phase == RELOAD_PREPARING && age > PREPARE_MS && !all_prepared(m)) {
        refuse(m, "not all workers were ready within 2 s");
    } else if (r->phase == RELOAD_PREPARING && age > LOAD_MS) {
        refuse(m, "the new policy process was not ready within 10 s");
    } else if (r->phase == RELOAD_SWITCHING && age > SWITCH_MS) {
        log_warn("not all workers have switched: the generation before goes on in them", "");
        tell_switched(m, true);
    }
}

void reload_close(struct master *m)
{
    answer(m, refusal("tidegate is stopping"));
    if (m->reload.next) {
        admin_answer(m->reload.next, refusal("tidegate is stopping"));
        m->reload.next = NULL;
    }
    child_kill(m->reload.candidate);
    m->reload.candidate = NULL;
    json_free(m->reload.outcome);
    m->reload.outcome = NULL;
    forget(&m->reload);
    mem_release(&m->reload.error);
}
