/* simulated.h: what `tidegate simulate` prints. */
#ifndef COMMANDS_SIMULATED_H
#define COMMANDS_SIMULATED_H

#include <stddef.h>

#include "sim/sim.h"

struct buf;
struct cJSON;

struct simulated {
    char *name;           /* as it was asked for */
    struct cJSON *config; /* sim_policy_load */
    struct sim_result result;
};

/* A line a run, and the worst intervals of each. */
void simulated_table(struct buf *to, const struct simulated *runs, size_t count);
/* {"runs":[{"policy","violation_percent","unavoidable_percent","bad_percent","instance_hours","oracle_hours","cost",
 *   "hours","actions_per_day","ups","downs","flips","decisions","decide_us","error"?,
 *   "worst":[{"from_s","until_s","excess","decisions":[...]}]}]}; the caller owns it. */
struct cJSON *simulated_json(const struct simulated *runs, size_t count);

#endif
