/* explain.c: `tidegate explain`. */
#include <stdio.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

enum {
    EXPLAIN_MS = 10000
};

/* ---- one that is only spoken of ---------------------------------------------------------- */

static void show_head(struct buf *to, const struct cJSON *answer)
{
    const struct cJSON *route = json_get(answer, "route");
    const char *host = json_str(route, "host", "");
    (void)buf_text(to, "route   ");
    screen_text(to, json_str(route, "listen", "?"));
    (void)buf_text(to, " ");
    screen_text(to, *host ? host : "*");
    screen_text(to, json_str(route, "path", ""));
    (void)buf_text(to, " -> ");
    screen_text(to, json_str(answer, "service", "?"));
    (void)buf_text(to, "\npolicy  ");
    screen_text(to, json_str(answer, "policy", "?"));
    (void)buf_text(to, "\n");
}

static void show_note(struct buf *to, const struct cJSON *answer)
{
    const char *decides = json_str(answer, "decides", ""), *error;
    int equal = (int)json_int(answer, "equal", 0);
    if (json_bool(answer, "panic", false)) {
        (void)buf_text(to, "Too few backends are let through: circuits are ignored (panic).\n");
    }
    if (!json_str(answer, "chosen", NULL)) {
        (void)buf_text(to, "None is chosen.\n");
    } else if (str_same(decides, "session")) {
        (void)buf_text(to, "The session's cookie names it: the policy is not asked.\n");
    } else if (equal > 1) {
        (void)buf_printf(to, "%d have the lowest score: they take turns.\n", equal);
    } else if (str_same(decides, "loop")) {
        (void)buf_text(to, "The policy decides by its own loop: no scores. A copy of it that began "
                           "anew was asked,\nso where it takes turns another one may be next.\n");
    } else if (str_same(decides, "builtin")) {
        (void)buf_text(to, "Not the policy: least connections, built in, decides.\n");
    }
    error = json_str(answer, "policy_error", NULL);
    if (error) {
        (void)buf_text(to, "The policy failed: ");
        screen_lines(to, error);
        (void)buf_text(to, "\n");
    }
    error = json_str(answer, "request_error", NULL);
    if (error) {
        (void)buf_text(to, "The route's request function failed, so no data is known: ");
        screen_lines(to, error);
        (void)buf_text(to, "\n");
    }
}

static void number_cell(struct screen_table *t, const struct cJSON *b, const char *key,
                        const char *format)
{
    char text[40] = "-"; /* a number as %.6g or %.1f writes it: of a score or a time, under 1e30 */
    double n = json_num(b, key, -1e30);
    if (n > -1e30 && n < 1e30) {
        snprintf(text, sizeof text, str_same(format, "g") ? "%.6g" : "%.1f", n);
    }
    screen_cell(t, SCREEN_PLAIN, "%s", text);
}

static void show_table(struct buf *to, const struct cJSON *answer)
{
    static const struct screen_column COLUMNS[] = {
        {"", false, false},         {"BACKEND", false, true}, {"SCORE", true, false},
        {"IN FLIGHT", true, false}, {"WEIGHT", true, false},  {"RESPONSE ms", true, false},
        {"TAGS", true, false},      {"ZONE", false, false},   {"NOT NOW", false, true},
    };
    int asked = (int)json_int(answer, "tags_asked", 0);
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    const struct cJSON *b = json_first(json_get(answer, "backends"));
    for (; b; b = json_next(b)) {
        bool chosen = json_bool(b, "chosen", false);
        screen_cell(t, SCREEN_GREEN, "%s", chosen ? "->" : "");
        screen_cell(t, chosen ? SCREEN_BOLD : SCREEN_PLAIN, "%s", json_str(b, "backend", "?"));
        number_cell(t, b, "score", "g");
        number_cell(t, b, "in_flight", "g");
        number_cell(t, b, "weight", "g");
        number_cell(t, b, "response_ms", "f");
        if (asked && json_get(b, "tags")) {
            screen_cell(t, SCREEN_PLAIN, "%d of %d", (int)json_int(b, "tags", 0), asked);
        } else {
            screen_cell(t, SCREEN_PLAIN, "-");
        }
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(b, "zone", "-"));
        screen_cell(t, SCREEN_YELLOW, "%s", json_str(b, "reason", ""));
    }
    screen_table_print(t, to, screen_columns(), 0, screen_coloured());
    screen_table_free(t);
}

