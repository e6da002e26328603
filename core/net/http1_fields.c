/* http1_fields.c: field lines of HTTP/1 heads: syntax, known names, framing and Connection.
 *
 * Called by: http1_request.c and http1_response.c.
 * Does not: decide which framing a message has; the two callers know the rules of their side. */
#include "net/http1_scan.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/ban.h"

/* T token and text, H also host names, X text and target only. */
#define T (HTTP1_TCHAR | HTTP1_TEXT | HTTP1_TARGET)
#define H (HTTP1_TCHAR | HTTP1_TEXT | HTTP1_TARGET | HTTP1_NAME)
#define X (HTTP1_TEXT | HTTP1_TARGET)
#define N (HTTP1_TEXT | HTTP1_TARGET | HTTP1_NAME)
#define B HTTP1_TEXT
const uint8_t http1_classes[256] = {
    ['\t'] = B,        [' '] = B, ['!'] = H,           ['"'] = X,  ['#'] = HTTP1_TCHAR | HTTP1_TEXT,
    ['$'] = H,         ['%'] = H, ['&'] = H,           ['\''] = H, ['('] = N,
    [')'] = N,         ['*'] = H, ['+'] = H,           [','] = X,  ['-'] = H,
    ['.'] = H,         ['/'] = X, ['0' ... '9'] = H,   [':'] = X,  [';'] = N,
    ['<'] = X,         ['='] = N, ['>'] = X,           ['?'] = X,  ['@'] = X,
    ['A' ... 'Z'] = H, ['['] = X, ['\\'] = X,          [']'] = X,  ['^'] = T,
    ['_'] = H,         ['`'] = T, ['a' ... 'z'] = H,   ['{'] = X,  ['|'] = T,
    ['}'] = X,         ['~'] = H, [0x80 ... 0xff] = B,
};
#undef T
#undef H
#undef X
#undef N
#undef B

/* More names in Connection fields than this are an attack on our time. */
enum {
    CONNECTION_TOKENS = 32
};

/* http1_skip_class(HTTP1_TEXT), 16 bytes at a time where the machine can. Tabs are so rare that they
 * stop it like other control characters, and are stepped over then. */
static inline const char *skip_text(const char *at, const char *end)
{
#if defined(__SSE2__)
    const __m128i control = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    while (end - at >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, control), v);
        int stop = _mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, del)));
        if (!stop) {
            at += 16;
            continue;
        }
        at += __builtin_ctz((unsigned)stop);
        if (*at != '\t') {
            return at;
        }
        at++;
    }
#endif
    return http1_skip_class(at, end, HTTP1_TEXT);
}

/* Whether a token is this lower-case text of `len` bytes. In a token every character but the upper-case
 * letters has bit 0x20 set already, or is none of `lower` with it. A known `len` makes it a few
 * instructions. */
static inline bool is_lower(const char *at, const char *lower, size_t len)
{
    size_t i = 0;
    for (; len - i >= 8; i += 8) {
        uint64_t a, b;
        memcpy(&a, at + i, 8);
        memcpy(&b, lower + i, 8);
        if ((a | 0x2020202020202020u) != b) {
            return false;
        }
    }
    if (len - i >= 4) {
        uint32_t a, b;
        memcpy(&a, at + i, 4);
        memcpy(&b, lower + i, 4);
        if ((a | 0x20202020u) != b) {
            return false;
        }
        i += 4;
    }
    for (; i < len; i++) {
        if ((at[i] | 0x20) != lower[i]) {
            return false;
        }
    }
    return true;
}

/* The one field that backends take as proven: also as those read it who know no difference between '-' and '_'. */
static bool is_subject(const char *at)
{
    static const char name[] = "x-client-cert-subject";
    for (size_t i = 0; i < sizeof name - 1; i++) {
        if (at[i] == '_' ? name[i] != '-' : (at[i] | 0x20) != name[i]) {
            return false;
        }
    }
    return true;
}

