/* simulated_plot.c: results of simulations drawn with characters. */
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"
#include "commands/plot.h"
#include "commands/screen.h"
#include "commands/simulated.h"

enum {
    LOAD_ROWS = 5,
    RUN_ROWS = 6
};

static void title(struct buf *to, const char *text)
{
    (void)buf_text(to, "\n");
    screen_text(to, text);
    (void)buf_text(to, "\n");
}

/* A mark below each column in which the objective was violated. */
static void marks(struct buf *to, const struct sim_result *r, unsigned width)
{
    unsigned columns = width > PLOT_LABEL + 1 ? width - PLOT_LABEL : 1;
    (void)buf_printf(to, "%*s", PLOT_LABEL, "violated ");
    for (unsigned x = 0; x < columns; x++) {
        size_t from = (size_t)x * r->ticks / columns, until = (size_t)(x + 1) * r->ticks / columns;
        bool any = false;
        for (size_t i = from; i < until || i == from; i++) {
            any = any || r->violated[i];
        }
        (void)buf_text(to, any ? "!" : " ");
    }
    (void)buf_text(to, "\n");
}

/* Beginning and end below the drawing. */
static void times(struct buf *to, const struct simulated_set *set, double until_s, unsigned width)
{
    char from[32], until[32];
    simulated_moment(set, 0, from);
    simulated_moment(set, until_s, until);
    int space = (int)width - PLOT_LABEL - (int)strlen(from);
    (void)buf_printf(to, "%*s%s%*s\n", PLOT_LABEL, "", from, space > 0 ? space : 0, until);
}

void simulated_plot(struct buf *to, const struct simulated_set *set, unsigned width)
{
    const struct sim_result *first = &set->runs[0].result;
    title(to, "load, requests/s");
    plot_lines(to, first->rate, first->ticks, width, LOAD_ROWS);
    for (size_t i = 0; i < set->count; i++) {
        char *name = mem_printf("%s, instances in traffic", set->runs[i].name);
        title(to, name);
        mem_free(name);
        plot_lines(to, set->runs[i].result.ready, first->ticks, width, RUN_ROWS);
        marks(to, &set->runs[i].result, width);
    }
    times(to, set, (double)first->ticks * SIM_TICK_MS / 1000, width);
}
