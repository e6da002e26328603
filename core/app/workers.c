/* workers.c: the worker processes as the master keeps them.
 *
 * Owns: the listening sockets (one per worker and address, kept over a worker's death, so that
 * nothing that waits to be accepted is lost) and the last roster's text.
 * Invariants: a worker gets PREPARE, LISTEN, COMMIT, ROSTER in this order before it accepts. After a
 * crash of a master LISTEN comes last: its workers serve until our roster has all who can. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>

#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "fleet/fleet.h"
#include "net/net.h"

enum {
    STUCK_MS = 1000, /* inside Lua without a beat: killed */
    RETRY_MS = 1000  /* after a failure to start one */
};

/* ---- Listening sockets ------------------------------------------------------------------ */

static struct listener *find_listener(struct master *m, const char *address)
{
    for (struct listener *l = m->listeners; l; l = l->next) {
        if (str_same(l->address, address)) {
            return l;
        }
    }
    return NULL;
}

static bool is_unix(const struct listener *l)
{
    return !strncmp(l->address, "unix:", 5);
}

/* The file of a unix socket that we made goes with it. */
static void free_listener(struct listener *l)
{
    if (is_unix(l) && l->fds[0] >= 0) {
        (void)unlink(l->address + 5);
    }
    for (unsigned i = 0; i < LIMIT_WORKERS; i++) {
        if (l->fds[i] >= 0) {
            close(l->fds[i]);
        }
    }
    mem_free(l->address);
    mem_free(l);
}

/* Workers of a dead master listen until we serve. */
static bool predecessor_listens(const struct master *m)
{
    return m->had_predecessor && !m->serving_told;
}

/* SO_REUSEPORT lets several processes of one user share a port, ours and a stranger's alike. A
 * plain socket tells whether somebody else is there; workers that a dead master left are expected.
 */
static int taken_by_others(struct master *m, const struct net_addr *addr)
{
    int fd = -1;
    if (predecessor_listens(m) || !strncmp(addr->text, "unix:", 5)) {
        return 0;
    }
    int rc = net_listen(addr, false, &fd);
    if (!rc) {
        close(fd);
    }
    return rc;
}

static int open_listener(struct master *m, const char *address, struct listener **ret_listener)
{
    struct net_addr addr;
    int rc = net_addr_parse(address, &addr);
    if (!rc) {
        rc = taken_by_others(m, &addr);
    }
    if (rc) {
        return rc;
    }
    struct listener *l = mem_new(sizeof *l);
    l->address = mem_copy(address);
    for (unsigned i = 0; i < LIMIT_WORKERS; i++) {
        l->fds[i] = -1;
    }
    for (unsigned i = 0; !rc && i < m->worker_count; i++) {
        if (is_unix(l) && i) {
            /* A path has one socket, which all share. */
            l->fds[i] = fcntl(l->fds[0], F_DUPFD_CLOEXEC, 3);
            rc = l->fds[i] < 0 ? -errno : 0;
        } else {
            if (is_unix(l) && predecessor_listens(m)) {
                (void)unlink(addr.text + 5); /* they keep what they have */
            }
            rc = net_listen(&addr, !is_unix(l), &l->fds[i]);
        }
    }
    if (rc) {
        free_listener(l);
        return rc;
    }
    *ret_listener = l;
    return 0;
}

static int want_address(struct master *m, const char *address, const char *at, char **reterr)
{
    struct listener *l = find_listener(m, address);
    if (!l && m->taking_over) {
        return 0;
    }
    if (!l) {
        int rc = open_listener(m, address, &l);
        if (rc) {
            *reterr =
                mem_printf("%s: cannot listen on %s: %s: %s", at, address, err_text(rc),
                           rc == -EADDRINUSE ? "stop what listens there, or choose another port"
                                             : "choose another address");
            return rc;
        }
        l->next = m->listeners;
        m->listeners = l;
    }
    l->wanted = true;
    return 0;
}

