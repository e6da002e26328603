/* explain.c: questions of operators to workers about requests: to the first one, how it would decide on
 * a request like that; to all, how they decided on one that was, and how they decide now.
 *
 * Owns: those who wait for answers. A worker that does not answer in time, or dies, costs a
 * refusal, or its part of the answer. */
#include "app/master.h"

#include <stdio.h>

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

static struct explain_wait *begin(struct master *m, struct admin_request *request)
{
    struct explain_wait *wait = mem_new(sizeof *wait);
    wait->request = request;
    wait->id = ++m->explained;
    wait->deadline_ms = clock_now_ms() + ANSWER_MS;
    wait->next = m->explains;
    m->explains = wait;
    return wait;
}

static void ask(struct master *m, struct child *w, const struct cJSON *question)
{
    char *text = json_text(question);
    child_send(w, IPC_EXPLAIN, m->generation, text);
    mem_free(text);
}

static void free_wait(struct explain_wait *wait)
{
    json_free(wait->found);
    json_free(wait->after);
    mem_free(wait->of);
    mem_free(wait);
}

/* ---- one that is only spoken of ---------------------------------------------------------- */

static void begin_like(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    struct child *w = m->workers[0];
    if (!w || !w->ready || !w->generation) {
        refuse(request, "the first worker is being started: try again");
        return;
    }
    struct cJSON *question = json_object();
    json_set_num(question, "id", (double)begin(m, request)->id);
    json_set_str(question, "like", json_str(args, "like", ""));
    json_set_str(question, "listen", json_str(args, "listen", ""));
    ask(m, w, question);
    json_free(question);
}

/* ---- one that was ------------------------------------------------------------------------ */

static void refuse_unknown(struct explain_wait *wait)
{
    char *error =
        wait->complete
            ? mem_printf("no decision on a request \"%s\" is known: none of the last %.1f s is, "
                         "since the workers started",
                         wait->of, wait->reaches_s)
            : mem_printf("no decision on a request \"%s\" is known: workers know those of the last "
                         "%.1f s, and of the last %.1f s of requests that failed or were repeated",
                         wait->of, wait->reaches_s, wait->failed_reaches_s);
    refuse(wait->request, error);
    mem_free(error);
}

/* All have answered, or the time is over. Takes the wait. */
static void settle(struct explain_wait *wait)
{
    if (wait->after) {
        struct cJSON *out = json_object();
        json_set_bool(out, "ok", true);
        json_set(out, "found", wait->found);
        json_set(out, "after", wait->after);
        json_set_num(out, "left_out", (double)wait->left_out);
        json_set_bool(out, "lost", wait->lost);
        wait->found = wait->after = NULL;
        admin_answer(wait->request, out);
    } else if (!json_first(wait->found)) {
        refuse_unknown(wait);
    } else {
        struct cJSON *out = json_object();
        json_set_bool(out, "ok", true);
        json_set_str(out, "request", wait->of);
        json_set(out, "found", wait->found);
        json_set_num(out, "left_out", (double)wait->left_out);
        wait->found = NULL;
        admin_answer(wait->request, out);
    }
    free_wait(wait);
}

static void begin_all(struct master *m, struct admin_request *request, const char *of,
                      struct cJSON *question, const struct cJSON *trace)
{
    struct explain_wait *wait = begin(m, request);
    wait->of = mem_copy(of);
    wait->found = json_array();
    wait->after = trace ? json_object() : NULL;
    wait->complete = true;
    json_set_num(question, "id", (double)wait->id);
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            if (trace) {
                char index[16]; /* a number of 32 bits */
                snprintf(index, sizeof index, "%u", i);
                json_set_num(question, "after", json_num(json_get(trace, "after"), index, -1));
            }
            ask(m, m->workers[i], question);
            wait->pending++;
        }
    }
    json_free(question);
    if (!wait->pending) {
        m->explains = wait->next;
        refuse(request, "the workers are being started: try again");
        free_wait(wait);
    }
}

/* Takes what one worker knows to what is known already, the oldest decision first. */
static void gather(struct explain_wait *wait, const struct child *w, const struct cJSON *answer)
{
    double reaches_s = json_num(answer, "reaches_s", 0);
    double failed_s = json_num(answer, "failed_reaches_s", 0);
    bool first = wait->reaches_s <= 0;
    wait->reaches_s = first || reaches_s < wait->reaches_s ? reaches_s : wait->reaches_s;
    wait->failed_reaches_s =
        first || failed_s < wait->failed_reaches_s ? failed_s : wait->failed_reaches_s;
    wait->left_out += (uint64_t)json_int(answer, "left_out", 0);
    wait->complete = wait->complete && json_bool(answer, "complete", false);
    wait->lost = wait->lost || json_bool(answer, "lost", false);
    if (wait->after) {
        char index[16]; /* a number of 32 bits */
        snprintf(index, sizeof index, "%u", w->index);
        json_set_num(wait->after, index, json_num(answer, "after", 0));
    }
    for (struct cJSON *one = json_first(json_get(answer, "found")); one; one = json_next(one)) {
        struct cJSON *copy = json_copy(one);
        json_set_num(copy, "worker", w->index);
        json_set(wait->found, NULL, copy);
    }
    wait->pending--;
}

/* ------------------------------------------------------------------------------------------ */

void explain_begin(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    const char *of = json_str(args, "request", NULL);
    if (of) {
        struct cJSON *question = json_object();
        json_set_str(question, "request", of);
        begin_all(m, request, of, question, NULL);
    } else {
        begin_like(m, request, args);
    }
}

void explain_trace(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    struct cJSON *question = json_object();
    const char *service = json_str(args, "service", NULL), *route = json_str(args, "route", NULL);
    if (service) {
        json_set_str(question, "service", service);
    }
    if (route) {
        json_set_str(question, "route", route);
    }
    begin_all(m, request, "", question, args);
}

void explain_on_worker(struct master *m, const struct child *w, struct cJSON *takes)
{
    uint64_t id = (uint64_t)json_int(takes, "id", 0);
    struct explain_wait **at = &m->explains;
    while (*at && (*at)->id != id) {
        at = &(*at)->next;
    }
    struct explain_wait *wait = *at;
    if (wait && wait->of) {
        gather(wait, w, takes);
        if (!wait->pending) {
            *at = wait->next;
            settle(wait);
        }
    } else if (wait) {
        *at = wait->next;
        add_others(m, takes);
        admin_answer(wait->request, takes);
        free_wait(wait);
        return;
    }
    json_free(takes); /* read, or too late */
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
        if (wait->of && json_first(wait->found)) {
            settle(wait);
        } else {
            refuse(wait->request, wait->of ? "not all workers answered in time: try again, or see "
                                             "the log"
                                           : "the first worker did not answer in time: try again, "
                                             "or see the log");
            free_wait(wait);
        }
    }
}

void explain_close(struct master *m)
{
    explain_tick(m, UINT64_MAX);
}