/* By length, and by the first letter where two have it. */
static enum http1_known known_of(struct str name)
{
    const char *at = name.ptr;
    const char first = (char)(*at | 0x20);
#define IS(text, known) (is_lower(at, text, sizeof(text) - 1) ? (known) : HTTP1_OTHER)
    switch (name.len) {
    case 2:
        return IS("te", HTTP1_TE);
    case 3:
        return IS("via", HTTP1_VIA);
    case 4:
        return first == 'h' ? IS("host", HTTP1_HOST) : IS("date", HTTP1_DATE);
    case 6:
        return IS("expect", HTTP1_EXPECT);
    case 7:
        return first == 'u' ? IS("upgrade", HTTP1_UPGRADE) : IS("trailer", HTTP1_TRAILER);
    case 10:
        return first == 'c' ? IS("connection", HTTP1_CONNECTION)
                            : IS("keep-alive", HTTP1_KEEP_ALIVE);
    case 11:
        return IS("traceparent", HTTP1_TRACEPARENT);
    case 12:
        return first == 'x' ? IS("x-request-id", HTTP1_X_REQUEST_ID)
                            : IS("max-forwards", HTTP1_MAX_FORWARDS);
    case 14:
        return IS("content-length", HTTP1_CONTENT_LENGTH);
    case 15:
        return IS("x-forwarded-for", HTTP1_X_FORWARDED_FOR);
    case 16:
        return first == 'x' ? IS("x-forwarded-host", HTTP1_X_FORWARDED_HOST)
                            : IS("proxy-connection", HTTP1_PROXY_CONNECTION);
    case 17:
        return first == 't' ? IS("transfer-encoding", HTTP1_TRANSFER_ENCODING)
                            : IS("x-forwarded-proto", HTTP1_X_FORWARDED_PROTO);
    case 18:
        return IS("proxy-authenticate", HTTP1_PROXY_AUTHENTICATE);
    case 19:
        return IS("proxy-authorization", HTTP1_PROXY_AUTHORIZATION);
    case 21:
        return is_subject(at) ? HTTP1_X_CLIENT_CERT_SUBJECT : HTTP1_OTHER;
    default:
        return HTTP1_OTHER;
    }
#undef IS
}

enum http1_known http1_known_name(struct str name)
{
    return known_of(name);
}

/* Remembers what the field says; true when it concerns this hop only. */
static bool take_known(struct http1_head *head, struct http1_said *said,
                       const struct http1_field *field)
{
    switch (field->known) {
    case HTTP1_CONNECTION:
        said->connections++;
        said->connection = field->value;
        return true;
    case HTTP1_CONTENT_LENGTH:
        said->lengths++;
        said->length = field->value;
        return false;
    case HTTP1_HOST:
        said->hosts++;
        said->host = field->value;
        return false;
    case HTTP1_TRANSFER_ENCODING:
        said->codings++;
        said->coding = field->value;
        return true;
    case HTTP1_EXPECT:
        if (str_is_nocase(field->value, "100-continue")) {
            head->expect_continue = true;
        } else {
            said->expect_other = true;
        }
        return false;
    case HTTP1_UPGRADE:
        said->upgrade_field = true;
        return true;
    case HTTP1_TE:
        head->te = true;
        return true;
    case HTTP1_KEEP_ALIVE:
    case HTTP1_PROXY_AUTHENTICATE:
    case HTTP1_PROXY_AUTHORIZATION:
    case HTTP1_PROXY_CONNECTION:
    case HTTP1_TRAILER:
        return true;
    case HTTP1_OTHER:
    case HTTP1_DATE:
    case HTTP1_MAX_FORWARDS:
    case HTTP1_TRACEPARENT:
    case HTTP1_VIA:
    case HTTP1_X_CLIENT_CERT_SUBJECT:
    case HTTP1_X_FORWARDED_FOR:
    case HTTP1_X_FORWARDED_HOST:
    case HTTP1_X_FORWARDED_PROTO:
    case HTTP1_X_REQUEST_ID:
    case HTTP1_KNOWN:
        break;
    }
    return false;
}

/* "name: value CRLF" at scan->at. */
static enum http1_result scan_line(struct http1_scan *scan, struct http1_field *field)
{
    const char *at = scan->at;
    const char *end = scan->end;
    const char *name = at;
    at = http1_skip_class(at, end, HTTP1_TCHAR);
    if (at == end) {
        return HTTP1_MORE;
    }
    if (*at != ':' || at == name) {
        return HTTP1_BAD;
    }
    field->name = (struct str){name, (size_t)(at - name)};
    at += 1 + (at + 1 < end && at[1] == ' '); /* nearly always one */
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    const char *value = at;
    at = skip_text(at, end);
    if (at == end) {
        return HTTP1_MORE;
    }
    if (*at != '\r') {
        return HTTP1_BAD;
    }
    if (at + 1 == end) {
        return HTTP1_MORE;
    }
    if (at[1] != '\n') {
        return HTTP1_BAD;
    }
    scan->at = at + 2;
    while (at > value && (at[-1] == ' ' || at[-1] == '\t')) {
        at--;
    }
    field->value = (struct str){value, (size_t)(at - value)};
    return HTTP1_DONE;
}

