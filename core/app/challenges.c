/* challenges.c: what ACME authorities are answered, on its way to the workers.
 *
 * Owns: the text of the last CHALLENGES. A worker that comes later gets it before it listens; one is ready when it has
 * acknowledged the last version. */
#include <stdio.h>

#include "app/master.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

void challenges_set(struct master *m, const char *token, const char *answer)
{
    if (!token && !m->challenges.text) {
        return;
    }
    struct cJSON *json = json_object(), *answers = json_object();
    m->challenges.version++;
    json_set_num(json, "version", (double)m->challenges.version);
    if (token) {
        json_set_str(answers, token, answer);
    }
    json_set(json, "answers", answers);
    mem_free(m->challenges.text);
    m->challenges.text = json_text(json);
    json_free(json);
    workers_tell(m, IPC_CHALLENGES, m->challenges.text);
    if (!token) {
        mem_release(&m->challenges.text);
    }
}

void challenges_give(struct master *m, struct child *worker)
{
    if (m->challenges.text) {
        child_send(worker, IPC_CHALLENGES, m->generation, m->challenges.text);
    }
}

bool challenges_ready(const struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        const struct child *w = m->workers[i];
        if (w && w->ready && w->acked_challenges != m->challenges.version) {
            return false;
        }
    }
    return true;
}
