/* answer.c: answers of our own, dates and chance. */
#include "proxy/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "base/clock.h"

uint64_t proxy_random(struct proxy *p)
{
    /* xorshift128+ */
    uint64_t a = p->random[0];
    const uint64_t b = p->random[1];
    p->random[0] = b;
    a ^= a << 23;
    p->random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return p->random[1] + b;
}

/* Eight hexadecimal digits at once: each byte has one in its low half, to which '0' is added, and from
 * ten on 39 more. */
static uint64_t digits_of(uint64_t halves)
{
    const uint64_t ones = 0x0101010101010101u;
    halves &= ones * 15;
    return halves + ones * '0' + (((halves + ones * 6) >> 4) & ones) * ('a' - '0' - 10);
}

void proxy_request_id(struct proxy *p, char ret_id[33])
{
    for (int half = 0; half < 2; half++) {
        uint64_t bits = proxy_random(p), low = digits_of(bits), high = digits_of(bits >> 4);
        memcpy(ret_id + half * 16, &low, 8);
        memcpy(ret_id + half * 16 + 8, &high, 8);
    }
    ret_id[32] = '\0';
}

const char *proxy_date(struct proxy *p)
{
    if (!p->date[0] || p->now_ms - p->date_ms >= 500) {
        time_t now = (time_t)(clock_wall_ms() / 1000u);
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(p->date, sizeof p->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        p->date_ms = p->now_ms;
    }
    return p->date;
}

/* The fields that an answer has by its status, unless its own lines have them. */
static const char *usual_fields(const struct reply *r)
{
    struct str lines = r->fields, line;
    if (r->status == 405) {
        return "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n";
    }
    while (r->status == 503 && str_next(&lines, '\n', &line)) {
        if (str_is_nocase(str_sub(line, 0, 12), "retry-after:")) {
            return "";
        }
    }
    return r->status == 503 ? "Retry-After: 1\r\n" : "";
}

/* What a client of gRPC gets: Trailers-Only, a head that has the status. */
static int reply_to_call(struct session *s, const struct reply *r)
{
    char *bytes = s->proxy->head_bytes, status[512]; /* two lines, a short sentence of ours */
    size_t size = sizeof s->proxy->head_bytes;
    bool has_id = r->id[0] != '\0', keep = r->keep && !s->proxy->draining;
    size_t status_len = proxy_grpc_status_lines(
        r->status, r->why ? r->why : http1_reason(r->status), status, sizeof status);
    int len =
        snprintf(bytes, size,
                 "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/grpc\r\n"
                 "%.*s%s%s%s%.*s%s\r\n",
                 proxy_date(s->proxy), (int)status_len, status, has_id ? "X-Request-Id: " : "",
                 r->id, has_id ? "\r\n" : "", (int)r->fields.len, r->fields.ptr,
                 s->carrier ? ""
                 : keep     ? "Content-Length: 0\r\nConnection: keep-alive\r\n"
                            : "Content-Length: 0\r\nConnection: close\r\n");
    s->last = !keep;
    if ((size_t)len >= size) {
        return -ENOBUFS;
    }
    return proxy_session_tell(s, (struct str){bytes, (size_t)len}, (struct str){NULL, 0}, true);
}

static int reply(struct session *s, const struct reply *r)
{
    char *bytes = s->proxy->head_bytes;
    size_t size = sizeof s->proxy->head_bytes;
    /* `why` is one of our own short sentences, an id has at most REQUEST_ID_BYTES, a type 255. */
    char body[512], length[40] = "";
    bool has_id = r->id[0] != '\0', bodiless = r->status == 204 || r->status == 304;
    struct str type = r->type.len ? r->type : str_of("text/plain; charset=utf-8"),
               content = r->body;
    bool keep = r->keep && !s->proxy->draining;
    if (!r->type.len && !bodiless) {
        int n = snprintf(body, sizeof body, "%d %s: %s%s%s\n", r->status, http1_reason(r->status),
                         r->why, has_id ? "\nrequest id: " : "", r->id);
        content = (struct str){body, (size_t)n};
    }
    if (!bodiless) {
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", content.len);
    }
    int len = snprintf(bytes, size, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s%.*s%s%s%s%s%s%s%.*s%s\r\n",
                       r->status, http1_reason(r->status), proxy_date(s->proxy),
                       bodiless ? "" : "Content-Type: ", bodiless ? 0 : (int)type.len, type.ptr,
                       bodiless ? "" : "\r\n", length, has_id ? "X-Request-Id: " : "", r->id,
                       has_id ? "\r\n" : "", usual_fields(r), (int)r->fields.len, r->fields.ptr,
                       s->carrier ? ""
                       : keep     ? "Connection: keep-alive\r\n"
                                  : "Connection: close\r\n");
    s->last = !keep;
    if ((size_t)len >= size) { /* fields longer than any that steps make */
        return -ENOBUFS;
    }
    content.len = r->head_only || bodiless ? 0 : content.len;
    return proxy_session_tell(s, (struct str){bytes, (size_t)len}, content, true);
}

int proxy_reply(struct session *s, const struct reply *r)
{
    int rc = r->grpc ? reply_to_call(s, r) : reply(s, r);
    if (rc) {
        proxy_session_kill(s, true);
    } else {
        proxy_session_next(s);
    }
    return rc;
}

int proxy_answer(struct session *s, int status, const char *id, const char *why, bool head_only,
                 bool keep)
{
    struct reply reply = {
        .status = status, .why = why, .id = id, .head_only = head_only, .keep = keep};
    proxy_steps_reply_bare(s->proxy, &reply);
    return proxy_reply(s, &reply);
}
