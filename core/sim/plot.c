/* plot.c: runs as one SVG; see sim.h.
 *
 * A panel for the load, then one for each run, all over the same time, those of runs with the same scale.
 * A column of the picture is one tick or several; of several it shows their mean, and between the least and the
 * most a band. Colours are classes, which a style sheet gives, for dark too: the file needs nothing else. */
#include <math.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "sim/private.h"
#include "base/ban.h"

enum {
    LEFT = 56,
    WIDTH = 920, /* of a panel; as many columns at most */
    RIGHT = 24,
    TOP = 64,
    LOAD_HEIGHT = 110,
    RUN_HEIGHT = 120,
    GAP = 52,
    LABELS = 4, /* of an axis, about */
    HOURS_LABELS = 8
};

/* The picture under way. */
struct picture {
    struct buf *to;
    const struct sim_plot *plot;
    size_t ticks, columns;
    double top;          /* of the present panel */
    double height, high; /* its height, and the value at its upper end */
};

/* A column of a series. */
struct column {
    double low, high, mean;
};

static double x_of(const struct picture *p, double column)
{
    return LEFT + column * WIDTH / (double)p->columns;
}

static double y_of(const struct picture *p, double value)
{
    return p->top + p->height * (1 - value / p->high);
}

static size_t first_tick(const struct picture *p, size_t column)
{
    return column * p->ticks / p->columns;
}

static struct column column_of(const struct picture *p, const double *values, size_t column)
{
    size_t from = first_tick(p, column), until = first_tick(p, column + 1);
    struct column c = {.low = values[from], .high = values[from]};
    double sum = 0;
    for (size_t i = from; i < until; i++) {
        c.low = fmin(c.low, values[i]);
        c.high = fmax(c.high, values[i]);
        sum += values[i];
    }
    c.mean = sum / (double)(until - from);
    return c;
}

/* ---- Shapes ---- */

/* What one series looks like, as a path that ends at the lower edge when it is filled. */
static void area(const struct picture *p, const char *class, const double *values)
{
    (void)buf_printf(p->to, "<path class=\"%s\" d=\"M%d %.1f", class, LEFT, p->top + p->height);
    for (size_t i = 0; i < p->columns; i++) {
        double y = y_of(p, column_of(p, values, i).mean);
        (void)buf_printf(p->to, "L%.1f %.1fH%.1f", x_of(p, (double)i), y, x_of(p, (double)i + 1));
    }
    (void)buf_printf(p->to, "V%.1fZ\"/>\n", p->top + p->height);
}

static void line(const struct picture *p, const char *class, const double *values)
{
    double last = NAN;
    (void)buf_printf(p->to, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < p->columns; i++) {
        double y = y_of(p, column_of(p, values, i).mean);
        if (i == 0) {
            (void)buf_printf(p->to, "M%d %.1f", LEFT, y);
        } else if (y != last) {
            (void)buf_printf(p->to, "H%.1fV%.1f", x_of(p, (double)i), y);
        }
        last = y;
    }
    (void)buf_printf(p->to, "H%d\"/>\n", LEFT + WIDTH);
}

/* From the least to the most of each column; nothing where columns are single ticks. */
static void band(const struct picture *p, const char *class, const double *values)
{
    if (p->ticks == p->columns) {
        return;
    }
    (void)buf_printf(p->to, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < p->columns; i++) {
        (void)buf_printf(p->to, "%s%.1f %.1f", i ? "L" : "M", x_of(p, (double)i + 0.5),
                         y_of(p, column_of(p, values, i).high));
    }
    for (size_t i = p->columns; i-- > 0;) {
        (void)buf_printf(p->to, "L%.1f %.1f", x_of(p, (double)i + 0.5),
                         y_of(p, column_of(p, values, i).low));
    }
    (void)buf_text(p->to, "Z\"/>\n");
}

/* Bars that hang from the upper edge, as long as the part of a column's time in which the objective was violated: so
 * their area is that of the violations, however many ticks a column has. */
static void violations(const struct picture *p, const bool *violated)
{
    (void)buf_text(p->to, "<path class=\"violated\" d=\"");
    for (size_t i = 0; i < p->columns; i++) {
        size_t from = first_tick(p, i), until = first_tick(p, i + 1), count = 0;
        for (size_t t = from; t < until; t++) {
            count += violated[t];
        }
        if (count) {
            double length = p->height * (double)count / (double)(until - from);
            (void)buf_printf(p->to, "M%.1f %.1fH%.1fv%.1fH%.1fZ", x_of(p, (double)i), p->top,
                             x_of(p, (double)i + 1), fmax(length, 2), x_of(p, (double)i));
        }
    }
    (void)buf_text(p->to, "\"/>\n");
}

