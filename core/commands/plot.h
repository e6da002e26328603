/* plot.h: a line of numbers drawn with Braille dots. */
#ifndef COMMANDS_PLOT_H
#define COMMANDS_PLOT_H

#include <stddef.h>

struct buf;

/* Appends `height` (1 to PLOT_HEIGHT) lines, none wider than `width`, with the range at the left. Every
 * number has its place, first to last; NAN where there is none. */
void plot_lines(struct buf *to, const double *values, size_t count, unsigned width,
                unsigned height);

enum {
    PLOT_HEIGHT = 24,
    PLOT_LABEL = 10, /* columns that the labels at the left take */
};

#endif
