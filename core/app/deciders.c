/* deciders.c: the policy process as the master keeps it.
 *
 * Invariants: one question of a kind is open (of NOTIFY, any number); a process that says nothing for
 * ANSWER_MS is killed and started again with the configuration in force (its files are not read
 * again). No answer means hold, so nothing waits for it. */
#include "app/master.h"

#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "fleet/fleet.h"
#include "watch/catalog.h"

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

static const struct {
    enum ipc_type ask, answer;
} QUESTIONS[CHILD_QUESTIONS] = {
    [CHILD_DECIDE] = {IPC_SNAPSHOT, IPC_DECISIONS},
    [CHILD_EVALUATE] = {IPC_EVALUATE, IPC_EVALUATED},
    [CHILD_NOTIFY] = {IPC_NOTIFY, IPC_NOTIFIED},
};

static unsigned open_questions(const struct child *child)
{
    return child->open[CHILD_DECIDE] + child->open[CHILD_EVALUATE] + child->open[CHILD_NOTIFY];
}

/* Whoever waits for an answer of this process gets none. */
static void give_up(struct master *m, struct child *child)
{
    for (int i = 0; child && i < CHILD_QUESTIONS; i++) {
        if (child->open[i] && i != CHILD_DECIDE && m->on_answer) {
            m->on_answer(m, (enum child_question)i, NULL);
        }
        child->open[i] = 0;
    }
}

static void on_decisions(struct master *m, const struct cJSON *decisions, uint32_t generation)
{
    m->counters.policy_errors += faults_on_decisions(m, decisions, generation);
    fleet_on_decisions(m->fleet, decisions, generation, clock_now_ms());
}

static void on_answer(struct master *m, struct child *child, enum child_question question,
                      const struct ipc_message *message)
{
    struct cJSON *answer = json_parse(message->data, message->len);
    m->policy_back_off_ms = 0;
    uint64_t now_us = clock_now_us();
    watch_time(&m->counters.answers[question], FAMILY_POLICY_ANSWER,
               (double)(now_us - child->question_us[question]) / 1e6);
    child->question_us[question] = now_us;
    child->open[question] -= child->open[question] > 0;
    child->asked_ms = open_questions(child) ? clock_now_ms() : 0;
    if (question == CHILD_DECIDE) {
        on_decisions(m, answer, message->generation);
    } else if (m->on_answer) {
        m->on_answer(m, question, answer);
    }
    json_free(answer);
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
        learned_give(m, child, false);
        child_send(child, IPC_CONFIG, m->generation, m->config_text);
        faults_give(m, child, false);
    } else if (message->type == IPC_LEARNED) {
        struct cJSON *portion = json_parse(message->data, message->len);
        learned_on_portion(m, portion);
        json_free(portion);
    } else if (message->type == IPC_NACK) {
        struct cJSON *nack = json_parse(message->data, message->len);
        log_error("the policy process refused the configuration in force", "error=%s",
                  json_str(nack, "error", ""));
        json_free(nack);
    }
    for (int i = 0; i < CHILD_QUESTIONS; i++) {
        if (message->type == QUESTIONS[i].answer) {
            on_answer(m, child, (enum child_question)i, message);
        }
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
    give_up(m, child);
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
    history_note_exit(m, "policy", 0, status, signal);
}

void deciders_adopt(struct master *m, struct child *child)
{
    struct child *old = m->policy;
    m->policy = child;
    child->on_message = on_message;
    child->on_exited = on_exited;
    give_up(m, old);
    child_dismiss(old);
}

bool deciders_ask(struct master *m, enum child_question question, const char *text)
{
    struct child *child = m->policy;
    if (!child || !child->ready || (question != CHILD_NOTIFY && child->open[question])) {
        return false;
    }
    child->asked_ms = open_questions(child) ? child->asked_ms : clock_now_ms();
    if (!child->open[question]++) {
        child->question_us[question] = clock_now_us();
    }
    child_send(child, QUESTIONS[question].ask, m->generation, text);
    return true;
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
