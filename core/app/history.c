/* history.c: what the master remembers on disk, in the store: every fact, every decision with its
 * inputs, what operators asked for, and figures of services and instances at each sample interval.
 *
 * Invariants: the store is a witness, never a judge: nothing of the daemon waits for it or depends on
 * it. A decision is written when it is new, and again when it is over (or the daemon ends), since alike
 * ones are counted in one record; the later one counts. */
#include "app/history.h"

#include <stdio.h>
#include <string.h>

#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "fleet/fleet.h"
#include "store/store.h"

enum {
    DECISIONS_MS = 1000, /* how often new ones are looked for */
    METRICS = 16,
    KEY_BYTES = 2 * LIMIT_NAME_BYTES + 2,
};

/* What of fleet_status is kept, and what of it by which name: times in seconds, as in views. */
struct metric {
    const char *path, *name;
    double factor;
};

static const struct metric service_metrics[] = {
    {"desired", "desired", 1},
    {"up", "up", 1},
    {"resources.cpu_percent", "cpu_percent", 1},
    {"resources.memory_percent", "memory_percent", 1},
    {"traffic.rate", "rate", 1},
    {"traffic.in_flight", "in_flight", 1},
    {"traffic.queue", "queue", 1},
    {"traffic.p50_ms", "p50", 0.001},
    {"traffic.p95_ms", "p95", 0.001},
    {"traffic.p99_ms", "p99", 0.001},
    {"traffic.error_rate", "error_rate", 1},
    {NULL, NULL, 0},
};

static const struct metric instance_metrics[] = {
    {"cpu_percent", "cpu_percent", 1},
    {"memory_percent", "memory_percent", 1},
    {"memory_bytes", "memory_bytes", 1},
    {"in_flight", "in_flight", 1},
    {"requests", "requests", 1},
    {"errors", "errors", 1},
    {NULL, NULL, 0},
};

/* The series of a service or of one of its instances. */
struct place {
    uint32_t series[METRICS]; /* 0 = not begun */
    uint64_t round;           /* the last in which it was there */
};

/* The last decision of a service that was written. */
struct decided {
    uint64_t wall_ms;
    struct cJSON *record; /* as it is now */
    double count_written;
};

/* ---- What the store says ------------------------------------------------------------------- */

static void on_notice(void *arg, enum store_notice what, const char *text)
{
    (void)arg;
    switch (what) {
    case STORE_DAMAGED:
        log_error("history: a file was damaged and is begun anew", "what=%s", text);
        break;
    case STORE_SAMPLES_STOPPED:
        log_warn("history: no more figures are kept until there is room", "why=%s", text);
        break;
    case STORE_SAMPLES_AGAIN:
        log_info("history: figures are kept again", "why=%s", text);
        break;
    case STORE_EVENTS_WAIT:
        log_error("history: events wait in memory", "why=%s", text);
        break;
    case STORE_EVENTS_AGAIN:
        log_info("history: events are on disk again", "");
        break;
    case STORE_EVENTS_LOST:
        log_error("history: events are lost", "why=%s", text);
        break;
    case STORE_EXPIRED:
        log_info("history: a file was deleted", "what=%s", text);
        break;
    case STORE_NOTICES:
        break;
    }
}

static void on_durable(void *arg, uint64_t sequence)
{
    kept_on_durable(arg, sequence);
}

void history_open(struct master *m, const struct cJSON *cluster)
{
    const struct cJSON *config = json_get(cluster, "history");
    if (!json_bool(config, "enabled", true)) {
        return;
    }
    char *dir = mem_printf("%s/history", m->state_dir), *error = NULL;
    struct history *h = mem_new(sizeof *h);
    struct store_options options = {
        .loop = &m->loop,
        .dir = dir,
        .days = (uint32_t)json_int(config, "days", 0),
        .bytes = (uint64_t)json_int(config, "bytes", 0),
        .rollup_days = (uint32_t)json_int(config, "rollup_days", 0),
        .on_durable = on_durable,
        .on_notice = on_notice,
        .arg = m,
    };
    h->interval_ms = (uint64_t)json_int(cluster, "sample_interval_ms", 5000);
    if (store_open(&options, &h->store, &error)) {
        log_error("no history is kept", "why=%s", error);
        mem_free(error);
        mem_free(h);
    } else {
        m->history = h;
        history_note(m, "reload", "", "tidegate started", NULL, false);
    }
    mem_free(dir);
}

