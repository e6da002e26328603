/* steps.c: the one place where the steps of room `edge` meet requests.
 *
 *   redirect -> rate limits -> fixed answer -> backend
 *
 * Adding one: its pointer in `struct steps`, a line in proxy_steps_new and in proxy_steps_free, a function
 * here and its place in ORDER. A step that has something for the answer, whoever makes it, puts it into
 * the course of the exchange while it looks at the request.
 *
 * Called by: exchange.c, for routes that have steps; others have a NULL pointer and nothing else.
 * Invariants: an exchange has a course from its first step on, till its end. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"
#include "edge/edge.h"
#include "edge/limit.h"

struct steps {
    struct edge_redirect *redirect;
    struct edge_limits *limits;
    struct edge_fixed *fixed;
};

/* One request on its way through them. */
struct walk {
    struct exchange *ex;
    const struct steps *steps;
    struct edge_request request;
    struct edge_out out;
};

/* ---- answers of our own ------------------------------------------------------------------ */

static enum stepped reply_with(struct walk *w, struct reply *reply)
{
    struct exchange *ex = w->ex;
    if (ex->generation->access && !ex->request->len) { /* the log reads the head back from there */
        ssize_t n = proxy_forward_request(ex, w->request.head, ex->request->bytes,
                                          LIMIT_HEAD_BYTES + HEAD_EXTRA_BYTES);
        ex->request->len = n > 0 ? (uint32_t)n : 0;
    }
    (void)proxy_exchange_reply(ex, reply);
    return STEPPED_ANSWERED;
}

static enum stepped answer_with(struct walk *w, const struct edge_answer *answer, const char *why)
{
    struct reply reply = {.status = answer->status,
                          .why = why,
                          .type = answer->type,
                          .body = answer->body,
                          .fields = answer->fields};
    return reply_with(w, &reply);
}

static enum stepped refuse_with(struct walk *w, int status, const char *why)
{
    struct reply reply = {.status = status, .why = why};
    return reply_with(w, &reply);
}

/* ---- the steps --------------------------------------------------------------------------- */

static enum stepped redirect(struct walk *w)
{
    struct edge_answer answer;
    if (!w->steps->redirect) {
        return STEPPED_ON;
    }
    return edge_redirect_answer(w->steps->redirect, &w->request, &w->out, &answer) &&
                   answer.fields.len <= LIMIT_HEAD_BYTES + 2048
               ? answer_with(w, &answer, "it is at another place")
               : refuse_with(w, 400,
                             "where this is now cannot be said without a Host, nor of a "
                             "path as long as this");
}

/* Lines for the answer, whoever makes it; those that do not fit are left out. */
static void note_fields(struct exchange *ex, struct str lines)
{
    struct course *c = ex->course;
    if (sizeof c->fields - c->fields_len >= lines.len) {
        memcpy(c->fields + c->fields_len, lines.ptr, lines.len);
        c->fields_len += (uint32_t)lines.len;
    }
}

static enum stepped limit(struct walk *w)
{
    const struct edge_limits *limits = w->steps->limits;
    struct proxy *p = w->ex->session->proxy;
    struct edge_limited limited;
    char bytes[EDGE_LIMIT_FIELD_BYTES];
    if (!limits) {
        return STEPPED_ON;
    }
    bool may = edge_limits_ask(limits, p->options.board, w->request.head, w->request.peer,
                               p->now_us, &limited);
    if (may && !edge_limits_told(limits)) {
        return STEPPED_ON;
    }
    struct str fields = edge_limits_fields(limits, &limited, bytes);
    if (may) {
        note_fields(w->ex, fields);
        return STEPPED_ON;
    }
    board_add(&p->numbers->rate_limited, 1);
    struct reply reply = {.status = edge_limits_status(limits, &limited),
                          .why = "this is asked too often",
                          .fields = fields};
    return reply_with(w, &reply);
}

static enum stepped fixed(struct walk *w)
{
    if (!w->steps->fixed) {
        return STEPPED_ON;
    }
    struct edge_answer answer = edge_fixed_answer(w->steps->fixed);
    return answer_with(w, &answer, "");
}

typedef enum stepped step_fn(struct walk *w);

static step_fn *const ORDER[] = {redirect, limit, fixed};

enum stepped proxy_steps_request(struct exchange *ex, const struct http1_head *head)
{
    struct session *s = ex->session;
    struct proxy *p = s->proxy;
    struct walk w = {
        .ex = ex,
        .steps = ex->route->steps,
        .request = {.head = head, .host = ex->route->host, .peer = s->peer},
        .out = {.bytes = p->step_bytes, .size = sizeof p->step_bytes},
    };
    ex->course = proxy_pool_take(&p->course_pool); /* there are as many as exchanges */
    ex->course->fields_len = 0;
    enum stepped result = STEPPED_ON;
    for (size_t i = 0; result == STEPPED_ON && i < sizeof ORDER / sizeof *ORDER; i++) {
        result = ORDER[i](&w);
    }
    return result;
}

/* ---- answers ----------------------------------------------------------------------------- */

void proxy_steps_reply(struct exchange *ex, struct reply *reply)
{
    struct proxy *p = ex->session->proxy;
    size_t len = ex->course->fields_len;
    struct edge_out out = {.bytes = p->reply_bytes, .size = sizeof p->reply_bytes};
    if (len) {
        edge_put(&out, reply->fields);
        edge_put(&out, (struct str){ex->course->fields, len});
        reply->fields = out.full ? reply->fields : edge_put_since(&out, 0);
    }
}

bool proxy_steps_drops(const struct exchange *ex, struct str name)
{
    struct str lines = {ex->course->fields, ex->course->fields_len}, line, own;
    while (str_next(&lines, '\n', &line)) {
        if (str_next(&line, ':', &own) && own.len == name.len &&
            !strncasecmp(own.ptr, name.ptr, name.len)) {
            return true;
        }
    }
    return false;
}

void proxy_steps_end(struct exchange *ex)
{
    if (ex->course) {
        proxy_pool_give(&ex->session->proxy->course_pool, ex->course);
        ex->course = NULL;
    }
}

/* ---- building ---------------------------------------------------------------------------- */

void proxy_steps_free(struct steps *steps)
{
    if (steps) {
        edge_redirect_free(steps->redirect);
        edge_limits_free(steps->limits);
        edge_fixed_free(steps->fixed);
        mem_free(steps);
    }
}

static const struct cJSON *part(const struct cJSON *json, const char *key, bool *any)
{
    const struct cJSON *found = json_get(json, key);
    *any = *any || found;
    return found;
}

int proxy_steps_new(struct route *r, const struct cJSON *json, char **reterr)
{
    struct steps steps = {0};
    const struct cJSON *at;
    bool any = false;
    int rc = 0;
    if (!rc && (at = part(json, "redirect", &any))) {
        rc = edge_redirect_new(at, &steps.redirect, reterr);
    }
    if (!rc && (at = part(json, "rate_limit", &any))) {
        steps.limits = edge_limits_new(at, r->identity);
    }
    if (!rc && (at = part(json, "answer", &any))) {
        rc = edge_fixed_new(at, &steps.fixed, reterr);
    }
    if (any) {
        r->steps = mem_new(sizeof steps);
        *r->steps = steps;
    }
    return rc;
}
