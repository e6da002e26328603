/* http.c: the HTTP side: GET and HEAD of a few pages, one request a connection. */
#include "admin/internal.h"

#include <string.h>

#include "base/ban.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/http1.h"

/* Writes an answer; `body` is borrowed, and only its length told when `head_only`. */
static void answer(struct admin_conn *c, int status, const char *type, const struct buf *body,
                   bool head_only)
{
    struct buf out;
    buf_init(&out, LIMIT_ANSWER_BYTES + LIMIT_HEAD_BYTES);
    (void)buf_printf(&out,
                     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
                     "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                     "Connection: close\r\n\r\n",
                     status, http1_reason(status), type, body->len,
                     status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (!head_only) {
        (void)buf_append(&out, buf_str(body), body->len);
    }
    size_t len = out.len;
    admin_conn_write(c, buf_take(&out), len);
}

static void answer_status(struct admin_conn *c, int status, bool head_only)
{
    struct buf body;
    buf_init(&body, LIMIT_HEAD_BYTES);
    (void)buf_printf(&body, "%d %s\n", status, http1_reason(status));
    answer(c, status, "text/plain; charset=utf-8", &body, head_only);
    buf_free(&body);
}

static void page(struct admin_conn *c, const struct http1_head *head)
{
    const struct admin_options *o = &c->listener->admin->options;
    bool head_only = head->method == HTTP1_HEAD;
    if (head->method != HTTP1_GET && !head_only) {
        answer_status(c, 405, false);
        return;
    }
    struct buf body;
    buf_init(&body, LIMIT_ANSWER_BYTES);
    const char *type = "text/plain; charset=utf-8";
    char *path = mem_copy_bytes(head->path.ptr, head->path.len);
    int status = o->on_page ? o->on_page(o->arg, path, &body, &type) : 404;
    mem_free(path);
    if (body.len) {
        answer(c, status, type, &body, head_only);
    } else {
        answer_status(c, status, head_only);
    }
    buf_free(&body);
}

static void bytes(struct admin_conn *c)
{
    struct http1_head head;
    size_t used;
    int status = 400;
    switch (http1_parse_request((struct str){buf_str(&c->in), c->in.len}, &head, &used, &status)) {
    case HTTP1_DONE:
        page(c, &head);
        break;
    case HTTP1_MORE:
        if (c->overflow) {
            answer_status(c, 431, false);
        } else if (c->ended) {
            admin_conn_close(c);
        }
        break;
    case HTTP1_BAD:
    case HTTP1_RESULTS:
        answer_status(c, status, false);
        break;
    }
}

static void late(struct admin_conn *c)
{
    answer_status(c, 408, false);
}

const struct admin_side admin_http_side = {
    .limit = 2UL * LIMIT_HEAD_BYTES, /* the codec ends a head at half of it */
    .bytes = bytes,
    .late = late,
};
