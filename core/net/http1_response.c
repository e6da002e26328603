/* http1_response.c: response heads: the status line and framing. */
#include "net/http1_scan.h"

#include <string.h>

#include "base/ban.h"

/* "HTTP/1.1 200 OK CR LF"; the blank before an empty reason may be missing, as many servers do. */
static enum http1_result scan_status_line(struct http1_scan *scan, struct http1_head *head)
{
    static const char prefix[] = "HTTP/1.";
    size_t len = (size_t)(scan->end - scan->at);
    const char *s = scan->at;
    if (memcmp(s, prefix, len < 7 ? len : 7) != 0) {
        return HTTP1_BAD;
    }
    if (len < 14) {
        return HTTP1_MORE;
    }
    for (int i = 9; i < 12; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return HTTP1_BAD;
        }
    }
    head->status = (s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0');
    if ((s[7] != '0' && s[7] != '1') || s[8] != ' ' || head->status < 100 || head->status > 599 ||
        (s[12] != ' ' && s[12] != '\r')) {
        return HTTP1_BAD;
    }
    head->minor = s[7] - '0';
    const char *reason = s + 12 + (s[12] == ' ');
    const char *at = http1_skip_class(reason, scan->end, HTTP1_TEXT);
    if (at == scan->end) {
        return HTTP1_MORE;
    }
    if (*at != '\r') {
        return HTTP1_BAD;
    }
    if (at + 1 == scan->end) {
        return HTTP1_MORE;
    }
    if (at[1] != '\n') {
        return HTTP1_BAD;
    }
    head->reason = (struct str){reason, (size_t)(at - reason)};
    scan->at = at + 2;
    return HTTP1_DONE;
}

/* RFC 9112 6.3, strictly. */
static bool apply_framing(struct http1_head *head, const struct http1_said *said,
                          enum http1_method method)
{
    if (http1_apply_connection(head, said)) {
        return false;
    }
    int coding = said->codings ? http1_coding(head, said) : 0;
    int length = said->lengths ? http1_length(said, &head->content_length) : 0;
    if (coding < 0 || length < 0) {
        return false;
    }
    head->has_content_length = length == 1;
    if (method == HTTP1_HEAD || head->status < 200 || head->status == 204 || head->status == 304) {
        head->framing = HTTP1_NO_BODY;
    } else if (coding) {
        head->framing = HTTP1_CHUNKED;
    } else if (head->has_content_length) {
        head->framing = head->content_length ? HTTP1_LENGTH : HTTP1_NO_BODY;
    } else {
        head->framing = HTTP1_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return true;
}

enum http1_result http1_parse_response(struct str bytes, enum http1_method method,
                                       struct http1_head *ret_head, size_t *ret_used)
{
    bool cut = bytes.len >= LIMIT_HEAD_BYTES;
    struct http1_scan scan = {bytes.ptr, bytes.ptr + (cut ? (size_t)LIMIT_HEAD_BYTES : bytes.len)};
    struct http1_said said;
    struct http1_head *head = ret_head;
    int status = 0;
    http1_said_nothing(&said);
    head->field_count = 0;
    head->content_length = 0;
    head->has_content_length = head->expect_continue = head->keep_alive = head->upgrade = false;
    head->te = false;
    head->method = method;
    head->method_text = head->target = head->path = head->query = head->host =
        (struct str){NULL, 0};
    enum http1_result result = scan_status_line(&scan, head);
    if (result == HTTP1_DONE) {
        result = http1_scan_fields(&scan, head, &said, &status);
    }
    if (result == HTTP1_DONE && !apply_framing(head, &said, method)) {
        result = HTTP1_BAD;
    }
    if (result == HTTP1_MORE && cut) {
        result = HTTP1_BAD;
    }
    if (result == HTTP1_DONE) {
        *ret_used = (size_t)(scan.at - bytes.ptr);
    }
    return result;
}

const char *http1_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "";
}
