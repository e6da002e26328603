/* load_histogram.h: times by steps of 1.6 %, for load.c. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB = 64, /* steps an octave */
    HISTOGRAM = 40 * HISTOGRAM_SUB,
};

static unsigned bucket_of(uint64_t us)
{
    unsigned shift = 0;
    while (us >> shift >= 2 * HISTOGRAM_SUB) {
        shift++;
    }
    unsigned bucket = shift * HISTOGRAM_SUB + (unsigned)(us >> shift);
    return bucket < HISTOGRAM ? bucket : HISTOGRAM - 1;
}

static double quantile_ms(const uint64_t *histogram, double q)
{
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < HISTOGRAM; i++) {
        total += histogram[i];
    }
    for (unsigned i = 0; i < HISTOGRAM; i++) {
        seen += histogram[i];
        if (total && (double)seen >= q * (double)total) {
            unsigned shift = i < 2 * HISTOGRAM_SUB ? 0 : i / HISTOGRAM_SUB - 1;
            return (double)((uint64_t)(i - shift * HISTOGRAM_SUB) << shift) / 1000;
        }
    }
    return 0;
}

#endif
