/* process.c: the engine whose instances are child processes of the host. What it
 * promises stands in engine.h, how it is built in process.h.
 *
 * Owns: all instances of its cluster, and the queue of calls: each is worked off
 * in the next turn of the loop, so that none is answered from within its start. */
#include "engine/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    TIDY_MS = 10000
};

static const struct engine_error no_error = {.code = 0, .text = ""};

static struct process *process_of(struct engine *e)
{
    return (struct process *)e; /* its first member */
}

/* ---- Telling ---- */

static void call_free(struct call *call)
{
    list_remove(&call->node);
    process_instance_free(call->made);
    mem_free(call->id);
    mem_free(call);
}

void process_answer(struct call *call, int code, const char *text)
{
    struct engine_error error = {.code = code, .text = text ? text : ""};
    list_remove(&call->node);
    switch (call->kind) {
    case CALL_CREATE:
        call->answer.created(call->arg, &error, "");
        break;
    case CALL_START:
    case CALL_STOP:
    case CALL_REMOVE:
        call->answer.done(call->arg, &error);
        break;
    case CALL_INSPECT:
        call->answer.inspected(call->arg, &error, NULL);
        break;
    case CALL_LIST:
        call->answer.listed(call->arg, &error, NULL, 0);
        break;
    case CALL_SAMPLE:
        call->answer.sampled(call->arg, &error, NULL);
        break;
    case CALL_LOGS:
        call->answer.logs(call->arg, &error, "", 0);
        break;
    }
    call_free(call);
}

void process_event(struct instance *i, enum engine_event_kind kind)
{
    const struct engine_listener *l = &i->engine->base.listener;
    struct engine_event event = {
        .kind = kind,
        .id = i->id,
        .name = i->name,
        .service = i->service,
        .exit_code = i->exit_code,
        .health = ENGINE_HEALTH_NONE,
    };
    if (l->event && !i->engine->closing) {
        l->event(l->arg, &event);
    }
}

/* The view of it; `address` has room for "127.0.0.1:65535". */
static struct engine_instance view_of(const struct instance *i, char address[24])
{
    must(i);
    bool running = i->state == ENGINE_RUNNING;
    snprintf(address, 24, "127.0.0.1:%u", i->port);
    return (struct engine_instance){
        .id = i->id,
        .name = i->name,
        .service = i->service,
        .spec_hash = i->spec_hash,
        .serial = i->serial,
        .slot = i->slot,
        .generation = i->generation,
        .state = i->state,
        .health = ENGINE_HEALTH_NONE,
        .health_output = "",
        .address = running ? address : "",
        .pid = running ? (uint32_t)i->pid : 0,
        .exit_code = i->exit_code,
        .oom_killed = i->oom_killed,
        .restarts = i->restarts,
        .error = i->error ? i->error : "",
        .started_wall_ms = i->started_wall_ms,
    };
}

/* ---- The calls ---- */

static void do_create(struct process *p, struct call *call)
{
    struct instance *i = call->made;
    char text[ENGINE_NAME_BYTES + 32];
    if (map_get(&p->by_name, i->name)) {
        snprintf(text, sizeof text, "name is taken: %s", i->name);
        process_answer(call, -EEXIST, text);
        return;
    }
    if (!json_first(json_get(i->config, "command"))) {
        process_answer(call, -EINVAL, "the process engine needs a command");
        return;
    }
    int rc = process_record_write(i);
    if (rc) {
        snprintf(text, sizeof text, "record: %s", err_text(rc));
        process_answer(call, rc == -ENOSPC || rc == -EACCES ? rc : -EAGAIN, text);
        return;
    }
    process_instance_enter(i);
    call->made = NULL;
    call->answer.created(call->arg, &no_error, i->id);
    call_free(call);
}

static void do_inspect(const struct instance *i, struct call *call)
{
    char address[24];
    struct engine_instance view = view_of(i, address);
    call->answer.inspected(call->arg, &no_error, &view);
    call_free(call);
}

