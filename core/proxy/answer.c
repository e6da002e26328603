/* answer.c: answers of our own, dates and chance. */
#include "proxy/parts.h"

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

int proxy_answer(struct session *s, int status, const char *id, const char *why, bool head_only,
                 bool keep)
{
    /* `why` is one of our own short sentences, an id has at most REQUEST_ID_BYTES. */
    char body[512], text[1024];
    bool has_id = id[0] != '\0';
    int body_len = snprintf(body, sizeof body, "%d %s: %s%s%s\n", status, http1_reason(status), why,
                            has_id ? "\nrequest id: " : "", id);
    keep = keep && !s->proxy->draining;
    int len =
        snprintf(text, sizeof text,
                 "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                 "Content-Length: %d\r\n%s%s%s%s%s%s\r\n",
                 status, http1_reason(status), proxy_date(s->proxy), body_len,
                 has_id ? "X-Request-Id: " : "", id, has_id ? "\r\n" : "",
                 status == 503 ? "Retry-After: 1\r\n" : "",
                 status == 405 ? "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n" : "",
                 s->carrier ? ""
                 : keep     ? "Connection: keep-alive\r\n"
                            : "Connection: close\r\n");
    s->last = !keep;
    int rc = proxy_session_tell(s, (struct str){text, (size_t)len},
                                (struct str){body, head_only ? 0 : (size_t)body_len}, true);
    if (rc) {
        proxy_session_kill(s, true);
    } else {
        proxy_session_next(s);
    }
    return rc;
}
