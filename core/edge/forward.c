/* forward.c: see forward.h. */
#include "edge/forward.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

struct names {
    char **of;
    size_t count;
};

struct edge_forward {
    char *path;
    struct names headers; /* of the answer, for the backend */
    struct names asked;   /* of the request, for the service */
};

/* ---- what is configured ------------------------------------------------------------------ */

static void read_names(struct names *n, const struct cJSON *list)
{
    n->of = mem_array(json_count(list) + 1, sizeof *n->of);
    for (const struct cJSON *at = json_first(list); at; at = json_next(at)) {
        n->of[n->count++] = mem_copy(json_value_str(at, ""));
    }
}

static void free_names(struct names *n)
{
    for (size_t i = 0; i < n->count; i++) {
        mem_free(n->of[i]);
    }
    mem_free(n->of);
}

struct edge_forward *edge_forward_new(const struct cJSON *json)
{
    if (json_kind(json) != JSON_OBJECT) {
        return NULL;
    }
    struct edge_forward *f = mem_new(sizeof *f);
    f->path = mem_copy(json_str(json, "path", "/"));
    read_names(&f->headers, json_get(json, "headers"));
    read_names(&f->asked, json_get(json, "request_headers"));
    return f;
}

void edge_forward_free(struct edge_forward *f)
{
    if (f) {
        mem_free(f->path);
        free_names(&f->headers);
        free_names(&f->asked);
        mem_free(f);
    }
}

bool edge_name_alike(struct str name, const char *other)
{
    size_t len = strlen(other);
    for (size_t i = 0; i < len && name.len == len; i++) {
        char a = name.ptr[i] == '_' ? '-' : name.ptr[i], b = other[i] == '_' ? '-' : other[i];
        if (a != b && ((a | 0x20) != (b | 0x20) || (a | 0x20) < 'a' || (a | 0x20) > 'z')) {
            return false;
        }
    }
    return name.len == len;
}

static bool has(const struct names *n, struct str name)
{
    for (size_t i = 0; i < n->count; i++) {
        if (str_is_nocase(name, n->of[i])) {
            return true;
        }
    }
    return false;
}

bool edge_forward_hides(const struct edge_forward *f, struct str name)
{
    for (size_t i = 0; i < f->headers.count; i++) {
        if (edge_name_alike(name, f->headers.of[i])) {
            return true;
        }
    }
    return false;
}

/* ---- the question ------------------------------------------------------------------------ */

static void put_field(struct edge_out *out, const struct http1_field *f)
{
    edge_put(out, f->name);
    edge_put_text(out, ": ");
    edge_put(out, f->value);
    edge_put_text(out, "\r\n");
}

static bool goes_along(const struct edge_forward *f, const struct http1_field *field)
{
    return !field->hop &&
           (str_is_nocase(field->name, "Cookie") || str_is_nocase(field->name, "Authorization") ||
            str_is_nocase(field->name, "Accept") || str_is_nocase(field->name, "User-Agent") ||
            field->known == HTTP1_X_FORWARDED_FOR || str_is_nocase(field->name, "Forwarded") ||
            field->known == HTTP1_X_FORWARDED_PROTO || has(&f->asked, field->name));
}

void edge_forward_ask(const struct edge_forward *f, const struct http1_head *request,
                      const char *id, struct edge_out *out)
{
    edge_put_text(out, "GET ");
    edge_put_text(out, f->path);
    edge_put_text(out, " HTTP/1.1\r\n");
    edge_put_field(out, "Host", request->host.len ? request->host : str_of("unknown"));
    edge_put_field(out, "X-Request-Id", str_of(id));
    edge_put_field(out, "X-Forwarded-Method", request->method_text);
    edge_put_text(out, "X-Forwarded-Uri: ");
    edge_put(out, request->path);
    if (request->query.ptr) {
        edge_put_text(out, "?");
        edge_put(out, request->query);
    }
    edge_put_text(out, "\r\n");
    for (uint32_t i = 0; i < request->field_count; i++) {
        if (goes_along(f, &request->fields[i])) {
            put_field(out, &request->fields[i]);
        }
    }
    edge_put_text(out, "\r\n");
}

/* ---- the answer -------------------------------------------------------------------------- */

enum edge_word edge_forward_word(const struct http1_head *answer)
{
    int status = answer->status;
    if (status >= 200 && status < 300) {
        return EDGE_WORD_GRANTED;
    }
    return (status >= 300 && status < 400 && status != 304) || status == 401 || status == 403
               ? EDGE_WORD_DENIED
               : EDGE_WORD_FAILED;
}

bool edge_forward_grant(const struct edge_forward *f, const struct http1_head *answer,
                        struct edge_out *request, struct edge_out *reply)
{
    for (uint32_t i = 0; i < answer->field_count; i++) {
        const struct http1_field *field = &answer->fields[i];
        if (field->hop) {
            continue;
        }
        if (has(&f->headers, field->name)) {
            put_field(request, field);
        }
        if (str_is_nocase(field->name, "Set-Cookie")) {
            put_field(reply, field);
        }
    }
    return !request->full && !reply->full;
}

struct str edge_forward_deny(const struct http1_head *answer, struct edge_out *out)
{
    static const char *const names[] = {"Location", "WWW-Authenticate", "Set-Cookie",
                                        "Cache-Control", "Retry-After"};
    struct str type = {NULL, 0};
    for (uint32_t i = 0; i < answer->field_count; i++) {
        const struct http1_field *f = &answer->fields[i];
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            if (str_is_nocase(f->name, names[k])) {
                put_field(out, f);
            }
        }
        type = str_is_nocase(f->name, "Content-Type") ? f->value : type;
    }
    return type;
}
