/* past_told.c: decisions told as they were: those on one request, and those that are made.
 *
 * Called by: the worker, for `tidegate explain ID` and the console's `:trace`. Scores are what a copy of the route's policy says of the
 * inputs as they were, so nothing had to be kept of them; when another generation is in force its
 * policies are gone, and the inputs have to do. Does not: run on the way of a request; it may allocate. */
#include "proxy/parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"

enum {
    TOLD_MOST = 16,         /* decisions of one answer: each costs a copy of a policy */
    TRACE_WAIT_US = 1000000 /* so long a trace waits for an outcome */
};

/* A decision with what can be found of its surroundings. */
struct told {
    struct proxy *proxy;
    const struct past *past;
    const struct script_backend *rows;
    const struct route *route; /* NULL: of another generation */
    double *scores;            /* NULL: none */
    uint32_t equal;            /* rows with the lowest score */
};

/* ---- surroundings ------------------------------------------------------------------------ */

static const struct backend *living(const struct service *service, uint32_t hash)
{
    for (uint32_t i = 0; i < service->count; i++) {
        if (service->backends[i]->hash == hash) {
            return service->backends[i];
        }
    }
    return NULL;
}

static void set_name(struct cJSON *json, const struct told *t, uint32_t hash)
{
    const struct backend *b = living(t->past->service, hash);
    const struct past_name *name = t->proxy->pasts.names, *end = name + PAST_NAMES;
    while (!b && name < end && name->backend != hash) {
        name++;
    }
    bool gone = !b && name < end;
    json_set_str(json, "backend", b ? b->id : gone ? name->id : "(gone)");
    json_set_str(json, "address", b ? b->addr.text : gone ? name->address : "");
}

static bool has_route(const struct port *port, const struct route *r)
{
    for (uint32_t i = 0; i < port->count; i++) {
        for (uint32_t k = 0; k < port->sites[i].count; k++) {
            if (port->sites[i].routes[k] == r) {
                return true;
            }
        }
    }
    return port->tcp == r;
}

static const struct port *port_of(const struct route *r)
{
    for (uint32_t i = 0; i < r->generation->port_count; i++) {
        if (has_route(&r->generation->ports[i], r)) {
            return &r->generation->ports[i];
        }
    }
    return NULL;
}

static const struct route *route_of(const struct proxy *p, const struct past *past)
{
    const struct generation *g = p->current;
    return g && g->number == past->generation && past->route < g->route_count
               ? &g->routes[past->route]
               : NULL;
}

/* ---- scores ------------------------------------------------------------------------------ */

static void compute_scores(struct told *t)
{
    const struct past *past = t->past;
    bool known =
        t->route && t->route->picker && past->by == PAST_POLICY && past->kept == past->count;
    struct script_picker *copy;
    char *why = NULL;
    if (!known) {
        return;
    }
    struct script_backend *rows = mem_array(past->kept, sizeof *rows);
    memcpy(rows, t->rows, past->kept * sizeof *rows);
    if (!script_picker_new(t->route->generation->hot, t->route->policy, t->route->params, rows,
                           past->kept, &copy, &why)) {
        script_picker_resize(copy, past->kept);
        t->scores = mem_array(past->kept, sizeof *t->scores);
        if (script_picker_scores(copy, &past->request, t->scores)) {
            mem_free(t->scores);
            t->scores = NULL;
        }
        script_picker_free(copy);
    }
    mem_free(why);
    mem_free(rows);
}

static void count_equal(struct told *t)
{
    double best = INFINITY;
    for (uint32_t i = 0; t->scores && i < t->past->kept; i++) {
        if (t->rows[i].eligible > 0 && t->scores[i] < best) {
            best = t->scores[i];
            t->equal = 0;
        }
        t->equal += t->rows[i].eligible > 0 && t->scores[i] == best;
    }
}

/* ---- the answer -------------------------------------------------------------------------- */

