/* docker.c: the Docker engine's table, its life, and the life of one call.
 *
 * Owns: struct docker, from engine_docker_new to the last close callback.
 * Invariants: an op is in `ops` from begin to end; while it is, it has exactly
 * one thing under way: an HTTP call, a turn of the loop (`due`), or other ops
 * that will come back to it. So closing needs to cancel the first two only, and
 * the struct is freed when `ops` is empty and both timers are closed.
 * Does not: decide anything. Outages, events and time-outs are reported. */
#include "engine/docker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

/* ---- The end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct docker *d = handle->data;
    if (--d->handles == 0) {
        docker_settings_free(&d->settings);
        mem_free(d);
    }
}

static void close_when_idle(struct docker *d)
{
    if (d->link == DOCKER_CLOSED && list_empty(&d->ops) &&
        !uv_is_closing((uv_handle_t *)&d->soon)) {
        uv_close((uv_handle_t *)&d->soon, on_handle_closed);
        uv_close((uv_handle_t *)&d->tick, on_handle_closed);
    }
}

static void docker_close(struct engine *e)
{
    struct docker *d = (struct docker *)e;
    must(d->link != DOCKER_CLOSED);
    docker_diff_stop(d);
    docker_link_close(d);
    docker_samplers_clear(d);
    for (struct list *at = d->ops.next; at != &d->ops; at = at->next) {
        struct docker_op *op = list_owner(at, struct docker_op, node);
        if (op->call) {
            net_call_cancel(op->call);
        }
    }
    close_when_idle(d);
}

/* ---- One call ---- */

void docker_op_begin(struct docker *d, struct docker_op *op, docker_fail_fn *fail)
{
    *op = (struct docker_op){.docker = d, .fail = fail};
    list_append(&d->ops, &op->node);
}

void docker_op_end(struct docker_op *op)
{
    must(!op->call);
    op->due = false;
    list_remove(&op->node);
    close_when_idle(op->docker);
}

void docker_op_fail(struct docker_op *op, int code, const char *format, ...)
{
    char text[LIMIT_REASON_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct engine_error error = {.code = code, .text = text};
    op->fail(op, &error);
}

static void step(struct docker_op *op, const struct net_answer *answer)
{
    if (op->docker->link == DOCKER_CLOSED) {
        docker_op_fail(op, -ECANCELED, "the engine was closed");
    } else {
        op->step(op, answer);
    }
}

static void on_answer(void *arg, const struct net_answer *answer)
{
    struct docker_op *op = arg;
    op->call = NULL;
    step(op, answer);
}

static struct docker_op *next_due(struct docker *d)
{
    for (struct list *at = d->ops.next; at != &d->ops; at = at->next) {
        struct docker_op *op = list_owner(at, struct docker_op, node);
        if (op->due) {
            return op;
        }
    }
    return NULL;
}

static void on_soon(uv_timer_t *timer)
{
    struct docker *d = timer->data;
    struct docker_op *op;
    while ((op = next_due(d))) {
        op->due = false;
        struct net_answer answer = {.error = op->due_error,
                                    .error_text = d->why,
                                    .body = "",
                                    .api_version = "",
                                    .content_type = ""};
        step(op, &answer);
    }
}

void docker_op_later(struct docker_op *op, int error, docker_step_fn *next)
{
    op->step = next;
    op->due = true;
    op->due_error = error;
    uv_timer_start(&op->docker->soon, on_soon, 0, 0);
}

void docker_op_call(struct docker_op *op, const struct docker_request *r, docker_step_fn *next)
{
    struct docker *d = op->docker;
    must(!op->call && !op->due);
    if (d->link != DOCKER_UP && !r->connecting) {
        docker_op_later(op, -ECONNREFUSED, next);
        return;
    }
    bool versioned = !r->connecting || r->versioned;
    char *url = mem_printf("%s%s%s", d->settings.base_url, versioned ? d->prefix : "", r->path);
    char *body = r->body ? json_text(r->body) : NULL;
    const char *headers[3] = {0};
    size_t count = 0;
    if (body) {
        headers[count++] = "Content-Type: application/json";
    }
    if (r->header) {
        headers[count++] = r->header;
    }
    struct net_request request = {
        .method = r->method,
        .url = url,
        .unix_path = d->settings.unix_path,
        .headers = headers,
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .tls = d->tls.ca || d->tls.certificate || d->tls.key ? &d->tls : NULL,
        .timeout_ms = r->timeout_ms,
        .silence_ms = r->silence_ms,
        .body_limit = LIMIT_ENGINE_BODY_BYTES,
        .on_head = r->on_head,
        .on_data = r->on_data,
    };
    op->step = next;
    int rc = net_call(d->client, &request, on_answer, op, &op->call);
    if (rc) {
        op->call = NULL;
        docker_op_later(op, rc, next);
    }
    mem_free(url);
    mem_free(body);
}

char *docker_path(const char *prefix, const char *raw, const char *suffix)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:";
    struct buf path;
    buf_init(&path, LIMIT_ENGINE_LINE_BYTES);
    buf_text(&path, prefix);
    for (const char *c = raw; *c; c++) {
        if (strchr(plain, *c)) {
            buf_append(&path, c, 1);
        } else {
            buf_printf(&path, "%%%02X", (unsigned)(unsigned char)*c);
        }
    }
    buf_text(&path, suffix);
    return buf_take(&path);
}

/* ---- The table ---- */

static void docker_open(struct engine *e)
{
    docker_link_open((struct docker *)e);
}

static const char *docker_host(const struct engine *e)
{
    return ((const struct docker *)e)->settings.host;
}

static const struct engine_kind kind = {
    .name = "docker",
    .open = docker_open,
    .create = docker_create,
    .start = docker_start,
    .inspect = docker_inspect,
    .list = docker_list,
    .stop = docker_stop,
    .remove = docker_remove,
    .sample = docker_sample,
    .logs = docker_logs,
    .others = docker_others,
    .host = docker_host,
    .follow = docker_follow,
    .close = docker_close,
};

int engine_docker_new(const struct engine_options *options, struct engine **ret_engine,
                      char **reterr)
{
    struct docker_settings settings;
    int rc = docker_settings_read(options->cluster_config, &settings, reterr);
    if (rc) {
        return rc;
    }
    struct docker *d = mem_new(sizeof *d);
    *d = (struct docker){
        .engine = {.kind = &kind, .loop = options->loop, .listener = options->listener},
        .client = options->client,
        .settings = settings,
        .tls = {.ca = settings.ca, .certificate = settings.certificate, .key = settings.key},
        .why = "not connected yet",
        .handles = 2,
    };
    list_init(&d->ops);
    uv_timer_init(options->loop, &d->tick);
    uv_timer_init(options->loop, &d->soon);
    d->tick.data = d->soon.data = d;
    *ret_engine = &d->engine;
    return 0;
}
