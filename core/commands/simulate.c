/* simulate.c: `tidegate simulate`: what scale policies would have done with a trace. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/range.h"
#include "commands/recorded.h"
#include "commands/screen.h"
#include "commands/simulated.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "sim/sim.h"

enum {
    RUNS_MOST = 200,
    SWEEP_MOST = 100
};

struct plan {
    const struct command_call *call;
    struct sim_options options;
    struct recorded recorded; /* with --service */
    struct sim_trace trace;
    struct simulated *runs;
    size_t count;
};

/* ---- Numbers of options ---- */

static bool read_number(const char *text, double *ret_value)
{
    char *behind;
    *ret_value = strtod(text, &behind);
    return behind != text && !*behind && isfinite(*ret_value);
}

static int number(const struct command_call *call, const char *name, double otherwise, double least,
                  double most, double *ret_value)
{
    const char *text = command_value(call, name);
    *ret_value = otherwise;
    if (text && (!read_number(text, ret_value) || *ret_value < least || *ret_value > most)) {
        return command_fail(COMMAND_WRONG_USAGE, "--%s: \"%s\" is no number from %g to %g", name,
                            text, least, most);
    }
    return COMMAND_FINE;
}

/* What can be learned from a service's history comes before the defaults. */
static int read_options(struct plan *plan)
{
    const struct command_call *call = plan->call;
    const struct recorded *known = &plan->recorded;
    struct sim_options *o = &plan->options;
    double min, max, seed;
    uint64_t warm_ms;
    int code = command_duration(call, "startup", 30000, &o->startup_ms);
    code = code ? code : command_duration(call, "service-time", 80, &o->service_ms);
    code = code ? code : command_duration(call, "slo", 400, &o->slo_ms);
    code = code ? code : command_duration(call, "timeout", 5000, &o->timeout_ms);
    code = code ? code : command_duration(call, "warm-up", 0, &warm_ms);
    code = code ? code
                : number(call, "capacity", known->capacity > 0 ? known->capacity : 100, 0.01, 1e6,
                         &o->capacity);
    code = code ? code : number(call, "noise", known->trace.count ? 0 : 1, 0, 1, &o->noise);
    code = code ? code : number(call, "min", known->min ? known->min : 1, 1, 1000, &min);
    code = code ? code : number(call, "max", known->max ? known->max : 40, 1, 1000, &max);
    code = code ? code : number(call, "seed", 1, 0, 1e15, &seed);
    if (code) {
        return code;
    }
    o->min = (uint32_t)min;
    o->max = (uint32_t)max;
    o->seed = (uint64_t)seed;
    o->warm_ticks = (size_t)(warm_ms / SIM_TICK_MS);
    if (o->min > o->max) {
        return command_fail(COMMAND_WRONG_USAGE, "--min is more than --max");
    }
    if (o->service_ms == 0 || sim_highest_load(o) < 0.01) {
        return command_fail(
            COMMAND_WRONG_USAGE,
            "an answer takes %.0f ms on average, so 95 %% are never within %llu ms: "
            "give a longer --slo or a shorter --service-time",
            fmax((double)o->service_ms, 1000 / o->capacity), (unsigned long long)o->slo_ms);
    }
    return COMMAND_FINE;
}

/* What --service is known to be and, without --trace, its load. */
static int read_recorded(struct plan *plan)
{
    const struct command_call *call = plan->call;
    const char *service = command_value(call, "service"), *from = command_value(call, "from");
    const char *to = command_value(call, "to");
    uint64_t from_ms, to_ms;
    char *why = NULL;
    if (!service) {
        return from || to ? command_fail(COMMAND_WRONG_USAGE,
                                         "--from and --to say which part of a service's history: "
                                         "add --service NAME")
                          : COMMAND_FINE;
    }
    bool load = !command_value(call, "trace");
    if (load && command_value(call, "days")) {
        return command_fail(COMMAND_WRONG_USAGE, "--days is for loads that are made: --from and "
                                                 "--to say which part of the history is meant");
    }
    int rc = range_read(from ? from : "24h", to, clock_wall_ms(), &from_ms, &to_ms, &why);
    if (rc < 0) {
        int code = command_fail(COMMAND_WRONG_USAGE, "--%s: %s", from ? "from" : "to", why);
        mem_free(why);
        return code;
    }
    const struct recorded_place place = {.socket = command_value(call, "socket"),
                                         .cluster = command_value(call, "cluster"),
                                         .state_dir = command_value(call, "state-dir")};
    rc = (load ? recorded_read : recorded_about)(&place, service, from_ms, to_ms, &plan->recorded,
                                                 &why);
    if (rc < 0) {
        int code = command_fail(COMMAND_NO, "%s", why);
        mem_free(why);
        return code;
    }
    return COMMAND_FINE;
}

