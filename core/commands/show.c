/* show.c: what people read of the daemon's answers: status and decisions. Absent numbers
 * show as "-"; names and reasons come from others and go through screen_text. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    WORD_BYTES = 24,
    INDENT = 2,
    CERTIFICATE_DAYS = 14 /* as the shipped alert has it */
};

/* A short text for a table cell: numbers of at most 20 digits and a unit. */
struct word {
    char text[WORD_BYTES];
};

static struct word age(double seconds)
{
    struct word w = {""};
    screen_age(seconds, w.text);
    return w;
}

static struct word since(const struct cJSON *decision)
{
    double wall_ms = json_num(decision, "last_wall_ms", json_num(decision, "wall_ms", -1));
    double ago_ms = (double)clock_wall_ms() - wall_ms;
    return age(wall_ms < 0 ? -1 : ago_ms < 0 ? 0 : ago_ms / 1000);
}

/* A number with a unit behind it, as short as it can be said in four digits. */
static struct word number(const struct cJSON *value, double factor, const char *unit)
{
    struct word w = {"-"};
    double n = json_value_num(value, NAN) * factor;
    if (!isfinite(n) || fabs(n) >= 1e15) {
        return w;
    }
    snprintf(w.text, sizeof w.text, "%.*f%s",
             n == floor(n) || fabs(n) >= 1000 ? 0
             : fabs(n) < 1                    ? 2
                                              : 1,
             n, unit);
    return w;
}

static struct word bytes(const struct cJSON *value)
{
    static const char *const UNITS[] = {"B", "K", "M", "G", "T"};
    struct word w = {"-"};
    double n = json_value_num(value, -1);
    if (!(n >= 0 && n < 1e18)) {
        return w;
    }
    unsigned unit = 0;
    while (n >= 1024 && unit < 4) {
        n /= 1024;
        unit++;
    }
    snprintf(w.text, sizeof w.text, "%.*f%s", n < 10 && unit ? 1 : 0, n, UNITS[unit]);
    return w;
}

static enum screen_colour state_colour(const char *state)
{
    if (!strcmp(state, "up")) {
        return SCREEN_GREEN;
    }
    return !strcmp(state, "down") || !strcmp(state, "failed") ? SCREEN_RED : SCREEN_YELLOW;
}

/* Policies that failed in this generation: what was done in their place, and with which input they failed. */
static void show_failing(struct buf *to, const struct cJSON *failing, bool colour)
{
    for (const struct cJSON *f = json_first(failing); f; f = json_next(f)) {
        bool resting = json_bool(f, "quarantined", false);
        char *line =
            mem_printf("%s%s: %s %s (%d errors, generation %d)", json_str(f, "about", "?"),
                       resting ? " is in quarantine" : " failed", json_str(f, "fallback", ""),
                       resting ? "until the next reload" : "where it fails",
                       (int)json_int(f, "errors", 0), (int)json_int(f, "generation", 0));
        screen_paint(to, resting ? SCREEN_RED : SCREEN_YELLOW, colour, line);
        (void)buf_text(to, "\n  ");
        screen_text(to, json_str(f, "error", ""));
        (void)buf_text(to, "\n  asked with: ");
        screen_text(to, json_str(f, "input", ""));
        (void)buf_text(to, "\n");
        mem_free(line);
    }
}

/* A word on those that expire soon; none otherwise. */
static void show_certificates(struct buf *to, const struct cJSON *certificates, bool colour)
{
    double days = json_num(certificates, "days_left", 1e9);
    if (days < CERTIFICATE_DAYS) {
        char *line = mem_printf("renew the certificate %s: see `tidegate certificates`",
                                json_str(certificates, "expires_first", "?"));
        screen_paint(to, days <= 0 ? SCREEN_RED : SCREEN_YELLOW, colour, line);
        (void)buf_text(to, "\n");
        mem_free(line);
    }
}

