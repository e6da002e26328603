/* recorded.c: see recorded.h.
 *
 * Owns: the store while it reads, when no daemon has it. Figures are asked for in portions, so that neither answers
 * nor questions grow with the time that is asked for. */
#include "commands/recorded.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <uv.h>

#include "admin/admin.h"
#include "app/paths.h"
#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "commands/range.h"
#include "store/store.h"

enum {
    ASK_MS = 30000,
    PORTION = 20000,     /* steps of a question */
    STEPS_MOST = 200000, /* of all; more are taken together */
    KEPT_DAYS = 3650,    /* a look deletes nothing */
    GAP_STEPS = 4,       /* so many steps without a row are a gap */
    CAPACITY_ROWS = 20   /* fewer tell nothing of the capacity */
};

struct points {
    double *at_s, *value;
    size_t count, room;
};

struct source {
    const char *service;
    uint64_t from_ms, to_ms, step_ms;
    char *socket; /* NULL: the store is asked */
    struct store *store;
    uv_loop_t loop;
    struct points *into; /* of the question under way */
    int rc;
    bool answered;
};

static void put(struct points *p, double at_ms, double value)
{
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 1024;
        p->at_s = mem_resize(p->at_s, p->room * sizeof *p->at_s);
        p->value = mem_resize(p->value, p->room * sizeof *p->value);
    }
    /* The first step of a portion may begin before it. */
    if (isfinite(value) && (!p->count || at_ms / 1000 > p->at_s[p->count - 1])) {
        p->at_s[p->count] = at_ms / 1000;
        p->value[p->count++] = value;
    }
}

static void points_free(struct points *p)
{
    mem_free(p->at_s);
    mem_free(p->value);
    *p = (struct points){NULL, NULL, 0, 0};
}

/* ---- Of a daemon ---- */

static int ask(const struct source *s, struct cJSON *request, struct cJSON **ret_answer,
               char **reterr)
{
    struct cJSON *answer = NULL;
    int rc = admin_ask(s->socket, request, ASK_MS, &answer);
    json_free(request);
    if (rc) {
        *reterr = mem_printf("the daemon does not answer on %s: %s", s->socket, err_text(rc));
    } else if (!json_bool(answer, "ok", false)) {
        *reterr = mem_copy(json_str(answer, "error", "the daemon refuses"));
        rc = -EINVAL;
    } else {
        *ret_answer = answer;
        return 0;
    }
    json_free(answer);
    return rc;
}

static int ask_points(const struct source *s, const char *metric, uint64_t from_ms, uint64_t to_ms,
                      struct points *into, char **reterr)
{
    struct cJSON *request = json_object(), *answer = NULL;
    json_set_str(request, "command", "history");
    json_set_str(request, "service", s->service);
    json_set_str(request, "metric", metric);
    json_set_str(request, "instance", "");
    json_set_num(request, "from_ms", (double)from_ms);
    json_set_num(request, "to_ms", (double)to_ms);
    json_set_num(request, "step_ms", (double)s->step_ms);
    int rc = ask(s, request, &answer, reterr);
    const struct cJSON *series = rc ? NULL : json_first(json_get(answer, "series"));
    for (const struct cJSON *p = json_first(json_get(series, "points")); p; p = json_next(p)) {
        /* [at_ms, min, max, mean, last, count] */
        const struct cJSON *at = json_first(p), *mean = at;
        for (int i = 0; i < 3 && mean; i++) {
            mean = json_next(mean);
        }
        put(into, json_value_num(at, NAN), json_value_num(mean, NAN));
    }
    json_free(answer);
    return rc;
}

/* Bounds of the service as it is now; those of one that is gone are not known. */
static void ask_bounds(const struct source *s, struct recorded *to)
{
    struct cJSON *request = json_object(), *answer = NULL;
    char *why = NULL;
    json_set_str(request, "command", "status");
    json_set_str(request, "service", s->service);
    if (ask(s, request, &answer, &why) == 0) {
        const struct cJSON *service = json_first(json_get(answer, "services"));
        to->min = (uint32_t)json_int(service, "min", 0);
        to->max = (uint32_t)json_int(service, "max", 0);
        json_free(answer);
    }
    mem_free(why);
}

/* ---- Of the store itself ---- */

static void on_points(void *arg, int rc, const struct store_points *series, size_t count)
{
    struct source *s = arg;
    s->rc = rc;
    s->answered = true;
    for (size_t i = 0; count && i < series->count; i++) {
        put(s->into, (double)series->points[i].at_ms, series->points[i].mean);
    }
}

