/* ask.c: what inner requests are made of: questions whether a request may go on (forward_auth), and copies of requests
 * (mirror); see inner.h.
 *
 * Invariants: nobody goes on without a whole answer that grants it. A copy is sent when the client's own request is whole,
 * and nothing waits for it; what does not fit, never gets whole or is one too many, is dropped and counted. */
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "board/board.h"
#include "edge/edge.h"
#include "edge/forward.h"
#include "proxy/parts.h"
#include "proxy/inner.h"

enum {
    LENGTH_DIGITS = 10 /* that a copy's Content-Length has: it is written when the body is whole */
};

/* ---- forward_auth ------------------------------------------------------------------------ */

static enum stepped refuse(struct exchange *ex, struct reply *reply, int status, const char *why)
{
    board_add(&ex->session->proxy->numbers->auth_errors, 1);
    *reply = (struct reply){.status = status, .why = why};
    return STEPPED_ANSWERED;
}

static enum stepped begin(struct exchange *ex, const struct http1_head *head, struct reply *reply)
{
    struct proxy *p = ex->session->proxy;
    const struct steps *steps = ex->route->steps;
    struct edge_out out = {.bytes = p->reply_bytes, .size = LIMIT_HEAD_BYTES};
    if (!steps->forward_route) {
        return refuse(ex, reply, 503, "there is no service to ask whether this may go on");
    }
    edge_forward_ask(steps->forward, head, ex->id, &out);
    if (out.full) {
        return refuse(ex, reply, 431, "the head is too long");
    }
    struct str none = {NULL, 0};
    struct inner *in =
        proxy_inner_new(ex, steps->forward_route, edge_put_since(&out, 0), none, false);
    if (!in) {
        return refuse(ex, reply, 503, "too many requests wait for whether they may go on");
    }
    ex->course->asks = in;
    return STEPPED_WAITS;
}

static enum stepped grant(struct exchange *ex, const struct http1_head *answer, struct reply *reply)
{
    struct course *c = ex->course;
    struct edge_out request = {
        .bytes = c->request, .len = c->request_len, .size = sizeof c->request};
    struct edge_out fields = {.bytes = c->fields, .len = c->fields_len, .size = sizeof c->fields};
    if (!edge_forward_grant(ex->route->steps->forward, answer, &request, &fields)) {
        return refuse(ex, reply, 502, "who was asked says too much of this request");
    }
    c->request_len = (uint32_t)request.len;
    c->fields_len = (uint32_t)fields.len;
    return STEPPED_ON;
}

/* What is lent stands in the proxy's own memory by then. */
static enum stepped deny(struct exchange *ex, const struct inner *in,
                         const struct http1_head *answer, struct reply *reply)
{
    struct proxy *p = ex->session->proxy;
    struct edge_out out = {.bytes = p->step_bytes, .size = sizeof p->step_bytes};
    struct str type = edge_forward_deny(answer, &out);
    struct str fields = edge_put_since(&out, 0);
    size_t from = out.len;
    edge_put(&out, type);
    *reply =
        (struct reply){.status = answer->status, .why = "this may not go on", .fields = fields};
    if (!in->cut && in->body_len && type.len && type.len < 200 && !out.full) {
        reply->type = edge_put_since(&out, from);
        from = out.len;
        edge_put(&out, (struct str){in->body, in->body_len});
        reply->body = edge_put_since(&out, from);
    }
    if (out.full) {
        return refuse(ex, reply, 502, "who was asked says too much");
    }
    if (answer->status == 401 || answer->status == 403) { /* a redirect is how logging in begins */
        board_add(&p->numbers->auth_failed, 1);
    }
    return STEPPED_ANSWERED;
}

static enum stepped judge(struct exchange *ex, const struct inner *in, struct reply *reply)
{
    struct http1_head answer;
    size_t used;
    struct str head = {in->answer, in->answer_len};
    if (!in->whole || !in->answer ||
        http1_parse_response(head, HTTP1_GET, &answer, &used) != HTTP1_DONE) {
        return refuse(ex, reply, 503, "who decides whether this may go on does not answer");
    }
    switch (edge_forward_word(&answer)) {
    case EDGE_WORD_GRANTED:
        return grant(ex, &answer, reply);
    case EDGE_WORD_DENIED:
        return deny(ex, in, &answer, reply);
    case EDGE_WORD_FAILED:
        break;
    }
    return answer.status == 503 || answer.status == 504
               ? refuse(ex, reply, 503, "who decides whether this may go on is not there")
               : refuse(ex, reply, 502, "who decides whether this may go on failed");
}

enum stepped proxy_ask(struct exchange *ex, const struct http1_head *head, struct reply *ret_reply)
{
    struct inner *in = ex->course->asks;
    if (!in) {
        return begin(ex, head, ret_reply);
    }
    if (!in->over) {
        return STEPPED_WAITS;
    }
    enum stepped result = judge(ex, in, ret_reply);
    ex->course->asks = NULL;
    proxy_inner_leave(in);
    return result;
}

