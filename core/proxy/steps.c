/* steps.c: the one place where the steps of room `edge` meet requests.
 *
 *   HSTS, CORS -> redirect -> maintenance -> rate limits -> log-in -> forward_auth -> canary -> fixed answer -> path -> backend
 *
 * Preflights are answered before anything asks for credentials, which browsers do not send with them; and what
 * CORS and HSTS have for answers stands in those of all later steps, too.
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
#include "edge/compress.h"
#include "edge/edge.h"
#include "edge/forward.h"
#include "edge/limit.h"
#include "edge/users.h"
#include "proxy/inner.h"
#include "proxy/login.h"

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

/* What every answer gets; all of what one step has, or nothing. */
static struct edge_out course_out(struct course *c)
{
    return (struct edge_out){.bytes = c->fields, .len = c->fields_len, .size = sizeof c->fields};
}

static void keep_fields(struct course *c, const struct edge_out *out)
{
    c->fields_len = out->full ? c->fields_len : (uint32_t)out->len;
}

static enum stepped compress(struct walk *w)
{
    struct proxy *p = w->ex->session->proxy;
    const struct edge_compress *c = w->steps->compress;
    if (c) {
        w->ex->course->asked =
            edge_compress_ask(c, w->request.head, w->request.secure,
                              edge_compress_brotli(c) && edge_coders_brotli(&p->coders));
    }
    return STEPPED_ON;
}

static enum stepped hsts(struct walk *w)
{
    if (w->steps->hsts && w->request.secure) { /* RFC 6797 7.2: over nothing else */
        struct edge_out out = course_out(w->ex->course);
        edge_put_field(&out, "Strict-Transport-Security", str_of(w->steps->hsts));
        keep_fields(w->ex->course, &out);
    }
    return STEPPED_ON;
}

static enum stepped cors(struct walk *w)
{
    if (!w->steps->cors) {
        return STEPPED_ON;
    }
    size_t from = w->out.len;
    struct edge_out out = course_out(w->ex->course);
    enum edge_cors_result result = edge_cors_ask(w->steps->cors, &w->request, &out, &w->out);
    keep_fields(w->ex->course, &out);
    w->ex->course->cors = true;
    if (result == EDGE_CORS_REFUSED) {
        return refuse_with(w, 403, "pages of this origin may not use what is here");
    }
    struct edge_answer answer = {.status = 204, .fields = edge_put_since(&w->out, from)};
    return result == EDGE_CORS_PREFLIGHT ? answer_with(w, &answer, "") : STEPPED_ON;
}

static enum stepped maintenance(struct walk *w)
{
    struct edge_answer answer;
    if (!w->steps->maintenance ||
        !edge_maintenance_answer(w->steps->maintenance, &w->request, w->ex->id, &w->out, &answer)) {
        return STEPPED_ON;
    }
    return answer_with(w, &answer, "under maintenance");
}

