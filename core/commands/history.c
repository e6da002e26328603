/* history.c: `tidegate history` and `tidegate events`: what was. */
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "commands/commands.h"
#include "commands/plot.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    ASK_MS = 30000,
    HOUR_MS = 3600 * 1000,
    DAY_MS = 24 * HOUR_MS,
    TABLE_ROWS = 60, /* as many steps as that, when none is given */
    PLOT_ROWS = 12,
    PLOT_POINTS = 8192,
};

/* ---- Times and numbers ------------------------------------------------------------------- */

/* "31 12:00:05" of a range of days, else "12:00:05". */
static const char *time_text(char to[32], double wall_ms, bool days)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    strftime(to, 32, days ? "%m-%d %H:%M" : "%H:%M:%S", &tm);
    return to;
}

static void number_cell(struct screen_table *t, enum screen_colour colour, double value)
{
    if (fabs(value) < 1e6 || fabs(value) >= 1e15) {
        screen_cell(t, colour, "%.5g", value);
    } else {
        screen_cell(t, colour, "%.0f", value);
    }
}

/* The shortest good step that makes at most `most` of a range. */
static uint64_t step_for(uint64_t range_ms, uint64_t most)
{
    static const uint64_t steps_s[] = {1,   5,   10,   15,   30,   60,    120,   300,
                                       600, 900, 1800, 3600, 7200, 21600, 43200, 86400};
    for (size_t i = 0; i < sizeof steps_s / sizeof *steps_s; i++) {
        if (range_ms / (steps_s[i] * 1000) <= most) {
            return steps_s[i] * 1000;
        }
    }
    return 7ull * DAY_MS;
}

/* Member `at` of a point: [at_ms, min, max, mean, last, count]. */
enum point_member {
    POINT_AT,
    POINT_MIN,
    POINT_MAX,
    POINT_MEAN,
    POINT_LAST,
    POINT_COUNT
};

static double point_num(const struct cJSON *point, enum point_member member)
{
    const struct cJSON *item = json_first(point);
    for (int i = 0; i < (int)member && item; i++) {
        item = json_next(item);
    }
    return json_value_num(item, NAN);
}

/* ---- history ----------------------------------------------------------------------------- */

void commands_show_history(struct buf *to, const struct cJSON *answer, unsigned columns,
                           bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"INSTANCE", false, true}, {"METRIC", false, true}, {"LAST", true, false},
        {"MIN", true, false},      {"MEAN", true, false},   {"MAX", true, false},
        {"SAMPLES", true, false},
    };
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    const struct cJSON *s = json_first(json_get(answer, "series"));
    for (; s; s = json_next(s)) {
        const struct cJSON *p = json_first(json_get(s, "points"));
        const char *instance = json_str(s, "instance", "");
        screen_cell(t, SCREEN_PLAIN, "%s", *instance ? instance : "-");
        screen_cell(t, SCREEN_BOLD, "%s", json_str(s, "metric", "?"));
        number_cell(t, SCREEN_PLAIN, point_num(p, POINT_LAST));
        number_cell(t, SCREEN_PLAIN, point_num(p, POINT_MIN));
        number_cell(t, SCREEN_PLAIN, point_num(p, POINT_MEAN));
        number_cell(t, SCREEN_PLAIN, point_num(p, POINT_MAX));
        number_cell(t, SCREEN_DIM, point_num(p, POINT_COUNT));
    }
    screen_table_print(t, to, columns, 0, colour);
    screen_table_free(t);
}

