/* recorded.h: the load of a service as a daemon kept it, as a trace for simulations. */
#ifndef COMMANDS_RECORDED_H
#define COMMANDS_RECORDED_H

#include <stdint.h>

#include "sim/sim.h"

/* Where it is kept. All may be NULL, and mean what they mean for other commands. */
struct recorded_place {
    const char *socket, *cluster;
    const char *state_dir; /* base, for when no daemon runs */
};

struct recorded {
    struct sim_trace trace;
    uint64_t from_ms, to_ms; /* of the first row and the last one */
    double capacity;   /* requests/s of an instance at full CPU, learned; 0: too little is known */
    uint32_t min, max; /* of the service now; 0: not known, no daemon runs */
    double gap_s;      /* in which nothing was kept; straight lines lead over them */
};

/* Asks the daemon; where none runs, reads its files. 0; -ENOENT: neither is there, or nothing was kept of
 * the service at that time; other -errno; each with a sentence. */
int recorded_read(const struct recorded_place *place, const char *service, uint64_t from_ms,
                  uint64_t to_ms, struct recorded *ret_recorded, char **reterr);
/* The same for who has a load already: only what is known of the service's instances, no trace. -ENOENT also when
 * nothing at all is known of it. */
int recorded_about(const struct recorded_place *place, const char *service, uint64_t from_ms,
                   uint64_t to_ms, struct recorded *ret_recorded, char **reterr);
void recorded_free(struct recorded *recorded);

#endif
