/* alerts.c: what fires, and what operators say to it: `alerts`, `silence`, `ack`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    ASK_MS = 10000,
    MESSAGE_INDENT = 10, /* behind the states */
    SHORT_ID = 8         /* digits of a fingerprint that are shown: enough to name it */
};

static struct cJSON *request_of(const char *command)
{
    struct cJSON *request = json_object();
    json_set_str(request, "command", command);
    return request;
}

/* ---- What is shown ----------------------------------------------------------------------- */

static enum screen_colour colour_of(const struct cJSON *alert)
{
    if (!str_same(json_str(alert, "state", ""), "firing") || json_bool(alert, "shadow", false)) {
        return SCREEN_DIM;
    }
    const char *severity = json_str(alert, "severity", "");
    return str_same(severity, "critical")  ? SCREEN_RED
           : str_same(severity, "warning") ? SCREEN_YELLOW
                                           : SCREEN_PLAIN;
}

/* Nobody is told of it. */
static bool is_hidden(const struct cJSON *alert)
{
    return json_get(alert, "silenced") || json_get(alert, "inhibited") ||
           str_same(json_str(alert, "state", ""), "resolved");
}

static void say_note(struct buf *to, const char *before, const char *text)
{
    (void)buf_printf(to, "%s%s%s", to->len ? ", " : "", before, text);
}

/* Why it is not told, who has it in hand, what comes next. */
static void note_cell(struct screen_table *t, const struct cJSON *alert)
{
    struct buf note;
    const struct cJSON *ack = json_get(alert, "acknowledged");
    buf_init(&note, 1024);
    if (json_bool(alert, "shadow", false)) {
        say_note(&note, "shadow: nobody is told", "");
    }
    if (json_get(alert, "silenced")) {
        say_note(&note, "silenced by ", json_str(alert, "silenced", ""));
    }
    if (json_get(alert, "inhibited")) {
        say_note(&note, "explained by ", json_str(alert, "inhibited", ""));
    }
    if (ack) {
        say_note(&note, "acknowledged by ", json_str(ack, "who", ""));
    }
    if (json_bool(alert, "escalated", false)) {
        say_note(&note, "escalated", "");
    }
    if (json_bool(alert, "flapping", false)) {
        say_note(&note, "flapping", "");
    }
    if (*json_str(alert, "next", "")) {
        say_note(&note, "", json_str(alert, "next", ""));
    }
    screen_cell(t, SCREEN_DIM, "%s", buf_str(&note));
    buf_free(&note);
}

static void show_counts(struct buf *to, const struct cJSON *answer, bool all)
{
    unsigned firing = 0, pending = 0, hidden = 0, shown = 0, shadows = 0;
    for (const struct cJSON *i = json_first(json_get(answer, "alerts")); i; i = json_next(i)) {
        bool fires = str_same(json_str(i, "state", ""), "firing");
        bool shadow = json_bool(i, "shadow", false);
        firing += fires && !shadow && !is_hidden(i);
        shadows += fires && shadow;
        pending += str_same(json_str(i, "state", ""), "pending");
        hidden += is_hidden(i);
        shown += all || !is_hidden(i);
    }
    if (!shown && !hidden) {
        (void)buf_printf(to, "nothing fires: %d rules are watched\n",
                         (int)json_int(answer, "rules", 0));
        return;
    }
    (void)buf_printf(to, "%u firing, %u pending", firing, pending);
    if (shadows) {
        (void)buf_printf(to, ", %u of shadow rules", shadows);
    }
    if (hidden) {
        (void)buf_printf(to, ", %u silenced, explained or over%s", hidden,
                         all ? "" : " (--all shows them)");
    }
    (void)buf_text(to, "\n");
}

static void alert_row(struct screen_table *t, const struct cJSON *alert)
{
    char age[24], id[SHORT_ID + 1];
    const char *state = json_str(alert, "state", "?");
    bool fires = str_same(state, "firing");
    screen_age(json_num(alert, "since_s", -1), age);
    (void)str_copy(id, sizeof id, json_str(alert, "fingerprint", ""));
    screen_cell(t, colour_of(alert), "%s", fires ? json_str(alert, "severity", "?") : state);
    screen_cell(t, SCREEN_BOLD, "%s", json_str(alert, "name", "?"));
    screen_cell(t, SCREEN_PLAIN, "%s",
                json_str(alert, "instance", json_str(alert, "service", "tidegate")));
    screen_cell(t, SCREEN_PLAIN, "%s", age);
    screen_cell(t, SCREEN_DIM, "%s", id);
    note_cell(t, alert);
}

