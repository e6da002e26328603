/* history_answers.c: what operators ask of the history. Every question goes to the store's reader and is
 * answered when that has answered; who still waits at the end is refused. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "app/history.h"
#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "fleet/fleet.h"
#include "store/store.h"

enum {
    EVENTS_BY_DEFAULT = 1000,
};

/* A request that waits for the store. */
struct history_wait {
    struct history_wait *next;
    struct master *m; /* NULL: it is closing, and the request is answered */
    struct admin_request *request;
    struct cJSON *args;
};

static struct cJSON *refusal(const char *error)
{
    struct cJSON *no = json_object();
    json_set_bool(no, "ok", false);
    json_set_str(no, "error", error);
    return no;
}

static struct history_wait *wait_new(struct master *m, struct admin_request *request,
                                     const struct cJSON *args)
{
    struct history_wait *w = mem_new(sizeof *w);
    w->m = m;
    w->request = request;
    w->args = json_copy(args);
    w->next = m->history->waits;
    m->history->waits = w;
    return w;
}

/* Out of the list, and gone. */
static void wait_free(struct history_wait *w)
{
    if (w->m) {
        struct history_wait **at = &w->m->history->waits;
        while (*at != w) {
            at = &(*at)->next;
        }
        *at = w->next;
    }
    json_free(w->args);
    mem_free(w);
}

/* Takes answer and wait. */
static void reply(struct history_wait *w, struct cJSON *answer)
{
    admin_answer(w->request, answer);
    wait_free(w);
}

static void refuse(struct history_wait *w, int rc)
{
    char *error =
        rc == -EBUSY ? mem_copy("too many questions wait for the history: try again")
        : rc == -EINVAL
            ? mem_copy("no such range: to_ms is after from_ms, and steps are not too small")
            : mem_printf("the history cannot be read: %s", err_text(rc));
    reply(w, refusal(error));
    mem_free(error);
}

void history_answers_close(struct master *m)
{
    while (m->history && m->history->waits) {
        struct history_wait *w = m->history->waits;
        m->history->waits = w->next;
        w->m = NULL; /* the store calls back when it closes */
        admin_answer(w->request, refusal("tidegate is stopping"));
    }
}

/* Bytes of the store that are JSON, or text. */
static struct cJSON *detail_json(const char *text)
{
    struct cJSON *value = *text == '{' ? json_parse(text, strlen(text)) : NULL;
    if (!value) {
        struct cJSON *holder = json_object();
        json_set_str(holder, "t", text);
        value = json_copy(json_get(holder, "t"));
        json_free(holder);
    }
    return value;
}

/* ---- decisions --------------------------------------------------------------------------- */

static bool same_decision(const struct cJSON *a, const struct cJSON *b)
{
    return json_num(a, "wall_ms", 0) == json_num(b, "wall_ms", -1) &&
           str_same(json_str(a, "service", ""), json_str(b, "service", ""));
}

static bool has_decision(const struct cJSON *list, const struct cJSON *d)
{
    for (const struct cJSON *one = json_first(list); one; one = json_next(one)) {
        if (same_decision(one, d)) {
            return true;
        }
    }
    return false;
}

/* A row that is to be told, NULL: not. */
struct kept {
    struct cJSON *decision;
};

/* Those of before this run, then those in memory; NULL: neither knows the service. */
static struct cJSON *decisions_answer(struct master *m, const struct cJSON *args,
                                      const struct store_row *rows, size_t count)
{
    const char *service = json_str(args, "service", NULL);
    uint64_t since_ms = (uint64_t)json_int(args, "since_wall_ms", 0);
    struct cJSON *memory = fleet_decisions(m->fleet, service, since_ms);
    struct cJSON *list = json_array(), *from_memory = json_get(memory, "decisions");
    uint64_t memory_from_ms = (uint64_t)json_int(json_first(from_memory), "wall_ms", INT64_MAX);
    struct cJSON *taken = json_object(); /* written twice: the newer one, which comes first */
    struct kept *kept = mem_array(count, sizeof *kept);
    for (size_t i = 0; i < count; i++) {
        struct cJSON *d = json_parse(rows[i].detail, strlen(rows[i].detail));
        char key[160]; /* a service's name of at most 63 bytes and a number */
        snprintf(key, sizeof key, "%s %llu", rows[i].service, (unsigned long long)rows[i].wall_ms);
        if (d && !json_get(taken, key) &&
            !(rows[i].wall_ms >= memory_from_ms && has_decision(from_memory, d))) {
            json_set_bool(taken, key, true);
            kept[i].decision = d;
        } else {
            json_free(d);
        }
    }
    for (size_t i = count; i-- > 0;) {
        if (kept[i].decision) {
            json_set(list, NULL, kept[i].decision);
        }
    }
    mem_free(kept);
    json_free(taken);
    for (const struct cJSON *d = json_first(from_memory); d; d = json_next(d)) {
        json_set(list, NULL, json_copy(d));
    }
    bool known = memory || json_first(list);
    json_free(memory);
    if (!known) {
        json_free(list);
        return refusal("no such service: `tidegate status` lists them");
    }
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", true);
    json_set(out, "decisions", list);
    return out;
}

static void on_decisions(void *arg, int rc, const struct store_row *rows, size_t count)
{
    struct history_wait *w = arg;
    if (!w->m) {
        wait_free(w);
    } else {
        /* What the store cannot tell, memory still can. */
        reply(w, decisions_answer(w->m, w->args, rows, rc ? 0 : count));
    }
}

