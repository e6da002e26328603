/* http1_request.c: request heads: the request line, its target, Host and framing. */
#include "net/http1_scan.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"

/* Longest host with port that we take: a DNS name has 253 bytes. */
enum {
    HOST_BYTES = 300
};

/* A known `len` makes it one or two instructions. */
static inline enum http1_method match(struct str m, const char *text, size_t len,
                                      enum http1_method method)
{
    return memcmp(m.ptr, text, len) ? HTTP1_METHOD_OTHER : method;
}

static enum http1_method method_of(struct str m)
{
    switch (m.len) {
    case 3:
        return m.ptr[0] == 'G' ? match(m, "GET", 3, HTTP1_GET) : match(m, "PUT", 3, HTTP1_PUT);
    case 4:
        return m.ptr[0] == 'P' ? match(m, "POST", 4, HTTP1_POST) : match(m, "HEAD", 4, HTTP1_HEAD);
    case 5:
        return m.ptr[0] == 'P' ? match(m, "PATCH", 5, HTTP1_PATCH)
                               : match(m, "TRACE", 5, HTTP1_TRACE);
    case 6:
        return match(m, "DELETE", 6, HTTP1_DELETE);
    case 7:
        return m.ptr[0] == 'C' ? match(m, "CONNECT", 7, HTTP1_CONNECT)
                               : match(m, "OPTIONS", 7, HTTP1_OPTIONS);
    default:
        return HTTP1_METHOD_OTHER;
    }
}

/* host [":" port], a name, an IPv4 address or "[" IPv6 "]". */
static bool host_valid(struct str host)
{
    const char *at = host.ptr;
    const char *end = host.ptr + host.len;
    if (!host.len || host.len > HOST_BYTES) {
        return false;
    }
    if (*at == '[') {
        const char *from = ++at;
        while (at < end && (*at == ':' || *at == '.' || (*at >= '0' && *at <= '9') ||
                            ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'f'))) {
            at++;
        }
        if (at == end || *at != ']' || at - from < 2) {
            return false;
        }
        at++;
    } else {
        at = http1_skip_class(at, end, HTTP1_NAME);
        if (at == host.ptr) {
            return false;
        }
    }
    if (at == end) {
        return true;
    }
    if (*at != ':' || end - at > 6) {
        return false;
    }
    for (at++; at < end && *at >= '0' && *at <= '9'; at++) {
    }
    return at == end;
}

static void split_path(struct http1_head *head, struct str path)
{
    ptrdiff_t mark = path.len > 1 ? str_find(path, '?') : -1;
    head->path = path;
    head->query = (struct str){NULL, 0};
    if (mark >= 0) {
        head->path = str_sub(path, 0, (size_t)mark);
        head->query = (struct str){path.ptr + mark + 1, path.len - (size_t)mark - 1};
    }
    if (!head->path.len) {
        head->path = str_of("/"); /* absolute form without a path */
    }
}

/* Takes the target apart by its form (RFC 9112 3.2); sets path, query and maybe host. */
static int apply_target(struct http1_head *head)
{
    struct str t = head->target;
    head->host = (struct str){"", 0};
    if (head->method == HTTP1_CONNECT) {
        head->path = head->query = (struct str){NULL, 0};
        head->host = t;
        return host_valid(t) && str_find(t, ':') > 0 ? 0 : -EPROTO;
    }
    if (t.ptr[0] == '/') {
        split_path(head, t);
        return 0;
    }
    if (str_is(t, "*")) {
        head->path = t;
        head->query = (struct str){NULL, 0};
        return head->method == HTTP1_OPTIONS ? 0 : -EPROTO;
    }
    size_t scheme = str_is_nocase(str_sub(t, 0, 7), "http://")    ? 7
                    : str_is_nocase(str_sub(t, 0, 8), "https://") ? 8
                                                                  : 0;
    if (!scheme) {
        return -EPROTO;
    }
    size_t end = scheme;
    while (end < t.len && t.ptr[end] != '/' && t.ptr[end] != '?') {
        end++;
    }
    head->host = str_sub(t, scheme, end);
    split_path(head, str_sub(t, end, t.len));
    if (head->method == HTTP1_OPTIONS && end == t.len) {
        head->path = str_of("*"); /* of the server as a whole, RFC 9112 3.2.4 */
    }
    return host_valid(head->host) ? 0 : -EPROTO;
}

/* "HTTP/1.1 CR LF" at scan->at. */
static enum http1_result scan_version(struct http1_scan *scan, struct http1_head *head,
                                      int *ret_status)
{
    static const char prefix[] = "HTTP/";
    size_t len = (size_t)(scan->end - scan->at);
    const char *v = scan->at;
    if (len >= 10 && !memcmp(v, "HTTP/1.1\r\n", 10)) {
        head->minor = 1;
        scan->at += 10;
        return HTTP1_DONE;
    }
    if (memcmp(v, prefix, len < 5 ? len : 5) != 0) {
        return HTTP1_BAD;
    }
    if (len < 10) {
        return HTTP1_MORE;
    }
    bool shaped = v[5] >= '0' && v[5] <= '9' && v[6] == '.' && v[7] >= '0' && v[7] <= '9' &&
                  v[8] == '\r' && v[9] == '\n';
    if (!shaped) {
        return HTTP1_BAD;
    }
    if (v[5] != '1' || v[7] > '1') {
        *ret_status = 505;
        return HTTP1_BAD;
    }
    head->minor = v[7] - '0';
    scan->at += 10;
    return HTTP1_DONE;
}

