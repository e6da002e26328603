/* exposition.h: the text of metrics. One bad byte costs a whole scrape, so label values are made valid
 * UTF-8 and escaped here, once, when a series is made. */
#ifndef WATCH_EXPOSITION_H
#define WATCH_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

enum {
    LABELS_BYTES = 2560, /* four values of 512, and their names */
    LABELS_VALUE_BYTES = 512,
    EXPOSITION_NUMBER_BYTES = 32
};

/* service="shop",backend="shop-1": text that is part of a line. */
struct labels {
    uint32_t len, count;
    char text[LABELS_BYTES];
};

/* Empties them; before anything else. */
void labels_begin(struct labels *labels);
/* One more; what is no UTF-8 becomes U+FFFD, a value of more than LABELS_VALUE_BYTES is cut. At most four. */
void labels_add(struct labels *labels, const char *name, const char *value);
/* Writes a finite number with 15 digits that count, without NUL; its length. */
size_t exposition_number(char *to, double value);

#endif
