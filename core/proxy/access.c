/* access.c: the access log: a line for each request that was answered, or for a sample of them.
 *
 *   lines -> filling buffer -> (full, or FLUSH_MS later) -> written by libuv's threads
 *
 * Owns: a log of a generation: two buffers, the file, the timer. A request costs rendering its
 * line; writing never holds the loop up. Invariants: at most one write is under way; a line that finds
 * the filling buffer full while the other one is being written is dropped and counted. Buffers hold
 * whole lines and the file is opened for appending, so the lines of several workers never mix. What is
 * known of the request is read back from the head that is kept for another attempt. */
#include "proxy/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"
#include "proxy/inner.h"
#include "net/grpc.h"

enum {
    BUFFER_BYTES = 64 << 10,
    LINE_BYTES = 8 << 10,
    TEXT_BYTES = 500, /* kept of one text of a client's, with escapes */
    TARGET_BYTES = 2000,
    FLUSH_MS = 500
};

struct access {
    struct proxy *proxy; /* NULL: it let go of the log, which only writes what it has */
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_fs_t write;
    char *path;
    double sample;
    int fd;
    bool combined, writing, reopen;
    uint32_t len, written_len, filling;
    char buffers[2][BUFFER_BYTES];
};

/* What a line says. */
struct entry {
    const struct session *session;
    struct str method, target, host, referer, agent, trace, user;
    const char *id, *service, *backend, *grpc;
    uint64_t bytes, took_us;
    unsigned tries;
    int status;
    bool cut;
};

struct line {
    char text[LINE_BYTES];
    size_t len;
};

/* ---- lines ------------------------------------------------------------------------------- */

static void add(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->text + l->len, sizeof l->text - l->len, format, args);
    va_end(args);
    l->len += n > 0 ? (size_t)n : 0;
    l->len = l->len < sizeof l->text ? l->len : sizeof l->text - 1;
}

/* Whatever is no plain ASCII becomes `escape` and two hexadecimal digits. All texts of a line together
 * are shorter than a line, so it is never cut. */
static void add_escaped(struct line *l, struct str s, const char *escape, size_t most)
{
    size_t end = l->len + most;
    for (size_t i = 0; i < s.len && l->len + 6 <= end; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
            add(l, "%s%02x", escape, c);
        } else {
            l->text[l->len++] = (char)c;
        }
    }
}

static void add_text(struct line *l, const char *key, struct str s)
{
    if (s.len) {
        add(l, ",\"%s\":\"", key);
        add_escaped(l, s, "\\u00", str_same(key, "path") ? TARGET_BYTES : TEXT_BYTES);
        add(l, "\"");
    }
}

static const char *protocol_of(const struct session *s)
{
    return s->carrier ? s->carrier->protocol : "HTTP/1.1";
}

static void render_json(struct line *l, const struct entry *e)
{
    uint64_t ms = clock_wall_ms();
    time_t seconds = (time_t)(ms / 1000u);
    struct tm tm;
    char when[32]; /* a date and a time */
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    add(l, "{\"time\":\"%s.%03uZ\",\"client\":\"%s\",\"status\":%d,\"bytes\":%llu,\"ms\":%.3f",
        when, (unsigned)(ms % 1000u), e->session->peer, e->status, (unsigned long long)e->bytes,
        (double)e->took_us / 1000.0);
    add_text(l, "method", e->method);
    add_text(l, "protocol", str_of(protocol_of(e->session)));
    add_text(l, "host", e->host);
    add_text(l, "path", e->target);
    add_text(l, "service", str_of(e->service));
    add_text(l, "backend", str_of(e->backend));
    add_text(l, "request_id", str_of(e->id));
    add_text(l, "trace_id", e->trace);
    add_text(l, "user", e->user);
    add_text(l, "grpc_status", str_of(e->grpc));
    add_text(l, "user_agent", e->agent);
    add_text(l, "referer", e->referer);
    add(l, ",\"retries\":%u%s}\n", e->tries, e->cut ? ",\"cut\":true" : "");
}

