/* explain.c: one decision told, for a request that is only spoken of.
 *
 * Called by: the worker, for `tidegate explain`. Invariants: nothing is sent, reserved or counted,
 * and the policy in use keeps its turns: scores come from its `score` alone, and a policy with a
 * loop of its own is asked through a copy that begins anew. Does not: run on the way of a request;
 * it may allocate. */
#include "proxy/parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

/* What is known of one decision. */
struct verdict {
    struct field field;
    struct script_request request;
    double *scores;      /* NULL: the policy has none */
    const char *decides; /* who chose */
    const char *error;   /* lent; NULL: the policy did not fail */
    int chosen;          /* row, -1: none */
    uint32_t equal;      /* rows as good as the chosen one, itself included; 0: not known */
};

/* ---- the request ------------------------------------------------------------------------- */

/* "X-Dataset-Id:" and the like. */
static bool begins_field(struct str word)
{
    if (word.len < 2 || word.ptr[word.len - 1] != ':') {
        return false;
    }
    for (size_t i = 0; i + 1 < word.len; i++) {
        char c = word.ptr[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_') {
            return false;
        }
    }
    return true;
}

/* "GET /x Host: y" as the head of a message: words that end with a colon begin a field. */
static void write_head(struct buf *to, struct str like)
{
    struct str word;
    unsigned words = 0;
    bool field = false;
    while (str_next(&like, ' ', &word)) {
        if (!word.len) {
            continue;
        }
        if (begins_field(word) && words >= 2) {
            (void)buf_text(to, field ? "\r\n" : " HTTP/1.0\r\n");
            field = true;
        } else if (words) {
            (void)buf_text(to, " ");
        }
        (void)buf_append(to, word.ptr, word.len);
        words++;
    }
    (void)buf_text(to, field ? "\r\n\r\n" : " HTTP/1.0\r\n\r\n");
}

/* The first port with a route for it, or the one of that address only. */
static struct route *find_route(const struct generation *g, const char *listen,
                                const struct http1_head *head, const struct port **ret_port)
{
    for (uint32_t i = 0; i < g->port_count; i++) {
        const struct port *port = &g->ports[i];
        if (*listen && strcmp(listen, port->address) != 0) {
            continue;
        }
        struct route *r = port->tcp && *listen ? port->tcp : proxy_route_find(port, head);
        if (r) {
            *ret_port = port;
            return r;
        }
    }
    return NULL;
}

/* ---- the decision ------------------------------------------------------------------------ */

/* The lowest score wins; equal ones take turns. */
static void choose_by_score(const struct route *r, uint32_t count, struct verdict *v)
{
    v->decides = "score";
    for (uint32_t i = 0; i < count; i++) {
        if (!r->rows[i].eligible || isnan(v->scores[i])) {
            continue;
        }
        double best = v->chosen < 0 ? INFINITY : v->scores[v->chosen];
        if (v->scores[i] < best) {
            v->chosen = (int)i;
            v->equal = 0;
        }
        v->equal += v->scores[i] == (v->chosen < 0 ? INFINITY : v->scores[v->chosen]);
    }
}

static void choose_by_copy(const struct route *r, uint32_t count, struct verdict *v, char **ret_why)
{
    struct script_picker *copy;
    v->decides = "loop";
    if (script_picker_new(r->generation->hot, r->policy, r->params, r->rows, r->capacity, &copy,
                          ret_why)) {
        v->error = *ret_why;
        return;
    }
    script_picker_resize(copy, count);
    int at = script_pick(copy, &v->request);
    if (at == -EIO) {
        *ret_why = mem_copy(script_picker_error(copy));
        v->error = *ret_why;
    }
    v->chosen = at >= 0 ? at : -1;
    script_picker_free(copy);
}

/* As choose in pick.c goes, but for turns. *ret_why (NULL before): owns v->error. */
static void decide(const struct exchange *ex, uint32_t count, struct verdict *v, char **ret_why)
{
    struct route *r = ex->route;
    struct proxy *p = ex->session->proxy;
    v->chosen = -1;
    v->field = proxy_pick_fill(ex, count);
    v->request = proxy_pick_request(ex, &v->field, count);
    bool resting = r->lapses.quarantined;
    int rc = r->picker && count && !resting
                 ? script_picker_scores(r->picker, &v->request, v->scores)
                 : -ENOTSUP;
    if (rc) {
        mem_free(v->scores);
        v->scores = NULL;
    }
    int at = proxy_view_session(ex, count);
    if (at >= 0 && r->rows[at].eligible) {
        v->decides = "session";
        v->chosen = at;
    } else if (rc == -EIO) {
        v->decides = "score";
        *ret_why = mem_copy(script_picker_error(r->picker));
        v->error = *ret_why;
    } else if (resting) {
        *ret_why = mem_copy("it failed too often and is not asked until the next reload");
        v->error = *ret_why;
    } else if (v->scores) {
        choose_by_score(r, count, v);
    } else if (r->picker && v->field.eligible) {
        choose_by_copy(r, count, v, ret_why);
    } else {
        v->decides = r->picker ? "loop" : "builtin";
    }
    if (v->chosen < 0 && v->field.eligible && (!r->picker || v->error)) {
        v->decides = "builtin";
        v->chosen = proxy_pick_least(p, r, count);
    }
}

/* ---- the answer -------------------------------------------------------------------------- */