/* ---- Events ------------------------------------------------------------------------------ */

static void write_event(struct history *h, struct store_event *e)
{
    e->wall_ms = e->wall_ms ? e->wall_ms : clock_wall_ms();
    (void)store_event(h->store, e);
}

void history_note(struct master *m, const char *kind, const char *subject, const char *what,
                  const char *detail, bool bad)
{
    if (m->history) {
        write_event(
            m->history,
            &(struct store_event){
                .kind = kind, .subject = subject, .what = what, .detail = detail, .bad = bad});
    }
}

void history_note_exit(struct master *m, const char *kind, unsigned index, int status, int signal)
{
    char *subject = mem_printf("%s.%u", kind, index);
    char *detail = mem_printf("{\"status\":%d,\"signal\":%d}", status, signal);
    history_note(m, kind, subject, "died: another is started", detail, true);
    mem_free(subject);
    mem_free(detail);
}

/* Kinds of facts are many and fine; those of the history are what one looks for. */
static const char *kind_of(const char *fact)
{
    return !strncmp(fact, "backend_", 8)                                  ? "instance"
           : !strncmp(fact, "circuit_", 8) || !strncmp(fact, "panic_", 6) ? "circuit"
           : str_same(fact, "limit")                                      ? "worker"
                                                                          : fact;
}

void history_on_fact(struct master *m, const struct fact *fact)
{
    if (!m->history) {
        return;
    }
    if (str_same(fact->kind, "decision")) {
        m->history->decisions_due_ms = 0; /* written as a record, with its inputs */
        return;
    }
    write_event(m->history, &(struct store_event){.wall_ms = fact->at_ms,
                                                  .kind = kind_of(fact->kind),
                                                  .service = fact->service,
                                                  .subject = fact->backend,
                                                  .what = fact->what,
                                                  .detail = fact->detail,
                                                  .bad = fact->bad});
}

void history_on_operator(struct master *m, const char *who, const char *command,
                         const struct cJSON *args)
{
    if (!m->history) {
        return;
    }
    char *detail = json_text(args);
    const char *subject = json_str(args, "instance", json_str(args, "backend", ""));
    write_event(m->history, &(struct store_event){.kind = "operator",
                                                  .service = json_str(args, "service", ""),
                                                  .subject = subject,
                                                  .what = command,
                                                  .who = who,
                                                  .detail = detail});
    mem_free(detail);
}

/* ---- Decisions --------------------------------------------------------------------------- */

static void write_decision(struct history *h, const char *service, struct decided *d)
{
    char *detail = json_text(d->record);
    write_event(h, &(struct store_event){
                       .wall_ms = d->wall_ms,
                       .kind = "decision",
                       .service = service,
                       .what = json_str(d->record, "action", ""),
                       .detail = detail,
                       .bad = str_same(json_str(d->record, "held_by", ""), "policy_error"),
                   });
    d->count_written = json_num(d->record, "count", 1);
    mem_free(detail);
}

static void take_decision(struct history *h, const struct cJSON *record)
{
    const char *service = json_str(record, "service", "");
    uint64_t wall_ms = (uint64_t)json_int(record, "wall_ms", 0);
    struct decided *d = map_get(&h->decided, service);
    if (!d) {
        d = mem_new(sizeof *d);
        map_put(&h->decided, service, d);
    }
    if (wall_ms < d->wall_ms) {
        return;
    }
    bool anew = wall_ms != d->wall_ms;
    if (anew && d->record && json_num(d->record, "count", 1) != d->count_written) {
        write_decision(h, service, d);
    }
    json_free(d->record);
    d->record = json_copy(record);
    d->wall_ms = wall_ms;
    if (anew) {
        write_decision(h, service, d);
    }
}

