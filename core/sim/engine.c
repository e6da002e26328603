/* engine.c: the `sim` engine: instances that are records, and healthy a start-up time after their start.
 *
 * Owns: containers and calls under way. Called by: fleet through the table, sim/run.c for answers.
 * Invariants: no call is answered before sim_engine_answer, so never re-entrantly. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "sim/private.h"
#include "base/ban.h"

enum {
    CONTAINERS = 2048,
    CALLS = 8192
};

enum call_kind {
    CALL_DONE,
    CALL_CREATED,
    CALL_INSPECTED,
    CALL_LISTED,
    CALL_SAMPLED,
    CALL_LOGS,
    CALL_KINDS
};

struct call {
    enum call_kind kind;
    void *arg;
    struct sim_container *of; /* NULL: there was none */
    union engine_callback on;
};

struct sim_engine {
    struct engine head;
    uint64_t startup_ms, now_ms;
    unsigned most; /* containers in use are below it */
    struct sim_container all[CONTAINERS];
    size_t first, count; /* calls: a ring */
    struct call calls[CALLS];
};

static struct sim_engine *of(struct engine *head)
{
    return (struct sim_engine *)(void *)head;
}

static struct sim_container *find(struct sim_engine *e, const char *id)
{
    char *end;
    unsigned long at = strtoul(id, &end, 10);
    if (end != id && !*end) {
        return at < e->most && e->all[at].used ? &e->all[at] : NULL;
    }
    for (unsigned i = 0; i < e->most; i++) {
        if (e->all[i].used && str_same(e->all[i].name, id)) {
            return &e->all[i];
        }
    }
    return NULL;
}

static struct call *add(struct sim_engine *e, enum call_kind kind, void *arg)
{
    must(e->count < CALLS);
    struct call *call = &e->calls[(e->first + e->count++) % CALLS];
    *call = (struct call){.kind = kind, .arg = arg};
    return call;
}

static void open_it(struct engine *head)
{
    (void)head;
}

static int create(struct engine *head, const struct engine_spec *spec, engine_created_fn *done,
                  void *arg)
{
    struct sim_engine *e = of(head);
    unsigned at = 0;
    while (at < e->most && e->all[at].used) {
        at++;
    }
    if (at == CONTAINERS) {
        return -ENOSPC;
    }
    e->most = at == e->most ? at + 1 : e->most;
    struct sim_container *c = &e->all[at];
    *c = (struct sim_container){
        .used = true, .serial = spec->serial, .slot = spec->slot, .generation = spec->generation};
    snprintf(c->id, sizeof c->id, "%u", at);
    snprintf(c->address, sizeof c->address, "10.0.%u.%u:8080", at / 250, at % 250 + 1);
    str_copy(c->name, sizeof c->name, spec->name);
    str_copy(c->service, sizeof c->service, spec->service);
    str_copy(c->spec_hash, sizeof c->spec_hash, spec->spec_hash);
    struct call *call = add(e, CALL_CREATED, arg);
    call->of = c;
    call->on.created = done;
    return 0;
}

static int start(struct engine *head, const char *id, engine_done_fn *done, void *arg)
{
    struct sim_engine *e = of(head);
    struct call *call = add(e, CALL_DONE, arg);
    call->of = find(e, id);
    call->on.done = done;
    if (call->of) {
        call->of->running = true;
        call->of->ready_ms = e->now_ms + e->startup_ms;
    }
    return 0;
}

static int inspect(struct engine *head, const char *id, engine_inspected_fn *done, void *arg)
{
    struct call *call = add(of(head), CALL_INSPECTED, arg);
    call->of = find(of(head), id);
    call->on.inspected = done;
    return 0;
}

static int list(struct engine *head, engine_listed_fn *done, void *arg)
{
    add(of(head), CALL_LISTED, arg)->on.listed = done;
    return 0;
}

static int stop(struct engine *head, const char *id, uint32_t timeout_s, engine_done_fn *done,
                void *arg)
{
    (void)timeout_s;
    struct sim_container *c = find(of(head), id);
    struct call *call = add(of(head), CALL_DONE, arg);
    call->of = c;
    call->on.done = done;
    if (c) {
        c->running = c->healthy = c->serving = false;
    }
    return 0;
}

static int remove_it(struct engine *head, const char *id, engine_done_fn *done, void *arg)
{
    struct sim_container *c = find(of(head), id);
    struct call *call = add(of(head), CALL_DONE, arg);
    call->of = c;
    call->on.done = done;
    if (c) {
        c->used = false;
    }
    return 0;
}

static int sample(struct engine *head, const char *id, engine_sampled_fn *done, void *arg)
{
    struct call *call = add(of(head), CALL_SAMPLED, arg);
    call->of = find(of(head), id);
    call->on.sampled = done;
    return 0;
}

static int logs(struct engine *head, const char *id, uint32_t lines, engine_logs_fn *done,
                void *arg)
{
    (void)id;
    (void)lines;
    add(of(head), CALL_LOGS, arg)->on.logs = done;
    return 0;
}

static const struct engine_kind KIND = {
    .name = "sim",
    .open = open_it,
    .create = create,
    .start = start,
    .inspect = inspect,
    .list = list,
    .stop = stop,
    .remove = remove_it,
    .sample = sample,
    .logs = logs,
    .close = open_it,
};

