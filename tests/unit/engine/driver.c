/* driver.c: records for specs of engines: what a call ended with, and what an
 * engine told by itself. Strings are copied, since engines only lend them.
 *
 * A record counts its callbacks, so that a spec sees one that came twice, and
 * one that came from inside the start. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"

enum {
    SEEN_INSTANCES = 128,
    SEEN_EVENTS = 16384,
    SEEN_LOG_BYTES = 1 << 16,
    SEEN_OTHERS = 256
};

struct instanceseen {
    char id[80], name[200], service[64], spec_hash[64], health_output[512], address[128],
        error[512];
    uint32_t serial, slot, generation, pid, restarts;
    int32_t state, health, exit_code;
    bool oom_killed;
    uint64_t started_wall_ms;
};

struct enginerecord {
    uint32_t done;
    int32_t code;
    bool starting, reentered;
    char text[512], id[80];
    uint32_t count;
    struct instanceseen instances[SEEN_INSTANCES];
    struct engine_sample sample;
    char log[SEEN_LOG_BYTES];
    uint32_t log_len;
};

struct eventseen {
    int32_t kind, exit_code, health;
    char id[80], name[200], service[64];
};

struct enginenews {
    uint32_t ups, downs, events;
    char description[128], why[512];
    struct eventseen last[SEEN_EVENTS];
    uint32_t others;
    struct eventseen last_others[SEEN_OTHERS]; /* kind and id */
};

struct enginerecord *enginerecord_new(void);
void enginerecord_free(struct enginerecord *r);
struct enginenews *enginenews_new(void);
void enginenews_free(struct enginenews *n);
/* cluster: JSON as script.h shapes it. NULL with *reterr. */
struct engine *enginetest_new(uv_loop_t *loop, struct net_client *client, const char *cluster,
                              const char *state_dir, struct enginenews *news, char **reterr);
void enginetest_open(struct engine *e);
void enginetest_close(struct engine *e);
/* spec: {"name":..., "cluster":..., "service":..., "serial":..., "slot":..., "generation":...,
 * "hash":..., "config": {...}} */