static void show_daemon(struct buf *to, const struct cJSON *answer, bool colour)
{
    const struct cJSON *engine = json_get(answer, "engine");
    const char *state = json_str(engine, "state", "?"),
               *about = json_str(engine, "description", "");
    const struct cJSON *reload = json_get(answer, "reload");
    (void)buf_text(to, "cluster ");
    screen_paint(to, SCREEN_BOLD, colour, json_str(answer, "cluster", "?"));
    (void)buf_printf(to, "  generation %d (%.8s)  up %s  %zu worker%s  version %s  pid %d\nengine ",
                     (int)json_int(answer, "generation", 0), json_str(answer, "hash", "?"),
                     age(json_num(answer, "uptime_s", -1)).text,
                     json_count(json_get(answer, "workers")),
                     json_count(json_get(answer, "workers")) == 1 ? "" : "s",
                     json_str(answer, "version", "?"), (int)json_int(answer, "pid", 0));
    screen_text(to, json_str(engine, "name", "?"));
    (void)buf_text(to, " ");
    screen_paint(to, state_colour(state), colour, state);
    if (*about) {
        (void)buf_text(to, ": ");
        screen_text(to, about);
    }
    (void)buf_text(to, "\n");
    const struct cJSON *alerts = json_get(answer, "alerts");
    int critical = (int)json_int(alerts, "critical", 0);
    int others = (int)(json_int(alerts, "warning", 0) + json_int(alerts, "info", 0));
    if (critical + others > 0) {
        char text[96]; /* two numbers and as much text */
        snprintf(text, sizeof text, "%d alert%s firing, %d critical: see `tidegate alerts`",
                 critical + others, critical + others == 1 ? "" : "s", critical);
        screen_paint(to, critical ? SCREEN_RED : SCREEN_YELLOW, colour, text);
        (void)buf_text(to, "\n");
    }
    show_certificates(to, json_get(answer, "certificates"), colour);
    if (!strcmp(json_str(answer, "policy", "up"), "down")) {
        screen_paint(to, SCREEN_YELLOW, colour,
                     "policy process down: instances are held as they are");
        (void)buf_text(to, "\n");
    }
    if (json_bool(answer, "balance_set_aside", false)) {
        screen_paint(to, SCREEN_RED, colour,
                     "workers hung in a balance policy: least connections until the next reload");
        (void)buf_text(to, "\n");
    }
    show_failing(to, json_get(answer, "failing"), colour);
    if (reload && !json_bool(reload, "ok", true)) {
        screen_paint(to, SCREEN_RED, colour, "last reload refused, the generation before goes on:");
        (void)buf_text(to, "\n");
        screen_lines(to, json_str(reload, "error", ""));
        (void)buf_text(to, "\n");
    }
}

static void show_services(struct buf *to, const struct cJSON *services, unsigned width, bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"SERVICE", false, true}, {"UP", true, false},     {"BOUNDS", false, false},
        {"GEN", false, false},    {"CPU", true, false},    {"MEMORY", true, false},
        {"REQ/S", true, false},   {"BUSY", true, false},   {"P50", true, false},
        {"P99", true, false},     {"ERRORS", true, false},
    };
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        const struct cJSON *traffic = json_get(s, "traffic"), *used = json_get(s, "resources");
        int up = (int)json_int(s, "up", 0), desired = (int)json_int(s, "desired", 0);
        screen_cell(t, SCREEN_BOLD, "%s", json_str(s, "name", "?"));
        screen_cell(t,
                    up >= desired ? SCREEN_GREEN
                    : up          ? SCREEN_YELLOW
                                  : SCREEN_RED,
                    "%d/%d", up, desired);
        if (json_int(s, "max", 0) > 0) {
            screen_cell(t, SCREEN_PLAIN, "%d-%d", (int)json_int(s, "min", 0),
                        (int)json_int(s, "max", 0));
        } else {
            bool labels = str_same(json_str(s, "source", ""), "labels");
            screen_cell(t, SCREEN_PLAIN, "%s", labels ? "labels" : "-");
        }
        screen_cell(t, SCREEN_PLAIN, "%d%s", (int)json_int(s, "generation", 0),
                    json_bool(s, "stopped", false)                    ? " stopped"
                    : json_bool(s, "rolling", false)                  ? " rolling"
                    : json_bool(json_get(s, "zero"), "waking", false) ? " waking"
                    : json_get(s, "zero") && !desired                 ? " asleep"
                                                                      : "");
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(used, "cpu_percent"), 1, "%").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(used, "memory_percent"), 1, "%").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(traffic, "rate"), 1, "").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(traffic, "in_flight"), 1, "").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(traffic, "p50_ms"), 1, "ms").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(traffic, "p99_ms"), 1, "ms").text);
        screen_cell(t, json_num(traffic, "error_rate", 0) > 0 ? SCREEN_RED : SCREEN_PLAIN, "%s",
                    number(json_get(traffic, "error_rate"), 100, "%").text);
    }
    (void)buf_text(to, "\n");
    screen_table_print(t, to, width, 0, colour);
    screen_table_free(t);
}

