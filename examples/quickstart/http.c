/* http.c - see http.h. */
#define _GNU_SOURCE 1
#include "http.h"

#include <string.h>
#include <strings.h>

/* tchar of RFC 9110, 5.6.2 */
static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_token_char((unsigned char)s.at[i])) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_same(struct str s, const char *text)
{
    return s.len == strlen(text) && strncasecmp(s.at, text, s.len) == 0;
}

static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static struct str trimmed(struct str s)
{
    while (s.len > 0 && (*s.at == ' ' || *s.at == '\t')) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Cuts the bytes before `mark` off the front of s; all of s when there is no mark. */
static struct str cut(struct str *s, char mark)
{
    const char *end = s->len > 0 ? memchr(s->at, mark, s->len) : NULL;
    struct str front = {s->at, end ? (size_t)(end - s->at) : s->len};
    size_t used = end ? front.len + 1 : front.len;

    s->at += used;
    s->len -= used;
    return front;
}

static bool list_has(struct str list, const char *word)
{
    while (list.len > 0) {
        if (is_same(trimmed(cut(&list, ',')), word)) {
            return true;
        }
    }
    return false;
}

/* -1 when s is no plain decimal number */
static int64_t decimal(struct str s)
{
    int64_t value = 0;

    if (s.len == 0 || s.len > 18) {
        return -1;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9') {
            return -1;
        }
        value = value * 10 + (s.at[i] - '0');
    }
    return value;
}

static int target_parse(struct str target, struct http_request *r)
{
    for (size_t i = 0; i < target.len; i++) {
        if ((unsigned char)target.at[i] <= 0x20 || target.at[i] == 0x7f) {
            return 400;
        }
    }
    if (target.len >= 7 && strncasecmp(target.at, "http://", 7) == 0) {
        const char *slash = memchr(target.at + 7, '/', target.len - 7);
        if (!slash) {
            return 400;
        }
        target = (struct str){slash, target.len - (size_t)(slash - target.at)};
    }
    if (target.len == 0 || (target.at[0] != '/' && !http_str_is(target, "*"))) {
        return 400;
    }
    r->path = cut(&target, '?');
    r->query = target;
    return 0;
}

static int request_line_parse(struct str line, struct http_request *r)
{
    r->method_name = cut(&line, ' ');
    struct str target = cut(&line, ' ');

    if (!is_token(r->method_name)) {
        return 400;
    }
    if (line.len != 8 || memcmp(line.at, "HTTP/", 5) != 0 || line.at[6] != '.') {
        return 400;
    }
    if (line.at[5] != '1' || (line.at[7] != '0' && line.at[7] != '1')) {
        return 505;
    }
    r->minor = line.at[7] - '0';
    r->method = http_str_is(r->method_name, "GET")    ? HTTP_GET
                : http_str_is(r->method_name, "HEAD") ? HTTP_HEAD
                : http_str_is(r->method_name, "POST") ? HTTP_POST
                                                      : HTTP_OTHER;
    return target_parse(target, r);
}

/* What the headers say about framing and the connection. */
static int headers_apply(struct http_request *r)
{
    int64_t length = -1;
    size_t hosts = 0;
    bool closes = false, keeps = false;

    for (size_t i = 0; i < r->header_count; i++) {
        struct str name = r->headers[i].name, value = r->headers[i].value;
        if (is_same(name, "Host")) {
            hosts++;
        } else if (is_same(name, "Connection")) {
            closes = closes || list_has(value, "close");
            keeps = keeps || list_has(value, "keep-alive");
        } else if (is_same(name, "Expect")) {
            r->expects_continue = r->minor == 1 && is_same(value, "100-continue");
        } else if (is_same(name, "Content-Length")) {
            int64_t said = decimal(value);
            if (said < 0 || (length >= 0 && said != length)) {
                return 400;
            }
            length = said;
        } else if (is_same(name, "Transfer-Encoding")) {
            if (r->chunked || r->minor == 0) {
                return 400;
            }
            if (!is_same(value, "chunked")) {
                return 501;
            }
            r->chunked = true;
        }
    }
    if (hosts > 1 || (hosts == 0 && r->minor == 1) || (length >= 0 && r->chunked)) {
        return 400;
    }
    r->keep_alive = !closes && (r->minor == 1 || keeps);
    r->length = length > 0 ? (uint64_t)length : 0;
    return 0;
}

size_t http_head_length(const char *data, size_t len, size_t seen)
{
    size_t from = seen > 3 ? seen - 3 : 0;
    const char *end = memmem(data + from, len - from, "\r\n\r\n", 4);

    return end ? (size_t)(end - data) + 4 : 0;
}

