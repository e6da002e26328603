/* exchange.c: one request and its answer.
 *
 *   (QUEUED ->) SENDING -> ANSWER -> BODY -> (finished)
 *                             +----> HELD -> (finished)
 *                             +----> TUNNEL -> (gone)
 *
 * Called by: session.c; every step returns what it came to, and frees the exchange itself when that
 * is PROGRESS_OVER.
 * Invariants: `request` holds the head and the first body bytes exactly as the backend gets them,
 * so another attempt is sending it again; attempt.c says when. Once the head of a final answer went
 * to the client, failing means cutting it. */
#include "proxy/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ban.h"
#include "base/err.h"
#include "board/board.h"
#include "net/grpc.h"
#include "proxy/coding.h"
#include "proxy/inner.h"

static struct proxy *proxy_of(const struct exchange *ex)
{
    return ex->session->proxy;
}

static bool unsent(const struct exchange *ex)
{
    return ex->request->at < ex->request->len;
}

/* Takes everything of the exchange apart; the session has none afterwards. */
static void drop(struct exchange *ex, bool keep_upstream)
{
    struct proxy *p = proxy_of(ex);
    proxy_tally_request_end(ex);
    proxy_queue_leave(ex);
    if (ex->backend) {
        proxy_tally_end(ex);
    }
    proxy_past_ended(ex);
    if (ex->up) {
        proxy_upstream_release(ex->up, keep_upstream);
    }
    proxy_hold_drop(ex);
    proxy_coding_end(ex);
    proxy_client_leave(ex);
    proxy_timeout_stop(&ex->deadline);
    if (ex->due_place) {
        proxy_deadline_stop(ex);
    }
    proxy_pipe_give(p, ex->pipe);
    proxy_pipe_give(p, ex->in_pipe);
    proxy_block_give(p, &ex->request);
    proxy_block_give(p, &ex->trailer);
    proxy_steps_end(ex);
    proxy_generation_unref(ex->generation);
    ex->session->ex = NULL;
    proxy_pool_give(&p->exchange_pool, ex);
}

/* How it ended, for who looks at it later; `whole`: its answer did not break off. */
static void record(struct exchange *ex, bool whole)
{
    proxy_access_exchange(ex, whole);
    if (ex->sampled) {
        proxy_span_end(ex, whole);
    }
}

void proxy_exchange_leave(struct exchange *ex)
{
    record(ex, false);
    drop(ex, false);
}

enum progress proxy_exchange_cut(struct exchange *ex)
{
    ex->failure = FAILURE_RESET;
    return ex->grpc ? proxy_grpc_end(ex, 502, "the backend broke off") : proxy_exchange_abort(ex);
}

enum progress proxy_exchange_finish(struct exchange *ex)
{
    struct session *s = ex->session;
    if (ex->grpc && !ex->failure && grpc_status_failed(ex->grpc_status)) {
        ex->failure = FAILURE_5XX;
    }
    record(ex, true);
    drop(ex, ex->up_keep && !unsent(ex) && !ex->in_pipe);
    proxy_session_next(s);
    return PROGRESS_OVER;
}

enum progress proxy_exchange_abort(struct exchange *ex)
{
    struct session *s = ex->session;
    if (ex->head_sent) {
        board_add(&s->proxy->numbers->aborted, 1);
    }
    record(ex, false);
    drop(ex, false);
    proxy_session_kill(s, true);
    return PROGRESS_OVER;
}

enum progress proxy_exchange_reply(struct exchange *ex, struct reply *reply)
{
    struct session *s = ex->session;
    struct generation *g = ex->generation; /* lends what is sent, pages for one */
    char id[REQUEST_ID_BYTES + 1];
    (void)str_copy(id, sizeof id, ex->id);
    reply->id = id;
    reply->head_only = ex->method == HTTP1_HEAD;
    reply->keep = ex->client_keep && ex->in.done;
    if (!ex->in.done) {
        s->untidy = true;
    }
    proxy_steps_reply(ex, reply);
    ex->status = (uint16_t)reply->status;
    reply->grpc = ex->grpc;
    ex->grpc_status = ex->grpc ? (int8_t)grpc_status_of_http(reply->status) : GRPC_NONE;
    ex->sent_bytes += reply->head_only ? 0 : reply->body.len;
    record(ex, true);
    proxy_generation_ref(g);
    drop(ex, false);
    (void)proxy_reply(s, reply);
    proxy_generation_unref(g);
    return PROGRESS_OVER;
}