/* "scale_up 3 -> 4"; "hold 3 x12" when it was decided so twelve times in a row */
static void decision_cell(struct screen_table *t, const struct cJSON *d)
{
    int was = (int)json_int(d, "was", 0), result = (int)json_int(d, "result", was);
    int count = (int)json_int(d, "count", 1);
    const char *action = json_str(d, "action", "?");
    if (was == result && count > 1) {
        screen_cell(t, SCREEN_PLAIN, "%s %d x%d", action, was, count);
    } else if (was == result) {
        screen_cell(t, SCREEN_PLAIN, "%s %d", action, was);
    } else {
        screen_cell(t, SCREEN_BOLD, "%s %d -> %d", action, was, result);
    }
}

static void reason_cell(struct screen_table *t, const struct cJSON *d)
{
    char *rules = commands_rules_text(d);
    screen_cell(t, SCREEN_PLAIN, "%s%s%s", rules, *rules ? ": " : "", json_str(d, "reason", ""));
    mem_free(rules);
}

static void show_last_decisions(struct buf *to, const struct cJSON *services, unsigned width,
                                bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"SERVICE", false, true},
        {"AGO", true, false},
        {"LAST DECISION", false, false},
        {"REASON", false, true},
    };
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    bool any = false;
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        const struct cJSON *d = json_get(s, "last_decision");
        if (!json_get(d, "action")) {
            continue;
        }
        any = true;
        screen_cell(t, SCREEN_BOLD, "%s", json_str(s, "name", "?"));
        screen_cell(t, SCREEN_PLAIN, "%s", since(d).text);
        decision_cell(t, d);
        reason_cell(t, d);
    }
    if (any) {
        (void)buf_text(to, "\n");
        screen_table_print(t, to, width, 0, colour);
    }
    screen_table_free(t);
}

/* "  catalog-7 down: GET /health answered 500", cut at the width. */
static void show_note(struct buf *to, const char *who, const char *state, const char *reason,
                      unsigned width)
{
    char *line = mem_printf("%s %s: %s", who, state, reason);
    screen_line(to, width, INDENT, line);
    mem_free(line);
}

static void show_instances(struct buf *to, const struct cJSON *instances, unsigned width,
                           bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"INSTANCE", false, true}, {"STATE", false, false},   {"CIRCUIT", false, false},
        {"ADDRESS", false, true},  {"AGE", true, false},      {"RESTARTS", true, false},
        {"BUSY", true, false},     {"REQUESTS", true, false}, {"ERRORS", true, false},
        {"CPU", true, false},      {"MEMORY", true, false},
    };
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (const struct cJSON *i = json_first(instances); i; i = json_next(i)) {
        const char *state = json_str(i, "state", "?"), *address = json_str(i, "address", "");
        const char *circuit = json_str(i, "circuit", "");
        if (!strcmp(state, "up") && json_bool(i, "drained", false)) {
            state = "drained"; /* by hand: healthy, but it gets no new requests */
        }
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(i, "id", "?"));
        screen_cell(t, state_colour(state), "%s", state);
        screen_cell(t, strcmp(circuit, "closed") != 0 && *circuit ? SCREEN_RED : SCREEN_PLAIN, "%s",
                    *circuit ? circuit : "-");
        screen_cell(t, SCREEN_PLAIN, "%s", *address ? address : "-");
        screen_cell(t, SCREEN_PLAIN, "%s", age(json_num(i, "age_s", -1)).text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(i, "restarts"), 1, "").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(i, "in_flight"), 1, "").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(i, "requests"), 1, "").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(i, "errors"), 1, "").text);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(i, "cpu_percent"), 1, "%").text);
        screen_cell(t, SCREEN_PLAIN, "%s", bytes(json_get(i, "memory_bytes")).text);
    }
    screen_table_print(t, to, width, INDENT, colour);
    screen_table_free(t);
    for (const struct cJSON *i = json_first(instances); i; i = json_next(i)) {
        const char *reason = json_str(i, "reason", ""), *state = json_str(i, "state", "?");
        if (*reason && strcmp(state, "up") != 0) {
            show_note(to, json_str(i, "id", "?"), state, reason, width);
        }
    }
}