static enum stepped redirect(struct walk *w)
{
    struct edge_answer answer;
    if (!w->steps->redirect || edge_redirect_passes(w->steps->redirect, &w->request)) {
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

static enum stepped unauthorized(struct walk *w, const char *why)
{
    struct reply reply = {
        .status = 401, .why = why, .fields = edge_users_challenge(w->steps->users)};
    return reply_with(w, &reply);
}

static enum stepped log_in(struct walk *w)
{
    struct board_worker *numbers = w->ex->session->proxy->numbers;
    if (!w->steps->users) {
        return STEPPED_ON;
    }
    switch (proxy_login_ask(w->ex, w->steps->users, w->request.head)) {
    case LOGIN_RIGHT:
        return STEPPED_ON;
    case LOGIN_WAITS:
        return STEPPED_WAITS;
    case LOGIN_MISSING:
        return unauthorized(w, "a user and a password are needed");
    case LOGIN_WRONG:
        board_add(&numbers->auth_failed, 1);
        return unauthorized(w, "user and password do not fit");
    case LOGIN_BUSY:
        board_add(&numbers->auth_errors, 1);
        return refuse_with(w, 503, "too many passwords are being checked");
    case LOGIN_CLIENT_BUSY:
    case LOGIN_RESULTS:
        break;
    }
    board_add(&numbers->auth_errors, 1);
    return refuse_with(w, 429, "too many passwords of this client are being checked");
}

/* Who is asked has the last word. */
static enum stepped forward(struct walk *w)
{
    struct reply reply;
    if (!w->steps->forward) {
        return STEPPED_ON;
    }
    enum stepped result = proxy_ask(w->ex, w->request.head, &reply);
    return result == STEPPED_ANSWERED ? reply_with(w, &reply) : result;
}

/* A service that has nobody for it leaves the request to the route's own. */
static enum stepped canary(struct walk *w)
{
    struct exchange *ex = w->ex;
    const struct steps *steps = w->steps;
    int at = steps->canary ? edge_canary_choose(steps->canary, &w->request, ex->route->identity,
                                                proxy_random(ex->session->proxy))
                           : -1;
    struct route *to = at < 0 ? NULL : steps->canaries[at];
    if (to && proxy_pick_ready(ex->session->proxy, to)) {
        proxy_tally_request_move(ex, to);
    }
    return STEPPED_ON;
}

static enum stepped fixed(struct walk *w)
{
    if (!w->steps->fixed) {
        return STEPPED_ON;
    }
    struct edge_answer answer = edge_fixed_answer(w->steps->fixed);
    return answer_with(w, &answer, "");
}

static enum stepped path(struct walk *w)
{
    struct course *c = w->ex->course;
    int rc = w->steps->path ? edge_path_apply(w->steps->path, w->request.head->path, &w->out,
                                              &c->path, &c->prefix)
                            : 0;
    if (rc < 0) {
        c->path.len = 0;
        return rc == -EINVAL ? refuse_with(w, 400, "a path with .. in it is not for this route")
                             : refuse_with(w, 414, "the path is too long");
    }
    c->rewritten = rc > 0;
    return STEPPED_ON;
}

typedef enum stepped step_fn(struct walk *w);

static step_fn *const ORDER[] = {compress, hsts,    cors,   redirect, maintenance, limit,
                                 log_in,   forward, canary, fixed,    path};

static enum stepped walk_from(struct exchange *ex, const struct http1_head *head, size_t from)
{
    struct session *s = ex->session;
    struct proxy *p = s->proxy;
    struct walk w = {
        .ex = ex,
        .steps = ex->route->steps,
        .request = {.head = head,
                    .host = ex->route->host,
                    .peer = s->peer,
                    .secure = proxy_peer_secure(s)},
        .out = {.bytes = p->step_bytes, .size = sizeof p->step_bytes},
    };
    enum stepped result = STEPPED_ON;
    for (size_t i = from; result == STEPPED_ON && i < sizeof ORDER / sizeof *ORDER; i++) {
        result = ORDER[i](&w);
        if (result == STEPPED_WAITS) {
            ex->course->at = (uint8_t)i;
        }
    }
    return result == STEPPED_WAITS ? proxy_pause_begin(ex, head) : result;
}

enum stepped proxy_steps_request(struct exchange *ex, const struct http1_head *head)
{
    /* There are as many as exchanges. */
    struct course *c = proxy_pool_take(&ex->session->proxy->course_pool);
    memset(c, 0, offsetof(struct course, fields));
    ex->course = c;
    return walk_from(ex, head, 0);
}

enum stepped proxy_steps_again(struct exchange *ex, const struct http1_head *head)
{
    ex->request->len = 0; /* it was the request as it came */
    ex->state = EXCHANGE_QUEUED;
    return walk_from(ex, head, ex->course->at);
}

/* ---- what backends get ------------------------------------------------------------------- */

void proxy_steps_user(struct exchange *ex, struct str user)
{
    struct course *c = ex->course;
    struct edge_out out = {.bytes = c->request, .len = c->request_len, .size = sizeof c->request};
    size_t at = out.len + sizeof "X-Remote-User:";
    edge_put_field(&out, "X-Remote-User", user);
    c->request_len = (uint32_t)out.len;
    c->user = (struct str){c->request + at, user.len};
}

bool proxy_steps_hides(const struct exchange *ex, struct str name)
{
    const struct steps *steps = ex->route->steps;
    if (ex->course->rewritten &&
        (edge_name_alike(name, "X-Original-URI") || edge_name_alike(name, "X-Forwarded-Prefix"))) {
        return true;
    }
    return (steps->users &&
            (edge_name_alike(name, "X-Remote-User") ||
             (!edge_users_pass(steps->users) && str_is_nocase(name, "Authorization")))) ||
           (steps->forward && edge_forward_hides(steps->forward, name));
}

/* ---- answers ----------------------------------------------------------------------------- */

static void add_page(const struct edge_pages *pages, const char *id, struct edge_out *out,
                     struct reply *reply)
{
    struct edge_answer answer;
    if (pages && reply->status >= 400 && !reply->type.len &&
        edge_pages_answer(pages, reply->status, id, out, &answer)) {
        reply->type = answer.type;
        reply->body = answer.body;
    }
}

void proxy_steps_reply(struct exchange *ex, struct reply *reply)
{
    struct proxy *p = ex->session->proxy;
    const struct steps *steps = ex->route->steps;
    struct edge_out out = {.bytes = p->reply_bytes, .size = sizeof p->reply_bytes};
    add_page(steps && steps->pages ? steps->pages : ex->generation->pages, ex->id, &out, reply);
    out.full = false;
    if (ex->course && ex->course->fields_len) {
        size_t from = out.len;
        edge_put(&out, reply->fields);
        edge_put(&out, (struct str){ex->course->fields, ex->course->fields_len});
        reply->fields = out.full ? reply->fields : edge_put_since(&out, from);
    }
}

void proxy_steps_reply_bare(struct proxy *p, struct reply *reply)
{
    struct edge_out out = {.bytes = p->reply_bytes, .size = sizeof p->reply_bytes};
    add_page(p->current ? p->current->pages : NULL, reply->id, &out, reply);
}

bool proxy_steps_intercept(const struct exchange *ex, int status)
{
    const struct edge_pages *pages = ex->route->steps->pages;
    return pages && edge_pages_intercept(pages, status);
}

bool proxy_steps_drops(const struct exchange *ex, struct str name)
{
    const struct course *c = ex->course;
    struct str lines = {c->fields, c->fields_len}, line, own;
    if (c->cors && name.len > 15 && str_is_nocase(str_sub(name, 0, 15), "access-control-")) {
        return true;
    }
    while (str_next(&lines, '\n', &line)) {
        if (str_next(&line, ':', &own) && own.len == name.len &&
            !strncasecmp(own.ptr, name.ptr, name.len)) {
            return !str_is_nocase(name, "vary") &&
                   !str_is_nocase(name, "set-cookie"); /* all count */
        }
    }
    return false;
}

const struct edge_compress *proxy_steps_compress(const struct exchange *ex)
{
    return ex->route->steps->compress;
}

void proxy_steps_end(struct exchange *ex)
{
    if (ex->course) {
        proxy_login_leave(ex->course->login);
        proxy_inner_leave(ex->course->asks);
        proxy_mirror_drop(ex);
        proxy_pool_give(&ex->session->proxy->course_pool, ex->course);
        ex->course = NULL;
    }
}

/* ---- building ---------------------------------------------------------------------------- */

void proxy_steps_free(struct steps *steps)
{
    if (steps) {
        mem_free(steps->hsts);
        edge_cors_free(steps->cors);
        edge_redirect_free(steps->redirect);
        edge_maintenance_free(steps->maintenance);
        edge_limits_free(steps->limits);
        edge_users_free(steps->users);
        edge_canary_free(steps->canary);
        edge_fixed_free(steps->fixed);
        edge_path_free(steps->path);
        edge_pages_free(steps->pages);
        edge_compress_free(steps->compress);
        edge_forward_free(steps->forward);
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
    if ((at = part(json, "hsts", &any))) {
        steps.hsts = mem_copy(json_value_str(at, ""));
    }
    if (!rc && (at = part(json, "cors", &any))) {
        rc = edge_cors_new(at, &steps.cors, reterr);
    }
    if (!rc && (at = part(json, "redirect", &any))) {
        rc = edge_redirect_new(at, &steps.redirect, reterr);
    }
    if (!rc && (at = part(json, "maintenance", &any))) {
        rc = edge_maintenance_new(at, &steps.maintenance, reterr);
    }
    if (!rc && (at = part(json, "rate_limit", &any))) {
        steps.limits = edge_limits_new(at, r->identity);
    }
    if (!rc && (at = part(json, "basic_auth", &any))) {
        rc = edge_users_new(at, &steps.users, reterr);
    }
    if (!rc && (at = part(json, "canary", &any))) {
        rc = edge_canary_new(at, &steps.canary, reterr);
    }
    if (!rc && (at = part(json, "answer", &any))) {
        rc = edge_fixed_new(at, &steps.fixed, reterr);
    }
    if (!rc && (at = part(json, "path_change", &any))) {
        rc = edge_path_new(at, &steps.path, reterr);
    }
    if (!rc && (at = part(json, "error_pages", &any))) {
        rc = edge_pages_new(at, &steps.pages, reterr);
    }
    if (!rc && (at = part(json, "forward_auth", &any))) {
        steps.forward = edge_forward_new(at);
    }
    if (!rc && (at = part(json, "mirror", &any))) {
        steps.mirror_percent = json_num(at, "percent", 100);
        steps.mirror_most = (uint32_t)json_num(at, "max_body", 65536);
    }
    if (!rc && (at = part(json, "compress", &any))) {
        steps.compress = edge_compress_new(at);
    }
    if (any) {
        r->steps = mem_new(sizeof steps);
        *r->steps = steps;
    }
    return rc;
}

/* The route at this place of a service; NULL: there is none. */
static struct route *find(const struct generation *g, const char *service, double place)
{
    for (uint32_t i = 0; i < g->route_count; i++) {
        if (g->routes[i].place == place && str_same(g->routes[i].service->name, service)) {
            return &g->routes[i];
        }
    }
    return NULL;
}

void proxy_steps_link(const struct generation *g, const struct cJSON *config)
{
    struct route *r = g->routes; /* as build_route made them, in this order */
    for (struct cJSON *s = json_first(json_get(config, "services")); s; s = json_next(s)) {
        for (struct cJSON *at = json_first(json_get(s, "routes")); at; at = json_next(at), r++) {
            const struct cJSON *inner = json_get(at, "inner");
            struct route *outer =
                inner ? find(g, json_str(inner, "service", ""), json_num(inner, "place", 0)) : NULL;
            double canary = json_num(inner, "canary", 0);
            const char *purpose = json_str(inner, "purpose", "");
            if (!outer || !outer->steps || outer->inner) {
                continue;
            }
            if (!strcmp(purpose, "forward_auth")) {
                outer->steps->forward_route = r;
            } else if (!strcmp(purpose, "mirror")) {
                outer->steps->mirror_route = r;
            } else if (canary >= 1 && canary <= EDGE_CANARIES) {
                outer->steps->canaries[(size_t)canary - 1] = r;
                r->steps = outer->steps;
            }
        }
    }
}
