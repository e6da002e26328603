/* deciders.c: the policy process as the master keeps it.
 *
 * Invariants: at most one question is open; a process that does not answer within ANSWER_MS is
 * killed and started again with the configuration in force (its files are not read again). No
 * answer means hold, so nothing waits for it. */
#include "app/master.h"

#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "fleet/fleet.h"

enum {
    ANSWER_MS = 2000,
    BACK_OFF_LEAST_MS = 100,
    BACK_OFF_MOST_MS = 30000
};

int deciders_spawn(struct master *m, ipc_message_fn *on_message, child_exited_fn *on_exited,
                   struct child **ret_child)
{
    const char *args[5] = {"--policy"};
    master_log_args(m, args + 1);
    struct child_options options = {
        .loop = &m->loop,
        .args = args,
        .board_fd = -1,
        .on_message = on_message,
        .on_exited = on_exited,
        .arg = m,
    };
    int rc = child_spawn(&options, ret_child);
    if (!rc) {
        m->children++;
    }
    return rc;
}

static void on_decisions(struct master *m, struct child *child, const struct ipc_message *message)
{
    child->asked_ms = 0;
    m->policy_back_off_ms = 0;
    struct cJSON *decisions = json_parse(message->data, message->len);
    struct cJSON *one = json_first(json_get(decisions, "services"));
    for (; one; one = json_next(one)) {
        m->counters.policy_errors += json_get(one, "error") != NULL;
    }
    fleet_on_decisions(m->fleet, decisions, message->generation, clock_now_ms());
    json_free(decisions);
}

static void on_message(void *arg, const struct ipc_message *message)
{
    struct child *child = arg;
    struct master *m = child->arg;
    if (message->fd >= 0) {
        close(message->fd);
    }
    if (child != m->policy) {
        return; /* one of an old generation answers late */
    }
    if (message->type == IPC_READY) {
        child_send(child, IPC_CONFIG, m->generation, m->config_text);
    } else if (message->type == IPC_DECISIONS) {
        on_decisions(m, child, message);
    } else if (message->type == IPC_NACK) {
        struct cJSON *nack = json_parse(message->data, message->len);
        log_error("the policy process refused the configuration in force", "error=%s",
                  json_str(nack, "error", ""));
        json_free(nack);
    }
}

static void on_exited(void *arg, struct child *child, int status, int signal)
{
    struct master *m = arg;
    m->children--;
    if (child != m->policy) {
        return;
    }
    m->policy = NULL;
    if (m->phase != MASTER_SERVING) {
        return;
    }
    m->counters.policy_deaths++;
    m->policy_back_off_ms = m->policy_back_off_ms ? m->policy_back_off_ms * 2 : BACK_OFF_LEAST_MS;
    if (m->policy_back_off_ms > BACK_OFF_MOST_MS) {
        m->policy_back_off_ms = BACK_OFF_MOST_MS;
    }
    m->policy_retry_ms = clock_now_ms() + m->policy_back_off_ms;
    log_error("the policy process died: decisions hold until it is back",
              "status=%d signal=%d retry_ms=%llu", status, signal,
              (unsigned long long)m->policy_back_off_ms);
}

void deciders_adopt(struct master *m, struct child *child)
{
    struct child *old = m->policy;
    m->policy = child;
    child->on_message = on_message;
    child->on_exited = on_exited;
    child_dismiss(old);
}

void deciders_ask(struct master *m, const char *snapshot)
{
    struct child *child = m->policy;
    if (!child || !child->ready || child->asked_ms) {
        return;
    }
    child->asked_ms = clock_now_ms();
    child_send(child, IPC_SNAPSHOT, m->generation, snapshot);
}

void deciders_tick(struct master *m, uint64_t now_ms)
{
    struct child *child = m->policy;
    if (child && child->asked_ms && now_ms - child->asked_ms > ANSWER_MS) {
        log_error("the policy process does not answer: killed", "pid=%d", child->process.pid);
        child->asked_ms = 0;
        child_kill(child);
    } else if (!child && m->phase == MASTER_SERVING && now_ms >= m->policy_retry_ms) {
        int rc = deciders_spawn(m, on_message, on_exited, &m->policy);
        if (rc) {
            m->policy_retry_ms = now_ms + BACK_OFF_MOST_MS;
            log_error("cannot start the policy process", "error=%s", err_text(rc));
        }
    }
}

void deciders_close(struct master *m)
{
    child_dismiss(m->policy);
}