/* What the route's steps do to it. */
static void show_steps(struct buf *to, const struct cJSON *answer)
{
    const char *rewritten = json_str(answer, "rewritten", NULL);
    if (rewritten) {
        (void)buf_text(to, "path    the backend gets ");
        screen_text(to, rewritten);
        (void)buf_text(to, "\n");
    }
    if (json_count(json_get(answer, "canaries"))) {
        (void)buf_text(to, "canary  others may go to");
        for (struct cJSON *s = json_first(json_get(answer, "canaries")); s; s = json_next(s)) {
            (void)buf_text(to, " ");
            screen_text(to, json_value_str(s, ""));
        }
        (void)buf_text(to, "\n");
    }
}

static void show_answer(struct buf *to, const struct cJSON *answered)
{
    const char *location = json_str(answered, "location", NULL);
    (void)buf_printf(to, "answer  %d, by the route's own ", (int)json_int(answered, "status", 0));
    screen_text(to, json_str(answered, "by", "?"));
    if (location) {
        (void)buf_text(to, ", to ");
        screen_text(to, location);
    }
    (void)buf_text(to, "\nNo backend is asked.\n");
}

static void show(struct buf *to, const struct cJSON *answer)
{
    show_head(to, answer);
    show_steps(to, answer);
    if (json_get(answer, "answer")) {
        show_answer(to, json_get(answer, "answer"));
        return;
    }
    (void)buf_text(to, "\n");
    show_table(to, answer);
    (void)buf_text(to, "\n");
    show_note(to, answer);
}

/* ---- one that was ------------------------------------------------------------------------ */

static void show_past_note(struct buf *to, const struct cJSON *one)
{
    const char *decides = json_str(one, "decides", "");
    int equal = (int)json_int(one, "equal", 0), count = (int)json_int(one, "count", 0);
    if (json_bool(one, "panic", false)) {
        (void)buf_text(to, "Too few backends were let through: circuits were ignored (panic).\n");
    }
    if (str_same(decides, "session")) {
        (void)buf_text(to, "The session's cookie named it: the policy was not asked.\n");
    } else if (str_same(decides, "builtin")) {
        (void)buf_printf(to, "Not the policy%s: least connections, built in, decided.\n",
                         json_bool(one, "policy_failed", false) ? ", which failed (see the log)"
                                                                : "");
    } else if (str_same(decides, "score") && equal > 1) {
        (void)buf_printf(to, "%d had the lowest score: they take turns.\n", equal);
    } else if (str_same(decides, "loop") && !json_get(one, "policy")) {
        (void)buf_text(to, "Another configuration is in force now: its policies cannot say what "
                           "the scores were.\n");
    } else if (str_same(decides, "loop")) {
        (void)buf_text(to, "The policy decides by its own loop: no scores.\n");
    }
    if ((int)json_count(json_get(one, "backends")) < count) {
        (void)buf_printf(to,
                         "There were %d backends: of so many only every few decisions keep all "
                         "figures.\n",
                         count);
    }
}