static int read_trace(struct plan *plan)
{
    const char *name = command_value(plan->call, "trace");
    double peak, days, quantile;
    char *why = NULL;
    int code = number(plan->call, "peak", 0, 0.1, 1000, &peak);
    code = code ? code : number(plan->call, "days", 0, 0.01, 366, &days);
    code = code ? code : number(plan->call, "quantile", 0.999, 0.01, 1, &quantile);
    if (code) {
        return code;
    }
    if (!name && !plan->recorded.trace.count) {
        return command_fail(
            COMMAND_WRONG_USAGE,
            "no trace: give --trace FILE.csv of seconds,requests_per_second, or one "
            "of step, ramp, spike, daily, flash, or --service NAME for what was recorded");
    }
    double each = plan->options.capacity * sim_highest_load(&plan->options);
    bool file = !name || strchr(name, '.') || strchr(name, '/') || str_same(name, "-");
    int rc = 0;
    if (!name) {
        plan->trace = plan->recorded.trace;
        plan->recorded.trace = (struct sim_trace){.rate = NULL};
    } else if (file) {
        rc = sim_trace_read(name, days > 0 ? days : 366, &plan->trace, &why);
    } else {
        rc = sim_trace_make(name, days > 0 ? days : 1, (peak > 0 ? peak : 10) * each, &plan->trace,
                            &why);
    }
    if (rc < 0) {
        code = command_fail(COMMAND_NO, "%s", why);
        mem_free(why);
        return code;
    }
    if (file && peak > 0) {
        sim_trace_scale(&plan->trace, quantile, peak * each);
    }
    return COMMAND_FINE;
}

/* ---- Policies, their parameters, sweeps ---- */

static int add_run(struct plan *plan, const char *word, const char *more)
{
    char *why = NULL;
    struct cJSON *config = NULL;
    int code = COMMAND_FINE;
    char *name =
        *more ? mem_printf("%s%s%s", word, strchr(word, ':') ? "," : ":", more) : mem_copy(word);
    if (plan->count == RUNS_MOST) {
        code =
            command_fail(COMMAND_WRONG_USAGE, "more than %d simulations: ask for fewer", RUNS_MOST);
    } else {
        int rc = simulated_policy(NULL, name, &plan->options, &config, &why);
        if (rc < 0) {
            code = command_fail(rc == -EBADMSG ? COMMAND_WRONG_USAGE : COMMAND_NO, "%s", why);
        } else {
            plan->runs[plan->count++] = (struct simulated){.name = name, .config = config};
            name = NULL;
        }
    }
    mem_free(why);
    mem_free(name);
    return code;
}

/* "cpu=50..90" or "cpu=50..90:5"; ten steps when none is given. */
static bool read_sweep(const char *text, char **ret_key, double *ret_from, double *ret_to,
                       double *ret_step)
{
    const char *equals = strchr(text, '=');
    char *behind;
    if (!equals || equals == text) {
        return false;
    }
    *ret_from = strtod(equals + 1, &behind);
    if (behind == equals + 1) {
        return false;
    }
    /* "50..90": the first point may have been taken for one of the number. */
    const char *dots = strstr(equals, "..");
    if (!dots || (behind != dots && behind != dots + 1)) {
        return false;
    }
    *ret_to = strtod(dots + 2, &behind);
    *ret_step = (*ret_to - *ret_from) / 10;
    if (behind == dots + 2 || (*behind && *behind != ':')) {
        return false;
    }
    if (*behind == ':' && !read_number(behind + 1, ret_step)) {
        return false;
    }
    if (!(*ret_step > 0) || (*ret_to - *ret_from) / *ret_step >= SWEEP_MOST) {
        return false;
    }
    *ret_key = mem_copy_bytes(text, (size_t)(equals - text));
    return true;
}

static int add_policy(struct plan *plan, const char *word)
{
    const char *sweep = command_value(plan->call, "sweep");
    double from, to, step;
    char *key;
    if (!sweep) {
        return add_run(plan, word, "");
    }
    if (!read_sweep(sweep, &key, &from, &to, &step)) {
        return command_fail(COMMAND_WRONG_USAGE,
                            "--sweep: \"%s\": write parameter=from..to or parameter=from..to:step",
                            sweep);
    }
    int code = COMMAND_FINE;
    for (int i = 0; !code && from + i * step <= to + step / 1e6; i++) {
        char *more = mem_printf("%s=%.10g", key, from + i * step);
        code = add_run(plan, word, more);
        mem_free(more);
    }
    mem_free(key);
    return code;
}

/* ---- Conditions ---- */

static const char *const FIGURES[] = {"viol", "bad", "cost", "hours", "acts", "flips"};

static double figure(const struct sim_result *r, size_t index)
{
    double days = r->hours / 24;
    const double values[] = {r->violation_pct,           r->bad_pct,     r->cost, r->instance_hours,
                             (r->ups + r->downs) / days, r->flips / days};
    return values[index];
}