enum progress proxy_exchange_refuse(struct exchange *ex, int status, const char *why)
{
    if (ex->head_sent || ex->tcp) {
        if (ex->backend && !ex->head_sent) {
            proxy_tally_failure(ex, false);
        }
        return ex->grpc ? proxy_grpc_end(ex, status, why) : proxy_exchange_abort(ex);
    }
    if (ex->backend && status >= 500) {
        ex->failure = status == 504 && !ex->failure ? FAILURE_TIMEOUT : ex->failure;
        proxy_tally_failure(ex, false);
    }
    return proxy_exchange_reply(ex, &(struct reply){.status = status, .why = why});
}

enum progress proxy_exchange_refuse_body(struct exchange *ex, int rc)
{
    board_add(&proxy_of(ex)->numbers->bad_requests, 1);
    ex->session->untidy = true;
    return rc == -EFBIG
               ? proxy_exchange_refuse(ex, 413, "the body is longer than this route allows")
               : proxy_exchange_refuse(ex, 400, "the body is not well chunked");
}

/* ---- beginning --------------------------------------------------------------------------- */

static bool wants_websocket(const struct http1_head *head)
{
    const struct http1_field *f = head->upgrade ? http1_find(head, HTTP1_UPGRADE) : NULL;
    return f && head->method == HTTP1_GET && head->framing == HTTP1_NO_BODY &&
           str_is_nocase(f->value, "websocket");
}

/* Without what a head says. */
static struct exchange *bare_exchange(struct session *s, struct route *route)
{
    struct proxy *p = s->proxy;
    struct exchange *ex = proxy_pool_take(&p->exchange_pool);
    if (!ex) {
        return NULL;
    }
    memset(ex, 0, offsetof(struct exchange, id));
    ex->request = proxy_block_take(p);
    if (!ex->request) {
        proxy_pool_give(&p->exchange_pool, ex);
        return NULL;
    }
    list_init(&ex->client);
    proxy_conn_init(&ex->deadline, CONN_DEADLINE, -1);
    if (route->total_timeout) {
        proxy_timeout_start(p, &ex->deadline, route->total_timeout);
    }
    list_init(&ex->waiting);
    ex->session = s;
    ex->began_us = p->now_us;
    ex->route = route;
    ex->generation = route->generation;
    proxy_generation_ref(ex->generation);
    s->ex = ex;
    s->state = SESSION_EXCHANGE;
    proxy_timeout_stop(&s->conn);
    return ex;
}

static struct exchange *new_exchange(struct session *s, struct route *route,
                                     const struct http1_head *head)
{
    struct exchange *ex = bare_exchange(s, route);
    if (!ex) {
        return NULL;
    }
    ex->method = head->method;
    ex->client_minor = (uint8_t)head->minor;
    ex->client_keep = head->keep_alive;
    ex->upgrade = wants_websocket(head);
    ex->te_trailers = !ex->upgrade && proxy_trailer_wanted(head);
    proxy_tally_request(ex);
    ex->no_bulk = s->carrier || s->conn.tls;
    ex->in = (struct body){
        .framing = s->carrier && head->framing == HTTP1_CHUNKED ? HTTP1_UNTIL_CLOSE : head->framing,
        .left = head->content_length,
        .done = head->framing == HTTP1_NO_BODY};
    proxy_request_id_of(s->proxy, head, ex->id);
    return ex;
}

bool proxy_exchange_begin_tcp(struct session *s)
{
    struct proxy *p = s->proxy;
    struct exchange *ex = bare_exchange(s, s->listener->port->tcp);
    if (!ex) {
        board_add(&p->numbers->no_backend, 1);
        board_add(&p->numbers->exhausted, 1);
        proxy_fact(p, "limit", "out of exchanges: a connection was refused");
        proxy_session_kill(s, true);
        return false;
    }
    ex->tcp = true;
    ex->in.done = true;
    proxy_request_id(p, ex->id);
    proxy_view_take(ex, NULL);
    if (!proxy_client_enter(ex)) {
        (void)proxy_exchange_abort(ex);
        return false;
    }
    return proxy_attempt_first(ex) != PROGRESS_OVER;
}