static int read_points(struct source *s, const char *metric, uint64_t from_ms, uint64_t to_ms,
                       struct points *into, char **reterr)
{
    const struct store_range range = {.service = s->service,
                                      .instance = "",
                                      .metric = metric,
                                      .from_ms = from_ms,
                                      .to_ms = to_ms,
                                      .step_ms = s->step_ms};
    s->into = into;
    s->answered = false;
    int rc = store_query_samples(s->store, &range, on_points, s);
    while (!rc && !s->answered) {
        uv_run(&s->loop, UV_RUN_ONCE);
    }
    rc = rc ? rc : s->rc;
    if (rc) {
        *reterr = mem_printf("the history cannot be read: %s", err_text(rc));
    }
    return rc;
}

/* Nothing that a daemon would expire is touched: its configuration is not known here. */
static int open_store(struct source *s, const char *dir, char **reterr)
{
    const struct store_options options = {.loop = &s->loop,
                                          .dir = dir,
                                          .days = KEPT_DAYS,
                                          .bytes = UINT64_MAX / 2,
                                          .rollup_days = KEPT_DAYS,
                                          .event_days = KEPT_DAYS,
                                          .reserve_bytes = 1};
    return store_open(&options, &s->store, reterr);
}

/* ---- Both ---- */

static int open_source(struct source *s, const struct recorded_place *place, char **reterr)
{
    char *no_daemon = NULL, *no_history = NULL, *dir = NULL;
    int rc = place->state_dir
                 ? -ENOENT
                 : paths_find_socket(place->socket, place->cluster, &s->socket, &no_daemon);
    if (rc == 0) {
        struct cJSON *request = json_object(), *answer = NULL;
        json_set_str(request, "command", "version");
        rc = ask(s, request, &answer, &no_daemon);
        json_free(answer);
        if (rc) {
            mem_release(&s->socket);
        }
        bool none = rc == -ENOENT || rc == -ECONNREFUSED || rc == -EACCES;
        rc = none && !place->socket ? -ENOENT : rc;
    }
    if (rc == -ENOENT && !place->socket) {
        rc = paths_find_history(place->state_dir, place->cluster, &dir, &no_history);
        rc = rc ? rc : open_store(s, dir, &no_history);
        if (rc) {
            *reterr = mem_printf("%s%s%s", no_history ? no_history : "", no_daemon ? "; " : "",
                                 no_daemon ? no_daemon : "");
        }
    } else if (rc) {
        *reterr = mem_copy(no_daemon);
    }
    mem_free(no_daemon);
    mem_free(no_history);
    mem_free(dir);
    return rc;
}