enum http1_result http1_scan_fields(struct http1_scan *scan, struct http1_head *head,
                                    struct http1_said *said, int *ret_status)
{
    *ret_status = 400;
    for (;;) {
        if (scan->at == scan->end) {
            return HTTP1_MORE;
        }
        if (*scan->at == '\r') {
            if (scan->at + 1 == scan->end) {
                return HTTP1_MORE;
            }
            if (scan->at[1] != '\n') {
                return HTTP1_BAD;
            }
            scan->at += 2;
            return HTTP1_DONE;
        }
        if (head->field_count == LIMIT_FIELDS) {
            *ret_status = 431;
            return HTTP1_BAD;
        }
        struct http1_field *field = &head->fields[head->field_count];
        enum http1_result result = scan_line(scan, field);
        if (result != HTTP1_DONE) {
            return result;
        }
        head->field_count++;
        field->known = known_of(field->name);
        field->hop = field->known != HTTP1_OTHER && take_known(head, said, field);
    }
}

/* A field that Connection names is for us only, but framing and routing stay ours to decide. */
static void mark_named(struct http1_head *head, struct str token)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct http1_field *f = &head->fields[i];
        if (f->name.len == token.len && f->known != HTTP1_HOST &&
            f->known != HTTP1_CONTENT_LENGTH && !strncasecmp(f->name.ptr, token.ptr, token.len)) {
            f->hop = true;
        }
    }
}

/* What Connection fields say. */
struct options {
    bool closes, keeps, upgrades;
};

/* Takes their lists apart. -EPROTO. */
static int read_options(struct http1_head *head, struct options *o)
{
    unsigned tokens = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].known != HTTP1_CONNECTION) {
            continue;
        }
        struct str rest = head->fields[i].value;
        struct str token;
        while (str_next(&rest, ',', &token)) {
            token = str_trim(token);
            if (!token.len) {
                continue;
            }
            const char *end = token.ptr + token.len;
            if (++tokens > CONNECTION_TOKENS ||
                http1_skip_class(token.ptr, end, HTTP1_TCHAR) != end) {
                return -EPROTO;
            }
            if (str_is_nocase(token, "close")) {
                o->closes = true;
            } else if (str_is_nocase(token, "keep-alive")) {
                o->keeps = true;
            } else if (str_is_nocase(token, "upgrade")) {
                o->upgrades = true;
            } else {
                mark_named(head, token);
            }
        }
    }
    return 0;
}

int http1_apply_connection(struct http1_head *head, const struct http1_said *said)
{
    struct options o = {0};
    if (said->connections == 1 && said->connection.len == 10 &&
        is_lower(said->connection.ptr, "keep-alive", 10)) {
        o.keeps = true; /* this, or nothing, is what nearly all say */
    } else if (said->connections && read_options(head, &o)) {
        return -EPROTO;
    }
    head->keep_alive = !o.closes && (head->minor == 1 || o.keeps);
    head->upgrade = o.upgrades && said->upgrade_field && head->minor == 1;
    return 0;
}

/* Several codings: understood, but not ours, when "chunked" is the last and only the last. */
static int coding_list(struct str rest)
{
    bool chunked = false;
    struct str token;
    while (str_next(&rest, ',', &token)) {
        token = str_trim(token);
        const char *end = token.ptr + token.len;
        if (chunked || !token.len || http1_skip_class(token.ptr, end, HTTP1_TCHAR) != end) {
            return -EPROTO;
        }
        chunked = str_is_nocase(token, "chunked");
    }
    return chunked ? -ENOTSUP : -EPROTO;
}

int http1_coding(const struct http1_head *head, const struct http1_said *said)
{
    if (!said->codings) {
        return 0;
    }
    if (said->codings > 1 || said->lengths || head->minor == 0) {
        return -EPROTO;
    }
    if (str_is_nocase(said->coding, "chunked")) {
        return 1;
    }
    if (str_find(said->coding, ',') >= 0) {
        return coding_list(said->coding);
    }
    const char *end = said->coding.ptr + said->coding.len;
    bool token = said->coding.len && http1_skip_class(said->coding.ptr, end, HTTP1_TCHAR) == end;
    return token && !str_is_nocase(said->coding, "identity") ? -ENOTSUP : -EPROTO;
}

int http1_length(const struct http1_said *said, uint64_t *ret_length)
{
    if (!said->lengths) {
        return 0;
    }
    if (said->lengths > 1 || str_to_u64(said->length, ret_length)) {
        return -EPROTO;
    }
    return 1;
}

const struct http1_field *http1_find(const struct http1_head *head, enum http1_known known)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].known == known) {
            return &head->fields[i];
        }
    }
    return NULL;
}

const struct http1_field *http1_find_name(const struct http1_head *head, const char *name)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (str_is_nocase(head->fields[i].name, name)) {
            return &head->fields[i];
        }
    }
    return NULL;
}