/* Marks what a configuration names as wanted, opening it with reterr not NULL. */
static int want_all(struct master *m, const struct cJSON *config, char **reterr)
{
    int rc = 0;
    struct cJSON *service = json_first(json_get(config, "services"));
    for (; service && !rc; service = json_next(service)) {
        struct cJSON *route = json_first(json_get(service, "routes"));
        for (; route && !rc; route = json_next(route)) {
            rc = want_address(m, json_str(route, "listen", ""), json_str(route, "at", ""), reterr);
        }
    }
    return rc;
}

int workers_listen(struct master *m, const struct cJSON *config, char **reterr)
{
    int rc = want_all(m, config, reterr);
    if (rc) {
        workers_close_unused(m);
    }
    return rc;
}

void workers_close_unused(struct master *m)
{
    char *error = NULL;
    for (struct listener *l = m->listeners; l; l = l->next) {
        l->wanted = false;
    }
    (void)want_all(m, m->config, &error); /* all of them are open already */
    mem_free(error);
    for (struct listener **at = &m->listeners; *at;) {
        struct listener *l = *at;
        if (l->wanted) {
            at = &l->next;
        } else {
            *at = l->next;
            free_listener(l);
        }
    }
}

void workers_close_listeners(struct master *m)
{
    while (m->listeners) {
        struct listener *l = m->listeners;
        m->listeners = l->next;
        free_listener(l);
    }
}

static void send_listeners(struct master *m, struct child *w)
{
    for (struct listener *l = m->listeners; l; l = l->next) {
        struct cJSON *args = json_object();
        json_set_str(args, "address", l->address);
        char *text = json_text(args);
        if (w->channel) {
            (void)ipc_send(w->channel, IPC_LISTEN, 0, text, strlen(text), l->fds[w->index]);
        }
        mem_free(text);
        json_free(args);
    }
}

/* ---- Messages --------------------------------------------------------------------------- */

static void send_roster(struct master *m, struct child *w)
{
    if (m->roster) {
        child_send(w, IPC_ROSTER, m->generation, m->roster);
    }
}

/* A worker is there: give it all that is in force. A generation on its way comes by itself. */
static void welcome(struct master *m, struct child *w)
{
    certificates_welcome(m, w, false);
    child_send(w, IPC_PREPARE, m->generation, m->config_text);
    challenges_give(m, w);
    send_listeners(m, w);
    child_send(w, IPC_COMMIT, m->generation, "{}");
    faults_give(m, w, true);
    send_roster(m, w);
    if (m->reload.phase == RELOAD_PREPARING) {
        certificates_welcome(m, w, true);
        child_send(w, IPC_PREPARE, m->reload.generation, m->reload.config_text);
    }
}

static void on_roster_ack(struct master *m)
{
    if (m->taking_over || clock_now_ms() < m->acks_from_ms) {
        return;
    }
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->acked_roster < least) {
            least = m->workers[i]->acked_roster;
        }
    }
    if (least != UINT64_MAX && least > m->roster_acked) {
        m->roster_acked = least;
        fleet_on_roster(m->fleet, least, clock_now_ms());
    }
}

static bool all_committed(const struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (!m->workers[i] || !m->workers[i]->generation) {
            return false;
        }
    }
    return true;
}

static void tell_serving(struct master *m)
{
    if (!m->serving_told && !m->taking_over && all_committed(m)) {
        m->serving_told = true;
        lock_serving(m);
        log_info("serving", "workers=%u generation=%u hash=%s", m->worker_count, m->generation,
                 json_str(m->config, "generation", ""));
    }
}

static void on_ack(struct master *m, struct child *w, const struct ipc_message *message)
{
    struct cJSON *ack = json_parse(message->data, message->len);
    const char *of = json_str(ack, "of", "");
    uint64_t version = (uint64_t)json_int(ack, "version", 0);
    if (str_same(of, "roster")) {
        w->acked_roster = version;
        on_roster_ack(m);
    } else if (str_same(of, "challenges")) {
        w->acked_challenges = version;
    } else if (str_same(of, "certificates")) {
        certificates_on_ack(m, w, version);
    } else if (str_same(of, "prepare")) {
        w->prepared = (uint32_t)version;
        reload_on_worker(m, w, NULL);
    } else if (str_same(of, "commit")) {
        w->generation = (uint32_t)version;
        reload_on_worker(m, w, NULL);
        tell_serving(m);
    }
    json_free(ack);
}

