/* pause.c: exchanges that wait for a step, such as a log-in, before they go on to their backends.
 *
 *   step -> PAUSED -> (its word comes) -> the same step again, and those behind it -> backend
 *
 * While it waits the request stands in ex->request as it came, and nothing more is read of it; what came behind its
 * head stays with the session.
 * Called by: steps.c, session.c and exchange.c. Invariants: an exchange is only woken from outside of its session's own
 * step, and goes on in the next round of the loop: what all exchanges share is free then. */
#include "proxy/parts.h"

#include <string.h>

#include "base/ban.h"
#include "edge/edge.h"

/* As it came, but for blanks. */
static bool keep(struct exchange *ex, const struct http1_head *head)
{
    struct edge_out out = {.bytes = ex->request->bytes,
                           .size = LIMIT_HEAD_BYTES + HEAD_EXTRA_BYTES};
    edge_put(&out, head->method_text);
    edge_put_text(&out, " ");
    edge_put(&out, head->target);
    edge_put_text(&out, head->minor ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        edge_put(&out, f->name);
        edge_put_text(&out, ": ");
        edge_put(&out, f->value);
        edge_put_text(&out, "\r\n");
    }
    edge_put_text(&out, "\r\n");
    ex->request->len = (uint32_t)out.len;
    return !out.full;
}

enum stepped proxy_pause_begin(struct exchange *ex, const struct http1_head *head)
{
    struct session *s = ex->session;
    if (ex->state != EXCHANGE_PAUSED && !keep(ex, head)) {
        (void)proxy_exchange_refuse(ex, 431, "the head is too long");
        return STEPPED_ANSWERED;
    }
    ex->state = EXCHANGE_PAUSED;
    ex->course->woken = false;
    if (!s->carrier && proxy_conn_register(s->proxy, &s->conn)) {
        s->conn.error = true; /* the next step cuts it */
    }
    return STEPPED_WAITS;
}

void proxy_steps_wake(struct exchange *ex)
{
    struct session *s = ex->session;
    ex->course->woken = true;
    list_remove(&s->ready);
    list_append(&s->proxy->ready, &s->ready);
}

static enum progress go_on(struct exchange *ex)
{
    struct session *s = ex->session;
    struct proxy *p = s->proxy;
    size_t used = 0, taken = 0;
    int status;
    struct str text = {p->scratch, ex->request->len};
    memcpy(p->scratch, ex->request->bytes, text.len);
    if (http1_parse_request(text, &p->head, &used, &status) != HTTP1_DONE) {
        return proxy_exchange_refuse(ex, 400, "the request could not be understood");
    }
    switch (proxy_steps_again(ex, &p->head)) {
    case STEPPED_WAITS:
        return PROGRESS_NONE;
    case STEPPED_ANSWERED:
        return PROGRESS_OVER;
    case STEPPED_ON:
    case STEPPED_RESULTS:
        break;
    }
    struct block *in = s->in;
    struct str rest = {NULL, 0};
    if (in) {
        rest = (struct str){in->bytes + in->at, in->len - in->at};
    }
    proxy_exchange_go_on(ex, &p->head, rest, &taken);
    if (in && s->in == in) { /* the session lives */
        in->at += (uint32_t)taken;
        if (in->at == in->len) {
            proxy_block_give(p, &s->in);
        }
    }
    return PROGRESS_SOME; /* or it is over: whoever steps the session looks at it anew */
}

enum progress proxy_pause_step(struct exchange *ex)
{
    struct session *s = ex->session;
    if (s->conn.hup || s->conn.error) {
        return proxy_exchange_abort(ex);
    }
    return ex->course && ex->course->woken ? go_on(ex) : PROGRESS_NONE;
}
