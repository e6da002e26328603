/* http.c: the HTTP side: GET and HEAD of a few pages, one request a connection. */
#include "admin/internal.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/http1.h"

/* Writes an answer. Takes body; only its length is told when `head_only`. */
static void answer(struct admin_conn *c, int status, const char *type, const char *encoding,
                   char *body, size_t len, bool head_only)
{
    struct buf head;
    buf_init(&head, LIMIT_HEAD_BYTES);
    (void)buf_printf(&head, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
                     http1_reason(status), type, len);
    if (*encoding) {
        (void)buf_printf(&head, "Content-Encoding: %s\r\n", encoding);
    }
    (void)buf_printf(&head,
                     "%sVary: Accept, Accept-Encoding\r\nCache-Control: no-store\r\n"
                     "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                     status == 405 ? "Allow: GET, HEAD\r\n" : "");
    size_t head_len = head.len;
    admin_conn_write_both(c, buf_take(&head), head_len, body, head_only ? 0 : len);
}

static void answer_status(struct admin_conn *c, int status, bool head_only)
{
    char *text = mem_printf("%d %s\n", status, http1_reason(status));
    answer(c, status, "text/plain; charset=utf-8", "", text, strlen(text), head_only);
}

static struct cJSON *fields_of(const struct http1_head *head)
{
    struct cJSON *fields = json_object();
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        char *name = mem_copy_bytes(f->name.ptr, f->name.len);
        for (char *c = name; *c; c++) {
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
        }
        const char *before = json_str(fields, name, NULL);
        char *value = mem_printf("%s%s%.*s", before ? before : "", before ? ", " : "",
                                 (int)f->value.len, f->value.ptr);
        json_set_str(fields, name, value);
        mem_free(name);
        mem_free(value);
    }
    return fields;
}

static void page(struct admin_conn *c, const struct http1_head *head)
{
    const struct admin_options *o = &c->listener->admin->options;
    bool head_only = head->method == HTTP1_HEAD;
    if ((head->method != HTTP1_GET && !head_only) || !o->on_page) {
        answer_status(c, o->on_page ? 405 : 404, head_only);
        return;
    }
    char *path = mem_copy_bytes(head->path.ptr, head->path.len);
    struct admin_request *r = admin_request_new(c, fields_of(head));
    r->head_only = head_only;
    o->on_page(o->arg, r, path);
    mem_free(path);
}

const char *admin_field(const struct admin_request *r, const char *name)
{
    return json_str(r->args, name, "");
}

void admin_answer_page(struct admin_request *r, int status, const char *type, const char *encoding,
                       char *body, size_t len)
{
    bool head_only = r->head_only;
    struct admin_conn *c = admin_request_end(r);
    if (c && body) {
        answer(c, status, type, encoding, body, len, head_only);
        return;
    }
    mem_free(body);
    if (c) {
        answer_status(c, status, head_only);
    }
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