static void add_quoted(struct line *l, struct str s)
{
    add(l, " \"");
    add_escaped(l, s.len ? s : str_of("-"), "\\x", TEXT_BYTES);
    add(l, "\"");
}

/* Apache's "combined", and behind it what is customary there: the request's id, quoted as the others. */
static void render_combined(struct line *l, const struct entry *e)
{
    time_t seconds = (time_t)(clock_wall_ms() / 1000u);
    struct tm tm;
    char when[40]; /* a date, a time and a zone */
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof when, "%d/%b/%Y:%H:%M:%S +0000", &tm);
    add(l, "%s - ", e->session->peer);
    add_escaped(l, e->user.len ? e->user : str_of("-"), "\\x", TEXT_BYTES);
    add(l, " [%s] \"", when);
    add_escaped(l, e->method.len ? e->method : str_of("-"), "\\x", TEXT_BYTES);
    add(l, " ");
    add_escaped(l, e->target.len ? e->target : str_of("-"), "\\x", TARGET_BYTES);
    add(l, " %s\" %d %llu", protocol_of(e->session), e->status, (unsigned long long)e->bytes);
    add_quoted(l, e->referer);
    add_quoted(l, e->agent);
    add_quoted(l, str_of(e->id));
    add(l, "\n");
}

/* ---- writing ----------------------------------------------------------------------------- */

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
    return fd < 0 ? -errno : fd;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct access *a = handle->data;
    close(a->fd);
    mem_free(a->path);
    mem_free(a);
}

static void flush(struct access *a);

static void on_written(uv_fs_t *request)
{
    struct access *a = request->data;
    bool whole = request->result == (ssize_t)a->written_len;
    uv_fs_req_cleanup(request);
    a->writing = false;
    if (!whole && a->proxy) {
        board_add(&a->proxy->numbers->access_lost, 1);
        proxy_fact(a->proxy, "access_log", "could not be written: lines were lost");
    }
    if (a->reopen && a->proxy) {
        proxy_access_reopen(a);
    }
    if (a->len) {
        flush(a);
    }
    if (!a->proxy && !a->writing) {
        uv_close((uv_handle_t *)&a->timer, on_timer_closed);
    }
}

static void flush(struct access *a)
{
    if (a->writing || !a->len) {
        return;
    }
    uv_buf_t bytes = uv_buf_init(a->buffers[a->filling], a->len);
    a->written_len = a->len;
    a->write.data = a;
    if (a->proxy) {
        a->proxy->uv_due = true;
    }
    if (!uv_fs_write(a->loop, &a->write, a->fd, &bytes, 1, -1, on_written)) {
        a->writing = true;
        a->filling = !a->filling;
    }
    a->len = 0;
}

static void on_timer(uv_timer_t *timer)
{
    flush(timer->data);
}

static void put(struct access *a, const struct line *l)
{
    if (a->len + l->len > BUFFER_BYTES) {
        flush(a);
    }
    if (a->len + l->len > BUFFER_BYTES) {
        board_add(&a->proxy->numbers->access_lost, 1);
        return;
    }
    if (!a->len) {
        a->proxy->uv_due = true;
        uv_timer_start(&a->timer, on_timer, FLUSH_MS, 0);
    }
    memcpy(a->buffers[a->filling] + a->len, l->text, l->len);
    a->len += (uint32_t)l->len;
}

static void write_entry(struct access *a, const struct entry *e)
{
    struct line l;
    l.len = 0;
    if (a->combined) {
        render_combined(&l, e);
    } else {
        render_json(&l, e);
    }
    put(a, &l);
}

static bool chosen(const struct access *a)
{
    return a && (a->sample >= 1 || (double)(proxy_random(a->proxy) >> 11) * 0x1p-53 < a->sample);
}

/* ---- what is told ------------------------------------------------------------------------ */

/* Version 00: "00-" trace "-" parent "-" flags. */
static struct str trace_of(struct str traceparent)
{
    return traceparent.len >= 35 ? str_sub(traceparent, 3, 35) : (struct str){NULL, 0};
}

