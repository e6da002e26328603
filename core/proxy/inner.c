/* inner.c: see inner.h.
 *
 *   proxy_inner_new -> (end of the round) session -> exchange -> over -> whoever waits is woken
 *
 * Invariants: a session of ours begins and is told of its end outside of its client's step, so the two never meet on
 * the stack. While it lives it holds the generation of its route and a place at its client's listener. */
#include "proxy/inner.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "proxy/parts.h"

static void discard(struct inner *in)
{
    struct proxy *p = in->proxy;
    *(in->mirrored ? &p->mirrored : &p->asked_count) -= 1;
    list_remove(&in->node);
    if (in->listener) {
        proxy_listener_leave(in->listener);
    }
    proxy_generation_unref(in->generation);
    mem_free(in->request);
    mem_free(in->answer);
    mem_free(in->body);
    mem_free(in);
}

/* ---- the carrier ------------------------------------------------------------------------- */

static ssize_t inner_recv(struct session *s, void *to, size_t size)
{
    struct inner *in = s->carried;
    size_t left = in->len - in->at, n = left < size ? left : size;
    if (n) {
        memcpy(to, in->request + in->at, n);
        in->at += n;
    }
    s->ended = in->at == in->len;
    return (ssize_t)n;
}

static void keep_body(struct inner *in, struct str data)
{
    size_t room = INNER_BODY_BYTES - in->body_len;
    in->cut = in->cut || data.len > room;
    if (data.len && !in->cut) {
        in->body = mem_resize(in->body, in->body_len + data.len);
        memcpy(in->body + in->body_len, data.ptr, data.len);
        in->body_len += data.len;
    }
}

static int inner_send(struct session *s, struct str head, struct str data, bool last,
                      struct str trailers)
{
    struct inner *in = s->carried;
    (void)trailers;
    if (in->mirrored) {
        return 0;
    }
    if (head.len > 9 && head.ptr[9] != '1') { /* not an interim one */
        mem_free(in->answer);
        in->answer = mem_copy_bytes(head.ptr, head.len);
        in->answer_len = head.len;
    }
    keep_body(in, data);
    in->whole = in->whole || last;
    return 0;
}

static int inner_flush(struct session *s)
{
    (void)s;
    return 1;
}

static void inner_over(struct session *s, bool reset)
{
    struct inner *in = s->carried;
    in->session = NULL;
    in->over = true;
    in->whole = in->whole && !reset;
    if (in->outer) {
        proxy_steps_wake(in->outer);
    } else {
        discard(in);
    }
}

const struct carrier proxy_inner_carrier = {"HTTP/1.1", inner_recv, inner_send, inner_flush,
                                            inner_over};

/* ---- life -------------------------------------------------------------------------------- */

struct inner *proxy_inner_new(struct exchange *ex, struct route *route, struct str head,
                              struct str body, bool mirrored)
{
    struct session *s = ex->session;
    struct proxy *p = s->proxy;
    uint32_t *count = mirrored ? &p->mirrored : &p->asked_count;
    if (*count >= (mirrored ? INNER_MIRRORED : INNER_ASKED)) {
        return NULL;
    }
    struct inner *in = mem_new(sizeof *in);
    *count += 1;
    in->proxy = p;
    in->outer = mirrored ? NULL : ex;
    in->mirrored = mirrored;
    in->listener = s->listener;
    in->listener->sessions++;
    in->generation = route->generation;
    proxy_generation_ref(in->generation);
    in->route = route;
    in->from = s->from;
    in->from_port = s->from_port;
    in->secure = proxy_peer_secure(s);
    in->head_len = head.len;
    in->len = head.len + body.len;
    in->at = head.len;
    in->request = mem_new(in->len);
    memcpy(in->request, head.ptr, head.len);
    if (body.len) {
        memcpy(in->request + head.len, body.ptr, body.len);
    }
    list_init(&in->node);
    list_append(&p->inners, &in->node);
    return in;
}

void proxy_inner_leave(struct inner *in)
{
    if (!in) {
        return;
    }
    in->outer = NULL;
    if (in->session) {
        proxy_session_kill(in->session, true); /* which discards it */
    } else {
        discard(in);
    }
}

static void begin(struct inner *in)
{
    struct proxy *p = in->proxy;
    struct session *s =
        proxy_session_carry(p, in->listener, &proxy_inner_carrier, in, &in->from, in->from_port);
    if (!s) {
        in->over = true;
        if (in->outer) {
            proxy_steps_wake(in->outer);
        } else {
            discard(in);
        }
        return;
    }
    in->session = s;
    s->secure = in->secure;
    proxy_session_request(s, (struct str){in->request, in->head_len}, in->route);
}

void proxy_inner_run(struct proxy *p)
{
    while (!list_empty(&p->inners)) {
        struct inner *in = list_owner(p->inners.next, struct inner, node);
        list_remove(&in->node);
        begin(in);
    }
}

void proxy_inner_drop(struct proxy *p)
{
    while (!list_empty(&p->inners)) {
        discard(list_owner(p->inners.next, struct inner, node));
    }
}