void commands_show_alerts(struct buf *to, const struct cJSON *answer, bool all, unsigned columns,
                          bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"STATE", false, false}, {"ALERT", false, true}, {"WHERE", false, true},
        {"FOR", true, false},    {"ID", false, false},   {"NEXT", false, true},
    };
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    const struct cJSON *alerts = json_get(answer, "alerts");
    const struct cJSON **shown = mem_array(json_count(alerts) + 1, sizeof *shown);
    size_t count = 0, at = 0;
    struct buf rows;
    buf_init(&rows, SCREEN_MOST_BYTES);
    for (const struct cJSON *i = json_first(alerts); i; i = json_next(i)) {
        if (all || !is_hidden(i)) {
            shown[count++] = i;
            alert_row(t, i);
        }
    }
    show_counts(to, answer, all);
    screen_table_print(t, &rows, columns, 0, colour);
    struct str rest = {rows.data, rows.len}, line;
    while (count && str_next(&rest, '\n', &line) && rest.ptr) {
        (void)buf_append(to, line.ptr, line.len);
        (void)buf_text(to, "\n");
        if (at > 0) { /* the first line is the titles */
            screen_line(to, columns, MESSAGE_INDENT, json_str(shown[at - 1], "message", ""));
        }
        at++;
    }
    buf_free(&rows);
    mem_free(shown);
    screen_table_free(t);
}

void commands_show_silences(struct buf *to, const struct cJSON *answer, unsigned columns,
                            bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"ID", false, false},      {"ENDS IN", true, false}, {"HIDES", true, false},
        {"MATCHERS", false, true}, {"AUTHOR", false, true},  {"COMMENT", false, true},
    };
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    const struct cJSON *list = json_get(answer, "silences");
    for (const struct cJSON *i = json_first(list); i; i = json_next(i)) {
        char age[24];
        struct buf matchers;
        buf_init(&matchers, 16 << 10);
        for (const struct cJSON *m = json_first(json_get(i, "matchers")); m; m = json_next(m)) {
            (void)buf_printf(&matchers, "%s%s", matchers.len ? " " : "", json_value_str(m, "?"));
        }
        screen_age(json_num(i, "ends_in_s", -1), age);
        screen_cell(t, SCREEN_BOLD, "%s", json_str(i, "id", "?"));
        screen_cell(t, SCREEN_PLAIN, "%s", age);
        screen_cell(t, SCREEN_PLAIN, "%d", (int)json_int(i, "matches", 0));
        screen_cell(t, SCREEN_PLAIN, "%s", buf_str(&matchers));
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(i, "author", ""));
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(i, "comment", ""));
        buf_free(&matchers);
    }
    if (json_count(list)) {
        screen_table_print(t, to, columns, 0, colour);
    } else {
        (void)buf_text(to, "no silences\n");
    }
    screen_table_free(t);
}

/* ---- Commands ---------------------------------------------------------------------------- */

static int run_alerts(const struct command_call *call)
{
    struct cJSON *answer;
    int code = command_ask(call, request_of("alerts"), ASK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        struct buf text;
        buf_init(&text, SCREEN_MOST_BYTES);
        commands_show_alerts(&text, answer, command_value(call, "all") != NULL, screen_columns(),
                             screen_coloured());
        fputs(buf_str(&text), stdout);
        buf_free(&text);
    }
    json_free(answer);
    return code;
}

static int list_silences(const struct command_call *call)
{
    struct cJSON *answer;
    int code = command_ask(call, request_of("silences"), ASK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        struct buf text;
        buf_init(&text, SCREEN_MOST_BYTES);
        commands_show_silences(&text, answer, screen_columns(), screen_coloured());
        fputs(buf_str(&text), stdout);
        buf_free(&text);
    }
    json_free(answer);
    return code;
}

static int expire_silence(const struct command_call *call)
{
    if (call->arg_count != 2) {
        return command_fail(COMMAND_WRONG_USAGE,
                            "silence expire needs one ID: see `tidegate silence list`");
    }
    struct cJSON *request = request_of("unsilence"), *answer;
    json_set_str(request, "id", command_arg(call, 1));
    int code = command_ask(call, request, ASK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        printf("silence %s is over\n", command_arg(call, 1));
    }
    json_free(answer);
    return code;
}