static struct route *find_route(const struct session *s, const struct http1_head *head)
{
    const struct proxy *p = s->proxy;
    const struct port *port = s->listener->port;
    if (!port && p->draining && p->current) {
        /* Its socket is closed, but who is connected is still served. */
        port = proxy_generation_port(p->current, s->listener->address);
    }
    return port ? proxy_route_find(port, head) : NULL;
}

void proxy_exchange_begin(struct session *s, struct route *route, const struct http1_head *head,
                          struct str rest, size_t *ret_taken)
{
    struct proxy *p = s->proxy;
    *ret_taken = 0;
    if (proxy_refuse_early(s, head)) {
        return;
    }
    if (p->challenges && !route && proxy_challenge_answer(s, head)) {
        return;
    }
    if (s->tls && proxy_secure_misdirected(s, head)) {
        board_add(&p->numbers->bad_requests, 1);
        proxy_refuse(s, head, 421,
                     "this connection's certificate is not for this host: use another one");
        return;
    }
    route = route ? route : find_route(s, head);
    if (!route) {
        board_add(&p->numbers->no_route, 1);
        proxy_refuse(s, head, 404, "no service is here");
        return;
    }
    if (route->rules.max_body && head->content_length > route->rules.max_body &&
        head->framing == HTTP1_LENGTH) {
        board_add(&p->numbers->bad_requests, 1);
        proxy_refuse(s, head, 413, "the body is longer than this route allows");
        return;
    }
    if (route->trust || s->word) {
        proxy_peer_find(s, route, head);
    }
    struct exchange *ex = new_exchange(s, route, head);
    if (!ex) {
        board_add(&p->numbers->no_backend, 1);
        board_add(&p->numbers->exhausted, 1);
        proxy_fact(p, "limit", "out of exchanges: a request was refused");
        proxy_refuse(s, head, 503, "too much is going on");
        return;
    }
    if (ex->generation->trace_share >= 0) {
        proxy_span_begin(ex, head);
    }
    if ((s->carrier || proxy_route_links(route)) && proxy_grpc_asked(head) &&
        proxy_grpc_begin(ex, head)) {
        (void)proxy_exchange_refuse(ex, 400, "grpc-timeout is not a deadline");
        return;
    }
    if (!route->steps || proxy_steps_request(ex, head) == STEPPED_ON) {
        proxy_exchange_go_on(ex, head, rest, ret_taken);
    }
}

void proxy_exchange_go_on(struct exchange *ex, const struct http1_head *head, struct str rest,
                          size_t *ret_taken)
{
    ex->bare = proxy_route_links(ex->route); /* steps may have chosen another service */
    ex->to_backend = ex->bare && head->framing == HTTP1_CHUNKED ? HTTP1_UNTIL_CLOSE : head->framing;
    ssize_t n =
        proxy_forward_request(ex, head, ex->request->bytes, LIMIT_HEAD_BYTES + HEAD_EXTRA_BYTES);
    if (n < 0) {
        (void)proxy_exchange_refuse(ex, 431, "the head is too long");
        return;
    }
    ex->request->len = (uint32_t)n;
    int rc = !ex->in.done && rest.len ? proxy_body_first(ex, rest, ret_taken) : 0;
    if (rc) {
        ex->client_keep = false;
        (void)proxy_exchange_refuse_body(ex, rc);
        return;
    }
    proxy_view_take(ex, head);
    if (!proxy_client_enter(ex)) {
        (void)proxy_exchange_refuse(ex, 429, "too many requests of this client are under way");
        return;
    }
    if (ex->course && ex->route->steps->mirror_percent > 0) {
        proxy_mirror(ex, head);
    }
    (void)proxy_attempt_first(ex);
}

/* ---- going on ---------------------------------------------------------------------------- */

/* The same on a stream, which takes the body by itself as it may. */
static enum progress ask(struct exchange *ex)
{
    struct upstream *u = ex->up;
    if (u->lane.id || u->lane.error) {
        return PROGRESS_NONE;
    }
    int rc = proxy_lane_ask(u);
    if (rc) {
        u->lane.error = rc;
        u->lane.untouched = true;
        u->conn.readable = u->conn.error = true;
    }
    return PROGRESS_SOME;
}

