/* run.c: a trace through fleet and policy on a virtual clock; see sim.h.
 *
 * A tick: the model serves five seconds of arrivals with those who are in traffic; the board and the samples
 * say so; fleet samples, then asks; its answers are carried out until nothing is under way any more. Samples are
 * taken a moment before policies are asked, as their answers come later than the question. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "fleet/fleet.h"
#include "script/script.h"
#include "sim/private.h"
#include "base/ban.h"

enum {
    BEGIN_MS = 100000000,
    BEFORE_MS = 100,    /* samples are taken so long before the question */
    ROUNDS_MOST = 1000, /* of calls and rosters in one moment */
    RECENT = 4,         /* decisions shown beside an interval */
    TIMED_EACH = 32,    /* one of so many decisions is timed */
    RECORDS_S = 600,    /* of an interval */
    CALM_S = 60         /* within the objective for so long: the interval is over */
};

struct run {
    const struct sim_options *options;
    struct model model;
    struct model most; /* the same arrivals with `max` instances all the time */
    struct chance chance;
    struct sim_engine *engine;
    struct board *board;
    struct fleet *fleet;
    struct script_cold *cold;
    uint64_t now_ms, version, acked;
    double start_s;             /* of the trace */
    int carrier;                /* the row whose figures stand for all; -1 = nobody serves */
    bool asked;                 /* by the fleet, and not yet answered ... */
    struct fleet_view question; /* ... about this */
    double cpu_us;              /* of the decisions that were timed */
    uint64_t timed;
    bool scored;     /* the warm-up is over */
    int last_change; /* -1 down, 1 up, 0 none */
    char *recent[RECENT];
    unsigned recent_count;
    struct sim_interval open; /* above the objective now; from_s < 0: it is not */
    struct sim_result *result;
};

/* ---- Ports ---- */

static int probe_add(void *arg, const char *id, const struct probe_spec *spec)
{
    (void)arg;
    (void)id;
    (void)spec;
    return 0; /* the engine has a health check of its own */
}

static void probe_remove(void *arg, const char *id)
{
    (void)arg;
    (void)id;
}

static void probe_reason(void *arg, const char *id, const char **ret_reason, int *ret_status,
                         uint32_t *ret_attempts)
{
    (void)arg;
    (void)id;
    *ret_reason = "";
    *ret_status = 0;
    *ret_attempts = 0;
}

static void on_roster(void *arg, const struct fleet_roster *roster)
{
    struct run *r = arg;
    size_t count = roster->service_count ? roster->services[0].count : 0; /* there is one service */
    r->version = roster->version;
    if (r->carrier >= 0) {
        board_set(&board_row(r->board, 0, (unsigned)r->carrier)->in_flight, 0);
    }
    r->carrier = -1;
    sim_engine_unserve(r->engine);
    for (size_t i = 0; i < count; i++) {
        const struct fleet_backend *b = &roster->backends[i];
        struct sim_container *c = sim_engine_at(r->engine, b->address);
        if (c && !b->draining) {
            c->serving = true;
            r->carrier = r->carrier < 0 ? b->slot : r->carrier;
        }
    }
}

static void on_ask(void *arg, const struct fleet_snapshot *snapshot)
{
    struct run *r = arg;
    r->asked = snapshot->count > 0;
    r->question = snapshot->views[0]; /* there is one service */
    /* The policy's chance, too: multiples of the golden ratio are far from each other. */
    r->question.hash =
        fmod(r->question.hash + (double)(r->options->seed % 65536) * 0.6180339887, 1);
}

static double virtual_s(const struct run *r)
{
    return ((double)r->now_ms - BEGIN_MS) / 1000;
}

static void count_change(struct run *r, const char *what)
{
    int way = str_same(what, "scale up") ? 1 : str_same(what, "scale down") ? -1 : 0;
    if (!way) {
        return;
    }
    if (r->scored) {
        r->result->ups += way > 0;
        r->result->downs += way < 0;
        r->result->flips += r->last_change && r->last_change != way;
    }
    r->last_change = way;
}

static void on_fact(void *arg, const struct fleet_fact *fact)
{
    struct run *r = arg;
    if (!str_same(fact->kind, "decision")) {
        return;
    }
    count_change(r, fact->what);
    char **line = &r->recent[r->recent_count++ % RECENT];
    mem_free(*line);
    *line = mem_printf("%.0f s: %s: %s", virtual_s(r), fact->what, fact->detail);
}