static void on_worker_message(void *arg, const struct ipc_message *message)
{
    struct child *w = arg;
    struct master *m = w->arg;
    if (message->type == IPC_READY) {
        welcome(m, w);
    } else if (message->type == IPC_ACK) {
        on_ack(m, w, message);
    } else if (message->type == IPC_NACK) {
        struct cJSON *nack = json_parse(message->data, message->len);
        const char *error = json_str(nack, "error", "no reason given");
        if (m->reload.phase == RELOAD_PREPARING && message->generation == m->reload.generation) {
            reload_on_worker(m, w, error);
        } else {
            log_error(str_same(json_str(nack, "of", ""), "certificates")
                          ? "a worker refused certificates: those before go on"
                          : "a worker refused the configuration in force",
                      "worker=%u error=%s", w->index, error);
        }
        json_free(nack);
    } else if (message->type == IPC_FACT) {
        struct cJSON *fact = json_parse(message->data, message->len);
        if (str_same(json_str(fact, "kind", ""), "fault")) {
            faults_on_worker(m, fact, message->generation);
        } else {
            facts_on_worker(m, w, fact);
        }
        json_free(fact);
    } else if (message->type == IPC_SPANS) {
        tracing_take(m, json_parse(message->data, message->len));
    } else if (message->type == IPC_EXPLAINED) {
        explain_on_worker(m, w, json_parse(message->data, message->len));
    }
    if (message->fd >= 0) {
        close(message->fd);
    }
}

/* ---- Processes -------------------------------------------------------------------------- */

static int start_one(struct master *m, unsigned index);

static void on_worker_exited(void *arg, struct child *w, int status, int signal)
{
    struct master *m = arg;
    m->children--;
    m->workers[w->index] = NULL;
    board_worker_reset(m->board, w->index);
    if (m->phase != MASTER_SERVING) {
        log_info("worker ended", "worker=%u status=%d signal=%d", w->index, status, signal);
        return;
    }
    m->counters.worker_deaths++;
    log_error("worker died: starting another", "worker=%u status=%d signal=%d", w->index, status,
              signal);
    history_note_exit(m, "worker", w->index, status, signal);
    reload_on_worker(m, w, w->ready ? "died" : NULL); /* of what it built, perhaps */
    /* At once, unless it never came up: then a broken start would spin. */
    m->worker_retry_ms[w->index] = clock_now_ms() + (w->generation ? 0 : RETRY_MS);
    on_roster_ack(m);
    if (w->generation) {
        (void)start_one(m, w->index);
    }
}

static int start_one(struct master *m, unsigned index)
{
    char number[16], pid[32]; /* integers in decimal */
    const char *args[9] = {"--worker"};
    snprintf(number, sizeof number, "%u", index);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    master_log_args(m, args + 1);
    args[4] = number;
    args[5] = m->serving_path;
    args[6] = pid;
    struct child_options options = {
        .loop = &m->loop,
        .args = args,
        .board_fd = board_fd(m->board),
        .on_message = on_worker_message,
        .on_exited = on_worker_exited,
        .arg = m,
        .index = index,
    };
    int rc = child_spawn(&options, &m->workers[index]);
    if (rc) {
        log_error("cannot start a worker: trying again", "worker=%u error=%s", index, err_text(rc));
        m->worker_retry_ms[index] = clock_now_ms() + RETRY_MS;
    } else {
        m->children++;
    }
    return rc;
}

int workers_start(struct master *m)
{
    int rc = 0;
    for (unsigned i = 0; i < m->worker_count && !rc; i++) {
        rc = start_one(m, i);
    }
    return rc;
}

