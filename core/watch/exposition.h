/* exposition.h: writing Prometheus text 0.0.4. One bad byte costs a whole scrape, so label values
 * are made valid UTF-8 and escaped here, and numbers that are none are left out. */
#ifndef WATCH_EXPOSITION_H
#define WATCH_EXPOSITION_H

#include <stdint.h>

struct buf;

enum {
    EXPOSITION_VALUE_BYTES = 512
};

enum exposition_type {
    EXPOSITION_COUNTER,
    EXPOSITION_GAUGE,
    EXPOSITION_HISTOGRAM,
    EXPOSITION_TYPES
};

/* A page in the making; the first failure sticks in `error`. */
struct exposition {
    struct buf *to;
    int error; /* -ENOBUFS */
};

/* Begins a family: its samples follow before the next one begins. */
void exposition_family(struct exposition *x, const char *name, enum exposition_type type,
                       const char *help);
/* `labels` is "" or finished text made by exposition_label: `service="a",backend="b"`. */
void exposition_number(struct exposition *x, const char *name, const char *labels, double value);
void exposition_count(struct exposition *x, const char *name, const char *labels, uint64_t value);
/* Appends `name="value"` with a comma before it unless `labels` is empty; a value is cut after
 * EXPOSITION_VALUE_BYTES, so that a buffer of 4096 holds six. */
void exposition_label(struct buf *labels, const char *name, const char *value);

#endif