static void do_list(const struct process *p, struct call *call)
{
    struct engine_instance *views = mem_array(p->by_name.count, sizeof *views);
    char(*addresses)[24] = mem_array(p->by_name.count, sizeof *addresses);
    size_t at = 0, count = 0;
    const char *name;
    void *value;
    while (map_next(&p->by_name, &at, &name, &value)) {
        views[count] = view_of(value, addresses[count]);
        count++;
    }
    call->answer.listed(call->arg, &no_error, views, count);
    call_free(call);
    mem_free(views);
    mem_free(addresses);
}

static void do_sample(const struct instance *i, struct call *call)
{
    must(i);
    const struct cJSON *resources = json_get(i->config, "resources");
    struct engine_sample sample = {.at_us = clock_now_us()};
    if (!i->pid) {
        process_answer(call, -ENOENT, "it is not running");
        return;
    }
    double cpus = json_num(resources, "cpus", 0);
    int64_t memory = json_int(resources, "memory_bytes", 0);
    sample.cpu_cores_allotted = cpus > 0 ? cpus : (double)sysconf(_SC_NPROCESSORS_ONLN);
    sample.memory_limit_bytes = memory > 0 ? (uint64_t)memory : process_proc_host_memory();
    if (process_cgroup_sample(&i->cgroup, &sample)) {
        process_proc_sample(i, &sample);
    }
    call->answer.sampled(call->arg, &no_error, &sample);
    call_free(call);
}

static void do_logs(const struct instance *i, struct call *call)
{
    size_t len;
    char *text = process_log_tail(i, call->number, &len);
    call->answer.logs(call->arg, &no_error, text, len);
    call_free(call);
    mem_free(text);
}

static void unknown(struct call *call)
{
    char *text = mem_printf("no such instance: %s", call->id);
    process_answer(call, call->kind == CALL_REMOVE ? 0 : -ENOENT,
                   call->kind == CALL_REMOVE ? NULL : text);
    mem_free(text);
}

static void work_off(struct process *p, struct call *call)
{
    struct instance *i = call->id ? map_get(&p->by_name, call->id) : NULL;
    if (!i && call->id) {
        i = map_get(&p->by_id, call->id);
    }
    list_remove(&call->node);
    if (!i && call->id) {
        unknown(call);
        return;
    }
    switch (call->kind) {
    case CALL_CREATE:
        do_create(p, call);
        return;
    case CALL_LIST:
        do_list(p, call);
        return;
    case CALL_START:
        process_life_start(i, call);
        return;
    case CALL_INSPECT:
        do_inspect(i, call);
        return;
    case CALL_STOP:
        process_life_stop(i, call, call->number * 1000u);
        return;
    case CALL_REMOVE:
        process_life_stop(i, call, 0);
        return;
    case CALL_SAMPLE:
        do_sample(i, call);
        return;
    case CALL_LOGS:
        do_logs(i, call);
        return;
    }
}

static void tell_up(struct process *p)
{
    const struct engine_listener *l = &p->base.listener;
    char text[64]; /* 38 bytes at most */
    snprintf(text, sizeof text, p->cgroups.version ? "process, control groups v%d" : "process",
             p->cgroups.version);
    p->told_up = true;
    if (l->up) {
        l->up(l->arg, text);
    }
}

static void on_soon(uv_timer_t *timer)
{
    struct process *p = timer->data;
    if (p->opened && !p->told_up) {
        tell_up(p);
    }
    struct list batch; /* what an answer starts waits for the next turn */
    list_init(&batch);
    while (!list_empty(&p->calls)) {
        struct list *node = p->calls.next;
        list_remove(node);
        list_append(&batch, node);
    }
    while (!list_empty(&batch)) {
        struct call *call = list_owner(batch.next, struct call, node);
        if (p->closing) {
            process_answer(call, -ECANCELED, "closing");
        } else {
            work_off(p, call);
        }
    }
}

static int queue(struct engine *e, enum call_kind kind, const char *id, void *arg,
                 struct call **ret_call)
{
    struct process *p = process_of(e);
    if (p->closing) {
        return -ECANCELED;
    }
    struct call *call = mem_new(sizeof *call);
    *call = (struct call){.kind = kind, .id = mem_copy(id), .arg = arg};
    list_append(&p->calls, &call->node);
    uv_timer_start(&p->soon, on_soon, 0, 0);
    *ret_call = call;
    return 0;
}

