/* span.c: traces: the traceparent that goes on, and spans of our own for a sample of the requests.
 *
 * Where the configuration has no `tracing` what came goes on as it is, and a trace that nobody began begins here. Where
 * it has, each request gets a span of ours, which is its backend's parent; it is told if its parent's was (the flag of
 * traceparent), or without a parent by chance (ParentBased and TraceIdRatioBased of the OpenTelemetry specification).
 * Attributes have the names of its semantic conventions for HTTP servers.
 * Invariants: at most SPANS_A_SECOND are told, the others are counted; a request that is not told costs its ids. */
#include "proxy/parts.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    SPANS_A_SECOND = 2000,
    SPANS_AT_ONCE = 256, /* then they are told before the second is over */
    TELL_MS = 1000,
    KIND_SERVER = 2,
    STATUS_ERROR = 2
};

struct spans {
    struct proxy *proxy;
    uv_timer_t timer;
    struct cJSON *waiting; /* an array, or NULL */
    uint32_t count;        /* in it */
    uint32_t lately;       /* of this second */
    uint64_t left_out;     /* since they were told */
};

/* ---- traceparent ------------------------------------------------------------------------- */

/* Version 00 of the trace context: "00-" 32 digits "-" 16 digits "-" 2 digits, neither id all zeros. */
static bool valid(struct str s)
{
    uint8_t seen[2] = {0, 0};
    if (s.len != TRACEPARENT_BYTES || s.ptr[0] != '0' || s.ptr[1] != '0') {
        return false;
    }
    for (size_t i = 2; i < s.len; i++) {
        char c = s.ptr[i];
        bool dash = i == 2 || i == 35 || i == 52;
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (dash ? c != '-' : !digit) {
            return false;
        }
        seen[i > 35] |= !dash && c != '0' && i < 52;
    }
    return seen[0] && seen[1];
}

struct str proxy_span_of(const struct http1_head *head)
{
    struct str trace = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        if (f->known == HTTP1_TRACEPARENT) {
            trace = f->value;
            count++;
        }
    }
    return count == 1 && valid(trace) ? trace : (struct str){0};
}

static void write_parent(char *to, const char *trace, const char *span, bool sampled)
{
    memcpy(to, "00-", 3);
    memcpy(to + 3, trace, TRACE_DIGITS);
    to[35] = '-';
    memcpy(to + 36, span, SPAN_DIGITS);
    memcpy(to + 52, sampled ? "-01" : "-00", 4);
}

struct str proxy_span_text(const struct exchange *ex, struct str came,
                           char to[TRACEPARENT_BYTES + 1])
{
    if (ex->traced) {
        write_parent(to, ex->trace_id, ex->span_id, ex->sampled);
    } else if (came.len) {
        return came;
    } else {
        char trace[33], span[33];
        proxy_request_id(ex->session->proxy, trace);
        proxy_request_id(ex->session->proxy, span);
        write_parent(to, trace, span, true);
    }
    return (struct str){to, TRACEPARENT_BYTES};
}

/* ---- spans ------------------------------------------------------------------------------- */

void proxy_span_begin(struct exchange *ex, const struct http1_head *head)
{
    struct proxy *p = ex->session->proxy;
    double share = ex->generation->trace_share;
    char digits[33];
    struct str parent = proxy_span_of(head);
    ex->traced = true;
    ex->has_parent = parent.len != 0;
    if (parent.len) {
        memcpy(ex->trace_id, parent.ptr + 3, TRACE_DIGITS);
        memcpy(ex->parent_id, parent.ptr + 36, SPAN_DIGITS);
        ex->sampled = strchr("13579bdf", parent.ptr[54]) != NULL;
    } else {
        proxy_request_id(p, digits);
        memcpy(ex->trace_id, digits, TRACE_DIGITS);
        ex->sampled = (double)(proxy_random(p) >> 11) * 0x1p-53 < share;
    }
    proxy_request_id(p, digits);
    memcpy(ex->span_id, digits, SPAN_DIGITS);
}

static void tell(struct spans *spans)
{
    struct proxy *p = spans->proxy;
    if (spans->waiting && p->on_spans) {
        p->on_spans(p->spans_arg, spans->waiting, spans->left_out);
        spans->left_out = 0;
    } else {
        json_free(spans->waiting);
    }
    spans->waiting = NULL;
    spans->count = 0;
    p->uv_due = true;
}

static void on_timer(uv_timer_t *timer)
{
    struct spans *spans = timer->data;
    spans->lately = 0;
    tell(spans);
}

