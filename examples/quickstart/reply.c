/* reply.c - writes answers into a connection's output, see server.h. */
#define _GNU_SOURCE 1
#include "server.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PIECE_BYTES = 65536
};

static const char PATTERN[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n";

/* Header lines that all answers carry; the date changes once a second. */
static void common_make(struct server *s, uint64_t now_us)
{
    struct timespec wall;
    struct tm tm;
    char date[64] = "";

    if (s->common_len > 0 && s->common_second == now_us / 1000000) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    gmtime_r(&wall.tv_sec, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    int len = snprintf(s->common, sizeof s->common, "Date: %s\r\nX-Instance: %s\r\n", date,
                       s->options.instance);
    s->common_len = (size_t)len < sizeof s->common ? (size_t)len : 0;
    s->common_second = now_us / 1000000;
}

/* `extra` are header lines, each with its CRLF. */
static void head_add(struct conn *c, int status, const char *type, int64_t length,
                     const char *extra)
{
    struct server *s = c->server;
    bool empty = status == 204 || status == 304; /* never have a body, nor a length */

    common_make(s, c->began_us);
    c->status = status;
    c->answer = (struct answer){0};
    if (length < 0 && c->old_http) {
        c->keep_alive = false; /* the end of the connection is the end of the body */
    }
    c->head_only = c->head_only || empty;
    bytes_addf(&c->out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    bytes_add(&c->out, s->common, s->common_len);
    if (!empty) {
        bytes_addf(&c->out, "Content-Type: %s\r\n", type);
        if (length >= 0) {
            bytes_addf(&c->out, "Content-Length: %" PRId64 "\r\n", length);
        } else if (!c->old_http) {
            bytes_addf(&c->out, "Transfer-Encoding: chunked\r\n");
        }
    }
    if (!c->keep_alive) {
        bytes_addf(&c->out, "Connection: close\r\n");
    } else if (c->old_http) {
        bytes_addf(&c->out, "Connection: keep-alive\r\n");
    }
    bytes_addf(&c->out, "%s\r\n", extra);
    c->state = CONN_SEND;
}

static void pattern_add(struct bytes *to, uint64_t from, size_t len)
{
    char *at = bytes_reserve(to, len);

    for (size_t i = 0; i < len;) {
        size_t skip = (from + i) % 64;
        size_t n = 64 - skip < len - i ? 64 - skip : len - i;
        memcpy(at + i, PATTERN + skip, n);
        i += n;
    }
    bytes_grown(to, len);
}

void reply_start(struct conn *c, int status, const char *type, int64_t length)
{
    head_add(c, status, type, length, "");
}

void reply(struct conn *c, int status, const char *type, struct str body)
{
    reply_start(c, status, type, (int64_t)body.len);
    if (!c->head_only) {
        bytes_add(&c->out, body.at, body.len);
    }
}

void reply_json(struct conn *c, int status, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        reply(c, 500, "text/plain", (struct str){"", 0});
        return;
    }
    reply(c, status, "application/json", (struct str){text, (size_t)len});
    free(text);
}

void reply_not_allowed(struct conn *c)
{
    head_add(c, 405, "text/plain", 0,
             c->route->post ? "Allow: GET, HEAD, POST\r\n" : "Allow: GET, HEAD\r\n");
}

void reply_piece_add(struct conn *c)
{
    struct answer *a = &c->answer;
    size_t most = a->chunk ? a->chunk : PIECE_BYTES;
    size_t n = a->left < most ? (size_t)a->left : most;
    bool framed = a->chunk && !c->old_http;

    if (framed) {
        bytes_addf(&c->out, "%zx\r\n", n);
    }
    pattern_add(&c->out, a->done, n);
    if (framed) {
        bytes_add(&c->out, "\r\n", 2);
    }
    a->left -= n;
    a->done += n;
}
