/* docker_calls.c: start, stop, remove and logs of one container; see engine.h
 * and docker.h. */
#include "engine/docker.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    START_TIMEOUT_MS = 30000,
    REMOVE_TIMEOUT_MS = 30000,
    STOP_EXTRA_MS =
        30000, /* beyond the grace; early 23.0 and 24.0 kill at once when the client leaves */
    INSPECT_TIMEOUT_MS = 5000,
    LOGS_TIMEOUT_MS = 10000,
};

/* ---- start, stop, remove ---- */

struct simple {
    struct docker_op op;
    engine_done_fn *done;
    void *arg;
};

static void simple_fail(struct docker_op *op, const struct engine_error *error)
{
    struct simple *s = (struct simple *)op;
    docker_op_end(op);
    s->done(s->arg, error);
    mem_free(s);
}

static void simple_done(struct docker_op *op, const struct net_answer *answer)
{
    if (docker_answer_ok(answer)) {
        struct engine_error none = {.code = 0, .text = ""};
        simple_fail(op, &none);
    } else {
        docker_op_refused(op, answer);
    }
}

/* Takes `path`. */
static int post(struct engine *e, char *path, uint32_t timeout_ms, engine_done_fn *done, void *arg)
{
    struct simple *s = mem_new(sizeof *s);
    *s = (struct simple){.done = done, .arg = arg};
    struct docker_request request = {.method = "POST", .path = path, .timeout_ms = timeout_ms};
    docker_op_begin((struct docker *)e, &s->op, simple_fail);
    docker_op_call(&s->op, &request, simple_done);
    mem_free(path);
    return 0;
}

int docker_start(struct engine *e, const char *id, engine_done_fn *done, void *arg)
{
    return post(e, docker_path("/containers/", id, "/start"), START_TIMEOUT_MS, done, arg);
}

int docker_stop(struct engine *e, const char *id, uint32_t timeout_s, engine_done_fn *done,
                void *arg)
{
    char *suffix = mem_printf("/stop?t=%u", timeout_s);
    char *path = docker_path("/containers/", id, suffix);
    mem_free(suffix);
    uint64_t timeout_ms = (uint64_t)timeout_s * 1000 + STOP_EXTRA_MS;
    return post(e, path, timeout_ms > INT32_MAX ? INT32_MAX : (uint32_t)timeout_ms, done, arg);
}

struct removal {
    struct docker_op op;
    engine_done_fn *done;
    void *arg;
    char *id;
};

static void removal_fail(struct docker_op *op, const struct engine_error *error)
{
    struct removal *r = (struct removal *)op;
    docker_op_end(op);
    r->done(r->arg, error);
    mem_free(r->id);
    mem_free(r);
}

static void removed(struct docker_op *op, const struct net_answer *answer)
{
    /* Gone already, or on its way out by another's hand, is as good. */
    if (docker_answer_ok(answer) || (!answer->error && answer->status == 404) ||
        (!answer->error && strstr(answer->body, "is already in progress"))) {
        struct engine_error none = {.code = 0, .text = ""};
        removal_fail(op, &none);
    } else {
        docker_op_refused(op, answer);
    }
}

static void call_delete(struct removal *r)
{
    char *path = docker_path("/containers/", r->id, "?force=1&v=1");
    struct docker_request request = {
        .method = "DELETE", .path = path, .timeout_ms = REMOVE_TIMEOUT_MS};
    docker_op_call(&r->op, &request, removed);
    mem_free(path);
}

/* Whatever came of it: what does not run cannot be killed. */
static void killed(struct docker_op *op, const struct net_answer *answer)
{
    (void)answer;
    call_delete((struct removal *)op);
}