void commands_show_series(struct buf *to, const struct cJSON *series, unsigned columns, bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"TIME", false, false}, {"MIN", true, false},  {"MEAN", true, false},
        {"MAX", true, false},   {"LAST", true, false}, {"SAMPLES", true, false},
    };
    const struct cJSON *points = json_get(series, "points"), *last = json_first(points);
    for (const struct cJSON *p = last; p; p = json_next(p)) {
        last = p;
    }
    bool days = point_num(last, POINT_AT) - point_num(json_first(points), POINT_AT) >= DAY_MS;
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (const struct cJSON *p = json_first(points); p; p = json_next(p)) {
        char at[32];
        screen_cell(t, SCREEN_DIM, "%s", time_text(at, point_num(p, POINT_AT), days));
        number_cell(t, SCREEN_PLAIN, point_num(p, POINT_MIN));
        number_cell(t, SCREEN_BOLD, point_num(p, POINT_MEAN));
        number_cell(t, SCREEN_PLAIN, point_num(p, POINT_MAX));
        number_cell(t, SCREEN_PLAIN, point_num(p, POINT_LAST));
        number_cell(t, SCREEN_DIM, point_num(p, POINT_COUNT));
    }
    screen_table_print(t, to, columns, 0, colour);
    screen_table_free(t);
}

void commands_show_plot(struct buf *to, const struct cJSON *answer, const struct cJSON *series,
                        unsigned columns)
{
    double from_ms = json_num(answer, "from_ms", 0), to_ms = json_num(answer, "to_ms", 0);
    double step_ms = json_num(answer, "step_ms", 1);
    double steps = step_ms > 0 ? ceil((to_ms - from_ms) / step_ms) : 0;
    if (!(steps >= 1 && steps <= PLOT_POINTS)) {
        return;
    }
    size_t count = (size_t)steps;
    double *values = mem_array(count, sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = NAN;
    }
    const struct cJSON *p = json_first(json_get(series, "points"));
    for (; p; p = json_next(p)) {
        double at = floor((point_num(p, POINT_AT) - from_ms) / step_ms);
        at = at < 0 ? 0 : at; /* the first step may begin before the range */
        if (at < steps) {
            values[(size_t)at] = point_num(p, POINT_MEAN);
        }
    }
    plot_lines(to, values, count, columns, PLOT_ROWS);
    mem_free(values);
    char from[32], until[32];
    bool days = to_ms - from_ms >= DAY_MS;
    (void)buf_printf(to, "%*s%-*s%s\n", PLOT_LABEL, "", (int)columns - PLOT_LABEL - 12,
                     time_text(from, from_ms, days), time_text(until, to_ms, days));
}

static void print_csv(struct buf *to, const struct cJSON *answer)
{
    (void)buf_text(to, "time,instance,metric,min,max,mean,last,count\n");
    const struct cJSON *s = json_first(json_get(answer, "series"));
    for (; s; s = json_next(s)) {
        const struct cJSON *p = json_first(json_get(s, "points"));
        for (; p; p = json_next(p)) {
            char at[32]; /* clock_iso needs 25 */
            clock_iso((uint64_t)point_num(p, POINT_AT), at, sizeof at);
            /* Names of services, instances and metrics have neither commas nor quotes. */
            (void)buf_printf(
                to, "%s,%s,%s,%.15g,%.15g,%.15g,%.15g,%.0f\n", at, json_str(s, "instance", ""),
                json_str(s, "metric", ""), point_num(p, POINT_MIN), point_num(p, POINT_MAX),
                point_num(p, POINT_MEAN), point_num(p, POINT_LAST), point_num(p, POINT_COUNT));
        }
    }
}

/* The service as a whole where it has the metric, else each instance under its name. */
static void print_metric(struct buf *to, const struct cJSON *answer, bool plot)
{
    const struct cJSON *all = json_first(json_get(answer, "series"));
    bool whole = all && !*json_str(all, "instance", "");
    for (const struct cJSON *s = all; s; s = json_next(s)) {
        if (!whole) {
            screen_paint(to, SCREEN_BOLD, screen_coloured(), json_str(s, "instance", ""));
            (void)buf_text(to, "\n");
        }
        if (plot) {
            commands_show_plot(to, answer, s, screen_columns());
        } else {
            commands_show_series(to, s, screen_columns(), screen_coloured());
        }
        if (whole) {
            break;
        }
    }
}

