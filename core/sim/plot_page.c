/* plot_page.c: runs as a page of HTML: the picture, the figures, the worst intervals with their decisions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "sim/private.h"
#include "base/ban.h"

void plot_text(struct buf *to, const char *text)
{
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        switch (c) {
        case '&':
            (void)buf_text(to, "&amp;");
            break;
        case '<':
            (void)buf_text(to, "&lt;");
            break;
        case '>':
            (void)buf_text(to, "&gt;");
            break;
        case '"':
            (void)buf_text(to, "&quot;");
            break;
        default:
            (void)buf_append(to, c < 32 || c == 127 ? "?" : at, 1);
        }
    }
}

void plot_date(int64_t at_s, bool day, char ret_text[32])
{
    time_t seconds = (time_t)at_s;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    (void)strftime(ret_text, 32, day ? "%m-%d" : "%H:%M", &tm);
}

static const char STYLE[] =
    ":root{color-scheme:light dark}\n"
    "body{margin:2rem auto;max-width:62.5rem;padding:0 1rem;font:15px/1.5 system-ui,sans-serif;"
    "color:#1f2328;background:#fff}\n"
    "svg{max-width:100%;height:auto}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #d1d9e0}"
    "th:first-child,td:first-child{text-align:left;padding-left:0}\n"
    "dt{margin-top:.8rem;font-weight:600}dd{margin:0 0 0 1rem;font:13px/1.5 ui-monospace,monospace;"
    "overflow-wrap:anywhere}p{color:#59636e}\n"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}"
    "th,td{border-color:#30363d}p{color:#9198a1}}\n";

static void put_row(struct buf *to, const struct sim_plot_run *run)
{
    const struct sim_result *r = run->result;
    double days = r->hours / 24;
    (void)buf_text(to, "<tr><td>");
    plot_text(to, run->name);
    (void)buf_printf(to,
                     "</td><td>%.2f</td><td>%.2f</td><td>%.1f</td><td>%.2f</td><td>%.0f</td>"
                     "<td>%.0f</td></tr>\n",
                     r->violation_pct, r->bad_pct, r->instance_hours, r->cost,
                     days > 0 ? (r->ups + r->downs) / days : 0, days > 0 ? r->flips / days : 0);
}

static void put_table(struct buf *to, const struct sim_plot *plot)
{
    const struct sim_result *r = plot->runs[0].result;
    (void)buf_text(to,
                   "<table><thead><tr><th>policy</th><th>violated %</th><th>bad requests %</th>"
                   "<th>instance hours</th><th>cost</th><th>actions a day</th><th>flips a day</th>"
                   "</tr></thead><tbody>\n");
    for (size_t i = 0; i < plot->count; i++) {
        put_row(to, &plot->runs[i]);
    }
    (void)buf_printf(to,
                     "</tbody></table>\n<p>Violated: time in which 95 %% were not answered within "
                     "%llu ms. Cost: instance hours beside the best plan in hindsight, which takes "
                     "%.1f in %.1f hours.",
                     (unsigned long long)plot->options->slo_ms, r->oracle_hours, r->hours);
    if (r->unavoidable_pct > 0) {
        (void)buf_printf(to,
                         " %.2f %% of the time need more than %u instances, and are not counted.",
                         r->unavoidable_pct, plot->options->max);
    }
    (void)buf_printf(to,
                     " Simulated: an instance does %g requests/s, is ready %.4g s after its start, "
                     "and answers in %llu ms when it is idle; these are figures of a model.</p>\n",
                     plot->options->capacity, (double)plot->options->startup_ms / 1000,
                     (unsigned long long)plot->options->service_ms);
}

static void put_at(struct buf *to, const struct sim_plot *plot, double at_s)
{
    if (plot->begin_s >= 0) {
        char day[32], hour[32];
        plot_date(plot->begin_s + (int64_t)at_s, true, day);
        plot_date(plot->begin_s + (int64_t)at_s, false, hour);
        (void)buf_printf(to, "%s %s:%02d", day, hour, (int)((plot->begin_s + (int64_t)at_s) % 60));
    } else {
        unsigned long long s = (unsigned long long)at_s;
        (void)buf_printf(to, "%llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
    }
}

static void put_worst(struct buf *to, const struct sim_plot *plot, const struct sim_plot_run *run)
{
    const struct sim_result *r = run->result;
    if (!r->worst_count) {
        return;
    }
    (void)buf_text(to, "<h2>");
    plot_text(to, run->name);
    (void)buf_text(to, ": worst intervals, with the decisions around their end</h2>\n<dl>\n");
    for (unsigned i = 0; i < r->worst_count; i++) {
        const struct sim_interval *w = &r->worst[i];
        (void)buf_text(to, "<dt>");
        put_at(to, plot, w->from_s);
        (void)buf_printf(to, ", for %.0f s, %.0f instance seconds short</dt>\n",
                         w->until_s - w->from_s, w->excess);
        struct str rest = str_of(w->decisions), line;
        while (*w->decisions && str_next(&rest, '\n', &line)) {
            char *text = mem_copy_bytes(line.ptr, line.len);
            const char *what = strchr(text, ':');
            (void)buf_text(to, "<dd>");
            put_at(to, plot, strtod(text, NULL));
            plot_text(to, what ? what : "");
            (void)buf_text(to, "</dd>\n");
            mem_free(text);
        }
    }
    (void)buf_text(to, "</dl>\n");
}

void sim_plot_html(struct buf *to, const struct sim_plot *plot)
{
    (void)buf_text(to, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width\"><title>");
    plot_text(to, plot->title);
    (void)buf_printf(to, "</title>\n<style>%s</style></head><body>\n<h1>", STYLE);
    plot_text(to, plot->title);
    (void)buf_text(to, "</h1>\n");
    put_table(to, plot);
    struct sim_plot picture = *plot;
    picture.title = NULL; /* the page has it */
    sim_plot_svg(to, &picture);
    if (plot->count > SIM_PLOT_RUNS) {
        (void)buf_printf(to, "<p>The first %d of %zu runs are drawn.</p>\n", SIM_PLOT_RUNS,
                         plot->count);
    }
    for (size_t i = 0; i < plot->count; i++) {
        put_worst(to, plot, &plot->runs[i]);
    }
    (void)buf_text(to, "</body></html>\n");
}