static void keep(void *arg, const char *kind, const char *key, const char *json)
{
    (void)arg; /* nothing outlives a run */
    (void)kind;
    (void)key;
    (void)json;
}

static uint64_t wall_ms(void *arg)
{
    const struct run *r = arg;
    double wall_s = r->start_s + virtual_s(r); /* before the trace begins, it may be before 1970 */
    return wall_s > 0 ? (uint64_t)(wall_s * 1000) : 0;
}

static void on_engine_event(void *arg, const struct engine_event *event)
{
    struct run *r = arg;
    fleet_on_engine_event(r->fleet, event, r->now_ms);
}

/* ---- A moment ---- */

static void decide(struct run *r)
{
    struct script_view view = {.service = r->question.service, .record = &r->question};
    view.fields = fleet_view_fields(&view.field_count);
    r->asked = false;
    bool timed = r->result->decisions++ % TIMED_EACH == 0;
    uint64_t before_us = timed ? clock_cpu_us() : 0;
    struct script_decision d;
    if (script_cold_answer(r->cold, &view, &d) < 0) {
        return;
    }
    if (timed) {
        r->cpu_us += (double)(clock_cpu_us() - before_us);
        r->timed++;
    }
    if (d.error && !r->result->error) {
        r->result->error = mem_copy(d.error);
    }
    const struct fleet_answer answer = {
        .service = view.service,
        .policy = d.policy,
        .origin = d.origin,
        .reason = d.reason,
        .error = d.error,
        .given = d.opinion,
        .want = d.want,
    };
    fleet_on_answer(r->fleet, &answer, 1, r->now_ms);
}

/* Carries out what is under way until nothing is. */
static void settle(struct run *r)
{
    for (int round = 0; round < ROUNDS_MOST; round++) {
        bool any = sim_engine_answer(r->engine, r->now_ms);
        if (r->asked) {
            decide(r);
            any = true;
        }
        if (r->acked < r->version) {
            r->acked = r->version;
            fleet_on_roster(r->fleet, r->acked, r->now_ms);
            any = true;
        }
        if (!any) {
            return;
        }
    }
}

static void pass(struct run *r, uint64_t now_ms)
{
    r->now_ms = now_ms;
    (void)sim_engine_answer(r->engine, now_ms);
    fleet_tick(r->fleet, now_ms);
    settle(r);
}

/* ---- What was measured ---- */

/* The board and the instances show what the model says. */
static void show(struct run *r, const struct model_tick *t)
{
    double noise = 1 + 0.02 * r->options->noise * chance_normal(&r->chance);
    double used = fmin(fmax(t->load * noise, 0), 1) * SIM_TICK_MS / 1000;
    sim_engine_use(r->engine, used);
    if (r->carrier < 0) {
        return;
    }
    unsigned slot = (unsigned)r->carrier;
    struct board_row *row = board_row(r->board, 0, slot);
    uint64_t served = (uint64_t)(t->served + 0.5), shed = (uint64_t)(t->shed + 0.5), told = 0;
    for (uint64_t k = 0; k < MODEL_QUANTILES && served; k++) {
        /* Rounded up, so that a quantile is found at its own place and not at the next. */
        uint64_t until = (served * (k + 1) + MODEL_QUANTILES - 1) / MODEL_QUANTILES;
        if (until > told) {
            board_observe_many(r->board, 0, slot, model_latency_us(&r->model, t, (int)k),
                               (uint32_t)(until - told));
            told = until;
        }
    }
    board_add(&row->outcomes[BOARD_2XX], served);
    board_add(&row->outcomes[BOARD_5XX], shed);
    board_set(&row->in_flight, (uint64_t)(t->in_flight + 0.5));
    board_set(&board_route(r->board, 0, 0)->queued, (uint64_t)(r->model.queue + 0.5));
}

static char *recent_text(const struct run *r)
{
    char *text = mem_copy("");
    unsigned from = r->recent_count > RECENT ? r->recent_count - RECENT : 0;
    for (unsigned i = from; i < r->recent_count; i++) {
        char *more = mem_printf("%s%s%s", text, *text ? "\n" : "", r->recent[i % RECENT]);
        mem_free(text);
        text = more;
    }
    return text;
}

/* Those since a minute before the interval, at most of its last ten minutes. */
static char *records_of(const struct run *r)
{
    double from_s = fmax(r->open.from_s - CALM_S, virtual_s(r) - RECORDS_S);
    return records_since(r->fleet, r->start_s, from_s);
}