/* ---- engine_kind ---- */

/* A name becomes a file's and a control group's. */
static bool is_file_name(const char *name)
{
    size_t len = strlen(name);
    return len && len < ENGINE_NAME_BYTES && *name != '.' && !strchr(name, '/');
}

static int process_create(struct engine *e, const struct engine_spec *spec, engine_created_fn *done,
                          void *arg)
{
    struct call *call;
    if (!is_file_name(spec->name)) {
        return -EINVAL;
    }
    int rc = queue(e, CALL_CREATE, NULL, arg, &call);
    if (rc) {
        return rc;
    }
    struct instance *i = process_instance_new(process_of(e), spec->name);
    i->cluster = mem_copy(spec->cluster ? spec->cluster : "");
    i->service = mem_copy(spec->service ? spec->service : "");
    i->spec_hash = mem_copy(spec->spec_hash ? spec->spec_hash : "");
    i->serial = spec->serial;
    i->slot = spec->slot;
    i->generation = spec->generation;
    i->config = json_copy(spec->service_config);
    call->made = i;
    call->answer.created = done;
    return 0;
}

static int process_start(struct engine *e, const char *id, engine_done_fn *done, void *arg)
{
    struct call *call;
    int rc = queue(e, CALL_START, id, arg, &call);
    if (!rc) {
        call->answer.done = done;
    }
    return rc;
}

static int process_inspect(struct engine *e, const char *id, engine_inspected_fn *done, void *arg)
{
    struct call *call;
    int rc = queue(e, CALL_INSPECT, id, arg, &call);
    if (!rc) {
        call->answer.inspected = done;
    }
    return rc;
}

static int process_list(struct engine *e, engine_listed_fn *done, void *arg)
{
    struct call *call;
    int rc = queue(e, CALL_LIST, NULL, arg, &call);
    if (!rc) {
        call->answer.listed = done;
    }
    return rc;
}

static int process_stop(struct engine *e, const char *id, uint32_t timeout_s, engine_done_fn *done,
                        void *arg)
{
    struct call *call;
    int rc = queue(e, CALL_STOP, id, arg, &call);
    if (!rc) {
        call->number = timeout_s;
        call->answer.done = done;
    }
    return rc;
}

static int process_remove(struct engine *e, const char *id, engine_done_fn *done, void *arg)
{
    struct call *call;
    int rc = queue(e, CALL_REMOVE, id, arg, &call);
    if (!rc) {
        call->answer.done = done;
    }
    return rc;
}

static int process_sample(struct engine *e, const char *id, engine_sampled_fn *done, void *arg)
{
    struct call *call;
    int rc = queue(e, CALL_SAMPLE, id, arg, &call);
    if (!rc) {
        call->answer.sampled = done;
    }
    return rc;
}

static int process_logs(struct engine *e, const char *id, uint32_t lines, engine_logs_fn *done,
                        void *arg)
{
    struct call *call;
    int rc = queue(e, CALL_LOGS, id, arg, &call);
    if (!rc) {
        call->number = lines;
        call->answer.logs = done;
    }
    return rc;
}

/* ---- Opening and closing ---- */

static void on_tidy(uv_timer_t *timer)
{
    struct process *p = timer->data;
    size_t at = 0;
    const char *name;
    void *value;
    while (map_next(&p->by_name, &at, &name, &value)) {
        const struct instance *i = value;
        if (i->pid) {
            process_log_trim(i);
        }
    }
}

