/* fake_engine.c: see fake_world.h. */
#include "fake_world.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

static const char *const op_names[OP_KINDS] = {"create", "start",  "inspect", "list",
                                               "stop",   "remove", "sample",  "logs"};

static struct fake_engine *of(struct engine *e)
{
    return (struct fake_engine *)e;
}

/* ---- Containers ---- */

struct image *fake_engine_image(struct fake_engine *e, const char *name)
{
    struct image *image = map_get(&e->images, name);
    if (!image) {
        image = mem_new(sizeof *image);
        *image = (struct image){.status = 200, .ready_ms = 200, .cores = 0.5, .memory = 0.4};
        map_put(&e->images, name, image);
    }
    return image;
}

struct container *fake_container_new(struct fake_engine *e, const char *name, const char *service)
{
    struct container *c = mem_new(sizeof *c);
    list_init(&c->node);
    c->world = e->world;
    c->id = mem_printf("c%u", ++e->made);
    c->name = mem_copy(name);
    c->service = mem_copy(service);
    c->spec_hash = mem_copy("");
    c->image = mem_copy("ok");
    c->address = mem_copy("");
    c->output = mem_copy("");
    return c;
}

void fake_container_free(struct container *c)
{
    list_remove(&c->node);
    mem_free(c->id);
    mem_free(c->name);
    mem_free(c->service);
    mem_free(c->spec_hash);
    mem_free(c->image);
    mem_free(c->address);
    mem_free(c->output);
    mem_free(c);
}

struct container *fake_engine_find(struct fake_engine *e, const char *id_or_name)
{
    for (struct list *n = e->containers.next; n != &e->containers; n = n->next) {
        struct container *c = list_owner(n, struct container, node);
        if (!strcmp(c->id, id_or_name) || !strcmp(c->name, id_or_name)) {
            return c;
        }
    }
    return NULL;
}

struct container *fake_engine_at(struct fake_engine *e, const char *address)
{
    for (struct list *n = e->containers.next; n != &e->containers; n = n->next) {
        struct container *c = list_owner(n, struct container, node);
        if (c->state == ENGINE_RUNNING && !strcmp(c->address, address)) {
            return c;
        }
    }
    return NULL;
}

/* Every start gives another address, as Docker does. */
static void run_container(struct fake_engine *e, struct container *c)
{
    c->state = ENGINE_RUNNING;
    c->started_ms = world_now(e->world);
    c->back_ms = 0;
    c->oom = false;
    c->sick = false;
    c->cpu_seconds = 0;
    c->health =
        fake_engine_image(e, c->image)->has_check ? ENGINE_HEALTH_STARTING : ENGINE_HEALTH_NONE;
    mem_free(c->address);
    e->made++;
    c->address = mem_printf("10.1.%u.%u:8080", e->made / 250, e->made % 250);
    world_event(e->world, ENGINE_EVENT_STARTED, c);
}

void fake_container_die(struct container *c, int exit_code, bool oom)
{
    c->exit_code = exit_code;
    c->oom = oom;
    c->state = c->restarts_itself ? ENGINE_RESTARTING : ENGINE_EXITED;
    c->back_ms = c->restarts_itself ? world_now(c->world) + 500 : 0;
    if (oom) {
        world_event(c->world, ENGINE_EVENT_OOM, c);
    }
    world_event(c->world, ENGINE_EVENT_DIED, c);
}

static void set_health(struct container *c, enum engine_health health)
{
    if (c->health != health) {
        c->health = health;
        world_event(c->world, ENGINE_EVENT_HEALTH, c);
    }
}

static void live(struct fake_engine *e, struct container *c, uint64_t now_ms)
{
    const struct image *image = fake_engine_image(e, c->image);
    if (c->back_ms && now_ms >= c->back_ms) {
        c->restarts++;
        run_container(e, c);
    } else if (c->state == ENGINE_RUNNING) {
        uint64_t age_ms = now_ms - c->started_ms;
        bool starts = (int64_t)age_ms < image->start_ms;
        c->cpu_seconds += 0.01 * (starts ? image->start_cores : image->cores);
        if (image->dies_ms && age_ms >= (uint64_t)image->dies_ms) {
            fake_container_die(c, image->exit_code, image->oom);
        } else if (image->has_check && (int64_t)age_ms >= image->ready_ms) {
            set_health(c, c->sick || image->status >= 400 ? ENGINE_UNHEALTHY : ENGINE_HEALTHY);
        }
    }
}

