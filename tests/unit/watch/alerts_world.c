/* alerts_world.c: see alerts_world.h. */
#include "alerts_world.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "watch/alerts.h"

struct alerts_world {
    struct alerts *alerts;
    struct alerts_now now;
    struct map disk;     /* "KIND KEY" -> text */
    struct cJSON *batch; /* writes that are not whole yet */
    bool in_batch;
    uint32_t loose, batches;
    struct cJSON *told;
    struct buf facts;
    char *text; /* lent */
};

static void write_one(struct alerts_world *w, const char *place, const char *json)
{
    mem_free(json ? map_put(&w->disk, place, mem_copy(json)) : map_remove(&w->disk, place));
}

static void port_begin(void *arg)
{
    struct alerts_world *w = arg;
    w->in_batch = true;
    w->batches++;
}

static void port_commit(void *arg)
{
    struct alerts_world *w = arg;
    for (const struct cJSON *i = json_first(w->batch); i; i = json_next(i)) {
        write_one(w, json_str(i, "place", ""), json_str(i, "json", NULL));
    }
    json_free(w->batch);
    w->batch = json_array();
    w->in_batch = false;
}

static void port_save(void *arg, const char *kind, const char *key, const char *json)
{
    struct alerts_world *w = arg;
    struct cJSON *one = json_object();
    char *place = mem_printf("%s %s", kind, key);
    json_set_str(one, "place", place);
    if (json) {
        json_set_str(one, "json", json);
    }
    json_set(w->batch, NULL, one);
    w->loose += !w->in_batch;
    mem_free(place);
}

static void port_remove(void *arg, const char *kind, const char *key)
{
    port_save(arg, kind, key, NULL);
}

static void port_notify(void *arg, const struct cJSON *message)
{
    struct alerts_world *w = arg;
    w->loose += !w->in_batch;
    struct cJSON *copy = json_copy(message);
    json_set_num(copy, "now_ms", (double)w->now.now_ms);
    json_set(w->told, NULL, copy);
}

static void port_fact(void *arg, const struct alerts_fact *fact)
{
    struct alerts_world *w = arg;
    (void)buf_printf(&w->facts, "%s|%s|%s|%s|%s|%s\n", fact->what, fact->name, fact->service,
                     fact->instance, fact->detail, fact->who);
}

static void make(struct alerts_world *w)
{
    struct alerts_ports ports = {
        .arg = w,
        .begin = port_begin,
        .commit = port_commit,
        .save = port_save,
        .remove = port_remove,
        .notify = port_notify,
        .fact = port_fact,
    };
    w->alerts = alerts_new(&ports);
}

struct alerts_world *alerts_world_new(void)
{
    struct alerts_world *w = mem_new(sizeof *w);
    w->now = (struct alerts_now){.now_ms = 1000000, .wall_ms = 1767225600000};
    w->batch = json_array();
    w->told = json_array();
    buf_init(&w->facts, 16 << 20);
    make(w);
    return w;
}

void alerts_world_free(struct alerts_world *w)
{
    const char *key;
    void *value;
    alerts_free(w->alerts);
    for (size_t at = 0; map_next(&w->disk, &at, &key, &value);) {
        mem_free(value);
    }
    map_free(&w->disk);
    json_free(w->batch);
    json_free(w->told);
    buf_free(&w->facts);
    mem_free(w->text);
    mem_free(w);
}

static struct cJSON *parsed(const char *text)
{
    return json_parse(text, strlen(text));
}

void alerts_world_apply(struct alerts_world *w, const char *config)
{
    struct cJSON *json = parsed(config);
    alerts_apply(w->alerts, json, w->now);
    json_free(json);
}

void alerts_world_evaluate(struct alerts_world *w, const char *views, const char *results,
                           const char *suppressed)
{
    struct cJSON *v = parsed(views), *r = parsed(results), *s = parsed(suppressed);
    alerts_evaluate(w->alerts, v, r, s, w->now);
    json_free(v);
    json_free(r);
    json_free(s);
}

void alerts_world_run(struct alerts_world *w, uint32_t ms)
{
    uint64_t end = w->now.now_ms + ms;
    while (w->now.now_ms < end) {
        uint64_t step = end - w->now.now_ms < 100 ? end - w->now.now_ms : 100;
        w->now.now_ms += step;
        w->now.wall_ms += step;
        alerts_tick(w->alerts, w->now);
    }
}

