/* compress.h: answers in fewer bytes: gzip (RFC 1952) and brotli (RFC 7932), chosen by Accept-Encoding (RFC
 * 9110, 12.5.3).
 *
 * What is coded: answers of the types that the route lists, with a body of at least `min` bytes or of unknown
 * length, that have no Content-Encoding, no Content-Range and no digest of their bytes, and do not forbid it
 * (Cache-Control: no-transform). Over TLS nothing that may hold a secret beside what an attacker chose (BREACH):
 * no answer that sets a cookie, none to a request with Cookie or Authorization, unless the route says so. */
#ifndef EDGE_COMPRESS_H
#define EDGE_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct cJSON;
struct http1_head;

/* What a route says of it. */
struct edge_compress;

enum edge_coding {
    EDGE_IDENTITY,
    EDGE_GZIP,
    EDGE_BROTLI,
    EDGE_CODINGS
};

enum {
    EDGE_ETAG_BYTES = 256 /* longest that is made weak: a longer one is left out */
};

/* What of a request decides over its answer. */
struct edge_asked {
    uint8_t coding; /* enum edge_coding */
    bool secret;    /* it came over TLS with Cookie or Authorization */
    bool secure;    /* it came over TLS */
};

/* From a route's "compress"; NULL when it has none. */
struct edge_compress *edge_compress_new(const struct cJSON *json);
void edge_compress_free(struct edge_compress *c); /* NULL is allowed */
/* What this request says; `brotli`: it can be had. */
struct edge_asked edge_compress_ask(const struct edge_compress *c, const struct http1_head *request,
                                    bool secure, bool brotli);
/* The coding of an answer: its head is changed to what the client gets, but for its framing. `etag` must live
 * as long as the head. A head without a body (HEAD, 304) is changed as little as one whose coding is not to be
 * had: `body` is false. */
enum edge_coding edge_compress_head(const struct edge_compress *c, struct edge_asked asked,
                                    struct http1_head *answer, bool body,
                                    char etag[EDGE_ETAG_BYTES]);
int edge_compress_level(const struct edge_compress *c);
bool edge_compress_brotli(const struct edge_compress *c);

/* ---- coder.c ----------------------------------------------------------------------------- */

struct edge_coder;

/* The coders of a process. */
struct edge_coders {
    size_t bytes; /* that they have now */
    size_t most;  /* that they may have; 0: none */
    struct edge_brotli *brotli;
    bool no_brotli; /* the library is not there */
};

/* Whether brotli can be had: loads its library the first time. */
bool edge_coders_brotli(struct edge_coders *all);
void edge_coders_free(struct edge_coders *all); /* behind the last coder */
/* For one answer of `length` bytes (UINT64_MAX: unknown). NULL: there are too many now. */
struct edge_coder *edge_coder_new(struct edge_coders *all, enum edge_coding coding, int level,
                                  uint64_t length);
void edge_coder_free(struct edge_coders *all, struct edge_coder *c); /* NULL is allowed */

enum edge_push {
    EDGE_MORE,  /* more follows soon */
    EDGE_FLUSH, /* what came so far must be readable */
    EDGE_END
};
/* Takes a piece of body. -ENOMEM. */
int edge_coder_push(struct edge_coder *c, struct str data, enum edge_push push);
/* Coded bytes that wait; lent until the next call. */
struct str edge_coder_waits(const struct edge_coder *c);
/* So many of them are gone. */
void edge_coder_took(struct edge_coder *c, size_t len);

#endif
