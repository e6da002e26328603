/* explain.c: questions of operators to the first worker: how it would decide on a request.
 *
 * Owns: those who wait for its answer. A worker that does not answer in time, or dies, costs a
 * refusal. */
#include "app/master.h"

#include "admin/admin.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "fleet/fleet.h"

enum {
    ANSWER_MS = 3000
};

static void refuse(struct admin_request *request, const char *error)
{
    struct cJSON *no = json_object();
    json_set_bool(no, "ok", false);
    json_set_str(no, "error", error);
    admin_answer(request, no);
}

static bool is_listed(const struct cJSON *backends, const char *id)
{
    for (const struct cJSON *b = json_first(backends); b; b = json_next(b)) {
        if (str_same(json_str(b, "backend", ""), id)) {
            return true;
        }
    }
    return false;
}

/* Instances that the worker does not know, for they are not in its roster. */
static void add_others(struct master *m, const struct cJSON *answer)
{
    struct cJSON *backends = json_get(answer, "backends");
    struct cJSON *status = fleet_status(m->fleet, json_str(answer, "service", ""), clock_now_ms());
    const struct cJSON *service = json_first(json_get(status, "services"));
    struct cJSON *instance = json_first(json_get(service, "instances"));
    for (; backends && instance; instance = json_next(instance)) {
        const char *id = json_str(instance, "id", ""), *why = json_str(instance, "reason", "");
        if (!is_listed(backends, id)) {
            struct cJSON *one = json_object();
            char *reason = mem_printf("%s%s%s", json_str(instance, "state", "not there"),
                                      *why ? ": " : "", why);
            json_set_str(one, "backend", id);
            json_set_str(one, "address", json_str(instance, "address", ""));
            json_set_bool(one, "chosen", false);
            json_set_bool(one, "eligible", false);
            json_set_str(one, "reason", reason);
            json_set(backends, NULL, one);
            mem_free(reason);
        }
    }
    json_free(status);
}

void explain_begin(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    struct child *w = m->workers[0];
    if (!w || !w->ready || !w->generation) {
        refuse(request, "the first worker is being started: try again");
        return;
    }
    struct explain_wait *wait = mem_new(sizeof *wait);
    wait->request = request;
    wait->id = ++m->explained;
    wait->deadline_ms = clock_now_ms() + ANSWER_MS;
    wait->next = m->explains;
    m->explains = wait;
    struct cJSON *question = json_object();
    json_set_num(question, "id", (double)wait->id);
    json_set_str(question, "like", json_str(args, "like", ""));
    json_set_str(question, "listen", json_str(args, "listen", ""));
    char *text = json_text(question);
    child_send(w, IPC_EXPLAIN, m->generation, text);
    mem_free(text);
    json_free(question);
}

void explain_on_worker(struct master *m, struct cJSON *takes)
{
    uint64_t id = (uint64_t)json_int(takes, "id", 0);
    for (struct explain_wait **at = &m->explains; *at; at = &(*at)->next) {
        struct explain_wait *wait = *at;
        if (wait->id == id) {
            *at = wait->next;
            add_others(m, takes);
            admin_answer(wait->request, takes);
            mem_free(wait);
            return;
        }
    }
    json_free(takes); /* too late */
}

void explain_tick(struct master *m, uint64_t now_ms)
{
    for (struct explain_wait **at = &m->explains; *at;) {
        struct explain_wait *wait = *at;
        if (now_ms < wait->deadline_ms) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        refuse(wait->request, "the first worker did not answer in time: try again, or see the log");
        mem_free(wait);
    }
}

void explain_close(struct master *m)
{
    explain_tick(m, UINT64_MAX);
}