void alerts_world_restart(struct alerts_world *w, const char *config, uint32_t ms)
{
    const char *place;
    void *text;
    alerts_free(w->alerts);
    json_free(w->batch);
    w->batch = json_array();
    w->in_batch = false;
    w->now.wall_ms += ms;
    w->now.now_ms = 5000;
    make(w);
    alerts_world_apply(w, config);
    struct cJSON *all = json_array(); /* restoring may write */
    for (size_t at = 0; map_next(&w->disk, &at, &place, &text);) {
        struct cJSON *one = json_object();
        json_set_str(one, "place", place);
        json_set_str(one, "json", text);
        json_set(all, NULL, one);
    }
    for (const struct cJSON *i = json_first(all); i; i = json_next(i)) {
        const char *where = json_str(i, "place", "");
        const char *blank = strchr(where, ' ');
        char *kind = mem_copy_bytes(where, (size_t)(blank - where));
        alerts_restore(w->alerts, kind, blank + 1, json_str(i, "json", ""), w->now);
        mem_free(kind);
    }
    json_free(all);
}

void alerts_world_restore(struct alerts_world *w, const char *kind, const char *key,
                          const char *json)
{
    alerts_restore(w->alerts, kind, key, json, w->now);
}

static const char *lend(struct alerts_world *w, char *text)
{
    mem_free(w->text);
    w->text = text;
    return text;
}

const char *alerts_world_told(struct alerts_world *w)
{
    char *text = json_text(w->told);
    json_free(w->told);
    w->told = json_array();
    return lend(w, text);
}

const char *alerts_world_facts(struct alerts_world *w)
{
    char *text = mem_copy(buf_str(&w->facts));
    buf_clear(&w->facts);
    return lend(w, text);
}

const char *alerts_world_documents(struct alerts_world *w)
{
    struct cJSON *out = json_object();
    const char *place;
    void *text;
    for (size_t at = 0; map_next(&w->disk, &at, &place, &text);) {
        json_set(out, place, parsed(text));
    }
    char *all = json_text(out);
    json_free(out);
    return lend(w, all);
}

uint32_t alerts_world_loose(struct alerts_world *w)
{
    return w->loose;
}

uint32_t alerts_world_batches(struct alerts_world *w)
{
    return w->batches;
}

const char *alerts_world_ask(struct alerts_world *w, const char *what, const char *object)
{
    struct cJSON *out, *args = parsed(object);
    if (str_same(what, "status")) {
        out = alerts_status(w->alerts, w->now);
    } else if (str_same(what, "silences")) {
        out = alerts_silences(w->alerts, w->now);
    } else if (str_same(what, "silence")) {
        out = alerts_silence(w->alerts, json_get(args, "matchers"),
                             (uint64_t)json_num(args, "for_ms", 0), "ann", "known", w->now);
    } else if (str_same(what, "unsilence")) {
        out = alerts_unsilence(w->alerts, object, "ann", w->now);
    } else {
        out = alerts_acknowledge(w->alerts, object, "ann", "looking", w->now);
    }
    char *text = json_text(out);
    json_free(out);
    json_free(args);
    return lend(w, text);
}

uint32_t alerts_world_count(struct alerts_world *w, const char *state, const char *severity)
{
    struct alerts_figures f;
    alerts_figures(w->alerts, &f);
    for (unsigned s = 0; s < ALERTS_STATES; s++) {
        for (unsigned v = 0; v < ALERTS_SEVERITIES; v++) {
            if (str_same(alerts_state_name(s), state) &&
                str_same(alerts_severity_name(v), severity)) {
                return (uint32_t)f.count[s][v];
            }
        }
    }
    return UINT32_MAX;
}

uint64_t alerts_world_policy_errors(struct alerts_world *w)
{
    struct alerts_figures f;
    alerts_figures(w->alerts, &f);
    return f.policy_errors;
}

static uint64_t thread_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t alerts_world_cost_us(struct alerts_world *w, const char *views, uint32_t count)
{
    struct cJSON *v = parsed(views);
    uint64_t begun = thread_us();
    for (uint32_t i = 0; i < count; i++) {
        alerts_evaluate(w->alerts, v, NULL, NULL, w->now);
        w->now.now_ms += 5000;
        w->now.wall_ms += 5000;
    }
    uint64_t spent = thread_us() - begun;
    json_free(v);
    return spent;
}

uint64_t alerts_world_blocks(void)
{
    return mallinfo2().uordblks;
}
