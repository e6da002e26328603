/* forward.c: heads written anew from the model.
 *
 * Nothing of a received head is copied but names and values that the codec took as valid: framing,
 * Connection and what it names, and every other hop-by-hop field are our own.
 * X-Forwarded-For is appended to what came; X-Forwarded-Proto and -Host say what we saw
 * ourselves, since nothing vouches for what a client claims. Where proxies are named that are believed
 * (trusted_proxies), what these say goes on, and what others say is dropped. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"

struct writer {
    char *at, *end;
    bool full;
};

static void put(struct writer *w, const char *bytes, size_t len)
{
    if ((size_t)(w->end - w->at) < len) {
        w->full = true;
        return;
    }
    if (len) {
        memcpy(w->at, bytes, len);
        w->at += len;
    }
}

static void put_str(struct writer *w, struct str s)
{
    put(w, s.ptr, s.len);
}

#define put_text(w, text) put(w, text, sizeof(text) - 1)

static void put_field(struct writer *w, const struct http1_field *f)
{
    put_str(w, f->name);
    put_text(w, ": ");
    put_str(w, f->value);
    put_text(w, "\r\n");
}

static void put_number(struct writer *w, uint64_t n)
{
    char digits[20]; /* of a uint64_t */
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    put(w, digits + at, sizeof digits - at);
}

static void put_length(struct writer *w, uint64_t length)
{
    put_text(w, "Content-Length: ");
    put_number(w, length);
    put_text(w, "\r\n");
}

/* `carrier`: what the message came by; NULL: a connection of its own. */
static void put_via(struct writer *w, const struct carrier *carrier, int minor)
{
    if (carrier) {
        put_text(w, "Via: ");
        put_str(w, str_of(strchr(carrier->protocol, '/') + 1));
        put_text(w, " tidegate\r\n");
    } else if (minor) {
        put_text(w, "Via: 1.1 tidegate\r\n");
    } else {
        put_text(w, "Via: 1.0 tidegate\r\n");
    }
}

static ssize_t finish(struct writer *w, char *from)
{
    put_text(w, "\r\n");
    return w->full ? -ENOBUFS : w->at - from;
}

static void put_target(struct writer *w, struct str path, struct str query)
{
    put_str(w, path);
    if (query.ptr) {
        put_text(w, "?");
        put_str(w, query);
    }
}

/* What a request whose path was changed says of it. */
static void put_original(struct writer *w, const struct course *course,
                         const struct http1_head *head)
{
    put_text(w, "X-Original-URI: ");
    put_target(w, head->path, head->query);
    put_text(w, "\r\n");
    if (course->prefix.len) {
        put_text(w, "X-Forwarded-Prefix: ");
        put_str(w, course->prefix);
        put_text(w, "\r\n");
    }
}

/* HTTP/1.0 may come without a Host, HTTP/1.1 may not go without: then it is the service's name. */
static void put_request_line(struct writer *w, const struct exchange *ex,
                             const struct http1_head *head)
{
    const char *name = ex->route->service->name;
    put_str(w, head->method_text);
    put_text(w, " ");
    put_target(w, ex->course && ex->course->path.len ? ex->course->path : head->path, head->query);
    put_text(w, " HTTP/1.1\r\nHost: ");
    put_str(w, head->host.len ? head->host : str_of(name));
    put_text(w, "\r\n");
}

/* One hop less for methods that count them; other methods' field goes on as it is. */
static void put_max_forwards(struct writer *w, const struct http1_head *head,
                             const struct http1_field *f)
{
    uint64_t hops;
    bool counts = head->method == HTTP1_TRACE || head->method == HTTP1_OPTIONS;
    if (!counts || str_to_u64(f->value, &hops) || !hops) {
        put_field(w, f);
        return;
    }
    put_text(w, "Max-Forwards: ");
    put_number(w, hops - 1);
    put_text(w, "\r\n");
}

static void put_set(struct writer *w, const struct change *change)
{
    for (uint32_t i = 0; i < change->set_count; i++) {
        const struct pair *pair = &change->set[i];
        put_field(w,
                  &(struct http1_field){.name = str_of(pair->name), .value = str_of(pair->value)});
    }
}

/* `traced`: the request is part of a trace. What vendors wrote of another one (tracestate) does not
 * belong to that which begins here: W3C Trace Context, 3.2.2. */
