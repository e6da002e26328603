/* faults.c: policies that fail, wherever they run, and what follows.
 *
 *   policy process: decisions, evaluations, notices --+
 *   workers: picks, request functions ----------------+--> faults_note --> log, counters, the alert's words
 *                                                              |
 *                        `limit` within `window` of one policy at one place: quarantine
 *                                                              +--> event, QUARANTINE to who runs it
 *
 * A policy in quarantine is not asked any more, its fallback decides until the next reload. The count is
 * here and not where policies run, since all workers together count, and since a process that is started
 * again must hear of it.
 *
 * Owns: one struct fault for each policy and place that ever failed. Does not: fall back; whoever asks a
 * policy does that, from its first error on. */
#include "app/master.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/strikes.h"
#include "watch/watch.h"

enum {
    FAULTS_MOST = 4096, /* places; what fails beyond them is counted in the sum only */
    LOG_MS = 10000,     /* between two places where the same one fails */
    LIMIT_DEFAULT = 5,
    WINDOW_DEFAULT_MS = 600000
};

struct fault {
    const struct fault_point *point;
    char *of; /* service, alert or channel */
    unsigned place;
    uint64_t errors; /* ever: a counter of the metrics */
    /* Of the generation in force; error NULL: none. */
    char *policy, *error, *input;
    uint64_t count, calls, last_wall_ms, quarantined_wall_ms;
    uint64_t logged_ms; /* 0 = not yet */
    uint32_t generation;
    struct strikes strikes;
    bool quarantined;
};

static const struct fault_point {
    const char *name, *fallback;
    bool in_workers, of_service;
} POINTS[] = {
    {"balance", "least connections decide", true, true},
    {"request", "requests go on without their data", true, true},
    {"scale", "the number of instances stays", false, true},
    {"part", "the policies beside it decide", false, true},
    {"alert", "its state stays", false, false},
    {"anomaly", "nothing is judged", false, true},
    {"notify", "messages go where the alerts say", false, false},
    {"template", "messages go in tidegate's own words", false, false},
};

static const struct fault_point *point_of(const char *name)
{
    size_t i = 0;
    while (i < sizeof POINTS / sizeof *POINTS && !str_same(POINTS[i].name, name)) {
        i++;
    }
    return i < sizeof POINTS / sizeof *POINTS ? &POINTS[i] : NULL;
}

static struct fault *find(struct master *m, const struct fault_point *point,
                          const struct fault_news *news)
{
    char *key = mem_printf("%s %u %s", point->name, news->place, news->of);
    struct fault *f = map_get(&m->faults.by_key, key);
    if (!f && m->faults.by_key.count < FAULTS_MOST) {
        f = mem_new(sizeof *f);
        f->point = point;
        f->of = mem_copy(news->of);
        f->place = news->place;
        (void)map_put(&m->faults.by_key, key, f);
    }
    mem_free(key);
    return f;
}

static void replace(char **text, const char *by)
{
    mem_free(*text);
    *text = mem_copy(by);
}

/* "balance of catalog, route 2", "alert HighCPU", "notify" */
static char *title(const struct fault *f)
{
    const char *between = !*f->of ? "" : str_same(f->point->name, "alert") ? " " : " of ";
    return f->place > 1 ? mem_printf("%s%s%s, route %u", f->point->name, between, f->of, f->place)
                        : mem_printf("%s%s%s", f->point->name, between, f->of);
}

/* ---- Quarantine --------------------------------------------------------------------------- */

static char *message_of(const struct fault *f)
{
    struct cJSON *said = json_object();
    json_set_str(said, "point", f->point->name);
    json_set_str(said, "of", f->of);
    json_set_num(said, "place", f->place);
    json_set_str(said, "error", f->error);
    char *text = json_text(said);
    json_free(said);
    return text;
}

static void quarantine(struct master *m, struct fault *f)
{
    char *message = message_of(f), *about = title(f);
    char *what =
        mem_printf("a policy is in quarantine until the next reload: %s", f->point->fallback);
    char *detail = mem_printf("%s (%s), generation %u: %llu errors; the last: %s%s%s", about,
                              f->policy, f->generation, (unsigned long long)f->count, f->error,
                              *f->input ? "; asked with " : "", f->input);
    f->quarantined = true;
    f->quarantined_wall_ms = clock_wall_ms();
    m->faults.quarantined++;
    facts_take(m, &(struct fact){
                      .at_ms = f->quarantined_wall_ms,
                      .kind = "policy",
                      .service = f->point->of_service ? f->of : "",
                      .backend = f->point->of_service ? "" : f->of,
                      .what = what,
                      .detail = detail,
                      .worker = -1,
                      .bad = true,
                  });
    if (f->point->in_workers) {
        workers_tell(m, IPC_QUARANTINE, message);
    } else if (m->policy) {
        child_send(m->policy, IPC_QUARANTINE, m->generation, message);
    }
    mem_free(message);
    mem_free(about);
    mem_free(what);
    mem_free(detail);
}