/* Instances of a service and what is to be said about it; nothing when there is neither. */
static void show_details(struct buf *to, const struct cJSON *service, unsigned width, bool colour)
{
    const struct cJSON *instances = json_get(service, "instances");
    const struct cJSON *deploy = json_get(service, "deploy");
    bool failed = !strcmp(json_str(deploy, "state", ""), "failed");
    struct buf scaling;
    buf_init(&scaling, SCREEN_MOST_BYTES);
    commands_show_scaling(&scaling, service, width);
    if (!json_first(instances) && !failed && !scaling.len) {
        buf_free(&scaling);
        return;
    }
    (void)buf_text(to, "\n");
    screen_paint(to, SCREEN_BOLD, colour, json_str(service, "name", "?"));
    (void)buf_text(to, "\n");
    if (json_first(instances)) {
        show_instances(to, instances, width, colour);
    }
    (void)buf_text(to, scaling.len ? buf_str(&scaling) : "");
    buf_free(&scaling);
    if (failed) {
        show_note(to, "deploy", "failed", json_str(deploy, "reason", ""), width);
    }
}

/* "01-31 12:00:05", local time. */
static struct word clock_time(double wall_ms)
{
    struct word w = {"-"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (wall_ms > 0 && wall_ms < 1e15 && localtime_r(&seconds, &tm)) {
        (void)strftime(w.text, sizeof w.text, "%m-%d %H:%M:%S", &tm);
    }
    return w;
}

void commands_show_status(struct buf *to, const struct cJSON *answer, unsigned columns, bool colour)
{
    const struct cJSON *services = json_get(answer, "services");
    show_daemon(to, answer, colour);
    if (!json_first(services)) {
        (void)buf_text(to, "\nno services: add one to the configuration and reload\n");
        return;
    }
    show_services(to, services, columns, colour);
    show_last_decisions(to, services, columns, colour);
    commands_show_acme(to, json_get(answer, "acme"), columns, colour);
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        show_details(to, s, columns, colour);
    }
}

void commands_show_decisions(struct buf *to, const struct cJSON *answer, unsigned columns,
                             bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"TIME", false, false}, {"SERVICE", false, true}, {"DECISION", false, false},
        {"WANT", true, false},  {"POLICY", false, true},  {"REASON", false, true},
    };
    const struct cJSON *decisions = json_get(answer, "decisions");
    if (!json_first(decisions)) {
        (void)buf_text(to, "no decisions\n");
        return;
    }
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (const struct cJSON *d = json_first(decisions); d; d = json_next(d)) {
        screen_cell(t, SCREEN_DIM, "%s", clock_time(json_num(d, "wall_ms", 0)).text);
        screen_cell(t, SCREEN_BOLD, "%s", json_str(d, "service", "?"));
        decision_cell(t, d);
        screen_cell(t, SCREEN_PLAIN, "%s", number(json_get(d, "want"), 1, "").text);
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(d, "policy", ""));
        reason_cell(t, d);
    }
    screen_table_print(t, to, columns, 0, colour);
    screen_table_free(t);
}
