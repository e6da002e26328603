/* http.h - HTTP/1.1 as it is on the wire: request heads and chunked bodies.
 *
 * Pure functions over bytes, no input or output. Strict where leniency lets two parties disagree
 * on where a message ends: no bare LF, no folded lines, no space before the colon, never both a
 * length and a transfer coding, one Host. */
#ifndef QUICKSTART_HTTP_H
#define QUICKSTART_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
    HTTP_HEAD_MAX = 16384, /* bytes of a request head */
    HTTP_HEADERS_MAX = 100,
    HTTP_CHUNK_LINE_MAX = 1024, /* bytes of a chunk's size line, or of all trailers together */
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_OTHER
};

struct http_header {
    struct str name, value;
};

/* Everything points into the bytes that were parsed. */
struct http_request {
    enum http_method method;
    int minor; /* of HTTP/1.x */
    bool keep_alive, expects_continue, chunked;
    uint64_t length; /* of the body; 0 when chunked */
    struct str method_name, path, query;
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
};

/* Length of the head at the front of data with its empty line, 0 when it is not all there yet.
 * The first `seen` bytes were searched before. */
size_t http_head_length(const char *data, size_t len, size_t seen);

/* Parses a head of that length. Returns 0, or the status to refuse the request with. */
int http_head_parse(const char *data, size_t len, struct http_request *ret_request);

bool http_str_is(struct str s, const char *text);

/* The query's parameter of that name; false when there is none. */
bool http_query_get(struct str query, const char *name, struct str *ret_value);

enum http_chunk_state {
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_EXTENSION,
    HTTP_CHUNK_SIZE_LF,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_DATA_CR,
    HTTP_CHUNK_DATA_LF,
    HTTP_CHUNK_LINE, /* at the first byte of a trailer or of the last empty line */
    HTTP_CHUNK_TRAILER,
    HTTP_CHUNK_TRAILER_LF,
    HTTP_CHUNK_LAST_LF,
    HTTP_CHUNK_DONE,
    HTTP_CHUNK_BAD,
};

/* Decoder of a chunked body; all zero is the start. */
struct http_chunks {
    enum http_chunk_state state;
    uint64_t left;
    int digits, line;
};

/* Decodes up to the next piece of payload. Returns the bytes used; *ret_payload points into data
 * and may be empty. Call again until `len` is used up or the state is DONE or BAD. */
size_t http_chunks_next(struct http_chunks *d, const char *data, size_t len,
                        struct str *ret_payload);

/* The reason phrase; never NULL. */
const char *http_reason(int status);

#endif