void faults_give(struct master *m, struct child *child, bool worker)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&m->faults.by_key, &at, &key, &value)) {
        const struct fault *f = value;
        if (f->quarantined && f->point->in_workers == worker) {
            char *message = message_of(f);
            child_send(child, IPC_QUARANTINE, m->generation, message);
            mem_free(message);
        }
    }
}

void faults_apply(struct master *m, const struct cJSON *config)
{
    const struct cJSON *rule = json_path(config, "cluster.policy_errors");
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&m->faults.by_key, &at, &key, &value)) {
        struct fault *f = value;
        mem_release(&f->policy);
        mem_release(&f->error);
        mem_release(&f->input);
        f->count = f->calls = f->logged_ms = 0;
        f->strikes = (struct strikes){0};
        f->quarantined = false;
    }
    m->faults.quarantined = 0;
    m->faults.limit = (uint32_t)json_int(rule, "limit", LIMIT_DEFAULT);
    m->faults.window_ms = (uint64_t)json_int(rule, "window_ms", WINDOW_DEFAULT_MS);
}

/* ---- News --------------------------------------------------------------------------------- */

/* Whether both begin with the same "file:line:"; what follows may hold a number that changes. */
static bool same_place(const char *a, const char *b)
{
    const char *file = strchr(a, ':'), *line = file ? strchr(file + 1, ':') : NULL;
    return line ? strncmp(a, b, (size_t)(line - a)) == 0 : str_same(a, b);
}

void faults_note(struct master *m, const struct fault_news *news)
{
    const struct fault_point *point = point_of(news->point);
    struct fault *f = point ? find(m, point, news) : NULL;
    if (!f || news->generation != m->generation) {
        return; /* of a generation that is gone: whoever wrote it has changed it */
    }
    uint64_t now_ms = clock_now_ms(), errors = news->errors ? news->errors : 1;
    uint64_t strikes = news->once ? 1 : errors;
    bool known = f->error && same_place(f->error, news->error), enough = false;
    f->errors += errors;
    f->count += errors;
    f->last_wall_ms = clock_wall_ms();
    f->generation = news->generation;
    replace(&f->policy, news->policy);
    replace(&f->error, news->error);
    replace(&f->input, news->input);
    if (!f->logged_ms || (!known && now_ms - f->logged_ms >= LOG_MS)) {
        char *about = title(f);
        f->logged_ms = now_ms;
        log_warn("a policy failed", "of=%s policy=%s generation=%u error=%s input=%s fallback=%s",
                 about, f->policy, f->generation, f->error, f->input, point->fallback);
        mem_free(about);
    }
    for (uint64_t i = 0; i < strikes && !enough && !news->harmless; i++) {
        f->calls += news->calls / strikes;
        enough = strikes_add(&f->strikes, m->faults.limit, m->faults.window_ms, now_ms, f->calls);
    }
    if (enough && !f->quarantined) {
        quarantine(m, f);
    }
}

unsigned faults_on_decisions(struct master *m, const struct cJSON *decisions, uint32_t generation)
{
    unsigned errors = 0;
    const struct cJSON *one = json_first(json_get(decisions, "services"));
    for (; one; one = json_next(one)) {
        const char *error = json_str(one, "error", NULL);
        const struct cJSON *part = json_get(one, "part");
        if (part) {
            errors++;
            faults_note(m, &(struct fault_news){.point = "part",
                                                .of = json_name(one),
                                                .policy = json_str(part, "policy", ""),
                                                .error = json_str(part, "error", ""),
                                                .input = json_str(part, "input", ""),
                                                .generation = generation,
                                                .harmless = true});
        }
        if (!error || json_bool(one, "quarantined", false)) {
            continue;
        }
        errors++;
        faults_note(m, &(struct fault_news){.point = "scale",
                                            .of = json_name(one),
                                            .policy = json_str(one, "policy", ""),
                                            .error = error,
                                            .input = json_str(one, "input", ""),
                                            .generation = generation});
    }
    return errors;
}

static void note_rule(struct master *m, const struct cJSON *rule)
{
    const struct cJSON *first = NULL;
    uint64_t errors = 0;
    for (const struct cJSON *s = json_first(rule); s; s = json_next(s)) {
        bool failed = json_str(s, "error", NULL) != NULL;
        first = failed && !first ? s : first;
        errors += failed;
    }
    if (first) {
        faults_note(m, &(struct fault_news){.point = "alert",
                                            .of = json_name(rule),
                                            .policy = json_str(first, "policy", ""),
                                            .error = json_str(first, "error", ""),
                                            .input = json_str(first, "input", ""),
                                            .generation = m->generation,
                                            .errors = errors,
                                            .once = true});
    }
}

/* All errors of one service: they count once. */
static void note_anomalies(struct master *m, const struct cJSON *first)
{
    uint64_t errors = 0;
    for (const struct cJSON *e = first; e; e = json_next(e)) {
        errors += str_same(json_str(e, "service", ""), json_str(first, "service", ""));
    }
    faults_note(m, &(struct fault_news){.point = "anomaly",
                                        .of = json_str(first, "service", ""),
                                        .policy = json_str(first, "policy", ""),
                                        .error = json_str(first, "error", ""),
                                        .input = json_str(first, "input", ""),
                                        .generation = m->generation,
                                        .errors = errors,
                                        .once = true});
}

