/* alert.c: channels of alerts: how they do, and whether a message arrives. */
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

enum {
    ASK_MS = 10000,
    TEST_MS = 600000, /* the daemon keeps the deadline, which the channel's time-out makes */
    AT_BYTES = 20,    /* of "2026-01-31T12:00:00" */
};

static int run_test(const struct command_call *call)
{
    const char *channel = command_arg(call, 1);
    struct cJSON *request = json_object(), *answer;
    json_set_str(request, "command", "alert_test");
    json_set_str(request, "channel", channel);
    int code = command_ask(call, request, TEST_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        struct buf text;
        buf_init(&text, SCREEN_MOST_BYTES);
        (void)buf_printf(&text, "%s: delivered in %d ms: ", channel,
                         (int)json_int(answer, "took_ms", 0));
        screen_text(&text, json_str(answer, "said", ""));
        puts(buf_str(&text));
        buf_free(&text);
    }
    json_free(answer);
    return code;
}

static void show_row(struct screen_table *t, const struct cJSON *one)
{
    const char *failing = json_str(one, "failing_since", NULL);
    const char *error = json_str(one, "last_error", "");
    double dropped = json_num(one, "dropped", 0), waiting = json_num(one, "waiting", 0);
    screen_cell(t, SCREEN_BOLD, "%s", json_str(one, "name", ""));
    screen_cell(t, SCREEN_PLAIN, "%s", json_str(one, "kind", ""));
    screen_cell(t, failing ? SCREEN_RED : SCREEN_GREEN, "%s", failing ? "failing" : "well");
    screen_cell(t, SCREEN_PLAIN, "%.0f", json_num(one, "sent", 0));
    screen_cell(t, SCREEN_PLAIN, "%.0f", json_num(one, "failed", 0));
    screen_cell(t, dropped > 0 ? SCREEN_RED : SCREEN_PLAIN, "%.0f", dropped);
    screen_cell(t, waiting > 0 ? SCREEN_YELLOW : SCREEN_PLAIN, "%.0f", waiting);
    screen_cell(t, SCREEN_PLAIN, "%.*s", AT_BYTES - 1, json_str(one, "last_sent", "never"));
    screen_cell(t, SCREEN_YELLOW, "%s", error);
}

static int run_channels(const struct command_call *call)
{
    static const struct screen_column COLUMNS[] = {
        {"CHANNEL", false, false}, {"KIND", false, false},     {"STATE", false, false},
        {"SENT", true, false},     {"FAILED", true, false},    {"DROPPED", true, false},
        {"WAITING", true, false},  {"LAST SENT", false, true}, {"LAST ERROR", false, true},
    };
    struct cJSON *request = json_object(), *answer;
    json_set_str(request, "command", "channels");
    int code = command_ask(call, request, ASK_MS, &answer);
    if (code != COMMAND_FINE || !answer) {
        return code;
    }
    const struct cJSON *one = json_first(json_get(answer, "channels"));
    if (!one) {
        puts("no channels: declare one, as in channel \"ops\" { webhook = \"https://...\" }");
    } else {
        struct buf text;
        struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
        buf_init(&text, SCREEN_MOST_BYTES);
        for (; one; one = json_next(one)) {
            show_row(t, one);
        }
        screen_table_print(t, &text, screen_columns(), 0, screen_coloured());
        fputs(buf_str(&text), stdout);
        screen_table_free(t);
        buf_free(&text);
    }
    json_free(answer);
    return COMMAND_FINE;
}

static int run_alert(const struct command_call *call)
{
    const char *verb = command_arg(call, 0);
    if (str_same(verb, "channels") && call->arg_count == 1) {
        return run_channels(call);
    } else if (str_same(verb, "test") && call->arg_count == 2) {
        return run_test(call);
    }
    return command_fail(COMMAND_WRONG_USAGE,
                        "write alert test CHANNEL, or alert channels to see which there are");
}

const struct command command_alert = {
    .name = "alert",
    .arguments = "test CHANNEL|channels",
    .least = 1,
    .most = 2,
    .summary = "try a channel of alerts, or see how all of them do",
    .doc =
        "`alert test` sends a message that says that it is a test, in the words of the channel's "
        "template if it has one, at once and once, and prints what the receiver said: exit code 1 "
        "and a sentence when it was not delivered. Channels to PagerDuty and Alertmanager are told "
        "right afterwards that it is over. `alert channels` lists all of them: messages sent, "
        "tries "
        "that failed, messages dropped and waiting, and the last error.",
    .example = "tidegate alert test ops",
    .asks = true,
    .run = run_alert,
};