/* http1_skip_class(HTTP1_TARGET), 16 bytes at a time where the machine can. */
static const char *skip_target(const char *at, const char *end)
{
#if defined(__SSE2__)
    while (end - at >= 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
        const __m128i visible = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(' ')),
                                              _mm_cmplt_epi8(v, _mm_set1_epi8(0x7f)));
        unsigned fits = (unsigned)_mm_movemask_epi8(
            _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('#')), visible));
        if (fits != 0xffff) {
            return at + __builtin_ctz(~fits);
        }
        at += 16;
    }
#endif
    return http1_skip_class(at, end, HTTP1_TARGET);
}

static enum http1_result scan_request_line(struct http1_scan *scan, struct http1_head *head,
                                           int *ret_status)
{
    const char *from = scan->at;
    const char *at = http1_skip_class(from, scan->end, HTTP1_TCHAR);
    if (at == scan->end) {
        return HTTP1_MORE;
    }
    if (*at != ' ' || at == from) {
        return HTTP1_BAD;
    }
    head->method_text = (struct str){from, (size_t)(at - from)};
    head->method = method_of(head->method_text);
    from = ++at;
    at = skip_target(from, scan->end);
    if (at == scan->end) {
        return HTTP1_MORE;
    }
    if (*at != ' ' || at == from) {
        return HTTP1_BAD;
    }
    head->target = (struct str){from, (size_t)(at - from)};
    scan->at = at + 1;
    return scan_version(scan, head, ret_status);
}

/* Host and framing; 0 or the status to refuse with. */
static int apply_fields(struct http1_head *head, const struct http1_said *said)
{
    if (said->hosts > 1 || (said->hosts == 0 && head->minor == 1) ||
        (said->hosts && !host_valid(said->host))) {
        return 400;
    }
    if (!head->host.len && said->hosts) {
        head->host = said->host;
    }
    if (http1_apply_connection(head, said)) {
        return 400;
    }
    int coding = said->codings ? http1_coding(head, said) : 0;
    int length = said->lengths ? http1_length(said, &head->content_length) : 0;
    if (coding == -ENOTSUP) {
        return 501;
    }
    if (coding < 0 || length < 0) {
        return 400;
    }
    if (said->expect_other) {
        return 417;
    }
    head->has_content_length = length == 1;
    head->framing = coding                                             ? HTTP1_CHUNKED
                    : head->has_content_length && head->content_length ? HTTP1_LENGTH
                                                                       : HTTP1_NO_BODY;
    return 0;
}

enum http1_result http1_parse_request(struct str bytes, struct http1_head *ret_head,
                                      size_t *ret_used, int *ret_status)
{
    bool cut = bytes.len >= LIMIT_HEAD_BYTES;
    struct http1_scan scan = {bytes.ptr, bytes.ptr + (cut ? (size_t)LIMIT_HEAD_BYTES : bytes.len)};
    struct http1_said said;
    struct http1_head *head = ret_head;
    bool in_fields = false;
    int status = 400;
    http1_said_nothing(&said);
    head->field_count = 0;
    head->content_length = 0;
    head->has_content_length = head->expect_continue = head->keep_alive = head->upgrade = false;
    head->te = false;
    head->status = 0;
    head->reason = (struct str){NULL, 0};
    if (scan.at < scan.end && *scan.at == '\r') {
        if (scan.end - scan.at == 1) {
            return HTTP1_MORE;
        }
        scan.at += scan.at[1] == '\n' ? 2 : 0;
    }
    enum http1_result result = scan_request_line(&scan, head, &status);
    if (result == HTTP1_DONE && apply_target(head)) {
        result = HTTP1_BAD;
    }
    if (result == HTTP1_DONE) {
        in_fields = true;
        result = http1_scan_fields(&scan, head, &said, &status);
    }
    if (result == HTTP1_DONE) {
        status = apply_fields(head, &said);
        result = status ? HTTP1_BAD : HTTP1_DONE;
    }
    if (result == HTTP1_MORE && cut) {
        status = in_fields ? 431 : 414;
        result = HTTP1_BAD;
    }
    if (result == HTTP1_DONE) {
        *ret_used = (size_t)(scan.at - bytes.ptr);
    } else if (result == HTTP1_BAD) {
        *ret_status = status;
    }
    return result;
}

bool http1_idempotent(enum http1_method method)
{
    switch (method) {
    case HTTP1_GET:
    case HTTP1_HEAD:
    case HTTP1_PUT:
    case HTTP1_DELETE:
    case HTTP1_OPTIONS:
    case HTTP1_TRACE:
        return true;
    case HTTP1_METHOD_OTHER:
    case HTTP1_POST:
    case HTTP1_CONNECT:
    case HTTP1_PATCH:
    case HTTP1_METHODS:
        break;
    }
    return false;
}