static void take_decisions(struct master *m)
{
    struct history *h = m->history;
    struct cJSON *answer = fleet_decisions(m->fleet, NULL, h->decided_ms);
    const struct cJSON *d = json_first(json_get(answer, "decisions"));
    for (; d; d = json_next(d)) {
        uint64_t last_ms = (uint64_t)json_int(d, "last_wall_ms", 0);
        h->decided_ms = last_ms > h->decided_ms ? last_ms : h->decided_ms;
        take_decision(h, d);
    }
    json_free(answer);
}

/* ---- Figures ----------------------------------------------------------------------------- */

static void take_figures(struct history *h, const char *service, const char *instance,
                         const struct cJSON *from, const struct metric *metrics, uint64_t wall_ms)
{
    char key[KEY_BYTES * 2];
    snprintf(key, sizeof key, "%s\n%s", service, instance);
    struct place *p = map_get(&h->places, key);
    if (!p) {
        p = mem_new(sizeof *p);
        map_put(&h->places, key, p);
    }
    p->round = h->round;
    for (int i = 0; metrics[i].name; i++) {
        const struct cJSON *value = json_path(from, metrics[i].path);
        if (json_kind(value) != JSON_NUMBER) {
            continue;
        }
        if (!p->series[i]) {
            p->series[i] = store_series(h->store, service, instance, metrics[i].name);
        }
        store_sample(h->store, p->series[i], wall_ms, json_value_num(value, 0) * metrics[i].factor);
    }
}

static void end_place(struct history *h, struct place *p)
{
    for (int i = 0; i < METRICS; i++) {
        if (p->series[i]) {
            store_series_end(h->store, p->series[i]);
        }
    }
    mem_free(p);
}

/* What was not seen this time has gone. */
static void end_places(struct history *h)
{
    const char *key;
    void *value;
    for (size_t at = 0; map_next(&h->places, &at, &key, &value);) {
        struct place *p = value;
        if (p->round != h->round) {
            map_remove(&h->places, key);
            end_place(h, p);
        }
    }
}

static void take_all_figures(struct master *m, uint64_t now_ms)
{
    struct history *h = m->history;
    uint64_t wall_ms = clock_wall_ms();
    const struct cJSON *status = services_status(m, now_ms);
    h->round++;
    const struct cJSON *s = json_first(json_get(status, "services"));
    for (; s; s = json_next(s)) {
        const char *service = json_str(s, "name", "");
        take_figures(h, service, "", s, service_metrics, wall_ms);
        const struct cJSON *i = json_first(json_get(s, "instances"));
        for (; i; i = json_next(i)) {
            take_figures(h, service, json_str(i, "id", ""), i, instance_metrics, wall_ms);
        }
    }
    end_places(h);
}

void history_tick(struct master *m, uint64_t now_ms)
{
    struct history *h = m->history;
    if (!h) {
        return;
    }
    if (now_ms >= h->decisions_due_ms) {
        h->decisions_due_ms = now_ms + DECISIONS_MS;
        take_decisions(m);
    }
    if (now_ms >= h->figures_due_ms) {
        h->figures_due_ms = services_next_ms(now_ms, h->interval_ms);
        take_all_figures(m, now_ms);
    }
}

/* ---- The end ----------------------------------------------------------------------------- */

static void on_closed(void *arg)
{
    mem_free(arg);
}

void history_close(struct master *m)
{
    struct history *h = m->history;
    const char *key;
    void *value;
    if (!h) {
        return;
    }
    history_answers_close(m);
    take_decisions(m);
    for (size_t at = 0; map_next(&h->decided, &at, &key, &value);) {
        struct decided *d = value;
        if (json_num(d->record, "count", 1) != d->count_written) {
            write_decision(h, key, d);
        }
        json_free(d->record);
        mem_free(d);
    }
    for (size_t at = 0; map_next(&h->places, &at, &key, &value);) {
        mem_free(value);
    }
    map_free(&h->decided);
    map_free(&h->places);
    history_collected_free(h);
    history_note(m, "reload", "", "tidegate ended", NULL, false);
    m->history = NULL;
    store_close(h->store, on_closed, h);
}