static void show_outcome(struct buf *to, const struct cJSON *one)
{
    const struct cJSON *outcome = json_get(one, "outcome");
    const char *failure = json_str(outcome, "failure", "");
    int status = (int)json_int(outcome, "status", 0);
    double took_ms = json_num(outcome, "took_ms", 0);
    (void)buf_text(to, "outcome ");
    if (!json_str(one, "chosen", NULL)) {
        (void)buf_text(to, "none was chosen");
    } else if (!json_bool(outcome, "ended", false)) {
        (void)buf_text(to, "under way");
    } else {
        (void)buf_printf(to, "%s after %.1f ms", *failure ? failure : "done", took_ms);
    }
    if (status) {
        (void)buf_printf(to, ", the client was answered %d", status);
    }
    (void)buf_text(to, "\n");
}

static void show_past(struct buf *to, const struct cJSON *answer)
{
    const struct cJSON *one = json_first(json_get(answer, "found"));
    for (bool first = true; one; one = json_next(one), first = false) {
        char at[32]; /* clock_iso needs 25 */
        clock_iso((uint64_t)json_num(one, "at_ms", 0), at, sizeof at);
        (void)buf_printf(to, "%srequest ", first ? "" : "\n");
        screen_text(to, json_str(answer, "request", "?"));
        (void)buf_printf(to, "\nat      %s, attempt %d, worker %d\n", at,
                         (int)json_int(one, "attempt", 0) + 1, (int)json_int(one, "worker", 0));
        if (json_get(one, "policy")) {
            show_head(to, one);
        } else {
            (void)buf_text(to, "service ");
            screen_text(to, json_str(one, "service", "?"));
            (void)buf_text(to, "\n");
        }
        show_outcome(to, one);
        (void)buf_text(to, "\n");
        show_table(to, one);
        show_past_note(to, one);
    }
    if (json_int(answer, "left_out", 0)) {
        (void)buf_printf(to, "\n%d older decisions on requests of this id are left out.\n",
                         (int)json_int(answer, "left_out", 0));
    }
}

static int run_explain(const struct command_call *call)
{
    const char *like = command_value(call, "like"), *listen = command_value(call, "listen");
    const char *id = command_arg(call, 0);
    if (!like == !id || (id && listen)) {
        return command_fail(COMMAND_WRONG_USAGE, "either the id of a request, or --like 'GET /path "
                                                 "Host: example', with --listen when wanted");
    }
    struct cJSON *request = json_object(), *answer;
    json_set_str(request, "command", "explain");
    json_set_str(request, id ? "request" : "like", id ? id : like);
    if (listen) {
        json_set_str(request, "listen", listen);
    }
    int code = command_ask(call, request, EXPLAIN_MS, &answer);
    if (code != COMMAND_FINE || !answer) {
        return code;
    }
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    if (id) {
        show_past(&text, answer);
    } else {
        show(&text, answer);
    }
    fputs(buf_str(&text), stdout);
    buf_free(&text);
    json_free(answer);
    return COMMAND_FINE;
}

static const struct command_option OPTIONS[] = {
    {"like", "REQUEST", "method, path and header fields: 'GET /x Host: y X-Dataset-Id: z'"},
    {"listen", "ADDRESS", "the listener that it comes to (default: the first with a route for it)"},
    {NULL, NULL, NULL},
};

const struct command command_explain = {
    .name = "explain",
    .arguments = "[REQUEST-ID]",
    .least = 0,
    .most = 1,
    .summary = "which backend a request got or would get, and why not the others",
    .doc = "With the id of a request (its X-Request-Id, which the access log has too): how it was "
           "decided on, attempt by attempt, with every backend as it was then, its score (the "
           "lowest wins), what kept it out, and what came of it. Each worker keeps its last few "
           "thousand decisions, and for longer those of requests that failed or were repeated. "
           "With --like: how the first worker would decide on such a request now; nothing is sent, "
           "the policy's turns stay as they are, and it counts as one of a client whose address is "
           "not known.",
    .example = "tidegate explain 0af7651916cd43dd8448eb211c80319c\n"
               "tidegate explain --like 'GET /x Host: shop.example X-Dataset-Id: orders'",
    .options = OPTIONS,
    .asks = true,
    .run = run_explain,
};