static void close_interval(struct run *r)
{
    struct sim_result *result = r->result;
    if (r->open.from_s < 0) {
        return;
    }
    unsigned at = result->worst_count < SIM_WORST ? result->worst_count++ : SIM_WORST;
    if (at == SIM_WORST && result->worst[SIM_WORST - 1].excess >= r->open.excess) {
        at = SIM_WORST + 1;
    }
    if (at <= SIM_WORST) {
        at = at == SIM_WORST ? SIM_WORST - 1 : at;
        mem_free(result->worst[at].decisions);
        mem_free(result->worst[at].records);
        for (; at && result->worst[at - 1].excess < r->open.excess; at--) {
            result->worst[at] = result->worst[at - 1];
        }
        result->worst[at] = r->open;
        result->worst[at].decisions = recent_text(r);
        result->worst[at].records = records_of(r);
    }
    r->open.from_s = -1;
}

static void score(struct run *r, const struct model_tick *t, double need, unsigned ready,
                  bool unavoidable, double *requests, double *bad)
{
    *requests += t->served + t->shed;
    if (unavoidable) {
        r->result->unavoidable_pct++;
    } else {
        *bad += t->bad;
    }
    r->result->violation_pct += t->violated;
    if (!t->violated) {
        if (virtual_s(r) - r->open.until_s >= CALM_S) {
            close_interval(r);
        }
        return;
    }
    if (r->open.from_s < 0) {
        r->open = (struct sim_interval){.from_s = virtual_s(r)};
    }
    r->open.until_s = virtual_s(r) + SIM_TICK_MS / 1000.0;
    r->open.excess += fmax(need - ready, 0.5) * SIM_TICK_MS / 1000;
}

/* ---- The whole ---- */

static void arrive(struct run *r, const struct sim_trace *trace, double *arrivals, double *need)
{
    struct chance noise = {.state = r->options->seed};
    double seconds = SIM_TICK_MS / 1000.0;
    for (size_t i = 0; i < trace->count; i++) {
        double mean = trace->rate[i] * seconds;
        arrivals[i] = r->options->noise > 0 ? chance_poisson(&noise, mean) : mean;
        need[i] = model_need(&r->model, arrivals[i] / seconds);
    }
}

static void begin(struct run *r, const struct cJSON *config)
{
    const struct fleet_ports ports = {
        .arg = r,
        .probe_add = probe_add,
        .probe_remove = probe_remove,
        .probe_reason = probe_reason,
        .roster = on_roster,
        .ask = on_ask,
        .fact = on_fact,
        .keep = keep,
        .wall_ms = wall_ms,
    };
    const struct engine_listener listener = {.arg = r, .event = on_engine_event};
    uint64_t startup_ms =
        r->options->startup_ms < BEGIN_MS / 2 ? r->options->startup_ms : BEGIN_MS / 2;
    r->now_ms = BEGIN_MS - startup_ms - SIM_TICK_MS;
    r->engine = sim_engine_new(r->options->startup_ms, &listener);
    r->fleet = fleet_new(&ports, r->board);
    fleet_set_engine(r->fleet, sim_engine_head(r->engine));
    fleet_apply(r->fleet, config, r->now_ms);
    fleet_on_engine_up(r->fleet, "simulated", r->now_ms);
    settle(r);
    sim_engine_advance(r->engine, BEGIN_MS); /* the fewest are there when the trace begins */
    pass(r, BEGIN_MS);
}

