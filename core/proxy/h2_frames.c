/* h2_frames.c: what nghttp2 tells of frames that come, and asks for those that go.
 *
 * Invariants: nothing here steps a session or ends the connection: it is noted, and done when nghttp2 has returned. */
#include "proxy/h2.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"

enum {
    ACKS_MOST = 256 /* answers to SETTINGS and PING that may wait for a client who does not read */
};

static int verdict(bool fine)
{
    return fine ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- frames that come -------------------------------------------------------------------- */

/* What a frame of this kind is counted as; BOARD_H2_FLOODS: as none. */
static enum board_h2_flood kind_of(const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_DATA:
        return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM) ? BOARD_H2_EMPTY
                                                                         : BOARD_H2_FLOODS;
    case NGHTTP2_HEADERS:
        return BOARD_H2_FLOODS;
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
        return BOARD_H2_PRIORITIES;
    case NGHTTP2_RST_STREAM:
        return BOARD_H2_RESETS;
    case NGHTTP2_SETTINGS:
        return BOARD_H2_SETTINGS;
    case NGHTTP2_PING:
        return BOARD_H2_PINGS;
    case NGHTTP2_WINDOW_UPDATE:
        return BOARD_H2_WINDOWS;
    case NGHTTP2_CONTINUATION:
        return hd->length == 0 ? BOARD_H2_EMPTY : BOARD_H2_FLOODS;
    default:
        return BOARD_H2_FLOODS;
    }
}

/* What nghttp2 is lenient about: a stream that was passed over cannot be begun any more (RFC 9113, 5.1.1), and PRIORITY is
 * looked at although nobody cares what it says (6.3). */