/* ---- mirror ------------------------------------------------------------------------------ */

/* What came of the body stands behind the head, in one chunk where it goes out in chunks. */
static struct str body_of(const struct exchange *ex)
{
    const struct block *b = ex->request;
    size_t len = (size_t)ex->body_bytes, behind = 0;
    if (ex->to_backend == HTTP1_CHUNKED) {
        behind = ex->in.done ? 7 : 2; /* the end of its chunk, and of the body */
    }
    return len ? (struct str){b->bytes + b->len - behind - len, len} : (struct str){NULL, 0};
}

static void put_head(const struct exchange *ex, const struct http1_head *head, size_t body,
                     struct edge_out *out)
{
    const struct course *c = ex->course;
    edge_put(out, head->method_text);
    edge_put_text(out, " ");
    edge_put(out, c->path.len ? c->path : head->path);
    if (head->query.ptr) {
        edge_put_text(out, "?");
        edge_put(out, head->query);
    }
    edge_put_text(out, " HTTP/1.1\r\n");
    edge_put_field(out, "Host", head->host.len ? head->host : str_of("unknown"));
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        bool ours = f->known == HTTP1_HOST || f->known == HTTP1_CONTENT_LENGTH ||
                    f->known == HTTP1_EXPECT || f->known == HTTP1_X_REQUEST_ID ||
                    edge_name_alike(f->name, "X-Mirrored-Request");
        if (!f->hop && !ours && !proxy_steps_hides(ex, f->name)) {
            edge_put(out, f->name);
            edge_put_text(out, ": ");
            edge_put(out, f->value);
            edge_put_text(out, "\r\n");
        }
    }
    edge_put(out, (struct str){c->request, c->request_len});
    edge_put_field(out, "X-Request-Id", str_of(ex->id));
    edge_put_text(out, "X-Mirrored-Request: 1\r\n");
    if (head->framing != HTTP1_NO_BODY) {
        char digits[LENGTH_DIGITS +
                    1]; /* of what may be copied, which is less than 10^LENGTH_DIGITS */
        snprintf(digits, sizeof digits, "%0*zu", LENGTH_DIGITS, body);
        edge_put_field(out, "Content-Length", str_of(digits));
    }
    edge_put_text(out, "\r\n");
}

void proxy_mirror(struct exchange *ex, const struct http1_head *head)
{
    struct proxy *p = ex->session->proxy;
    const struct steps *steps = ex->route->steps;
    bool chosen = (double)(proxy_random(p) >> 11) * 0x1p-53 * 100 < steps->mirror_percent;
    if (!chosen || ex->upgrade || !steps->mirror_route) {
        return;
    }
    struct edge_out out = {.bytes = p->reply_bytes, .size = LIMIT_HEAD_BYTES};
    struct str body = body_of(ex);
    put_head(ex, head, body.len, &out);
    bool fits = body.len <= steps->mirror_most && !out.full &&
                (!head->has_content_length || head->content_length <= steps->mirror_most);
    struct inner *in = NULL;
    if (fits && proxy_service_ready(steps->mirror_route->service)) {
        in = proxy_inner_new(ex, steps->mirror_route, edge_put_since(&out, 0), body, true);
    }
    if (in && !ex->in.done) {
        list_remove(&in->node);
        ex->course->copy = in;
    } else {
        board_add(in ? &p->numbers->mirrored : &p->numbers->mirror_dropped, 1);
    }
}

void proxy_mirror_more(struct exchange *ex, struct str data)
{
    struct proxy *p = ex->session->proxy;
    struct inner *in = ex->course->copy;
    if (in->len - in->head_len + data.len > ex->route->steps->mirror_most) {
        proxy_mirror_drop(ex);
        return;
    }
    in->request = mem_resize(in->request, in->len + data.len + 1);
    if (data.len) {
        memcpy(in->request + in->len, data.ptr, data.len);
        in->len += data.len;
    }
    if (ex->in.done) {
        char digits[LENGTH_DIGITS + 1];
        snprintf(digits, sizeof digits, "%0*zu", LENGTH_DIGITS, in->len - in->head_len);
        memcpy(in->request + in->head_len - 4 - LENGTH_DIGITS, digits, LENGTH_DIGITS);
        list_append(&p->inners, &in->node);
        ex->course->copy = NULL;
        board_add(&p->numbers->mirrored, 1);
    }
}

void proxy_mirror_drop(struct exchange *ex)
{
    if (ex->course->copy) {
        board_add(&ex->session->proxy->numbers->mirror_dropped, 1);
        proxy_inner_leave(ex->course->copy);
        ex->course->copy = NULL;
    }
}