static void process_open(struct engine *e)
{
    struct process *p = process_of(e);
    char hex[17], *tag;
    FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (boot) {
        if (fscanf(boot, "%39s", p->boot_id) != 1) {
            p->boot_id[0] = '\0';
        }
        fclose(boot);
    }
    hash_hex(hash_bytes(p->state_dir, strlen(p->state_dir)), hex);
    tag = mem_printf("tidegate-%s-%.8s", p->cluster, hex);
    if (p->control_groups) {
        process_cgroups_find(&p->cgroups, tag);
    }
    mem_free(tag);
    if (p->control_groups && !p->cgroups.version) {
        log_warn("no control groups can be written: memory is limited per process, "
                 "cpus and pids are not",
                 "");
    }
    process_record_read_all(p);
    int orphans = process_proc_kill_orphans(p);
    if (orphans) {
        log_warn("killed what instances had left behind", "processes=%d", orphans);
    }
    process_cgroups_sweep(&p->cgroups);
    uv_timer_start(&p->tidy, on_tidy, TIDY_MS, TIDY_MS);
    p->opened = true;
    uv_timer_start(&p->soon, on_soon, 0, 0);
}

void process_release(struct process *p)
{
    if (--p->handles) {
        return;
    }
    must(p->closing);
    process_cgroups_free(&p->cgroups);
    map_free(&p->by_name);
    map_free(&p->by_id);
    mem_free(p->table.rows);
    mem_free(p->cluster);
    mem_free(p->state_dir);
    mem_free(p);
}

static void on_instance_closed(uv_handle_t *handle)
{
    struct instance *i = handle->data;
    struct process *p = i->engine;
    process_instance_free(i);
    process_release(p);
}

void process_forget(struct instance *i)
{
    struct process *p = i->engine;
    map_remove(&p->by_name, i->name);
    map_remove(&p->by_id, i->id);
    uv_close((uv_handle_t *)&i->timer, on_instance_closed);
}

static void on_timer_closed(uv_handle_t *handle)
{
    process_release(handle->data);
}

/* Calls under way are answered here, since that may not happen within close. */
static void on_soon_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    while (!list_empty(&p->calls)) {
        process_answer(list_owner(p->calls.next, struct call, node), -ECANCELED, "closing");
    }
    process_release(p);
}

static void process_close(struct engine *e)
{
    struct process *p = process_of(e);
    if (p->closing) {
        return;
    }
    p->closing = true;
    size_t at = 0;
    const char *name;
    void *value;
    while (map_next(&p->by_name, &at, &name, &value)) {
        process_life_close(value, &p->calls);
        process_forget(value);
    }
    uv_close((uv_handle_t *)&p->soon, on_soon_closed);
    uv_close((uv_handle_t *)&p->tidy, on_timer_closed);
}

static const struct engine_kind process_kind = {
    .name = "process",
    .open = process_open,
    .create = process_create,
    .start = process_start,
    .inspect = process_inspect,
    .list = process_list,
    .stop = process_stop,
    .remove = process_remove,
    .sample = process_sample,
    .logs = process_logs,
    .close = process_close,
};

/* Makes a directory with its parents' permission only for us; false with errno. */
static bool make_dir(const char *base, const char *name)
{
    char *path = mem_printf("%s/%s", base, name);
    bool made = !mkdir(path, 0700) || errno == EEXIST;
    mem_free(path);
    return made;
}

int engine_process_new(const struct engine_options *options, struct engine **ret_engine,
                       char **reterr)
{
    const char *dir = options->state_dir ? options->state_dir : "";
    (void)mkdir(dir, 0700);
    char *absolute = realpath(dir, NULL);
    if (!absolute || !make_dir(absolute, "instances") || !make_dir(absolute, "logs")) {
        *reterr = mem_printf("cluster.state_dir: cannot write to \"%s\": %s", dir, err_text(errno));
        free(absolute);
        return -EINVAL;
    }
    struct process *p = mem_new(sizeof *p);
    *p = (struct process){
        .base = {.kind = &process_kind, .loop = options->loop, .listener = options->listener},
        .cluster = mem_copy(json_str(options->cluster_config, "id", "")),
        .state_dir = mem_copy(absolute),
        .control_groups =
            json_bool(json_get(options->cluster_config, "process"), "control_groups", true),
        .handles = 2,
    };
    free(absolute);
    list_init(&p->calls);
    uv_timer_init(options->loop, &p->soon);
    uv_timer_init(options->loop, &p->tidy);
    p->soon.data = p->tidy.data = p;
    *ret_engine = &p->base;
    return 0;
}
