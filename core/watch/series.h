/* series.h: arithmetic on counters and histograms as PromQL does it, where that is sound for alerts. */
#ifndef WATCH_SERIES_H
#define WATCH_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SERIES_POINTS = 5,
    SERIES_LOOK_BACK_MS = 300000 /* older points are none */
};

/* A counter's last points. Zeroed is empty. */
struct series {
    double last;                 /* as it was told */
    double total[SERIES_POINTS]; /* what it has counted since the first point, over its resets */
    uint64_t at_ms[SERIES_POINTS];
    uint32_t count; /* points ever */
};

/* A counter that fell began anew at 0: what it says now is what it has grown by. */
void series_add(struct series *s, uint64_t at_ms, double value);
/* How much it grew from the first to the last point that is not too old at `now_ms`, and in which time:
 * nothing is extrapolated. False: there are not two such points. */
bool series_growth(const struct series *s, uint64_t now_ms, double *ret_growth,
                   double *ret_seconds);

/* Count of observations at or below a bound. */
struct series_bucket {
    double bound; /* INFINITY for the last one */
    double count;
};

/* histogram_quantile of PromQL: buckets of the same bound are summed, counts never fall, linear inside a
 * bucket (the first begins at 0), the highest finite bound for what lies above it. NAN: empty, or no
 * bucket for infinity, or no other. Sorts and changes `buckets`. */
double series_quantile(double q, struct series_bucket *buckets, size_t count);

#endif