void faults_on_evaluated(struct master *m, const struct cJSON *answer)
{
    for (const struct cJSON *r = json_first(json_get(answer, "rules")); r; r = json_next(r)) {
        note_rule(m, r);
    }
    const struct cJSON *errors = json_first(json_get(answer, "errors"));
    for (const struct cJSON *e = errors; e; e = json_next(e)) {
        const struct cJSON *before = errors;
        while (before != e &&
               !str_same(json_str(before, "service", ""), json_str(e, "service", ""))) {
            before = json_next(before);
        }
        if (before == e && !json_bool(e, "limit", false)) {
            note_anomalies(m, e);
        }
    }
}

unsigned faults_on_notified(struct master *m, const struct cJSON *answer)
{
    unsigned errors = 0;
    const struct cJSON *e = json_first(json_get(answer, "errors"));
    for (; e; e = json_next(e)) {
        errors++;
        faults_note(m, &(struct fault_news){.point = json_str(e, "point", "notify"),
                                            .of = json_str(e, "of", ""),
                                            .policy = json_str(e, "policy", ""),
                                            .error = json_str(e, "error", ""),
                                            .input = json_str(e, "input", ""),
                                            .generation = m->generation});
    }
    return errors;
}

void faults_on_worker(struct master *m, const struct cJSON *said, uint32_t generation)
{
    faults_note(m, &(struct fault_news){.point = json_str(said, "point", ""),
                                        .of = json_str(said, "service", ""),
                                        .place = (unsigned)json_int(said, "place", 0),
                                        .policy = json_str(said, "policy", ""),
                                        .error = json_str(said, "error", ""),
                                        .input = json_str(said, "input", ""),
                                        .generation = generation,
                                        .errors = (uint64_t)json_int(said, "errors", 1),
                                        .calls = (uint64_t)json_int(said, "calls", 0)});
}

/* ---- Telling ------------------------------------------------------------------------------ */

struct cJSON *faults_status(const struct master *m)
{
    struct cJSON *list = json_array();
    size_t at = 0;
    const char *key;
    void *value;
    char when[32];
    while (map_next(&m->faults.by_key, &at, &key, &value)) {
        const struct fault *f = value;
        if (!f->error) {
            continue;
        }
        struct cJSON *one = json_object();
        char *about = title(f);
        json_set_str(one, "about", about);
        json_set_str(one, "point", f->point->name);
        json_set_str(one, "of", f->of);
        if (f->place) {
            json_set_num(one, "route", f->place);
        }
        json_set_str(one, "policy", f->policy);
        json_set_str(one, "error", f->error);
        json_set_str(one, "input", f->input);
        json_set_str(one, "fallback", f->point->fallback);
        json_set_num(one, "generation", f->generation);
        json_set_num(one, "errors", (double)f->count);
        clock_iso(f->last_wall_ms, when, sizeof when);
        json_set_str(one, "last", when);
        json_set_bool(one, "quarantined", f->quarantined);
        if (f->quarantined) {
            clock_iso(f->quarantined_wall_ms, when, sizeof when);
            json_set_str(one, "since", when);
        }
        json_set(list, NULL, one);
        mem_free(about);
    }
    return list;
}

char *faults_words(const struct master *m)
{
    const struct fault *last = NULL;
    size_t at = 0, others = 0;
    const char *key;
    void *value;
    while (map_next(&m->faults.by_key, &at, &key, &value)) {
        const struct fault *f = value;
        if (!f->error) {
            continue;
        }
        others++;
        bool more = !last || f->quarantined > last->quarantined ||
                    (f->quarantined == last->quarantined && f->last_wall_ms > last->last_wall_ms);
        last = more ? f : last;
    }
    if (!last) {
        return mem_copy("");
    }
    char *about = title(last);
    char *more = others > 1 ? mem_printf("; and %zu more", others - 1) : mem_copy("");
    char *words =
        mem_printf("%s: %s%s%s (generation %u)%s", about, last->error,
                   *last->input ? "; asked with " : "", last->input, last->generation, more);
    mem_free(about);
    mem_free(more);
    return words;
}

void faults_write(const struct master *m, struct families *families)
{
    size_t at = 0;
    const char *key;
    void *value;
    char route[16]; /* a number below 2^32 */
    while (map_next(&m->faults.by_key, &at, &key, &value)) {
        const struct fault *f = value;
        (void)snprintf(route, sizeof route, "%u", f->place);
        const struct watch_fault told = {f->point->name, f->of, f->place ? route : "", f->errors,
                                         f->quarantined};
        watch_fault(families, &told);
    }
}

void faults_close(struct master *m)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&m->faults.by_key, &at, &key, &value)) {
        struct fault *f = value;
        mem_free(f->of);
        mem_free(f->policy);
        mem_free(f->error);
        mem_free(f->input);
        mem_free(f);
    }
    map_free(&m->faults.by_key);
}