static bool in_order(struct h2 *h2, const nghttp2_frame_hd *hd)
{
    int32_t id = hd->stream_id;
    if (hd->type == NGHTTP2_PRIORITY) {
        return id != 0;
    }
    if (hd->type != NGHTTP2_HEADERS) {
        return true;
    }
    if (id > h2->highest) {
        if (id > h2->highest + 2 && h2->highest) {
            h2->gap = h2->highest + 2;
            h2->gap_end = id;
        }
        h2->highest = id;
        return true;
    }
    return id < h2->gap || id >= h2->gap_end;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
    struct h2 *h2 = arg;
    h2->greeted = true;
    if (hd->type == NGHTTP2_HEADERS) {
        h2->continuations = 0;
        h2->block_bytes = h2->block_fields = 0;
        h2->heading = !(hd->flags & NGHTTP2_FLAG_END_HEADERS);
    } else if (hd->type == NGHTTP2_CONTINUATION) {
        h2->heading = !(hd->flags & NGHTTP2_FLAG_END_HEADERS);
        if (++h2->continuations > LIMIT_H2_CONTINUATIONS) {
            proxy_h2_calm(h2, BOARD_H2_CONTINUATIONS);
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    if (!in_order(h2, hd)) {
        proxy_h2_fail(h2, NGHTTP2_PROTOCOL_ERROR);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    enum board_h2_flood kind = kind_of(hd);
    const struct h2_stream *st =
        kind == BOARD_H2_RESETS ? nghttp2_session_get_stream_user_data(ng, hd->stream_id) : NULL;
    if (st && st->told.timeout) {
        return 0; /* of what we answered before it ended: who has the answer says no more */
    }
    return verdict(kind == BOARD_H2_FLOODS || proxy_h2_spend(h2, kind));
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    struct h2_stream *st = proxy_h2_stream_new(h2, frame->hd.stream_id);
    if (!st) {
        struct proxy *p = h2->session->proxy;
        board_add(&p->numbers->exhausted, 1);
        proxy_fact(p, "limit", "out of streams: a request was refused");
        (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                        NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    (void)nghttp2_session_set_stream_user_data(ng, frame->hd.stream_id, st);
    return 0;
}

static struct h2_stream *stream_of(nghttp2_session *ng, int32_t id)
{
    return nghttp2_session_get_stream_user_data(ng, id);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    struct h2 *h2 = arg;
    struct h2_stream *st = stream_of(ng, frame->hd.stream_id);
    (void)flags;
    h2->block_fields++;
    h2->block_bytes +=
        (uint32_t)(nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len);
    if (h2->block_fields > LIMIT_H2_BLOCK_FIELDS || h2->block_bytes > LIMIT_H2_BLOCK_BYTES) {
        proxy_h2_calm(h2, BOARD_H2_HEADERS);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (st && st->head && frame->headers.cat == NGHTTP2_HCAT_REQUEST && !st->closed) {
        proxy_h2_field(st, name, value);
    }
    return 0;
}

/* nghttp2 would leave the field out; the request is malformed. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    (void)name;
    (void)value;
    (void)flags;
    (void)arg;
    (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                    NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    (void)arg;
    bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    struct h2_stream *st = carries ? stream_of(ng, frame->hd.stream_id) : NULL;
    if (!st || st->closed) {
        return 0;
    }
    st->ended = st->ended || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        st->fresh = true;
    }
    proxy_h2_stream_note(st);
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *arg)
{
    struct h2_stream *st = stream_of(ng, id);
    (void)flags;
    (void)arg;
    (void)nghttp2_session_consume_connection(ng, len);
    if (!st || st->closed) {
        return 0;
    }
    if (!st->session && !st->fresh) {
        proxy_h2_stream_dropped(st, len);
        return 0;
    }
    if (proxy_h2_stream_data(st, (struct str){(const char *)data, len})) {
        (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
    }
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t error, void *arg)
{
    struct h2_stream *st = stream_of(ng, id);
    (void)arg;
    (void)error;
    if (st) {
        (void)nghttp2_session_set_stream_user_data(ng, id, NULL);
        st->closed = true;
        proxy_h2_stream_note(st);
    }
    return 0;
}

/* ---- frames that go ---------------------------------------------------------------------- */

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;
    (void)ng;
    if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) {
        proxy_h2_earn(h2, BOARD_H2_WINDOWS, 4);
        proxy_h2_earn(h2, BOARD_H2_PINGS, 1);
        struct h2_stream *st =
            frame->hd.flags & NGHTTP2_FLAG_END_STREAM ? stream_of(ng, frame->hd.stream_id) : NULL;
        if (st) {
            proxy_h2_stream_told(st);
        }
    }
    /* What we must cancel for its mistakes, a client may not do without end either. */
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
        frame->rst_stream.error_code != NGHTTP2_INTERNAL_ERROR) {
        board_add(&h2->session->proxy->numbers->bad_requests, 1);
        (void)proxy_h2_spend(h2, BOARD_H2_RESETS);
    }
    return 0;
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *arg)
{
    struct h2 *h2 = arg;
    struct h2_stream *st = source->ptr;
    (void)ng;
    (void)frame;
    if (h2->size - h2->len < len + 9) {
        h2->full = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    memcpy(h2->to + h2->len, head, 9);
    memcpy(h2->to + h2->len + 9, st->out->bytes + st->out->at, len);
    h2->len += len + 9;
    proxy_h2_stream_took(st, len);
    return 0;
}

/* ---- the connection ---------------------------------------------------------------------- */

static int make_callbacks(struct proxy *p)
{
    if (p->h2_callbacks) {
        return 0;
    }
    nghttp2_session_callbacks *c;
    int rc = nghttp2_session_callbacks_new(&c);
    if (rc) {
        return rc;
    }
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
    p->h2_callbacks = c;
    return 0;
}

static int make_options(struct proxy *p)
{
    if (p->h2_options) {
        return 0;
    }
    nghttp2_option *o;
    int rc = nghttp2_option_new(&o);
    if (rc) {
        return rc;
    }
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_outbound_ack(o, ACKS_MOST);
    nghttp2_option_set_max_continuations(o, LIMIT_H2_CONTINUATIONS + 1); /* ours is counted first */
    nghttp2_option_set_stream_reset_rate_limit(o, LIMIT_H2_RESETS * 2, LIMIT_H2_RESETS_S * 2);
    p->h2_options = o;
    return 0;
}

int proxy_h2_server(struct h2 *h2, uint32_t head_bytes)
{
    struct proxy *p = h2->session->proxy;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_H2_STREAMS},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, head_bytes},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    int rc = make_callbacks(p);
    rc = rc ? rc : make_options(p);
    rc = rc ? rc : nghttp2_session_server_new2(&h2->ng, p->h2_callbacks, h2, p->h2_options);
    rc = rc ? rc
            : nghttp2_submit_settings(h2->ng, NGHTTP2_FLAG_NONE, settings,
                                      sizeof settings / sizeof settings[0]);
    return rc ? rc
              : nghttp2_session_set_local_window_size(h2->ng, NGHTTP2_FLAG_NONE, 0,
                                                      H2_CONNECTION_BYTES);
}
