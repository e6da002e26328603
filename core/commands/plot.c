/* plot.c: see plot.h. A Braille character has 2 x 4 dots: U+2800 and one bit for each. */
#include "commands/plot.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"

static const unsigned char dots[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

struct canvas {
    unsigned char *cells;
    unsigned columns, height;
    double low, high;
};

static void find_range(struct canvas *c, const double *values, size_t count)
{
    c->low = INFINITY;
    c->high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (isfinite(values[i])) {
            c->low = fmin(c->low, values[i]);
            c->high = fmax(c->high, values[i]);
        }
    }
    if (c->low > c->high) {
        c->low = c->high = 0;
    }
    if (c->low >= 0 && c->low < c->high / 2) {
        c->low = 0; /* what begins near nothing is seen best from nothing */
    }
    if (c->high == c->low) {
        c->high = c->low + 1;
    }
}

static unsigned row_of(const struct canvas *c, double value)
{
    unsigned rows = c->height * 4;
    double at = (value - c->low) / (c->high - c->low) * (rows - 1);
    unsigned row = at <= 0 ? 0 : (unsigned)lround(at);
    return rows - 1 - (row < rows ? row : rows - 1);
}

static void set_dot(struct canvas *c, unsigned x, unsigned y)
{
    c->cells[y / 4 * c->columns + x / 2] |= dots[y % 4][x % 2];
}

static void draw(struct canvas *c, const double *values, size_t count)
{
    bool had = false;
    unsigned before = 0;
    for (unsigned x = 0; x < c->columns * 2; x++) {
        double value = values[(size_t)x * count / (c->columns * 2)];
        if (!isfinite(value)) {
            had = false;
            continue;
        }
        unsigned now = row_of(c, value);
        /* Steep places are joined. */
        unsigned from = had && before < now ? before : now, to = had && before > now ? before : now;
        for (unsigned y = from; y <= to; y++) {
            set_dot(c, x, y);
        }
        before = now;
        had = true;
    }
}

static void print_row(const struct canvas *c, unsigned row, struct buf *to)
{
    if (row == 0 || row + 1 == c->height) {
        (void)buf_printf(to, "%9.4g ", row ? c->low : c->high);
    } else {
        (void)buf_printf(to, "%*s", PLOT_LABEL, "");
    }
    for (unsigned x = 0; x < c->columns; x++) {
        unsigned char cell = c->cells[row * c->columns + x];
        const char bytes[3] = {(char)0xe2, (char)(0xa0 | cell >> 6), (char)(0x80 | (cell & 0x3f))};
        (void)buf_append(to, bytes, sizeof bytes);
    }
    (void)buf_text(to, "\n");
}

void plot_lines(struct buf *to, const double *values, size_t count, unsigned width, unsigned height)
{
    struct canvas c = {.height = height > PLOT_HEIGHT ? PLOT_HEIGHT : height ? height : 1};
    c.columns = width > PLOT_LABEL + 1 ? width - PLOT_LABEL : 1;
    if (!count) {
        return;
    }
    c.cells = mem_new((size_t)c.columns * c.height);
    find_range(&c, values, count);
    draw(&c, values, count);
    for (unsigned row = 0; row < c.height; row++) {
        print_row(&c, row, to);
    }
    mem_free(c.cells);
}
