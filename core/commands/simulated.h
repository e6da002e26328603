/* simulated.h: what `tidegate simulate` prints and draws. */
#ifndef COMMANDS_SIMULATED_H
#define COMMANDS_SIMULATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/sim.h"

struct buf;
struct cJSON;
struct recorded;

struct simulated {
    char *name;           /* as it was asked for */
    struct cJSON *config; /* sim_policy_load */
    struct sim_result result;
};

/* Runs of one trace. */
struct simulated_set {
    const char *title;
    const struct sim_options *options;
    const struct simulated *runs;
    size_t count;
    int64_t begin_s; /* as in struct sim_plot */
};

/* "threshold:cpu=60,interval=30s", or with the path of a file in place of the name. Names are looked for beside the
 * configuration at path `beside`, NULL: beside the current directory's. The caller owns *ret_config. -EBADMSG: the word
 * is not of that form; -EINVAL: no such policy; both with a sentence. */
int simulated_policy(const char *beside, const char *word, const struct sim_options *options,
                     struct cJSON **ret_config, char **reterr);

/* A line that says what a recorded load was simulated with. */
void simulated_assumed(struct buf *to, const struct simulated_set *set,
                       const struct recorded *recorded, bool capacity_given);
/* begin_s of a trace: known when its times are seconds since 1970. */
int64_t simulated_begin(const struct sim_trace *trace);
/* "7m40s" since the beginning, or "01-31 14:05:10" where that is known. */
void simulated_moment(const struct simulated_set *set, double at_s, char ret_text[32]);
/* The load and the instances of each run, drawn with characters, violations marked below. */
void simulated_plot(struct buf *to, const struct simulated_set *set, unsigned width);
/* A line a run, and the worst intervals of each. */
void simulated_table(struct buf *to, const struct simulated_set *set, unsigned width, bool colour);
/* {"title","options":{as struct sim_options has them},"runs":[{"policy","violation_percent","unavoidable_percent","bad_percent","instance_hours","oracle_hours","cost",
 *   "hours","actions_per_day","ups","downs","flips","decisions","decide_us","error"?,
 *   "worst":[{"from_s","until_s","excess","decisions":[...],"records":[...]}]}]}; the caller owns it. */
struct cJSON *simulated_json(const struct simulated_set *set);
/* Whether a file of that name can be drawn: .svg or .html. */
bool simulated_drawable(const char *path);
/* Draws into a file, which is made or written anew. -errno. */
int simulated_draw(const char *path, const struct simulated_set *set);

#endif