static void watch_heartbeat(struct master *m, struct child *w, uint64_t now_ms)
{
    uint64_t beat = board_get(&board_worker(m->board, w->index)->heartbeat);
    if (beat % 2 == 0 || beat != w->stuck_beat) {
        w->stuck_beat = beat;
        w->stuck_since_ms = now_ms;
    } else if (now_ms - w->stuck_since_ms > STUCK_MS) {
        log_error("worker hangs inside a policy: killed", "worker=%u", w->index);
        w->stuck_since_ms = now_ms;
        child_kill(w);
        aside_note_kill(m, now_ms);
    }
}

/* From the workers of a dead master, when ours know as much as they do. Both listen for a moment. */
static void take_over(struct master *m, uint64_t now_ms)
{
    bool late = now_ms >= m->take_over_by_ms;
    if (!m->taking_over || m->phase != MASTER_SERVING || m->reload.phase == RELOAD_PREPARING ||
        !all_committed(m) || (!late && !(fleet_surveyed(m->fleet) && labels_surveyed(m)))) {
        return;
    }
    m->taking_over = false;
    m->acks_from_ms = now_ms + 5 * CHILD_ORPHAN_LOOK_MS;
    char *error = NULL;
    if (workers_listen(m, m->config, &error)) {
        log_error("cannot take over", "error=%s", error);
        mem_free(error);
        master_stop(m, 1);
        return;
    }
    for (unsigned i = 0; i < m->worker_count; i++) {
        send_listeners(m, m->workers[i]);
    }
    log_info("took over from a master that died", "reason=%s",
             late ? "its workers soon end" : "all backends are known");
    tell_serving(m);
}

void workers_tick(struct master *m, uint64_t now_ms)
{
    take_over(m, now_ms);
    on_roster_ack(m); /* those that came too early */
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i]) {
            watch_heartbeat(m, m->workers[i], now_ms);
        } else if (m->phase == MASTER_SERVING && now_ms >= m->worker_retry_ms[i]) {
            (void)start_one(m, i);
        }
    }
}

void workers_prepare(struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        struct child *w = m->workers[i];
        if (w && w->ready) {
            send_listeners(m, w);
            child_send(w, IPC_PREPARE, m->reload.generation, m->reload.config_text);
        }
    }
}

void workers_commit(struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            child_send(m->workers[i], IPC_COMMIT, m->generation, "{}");
        }
    }
}

void workers_abort(struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            child_send(m->workers[i], IPC_ABORT, m->reload.generation, "{}");
        }
    }
}

void workers_tell(struct master *m, enum ipc_type type, const char *text)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            child_send(m->workers[i], type, m->generation, text);
        }
    }
}

void workers_again(struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            child_send(m->workers[i], IPC_PREPARE, m->generation, m->config_text);
            child_send(m->workers[i], IPC_COMMIT, m->generation, "{}");
            faults_give(m, m->workers[i], true);
        }
    }
}

void workers_roster_again(struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            send_roster(m, m->workers[i]);
        }
    }
}

void workers_roster(struct master *m, uint64_t version, const char *json)
{
    mem_free(m->roster);
    m->roster = names_resolve(m->names, json);
    m->roster_version = version;
    workers_roster_again(m);
}

void workers_drain(struct master *m, uint32_t deadline_ms)
{
    struct cJSON *args = json_object();
    json_set_num(args, "deadline_ms", deadline_ms);
    char *text = json_text(args);
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            child_expect_end(m->workers[i]);
            child_send(m->workers[i], IPC_DRAIN, m->generation, text);
        } else {
            child_kill(m->workers[i]);
        }
    }
    mem_free(text);
    json_free(args);
}

void workers_kill(struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        child_kill(m->workers[i]);
    }
}

unsigned workers_alive(const struct master *m)
{
    unsigned alive = 0;
    for (unsigned i = 0; i < m->worker_count; i++) {
        alive += m->workers[i] != NULL;
    }
    return alive;
}
