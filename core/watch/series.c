/* series.c: see series.h. The quantile is bucketQuantile of Prometheus's promql/quantile.go. */
#include "watch/series.h"

#include <math.h>
#include <stdlib.h>

#include "base/ban.h"

void series_add(struct series *s, uint64_t at_ms, double value)
{
    uint32_t at = s->count % SERIES_POINTS;
    double total = 0;
    if (s->count) {
        double grown = value < s->last ? value : value - s->last;
        total = s->total[(s->count - 1) % SERIES_POINTS] + grown;
    }
    s->total[at] = total;
    s->at_ms[at] = at_ms;
    s->last = value;
    s->count++;
}

bool series_growth(const struct series *s, uint64_t now_ms, double *ret_growth, double *ret_seconds)
{
    uint32_t oldest = s->count > SERIES_POINTS ? s->count - SERIES_POINTS : 0;
    while (oldest < s->count && s->at_ms[oldest % SERIES_POINTS] + SERIES_LOOK_BACK_MS < now_ms) {
        oldest++;
    }
    if (s->count - oldest < 2) {
        return false;
    }
    uint32_t first = oldest % SERIES_POINTS, last = (s->count - 1) % SERIES_POINTS;
    if (s->at_ms[last] <= s->at_ms[first]) {
        return false;
    }
    *ret_growth = s->total[last] - s->total[first];
    *ret_seconds = (double)(s->at_ms[last] - s->at_ms[first]) / 1000;
    return true;
}

static int by_bound(const void *a, const void *b)
{
    double x = ((const struct series_bucket *)a)->bound,
           y = ((const struct series_bucket *)b)->bound;
    return (x > y) - (x < y);
}

/* Sums those of one bound; returns how many are left. */
static size_t coalesce(struct series_bucket *b, size_t count)
{
    size_t kept = 0;
    for (size_t i = 1; i < count; i++) {
        if (b[i].bound == b[kept].bound) {
            b[kept].count += b[i].count;
        } else {
            b[++kept] = b[i];
        }
    }
    return kept + 1;
}

double series_quantile(double q, struct series_bucket *b, size_t count)
{
    if (isnan(q) || !count) {
        return NAN;
    }
    if (q < 0 || q > 1) {
        return q < 0 ? -INFINITY : INFINITY;
    }
    qsort(b, count, sizeof *b, by_bound);
    if (!isinf(b[count - 1].bound) || b[count - 1].bound < 0) {
        return NAN;
    }
    count = coalesce(b, count);
    for (size_t i = 1; i < count; i++) {
        b[i].count = b[i].count < b[i - 1].count ? b[i - 1].count : b[i].count;
    }
    if (count < 2 || b[count - 1].count == 0 || isnan(b[count - 1].count)) {
        return NAN;
    }
    double rank = q * b[count - 1].count;
    size_t at = 0;
    while (at < count - 1 && b[at].count < rank) {
        at++;
    }
    if (at == count - 1) {
        return b[count - 2].bound;
    }
    if (at == 0 && b[0].bound <= 0) {
        return b[0].bound;
    }
    double start = 0, within = b[at].count;
    if (at > 0) {
        start = b[at - 1].bound;
        within -= b[at - 1].count;
        rank -= b[at - 1].count;
    }
    return start + (b[at].bound - start) * (rank / within);
}
