/* history.h: the history's state, shared by the files of that name. */
#ifndef APP_HISTORY_H
#define APP_HISTORY_H

#include <stdint.h>

#include "base/map.h"

struct history_wait;
struct store;

struct history {
    struct store *store;
    struct map places;   /* service and instance -> struct place */
    struct map decided;  /* service -> struct decided */
    uint64_t decided_ms; /* wall clock: of the newest decision that was seen */
    uint64_t decisions_due_ms, figures_due_ms, interval_ms, round;
    struct history_wait *waits;
    struct map collected; /* service, instance and path -> what history_collected.c knows of it */
    uint64_t collected_round;
};

/* ---- history_collected.c ---- */
void history_collected_free(struct history *h);

#endif