/* Takes the head that was written for the backend apart again. */
static void read_head(struct str bytes, bool rewritten, struct entry *e)
{
    struct str line;
    if (!str_next(&bytes, '\n', &line)) {
        return;
    }
    str_next(&line, ' ', &e->method);
    str_next(&line, ' ', &e->target);
    while (str_next(&bytes, '\n', &line) && line.len > 1) {
        struct str name;
        if (!str_next(&line, ':', &name)) {
            continue;
        }
        struct str value = str_trim(str_sub(line, 0, line.len - 1));
        if (str_is_nocase(name, "host")) {
            e->host = value;
        } else if (str_is_nocase(name, "user-agent")) {
            e->agent = value;
        } else if (str_is_nocase(name, "referer")) {
            e->referer = value;
        } else if (str_is_nocase(name, "traceparent")) {
            e->trace = trace_of(value);
        } else if (rewritten && str_is_nocase(name, "x-original-uri")) {
            e->target = value;
        }
    }
}

void proxy_access_exchange(struct exchange *ex, bool whole)
{
    struct access *a = ex->generation->access;
    struct proxy *p = ex->session->proxy;
    if (ex->session->carrier == &proxy_inner_carrier || !chosen(a)) {
        return;
    }
    proxy_now(p);
    struct entry e = {
        .session = ex->session,
        .id = ex->id,
        .service = ex->route->service->name,
        .backend = ex->backend ? ex->backend->id : NULL,
        .user = ex->course ? ex->course->user : (struct str){NULL, 0},
        .grpc = ex->grpc ? grpc_status_name(ex->grpc_status) : NULL,
        .bytes = ex->sent_bytes,
        .took_us = p->now_us - ex->began_us,
        .tries = ex->tries,
        .status = ex->status ? ex->status : 499,
        .cut = !whole,
    };
    bool rewritten = ex->course && ex->course->rewritten;
    read_head((struct str){ex->request->bytes, ex->request->len}, rewritten, &e);
    write_entry(a, &e);
}

void proxy_access_refused(struct session *s, const struct http1_head *head, int status,
                          const char *id)
{
    struct access *a = s->proxy->current ? s->proxy->current->access : NULL;
    if (!chosen(a)) {
        return;
    }
    struct entry e = {.session = s, .id = id, .status = status};
    if (head) {
        const struct http1_field *agent = http1_find_name(head, "user-agent");
        e.method = head->method_text;
        e.target = head->target;
        e.host = head->host;
        e.agent = agent ? agent->value : e.agent;
    }
    write_entry(a, &e);
}

/* ---- life -------------------------------------------------------------------------------- */

int proxy_access_new(struct proxy *p, const struct cJSON *json, struct access **ret_access,
                     char **reterr)
{
    const char *path = json_str(json, "path", "");
    *ret_access = NULL;
    if (!path[0]) {
        return 0;
    }
    int fd = open_file(path);
    if (fd < 0) {
        *reterr = mem_printf("access_log: %s: %s", path, err_text(fd));
        return fd;
    }
    struct access *a = mem_new(sizeof *a);
    a->proxy = p;
    a->fd = fd;
    a->path = mem_copy(path);
    a->combined = !strcmp(json_str(json, "format", "json"), "combined");
    a->sample = json_num(json, "sample", 1);
    a->loop = p->options.loop;
    uv_timer_init(a->loop, &a->timer);
    a->timer.data = a;
    *ret_access = a;
    return 0;
}

void proxy_access_free(struct access *a)
{
    if (!a) {
        return;
    }
    uv_timer_stop(&a->timer);
    flush(a);
    a->proxy->uv_due = true;
    a->proxy = NULL;
    if (!a->writing) {
        uv_close((uv_handle_t *)&a->timer, on_timer_closed);
    }
}

void proxy_access_reopen(struct access *a)
{
    if (!a || a->writing) {
        if (a) {
            a->reopen = true;
        }
        return;
    }
    int fd = open_file(a->path);
    a->reopen = false;
    if (fd < 0) {
        proxy_fact(a->proxy, "access_log", "could not be opened again: going on with the old file");
        return;
    }
    close(a->fd);
    a->fd = fd;
}