static void set_reason(struct cJSON *json, const struct script_backend *row)
{
    char text[80] = ""; /* words and two numbers of at most 24 bytes */
    const char *circuit = board_circuit_name((enum board_circuit_state)row->circuit);
    switch (row->eligible > 0 ? 0 : -row->eligible) {
    case PAST_DRAINING:
        snprintf(text, sizeof text, "draining");
        break;
    case PAST_FULL:
        snprintf(text, sizeof text, "full: %.0f of %.0f", row->in_flight, row->max_connections);
        break;
    case PAST_CIRCUIT:
        snprintf(text, sizeof text, "circuit %s", circuit);
        break;
    case PAST_EJECTED:
        snprintf(text, sizeof text, "ejected, circuit %s", circuit);
        break;
    case PAST_TRIED:
        snprintf(text, sizeof text, "tried");
        break;
    case PAST_TAKEN:
        snprintf(text, sizeof text, "its last place was taken meanwhile");
        break;
    }
    json_set_str(json, "reason", text);
}

static struct cJSON *backend_json(const struct told *t, uint32_t i)
{
    const struct script_backend *row = &t->rows[i];
    const struct past *past = t->past;
    struct cJSON *json = json_object();
    set_name(json, t, row->hash);
    json_set_bool(json, "chosen", row->hash == past->chosen);
    json_set_bool(json, "eligible", row->eligible > 0);
    set_reason(json, row);
    if (t->scores && isfinite(t->scores[i])) {
        json_set_num(json, "score", t->scores[i]);
    }
    json_set_num(json, "in_flight", row->in_flight);
    json_set_num(json, "weight", row->ramp > 0 ? row->weight / row->ramp : row->weight);
    json_set_num(json, "ramp", row->ramp);
    json_set_num(json, "response_ms", row->response_ms);
    json_set_num(json, "error_rate", row->error_rate);
    json_set_str(json, "circuit", board_circuit_name((enum board_circuit_state)row->circuit));
    proxy_explain_nearness(json, row, &past->request);
    return json;
}

static struct cJSON *outcome_json(const struct past *past)
{
    struct cJSON *json = json_object();
    json_set_bool(json, "ended", past->ended);
    json_set_num(json, "status", past->status);
    json_set_str(json, "failure",
                 past->failure ? proxy_guard_word((enum failure)past->failure) : "");
    json_set_num(json, "took_ms", (double)past->took_us / 1000);
    return json;
}

static const char *decides_of(const struct told *t)
{
    switch ((enum past_by)t->past->by) {
    case PAST_NOBODY:
        return "nobody";
    case PAST_POLICY:
        return t->scores ? "score" : "loop";
    case PAST_SESSION:
        return "session";
    case PAST_BUILTIN:
    case PAST_FAILED:
        break;
    }
    return "builtin";
}

static struct cJSON *decision_json(struct proxy *p, const struct past *past)
{
    struct told t = {.proxy = p, .past = past, .rows = proxy_past_rows(past)};
    struct cJSON *out = json_object(), *list = json_array(), *chosen = json_object();
    t.route = route_of(p, past);
    compute_scores(&t);
    count_equal(&t);
    json_set_num(out, "at_ms", (double)(clock_wall_ms() - (p->now_us - past->at_us) / 1000));
    json_set_num(out, "generation", past->generation);
    json_set_str(out, "service", past->service->name);
    json_set_num(out, "attempt", past->tries);
    const struct port *port = t.route ? port_of(t.route) : NULL;
    if (port) {
        proxy_explain_route(out, port, t.route);
    }
    json_set_bool(out, "panic", past->panic);
    json_set_str(out, "decides", decides_of(&t));
    json_set_bool(out, "policy_failed", past->by == PAST_FAILED);
    json_set_num(out, "equal", t.equal);
    json_set_num(out, "tags_asked", past->request.tag_count);
    json_set_num(out, "count", past->count);
    set_name(chosen, &t, past->chosen);
    json_set_str(out, "chosen", past->chosen ? json_str(chosen, "backend", "") : NULL);
    json_free(chosen);
    for (uint32_t i = 0; i < past->kept; i++) {
        json_set(list, NULL, backend_json(&t, i));
    }
    json_set(out, "backends", list);
    json_set(out, "outcome", outcome_json(past));
    mem_free(t.scores);
    return out;
}

/* The last decisions on one request. */
struct matches {
    const struct past *of[TOLD_MOST]; /* a ring */
    uint32_t count;                   /* ever */
};

