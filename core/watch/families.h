/* families.h: the series of the metrics page. A page is made in one pass:
 *
 *     families_begin --> families_add, families_histogram (writers, in any order) --> families_render
 *
 * A series is made when it is told of first; its text is kept. Told of twice in a pass, it is the sum: so two
 * routes with one path are one series. A counter never falls while its series is there: when what it sums gets
 * less (a part of it went), it stays. One that no writer told of in a pass keeps its figures on the page
 * for FAMILIES_KEEP_MS if it counts, and leaves at once if it is a gauge.
 *
 * LIMITS. A family has at most `most_series` series; what comes beyond that is added to the one whose labels
 * are all "other", or left out where a sum means nothing. A label whose values come from outside goes
 * through families_value, which lets `most_values` through and says "other" for the rest. Both are counted. */
#ifndef WATCH_FAMILIES_H
#define WATCH_FAMILIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/catalog.h"
#include "watch/exposition.h"

struct buf;
struct families;

enum {
    FAMILIES_SERIES = 2000,
    FAMILIES_VALUES = 100,
    FAMILIES_KEEP_MS = 300000
};

enum families_format {
    FAMILIES_TEXT,       /* Prometheus 0.0.4 */
    FAMILIES_OPENMETRICS /* 1.0.0 */
};

/* Where a rendering is; zeroed is the start. */
struct families_place {
    unsigned family;
    uint32_t series;
    bool begun, done;
};

struct families *families_new(uint32_t most_series, uint32_t most_values);
void families_free(struct families *f); /* NULL is allowed */

/* Other limits, between two passes. What there is stays until it leaves. */
void families_limit(struct families *f, uint32_t most_series, uint32_t most_values);
void families_begin(struct families *f, uint64_t now_ms);
/* `labels` NULL: none. What is not finite is left out. */
void families_add(struct families *f, enum family family, const struct labels *labels,
                  double value);
/* `counts` are those of each bucket alone, the last one's too; `sum` of all values. */
void families_histogram(struct families *f, enum family family, const struct labels *labels,
                        const uint64_t *counts, double sum);
/* The value, or "other" when the family has too many others in that label (0 .. FAMILY_LABELS - 1). */
const char *families_value(struct families *f, enum family family, unsigned label,
                           const char *value);
/* Tells of the families themselves; the last one of a pass. */
void families_own(struct families *f);
/* Appends about `bytes` of the page; place->done at its end. -ENOBUFS. Each pass is rendered once. */
int families_render(struct families *f, enum families_format format, struct families_place *place,
                    size_t bytes, struct buf *to);

struct families_size {
    uint64_t series, bytes; /* bytes: all memory */
};
void families_size(const struct families *f, struct families_size *ret_size);

#endif
