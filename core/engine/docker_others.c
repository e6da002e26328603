/* docker_others.c: containers that people start themselves; see engine.h.
 *
 * Called by: who makes backends of labelled containers.
 * Invariants: a list tells all that is needed, so that nothing is inspected; the stream has only the
 * events that change something, as each health check of a container is three others. It is a stream of
 * its own: its filters are wider than those of our own containers, and it is there only while wanted.
 * Does not: read what the engine says of them; that is docker_others_read.c. */
#include "engine/docker.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    LIST_TIMEOUT_MS = 5000,
    HTTP_OK = 200
};

/* ---- Listing ----------------------------------------------------------------------------- */

struct others {
    struct docker_op op;
    engine_others_fn *done;
    void *arg;
    char *prefix;
};

static void others_end(struct others *o, const struct engine_error *error,
                       const struct cJSON *others)
{
    docker_op_end(&o->op);
    o->done(o->arg, error, others);
    mem_free(o->prefix);
    mem_free(o);
}

static void others_fail(struct docker_op *op, const struct engine_error *error)
{
    others_end((struct others *)op, error, NULL);
}

static void listed(struct docker_op *op, const struct net_answer *answer)
{
    struct others *o = (struct others *)op;
    if (!docker_answer_ok(answer)) {
        docker_op_refused(op, answer);
        return;
    }
    struct cJSON *others = docker_others_read(answer->body, answer->body_len, o->prefix);
    if (!others) {
        docker_op_fail(op, -EAGAIN, "list: the answer is not a JSON array");
        return;
    }
    struct engine_error none = {.code = 0, .text = ""};
    others_end(o, &none, others);
    json_free(others);
}

int docker_others(struct engine *e, const char *prefix, engine_others_fn *done, void *arg)
{
    struct others *o = mem_new(sizeof *o);
    *o = (struct others){.done = done, .arg = arg, .prefix = mem_copy(prefix)};
    docker_op_begin((struct docker *)e, &o->op, others_fail);
    struct docker_request request = {.path = "/containers/json?all=1",
                                     .timeout_ms = LIST_TIMEOUT_MS};
    docker_op_call(&o->op, &request, listed);
    return 0;
}

/* ---- Following --------------------------------------------------------------------------- */

struct docker_follow {
    struct docker_op op;
    struct docker_lines lines;
    bool stands;
};

/* {"type":["container","network"],"event":["start",...]} */
static char *follow_path(const struct docker *d)
{
    struct cJSON *filters = json_object(), *list;
    json_set(filters, "type", list = json_array());
    json_add_str(list, "container");
    json_add_str(list, "network");
    if (!d->podman) { /* whose filter by event does not know its own words */
        json_set(filters, "event", list = json_array());
        docker_follow_actions(list);
    }
    char *text = json_text(filters);
    char *path = docker_path("/events?filters=", text, "");
    json_free(filters);
    mem_free(text);
    return path;
}

static void on_line(void *arg, const char *line, size_t len)
{
    struct docker *d = arg;
    struct cJSON *json;
    enum engine_other_kind kind;
    const char *id;
    if (d->follow && docker_follow_read(line, len, &json, &kind, &id)) {
        d->engine.listener.other(d->engine.listener.arg, kind, id);
        json_free(json);
    }
}

static void on_head(void *arg, int status)
{
    struct docker_follow *f = arg;
    struct docker *d = f->op.docker;
    f->stands = status == HTTP_OK;
    if (d->follow == f && f->stands) {
        d->engine.listener.other(d->engine.listener.arg, ENGINE_OTHER_FOLLOWED, "");
    }
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct docker_follow *f = arg;
    struct docker *d = f->op.docker;
    if (d->follow == f && f->stands) {
        docker_lines_feed(&f->lines, bytes, len, on_line, d);
    }
}

static void follow_free(struct docker_follow *f)
{
    docker_op_end(&f->op);
    docker_lines_free(&f->lines);
    mem_free(f);
}

static void follow_fail(struct docker_op *op, const struct engine_error *error)
{
    struct docker *d = op->docker;
    (void)error; /* only when the engine is closed */
    d->follow = d->follow == (struct docker_follow *)op ? NULL : d->follow;
    follow_free((struct docker_follow *)op);
}

static void follow_ended(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_follow *f = (struct docker_follow *)op;
    struct docker *d = op->docker;
    bool current = d->follow == f;
    struct docker_fault fault = {0};
    if (!docker_answer_ok(answer)) {
        docker_fault_of(answer, &fault);
    }
    follow_free(f);
    if (current) {
        d->follow = NULL;
        log_warn("events of containers end", "why=%s", *fault.text ? fault.text : "by the engine");
        d->engine.listener.other(d->engine.listener.arg, ENGINE_OTHER_LOST, "");
    }
}

void docker_follow_start(struct docker *d)
{
    if (!d->following || d->follow || d->link != DOCKER_UP || !d->engine.listener.other) {
        return;
    }
    struct docker_follow *f = mem_new(sizeof *f);
    docker_lines_init(&f->lines);
    docker_op_begin(d, &f->op, follow_fail);
    d->follow = f;
    char *path = follow_path(d);
    struct docker_request request = {.path = path, .on_head = on_head, .on_data = on_data};
    docker_op_call(&f->op, &request, follow_ended);
    mem_free(path);
}

void docker_follow_stop(struct docker *d)
{
    struct docker_follow *f = d->follow;
    d->follow = NULL;
    if (f && f->op.call) {
        net_call_cancel(f->op.call);
    }
}

void docker_follow(struct engine *e, bool on)
{
    struct docker *d = (struct docker *)e;
    d->following = on;
    if (on) {
        docker_follow_start(d);
    } else {
        docker_follow_stop(d);
    }
}
