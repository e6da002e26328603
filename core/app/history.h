/* history.h: the history's state, shared by history.c and history_answers.c. */
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
};

#endif