static void print_history(const struct command_call *call, const struct cJSON *answer)
{
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    bool plot =
        command_value(call, "plot") || (isatty(STDOUT_FILENO) && !command_value(call, "table"));
    if (command_value(call, "csv")) {
        print_csv(&text, answer);
    } else if (!json_first(json_get(answer, "series"))) {
        const char *service = command_arg(call, 0), *metric = command_arg(call, 1);
        if (metric) {
            (void)buf_printf(&text,
                             "nothing is known of %s of %s in this time: `tidegate history %s` "
                             "lists its metrics\n",
                             metric, service, service);
        } else {
            (void)buf_printf(&text,
                             "nothing is known of %s in this time: `tidegate status` lists "
                             "services, --since looks further back\n",
                             service);
        }
    } else if (command_arg(call, 1)) {
        print_metric(&text, answer, plot);
    } else {
        commands_show_history(&text, answer, screen_columns(), screen_coloured());
    }
    fputs(buf_str(&text), stdout);
    buf_free(&text);
}

static int run_history(const struct command_call *call)
{
    uint64_t since_ms, step_ms, now_ms = clock_wall_ms();
    int code = command_duration(call, "since", HOUR_MS, &since_ms);
    if (code == COMMAND_FINE) {
        code = command_duration(call, "step", step_for(since_ms, TABLE_ROWS), &step_ms);
    }
    if (code != COMMAND_FINE) {
        return code;
    }
    if (!since_ms || !step_ms || since_ms > now_ms) {
        return command_fail(COMMAND_WRONG_USAGE, "--since and --step are longer than nothing");
    }
    const char *metric = command_arg(call, 1), *instance = command_value(call, "instance");
    struct cJSON *request = json_object(), *answer;
    json_set_str(request, "command", "history");
    json_set_str(request, "service", command_arg(call, 0));
    json_set_num(request, "from_ms", (double)(now_ms - since_ms));
    json_set_num(request, "to_ms", (double)now_ms);
    json_set_num(request, "step_ms", metric ? (double)step_ms : 0);
    if (metric) {
        json_set_str(request, "metric", metric);
    }
    if (instance) {
        json_set_str(request, "instance", instance);
    }
    code = command_ask(call, request, ASK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        print_history(call, answer);
    }
    json_free(answer);
    return code;
}

/* ---- events ------------------------------------------------------------------------------ */

void commands_show_events(struct buf *to, const struct cJSON *answer, unsigned columns, bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"TIME", false, false},   {"KIND", false, false}, {"SERVICE", false, true},
        {"SUBJECT", false, true}, {"WHAT", false, true},  {"WHO", false, true},
        {"DETAIL", false, true},
    };
    const struct cJSON *e = json_first(json_get(answer, "events"));
    if (!e) {
        (void)buf_text(to, "no events\n");
        return;
    }
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (; e; e = json_next(e)) {
        char at[32];
        const struct cJSON *detail = json_get(e, "detail");
        char *text = json_kind(detail) == JSON_STRING   ? mem_copy(json_value_str(detail, ""))
                     : json_str(detail, "reason", NULL) ? mem_copy(json_str(detail, "reason", ""))
                                                        : json_text(detail);
        screen_cell(t, SCREEN_DIM, "%s", time_text(at, json_num(e, "wall_ms", 0), true));
        screen_cell(t, json_bool(e, "bad", false) ? SCREEN_RED : SCREEN_PLAIN, "%s",
                    json_str(e, "kind", "?"));
        screen_cell(t, SCREEN_BOLD, "%s", json_str(e, "service", ""));
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(e, "subject", ""));
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(e, "what", ""));
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(e, "who", ""));
        screen_cell(t, SCREEN_DIM, "%s", text);
        mem_free(text);
    }
    screen_table_print(t, to, columns, 0, colour);
    screen_table_free(t);
}

static const char *const KINDS[] = {"decision",     "deploy",  "instance",   "circuit",  "alert",
                                    "notification", "service", "reload",     "operator", "engine",
                                    "worker",       "policy",  "certificate"};