/* -ECANCELED with a sentence when it was stopped. */
static int walk(struct run *r, const struct sim_trace *trace, const double *arrivals,
                const double *need, char **reterr)
{
    struct sim_result *result = r->result;
    double requests = 0, bad = 0, billed = 0, seconds = SIM_TICK_MS / 1000.0;
    for (size_t i = 0; i < trace->count; i++) {
        unsigned ready = 0;
        unsigned all = sim_engine_count(r->engine, &ready);
        struct model_tick t, at_most;
        if (r->options->stop && *r->options->stop) {
            *reterr = mem_copy("it was stopped");
            return -ECANCELED;
        }
        r->scored = i >= r->options->warm_ticks;
        model_tick(&r->model, arrivals[i], ready, seconds, &t);
        model_tick(&r->most, arrivals[i], r->options->max, seconds, &at_most);
        show(r, &t);
        result->ready[i] = ready;
        result->wanted[i] = all;
        result->rate[i] = arrivals[i] / seconds;
        result->violated[i] = t.violated;
        if (r->scored) {
            billed += all;
            score(r, &t, need[i], ready, at_most.violated, &requests, &bad);
        }
        uint64_t next_ms = BEGIN_MS + (i + 1) * (uint64_t)SIM_TICK_MS;
        r->now_ms = next_ms - BEFORE_MS;
        sim_engine_advance(r->engine, r->now_ms);
        pass(r, next_ms - BEFORE_MS);
        pass(r, next_ms);
    }
    close_interval(r);
    double ticks = (double)(trace->count - r->options->warm_ticks);
    result->hours = ticks * seconds / 3600;
    result->instance_hours = billed * seconds / 3600;
    result->unavoidable_pct *= 100 / ticks;
    result->violation_pct = fmax(result->violation_pct * 100 / ticks - result->unavoidable_pct, 0);
    result->bad_pct = requests > 0 ? 100 * bad / requests : 0;
    result->decide_us = r->timed ? r->cpu_us / (double)r->timed : 0;
    return 0;
}

static void compare(struct run *r, const struct sim_trace *trace, const double *need)
{
    const struct sim_options *o = r->options;
    struct sim_result *result = r->result;
    size_t startup_ticks = (size_t)(o->startup_ms / SIM_TICK_MS);
    double ticks = oracle_ticks(need, trace->count, o->warm_ticks, o->min, o->max, startup_ticks);
    oracle_plan(need, trace->count, o->min, o->max, startup_ticks, result->best);
    result->oracle_hours = ticks * SIM_TICK_MS / 1000 / 3600;
    result->cost = ticks > 0 ? result->instance_hours / result->oracle_hours : 0;
}

int sim_run(const struct sim_options *options, const struct sim_trace *trace,
            const struct cJSON *config, struct sim_result *ret_result, char **reterr)
{
    if (trace->count <= options->warm_ticks) {
        *reterr = mem_printf("the trace ends before the warm-up does: %.2f days, of which %.2f are "
                             "not scored",
                             (double)trace->count * SIM_TICK_MS / 86400000,
                             (double)options->warm_ticks * SIM_TICK_MS / 86400000);
        return -EINVAL;
    }
    struct run *r = mem_new(sizeof *r);
    *ret_result = (struct sim_result){.ready = mem_array(trace->count, sizeof(double)),
                                      .wanted = mem_array(trace->count, sizeof(double)),
                                      .best = mem_array(trace->count, sizeof(double)),
                                      .rate = mem_array(trace->count, sizeof(double)),
                                      .violated = mem_array(trace->count, sizeof(bool)),
                                      .ticks = trace->count};
    double *arrivals = mem_array(trace->count, sizeof *arrivals);
    double *need = mem_array(trace->count, sizeof *need);
    *r = (struct run){
        .options = options, .carrier = -1, .result = ret_result, .start_s = trace->start_s};
    r->open.from_s = -1;
    r->chance.state = options->seed ^ 0x5bd1e995u;
    model_init(&r->model, options);
    model_init(&r->most, options);
    int code = script_cold_new_live(config, &r->cold, reterr);
    if (code == 0 && board_new(1, &r->board) < 0) {
        *reterr = mem_copy("no memory for the board");
        code = -EINVAL;
    }
    if (code == 0) {
        arrive(r, trace, arrivals, need);
        begin(r, config);
        code = walk(r, trace, arrivals, need, reterr);
    }
    if (code == 0) {
        compare(r, trace, need);
    } else {
        sim_result_free(ret_result);
    }
    fleet_free(r->fleet);
    sim_engine_free(r->engine);
    board_free(r->board);
    script_cold_free(r->cold);
    for (unsigned i = 0; i < RECENT; i++) {
        mem_free(r->recent[i]);
    }
    mem_free(arrivals);
    mem_free(need);
    mem_free(r);
    return code;
}

void sim_result_free(struct sim_result *result)
{
    for (unsigned i = 0; i < SIM_WORST; i++) {
        mem_release(&result->worst[i].decisions);
        mem_release(&result->worst[i].records);
    }
    mem_release(&result->ready);
    mem_release(&result->wanted);
    mem_release(&result->best);
    mem_release(&result->rate);
    mem_release(&result->violated);
    mem_release(&result->error);
}
