/* repl_simulate.h: `simulate(...)` of the console. */
#ifndef COMMANDS_REPL_SIMULATE_H
#define COMMANDS_REPL_SIMULATE_H

#include <signal.h>

struct cJSON;

/* What a session knows. All are lent. */
struct repl_simulate_of {
    const struct cJSON *configuration;
    const char *socket;                   /* NULL: no daemon is asked */
    const volatile sig_atomic_t *pressed; /* not 0: it ends early */
};

/* {"policies":["threshold:cpu=60"],"load":"yesterday" (or "step", ..., or a file),"service"?:"catalog",
 *  "min"?,"max"?,"capacity"?,"peak"?,"days"?,"seed"?,"noise"?,"startup_ms"?,"slo_ms"?,"service_ms"?,"timeout_ms"?,"warm_up_ms"?}
 * -> {"ok":true,"text":"table and drawing","title","options","runs"} as simulated_json has them, or {"ok":false,"error"}. With a
 * service its own policy is the first run, and its bounds are the simulation's. The caller owns the answer. */
struct cJSON *repl_simulate(const struct repl_simulate_of *of, const struct cJSON *request);

#endif