/* Whether all of "deploy,instance" are kinds; says so when one is not. */
static bool kinds_known(const char *kinds)
{
    struct str rest = str_of(kinds), kind;
    while (str_next(&rest, ',', &kind)) {
        size_t i = 0;
        while (i < sizeof KINDS / sizeof *KINDS && !str_is(kind, KINDS[i])) {
            i++;
        }
        if (i == sizeof KINDS / sizeof *KINDS) {
            command_fail(COMMAND_WRONG_USAGE,
                         "--kind: there are no events of kind \"%.*s\": see `tidegate events "
                         "--help`",
                         (int)kind.len, kind.ptr);
            return false;
        }
    }
    return true;
}

static int run_events(const struct command_call *call)
{
    uint64_t since_ms = 0, now_ms = clock_wall_ms(), limit = 100;
    int code = command_duration(call, "since", 0, &since_ms);
    const char *most = command_value(call, "limit");
    if (code != COMMAND_FINE) {
        return code;
    }
    if (most && (str_to_u64(str_of(most), &limit) || limit < 1 || limit > 10000)) {
        return command_fail(COMMAND_WRONG_USAGE, "\"%s\" is no number of events: give 1 to 10000",
                            most);
    }
    if (command_value(call, "kind") && !kinds_known(command_value(call, "kind"))) {
        return COMMAND_WRONG_USAGE;
    }
    struct cJSON *request = json_object(), *answer;
    json_set_str(request, "command", "events");
    if (command_arg(call, 0)) {
        json_set_str(request, "service", command_arg(call, 0));
    }
    if (command_value(call, "kind")) {
        json_set_str(request, "kind", command_value(call, "kind"));
    }
    json_set_num(request, "since_wall_ms",
                 since_ms && since_ms < now_ms ? (double)(now_ms - since_ms) : 0);
    json_set_num(request, "limit", (double)limit);
    code = command_ask(call, request, ASK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        struct buf text;
        buf_init(&text, SCREEN_MOST_BYTES);
        commands_show_events(&text, answer, screen_columns(), screen_coloured());
        fputs(buf_str(&text), stdout);
        buf_free(&text);
    }
    json_free(answer);
    return code;
}

/* ---- The entries --------------------------------------------------------------------------- */

static const struct command_option HISTORY_OPTIONS[] = {
    {"since", "DURATION", "how far back, 1h when absent"},
    {"step", "DURATION", "length of a line's time; by default about 60 lines"},
    {"instance", "INSTANCE", "of one instance"},
    {"plot", NULL, "draw it, as on a terminal"},
    {"table", NULL, "print a table, as into a pipe"},
    {"csv", NULL, "print time, instance, metric and numbers with commas"},
    {NULL, NULL, NULL},
};

static const struct command_option EVENTS_OPTIONS[] = {
    {"since", "DURATION", "only those younger than that"},
    {"kind", "KIND", "only these, as in \"deploy,instance\""},
    {"limit", "N", "at most so many of the newest, 100 when absent"},
    {NULL, NULL, NULL},
};

const struct command command_history = {
    .name = "history",
    .arguments = "SERVICE [METRIC]",
    .least = 1,
    .most = 2,
    .summary = "what a service's figures were",
    .doc =
        "Without METRIC, a line for each figure of the service and its instances in that time. "
        "With "
        "it, how it went: drawn on a terminal, else as a table. Figures of each sample interval "
        "are "
        "kept for cluster.history.days, those of each minute for rollup_days, also over restarts. "
        "Times of answers are in seconds.",
    .example = "tidegate history catalog p99 --since 6h",
    .options = HISTORY_OPTIONS,
    .asks = true,
    .run = run_history,
};

const struct command command_events = {
    .name = "events",
    .arguments = "[SERVICE]",
    .most = 1,
    .summary = "what happened, also before the daemon's last start",
    .doc = "Prints decisions, deploys, changes of instances and circuits, reloads, outages of the "
           "engine, deaths of processes and what operators asked for, with who, the newest last. "
           "Kinds "
           "are decision deploy instance circuit alert notification service reload operator engine "
           "worker policy certificate.",
    .example = "tidegate events catalog --since 24h --kind deploy,operator",
    .options = EVENTS_OPTIONS,
    .asks = true,
    .run = run_events,
};