static struct spans *spans_of(struct proxy *p)
{
    if (!p->spans) {
        p->spans = mem_new(sizeof *p->spans);
        p->spans->proxy = p;
        uv_timer_init(p->options.loop, &p->spans->timer);
        p->spans->timer.data = p->spans;
    }
    return p->spans;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void proxy_spans_free(struct spans *spans)
{
    if (spans) {
        tell(spans);
        uv_close((uv_handle_t *)&spans->timer, on_closed);
    }
}

static void set_id(struct cJSON *span, const char *key, const char *digits, size_t len)
{
    char text[TRACE_DIGITS + 1];
    (void)str_put(text, sizeof text, (struct str){digits, len});
    json_add(span, key, json_string(text));
}

/* Times of OTLP are texts: nanoseconds since 1970 do not fit a double. */
static void set_time(struct cJSON *span, const char *key, uint64_t wall_us)
{
    char text[32]; /* a uint64_t and three zeros */
    snprintf(text, sizeof text, "%llu000", (unsigned long long)wall_us);
    json_add(span, key, json_string(text));
}

static void add_value(struct cJSON *attributes, const char *key, const char *kind, struct str value)
{
    if (!value.len) {
        return;
    }
    char *text = mem_copy_bytes(value.ptr, value.len);
    struct cJSON *attribute = json_object(), *holder = json_object();
    json_add(holder, kind, json_string(text));
    json_add(attribute, "key", json_string(key));
    json_add(attribute, "value", holder);
    json_set(attributes, NULL, attribute);
    mem_free(text);
}

static void add_text(struct cJSON *attributes, const char *key, const char *text)
{
    add_value(attributes, key, "stringValue", str_of(text));
}

static void add_number(struct cJSON *attributes, const char *key, uint64_t number)
{
    char text[24]; /* a uint64_t */
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    add_value(attributes, key, "intValue", str_of(text));
}

/* What the head says that was written for the backend: its first two lines. */
static void add_head(struct cJSON *attributes, struct str head)
{
    struct str line, method, target;
    if (!str_next(&head, '\n', &line) || !str_next(&line, ' ', &method) ||
        !str_next(&line, ' ', &target)) {
        return;
    }
    ptrdiff_t query = str_find(target, '?');
    add_value(attributes, "http.request.method", "stringValue", method);
    /* Not the query: secrets are found there. */
    add_value(attributes, "url.path", "stringValue",
              query < 0 ? target : str_sub(target, 0, (size_t)query));
    if (str_next(&head, '\r', &line) && str_starts(line, "Host: ")) {
        add_value(attributes, "server.address", "stringValue", str_sub(line, 6, line.len));
    }
}

static struct cJSON *attributes_of(const struct exchange *ex, int status)
{
    const struct session *s = ex->session;
    struct cJSON *attributes = json_array();
    add_head(attributes, (struct str){ex->request->bytes, ex->request->len});
    add_text(attributes, "url.scheme", proxy_peer_secure(s) ? "https" : "http");
    add_text(attributes, "http.route", ex->route->path);
    add_number(attributes, "http.response.status_code", (uint64_t)status);
    add_number(attributes, "http.response.body.size", ex->sent_bytes);
    add_text(attributes, "client.address", s->peer);
    add_text(attributes, "network.protocol.version",
             s->carrier         ? strchr(s->carrier->protocol, '/') + 1
             : ex->client_minor ? "1.1"
                                : "1.0");
    add_text(attributes, "tidegate.service", ex->route->service->name);
    add_text(attributes, "tidegate.backend", ex->backend ? ex->backend->id : "");
    add_text(attributes, "tidegate.request_id", ex->id);
    add_number(attributes, "tidegate.attempts", ex->tries + (ex->backend ? 1u : 0u));
    return attributes;
}

static const char *method_of(const struct exchange *ex)
{
    static const char *const names[HTTP1_METHODS] = {
        [HTTP1_METHOD_OTHER] = "HTTP", [HTTP1_GET] = "GET",         [HTTP1_HEAD] = "HEAD",
        [HTTP1_POST] = "POST",         [HTTP1_PUT] = "PUT",         [HTTP1_DELETE] = "DELETE",
        [HTTP1_CONNECT] = "CONNECT",   [HTTP1_OPTIONS] = "OPTIONS", [HTTP1_TRACE] = "TRACE",
        [HTTP1_PATCH] = "PATCH"};
    return names[ex->method];
}

static struct cJSON *render(const struct exchange *ex, bool whole)
{
    struct proxy *p = ex->session->proxy;
    struct cJSON *span = json_object(), *status = json_object();
    int code = ex->status ? ex->status : 499;
    uint64_t took_us = p->now_us - ex->began_us, wall_us = clock_wall_ms() * 1000u;
    char *name = mem_printf("%s %s", method_of(ex), ex->route->path);
    set_id(span, "traceId", ex->trace_id, TRACE_DIGITS);
    set_id(span, "spanId", ex->span_id, SPAN_DIGITS);
    if (ex->has_parent) {
        set_id(span, "parentSpanId", ex->parent_id, SPAN_DIGITS);
    }
    json_add(span, "name", json_string(name));
    json_add(span, "kind", json_number(KIND_SERVER));
    set_time(span, "startTimeUnixNano", wall_us - took_us);
    set_time(span, "endTimeUnixNano", wall_us);
    json_add(span, "attributes", attributes_of(ex, code));
    if (code >= 500 || !whole) {
        json_add(status, "code", json_number(STATUS_ERROR));
        json_add(status, "message", json_string(whole ? "" : "the answer broke off"));
    }
    json_add(span, "status", status);
    mem_free(name);
    return span;
}

void proxy_span_end(const struct exchange *ex, bool whole)
{
    struct proxy *p = ex->session->proxy;
    struct spans *spans = spans_of(p);
    if (spans->lately >= SPANS_A_SECOND) {
        spans->left_out++;
        return;
    }
    proxy_now(p);
    if (!uv_is_active((uv_handle_t *)&spans->timer)) {
        p->uv_due = true;
        uv_timer_start(&spans->timer, on_timer, TELL_MS, 0);
    }
    if (!spans->waiting) {
        spans->waiting = json_array();
    }
    json_set(spans->waiting, NULL, render(ex, whole));
    spans->lately++;
    if (++spans->count >= SPANS_AT_ONCE) {
        tell(spans);
    }
}