struct sim_engine *sim_engine_new(uint64_t startup_ms, const struct engine_listener *listener)
{
    struct sim_engine *e = mem_new(sizeof *e);
    e->head.kind = &KIND;
    e->head.listener = *listener;
    e->startup_ms = startup_ms;
    return e;
}

void sim_engine_free(struct sim_engine *e)
{
    mem_free(e);
}

struct engine *sim_engine_head(struct sim_engine *e)
{
    return &e->head;
}

/* ---- Answers ---- */

static struct engine_instance described(const struct sim_container *c)
{
    return (struct engine_instance){
        .id = c->id,
        .name = c->name,
        .service = c->service,
        .spec_hash = c->spec_hash,
        .serial = c->serial,
        .slot = c->slot,
        .generation = c->generation,
        .state = c->running    ? ENGINE_RUNNING
                 : c->ready_ms ? ENGINE_EXITED
                               : ENGINE_CREATED,
        .health = c->healthy ? ENGINE_HEALTHY : ENGINE_HEALTH_STARTING,
        .health_output = "",
        .address = c->running ? c->address : "",
        .error = "",
    };
}

static void answer_list(struct sim_engine *e, const struct call *call,
                        const struct engine_error *error)
{
    struct engine_instance *seen = mem_array(e->most + 1, sizeof *seen);
    size_t count = 0;
    for (unsigned i = 0; i < e->most; i++) {
        if (e->all[i].used) {
            seen[count++] = described(&e->all[i]);
        }
    }
    call->on.listed(call->arg, error, seen, count);
    mem_free(seen);
}

static void answer_sample(const struct sim_engine *e, const struct call *call,
                          const struct engine_error *error)
{
    const struct engine_sample s = {
        .cpu_seconds = call->of ? call->of->cpu_seconds : 0,
        .cpu_cores_allotted = 1,
        .memory_bytes = 0,
        .memory_limit_bytes = 1,
        .at_us = e->now_ms * 1000,
    };
    call->on.sampled(call->arg, error, error->code ? NULL : &s);
}

static void answer(struct sim_engine *e, const struct call *call)
{
    const struct engine_error fine = {.code = 0, .text = ""};
    const struct engine_error none = {.code = -ENOENT, .text = "no such instance"};
    bool gone = !call->of || !call->of->used;
    struct engine_instance seen = {.state = ENGINE_GONE};
    switch (call->kind) {
    case CALL_DONE:
        call->on.done(call->arg, &fine); /* what is gone is stopped and removed */
        break;
    case CALL_CREATED:
        call->on.created(call->arg, &fine, call->of->id);
        break;
    case CALL_INSPECTED:
        seen = gone ? seen : described(call->of);
        call->on.inspected(call->arg, gone ? &none : &fine, gone ? NULL : &seen);
        break;
    case CALL_LISTED:
        answer_list(e, call, &fine);
        break;
    case CALL_SAMPLED:
        answer_sample(e, call, gone ? &none : &fine);
        break;
    case CALL_LOGS:
        call->on.logs(call->arg, &fine, "", 0);
        break;
    case CALL_KINDS:
        break;
    }
}

bool sim_engine_answer(struct sim_engine *e, uint64_t now_ms)
{
    bool any = e->count > 0;
    e->now_ms = now_ms;
    while (e->count) {
        struct call call = e->calls[e->first];
        e->first = (e->first + 1) % CALLS;
        e->count--;
        answer(e, &call);
    }
    return any;
}

void sim_engine_advance(struct sim_engine *e, uint64_t now_ms)
{
    for (unsigned i = 0; i < e->most; i++) {
        struct sim_container *c = &e->all[i];
        if (c->used && c->running && !c->healthy && now_ms >= c->ready_ms) {
            c->healthy = true;
            const struct engine_event event = {
                .kind = ENGINE_EVENT_HEALTH,
                .id = c->id,
                .name = c->name,
                .service = c->service,
                .health = ENGINE_HEALTHY,
            };
            e->head.listener.event(e->head.listener.arg, &event);
        }
    }
}

struct sim_container *sim_engine_at(struct sim_engine *e, const char *address)
{
    for (unsigned i = 0; i < e->most; i++) {
        if (e->all[i].used && str_same(e->all[i].address, address)) {
            return &e->all[i];
        }
    }
    return NULL;
}

void sim_engine_use(struct sim_engine *e, double cpu_seconds)
{
    for (unsigned i = 0; i < e->most; i++) {
        e->all[i].cpu_seconds += e->all[i].serving ? cpu_seconds : 0;
    }
}

void sim_engine_unserve(struct sim_engine *e)
{
    for (unsigned i = 0; i < e->most; i++) {
        e->all[i].serving = false;
    }
}

unsigned sim_engine_count(const struct sim_engine *e, unsigned *ret_serving)
{
    unsigned count = 0, serving = 0;
    for (unsigned i = 0; i < e->most; i++) {
        count += e->all[i].used;
        serving += e->all[i].used && e->all[i].serving;
    }
    *ret_serving = serving;
    return count;
}