static enum progress send_request(struct exchange *ex)
{
    struct upstream *u = ex->up;
    struct block *b = ex->request;
    if (u->shared) {
        return ask(ex);
    }
    int rc = u->securing ? proxy_backend_shake(u) : 1;
    if (rc < 0) {
        return proxy_attempt_failed(ex);
    }
    if (!rc || !u->conn.writable || u->broken) {
        return PROGRESS_NONE;
    }
    struct iovec iov = {b->bytes + b->at, b->len - b->at};
    ssize_t n = proxy_conn_send(&u->conn, &iov, 1);
    if (n < 0) {
        if (u->connecting) {
            return proxy_attempt_failed(ex);
        }
        /* It closed; but it may have answered before, for instance that it wants no body. */
        u->broken = true;
        u->conn.readable = true;
        return PROGRESS_SOME;
    }
    if (!n) {
        return PROGRESS_NONE;
    }
    u->connecting = false;
    b->at += (uint32_t)n;
    if (!unsent(ex) && ex->state == EXCHANGE_SENDING) {
        ex->state = EXCHANGE_ANSWER;
    }
    return PROGRESS_SOME;
}

static int send_head(struct exchange *ex, const struct http1_head *head)
{
    struct proxy *p = proxy_of(ex);
    ssize_t n = proxy_forward_answer(ex, head, p->head_bytes, sizeof p->head_bytes);
    if (n < 0) {
        return (int)n;
    }
    return proxy_session_tell(ex->session, (struct str){p->head_bytes, (size_t)n},
                              (struct str){NULL, 0}, false);
}

static enum progress begin_tunnel(struct exchange *ex, const struct http1_head *head,
                                  struct str rest)
{
    if (!ex->upgrade || !head->upgrade) {
        return proxy_exchange_refuse(ex, 502, "the backend switched protocols unasked");
    }
    proxy_tally_answer(ex, 101);
    ex->status = 101;
    if (send_head(ex, head) ||
        (rest.len && proxy_session_tell(ex->session, (struct str){NULL, 0}, rest, false))) {
        return proxy_exchange_abort(ex);
    }
    ex->head_sent = true;
    ex->session->last = true;
    proxy_timeout_stop(&ex->deadline); /* a tunnel has only its silence */
    ex->state = EXCHANGE_TUNNEL;
    return PROGRESS_SOME;
}

static enum progress begin_answer(struct exchange *ex, struct http1_head *head, struct str rest)
{
    char etag[EDGE_ETAG_BYTES];
    struct proxy *p = proxy_of(ex);
    struct session *s = ex->session;
    if (ex->course && proxy_steps_intercept(ex, head->status)) {
        proxy_tally_answer(ex, head->status);
        return proxy_exchange_reply(
            ex, &(struct reply){.status = head->status, .why = "the service failed"});
    }
    if (ex->course) {
        proxy_coding_begin(ex, head, etag);
    }
    bool streams =
        ex->coder || head->framing == HTTP1_CHUNKED || head->framing == HTTP1_UNTIL_CLOSE;
    ex->out = (struct body){.framing = head->framing,
                            .left = head->content_length,
                            .done = head->framing == HTTP1_NO_BODY};
    ex->up_keep = head->keep_alive && ex->in.done && !ex->up->broken;
    enum progress elsewhere;
    if (ex->grpc && ex->bare && proxy_grpc_unavailable(ex, head, rest) &&
        proxy_attempt_elsewhere(ex, &elsewhere)) {
        return elsewhere;
    }
    ex->to_client = !streams                               ? head->framing
                    : ex->client_minor == 1 && !s->carrier ? HTTP1_CHUNKED
                                                           : HTTP1_UNTIL_CLOSE;
    ex->trailers = (ex->bare ? streams : head->framing == HTTP1_CHUNKED) &&
                   (s->carrier || (ex->te_trailers && ex->to_client == HTTP1_CHUNKED)) &&
                   proxy_trailer_fits(head);
    s->last = !ex->client_keep || !ex->in.done || ex->to_client == HTTP1_UNTIL_CLOSE || p->draining;
    if (!ex->in.done) {
        s->untidy = true;
    }
    ssize_t n = proxy_forward_answer(ex, head, p->head_bytes, sizeof p->head_bytes);
    if (n < 0) {
        return proxy_exchange_refuse(ex, 502, "the backend's head is too long");
    }
    struct str ours = {p->head_bytes, (size_t)n};
    if (proxy_hold_begin(ex, head->status, ours, rest)) {
        return PROGRESS_SOME;
    }
    proxy_tally_answer(ex, ex->grpc ? proxy_grpc_outcome(ex, head->status) : head->status);
    ex->status = (uint16_t)head->status;
    ex->state = EXCHANGE_BODY;
    return proxy_stream_answer(ex, ours, rest);
}

