/* http1.h: a strict HTTP/1 codec (RFC 9110, RFC 9112) over borrowed bytes.
 *
 * It parses into a model and never repairs: CRLF only, no obs-fold, tchar
 * names, no blank before the colon, exactly one Host in 1.1, Content-Length
 * only digits and once (equal repeats are refused too), Transfer-Encoding only
 * exactly "chunked", once, in 1.1, never beside Content-Length. Whoever
 * forwards a message writes it anew from the model. Allocates nothing. */
#ifndef NET_HTTP1_H
#define NET_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

/* Fields whose meaning the codec or the proxy knows. */
enum http1_known {
    HTTP1_OTHER,
    HTTP1_CONNECTION,
    HTTP1_CONTENT_LENGTH,
    HTTP1_DATE,
    HTTP1_EXPECT,
    HTTP1_HOST,
    HTTP1_KEEP_ALIVE,
    HTTP1_MAX_FORWARDS,
    HTTP1_PROXY_AUTHENTICATE,
    HTTP1_PROXY_AUTHORIZATION,
    HTTP1_PROXY_CONNECTION,
    HTTP1_TE,
    HTTP1_TRACEPARENT,
    HTTP1_TRAILER,
    HTTP1_TRANSFER_ENCODING,
    HTTP1_UPGRADE,
    HTTP1_VIA,
    HTTP1_X_CLIENT_CERT_SUBJECT,
    HTTP1_X_FORWARDED_FOR,
    HTTP1_X_FORWARDED_HOST,
    HTTP1_X_FORWARDED_PROTO,
    HTTP1_X_REQUEST_ID,
    HTTP1_KNOWN
};

enum http1_method {
    HTTP1_METHOD_OTHER,
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_DELETE,
    HTTP1_CONNECT,
    HTTP1_OPTIONS,
    HTTP1_TRACE,
    HTTP1_PATCH,
    HTTP1_METHODS
};

enum http1_framing {
    HTTP1_NO_BODY,
    HTTP1_LENGTH,
    HTTP1_CHUNKED,
    HTTP1_UNTIL_CLOSE, /* responses only */
    HTTP1_FRAMINGS
};

struct http1_field {
    struct str name, value; /* value trimmed */
    enum http1_known known;
    bool hop; /* hop-by-hop by its name, or named by Connection: not to be forwarded */
};

/* A parsed head. All strings point into the bytes that were parsed. */
struct http1_head {
    int minor;                      /* HTTP/1.minor: 0 or 1 */
    enum http1_method method;       /* requests */
    struct str method_text, target; /* requests: target as sent */
    struct str path,
        query; /* requests: path of the target (absolute form taken apart; "*" when that
                               of an OPTIONS ends with the host), query without '?' */
    struct str
        host; /* requests: host and port that count (absolute form wins); "" in 1.0 without Host */
    int status;        /* responses */
    struct str reason; /* responses */
    enum http1_framing framing;
    uint64_t
        content_length; /* when framing is HTTP1_LENGTH; for a response to HEAD the announced one */
    bool has_content_length;
    bool keep_alive; /* the sender is willing to keep the connection */
    bool expect_continue;
    bool te;      /* has a TE field */
    bool upgrade; /* Connection: upgrade with an Upgrade field */
    uint32_t field_count;
    struct http1_field fields[LIMIT_FIELDS];
};

enum http1_result {
    HTTP1_DONE, /* *ret_used bytes were the head */
    HTTP1_MORE, /* not complete yet */
    HTTP1_BAD, /* *ret_status is what a server answers: 400, 414, 417, 431, 501, 505 (502 for a response) */
    HTTP1_RESULTS
};

/* Parses a request head at the start of `bytes`; one empty line before it is skipped (RFC 9112 2.2).
 * Over LIMIT_HEAD_BYTES without an end: 431 (414 within the request line). */
enum http1_result http1_parse_request(struct str bytes, struct http1_head *ret_head,
                                      size_t *ret_used, int *ret_status);
/* Parses a response head; `method` is that of its request, since it decides on the body. */
enum http1_result http1_parse_response(struct str bytes, enum http1_method method,
                                       struct http1_head *ret_head, size_t *ret_used);
/* First field of that kind, or NULL. */
const struct http1_field *http1_find(const struct http1_head *head, enum http1_known known);
/* First field of that name (any case), or NULL. */
const struct http1_field *http1_find_name(const struct http1_head *head, const char *name);

/* Decoder of chunked bodies; zeroed is the start. */
struct http1_chunks {
    uint64_t left;  /* of the present chunk */
    uint32_t extra; /* bytes of extensions and trailers so far: bounded */
    uint8_t state;
    uint8_t digits;
    uint8_t fields; /* trailer fields so far: bounded */
    bool
        trailers; /* the last chunk is over: the next steps consume the trailer section, and nothing else */
    bool done;
};
/* Takes a step through `bytes`: sets *ret_data to the next piece of decoded body (may be empty) and
 * *ret_used to the bytes consumed, framing included. 0 (look at c->done), or -EPROTO. */
int http1_chunks_next(struct http1_chunks *c, struct str bytes, struct str *ret_data,
                      size_t *ret_used);
/* Parses a whole trailer section, its empty line included, into the fields of ret_head, of which
 * nothing else is set that counts. -EPROTO. What the decoder took as one is one. */
int http1_parse_trailers(struct str section, struct http1_head *ret_head);
/* What the codec or the proxy knows of a field of that name (any case, not empty). */
enum http1_known http1_known_name(struct str name);

/* "OK" for 200 and so on; "" for unknown ones. */
const char *http1_reason(int status);
/* GET, HEAD, OPTIONS, TRACE, PUT, DELETE: may be sent again (RFC 9110 9.2.2). */
bool http1_idempotent(enum http1_method method);

#endif