int http_head_parse(const char *data, size_t len, struct http_request *ret_request)
{
    struct http_request *r = ret_request;
    const char *at = data, *end = data + len - 2; /* without the empty line */
    bool first = true;

    r->keep_alive = r->expects_continue = r->chunked = false;
    r->header_count = 0;
    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        if (!lf || lf == at || lf[-1] != '\r') {
            return 400;
        }
        struct str line = {at, (size_t)(lf - 1 - at)};
        at = lf + 1;
        if (first) {
            int status = request_line_parse(line, r);
            if (status) {
                return status;
            }
            first = false;
            continue;
        }
        if (r->header_count == HTTP_HEADERS_MAX) {
            return 431;
        }
        if (!memchr(line.at, ':', line.len)) {
            return 400;
        }
        struct str name = cut(&line, ':');
        if (!is_token(name) || !is_text(line)) {
            return 400;
        }
        r->headers[r->header_count++] = (struct http_header){name, trimmed(line)};
    }
    return first ? 400 : headers_apply(r);
}

bool http_str_is(struct str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

bool http_query_get(struct str query, const char *name, struct str *ret_value)
{
    while (query.len > 0) {
        struct str value = cut(&query, '&');
        if (http_str_is(cut(&value, '='), name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The state after a byte that belongs to a chunk's size line. */
static enum http_chunk_state size_line_next(struct http_chunks *d, char c)
{
    int digit = hex_digit(c);

    if (++d->line > HTTP_CHUNK_LINE_MAX || (c == '\n' && d->state != HTTP_CHUNK_SIZE_LF)) {
        return HTTP_CHUNK_BAD;
    }
    if (d->state == HTTP_CHUNK_SIZE && digit >= 0) {
        d->left = d->left << 4 | (uint64_t)digit;
        return ++d->digits > 15 ? HTTP_CHUNK_BAD : HTTP_CHUNK_SIZE;
    }
    if (d->state == HTTP_CHUNK_SIZE_LF) {
        if (c != '\n') {
            return HTTP_CHUNK_BAD;
        }
        d->digits = d->line = 0;
        return d->left > 0 ? HTTP_CHUNK_DATA : HTTP_CHUNK_LINE;
    }
    if (d->digits == 0) {
        return HTTP_CHUNK_BAD;
    }
    if (c == '\r') {
        return HTTP_CHUNK_SIZE_LF;
    }
    if (d->state == HTTP_CHUNK_SIZE && c != ';' && c != ' ' && c != '\t') {
        return HTTP_CHUNK_BAD;
    }
    return HTTP_CHUNK_EXTENSION;
}

static enum http_chunk_state other_next(struct http_chunks *d, char c)
{
    switch (d->state) {
    case HTTP_CHUNK_DATA_CR:
        return c == '\r' ? HTTP_CHUNK_DATA_LF : HTTP_CHUNK_BAD;
    case HTTP_CHUNK_DATA_LF:
        return c == '\n' ? HTTP_CHUNK_SIZE : HTTP_CHUNK_BAD;
    case HTTP_CHUNK_LINE:
    case HTTP_CHUNK_TRAILER:
        if (++d->line > HTTP_CHUNK_LINE_MAX || c == '\n') {
            return HTTP_CHUNK_BAD;
        }
        if (c == '\r') {
            return d->state == HTTP_CHUNK_LINE ? HTTP_CHUNK_LAST_LF : HTTP_CHUNK_TRAILER_LF;
        }
        return HTTP_CHUNK_TRAILER;
    case HTTP_CHUNK_TRAILER_LF:
        return c == '\n' ? HTTP_CHUNK_LINE : HTTP_CHUNK_BAD;
    case HTTP_CHUNK_LAST_LF:
        return c == '\n' ? HTTP_CHUNK_DONE : HTTP_CHUNK_BAD;
    case HTTP_CHUNK_SIZE:
    case HTTP_CHUNK_EXTENSION:
    case HTTP_CHUNK_SIZE_LF:
        return size_line_next(d, c);
    case HTTP_CHUNK_DATA:
    case HTTP_CHUNK_DONE:
    case HTTP_CHUNK_BAD:
        break;
    }
    return d->state;
}

size_t http_chunks_next(struct http_chunks *d, const char *data, size_t len,
                        struct str *ret_payload)
{
    size_t used = 0;

    *ret_payload = (struct str){data, 0};
    while (used < len && d->state != HTTP_CHUNK_DONE && d->state != HTTP_CHUNK_BAD) {
        if (d->state == HTTP_CHUNK_DATA) {
            size_t n = len - used < d->left ? len - used : (size_t)d->left;
            *ret_payload = (struct str){data + used, n};
            d->left -= n;
            d->state = d->left > 0 ? HTTP_CHUNK_DATA : HTTP_CHUNK_DATA_CR;
            return used + n;
        }
        d->state = other_next(d, data[used++]);
    }
    return used;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } REASONS[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof REASONS / sizeof REASONS[0]; i++) {
        if (REASONS[i].status == status) {
            return REASONS[i].reason;
        }
    }
    return "Other";
}