int docker_remove(struct engine *e, const char *id, engine_done_fn *done, void *arg)
{
    struct docker *d = (struct docker *)e;
    struct removal *r = mem_new(sizeof *r);
    *r = (struct removal){.done = done, .arg = arg, .id = mem_copy(id)};
    docker_op_begin(d, &r->op, removal_fail);
    if (!d->podman) {
        call_delete(r);
        return 0;
    }
    /* Podman 4.3 removes one whose stop is under way at once, and forgets to end its process. */
    char *path = docker_path("/containers/", id, "/kill");
    struct docker_request request = {
        .method = "POST", .path = path, .timeout_ms = REMOVE_TIMEOUT_MS};
    docker_op_call(&r->op, &request, killed);
    mem_free(path);
    return 0;
}

/* ---- logs ---- */

struct logs {
    struct docker_op op;
    engine_logs_fn *done;
    void *arg;
    char *id;
    uint32_t lines;
    bool tty;
};

static void logs_end(struct logs *l, const struct engine_error *error, const char *text, size_t len)
{
    docker_op_end(&l->op);
    l->done(l->arg, error, text, len);
    mem_free(l->id);
    mem_free(l);
}

static void logs_fail(struct docker_op *op, const struct engine_error *error)
{
    logs_end((struct logs *)op, error, "", 0);
}

/* Takes the frames off: {stream 0..2, 0, 0, 0, length big endian} and so many bytes. What does not
 * look like a frame goes through as it is. */
static void unframe(const char *bytes, size_t len, struct buf *to)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;
    while (end - at >= 8 && at[0] <= 2 && !at[1] && !at[2] && !at[3]) {
        size_t size = (size_t)at[4] << 24 | (size_t)at[5] << 16 | (size_t)at[6] << 8 | at[7];
        at += 8;
        if (size > (size_t)(end - at)) {
            size = (size_t)(end - at); /* cut off */
        }
        buf_append(to, at, size);
        at += size;
    }
    buf_append(to, at, (size_t)(end - at));
}

static void logs_came(struct docker_op *op, const struct net_answer *answer)
{
    struct logs *l = (struct logs *)op;
    if (!docker_answer_ok(answer)) {
        docker_op_refused(op, answer);
        return;
    }
    struct engine_error none = {.code = 0, .text = ""};
    if (l->tty) {
        logs_end(l, &none, answer->body, answer->body_len);
        return;
    }
    struct buf text;
    buf_init(&text, LIMIT_ENGINE_BODY_BYTES);
    unframe(answer->body, answer->body_len, &text);
    logs_end(l, &none, buf_str(&text), text.len);
    buf_free(&text);
}

/* Whether the stream has frames is told by the container only, not by the answer (before 1.42). */
static void logs_inspected(struct docker_op *op, const struct net_answer *answer)
{
    struct logs *l = (struct logs *)op;
    if (!docker_answer_ok(answer)) {
        docker_op_refused(op, answer);
        return;
    }
    struct cJSON *json = json_parse(answer->body, answer->body_len);
    l->tty = json_bool(json_get(json, "Config"), "Tty", false);
    json_free(json);
    char *suffix = mem_printf("/logs?stdout=1&stderr=1&tail=%u", l->lines);
    char *path = docker_path("/containers/", l->id, suffix);
    struct docker_request request = {.path = path, .timeout_ms = LOGS_TIMEOUT_MS};
    docker_op_call(op, &request, logs_came);
    mem_free(path);
    mem_free(suffix);
}

int docker_logs(struct engine *e, const char *id, uint32_t lines, engine_logs_fn *done, void *arg)
{
    struct logs *l = mem_new(sizeof *l);
    *l = (struct logs){.done = done, .arg = arg, .id = mem_copy(id), .lines = lines};
    char *path = docker_path("/containers/", id, "/json");
    struct docker_request request = {.path = path, .timeout_ms = INSPECT_TIMEOUT_MS};
    docker_op_begin((struct docker *)e, &l->op, logs_fail);
    docker_op_call(&l->op, &request, logs_inspected);
    mem_free(path);
    return 0;
}
