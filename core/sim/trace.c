/* trace.c: traces from files and generators, as one rate a tick. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "sim/private.h"
#include "base/ban.h"

enum {
    LINE_BYTES = 4096,
    TICKS_MOST = 20000000 /* three years */
};

static const double TICK_S = SIM_TICK_MS / 1000.0;

struct rows {
    double *at_s, *rate;
    size_t count, room;
};

static void put(struct rows *rows, double at_s, double rate)
{
    if (rows->count == rows->room) {
        rows->room = rows->room ? rows->room * 2 : 1024;
        rows->at_s = mem_resize(rows->at_s, rows->room * sizeof *rows->at_s);
        rows->rate = mem_resize(rows->rate, rows->room * sizeof *rows->rate);
    }
    rows->at_s[rows->count] = at_s;
    rows->rate[rows->count++] = rate;
}

/* Reads "12.5,300"; false: it is none. */
static bool numbers(const char *line, double *ret_a, double *ret_b)
{
    char *behind;
    *ret_a = strtod(line, &behind);
    if (behind == line || *behind != ',') {
        return false;
    }
    const char *second = behind + 1;
    *ret_b = strtod(second, &behind);
    return behind != second && !behind[strspn(behind, " \t\r\n")] && isfinite(*ret_a) &&
           isfinite(*ret_b);
}

static int read_rows(FILE *file, const char *path, double days, struct rows *rows, char **reterr)
{
    char line[LINE_BYTES]; /* a longer row is no row of two numbers */
    for (unsigned long number = 1; fgets(line, sizeof line, file); number++) {
        double at_s, rate;
        if (!line[strspn(line, " \t\r\n")]) {
            continue;
        }
        const char *what = NULL;
        if (!numbers(line, &at_s, &rate)) {
            what = number == 1 ? "" : "no row of two numbers: write seconds,requests_per_second";
        } else if (rate < 0) {
            what = "a negative rate: write requests per second, 0 or more";
        } else if (rows->count && at_s <= rows->at_s[rows->count - 1]) {
            what = "the time does not rise: sort the rows by seconds";
        } else if (rows->count && at_s - rows->at_s[0] > TICKS_MOST * TICK_S) {
            what = "more than three years after the first row: are these seconds?";
        }
        if (what && *what) {
            *reterr = mem_printf("%s:%lu: %s", path, number, what);
            return -EINVAL;
        }
        if (!what && rows->count && at_s - rows->at_s[0] >= days * 86400) {
            break;
        }
        if (!what) {
            put(rows, at_s, rate);
        }
    }
    if (rows->count < 2) {
        *reterr = mem_printf("%s: fewer than two rows: write seconds,requests_per_second", path);
        return -EINVAL;
    }
    return 0;
}

/* Between two rows a straight line. */
static void interpolate(const struct rows *rows, struct sim_trace *trace)
{
    double first = rows->at_s[0];
    trace->start_s = first > 0 ? first : 0;
    trace->count = (size_t)((rows->at_s[rows->count - 1] - first) / TICK_S);
    trace->rate = mem_array(trace->count + 1, sizeof *trace->rate);
    size_t row = 0;
    for (size_t i = 0; i < trace->count; i++) {
        double at_s = first + (double)i * TICK_S;
        while (row + 2 < rows->count && rows->at_s[row + 1] <= at_s) {
            row++;
        }
        double part = (at_s - rows->at_s[row]) / (rows->at_s[row + 1] - rows->at_s[row]);
        trace->rate[i] = rows->rate[row] + part * (rows->rate[row + 1] - rows->rate[row]);
    }
}

void sim_trace_of(double *at_s, double *rate, size_t count, struct sim_trace *ret_trace)
{
    const struct rows rows = {.at_s = at_s, .rate = rate, .count = count};
    interpolate(&rows, ret_trace);
    ret_trace->rows = rate;
    ret_trace->row_count = count;
    mem_free(at_s);
}