/* Those of one ring; the failed ones that both have are taken from that of all. */
static void find(const struct pasts *pasts, const struct past_ring *ring, struct str id,
                 struct matches *to)
{
    uint64_t at = 0;
    const struct past *past;
    while ((past = proxy_past_next(ring, &at))) {
        bool both = ring == &pasts->failed && past->position >= pasts->all.tail;
        if (!both && str_eq(id, (struct str){proxy_past_id(past), past->id_len})) {
            to->of[to->count++ % TOLD_MOST] = past;
        }
    }
}

static double reach_s(const struct proxy *p, const struct past_ring *ring)
{
    uint64_t at = 0;
    const struct past *oldest = ring->lost ? proxy_past_next(ring, &at) : NULL;
    return (double)(p->now_us - (oldest ? oldest->at_us : p->pasts.since_us)) / 1e6;
}

struct cJSON *proxy_past(struct proxy *p, const char *id)
{
    struct cJSON *out = json_object(), *found = json_array();
    const struct pasts *pasts = &p->pasts;
    struct matches matches = {.count = 0};
    proxy_now(p);
    find(pasts, &pasts->failed, str_of(id), &matches);
    find(pasts, &pasts->all, str_of(id), &matches);
    uint32_t from = matches.count > TOLD_MOST ? matches.count - TOLD_MOST : 0;
    for (uint32_t i = from; i < matches.count; i++) {
        json_set(found, NULL, decision_json(p, matches.of[i % TOLD_MOST]));
    }
    json_set_bool(out, "ok", true);
    json_set(out, "found", found);
    json_set_num(out, "left_out", from);
    json_set_num(out, "kept", pasts->all.count);
    json_set_num(out, "reaches_s", reach_s(p, &pasts->all));
    json_set_num(out, "failed_kept", pasts->failed.count);
    json_set_num(out, "failed_reaches_s", reach_s(p, &pasts->failed));
    json_set_bool(out, "complete", !pasts->all.lost);
    return out;
}

/* ---- as they are made -------------------------------------------------------------------- */

/* Whether somebody wants to see it: NULL asks for nothing. */
static bool is_wanted(const struct proxy *p, const struct past *past, const char *service,
                      const char *route)
{
    if (service && !str_same(past->service->name, service)) {
        return false;
    }
    const struct route *of = route ? route_of(p, past) : NULL;
    const struct port *port = of ? port_of(of) : NULL;
    if (!port) {
        return !route;
    }
    char *text = mem_printf("%s %s%s", port->address, of->host, of->path);
    bool found = strstr(text, route) != NULL;
    mem_free(text);
    return found;
}

/* One whose outcome is still to come, and comes soon. */
static bool is_open(const struct proxy *p, const struct past *past)
{
    return past->chosen && !past->ended && p->now_us - past->at_us < TRACE_WAIT_US;
}

struct cJSON *proxy_trace(struct proxy *p, double after, const char *service, const char *route)
{
    struct cJSON *out = json_object(), *found = json_array();
    const struct past_ring *ring = &p->pasts.all;
    struct matches matches = {.count = 0};
    /* Not: of a worker that is no more; the places of two are not the same. */
    bool known =
        after >= 0 && after <= (double)ring->head && proxy_past_is_place(ring, (uint64_t)after);
    uint64_t at = known ? (uint64_t)after : after >= 0 ? ring->tail : ring->head, next = at;
    const struct past *past;
    proxy_now(p);
    while ((past = proxy_past_next(ring, &next)) && !is_open(p, past)) {
        at = next;
        if (is_wanted(p, past, service, route)) {
            matches.of[matches.count++ % TOLD_MOST] = past;
        }
    }
    uint32_t from = matches.count > TOLD_MOST ? matches.count - TOLD_MOST : 0;
    for (uint32_t i = from; i < matches.count; i++) {
        struct cJSON *one = decision_json(p, matches.of[i % TOLD_MOST]);
        char *id = mem_copy_bytes(proxy_past_id(matches.of[i % TOLD_MOST]),
                                  matches.of[i % TOLD_MOST]->id_len);
        json_set_str(one, "request", id);
        json_set(found, NULL, one);
        mem_free(id);
    }
    json_set_bool(out, "ok", true);
    json_set(out, "found", found);
    json_set_num(out, "after", (double)at);
    json_set_num(out, "left_out", from);
    json_set_bool(out, "lost", known && (uint64_t)after < ring->tail && ring->lost);
    return out;
}