/* Who types this, as far as the environment tells. */
static void set_author(struct cJSON *request, const struct command_call *call)
{
    const char *author = command_value(call, "author");
    author = author ? author : getenv("SUDO_USER");
    author = author ? author : getenv("USER");
    if (author && *author) {
        json_set_str(request, "author", author);
    }
    if (command_value(call, "comment")) {
        json_set_str(request, "comment", command_value(call, "comment"));
    }
}

static int make_silence(const struct command_call *call)
{
    uint64_t for_ms = 0;
    int code = command_duration(call, "for", 0, &for_ms);
    if (code != COMMAND_FINE) {
        return code;
    } else if (!for_ms) {
        return command_fail(COMMAND_WRONG_USAGE, "silence needs a time: --for 2h");
    }
    struct cJSON *request = request_of("silence"), *matchers = json_array(), *answer;
    for (unsigned i = 0; i < call->arg_count; i++) {
        json_add_str(matchers, command_arg(call, i));
    }
    json_set(request, "matchers", matchers);
    json_set_num(request, "for_ms", (double)for_ms);
    set_author(request, call);
    code = command_ask(call, request, ASK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        printf("silence %s until %s: hides %d that fire now\n", json_str(answer, "id", "?"),
               json_str(answer, "ends", "?"), (int)json_int(answer, "matches", 0));
    }
    json_free(answer);
    return code;
}

static int run_silence(const struct command_call *call)
{
    const char *what = command_arg(call, 0);
    if (str_same(what, "list")) {
        return call->arg_count == 1
                   ? list_silences(call)
                   : command_fail(COMMAND_WRONG_USAGE, "silence list takes no more words");
    }
    return str_same(what, "expire") ? expire_silence(call) : make_silence(call);
}

static int run_ack(const struct command_call *call)
{
    struct cJSON *request = request_of("ack"), *answer;
    json_set_str(request, "alert", command_arg(call, 0));
    set_author(request, call);
    int code = command_ask(call, request, ASK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        int count = (int)json_int(answer, "count", 0);
        printf("acknowledged %d alert%s\n", count, count == 1 ? "" : "s");
    }
    json_free(answer);
    return code;
}

static const struct command_option ALL[] = {
    {"all", NULL, "also those that are silenced, explained by others, or over"},
    {NULL, NULL, NULL},
};
static const struct command_option SILENCE[] = {
    {"for", "DURATION", "how long, such as 2h"},
    {"comment", "TEXT", "why"},
    {"author", "NAME", "who (default $SUDO_USER or $USER)"},
    {NULL, NULL, NULL},
};
static const struct command_option ACK[] = {
    {"comment", "TEXT", "what is done about it"},
    {"author", "NAME", "who (default $SUDO_USER or $USER)"},
    {NULL, NULL, NULL},
};

const struct command command_alerts = {
    .name = "alerts",
    .arguments = "",
    .summary = "what fires, since when, who was told, and what comes next",
    .doc =
        "Prints alerts that fire or are about to, the worst first: how long, where, with which "
        "message, and what happens next by time alone. An alert that is silenced, or explained by "
        "another one, is told to nobody: --all shows those, too.",
    .example = "tidegate alerts --all",
    .options = ALL,
    .asks = true,
    .run = run_alerts,
};

const struct command command_silence = {
    .name = "silence",
    .arguments = "MATCHER...|list|expire ID",
    .least = 1,
    .most = 32,
    .summary = "let nobody be told of some alerts, for a while",
    .doc =
        "A matcher compares a label: service=shop, severity!=critical, instance=~shop-.*, "
        "alertname!~High.* (a POSIX extended regular expression for the whole value). All of them "
        "must match. Labels of every alert are alertname and severity, of most service and "
        "instance, beside the alert's own. The end of what was told before is told. `silence list` "
        "prints all silences, `silence expire ID` takes one back. They last over a restart.",
    .example = "tidegate silence service=shop severity=warning --for 2h --comment \"new disks\"",
    .options = SILENCE,
    .asks = true,
    .run = run_silence,
};

const struct command command_ack = {
    .name = "ack",
    .arguments = "ALERT",
    .least = 1,
    .most = 1,
    .summary = "say that somebody looks after an alert",
    .doc =
        "The alert, by its name or the beginning of its ID, is neither repeated nor escalated any "
        "more. Its end is told. An alert that fires anew is not acknowledged.",
    .example = "tidegate ack HighCPU --comment \"moving it\"",
    .options = ACK,
    .asks = true,
    .run = run_ack,
};
