/* http1_scan.h: what the files of the HTTP/1 codec share; not for others. */
#ifndef NET_HTTP1_SCAN_H
#define NET_HTTP1_SCAN_H

#include "net/http1.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum http1_class {
    HTTP1_TCHAR = 1,  /* may stand in a token (RFC 9110 5.6.2) */
    HTTP1_TEXT = 2,   /* may stand in a field value: HTAB SP VCHAR obs-text */
    HTTP1_TARGET = 4, /* may stand in a request target: VCHAR but '#' */
    HTTP1_NAME = 8,   /* may stand in a host name or its percent-encoding */
};

extern const uint8_t http1_classes[256];

/* A position in a head that is being parsed. */
struct http1_scan {
    const char *at, *end;
};

/* What fields say about the message, gathered while they are read. */
struct http1_said {
    uint32_t hosts, lengths, codings, connections;
    bool expect_other; /* an expectation that we do not know */
    bool upgrade_field;
    struct str host, length, coding, connection; /* of several the last one */
};

/* Nothing said yet. The strings count for nothing without their numbers, and zeroing all of it at once
 * is dear: it becomes a string instruction. */
static inline void http1_said_nothing(struct http1_said *said)
{
    said->hosts = said->lengths = said->codings = said->connections = 0;
    said->expect_other = said->upgrade_field = false;
}

/* Behind the last character from `at` on that is of the class. */
static inline const char *http1_skip_class(const char *at, const char *end, enum http1_class wanted)
{
    while (at < end && (http1_classes[(unsigned char)*at] & wanted)) {
        at++;
    }
    return at;
}

/* Reads the field lines and the empty line behind them. On HTTP1_BAD *ret_status is 400 or 431. */
enum http1_result http1_scan_fields(struct http1_scan *scan, struct http1_head *head,
                                    struct http1_said *said, int *ret_status);
/* Takes the Connection fields apart: marks what they name, sets keep_alive and upgrade. -EPROTO. */
int http1_apply_connection(struct http1_head *head, const struct http1_said *said);
/* 0 = no Transfer-Encoding, 1 = exactly "chunked", -ENOTSUP = another coding, -EPROTO. */
int http1_coding(const struct http1_head *head, const struct http1_said *said);
/* 1 = Content-Length into *ret_length, 0 = none, -EPROTO. */
int http1_length(const struct http1_said *said, uint64_t *ret_length);

#endif