/* Text where anybody may have written something. */
static void label(const struct picture *p, const char *class, double x, double y, const char *text)
{
    (void)buf_printf(p->to, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
    plot_text(p->to, text);
    (void)buf_text(p->to, "</text>\n");
}

/* ---- Axes ---- */

/* 1, 2 or 5 times a power of ten, so that about LABELS of them make `high`. */
static double nice_step(double high)
{
    double rough = high / LABELS, power = pow(10, floor(log10(rough))), part = rough / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

/* The scale of a panel whose greatest value is `most`, and its lines. */
static void scale(struct picture *p, double height, double most)
{
    double step = nice_step(fmax(most, 1e-9));
    p->height = height;
    p->high = ceil(fmax(most, 1e-9) / step) * step;
    for (double at = 0; at <= p->high + step / 2; at += step) {
        char text[32]; /* %.6g */
        double y = y_of(p, at);
        (void)buf_printf(p->to, "<path class=\"grid\" d=\"M%d %.1fh%d\"/>\n", LEFT, y, WIDTH);
        snprintf(text, sizeof text, "%.6g", at);
        label(p, "number", LEFT - 6, y + 4, text);
    }
}

/* Of the clock, where it is known: "14:05", "01-31"; else since the beginning: "0:05", "14h", "3d". */
static void hour_text(const struct picture *p, double at_s, double step_s, char ret_text[32])
{
    int64_t begin = p->plot->begin_s, at = (int64_t)llround(at_s) + (begin < 0 ? 0 : begin);
    if (begin >= 0) {
        plot_date(at, step_s >= 86400, ret_text);
    } else if (step_s >= 86400) {
        snprintf(ret_text, 32, "%lldd", (long long)(at / 86400));
    } else if (step_s >= 3600) {
        snprintf(ret_text, 32, "%lldh", (long long)(at / 3600));
    } else {
        snprintf(ret_text, 32, "%lld:%02lld", (long long)(at / 3600), (long long)(at / 60 % 60));
    }
}

/* Lines of time through the present panel; the hours below it when `told`. */
static void hours(const struct picture *p, bool told)
{
    static const double STEPS[] = {60,    300,   600,   900,   1800,   3600,   7200,   10800,
                                   14400, 21600, 43200, 86400, 172800, 604800, 2592000};
    double whole = (double)p->ticks * SIM_TICK_MS / 1000, step = STEPS[0];
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS && whole / step > HOURS_LABELS; i++) {
        step = STEPS[i];
    }
    /* With a clock, at whole hours of it. */
    double before = p->plot->begin_s >= 0 ? fmod((double)p->plot->begin_s, step) : 0;
    for (double at = before > 0 ? step - before : 0; at <= whole; at += step) {
        char text[32];
        double x = LEFT + at / whole * WIDTH;
        (void)buf_printf(p->to, "<path class=\"grid\" d=\"M%.1f %.1fv%.1f\"/>\n", x, p->top,
                         p->height);
        if (told) {
            hour_text(p, at, step, text);
            label(p, "hour", x, p->top + p->height + 16, text);
        }
    }
}

/* ---- Panels ---- */

static double most_of(const double *values, size_t count, double most)
{
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, values[i]);
    }
    return most;
}

static void load_panel(struct picture *p)
{
    const double *rate = p->plot->runs[0].result->rate;
    label(p, "name", LEFT, p->top - 10, "load, requests/s");
    scale(p, LOAD_HEIGHT, most_of(rate, p->ticks, 0));
    hours(p, false);
    band(p, "load band", rate);
    area(p, "load", rate);
    p->top += LOAD_HEIGHT + GAP;
}

