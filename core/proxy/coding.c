/* coding.c: see coding.h.
 *
 *   backend -> CODED_BYTES -> coder -> what waits, up to SCRATCH_BYTES -> client
 *
 * Invariants: nothing is read of the backend while coded bytes wait; a session that has coded a piece gives way to the
 * others, so a long answer costs them no more than a piece. Where the backend pauses in a body of unknown length what came
 * so far is sent: a stream stays one. */
#include "proxy/coding.h"

#include <string.h>

#include "base/ban.h"
#include "board/board.h"
#include "proxy/parts.h"

void proxy_coding_begin(struct exchange *ex, struct http1_head *head, char etag[EDGE_ETAG_BYTES])
{
    const struct edge_compress *c = proxy_steps_compress(ex);
    struct proxy *p = ex->session->proxy;
    proxy_coding_end(ex); /* of an attempt before */
    if (!c) {
        return;
    }
    struct edge_asked asked = ex->course->asked;
    uint64_t length = head->has_content_length ? head->content_length : UINT64_MAX;
    bool body = head->framing != HTTP1_NO_BODY;
    if (body && asked.coding != EDGE_IDENTITY) {
        ex->coder = edge_coder_new(&p->coders, (enum edge_coding)asked.coding,
                                   edge_compress_level(c), length);
    }
    if (edge_compress_head(c, asked, head, ex->coder != NULL, etag) == EDGE_IDENTITY) {
        proxy_coding_end(ex);
    } else {
        ex->no_bulk = true;
    }
}

void proxy_coding_end(struct exchange *ex)
{
    if (ex->coder) {
        edge_coder_free(&ex->session->proxy->coders, ex->coder);
        ex->coder = NULL;
    }
}

bool proxy_coding_waits(const struct exchange *ex)
{
    return ex->out.done || edge_coder_waits(ex->coder).len;
}

static enum progress pass(struct exchange *ex, struct str head)
{
    struct str waits = edge_coder_waits(ex->coder), none = {NULL, 0};
    struct str data = str_sub(waits, 0, SCRATCH_BYTES);
    bool last = ex->out.done && data.len == waits.len;
    ex->head_sent = true;
    board_add(&ex->backend->row->bytes_out, data.len);
    ex->sent_bytes += data.len;
    if (proxy_stream_send(ex, head, data, last,
                          last && ex->trailers ? proxy_trailer_end(ex) : none)) {
        return proxy_exchange_abort(ex);
    }
    edge_coder_took(ex->coder, data.len);
    if (last) {
        return proxy_exchange_finish(ex);
    }
    ex->session->yields = true;
    return PROGRESS_SOME;
}

enum progress proxy_coding_send(struct exchange *ex, struct str head, struct str data)
{
    bool stream = ex->out.framing != HTTP1_LENGTH && ex->up && !ex->up->conn.readable;
    enum edge_push push = ex->out.done ? EDGE_END : stream ? EDGE_FLUSH : EDGE_MORE;
    if (edge_coder_push(ex->coder, data, push)) {
        return proxy_exchange_abort(ex);
    }
    return pass(ex, head);
}

enum progress proxy_coding_step(struct exchange *ex)
{
    return pass(ex, (struct str){NULL, 0});
}
