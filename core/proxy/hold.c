/* hold.c: small answers wait here until they are whole.
 *
 * What a client has got cannot be taken back, so a backend that dies in the middle of an answer would
 * cut the client off. The answer to a request that may be repeated, with a length of at most
 * the route's response_buffer, that did not come whole with its head, is therefore kept, and goes out
 * at once when it is whole. If its backend fails before, the request is repeated as if no byte had
 * come. Chunked answers, those that end with the connection and larger ones are never held: they are
 * streams, or would cost memory.
 *
 * Invariants: at most a part of the blocks holds answers; with more the next ones stream. Until it is
 * whole nothing of the answer is tallied or told to the client. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "board/board.h"
#include "proxy/coding.h"

enum {
    HOLDS_PART = 16 /* one block in so many may hold an answer */
};

static bool wanted(const struct exchange *ex, size_t came)
{
    const struct proxy *p = ex->session->proxy;
    return ex->out.framing == HTTP1_LENGTH && came < ex->out.left &&
           ex->out.left <= ex->route->response_buffer && ex->in.done && !ex->streamed &&
           http1_idempotent(ex->method) && !ex->session->out &&
           p->holds < p->block_pool.count / HOLDS_PART;
}

bool proxy_hold_begin(struct exchange *ex, int status, struct str head, struct str body)
{
    struct proxy *p = ex->session->proxy;
    if (!wanted(ex, body.len) || !(ex->held = proxy_block_with(p, head))) {
        return false;
    }
    p->holds++;
    ex->held_status = (uint16_t)status;
    ex->state = EXCHANGE_HELD;
    /* Both fit: a head of ours and SCRATCH_BYTES, which is the most that response_buffer may be. */
    memcpy(ex->held->bytes + head.len, body.ptr, body.len);
    ex->held->len += (uint32_t)body.len;
    ex->out.left -= body.len;
    ex->held_bytes = body.len;
    proxy_block_give(p, &ex->up->in);
    return true;
}

void proxy_hold_drop(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    if (ex->held) {
        proxy_block_give(p, &ex->held);
        p->holds--;
    }
}

static enum progress release(struct exchange *ex)
{
    struct str all = {ex->held->bytes, ex->held->len};
    size_t head = all.len - ex->held_bytes;
    proxy_tally_answer(ex, ex->held_status);
    ex->status = ex->held_status;
    if (ex->coder) {
        ex->state = EXCHANGE_BODY;
        return proxy_coding_send(ex, str_sub(all, 0, head), str_sub(all, head, all.len));
    }
    ex->head_sent = true;
    ex->sent_bytes += ex->held_bytes;
    board_add(&ex->backend->row->bytes_out, ex->held_bytes);
    return proxy_session_tell(ex->session, str_sub(all, 0, head), str_sub(all, head, all.len), true)
               ? proxy_exchange_abort(ex)
               : proxy_exchange_finish(ex);
}

enum progress proxy_hold_step(struct exchange *ex)
{
    struct upstream *u = ex->up;
    struct block *b = ex->held;
    if (!u->conn.readable) {
        return PROGRESS_NONE;
    }
    char *at = b->bytes + b->len;
    ssize_t n = proxy_upstream_recv(u, at, sizeof b->bytes - b->len);
    if (n == -EAGAIN) {
        return PROGRESS_NONE;
    }
    if (n <= 0) {
        return proxy_attempt_failed(ex);
    }
    size_t used = 0;
    ssize_t len = proxy_body_take(&ex->out, (struct str){at, (size_t)n}, at, &used);
    if (used < (size_t)n) {
        ex->up_keep = false; /* more than it had announced */
    }
    b->len += (uint32_t)len;
    ex->held_bytes += (uint64_t)len;
    return ex->out.done ? release(ex) : PROGRESS_SOME;
}
