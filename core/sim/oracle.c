/* oracle.c: the best plan in hindsight; see sim.h. */
#include "sim/private.h"
#include "base/ban.h"

/* The k-th instance: it runs while k are needed and through short gaps; a start costs its start-up time. */
static double layer(const double *need, size_t count, size_t from, double k, size_t startup_ticks)
{
    double ticks = 0;
    size_t last = 0; /* 1 + the last tick in which it was needed; 0 = never */
    for (size_t i = 0; i < count; i++) {
        if (need[i] < k) {
            continue;
        }
        size_t gap = i - last;
        if (i >= from) {
            double bridged = (double)(gap < i - from ? gap : i - from);
            ticks += 1 + (last && gap <= startup_ticks ? bridged
                          : i > 0                      ? (double)startup_ticks
                                                       : 0);
        }
        last = i + 1;
    }
    return ticks;
}

double oracle_ticks(const double *need, size_t count, size_t from, uint32_t min, uint32_t max,
                    size_t startup_ticks)
{
    double ticks = (double)min * (double)(count - from);
    for (uint32_t k = min + 1; k <= max; k++) {
        ticks += layer(need, count, from, k, startup_ticks);
    }
    return ticks;
}

static void draw_layer(const double *need, size_t count, double k, size_t startup_ticks,
                       double *plan)
{
    size_t last = 0; /* as in layer */
    for (size_t i = 0; i < count; i++) {
        if (need[i] < k) {
            continue;
        }
        size_t gap = i - last;
        size_t begin =
            last && gap <= startup_ticks ? last : i - (i < startup_ticks ? i : startup_ticks);
        for (size_t at = begin; at <= i; at++) {
            plan[at]++;
        }
        last = i + 1;
    }
}

void oracle_plan(const double *need, size_t count, uint32_t min, uint32_t max, size_t startup_ticks,
                 double *ret_plan)
{
    for (size_t i = 0; i < count; i++) {
        ret_plan[i] = min;
    }
    for (uint32_t k = min + 1; k <= max; k++) {
        draw_layer(need, count, k, startup_ticks, ret_plan);
    }
}
