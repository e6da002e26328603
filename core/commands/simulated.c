/* simulated.c: results of `tidegate simulate` as a table and as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands/simulated.h"
#include "commands/range.h"
#include "commands/recorded.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static double a_day(const struct sim_result *r, double count)
{
    return r->hours > 0 ? count * 24 / r->hours : 0;
}

int64_t simulated_begin(const struct sim_trace *trace)
{
    static const double LEAST_S = 1e9; /* of 2001; less is since some beginning */
    return trace->start_s >= LEAST_S ? range_local_s((uint64_t)(trace->start_s * 1000)) : -1;
}

void simulated_moment(const struct simulated_set *set, double at_s, char ret_text[32])
{
    if (set->begin_s < 0) {
        screen_age(at_s, ret_text);
        return;
    }
    time_t seconds = (time_t)(set->begin_s + (int64_t)at_s);
    struct tm tm;
    gmtime_r(&seconds, &tm); /* it is local time already */
    (void)strftime(ret_text, 32, "%m-%d %H:%M:%S", &tm);
}

static void put_worst(struct buf *to, const struct simulated_set *set, const struct sim_interval *w,
                      unsigned width)
{
    char from[32], length[24];
    simulated_moment(set, w->from_s, from);
    screen_age(w->until_s - w->from_s, length);
    (void)buf_printf(to, "  at %s for %s, %.0f instance seconds short\n", from, length, w->excess);
    struct str rest = str_of(w->decisions), line;
    while (*w->decisions && str_next(&rest, '\n', &line)) {
        char *text = mem_copy_bytes(line.ptr, line.len), *what = strchr(text, ':'), at[32];
        simulated_moment(set, strtod(text, NULL), at);
        char *told = mem_printf("%s%s", at, what ? what : "");
        screen_line(to, width, 6, told);
        mem_free(told);
        mem_free(text);
    }
}

void simulated_table(struct buf *to, const struct simulated_set *set, unsigned width, bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"POLICY", false, true},   {"VIOLATED %", true, false}, {"BAD %", true, false},
        {"HOURS", true, false},    {"COST", true, false},       {"ACTIONS/DAY", true, false},
        {"FLIPS/DAY", true, false}};
    struct screen_table *table = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (size_t i = 0; i < set->count; i++) {
        const struct sim_result *r = &set->runs[i].result;
        screen_cell(table, SCREEN_PLAIN, "%s", set->runs[i].name);
        screen_cell(table, SCREEN_PLAIN, "%.2f", r->violation_pct);
        screen_cell(table, SCREEN_PLAIN, "%.2f", r->bad_pct);
        screen_cell(table, SCREEN_PLAIN, "%.1f", r->instance_hours);
        screen_cell(table, SCREEN_PLAIN, "%.2f", r->cost);
        screen_cell(table, SCREEN_PLAIN, "%.0f", a_day(r, r->ups + r->downs));
        screen_cell(table, SCREEN_PLAIN, "%.0f", a_day(r, r->flips));
    }
    screen_table_print(table, to, width, 0, colour);
    screen_table_free(table);
    if (set->count) {
        const struct sim_result *r = &set->runs[0].result;
        (void)buf_printf(to, "\nthe best plan in hindsight: %.1f instance hours of %.1f hours",
                         r->oracle_hours, r->hours);
        (void)buf_printf(to,
                         r->unavoidable_pct > 0
                             ? "; %.2f %% of the time needs more than max, and is not counted\n"
                             : "\n",
                         r->unavoidable_pct);
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct sim_result *r = &set->runs[i].result;
        (void)buf_printf(to, r->worst_count ? "\n%s, worst:\n" : "", set->runs[i].name);
        for (unsigned w = 0; w < r->worst_count; w++) {
            put_worst(to, set, &r->worst[w], width);
        }
    }
}

static struct cJSON *worst_json(const struct sim_interval *w)
{
    struct cJSON *j = json_object(), *lines = json_array();
    json_set_num(j, "from_s", w->from_s);
    json_set_num(j, "until_s", w->until_s);
    json_set_num(j, "excess", w->excess);
    struct str rest = str_of(w->decisions), line;
    while (*w->decisions && str_next(&rest, '\n', &line)) {
        char *text = mem_copy_bytes(line.ptr, line.len);
        json_add_str(lines, text);
        mem_free(text);
    }
    json_set(j, "decisions", lines);
    json_set(j, "records", json_parse(w->records, strlen(w->records)));
    return j;
}

static struct cJSON *run_json(const struct simulated *run)
{
    const struct sim_result *r = &run->result;
    struct cJSON *j = json_object(), *worst = json_array();
    json_set_str(j, "policy", run->name);
    json_set_num(j, "violation_percent", r->violation_pct);
    json_set_num(j, "unavoidable_percent", r->unavoidable_pct);
    json_set_num(j, "bad_percent", r->bad_pct);
    json_set_num(j, "instance_hours", r->instance_hours);
    json_set_num(j, "oracle_hours", r->oracle_hours);
    json_set_num(j, "cost", r->cost);
    json_set_num(j, "hours", r->hours);
    json_set_num(j, "actions_per_day", a_day(r, r->ups + r->downs));
    json_set_num(j, "ups", r->ups);
    json_set_num(j, "downs", r->downs);
    json_set_num(j, "flips", r->flips);
    json_set_num(j, "decisions", (double)r->decisions);
    json_set_num(j, "decide_us", r->decide_us);
    if (r->error) {
        json_set_str(j, "error", r->error);
    }
    for (unsigned w = 0; w < r->worst_count; w++) {
        json_set(worst, NULL, worst_json(&r->worst[w]));
    }
    json_set(j, "worst", worst);
    return j;
}

static struct cJSON *options_json(const struct sim_options *o)
{
    struct cJSON *j = json_object();
    json_set_num(j, "startup_ms", (double)o->startup_ms);
    json_set_num(j, "slo_ms", (double)o->slo_ms);
    json_set_num(j, "timeout_ms", (double)o->timeout_ms);
    json_set_num(j, "service_ms", (double)o->service_ms);
    json_set_num(j, "capacity", o->capacity);
    json_set_num(j, "noise", o->noise);
    json_set_num(j, "seed", (double)o->seed);
    json_set_num(j, "min", o->min);
    json_set_num(j, "max", o->max);
    return j;
}

struct cJSON *simulated_json(const struct simulated_set *set)
{
    struct cJSON *answer = json_object(), *list = json_array();
    json_set_str(answer, "title", set->title);
    json_set(answer, "options", options_json(set->options));
    for (size_t i = 0; i < set->count; i++) {
        json_set(list, NULL, run_json(&set->runs[i]));
    }
    json_set(answer, "runs", list);
    return answer;
}

void simulated_assumed(struct buf *to, const struct simulated_set *set, const struct recorded *r,
                       bool capacity_given)
{
    const struct sim_options *o = set->options;
    (void)buf_printf(to,
                     "%s: %u to %u instances, each ready %.4g s after its start, for %.4g "
                     "requests/s (%s)\n",
                     set->title, o->min, o->max, (double)o->startup_ms / 1000, o->capacity,
                     capacity_given    ? "as given"
                     : r->capacity > 0 ? "learned from its CPU"
                                       : "assumed: give a capacity");
    if (r->gap_s > 0) {
        char gap[24];
        screen_age(r->gap_s, gap);
        (void)buf_printf(to,
                         "nothing was recorded for %s of this time: straight lines lead over "
                         "it\n",
                         gap);
    }
    (void)buf_text(to, "\n");
}