static void set_reason(struct cJSON *json, const struct backend *b,
                       const struct script_backend *row, const struct verdict *v)
{
    char text[96]; /* words and two numbers of at most 24 bytes */
    if (row->eligible) {
        json_set_str(json, "reason", "");
    } else if (b->draining) {
        json_set_str(json, "reason", "draining");
    } else if (b->max_connections > 0 && row->in_flight >= b->max_connections) {
        snprintf(text, sizeof text, "full: %.0f of %.0f", row->in_flight, b->max_connections);
        json_set_str(json, "reason", text);
    } else if (row->circuit != BOARD_CLOSED && !v->field.panic) {
        snprintf(text, sizeof text, "%scircuit %s", b->circuit->spell_ms ? "ejected, " : "",
                 board_circuit_name((enum board_circuit_state)row->circuit));
        json_set_str(json, "reason", text);
    } else {
        json_set_str(json, "reason", "tried");
    }
}

void proxy_explain_nearness(struct cJSON *to, const struct script_backend *row,
                            const struct script_request *request)
{
    json_set_num(to, "tags", __builtin_popcount(row->tags & request->tags));
    if (request->zone && row->zone) {
        json_set_str(to, "zone", row->zone == request->zone ? "same" : "other");
    }
}

static struct cJSON *backend_json(const struct exchange *ex, uint32_t i, const struct verdict *v)
{
    const struct backend *b = ex->route->service->backends[i];
    const struct script_backend *row = &ex->route->rows[i];
    struct cJSON *json = json_object();
    json_set_str(json, "backend", b->id);
    json_set_str(json, "address", b->addr.text);
    json_set_bool(json, "chosen", (int)i == v->chosen);
    json_set_bool(json, "eligible", row->eligible != 0);
    set_reason(json, b, row, v);
    if (v->scores && isfinite(v->scores[i])) {
        json_set_num(json, "score", v->scores[i]);
    }
    json_set_num(json, "in_flight", row->in_flight);
    json_set_num(json, "weight", b->weight);
    json_set_num(json, "ramp", row->ramp);
    json_set_num(json, "response_ms", row->response_ms);
    json_set_num(json, "error_rate", row->error_rate);
    json_set_str(json, "circuit", board_circuit_name((enum board_circuit_state)row->circuit));
    proxy_explain_nearness(json, row, &v->request);
    return json;
}

void proxy_explain_route(struct cJSON *to, const struct port *port, const struct route *r)
{
    struct cJSON *route = json_object();
    json_set_str(route, "listen", port->address);
    json_set_str(route, "host", r->host);
    json_set_str(route, "path", r->path);
    json_set_bool(route, "tcp", port->tcp == r);
    json_set(to, "route", route);
    json_set_str(to, "policy", r->policy);
}

/* The beginning of an answer. */
static struct cJSON *begin(const struct exchange *ex, const struct port *port)
{
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", true);
    json_set_num(out, "generation", ex->route->generation->number);
    json_set_str(out, "service", ex->route->service->name);
    proxy_explain_route(out, port, ex->route);
    return out;
}

static void tell(const struct exchange *ex, uint32_t count, const struct verdict *v,
                 struct cJSON *out)
{
    const struct route *r = ex->route;
    struct cJSON *list = json_array();
    json_set_str(out, "decides", v->decides);
    json_set_bool(out, "panic", v->field.panic);
    json_set_num(out, "equal", v->equal);
    json_set_num(out, "tags_asked", v->request.tag_count);
    if (v->error) {
        json_set_str(out, "policy_error", v->error);
    }
    if (ex->view.failed) {
        json_set_str(out, "request_error", script_reader_error(r->reader));
    }
    json_set_str(out, "chosen", v->chosen < 0 ? NULL : r->service->backends[v->chosen]->id);
    for (uint32_t i = 0; i < count; i++) {
        json_set(list, NULL, backend_json(ex, i, v));
    }
    json_set(out, "backends", list);
}

static struct cJSON *refusal(const char *why)
{
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", false);
    json_set_str(out, "error", why);
    return out;
}

struct cJSON *proxy_explain(struct proxy *p, const char *like, const char *listen)
{
    struct buf text;
    struct cJSON *out = NULL;
    const struct port *port = NULL;
    struct session session = {.proxy = p};
    struct exchange ex = {.session = &session};
    struct verdict v = {0};
    char *why = NULL;
    size_t used;
    int status;
    buf_init(&text, LIMIT_HEAD_BYTES);
    write_head(&text, str_of(like));
    struct str bytes = str_of(buf_str(&text));
    if (http1_parse_request(bytes, &p->head, &used, &status) != HTTP1_DONE || used != bytes.len) {
        out = refusal("that is no request: write it as 'GET /path Host: example Name: value'");
        goto out;
    }
    ex.route = p->current ? find_route(p->current, listen, &p->head, &port) : NULL;
    if (!ex.route) {
        out =
            refusal("no route is for this request, the answer is 404: see Host, path and --listen");
        goto out;
    }
    ex.generation = ex.route->generation;
    if (ex.route->steps) {
        struct cJSON *steps = json_object();
        struct route *to = proxy_steps_explain(&ex, &p->head, steps);
        ex.route = to ? to : ex.route;
        out = begin(&ex, port);
        for (struct cJSON *at = json_first(steps); at; at = json_next(at)) {
            json_set(out, json_name(at), json_copy(at));
        }
        json_free(steps);
        if (!to) {
            json_set_str(out, "decides", "answer");
            json_set_str(out, "chosen", NULL);
            goto out;
        }
    } else {
        out = begin(&ex, port);
    }
    const struct service *service = ex.route->service;
    uint32_t count = service->count < ex.route->capacity ? service->count : ex.route->capacity;
    ex.method = p->head.method;
    proxy_now(p);
    proxy_view_take(&ex, port->tcp == ex.route ? NULL : &p->head);
    v.scores = mem_array(count ? count : 1, sizeof *v.scores);
    decide(&ex, count, &v, &why);
    tell(&ex, count, &v, out);
out:
    mem_free(v.scores);
    mem_free(why);
    buf_free(&text);
    return out;
}