/* ---- Calls ---- */

static struct op *begin(struct engine *engine, enum op_kind kind, const char *id, void *arg)
{
    struct fake_engine *e = of(engine);
    struct op *op = mem_new(sizeof *op);
    op->kind = kind;
    op->id = mem_copy(id);
    op->arg = arg;
    op->effect_ms = world_now(e->world) + e->delay_ms[kind] / 2;
    op->reply_ms = world_now(e->world) + e->delay_ms[kind];
    list_append(&e->ops, &op->node);
    e->calls[kind]++;
    struct fault *fault = &e->faults[kind];
    if (!e->up) {
        op->code = -ECONNREFUSED;
        op->effected = true;
    } else if (fault->times > 0) {
        fault->times--;
        op->code = fault->code;
        op->text = mem_copy(fault->text);
        op->effected = !fault->happens;
    }
    if (kind == OP_CREATE || kind == OP_START || kind == OP_STOP || kind == OP_REMOVE) {
        (void)buf_printf(&e->log, "%s %s\n", op_names[kind], id);
        if (e->crash_in && --e->crash_in == 0) {
            e->crash_due = true;
        }
    }
    unsigned launches = 0;
    for (struct list *n = e->ops.next; n != &e->ops; n = n->next) {
        const struct op *other = list_owner(n, struct op, node);
        launches += !other->orphaned && (other->kind == OP_CREATE || other->kind == OP_START);
    }
    e->in_flight_most = launches > e->in_flight_most ? launches : e->in_flight_most;
    return op;
}

static void answer_error(struct op *op, int code, const char *text)
{
    op->code = code;
    op->text = mem_copy(text);
}

static int create(struct engine *engine, const struct engine_spec *spec, engine_created_fn *done,
                  void *arg)
{
    struct fake_engine *e = of(engine);
    struct op *op = begin(engine, OP_CREATE, spec->name, arg);
    struct container *c = fake_container_new(e, spec->name, spec->service);
    op->on.created = done;
    op->made = c;
    c->serial = spec->serial;
    c->slot = spec->slot;
    c->generation = spec->generation;
    mem_free(c->spec_hash);
    c->spec_hash = mem_copy(spec->spec_hash);
    mem_free(c->image);
    c->image = mem_copy(json_str(spec->service_config, "image", "ok"));
    c->restarts_itself = fake_engine_image(e, c->image)->restarts;
    c->state = ENGINE_CREATED;
    return 0;
}

static int start(struct engine *engine, const char *id, engine_done_fn *done, void *arg)
{
    begin(engine, OP_START, id, arg)->on.done = done;
    return 0;
}

static int inspect(struct engine *engine, const char *id, engine_inspected_fn *done, void *arg)
{
    begin(engine, OP_INSPECT, id, arg)->on.inspected = done;
    return 0;
}

static int list(struct engine *engine, engine_listed_fn *done, void *arg)
{
    begin(engine, OP_LIST, "", arg)->on.listed = done;
    return 0;
}

static int stop(struct engine *engine, const char *id, uint32_t timeout_s, engine_done_fn *done,
                void *arg)
{
    (void)timeout_s;
    begin(engine, OP_STOP, id, arg)->on.done = done;
    return 0;
}

static int remove_it(struct engine *engine, const char *id, engine_done_fn *done, void *arg)
{
    begin(engine, OP_REMOVE, id, arg)->on.done = done;
    return 0;
}

static int sample(struct engine *engine, const char *id, engine_sampled_fn *done, void *arg)
{
    begin(engine, OP_SAMPLE, id, arg)->on.sampled = done;
    return 0;
}