/* "viol<=0.5" */
static bool read_condition(struct str part, size_t *ret_figure, double *ret_most)
{
    ptrdiff_t at = str_find(part, '<');
    if (at <= 0) {
        return false;
    }
    struct str name = str_trim(str_sub(part, 0, (size_t)at));
    char *behind = mem_copy_bytes(part.ptr + at + 1, part.len - (size_t)at - 1);
    bool good = *behind == '=' && read_number(behind + 1, ret_most);
    mem_free(behind);
    for (*ret_figure = 0; *ret_figure < sizeof FIGURES / sizeof *FIGURES; ++*ret_figure) {
        if (str_is(name, FIGURES[*ret_figure])) {
            return good;
        }
    }
    return false;
}

/* Of "viol<=0.5,cost<=1.4" tells the first that is no condition. */
static int check_conditions(const char *conditions)
{
    struct str rest = str_of(conditions), part;
    size_t of;
    double most;
    while (str_next(&rest, ',', &part)) {
        if (!read_condition(str_trim(part), &of, &most)) {
            return command_fail(COMMAND_WRONG_USAGE,
                                "--require: \"%.*s\": write viol, bad, cost, hours, acts or flips, "
                                "<= and a number",
                                (int)part.len, part.ptr);
        }
    }
    return COMMAND_FINE;
}

/* Tells each condition that does not hold; they have been checked. */
static int require(const struct plan *plan, const char *conditions)
{
    int code = COMMAND_FINE;
    for (size_t i = 0; i < plan->count; i++) {
        struct str rest = str_of(conditions), part;
        size_t of;
        double most;
        while (str_next(&rest, ',', &part) && read_condition(str_trim(part), &of, &most)) {
            double value = figure(&plan->runs[i].result, of);
            if (value > most) {
                code = command_fail(COMMAND_NO, "%s: %s is %.3f, which is above %g",
                                    plan->runs[i].name, FIGURES[of], value, most);
            }
        }
    }
    return code;
}

/* ---- The command ---- */

static int simulate(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        char *why = NULL;
        struct simulated *run = &plan->runs[i];
        if (sim_run(&plan->options, &plan->trace, run->config, &run->result, &why) < 0) {
            int code = command_fail(COMMAND_NO, "%s: %s", run->name, why ? why : "");
            mem_free(why);
            return code;
        }
    }
    return COMMAND_FINE;
}

/* The file of --plot. */
static int draw(const struct plan *plan, const struct simulated_set *set)
{
    const char *path = command_value(plan->call, "plot");
    int rc = path ? simulated_draw(path, set) : 0;
    return rc < 0 ? command_fail(COMMAND_NO, "--plot: %s: %s", path, err_text(rc)) : COMMAND_FINE;
}

/* "Simulated: catalog, 01-31 00:00 to 02-01 00:00", with what was assumed of it. The caller owns it. */
static char *title_of(const struct plan *plan)
{
    const char *trace = command_value(plan->call, "trace");
    if (trace) {
        const char *slash = strrchr(trace, '/');
        return mem_printf("Simulated: %s", slash ? slash + 1 : trace);
    }
    char from[32], to[32];
    range_text(plan->recorded.from_ms, from);
    range_text(plan->recorded.to_ms, to);
    return mem_printf("Simulated: %s, %s to %s", command_value(plan->call, "service"), from, to);
}

static int print_all(const struct plan *plan, const struct simulated_set *set)
{
    if (command_value(plan->call, "json")) {
        struct cJSON *answer = simulated_json(set);
        char *text = json_text(answer);
        puts(text);
        mem_free(text);
        json_free(answer);
    } else {
        struct buf out;
        buf_init(&out, SCREEN_MOST_BYTES);
        if (command_value(plan->call, "service")) {
            simulated_assumed(&out, set, &plan->recorded,
                              command_value(plan->call, "capacity") != NULL);
        }
        simulated_table(&out, set, screen_columns(), screen_coloured());
        fputs(buf_str(&out), stdout);
        buf_free(&out);
    }
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->runs[i].result.error) {
            return command_fail(COMMAND_NO, "%s failed, and its service was held as it was: %s",
                                plan->runs[i].name, plan->runs[i].result.error);
        }
    }
    return COMMAND_FINE;
}

/* Tells what came of it. */
static int tell(const struct plan *plan)
{
    char *title = title_of(plan);
    const struct simulated_set set = {.title = title,
                                      .options = &plan->options,
                                      .runs = plan->runs,
                                      .count = plan->count,
                                      .begin_s = simulated_begin(&plan->trace)};
    int code = draw(plan, &set);
    code = code ? code : print_all(plan, &set);
    mem_free(title);
    return code;
}

