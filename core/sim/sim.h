/* sim.h: what would a scale policy have done? The real control code (fleet with its guard rails, script_cold
 * with the real policies) on a virtual clock, with an engine whose instances are a model.
 *
 *   trace -> ticks of arrivals -> model (instances, queue, latency) -> board and samples
 *                ^                                                          |
 *                +-- virtual clock, `sim` engine <- fleet <- decisions <- policy
 *
 * THE MODEL. An instance is `workers` servers with exponential service times: M/M/c, load spread evenly. It is
 * ready `startup_ms` after its start, and costs from its start on. What cannot be served at once waits in one
 * queue; who would wait for longer than `timeout_ms` is turned away. A tick violates the objective when the 95th
 * percentile of response time is above `slo_ms`. Arrivals have Poisson noise, use of CPU has 2 % noise.
 *
 * THE ORACLE knows all arrivals beforehand and has the same start-up time: the k-th instance runs whenever the
 * demand needs k, is kept through gaps no longer than the start-up time, and each start costs that time. It never
 * violates unless `max` is not enough. What would violate with `max` instances all the time (that demand, and what it
 * leaves in the queue) is taken off everybody's violation.
 *
 * All is a function of options, trace and seed. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct cJSON;

enum {
    SIM_TICK_MS = 5000,
    SIM_WORST = 5
};

struct sim_options {
    uint64_t startup_ms, slo_ms, timeout_ms, service_ms;
    double capacity; /* requests/s of one instance; workers = capacity x service time */
    double noise;    /* 1 = Poisson arrivals and 2 % on CPU, 0 = none */
    uint64_t seed;
    uint32_t min, max;
    size_t warm_ticks;        /* not scored */
    const volatile int *stop; /* not 0: the run ends early; NULL: it cannot be stopped. Lent */
};

/* ---- Traces ---- */

/* Requests/s, one value each tick. */
struct sim_trace {
    double *rate;
    size_t count;
    double *rows; /* of the file, not interpolated; NULL: it was made */
    size_t row_count;
    double start_s; /* of its first tick since 1970, for schedules; 0: it was made */
};

/* Reads CSV `seconds,requests_per_second`, rising times, one line of names allowed; between rows it is
 * interpolated; what comes `days` after the first row is left out. -EINVAL with "file:line: what: what to do" in *reterr (mem_free), -errno. */
int sim_trace_read(const char *path, double days, struct sim_trace *ret_trace, char **reterr);
/* Of rows that are there already, with rising times: takes both arrays, count >= 2. */
void sim_trace_of(double *at_s, double *rate, size_t count, struct sim_trace *ret_trace);
/* "step", "ramp", "spike", "daily" or "flash": `days` long, highest rate `peak`. -EINVAL: no such kind. */
int sim_trace_make(const char *kind, double days, double peak, struct sim_trace *ret_trace,
                   char **reterr);
/* Multiplies so that the given quantile (0..1, by nearest rank) of the rows becomes `rate`. */
void sim_trace_scale(struct sim_trace *trace, double quantile, double rate);
void sim_trace_free(struct sim_trace *trace);

/* ---- Runs ---- */

/* The utilisation at which the 95th percentile is just within the objective. */
double sim_highest_load(const struct sim_options *options);

/* A configuration of one service that uses the policy: a name, or the path of a file FOLDER/scale/NAME.lua whose
 * libraries and kin are found as those of a configuration beside its `policies` folder. `params` is Lua text such
 * as "cpu = 60, min = 2", "" = defaults. The caller owns *ret_config. -EINVAL with sentences. */
int sim_policy_load(const char *policy, const char *params, const struct sim_options *options,
                    struct cJSON **ret_config, char **reterr);
/* The same; a name is looked for beside the configuration at path `beside`. */
int sim_policy_load_beside(const char *beside, const char *policy, const char *params,
                           const struct sim_options *options, struct cJSON **ret_config,
                           char **reterr);
/* A configuration of one service that is scaled as this one of a loaded configuration is, but always active and within the
 * bounds of the options. Borrows. -EINVAL with a sentence: there is no such service, or it has no policy. */
int sim_service_load(const struct cJSON *configuration, const char *service,
                     const struct sim_options *options, struct cJSON **ret_config, char **reterr);

struct sim_interval {       /* above the objective, with breaks of less than a minute */
    double from_s, until_s; /* since the trace's start */
    double excess;          /* demand beyond what was ready, instance seconds */
    char *
        decisions; /* the last ones until a minute later, lines "615 s: what"; owned by the result */
    char *
        records; /* those of its last ten minutes in full, JSON as fleet_decisions has it, with "at_s" and
                               "until_s" in place of times of day; owned */
};

struct sim_result {
    double violation_pct;   /* of scored time, without the unavoidable part */
    double unavoidable_pct; /* `max` instances are not enough */
    double bad_pct;         /* of requests: turned away, or above the objective in such a tick */
    double instance_hours, oracle_hours, cost; /* cost: their ratio */
    double hours;                              /* scored */
    unsigned ups, downs, flips; /* flips: changes against the direction of the last one */
    double decide_us;           /* mean CPU time of a decision */
    uint64_t decisions;         /* and how many */
    char *error;                /* first error of the policy, or NULL; owned */
    struct sim_interval worst[SIM_WORST];
    unsigned worst_count;
    /* Each tick; owned. */
    double *ready, *wanted; /* instances in traffic, and billed */
    double *best;           /* instances that the best plan bills */
    double *rate;           /* requests/s that came */
    bool *violated;
    size_t ticks;
};

/* -EINVAL with a sentence, -ECANCELED when it was stopped, too. Borrows all; the caller frees the result. */
int sim_run(const struct sim_options *options, const struct sim_trace *trace,
            const struct cJSON *config, struct sim_result *ret_result, char **reterr);
void sim_result_free(struct sim_result *result);

/* ---- Pictures ---- */

struct sim_plot_run {
    const char *name;
    const struct sim_result *result;
};

/* What runs of the same trace came to. */
struct sim_plot {
    const char *title; /* of an SVG NULL: none */
    const struct sim_options *options;
    const struct sim_plot_run *runs;
    size_t count;
    int64_t
        begin_s; /* local time of the trace's beginning as if it were UTC, in seconds; below 0: none is known */
};

enum {
    SIM_PLOT_RUNS = 24,        /* most that are drawn */
    SIM_PLOT_BYTES = 32 << 20, /* enough for them */
};

/* Appends one <svg> that needs nothing else: the load, then for each run its instances, those of the best plan, and
 * marks where the objective was violated. Readable on light and dark. */
void sim_plot_svg(struct buf *to, const struct sim_plot *plot);
/* Appends a page with it, the figures as a table, and the worst intervals. */
void sim_plot_html(struct buf *to, const struct sim_plot *plot);

#endif