int enginetest_create(struct engine *e, const char *spec, struct enginerecord *r);
int enginetest_start(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_stop(struct engine *e, const char *id, uint32_t timeout_s, struct enginerecord *r);
int enginetest_remove(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_inspect(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_list(struct engine *e, struct enginerecord *r);
int enginetest_sample(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_logs(struct engine *e, const char *id, uint32_t lines, struct enginerecord *r);
/* The JSON comes in the record's log. */
int enginetest_others(struct engine *e, const char *prefix, struct enginerecord *r);
void enginetest_follow(struct engine *e, bool on);

struct enginerecord *enginerecord_new(void)
{
    return mem_new(sizeof(struct enginerecord));
}

void enginerecord_free(struct enginerecord *r)
{
    mem_free(r);
}

struct enginenews *enginenews_new(void)
{
    return mem_new(sizeof(struct enginenews));
}

void enginenews_free(struct enginenews *n)
{
    mem_free(n);
}

/* ---- What calls end with ---- */

static struct enginerecord *take(void *arg, const struct engine_error *error)
{
    struct enginerecord *r = arg;
    r->done++;
    r->code = error->code;
    r->reentered |= r->starting;
    str_copy(r->text, sizeof r->text, error->text);
    return r;
}

static void take_instance(struct enginerecord *r, const struct engine_instance *i)
{
    struct instanceseen *s = &r->instances[r->count];
    if (r->count++ >= SEEN_INSTANCES) {
        return;
    }
    str_copy(s->id, sizeof s->id, i->id);
    str_copy(s->name, sizeof s->name, i->name);
    str_copy(s->service, sizeof s->service, i->service);
    str_copy(s->spec_hash, sizeof s->spec_hash, i->spec_hash);
    str_copy(s->health_output, sizeof s->health_output, i->health_output);
    str_copy(s->address, sizeof s->address, i->address);
    str_copy(s->error, sizeof s->error, i->error);
    s->serial = i->serial;
    s->slot = i->slot;
    s->generation = i->generation;
    s->pid = i->pid;
    s->restarts = i->restarts;
    s->state = (int32_t)i->state;
    s->health = (int32_t)i->health;
    s->exit_code = i->exit_code;
    s->oom_killed = i->oom_killed;
    s->started_wall_ms = i->started_wall_ms;
}

static void on_done(void *arg, const struct engine_error *error)
{
    take(arg, error);
}

static void on_created(void *arg, const struct engine_error *error, const char *id)
{
    struct enginerecord *r = take(arg, error);
    str_copy(r->id, sizeof r->id, id ? id : "");
}

static void on_inspected(void *arg, const struct engine_error *error,
                         const struct engine_instance *instance)
{
    struct enginerecord *r = take(arg, error);
    if (!error->code) {
        take_instance(r, instance);
    }
}

static void on_listed(void *arg, const struct engine_error *error,
                      const struct engine_instance *instances, size_t count)
{
    struct enginerecord *r = take(arg, error);
    for (size_t i = 0; i < count; i++) {
        take_instance(r, &instances[i]);
    }
}

static void on_sampled(void *arg, const struct engine_error *error,
                       const struct engine_sample *sample)
{
    struct enginerecord *r = take(arg, error);
    if (!error->code) {
        r->sample = *sample;
    }
}

static void on_logs(void *arg, const struct engine_error *error, const char *text, size_t len)
{
    struct enginerecord *r = take(arg, error);
    r->log_len = (uint32_t)(len < SEEN_LOG_BYTES ? len : SEEN_LOG_BYTES);
    memcpy(r->log, text, r->log_len);
}

static void on_others(void *arg, const struct engine_error *error, const struct cJSON *others)
{
    struct enginerecord *r = take(arg, error);
    char *text = others ? json_text(others) : mem_copy("");
    size_t len = strlen(text);
    r->log_len = (uint32_t)(len < SEEN_LOG_BYTES ? len : SEEN_LOG_BYTES);
    memcpy(r->log, text, r->log_len);
    mem_free(text);
}

/* ---- What the engine tells ---- */

static void on_up(void *arg, const char *description)
{
    struct enginenews *n = arg;
    n->ups++;
    str_copy(n->description, sizeof n->description, description);
}

static void on_down(void *arg, const char *why)
{
    struct enginenews *n = arg;
    n->downs++;
    str_copy(n->why, sizeof n->why, why);
}

static void on_event(void *arg, const struct engine_event *event)
{
    struct enginenews *n = arg;
    struct eventseen *s = &n->last[n->events++ % SEEN_EVENTS];
    s->kind = (int32_t)event->kind;
    s->exit_code = event->exit_code;
    s->health = (int32_t)event->health;
    str_copy(s->id, sizeof s->id, event->id);
    str_copy(s->name, sizeof s->name, event->name);
    str_copy(s->service, sizeof s->service, event->service);
}

static void on_other(void *arg, enum engine_other_kind kind, const char *id)
{
    struct enginenews *n = arg;
    struct eventseen *s = &n->last_others[n->others++ % SEEN_OTHERS];
    s->kind = (int32_t)kind;
    str_copy(s->id, sizeof s->id, id);
}

/* ---- Starting calls ---- */

struct engine *enginetest_new(uv_loop_t *loop, struct net_client *client, const char *cluster,
                              const char *state_dir, struct enginenews *news, char **reterr)
{
    struct cJSON *config = json_parse(cluster, strlen(cluster));
    struct engine_options options = {
        .loop = loop,
        .client = client,
        .cluster_config = config,
        .state_dir = state_dir,
        .listener =
            {.arg = news, .up = on_up, .down = on_down, .event = on_event, .other = on_other},
    };
    struct engine *e = NULL;
    engine_new(&options, &e, reterr);
    json_free(config);
    return e;
}

void enginetest_open(struct engine *e)
{
    e->kind->open(e);
}

void enginetest_close(struct engine *e)
{
    e->kind->close(e);
}

static int started(struct enginerecord *r, int rc)
{
    r->starting = false;
    return rc;
}

static struct enginerecord *starting(struct enginerecord *r)
{
    r->starting = true;
    return r;
}

int enginetest_create(struct engine *e, const char *text, struct enginerecord *r)
{
    struct cJSON *json = json_parse(text, strlen(text));
    struct engine_spec spec = {
        .name = json_str(json, "name", ""),
        .cluster = json_str(json, "cluster", ""),
        .service = json_str(json, "service", ""),
        .serial = (uint32_t)json_int(json, "serial", 0),
        .slot = (uint32_t)json_int(json, "slot", 0),
        .generation = (uint32_t)json_int(json, "generation", 0),
        .spec_hash = json_str(json, "hash", ""),
        .service_config = json_get(json, "config"),
    };
    int rc = started(r, e->kind->create(e, &spec, on_created, starting(r)));
    json_free(json);
    return rc;
}

int enginetest_start(struct engine *e, const char *id, struct enginerecord *r)
{
    return started(r, e->kind->start(e, id, on_done, starting(r)));
}

int enginetest_stop(struct engine *e, const char *id, uint32_t timeout_s, struct enginerecord *r)
{
    return started(r, e->kind->stop(e, id, timeout_s, on_done, starting(r)));
}

int enginetest_remove(struct engine *e, const char *id, struct enginerecord *r)
{
    return started(r, e->kind->remove(e, id, on_done, starting(r)));
}

int enginetest_inspect(struct engine *e, const char *id, struct enginerecord *r)
{
    return started(r, e->kind->inspect(e, id, on_inspected, starting(r)));
}

int enginetest_list(struct engine *e, struct enginerecord *r)
{
    return started(r, e->kind->list(e, on_listed, starting(r)));
}

int enginetest_sample(struct engine *e, const char *id, struct enginerecord *r)
{
    return started(r, e->kind->sample(e, id, on_sampled, starting(r)));
}

int enginetest_logs(struct engine *e, const char *id, uint32_t lines, struct enginerecord *r)
{
    return started(r, e->kind->logs(e, id, lines, on_logs, starting(r)));
}

int enginetest_others(struct engine *e, const char *prefix, struct enginerecord *r)
{
    return started(r, e->kind->others(e, prefix, on_others, starting(r)));
}

void enginetest_follow(struct engine *e, bool on)
{
    e->kind->follow(e, on);
}