static void close_source(struct source *s)
{
    if (s->store) {
        store_close(s->store, NULL, NULL);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    must(uv_loop_close(&s->loop) == 0);
    mem_free(s->socket);
}

static int read_metric(struct source *s, const char *metric, struct points *into, char **reterr)
{
    uint64_t portion_ms = PORTION * s->step_ms;
    int rc = 0;
    for (uint64_t at = s->from_ms; !rc && at < s->to_ms; at += portion_ms) {
        uint64_t until = at + portion_ms < s->to_ms ? at + portion_ms : s->to_ms;
        rc = s->socket ? ask_points(s, metric, at, until, into, reterr)
                       : read_points(s, metric, at, until, into, reterr);
    }
    return rc;
}

/* ---- What is learned of it ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value at a time, which rises from call to call; NAN where there is none. */
static double at_time(const struct points *p, double at_s, size_t *place)
{
    while (*place < p->count && p->at_s[*place] < at_s) {
        ++*place;
    }
    return *place < p->count && p->at_s[*place] <= at_s ? p->value[*place] : NAN;
}

/* Requests/s that an instance would do at full CPU: the median of what the rows say in which there was work. */
static double learn_capacity(const struct points *rate, const struct points *up,
                             const struct points *cpu)
{
    double *found = mem_array(rate->count + 1, sizeof *found);
    size_t count = 0, up_at = 0, cpu_at = 0;
    for (size_t i = 0; i < rate->count; i++) {
        double instances = at_time(up, rate->at_s[i], &up_at);
        double percent = at_time(cpu, rate->at_s[i], &cpu_at);
        if (instances >= 1 && percent >= 10 && percent <= 98 && rate->value[i] > 0) {
            found[count++] = rate->value[i] / instances / percent * 100;
        }
    }
    qsort(found, count, sizeof *found, by_value);
    double capacity = count >= CAPACITY_ROWS ? found[count / 2] : 0;
    mem_free(found);
    return capacity;
}

static double gaps(const struct points *rate, double step_s)
{
    double sum = 0, usual = INFINITY;
    for (size_t i = 1; i < rate->count; i++) {
        usual = fmin(usual, rate->at_s[i] - rate->at_s[i - 1]);
    }
    for (size_t i = 1; i < rate->count; i++) {
        double length = rate->at_s[i] - rate->at_s[i - 1];
        sum += length > GAP_STEPS * fmax(usual, step_s) ? length - usual : 0;
    }
    return sum;
}

/* Whole minutes come from roll-ups, which are there for longer than samples are. */
static uint64_t step_for(uint64_t range_ms)
{
    uint64_t step_ms = SIM_TICK_MS;
    if (range_ms / step_ms > STEPS_MOST) {
        step_ms = 60000;
    }
    while (range_ms / step_ms > STEPS_MOST) {
        step_ms *= 2;
    }
    return step_ms;
}

/* Fewer than two ticks. */
static bool is_too_little(const struct points *rate)
{
    return rate->count < 2 ||
           rate->at_s[rate->count - 1] - rate->at_s[0] < 2 * SIM_TICK_MS / 1000.0;
}

static int refuse_little(const struct source *s, const struct points *rate, char **reterr)
{
    char from[32], to[32];
    range_text(s->from_ms, from);
    range_text(s->to_ms, to);
    if (rate->count) {
        *reterr = mem_printf("too little was recorded of %s between %s and %s: the load of %.0f s, "
                             "where 10 are needed",
                             s->service, from, to, rate->at_s[rate->count - 1] - rate->at_s[0]);
    } else {
        *reterr = mem_printf("nothing was recorded of %s between %s and %s: `tidegate history %s "
                             "--since 30d` tells what is kept",
                             s->service, from, to, s->service);
    }
    return -ENOENT;
}

/* What the rows say, and the load itself where it is asked for. */
static void conclude(struct source *s, struct points *rate, const struct points *up,
                     const struct points *cpu, bool load, struct recorded *r)
{
    r->capacity = learn_capacity(rate, up, cpu);
    if (load) {
        r->gap_s = gaps(rate, (double)s->step_ms / 1000);
        r->from_ms = (uint64_t)(rate->at_s[0] * 1000);
        r->to_ms = (uint64_t)(rate->at_s[rate->count - 1] * 1000);
        sim_trace_of(rate->at_s, rate->value, rate->count, &r->trace);
        *rate = (struct points){NULL, NULL, 0, 0};
    }
}

static int read_all(const struct recorded_place *place, const char *service, uint64_t from_ms,
                    uint64_t to_ms, bool load, struct recorded *ret_recorded, char **reterr)
{
    struct source s = {.service = service, .from_ms = from_ms, .to_ms = to_ms};
    struct points rate = {.count = 0}, up = {.count = 0}, cpu = {.count = 0};
    struct recorded r = {.min = 0};
    s.step_ms = step_for(to_ms - from_ms);
    must(uv_loop_init(&s.loop) == 0);
    int rc = open_source(&s, place, reterr);
    rc = rc ? rc : read_metric(&s, "rate", &rate, reterr);
    rc = rc ? rc : read_metric(&s, "up", &up, reterr);
    rc = rc ? rc : read_metric(&s, "cpu_percent", &cpu, reterr);
    if (!rc && s.socket) {
        ask_bounds(&s, &r);
    }
    if (!rc && (load || !r.max) && is_too_little(&rate)) {
        rc = refuse_little(&s, &rate, reterr);
    }
    if (!rc) {
        conclude(&s, &rate, &up, &cpu, load, &r);
        *ret_recorded = r;
    }
    points_free(&rate);
    points_free(&up);
    points_free(&cpu);
    close_source(&s);
    return rc;
}

int recorded_read(const struct recorded_place *place, const char *service, uint64_t from_ms,
                  uint64_t to_ms, struct recorded *ret_recorded, char **reterr)
{
    return read_all(place, service, from_ms, to_ms, true, ret_recorded, reterr);
}

int recorded_about(const struct recorded_place *place, const char *service, uint64_t from_ms,
                   uint64_t to_ms, struct recorded *ret_recorded, char **reterr)
{
    return read_all(place, service, from_ms, to_ms, false, ret_recorded, reterr);
}

void recorded_free(struct recorded *recorded)
{
    sim_trace_free(&recorded->trace);
}
