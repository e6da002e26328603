/* docker_inspect.c: one container, or all of our cluster; see engine.h.
 *
 * A list tells neither pid nor health nor exit code, so each of its members is
 * inspected, a few at a time. One that does not answer in time (Docker holds a
 * container's lock while it starts or stops) stays as the list showed it, so
 * that it does not hide all others. */
#include "engine/docker.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    CALL_TIMEOUT_MS = 5000,
    PARALLEL = 8
};

/* ---- inspect ---- */

struct inspect {
    struct docker_op op;
    engine_inspected_fn *done;
    void *arg;
};

static void inspect_end(struct inspect *i, const struct engine_error *error,
                        const struct engine_instance *instance)
{
    docker_op_end(&i->op);
    i->done(i->arg, error, instance);
    mem_free(i);
}

static void inspect_fail(struct docker_op *op, const struct engine_error *error)
{
    inspect_end((struct inspect *)op, error, NULL);
}

static void inspected(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_container c;
    if (!docker_answer_ok(answer) ||
        !docker_container_read(op->docker, json_parse(answer->body, answer->body_len), &c)) {
        docker_op_refused(op, answer);
        return;
    }
    struct engine_error none = {.code = 0, .text = ""};
    inspect_end((struct inspect *)op, &none, &c.instance);
    docker_container_free(&c);
}

static void call_inspect(struct docker_op *op, const char *id, docker_step_fn *step)
{
    char *path = docker_path("/containers/", id, "/json");
    struct docker_request request = {.path = path, .timeout_ms = CALL_TIMEOUT_MS};
    docker_op_call(op, &request, step);
    mem_free(path);
}

int docker_inspect(struct engine *e, const char *id, engine_inspected_fn *done, void *arg)
{
    struct inspect *i = mem_new(sizeof *i);
    *i = (struct inspect){.done = done, .arg = arg};
    docker_op_begin((struct docker *)e, &i->op, inspect_fail);
    call_inspect(&i->op, id, inspected);
    return 0;
}

/* ---- list ---- */

struct list_call {
    struct docker_op op;
    engine_listed_fn *done;
    void *arg;
    struct cJSON *listed;           /* array */
    const struct cJSON *next;       /* of it, to be inspected */
    struct docker_container *found; /* fixed places: instances point into them */
    size_t count;
    unsigned under_way;
    struct docker_fault fault; /* the first that counts; code 0 = none */
};

struct member { /* inspection of one of them */
    struct docker_op op;
    struct list_call *list;
    const struct cJSON *listed;
};

static void list_end(struct list_call *l, const struct engine_error *error,
                     const struct engine_instance *instances, size_t count)
{
    docker_op_end(&l->op);
    l->done(l->arg, error, instances, count);
    for (size_t i = 0; i < l->count; i++) {
        docker_container_free(&l->found[i]);
    }
    mem_free(l->found);
    json_free(l->listed);
    mem_free(l);
}

static void list_fail(struct docker_op *op, const struct engine_error *error)
{
    list_end((struct list_call *)op, error, NULL, 0);
}

static void list_finish(struct list_call *l)
{
    struct engine_error error = {.code = l->fault.code, .text = l->fault.text};
    if (error.code) {
        list_end(l, &error, NULL, 0);
        return;
    }
    struct engine_instance *instances = mem_array(l->count ? l->count : 1, sizeof *instances);
    for (size_t i = 0; i < l->count; i++) {
        instances[i] = l->found[i].instance;
    }
    list_end(l, &error, instances, l->count);
    mem_free(instances);
}

static void list_go_on(struct list_call *l);

/* An inspection is over. Only the last one ends the list. */
static void member_end(struct member *m)
{
    struct list_call *l = m->list;
    docker_op_end(&m->op);
    mem_free(m);
    l->under_way--;
    list_go_on(l);
}

static void member_fail(struct docker_op *op, const struct engine_error *error)
{
    struct member *m = (struct member *)op;
    struct list_call *l = m->list;
    if (error->code == -ETIMEDOUT) {
        l->count += docker_container_read_listed(m->listed, &l->found[l->count]);
    } else if (error->code != -ENOENT && !l->fault.code) { /* gone meanwhile is fine */
        l->fault.code = error->code;
        str_copy(l->fault.text, sizeof l->fault.text, error->text);
        l->next = NULL;
    }
    member_end(m);
}

static void member_inspected(struct docker_op *op, const struct net_answer *answer)
{
    struct member *m = (struct member *)op;
    struct list_call *l = m->list;
    if (!docker_answer_ok(answer) ||
        !docker_container_read(op->docker, json_parse(answer->body, answer->body_len),
                               &l->found[l->count])) {
        docker_op_refused(op, answer);
        return;
    }
    l->count++;
    member_end(m);
}

static void list_go_on(struct list_call *l)
{
    while (l->next && l->under_way < PARALLEL) {
        struct member *m = mem_new(sizeof *m);
        *m = (struct member){.list = l, .listed = l->next};
        l->next = json_next(l->next);
        l->under_way++;
        docker_op_begin(l->op.docker, &m->op, member_fail);
        call_inspect(&m->op, json_str(m->listed, "Id", ""), member_inspected);
    }
    if (!l->under_way) {
        list_finish(l);
    }
}

static void listed(struct docker_op *op, const struct net_answer *answer)
{
    struct list_call *l = (struct list_call *)op;
    if (!docker_answer_ok(answer)) {
        docker_op_refused(op, answer);
        return;
    }
    /* An object taken for an empty list would say that all instances are gone. */
    bool array = str_starts(str_trim((struct str){answer->body, answer->body_len}), "[");
    l->listed = array ? json_parse(answer->body, answer->body_len) : NULL;
    if (!l->listed) {
        docker_op_fail(op, -EAGAIN, "list: the answer is not a JSON array");
        return;
    }
    l->found = mem_array(json_count(l->listed) + 1, sizeof *l->found);
    l->next = json_first(l->listed);
    list_go_on(l);
}

int docker_list(struct engine *e, engine_listed_fn *done, void *arg)
{
    struct docker *d = (struct docker *)e;
    struct list_call *l = mem_new(sizeof *l);
    *l = (struct list_call){.done = done, .arg = arg};
    docker_op_begin(d, &l->op, list_fail);
    char *filters = mem_printf("{\"label\":[\"tidegate.cluster=%s\"]}", d->settings.cluster);
    char *path = docker_path("/containers/json?all=1&filters=", filters, "");
    struct docker_request request = {.path = path, .timeout_ms = CALL_TIMEOUT_MS};
    docker_op_call(&l->op, &request, listed);
    mem_free(path);
    mem_free(filters);
    return 0;
}