/* Part of a head: waits for more of it. */
static enum progress keep_part(struct exchange *ex, struct str bytes)
{
    struct proxy *p = proxy_of(ex);
    struct block **in = &ex->up->in;
    if (*in) {
        memmove((*in)->bytes, bytes.ptr, bytes.len);
        (*in)->len = (uint32_t)bytes.len;
    } else {
        *in = proxy_block_with(p, bytes);
    }
    return *in ? PROGRESS_SOME : proxy_exchange_refuse(ex, 503, "out of memory for heads");
}

static enum progress take_heads(struct exchange *ex, struct str bytes)
{
    struct proxy *p = proxy_of(ex);
    for (;;) {
        size_t used = 0;
        switch (http1_parse_response(bytes, ex->method, &p->head, &used)) {
        case HTTP1_MORE:
            return keep_part(ex, bytes);
        case HTTP1_BAD:
        case HTTP1_RESULTS:
            return proxy_exchange_refuse(ex, 502, "the backend's answer could not be understood");
        case HTTP1_DONE:
            break;
        }
        bytes = str_sub(bytes, used, bytes.len);
        if (p->head.status == 101) {
            return begin_tunnel(ex, &p->head, bytes);
        }
        if (p->head.status >= 200) {
            proxy_trailer_await(ex, &p->head);
            return begin_answer(ex, &p->head, bytes);
        }
        if (ex->client_minor == 1 && send_head(ex, &p->head)) {
            return proxy_exchange_abort(ex);
        }
        if (!bytes.len) {
            proxy_block_give(p, &ex->up->in);
            return PROGRESS_SOME;
        }
    }
}

static enum progress wait_head(struct exchange *ex)
{
    struct upstream *u = ex->up;
    if (!u->conn.readable || (u->connecting && !u->conn.error)) {
        return PROGRESS_NONE;
    }
    int rc = proxy_session_flush(ex->session);
    if (rc <= 0) {
        return rc < 0 ? proxy_exchange_abort(ex) : PROGRESS_NONE;
    }
    struct block *b = u->in;
    struct proxy *p = proxy_of(ex);
    ssize_t n = b ? proxy_upstream_recv(u, b->bytes + b->len, SCRATCH_BYTES - b->len)
                  : proxy_upstream_recv(u, p->scratch, SCRATCH_BYTES);
    if (n == -EAGAIN) {
        return u->broken ? proxy_attempt_failed(ex) : PROGRESS_NONE;
    }
    if (n <= 0) {
        return proxy_attempt_failed(ex);
    }
    ex->answered = true;
    if (b) {
        b->len += (uint32_t)n;
        return take_heads(ex, (struct str){b->bytes, b->len});
    }
    return take_heads(ex, (struct str){p->scratch, (size_t)n});
}

/* Which side we wait for now, and for how long. */
static void set_timeouts(struct exchange *ex, bool moved)
{
    struct proxy *p = proxy_of(ex);
    struct session *s = ex->session;
    const struct route *r = ex->route;
    struct timeout *up = NULL, *client = NULL;
    bool blocked = s->out || ex->pipe || (s->carrier && !proxy_session_flush(s));
    bool awaits_body =
        !unsent(ex) && !ex->up->out && !ex->in_pipe && !ex->in.done && ex->state == EXCHANGE_ANSWER;
    if (ex->up->connecting) {
        up = r->connect_timeout;
    } else if (blocked || awaits_body) {
        /* Who calls by streams may have nothing to say for long. */
        client = ex->grpc && !blocked ? r->idle_timeout : r->client_timeout;
    } else {
        up = ex->head_sent || ex->held ? r->idle_timeout : r->first_byte_timeout;
    }
    if (awaits_body && !ex->await_ms) {
        ex->await_ms = p->now_ms;
    }
    if (!ex->in.done || blocked || ex->state == EXCHANGE_TUNNEL) {
        if (proxy_conn_register(p, &s->conn)) {
            s->conn.error = true; /* the next step cuts it */
        }
    } else if (!s->conn.registered) {
        client = p->register_timeout;
        moved = false;
    }
    proxy_timeout_keep(p, &ex->up->conn, up, moved);
    proxy_timeout_keep(p, &s->conn, client, moved);
}