void history_ask_decisions(struct master *m, struct admin_request *request,
                           const struct cJSON *args)
{
    if (!m->history) {
        admin_answer(request, decisions_answer(m, args, NULL, 0));
        return;
    }
    struct store_filter filter = {
        .kind = "decision",
        .service = json_str(args, "service", NULL),
        .since_ms = (uint64_t)json_int(args, "since_wall_ms", 0),
        .limit = LIMIT_DECISIONS,
    };
    struct history_wait *w = wait_new(m, request, args);
    int rc = store_query_events(m->history->store, &filter, on_decisions, w);
    if (rc) {
        on_decisions(w, rc, NULL, 0);
    }
}

/* ---- events ------------------------------------------------------------------------------ */

static void on_events(void *arg, int rc, const struct store_row *rows, size_t count)
{
    struct history_wait *w = arg;
    if (!w->m) {
        wait_free(w);
        return;
    }
    if (rc) {
        refuse(w, rc);
        return;
    }
    struct cJSON *out = json_object(), *list = json_array();
    for (size_t i = count; i-- > 0;) {
        char at[32]; /* clock_iso needs 25 */
        struct cJSON *e = json_object();
        clock_iso(rows[i].wall_ms, at, sizeof at);
        json_set_str(e, "at", at);
        json_set_num(e, "wall_ms", (double)rows[i].wall_ms);
        json_set_num(e, "sequence", (double)rows[i].sequence);
        json_set_str(e, "kind", rows[i].kind);
        json_set_str(e, "service", rows[i].service);
        json_set_str(e, "subject", rows[i].subject);
        json_set_str(e, "what", rows[i].what);
        json_set_str(e, "who", rows[i].who);
        json_set(e, "detail", detail_json(rows[i].detail));
        json_set_bool(e, "bad", rows[i].bad);
        json_set(list, NULL, e);
    }
    json_set_bool(out, "ok", true);
    json_set(out, "events", list);
    reply(w, out);
}

static bool is_kept(struct master *m, struct admin_request *request)
{
    if (!m->history) {
        admin_answer(request, refusal("no history is kept: cluster { history = ... } or the log "
                                      "says why"));
    }
    return m->history;
}

void history_ask_events(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    if (!is_kept(m, request)) {
        return;
    }
    int64_t limit = json_int(args, "limit", EVENTS_BY_DEFAULT);
    struct store_filter filter = {
        .kind = json_str(args, "kind", NULL),
        .service = json_str(args, "service", NULL),
        .since_ms = (uint64_t)json_int(args, "since_wall_ms", 0),
        .limit = limit > 0 && limit < STORE_ROWS ? (uint32_t)limit : STORE_ROWS,
    };
    struct history_wait *w = wait_new(m, request, args);
    int rc = store_query_events(m->history->store, &filter, on_events, w);
    if (rc) {
        refuse(w, rc);
    }
}

/* ---- history ----------------------------------------------------------------------------- */

static struct cJSON *points_json(const struct store_points *series)
{
    struct cJSON *points = json_array();
    for (size_t i = 0; i < series->count; i++) {
        const struct store_point *p = &series->points[i];
        struct cJSON *one = json_array();
        const double numbers[] = {(double)p->at_ms, p->min,  p->max,
                                  p->mean,          p->last, (double)p->count};
        for (int n = 0; n < 6; n++) {
            json_add_num(one, numbers[n]);
        }
        json_set(points, NULL, one);
    }
    return points;
}

static void on_points(void *arg, int rc, const struct store_points *series, size_t count)
{
    struct history_wait *w = arg;
    if (!w->m) {
        wait_free(w);
        return;
    }
    if (rc) {
        refuse(w, rc);
        return;
    }
    struct cJSON *out = json_object(), *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct cJSON *one = json_object();
        json_set_str(one, "instance", series[i].instance);
        json_set_str(one, "metric", series[i].metric);
        json_set(one, "points", points_json(&series[i]));
        json_set(list, NULL, one);
    }
    json_set_bool(out, "ok", true);
    json_set_str(out, "service", json_str(w->args, "service", ""));
    json_set_num(out, "from_ms", json_num(w->args, "from_ms", 0));
    json_set_num(out, "to_ms", json_num(w->args, "to_ms", 0));
    json_set_num(out, "step_ms", json_num(w->args, "step_ms", 0));
    json_set(out, "series", list);
    reply(w, out);
}

void history_ask_samples(struct master *m, struct admin_request *request, const struct cJSON *args)
{
    if (!is_kept(m, request)) {
        return;
    }
    int64_t from_ms = json_int(args, "from_ms", 0), to_ms = json_int(args, "to_ms", 0);
    int64_t step_ms = json_int(args, "step_ms", 0);
    struct history_wait *w = wait_new(m, request, args);
    struct store_range range = {
        .service = json_str(args, "service", ""),
        .instance = json_str(args, "instance", NULL),
        .metric = json_str(args, "metric", NULL),
        .from_ms = from_ms > 0 ? (uint64_t)from_ms : 0,
        .to_ms = to_ms > 0 ? (uint64_t)to_ms : 0,
        .step_ms = step_ms > 0 ? (uint64_t)step_ms : 0,
    };
    int rc = store_query_samples(m->history->store, &range, on_points, w);
    if (rc) {
        refuse(w, rc);
    }
}