int sim_trace_read(const char *path, double days, struct sim_trace *ret_trace, char **reterr)
{
    FILE *file = str_same(path, "-") ? stdin : fopen(path, "re");
    if (!file) {
        int code = -errno;
        *reterr =
            mem_printf("%s: %s: give a file of seconds,requests_per_second", path, strerror(errno));
        return code;
    }
    struct rows rows = {.count = 0};
    int code = read_rows(file, path, days, &rows, reterr);
    if (file != stdin) {
        fclose(file);
    }
    if (code == 0) {
        sim_trace_of(rows.at_s, rows.rate, rows.count, ret_trace);
        return 0;
    }
    mem_free(rows.at_s);
    mem_free(rows.rate);
    return code;
}

/* Each gives 0..1 at a part of the whole length and at the hour of the day. */
static double step_at(double part, double hour)
{
    (void)hour;
    return part < 1.0 / 3 || part >= 2.0 / 3 ? 0.25 : 1;
}

static double ramp_at(double part, double hour)
{
    (void)hour;
    return 0.1 + 0.9 * (part < 0.5 ? 2 * part : 2 - 2 * part);
}

/* Two minutes of four times the load, every two hours. */
static double spike_at(double part, double hour)
{
    (void)part;
    return fmod(hour, 2) >= 1 && fmod(hour, 2) < 1 + 1.0 / 30 ? 1 : 0.25;
}

static double daily_at(double part, double hour)
{
    (void)part;
    return 0.55 - 0.45 * cos(6.283185307179586 * (hour - 4) / 24);
}

/* Every day at 20:00 all come within a minute, and lose interest over an hour. */
static double flash_at(double part, double hour)
{
    double since = fmod(hour - 20 + 24, 24), usual = 0.2 * daily_at(part, hour);
    return usual + (since < 12 ? (1 - usual) * fmin(since * 60, 1) * exp(-since / 0.5) : 0);
}

int sim_trace_make(const char *kind, double days, double peak, struct sim_trace *ret_trace,
                   char **reterr)
{
    static const struct {
        const char *kind;
        double (*at)(double part, double hour);
    } KINDS[] = {{"step", step_at},
                 {"ramp", ramp_at},
                 {"spike", spike_at},
                 {"daily", daily_at},
                 {"flash", flash_at}};
    for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++) {
        if (!str_same(kind, KINDS[k].kind)) {
            continue;
        }
        ret_trace->count = (size_t)(days * 86400 / TICK_S);
        ret_trace->rate = mem_array(ret_trace->count + 1, sizeof *ret_trace->rate);
        for (size_t i = 0; i < ret_trace->count; i++) {
            double hour = fmod((double)i * TICK_S / 3600, 24);
            ret_trace->rate[i] = peak * KINDS[k].at((double)i / (double)ret_trace->count, hour);
        }
        return 0;
    }
    *reterr =
        mem_printf("no trace \"%s\": give a file, or one of step, ramp, spike, daily, flash", kind);
    return -EINVAL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sim_trace_scale(struct sim_trace *trace, double q, double rate)
{
    if (!trace->count) {
        return;
    }
    size_t count = trace->rows ? trace->row_count : trace->count;
    double *sorted = mem_array(count, sizeof *sorted);
    memcpy(sorted, trace->rows ? trace->rows : trace->rate, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    /* The nearest rank: the least value that a part q of all is not above. */
    double rank = fmin(fmax(ceil(q * (double)count - 1e-9), 1), (double)count);
    double now = sorted[(size_t)rank - 1];
    mem_free(sorted);
    for (size_t i = 0; now > 0 && i < trace->count; i++) {
        trace->rate[i] *= rate / now;
    }
}

void sim_trace_free(struct sim_trace *trace)
{
    mem_release(&trace->rate);
    mem_release(&trace->rows);
    trace->count = trace->row_count = 0;
}