static int logs(struct engine *engine, const char *id, uint32_t lines, engine_logs_fn *done,
                void *arg)
{
    (void)lines;
    begin(engine, OP_LOGS, id, arg)->on.logs = done;
    return 0;
}

static void open_it(struct engine *engine)
{
    (void)engine;
}

const struct engine_kind fake_engine_kind = {
    .name = "fake",
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

/* ---- Effects and answers ---- */

static void effect_create(struct fake_engine *e, struct op *op)
{
    struct container *c = op->made;
    if (fake_engine_find(e, c->name)) {
        e->duplicates++;
        answer_error(op, -EEXIST, "name in use");
    } else if (fake_engine_image(e, c->image)->missing) {
        char *text = mem_printf("image not found: %s", c->image);
        answer_error(op, -ENOENT, text);
        mem_free(text);
    } else {
        mem_free(op->id);
        op->id = mem_copy(c->id);
        list_append(&e->containers, &c->node);
        op->made = NULL;
    }
}

static void describe(const struct container *c, struct engine_instance *to)
{
    *to = (struct engine_instance){
        .id = c->id,
        .name = c->name,
        .service = c->service,
        .spec_hash = c->spec_hash,
        .serial = c->serial,
        .slot = c->slot,
        .generation = c->generation,
        .state = c->state,
        .health = c->health,
        .health_output = c->output,
        .address = c->state == ENGINE_RUNNING ? c->address : "",
        .exit_code = c->exit_code,
        .oom_killed = c->oom,
        .restarts = c->restarts,
        .error = "",
    };
}

/* A list tells what was there when the engine looked, not when the answer arrives. */
static void effect_list(struct fake_engine *e, struct op *op)
{
    op->seen = mem_array(e->made + 1, sizeof *op->seen);
    for (struct list *n = e->containers.next; n != &e->containers; n = n->next) {
        const struct container *c = list_owner(n, struct container, node);
        if (*c->service) { /* by label */
            struct engine_instance *seen = &op->seen[op->seen_count++];
            describe(c, seen);
            seen->id = mem_copy(seen->id);
            seen->name = mem_copy(seen->name);
            seen->service = mem_copy(seen->service);
            seen->spec_hash = mem_copy(seen->spec_hash);
            seen->address = mem_copy(seen->address);
            seen->health_output = "";
        }
    }
}

static void forget_list(struct op *op)
{
    for (size_t at = 0; at < op->seen_count; at++) {
        mem_free((char *)op->seen[at].id);
        mem_free((char *)op->seen[at].name);
        mem_free((char *)op->seen[at].service);
        mem_free((char *)op->seen[at].spec_hash);
        mem_free((char *)op->seen[at].address);
    }
    mem_free(op->seen);
}

static void effect(struct fake_engine *e, struct op *op)
{
    op->effected = true;
    if (op->kind == OP_CREATE) {
        effect_create(e, op);
        return;
    }
    if (op->kind == OP_LIST) {
        effect_list(e, op);
        return;
    }
    struct container *c = fake_engine_find(e, op->id);
    if (op->kind == OP_START && !c) {
        answer_error(op, -ENOENT, "no such container");
    } else if (op->kind == OP_START && c->state != ENGINE_RUNNING) {
        run_container(e, c);
    } else if (op->kind == OP_STOP && c && c->state != ENGINE_EXITED) {
        c->restarts_itself = false;
        fake_container_die(c, 0, false);
    } else if (op->kind == OP_REMOVE && c) {
        world_event(e->world, ENGINE_EVENT_REMOVED, c);
        fake_container_free(c);
    }
}

static void answer_list(struct op *op, const struct engine_error *error)
{
    op->on.listed(op->arg, error, op->seen, error->code ? 0 : op->seen_count);
}

static void answer_inspect(struct op *op, struct engine_error *error, const struct container *c)
{
    struct engine_instance seen = {.state = ENGINE_GONE};
    if (!error->code && !c) {
        error->code = -ENOENT;
    } else if (c) {
        describe(c, &seen);
    }
    op->on.inspected(op->arg, error, error->code ? NULL : &seen);
}

static void answer_sample(struct fake_engine *e, struct op *op, struct engine_error *error,
                          const struct container *c)
{
    struct engine_sample s = {.cpu_cores_allotted = 1, .memory_limit_bytes = 1000};
    if (c && c->mute && !error->code) {
        error->code = -EAGAIN;
    } else if (c) {
        s.cpu_seconds = c->cpu_seconds;
        s.memory_bytes = (uint64_t)(1000 * fake_engine_image(e, c->image)->memory);
        s.at_us = world_now(e->world) * 1000;
        s.network_rx_bytes = world_now(e->world) * 2; /* 2,000 bytes/s, and nothing back */
    } else if (!error->code) {
        error->code = -ENOENT;
    }
    op->on.sampled(op->arg, error, error->code ? NULL : &s);
}

static void answer(struct fake_engine *e, struct op *op)
{
    struct engine_error error = {.code = op->code, .text = op->text ? op->text : ""};
    struct container *c = fake_engine_find(e, op->id);
    static const char log[] = "first line\nlast words\n";
    switch (op->kind) {
    case OP_CREATE:
        op->on.created(op->arg, &error, op->code ? NULL : op->id);
        break;
    case OP_START:
    case OP_STOP:
    case OP_REMOVE:
        op->on.done(op->arg, &error);
        break;
    case OP_INSPECT:
        answer_inspect(op, &error, c);
        break;
    case OP_LIST:
        answer_list(op, &error);
        break;
    case OP_SAMPLE:
        answer_sample(e, op, &error, c);
        break;
    case OP_LOGS:
        op->on.logs(op->arg, &error, log, sizeof log - 1);
        break;
    case OP_KINDS:
        break;
    }
}

static void op_free(struct op *op)
{
    list_remove(&op->node);
    if (op->made) {
        fake_container_free(op->made);
    }
    mem_free(op->id);
    mem_free(op->text);
    forget_list(op);
    mem_free(op);
}

void fake_engine_cancel(struct fake_engine *e, int code)
{
    for (struct list *n = e->ops.next; n != &e->ops; n = n->next) {
        struct op *op = list_owner(n, struct op, node);
        if (!op->orphaned) {
            op->orphaned = true;
            int kept = op->code;
            op->code = code;
            answer(e, op);
            op->code = kept;
        }
    }
}

void fake_engine_run(struct fake_engine *e, uint64_t now_ms)
{
    struct list *next;
    for (struct list *n = e->containers.next; n != &e->containers; n = next) {
        next = n->next;
        live(e, list_owner(n, struct container, node), now_ms);
    }
    for (struct list *n = e->ops.next; n != &e->ops; n = next) {
        struct op *op = list_owner(n, struct op, node);
        if (!op->effected && now_ms >= op->effect_ms) {
            effect(e, op);
        }
        bool over = now_ms >= op->reply_ms;
        if (over && !op->orphaned) {
            op->orphaned = true; /* answered */
            answer(e, op);
        }
        next = n->next; /* answers start new calls, at the end of the list */
        if (over) {
            op_free(op);
        }
    }
}

void fake_engine_init(struct fake_engine *e, struct world *world)
{
    *e = (struct fake_engine){.head.kind = &fake_engine_kind, .world = world};
    list_init(&e->containers);
    list_init(&e->ops);
    buf_init(&e->log, 1 << 20);
    for (unsigned kind = 0; kind < OP_KINDS; kind++) {
        e->delay_ms[kind] = kind == OP_START || kind == OP_STOP ? 100 : 20;
    }
}

void fake_engine_free(struct fake_engine *e)
{
    while (!list_empty(&e->ops)) {
        op_free(list_owner(e->ops.next, struct op, node));
    }
    while (!list_empty(&e->containers)) {
        fake_container_free(list_owner(e->containers.next, struct container, node));
    }
    size_t at = 0;
    const char *name;
    void *image;
    while (map_next(&e->images, &at, &name, &image)) {
        mem_free(image);
    }
    map_free(&e->images);
    for (unsigned kind = 0; kind < OP_KINDS; kind++) {
        mem_free(e->faults[kind].text);
    }
    buf_free(&e->log);
}