static int run_simulate(const struct command_call *call)
{
    struct plan plan = {.call = call, .runs = mem_array(RUNS_MOST, sizeof(struct simulated))};
    const char *picture = command_value(call, "plot"), *conditions = command_value(call, "require");
    int code = conditions ? check_conditions(conditions) : COMMAND_FINE;
    if (!code && picture && !simulated_drawable(picture)) {
        code = command_fail(COMMAND_WRONG_USAGE,
                            "--plot: \"%s\": give the file a name that ends in .svg or .html",
                            picture);
    }
    code = code ? code : read_recorded(&plan);
    code = code ? code : read_options(&plan);
    code = code ? code : read_trace(&plan);
    const char *word;
    for (unsigned i = 0; !code && (word = command_arg(call, i)); i++) {
        code = add_policy(&plan, word);
    }
    code = code ? code : simulate(&plan);
    code = code ? code : tell(&plan);
    if (!code && conditions) {
        code = require(&plan, conditions);
    }
    for (size_t i = 0; i < plan.count; i++) {
        json_free(plan.runs[i].config);
        mem_free(plan.runs[i].name);
        sim_result_free(&plan.runs[i].result);
    }
    mem_free(plan.runs);
    sim_trace_free(&plan.trace);
    recorded_free(&plan.recorded);
    return code;
}

static const struct command_option SIMULATE[] = {
    {"trace", "FILE", "CSV of seconds,requests_per_second, or step, ramp, spike, daily, flash"},
    {"service", "NAME",
     "its recorded load, or with --trace only its bounds and the capacity that its CPU tells"},
    {"from", "TIME", "of that: 6h (ago), 14:05, today, yesterday, 2026-01-31 (default 24h)"},
    {"to", "TIME", "likewise, its end (default now, or the end of the day that --from names)"},
    {"cluster", "ID",
     "the daemon of this cluster, when several run; or its history when none does"},
    {"socket", "PATH", "control socket of the daemon; also $TIDEGATE_SOCKET"},
    {"state-dir", "DIR", "read the history below DIR in place of asking a daemon"},
    {"days", "N", "length of the trace (default all of a file, 1 of others)"},
    {"peak", "N", "scale the trace so that its peak is what N instances can do"},
    {"quantile", "Q", "what counts as the peak of a file (default 0.999)"},
    {"startup", "DURATION", "from start to ready (default 30s)"},
    {"capacity", "RATE",
     "requests/s that an instance can do (default 100, or as learned of --service)"},
    {"service-time", "DURATION", "mean time of a request that need not wait (default 80ms)"},
    {"slo", "DURATION", "the objective: 95 % of requests within this time (default 400ms)"},
    {"timeout", "DURATION", "longest wait before a request is turned away (default 5s)"},
    {"min", "N", "fewest instances (default 1)"},
    {"max", "N", "most instances (default 40)"},
    {"warm-up", "DURATION", "beginning of the trace that is not scored (default none)"},
    {"noise", "0..1",
     "of arrivals and CPU: 1 is Poisson's and 2 % (default 1, of recorded load 0)"},
    {"seed", "N", "of the noise: same seed, same answer (default 1)"},
    {"sweep", "NAME=A..B", "repeat with values of a parameter: from..to or from..to:step"},
    {"require", "CONDITIONS", "exit 1 unless all hold: 'viol<=0.5,cost<=1.4'"},
    {"plot", "FILE", "draw load, instances, the best plan and violations: FILE.svg or FILE.html"},
    {"json", NULL, "all figures as one line of JSON"},
    {NULL, NULL, NULL},
};

const struct command command_simulate = {
    .name = "simulate",
    .arguments = "POLICY...",
    .least = 1,
    .most = 20,
    .summary = "replay a trace of load through scale policies, side by side",
    .doc =
        "Runs the control code of the daemon with the policies on a virtual clock: an instance "
        "is ready some time after its start, does so many requests per second, and gets slower "
        "the busier it is; what it cannot do waits and is turned away in the end. Prints for "
        "each policy how much of the time the objective was missed, the requests that were bad, "
        "instance hours, their ratio to the best plan in hindsight, and how often it changed. "
        "The load is a file, one that is made, or with --service what a daemon recorded, which "
        "need not run any more. A policy is a name, or a file policies/scale/NAME.lua, with "
        "parameters and settings of "
        "`scale` behind a colon: threshold:cpu=60,interval=30s; tables stand there in braces as in "
        "the configuration: 'panic:of={policy=\"queue\",each=90}'. The figures are those of a "
        "model, not of your service.",
    .example = "tidegate simulate threshold threshold:cpu=60 --trace load.csv --startup 20s\n"
               "tidegate simulate error_budget --service catalog --from yesterday --plot out.html",
    .options = SIMULATE,
    .run = run_simulate,
};