static void run_panel(struct picture *p, const struct sim_plot_run *run, double most)
{
    const struct sim_result *r = run->result;
    char figures[200]; /* six numbers of at most 20 bytes */
    snprintf(figures, sizeof figures,
             "%.2f %% of the time violated, cost %.2f, %.1f instance hours, %.0f actions a day",
             r->violation_pct, r->cost, r->instance_hours,
             r->hours > 0 ? (r->ups + r->downs) * 24 / r->hours : 0);
    label(p, "name", LEFT, p->top - 10, run->name);
    label(p, "figures", LEFT + WIDTH, p->top - 10, figures);
    scale(p, RUN_HEIGHT, most);
    hours(p, true);
    area(p, "billed", r->wanted);
    violations(p, r->violated);
    band(p, "ready band", r->ready);
    line(p, "ready", r->ready);
    line(p, "best", r->best);
    p->top += RUN_HEIGHT + GAP;
}

/* ---- The whole ---- */

static const char STYLE[] =
    "svg.plot{--back:#fff;--text:#1f2328;--soft:#59636e;--line:#d1d9e0;--load:#57606a;--own:#"
    "0969da;"
    "--best:#1a7f37;--bad:#cf222e;background:var(--back);font:13px system-ui,sans-serif}\n"
    "@media(prefers-color-scheme:dark){svg.plot{--back:#0d1117;--text:#e6edf3;--soft:#9198a1;"
    "--line:#30363d;--load:#b1bac4;--own:#58a6ff;--best:#3fb950;--bad:#ff6a63}}\n"
    ".plot text{fill:var(--soft)}.plot .title,.plot .name{fill:var(--text);font-weight:600}\n"
    ".plot .title{font-size:16px}.plot .number,.plot .figures{text-anchor:end}"
    ".plot .number,.plot .hour{font-size:11px}.plot .hour{text-anchor:middle}\n"
    ".plot path{fill:none}.plot .grid{stroke:var(--line)}.plot .load{fill:var(--load);"
    "fill-opacity:.45}.plot .load.band{fill-opacity:.2}\n"
    ".plot .billed{fill:var(--own);fill-opacity:.16}.plot .ready{stroke:var(--own);"
    "stroke-width:1.6}.plot .ready.band{fill:var(--own);fill-opacity:.3;stroke:none}\n"
    ".plot .best{stroke:var(--best);stroke-width:1.3;stroke-dasharray:4 3}"
    ".plot .violated{fill:var(--bad);fill-opacity:.5}\n";

static void legend(const struct picture *p)
{
    static const struct {
        const char *class, *text;
        int width;
    } KEYS[] = {{"billed", "paid for", 92},
                {"ready", "in traffic", 100},
                {"best", "paid for by the best plan in hindsight", 290},
                {"violated", "objective violated (of a column: for that part of its time)", 0}};
    double x = LEFT;
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        bool filled = i == 0 || i == 3;
        if (filled) {
            (void)buf_printf(
                p->to, "<rect class=\"%s\" x=\"%.0f\" y=\"37\" width=\"18\" height=\"11\"/>\n",
                KEYS[i].class, x);
        } else {
            (void)buf_printf(p->to, "<path class=\"%s\" d=\"M%.0f 43h18\"/>\n", KEYS[i].class, x);
        }
        label(p, "key", x + 24, 47, KEYS[i].text);
        x += KEYS[i].width;
    }
}

void sim_plot_svg(struct buf *to, const struct sim_plot *plot)
{
    const struct sim_result *first = plot->runs[0].result;
    size_t shown = plot->count < SIM_PLOT_RUNS ? plot->count : SIM_PLOT_RUNS;
    struct picture p = {.to = to, .plot = plot, .ticks = first->ticks};
    p.columns = p.ticks < WIDTH ? p.ticks : WIDTH;
    int height = TOP + GAP / 2 + LOAD_HEIGHT + GAP + (int)shown * (RUN_HEIGHT + GAP);
    double most = 0;
    for (size_t i = 0; i < shown; i++) {
        most = most_of(plot->runs[i].result->wanted, p.ticks, most);
        most = most_of(plot->runs[i].result->best, p.ticks, most);
    }
    (void)buf_printf(to,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" "
                     "viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n<style>%s</style>\n",
                     LEFT + WIDTH + RIGHT, height, LEFT + WIDTH + RIGHT, height, STYLE);
    label(&p, "title", LEFT, 24, plot->title ? plot->title : "");
    legend(&p);
    p.top = TOP + GAP / 2;
    load_panel(&p);
    for (size_t i = 0; i < shown; i++) {
        run_panel(&p, &plot->runs[i], most);
    }
    (void)buf_text(to, "</svg>\n");
}
