/* h2.h: HTTP/2 to clients; private to the proxy, and to those of its files whose names begin with h2.
 *
 *   h2.c         a connection: bytes in and out, time-outs, GOAWAY
 *   h2_frames.c  what nghttp2 calls for frames that come
 *   h2_head.c    a request's fields as HTTP/1.1 text, an answer's text as fields
 *   h2_stream.c  a stream: the carrier of a session of its own
 *   h2_limits.c  what a client may ask of us in a second
 *
 * nghttp2 calls us only while it is fed and while it is asked for bytes; these calls only note what is to be done, which
 * is then done stream by stream (`turns`), so that no session is stepped from within nghttp2. Bytes for the client are
 * asked for once a round of the loop (proxy->h2_due), so that the answers of a round leave together. */
#ifndef PROXY_H2_H
#define PROXY_H2_H

#include <nghttp2/nghttp2.h>

#include "board/board.h"
#include "proxy/parts.h"

enum {
    H2_FRAME_BYTES = 9 + 16384,    /* the longest that goes out */
    H2_WINDOW_BYTES = 65535,       /* of a stream: what waits of its request at most */
    H2_CONNECTION_BYTES = 1 << 20, /* window of a connection; given back as bytes come */
    H2_DROPPED_BYTES = 64 << 10,   /* of a request that was answered before: then it is reset */
    H2_FIELDS = LIMIT_FIELDS + 32  /* of an answer: the backend's, and ours */
};

/* Pseudo-header fields of a request. */
enum h2_pseudo {
    H2_METHOD,
    H2_SCHEME,
    H2_AUTHORITY,
    H2_PATH,
    H2_PROTOCOL,
    H2_PSEUDOS
};

struct h2_budget {
    uint64_t since_ms;
    uint32_t left;
};

struct h2 {
    struct session *session;
    nghttp2_session *ng;
    struct list due;     /* of proxy->h2_due */
    struct list streams; /* all */
    struct list turns;   /* those that something is to be done for */
    uint32_t stream_count;
    uint32_t orphans;      /* of them without a session: their last bytes wait */
    uint32_t told;         /* of them answered, whose requests have not ended */
    char *to;              /* where frames are being gathered, */
    size_t len, size;      /* so many bytes so far, of so many */
    bool full;             /* the next frame did not fit */
    bool moved;            /* bytes of answers, or what waited, left since the time-outs were set */
    bool greeted;          /* a frame came */
    bool heading;          /* a header block has begun and not ended */
    bool failed;           /* nothing more is read: it ends when all is written */
    bool ended;            /* its streams are being freed */
    uint8_t continuations; /* of the present header block */
    uint8_t leaving;       /* GOAWAYs of a drain that were sent */
    int32_t highest;       /* stream of the client's, */
    int32_t gap, gap_end;  /* and those that it passed over last: from, to before */
    uint32_t block_bytes;  /* of the present header block, as fields */
    uint32_t block_fields;
    struct h2_budget budgets[BOARD_H2_FLOODS];
};

struct h2_stream {
    struct list node; /* of all */
    struct list turn;
    struct h2 *h2;
    struct session *session; /* NULL: not yet, or no more */
    struct block *head;      /* the request's, while its fields come */
    struct block *in;        /* of its body, not yet read */
    struct block *out;       /* of the answer's, not yet in frames; trailers behind it */
    nghttp2_rcbuf *pseudo[H2_PSEUDOS];
    struct conn told;     /* only its time-out: the answer has gone, the request has not ended */
    uint32_t dropped;     /* of the request's body, that nobody waits for */
    uint32_t cookie_len;  /* at the end of head */
    uint32_t trailer_len; /* at the end of out */
    int32_t id;
    int status;    /* that it is refused with; 0: not */
    bool lined;    /* the request line is written */
    bool length;   /* there is a Content-Length */
    bool fresh;    /* is to begin */
    bool ended;    /* the client has sent all */
    bool begun;    /* the head of the answer is submitted */
    bool last;     /* we have all of the answer, */
    bool finished; /* and nghttp2 too */
    bool waits;    /* its session does, for `out` to leave */
    bool closed;   /* nghttp2 knows it no more */
    bool tunnel;   /* a WebSocket: RFC 8441 */
    bool orphan;   /* its session is over, but not all is in frames */
};

/* ---- h2.c -------------------------------------------------------------------------------- */

/* Something is to be written at the end of the round. */
void proxy_h2_due(struct h2 *h2);
/* Ends it with GOAWAY and this error, behind what waits. */
void proxy_h2_fail(struct h2 *h2, uint32_t error);

/* ---- h2_frames.c ------------------------------------------------------------------------- */

/* A server's side of a connection with all of the above behind it; 0 or nghttp2's error. */
int proxy_h2_server(struct h2 *h2, uint32_t head_bytes);

/* ---- h2_head.c --------------------------------------------------------------------------- */

/* A field of a request; writes to st->head, or sets st->status. */
void proxy_h2_field(struct h2_stream *st, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* The whole head as text; lent: of st->head. False: st->status says why not. */
bool proxy_h2_head(struct h2_stream *st, struct str *ret_text);
void proxy_h2_head_drop(struct h2_stream *st);
/* Fields from HTTP/1.1 lines (an empty one ends them): how many. They borrow from the text. */
size_t proxy_h2_fields(struct str lines, bool tunnel, nghttp2_nv *to, size_t most);

/* ---- h2_stream.c ------------------------------------------------------------------------- */

/* NULL: out of them. */
struct h2_stream *proxy_h2_stream_new(struct h2 *h2, int32_t id);
/* Does what it waits for; it may be gone then. */
void proxy_h2_stream_turn(struct h2_stream *st);
/* Notes that something is to be done for it. */
void proxy_h2_stream_note(struct h2_stream *st);
/* Bytes of its body came. */
int proxy_h2_stream_data(struct h2_stream *st, struct str data);
/* A part of a frame's payload goes out. */
void proxy_h2_stream_took(struct h2_stream *st, size_t len);
/* Bytes of its body came that nobody wants any more. */
void proxy_h2_stream_dropped(struct h2_stream *st, size_t len);
/* The frame that ends the answer went: what still comes of the request is not wanted. */
void proxy_h2_stream_told(struct h2_stream *st);
/* Cuts it off; the connection is ending. */
void proxy_h2_stream_end(struct h2_stream *st);

/* ---- h2_limits.c ------------------------------------------------------------------------- */

/* It did one more of these; false: too many, and the connection is ending. */
bool proxy_h2_spend(struct h2 *h2, enum board_h2_flood what);
/* It did something that gives a reason for some of these. */
void proxy_h2_earn(struct h2 *h2, enum board_h2_flood what, uint32_t count);
/* Counts and tells that a connection is ended for this reason, and ends it. */
void proxy_h2_calm(struct h2 *h2, enum board_h2_flood what);

#endif