static enum progress stronger(enum progress a, enum progress b)
{
    return a > b ? a : b;
}

/* A TCP route's connection is a tunnel once its backend is there; till then another may get it. */
static enum progress await_backend(struct exchange *ex)
{
    struct upstream *u = ex->up;
    int error = 0;
    socklen_t len = sizeof error;
    if (!u->conn.writable && !u->conn.error) {
        return PROGRESS_NONE;
    }
    if (getsockopt(u->conn.fd, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
        return proxy_attempt_failed(ex);
    }
    u->connecting = false;
    proxy_tally_answer(ex, 200);
    ex->status = 200;
    ex->head_sent = true;
    ex->session->last = true;
    proxy_timeout_stop(&ex->deadline);
    ex->state = EXCHANGE_TUNNEL;
    return PROGRESS_SOME;
}

static enum progress step(struct exchange *ex)
{
    if (ex->state == EXCHANGE_TUNNEL) {
        return proxy_tunnel_step(ex);
    }
    if (ex->tcp) {
        return await_backend(ex);
    }
    enum progress sent = PROGRESS_NONE;
    if (unsent(ex)) {
        struct upstream *before = ex->up;
        sent = send_request(ex);
        if (sent == PROGRESS_OVER || ex->up != before) {
            return sent;
        }
    } else if (!ex->in.done || ex->in_pipe) {
        sent = proxy_stream_in(ex);
        if (sent == PROGRESS_OVER) {
            return sent;
        }
    } else if (ex->up->out) {
        int rc = proxy_upstream_flush(ex->up);
        ex->up->broken = ex->up->broken || rc < 0;
        sent = rc ? PROGRESS_SOME : PROGRESS_NONE;
    }
    return stronger(sent, ex->state == EXCHANGE_BODY   ? proxy_stream_out(ex)
                          : ex->state == EXCHANGE_HELD ? proxy_hold_step(ex)
                                                       : wait_head(ex));
}

enum progress proxy_exchange_step(struct exchange *ex)
{
    if (ex->state <= EXCHANGE_PAUSED) {
        return ex->state == EXCHANGE_PAUSED ? proxy_pause_step(ex)
               : ex->session->conn.hup      ? proxy_exchange_abort(ex)
                                            : PROGRESS_NONE;
    }
    enum progress progress = step(ex);
    if (progress != PROGRESS_OVER && ex->state > EXCHANGE_PAUSED) {
        set_timeouts(ex, progress == PROGRESS_SOME);
    }
    return progress;
}

bool proxy_exchange_fast_enough(struct exchange *ex)
{
    uint64_t rate = ex->route->rules.min_body_rate, now_ms = proxy_of(ex)->now_ms;
    if (ex->await_ms) {
        ex->awaited_ms += now_ms - ex->await_ms;
        ex->await_ms = 0;
    }
    return !rate || ex->in.done || ex->awaited_ms <= ex->route->rules.slow_ms ||
           ex->body_bytes * 1000 >= rate * ex->awaited_ms;
}

void proxy_exchange_deadline(struct exchange *ex)
{
    struct session *s = ex->session;
    (void)proxy_exchange_refuse(ex, 504, "the request took longer than it may");
    proxy_session_step(s);
}

void proxy_exchange_timeout(struct exchange *ex)
{
    if (ex->state == EXCHANGE_QUEUED) {
        board_add(&proxy_of(ex)->numbers->queue_refused, 1);
        (void)proxy_exchange_refuse(
            ex, 503, ex->all_full ? "all backends stayed full" : "no backend came in time");
        return;
    }
    bool uploading = !ex->in.done && !ex->head_sent;
    (void)(uploading ? proxy_exchange_refuse(ex, 408, "the body took too long")
                     : proxy_exchange_abort(ex));
}
