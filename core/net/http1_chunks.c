/* http1_chunks.c: decoder of chunked bodies (RFC 9112 7.1), strict: CRLF only, at most 15
 * hexadecimal digits, no blanks around sizes, extensions and trailers bounded in total. */
#include "net/http1_scan.h"

#include <errno.h>

#include "base/ban.h"

enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER, /* at the start of a line */
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_STATES
};

enum {
    SIZE_DIGITS = 15
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static int take_size(struct http1_chunks *c, char byte)
{
    int digit = hex_digit(byte);
    if (digit >= 0) {
        if (++c->digits > SIZE_DIGITS) {
            return -EPROTO;
        }
        c->left = c->left << 4 | (uint64_t)digit;
        return 0;
    }
    if (!c->digits || (byte != '\r' && byte != ';')) {
        return -EPROTO;
    }
    c->state = byte == '\r' ? CHUNK_SIZE_LF : CHUNK_EXTENSION;
    return 0;
}

/* Goes to `next` when the byte is the one that must stand here. */
static int expect(struct http1_chunks *c, char byte, char wanted, enum chunk_state next)
{
    c->state = next;
    return byte == wanted ? 0 : -EPROTO;
}

static int take_extra(struct http1_chunks *c, char byte, enum http1_class wanted, char end,
                      enum chunk_state next)
{
    if (byte == end) {
        c->state = next;
        return 0;
    }
    bool fits =
        http1_classes[(unsigned char)byte] & wanted && ++c->extra <= LIMIT_CHUNK_EXTRA_BYTES;
    return fits ? 0 : -EPROTO;
}

/* One byte of framing. */
static int take(struct http1_chunks *c, char byte)
{
    switch ((enum chunk_state)c->state) {
    case CHUNK_SIZE:
        return take_size(c, byte);
    case CHUNK_EXTENSION:
        return take_extra(c, byte, HTTP1_TEXT, '\r', CHUNK_SIZE_LF);
    case CHUNK_SIZE_LF:
        c->digits = 0;
        c->trailers = !c->left;
        return expect(c, byte, '\n', c->left ? CHUNK_DATA : CHUNK_TRAILER);
    case CHUNK_DATA_CR:
        return expect(c, byte, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        return expect(c, byte, '\n', CHUNK_SIZE);
    case CHUNK_TRAILER:
        if (byte == '\r') {
            c->state = CHUNK_END_LF;
            return 0;
        }
        c->state = CHUNK_TRAILER_NAME;
        return byte == ':' || ++c->fields > LIMIT_FIELDS
                   ? -EPROTO
                   : take_extra(c, byte, HTTP1_TCHAR, ':', CHUNK_TRAILER_VALUE);
    case CHUNK_TRAILER_NAME:
        return take_extra(c, byte, HTTP1_TCHAR, ':', CHUNK_TRAILER_VALUE);
    case CHUNK_TRAILER_VALUE:
        return take_extra(c, byte, HTTP1_TEXT, '\r', CHUNK_TRAILER_LF);
    case CHUNK_TRAILER_LF:
        return expect(c, byte, '\n', CHUNK_TRAILER);
    case CHUNK_END_LF:
        c->done = byte == '\n';
        return c->done ? 0 : -EPROTO;
    case CHUNK_DATA:
    case CHUNK_STATES:
        break;
    }
    return -EPROTO;
}

int http1_chunks_next(struct http1_chunks *c, struct str bytes, struct str *ret_data,
                      size_t *ret_used)
{
    size_t at = 0;
    while (at < bytes.len && !c->done) {
        if (c->state == CHUNK_DATA) {
            size_t len = bytes.len - at;
            if (len > c->left) {
                len = (size_t)c->left;
            }
            c->left -= len;
            if (!c->left) {
                c->state = CHUNK_DATA_CR;
            }
            *ret_data = (struct str){bytes.ptr + at, len};
            *ret_used = at + len;
            return 0;
        }
        bool trailers = c->trailers;
        int rc = take(c, bytes.ptr[at]);
        if (rc) {
            return rc;
        }
        at++;
        if (c->trailers != trailers) {
            break;
        }
    }
    *ret_data = (struct str){bytes.ptr + at, 0};
    *ret_used = at;
    return 0;
}

int http1_parse_trailers(struct str section, struct http1_head *ret_head)
{
    struct http1_scan scan = {section.ptr, section.ptr + section.len};
    struct http1_said said = {0};
    int status;
    ret_head->field_count = 0;
    enum http1_result result = http1_scan_fields(&scan, ret_head, &said, &status);
    return result == HTTP1_DONE && scan.at == scan.end ? 0 : -EPROTO;
}