static void put_request_fields(struct writer *w, const struct exchange *ex,
                               const struct http1_head *head, bool traced)
{
    const struct change *change = &ex->route->rules.request;
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        if (f->hop || proxy_change_drops(change, f->name) ||
            (!traced && str_is_nocase(f->name, "tracestate")) ||
            (ex->session->word == PEER_DOUBTED && str_is_nocase(f->name, "forwarded")) ||
            (ex->course && proxy_steps_hides(ex, f->name))) {
            continue;
        }
        switch (f->known) {
        case HTTP1_EXPECT:
            if (ex->client_minor == 1) {
                put_field(w, f);
            }
            break;
        case HTTP1_MAX_FORWARDS:
            put_max_forwards(w, head, f);
            break;
        case HTTP1_TRACEPARENT:
        case HTTP1_HOST:
        case HTTP1_CONTENT_LENGTH:
        case HTTP1_X_FORWARDED_FOR:
        case HTTP1_X_FORWARDED_HOST:
        case HTTP1_X_FORWARDED_PROTO:
        case HTTP1_X_CLIENT_CERT_SUBJECT: /* what is true of it is our own */
        case HTTP1_X_REQUEST_ID:
            break;
        case HTTP1_OTHER:
        case HTTP1_CONNECTION:
        case HTTP1_DATE:
        case HTTP1_KEEP_ALIVE:
        case HTTP1_PROXY_AUTHENTICATE:
        case HTTP1_PROXY_AUTHORIZATION:
        case HTTP1_PROXY_CONNECTION:
        case HTTP1_TE:
        case HTTP1_TRAILER:
        case HTTP1_TRANSFER_ENCODING:
        case HTTP1_UPGRADE:
        case HTTP1_VIA:
        case HTTP1_KNOWN:
            put_field(w, f);
            break;
        }
    }
}

static void put_forwarded_for(struct writer *w, const struct exchange *ex,
                              const struct http1_head *head)
{
    const struct session *s = ex->session;
    put_text(w, "X-Forwarded-For: ");
    for (uint32_t i = 0; i < head->field_count && s->word != PEER_DOUBTED; i++) {
        const struct http1_field *f = &head->fields[i];
        if (f->known == HTTP1_X_FORWARDED_FOR && !f->hop && f->value.len &&
            !proxy_change_drops(&ex->route->rules.request, f->name)) {
            put_str(w, f->value);
            put_text(w, ", ");
        }
    }
    char text[NET_IP_TEXT];
    const char *from = s->peer;
    if (s->borrowed) {
        net_ip_text(&s->from, text);
        from = text;
    }
    put(w, from, strlen(from));
    put_text(w, "\r\n");
}

/* What a proxy that is believed says under this name; empty: nothing. */
static struct str said(const struct exchange *ex, const struct http1_head *head,
                       enum http1_known known)
{
    const struct http1_field *f =
        ex->session->word == PEER_BELIEVED ? http1_find(head, known) : NULL;
    return f && !f->hop ? f->value : (struct str){NULL, 0};
}

/* One element of RFC 7239 on a line of its own, which goes on behind those that came. */
static void put_rfc7239(struct writer *w, const struct exchange *ex, const struct http1_head *head)
{
    const struct session *s = ex->session;
    char from[NET_IP_TEXT];
    net_ip_text(&s->from, from);
    put_text(w, "Forwarded: for=");
    put_str(w, str_of(s->from.len == 16 ? "\"[" : ""));
    put_str(w, str_of(from));
    put_str(w, str_of(s->from.len == 16 ? "]\"" : ""));
    if (head->host.len && str_find(head->host, '"') < 0 && str_find(head->host, '\\') < 0) {
        put_text(w, ";host=\"");
        put_str(w, head->host);
        put_text(w, "\"");
    }
    put_str(w, str_of(s->secure ? ";proto=https\r\n" : ";proto=http\r\n"));
}

static void put_forwarded(struct writer *w, const struct exchange *ex,
                          const struct http1_head *head)
{
    const struct change *change = &ex->route->rules.request;
    struct str proto = said(ex, head, HTTP1_X_FORWARDED_PROTO);
    struct str host = said(ex, head, HTTP1_X_FORWARDED_HOST);
    put_forwarded_for(w, ex, head);
    if (!proxy_change_drops(change, str_of("X-Forwarded-Proto"))) {
        put_text(w, "X-Forwarded-Proto: ");
        put_str(w, proto.len ? proto : str_of(ex->session->secure ? "https" : "http"));
        put_text(w, "\r\n");
    }
    host = host.len ? host : head->host;
    if (host.len && !proxy_change_drops(change, str_of("X-Forwarded-Host"))) {
        put_text(w, "X-Forwarded-Host: ");
        put_str(w, host);
        put_text(w, "\r\n");
    }
    if (ex->route->forwarded && !proxy_change_drops(change, str_of("Forwarded"))) {
        put_rfc7239(w, ex, head);
    }
    if (ex->session->tls && tls_subject(ex->session->tls)[0]) {
        put_text(w, "X-Client-Cert-Subject: ");
        put_str(w, str_of(tls_subject(ex->session->tls)));
        put_text(w, "\r\n");
    }
    put_text(w, "X-Request-Id: ");
    put(w, ex->id, strlen(ex->id));
    put_text(w, "\r\n");
}

