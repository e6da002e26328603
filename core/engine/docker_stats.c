/* docker_stats.c: samples of one container's usage; see engine.h.
 *
 *   known? --no--> inspect (limits, pid) --> kernel's files, else the engine's stats
 *
 * Owns: docker.samplers. One is forgotten at every event of its container and at
 * every new connection, so that its pid and limits are those of the present run.
 * With files, sampling goes on while the engine is down. */
#include "engine/docker.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    INSPECT_TIMEOUT_MS = 5000,
    STATS_TIMEOUT_MS = 10000, /* Docker 20.10 waits up to a second for its tick */
    KEPT_OPEN = 64 /* samplers with open files, four each; the limit may be 1024 descriptors */
};

struct docker_sampler {
    double cores;
    uint64_t memory_bytes;
    struct docker_cgroup *cgroup; /* NULL = ask the engine */
};

struct sampling {
    struct docker_op op;
    engine_sampled_fn *done;
    void *arg;
    char *id;
    struct engine_sample sample;
};

static void sampler_free(struct docker_sampler *s)
{
    if (s) {
        docker_cgroup_free(s->cgroup);
        mem_free(s);
    }
}

void docker_samplers_forget(struct docker *d, const char *id)
{
    sampler_free(map_remove(&d->samplers, id));
}

void docker_samplers_clear(struct docker *d)
{
    size_t at = 0;
    const char *id;
    void *value;
    while (map_next(&d->samplers, &at, &id, &value)) {
        sampler_free(value);
    }
    map_free(&d->samplers);
}

static void sampling_end(struct sampling *s, const struct engine_error *error,
                         const struct engine_sample *sample)
{
    docker_op_end(&s->op);
    s->done(s->arg, error, sample);
    mem_free(s->id);
    mem_free(s);
}

static void sampling_fail(struct docker_op *op, const struct engine_error *error)
{
    sampling_end((struct sampling *)op, error, NULL);
}

static void sampled(struct docker_op *op, const struct net_answer *answer)
{
    struct sampling *s = (struct sampling *)op;
    struct engine_error none = {.code = 0, .text = ""};
    (void)answer;
    sampling_end(s, &none, &s->sample);
}

/* ---- From the engine ---- */

static uint64_t count_of(const struct cJSON *object, const char *key)
{
    double number = json_num(object, key, 0);
    return number > 0 && number < 1e19 ? (uint64_t)number : 0;
}

static bool read_stats(const struct cJSON *json, struct engine_sample *sample)
{
    const struct cJSON *memory = json_get(json, "memory_stats"), *details;
    if (!memory || str_starts(str_of(json_str(json, "read", "0001-")), "0001-")) {
        return false; /* so a container that does not run looks like */
    }
    struct engine_sample s = {.at_us = clock_now_us()};
    s.cpu_seconds = json_num(json_path(json, "cpu_stats.cpu_usage"), "total_usage", 0) / 1e9;
    s.memory_bytes = count_of(memory, "usage");
    details = json_get(memory, "stats"); /* Podman has none */
    uint64_t cache = count_of(details, "total_inactive_file");
    cache = cache ? cache : count_of(details, "inactive_file");
    s.memory_bytes -= cache < s.memory_bytes ? cache : s.memory_bytes;
    s.pids = (uint32_t)count_of(json_get(json, "pids_stats"), "current");
    for (const struct cJSON *n = json_first(json_get(json, "networks")); n; n = json_next(n)) {
        s.network_rx_bytes += count_of(n, "rx_bytes");
        s.network_tx_bytes += count_of(n, "tx_bytes");
    }
    *sample = s;
    return true;
}

static void set_limits(const struct docker_sampler *from, struct engine_sample *sample)
{
    sample->cpu_cores_allotted = from->cores;
    sample->memory_limit_bytes = from->memory_bytes;
}

static void stats_came(struct docker_op *op, const struct net_answer *answer)
{
    struct sampling *s = (struct sampling *)op;
    if (!docker_answer_ok(answer)) {
        docker_op_refused(op, answer);
        return;
    }
    struct cJSON *json = json_parse(answer->body, answer->body_len);
    bool running = read_stats(json, &s->sample);
    json_free(json);
    const struct docker_sampler *known = map_get(&op->docker->samplers, s->id);
    if (!json) {
        docker_op_fail(op, -EAGAIN, "stats: the answer is not JSON");
    } else if (!running || !known) { /* forgotten: it ended meanwhile */
        docker_op_fail(op, -ENOENT, "%.80s is not running", s->id);
    } else {
        set_limits(known, &s->sample);
        sampled(op, answer);
    }
}

static void call_stats(struct sampling *s)
{
    char *path = docker_path("/containers/", s->id, "/stats?stream=0&one-shot=1");
    struct docker_request request = {.path = path, .timeout_ms = STATS_TIMEOUT_MS};
    docker_op_call(&s->op, &request, stats_came);
    mem_free(path);
}

/* ---- The first sample of a run ---- */

static void inspected(struct docker_op *op, const struct net_answer *answer)
{
    struct sampling *s = (struct sampling *)op;
    struct docker *d = op->docker;
    struct docker_container c;
    if (!docker_answer_ok(answer) ||
        !docker_container_read(d, json_parse(answer->body, answer->body_len), &c)) {
        docker_op_refused(op, answer);
        return;
    }
    if (c.instance.state != ENGINE_RUNNING && c.instance.state != ENGINE_PAUSED) {
        docker_op_fail(op, -ENOENT, "%.80s is not running", s->id);
        docker_container_free(&c);
        return;
    }
    struct docker_sampler *known = mem_new(sizeof *known);
    known->cores = c.cpu_limit_cores > 0 ? c.cpu_limit_cores : d->host_cores;
    known->memory_bytes = c.memory_limit_bytes ? c.memory_limit_bytes : d->host_memory_bytes;
    if (!c.instance.pid || docker_cgroup_open(c.instance.pid, c.instance.id,
                                              d->samplers.count < KEPT_OPEN, &known->cgroup)) {
        known->cgroup = NULL;
    }
    docker_container_free(&c);
    docker_samplers_forget(d, s->id);
    map_put(&d->samplers, s->id, known);
    if (known->cgroup && docker_cgroup_read(known->cgroup, &s->sample) == 0) {
        set_limits(known, &s->sample);
        sampled(op, answer);
    } else {
        call_stats(s);
    }
}

int docker_sample(struct engine *e, const char *id, engine_sampled_fn *done, void *arg)
{
    struct docker *d = (struct docker *)e;
    struct sampling *s = mem_new(sizeof *s);
    *s = (struct sampling){.done = done, .arg = arg, .id = mem_copy(id)};
    docker_op_begin(d, &s->op, sampling_fail);
    struct docker_sampler *known = map_get(&d->samplers, id);
    if (known && !known->cgroup) {
        call_stats(s);
    } else if (known && docker_cgroup_read(known->cgroup, &s->sample) == 0) {
        set_limits(known, &s->sample);
        docker_op_later(&s->op, 0, sampled);
    } else { /* unknown, or its cgroup has gone: another run, or none */
        char *path = docker_path("/containers/", id, "/json");
        struct docker_request request = {.path = path, .timeout_ms = INSPECT_TIMEOUT_MS};
        docker_op_call(&s->op, &request, inspected);
        mem_free(path);
    }
    return 0;
}
