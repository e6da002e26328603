/* commands_explain.c: `tidegate explain`. */
#include <stdio.h>

#include "app/commands.h"
#include "app/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

enum {
    EXPLAIN_MS = 10000
};

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

static void show(struct buf *to, const struct cJSON *answer)
{
    static const struct screen_column COLUMNS[] = {
        {"", false, false},         {"BACKEND", false, true}, {"SCORE", true, false},
        {"IN FLIGHT", true, false}, {"WEIGHT", true, false},  {"RESPONSE ms", true, false},
        {"TAGS", true, false},      {"NOT NOW", false, true},
    };
    int asked = (int)json_int(answer, "tags_asked", 0);
    show_head(to, answer);
    (void)buf_text(to, "\n");
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
        screen_cell(t, SCREEN_YELLOW, "%s", json_str(b, "reason", ""));
    }
    screen_table_print(t, to, screen_columns(), 0, screen_coloured());
    screen_table_free(t);
    (void)buf_text(to, "\n");
    show_note(to, answer);
}

static int run_explain(const struct command_call *call)
{
    const char *like = command_value(call, "like"), *listen = command_value(call, "listen");
    if (!like) {
        return command_fail(COMMAND_WRONG_USAGE,
                            "no request is given: add --like 'GET /path Host: example'");
    }
    struct cJSON *request = json_object(), *answer;
    json_set_str(request, "command", "explain");
    json_set_str(request, "like", like);
    if (listen) {
        json_set_str(request, "listen", listen);
    }
    int code = command_ask(call, request, EXPLAIN_MS, &answer);
    if (code != COMMAND_FINE || !answer) {
        return code;
    }
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    show(&text, answer);
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
    .arguments = "",
    .summary = "which backend a request would get now, and why not the others",
    .doc = "Asks the first worker how it would decide on a request like this one: which route it "
           "takes, which policy decides, every backend with its score (the lowest wins) and what "
           "keeps it out. Nothing is sent, and the policy's turns stay as they are. The request "
           "counts as one of a client whose address is not known.",
    .example = "tidegate explain --like 'GET /x Host: shop.example X-Dataset-Id: orders'",
    .options = OPTIONS,
    .asks = true,
    .run = run_explain,
};