ssize_t proxy_forward_request(const struct exchange *ex, const struct http1_head *head, char *to,
                              size_t size)
{
    struct writer w = {to, to + size, false};
    struct str trace = proxy_span_of(head);
    char traceparent[TRACEPARENT_BYTES + 1];
    put_request_line(&w, ex, head);
    put_request_fields(&w, ex, head, trace.len != 0);
    put_forwarded(&w, ex, head);
    if (ex->course && ex->course->rewritten) {
        put_original(&w, ex->course, head);
    }
    put_field(&w, &(struct http1_field){.name = str_of("traceparent"),
                                        .value = proxy_span_text(ex, trace, traceparent)});
    put_set(&w, &ex->route->rules.request);
    if (ex->course) {
        put(&w, ex->course->request, ex->course->request_len);
    }
    put_via(&w, ex->session->carrier, head->minor);
    if (head->framing == HTTP1_CHUNKED) {
        put_text(&w, "Transfer-Encoding: chunked\r\n");
    } else if (head->has_content_length) {
        put_length(&w, head->content_length);
    }
    if (ex->te_trailers) {
        put_text(&w, "TE: trailers\r\nConnection: te\r\n");
    }
    if (ex->upgrade) {
        put_text(&w, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    }
    return finish(&w, to);
}

/* What a Trailer field announces, less what will not go on. */
static void put_announced(struct writer *w, const struct exchange *ex, struct str names)
{
    struct str name;
    bool first = true;
    while (str_next(&names, ',', &name)) {
        name = str_trim(name);
        if (name.len && proxy_trailer_allowed(ex, name)) {
            put_str(w, first ? str_of("Trailer: ") : str_of(", "));
            put_str(w, name);
            first = false;
        }
    }
    if (!first) {
        put_text(w, "\r\n");
    }
}

static void put_framing(struct writer *w, const struct exchange *ex, const struct http1_head *head)
{
    bool bodiless = head->status < 200 || head->status == 204;
    if (ex->to_client == HTTP1_CHUNKED && !bodiless) {
        put_text(w, "Transfer-Encoding: chunked\r\n");
    } else if (head->has_content_length && !bodiless) {
        put_length(w, head->content_length);
    }
    if (ex->session->carrier) {
        return; /* these are about connections */
    }
    if (head->status == 101) {
        put_text(w, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    } else if (head->status >= 200 && ex->session->last) {
        put_text(w, "Connection: close\r\n");
    } else if (head->status >= 200 && ex->client_minor == 0) {
        put_text(w, "Connection: keep-alive\r\n");
    }
}

ssize_t proxy_forward_answer(const struct exchange *ex, const struct http1_head *head, char *to,
                             size_t size)
{
    struct writer w = {to, to + size, false};
    const struct change *change = &ex->route->rules.answer;
    bool final = head->status >= 200, dated = !final;
    put_text(&w, "HTTP/1.1 ");
    put_number(&w, (uint64_t)head->status);
    put_text(&w, " ");
    put_str(&w, head->reason);
    put_text(&w, "\r\n");
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        bool dropped = final && (proxy_change_drops(change, f->name) ||
                                 (ex->course && proxy_steps_drops(ex, f->name)));
        if (!f->hop && !dropped && f->known != HTTP1_CONTENT_LENGTH) {
            put_field(&w, f);
            dated = dated || f->known == HTTP1_DATE;
        } else if (final && ex->trailers && f->known == HTTP1_TRAILER) {
            put_announced(&w, ex, f->value);
        }
    }
    if (!dated) {
        const char *date = proxy_date(ex->session->proxy);
        put_text(&w, "Date: ");
        put(&w, date, strlen(date));
        put_text(&w, "\r\n");
    }
    if (final) {
        w.at += proxy_view_cookie(ex, w.at, (size_t)(w.end - w.at));
        put_set(&w, change);
        if (ex->course) {
            put(&w, ex->course->fields, ex->course->fields_len);
        }
        put_via(&w, NULL, head->minor);
    }
    put_framing(&w, ex, head);
    return finish(&w, to);
}

ssize_t proxy_forward_trailers(const struct exchange *ex, const struct http1_head *head, char *to,
                               size_t size)
{
    struct writer w = {to, to + size, false};
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (proxy_trailer_allowed(ex, head->fields[i].name)) {
            put_field(&w, &head->fields[i]);
        }
    }
    return w.at == to && !w.full ? 0 : finish(&w, to);
}
