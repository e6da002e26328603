/* certificates.c: `tidegate certificates`: which certificates are shown to whom, and until when. */
#include <stdio.h>
#include <time.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

enum {
    ASK_MS = 5000,
    SOON_S = 14 * 86400, /* as the shipped alert has it */
    NAMES_SHOWN = 4
};

/* "a.example, b.example", or the first of many and how many more. */
static void join(struct buf *to, const struct cJSON *list)
{
    size_t count = json_count(list), at = 0;
    for (const struct cJSON *i = json_first(list); i && at < NAMES_SHOWN; i = json_next(i), at++) {
        (void)buf_printf(to, "%s%s", at ? ", " : "", json_value_str(i, "?"));
    }
    if (count > NAMES_SHOWN) {
        (void)buf_printf(to, " and %zu more", count - NAMES_SHOWN);
    }
}

static void show_one(struct screen_table *t, const struct cJSON *one)
{
    char age[24];
    double left = (json_num(one, "not_after_ms", 0) - (double)clock_wall_ms()) / 1000;
    struct buf names, listeners;
    buf_init(&names, 8 << 10);
    buf_init(&listeners, 8 << 10);
    join(&names, json_get(one, "names"));
    join(&listeners, json_get(one, "listeners"));
    screen_age(left, age);
    bool kept = json_bool(one, "kept", false);
    screen_cell(t, SCREEN_BOLD, "%s", buf_str(&names));
    screen_cell(t,
                left <= 0       ? SCREEN_RED
                : left < SOON_S ? SCREEN_YELLOW
                                : SCREEN_PLAIN,
                "%s", left <= 0 ? "expired" : age);
    screen_cell(t, SCREEN_PLAIN, "%s", json_str(one, "key_type", "?"));
    screen_cell(t, SCREEN_PLAIN, "%s", json_str(one, "issuer", "?"));
    screen_cell(t, SCREEN_PLAIN, "%s", listeners.len ? buf_str(&listeners) : "-");
    screen_cell(t, kept ? SCREEN_YELLOW : SCREEN_PLAIN, "%s%s",
                json_str(one, "file", json_str(one, "source", "?")),
                kept ? " (as it was: what it holds now is no good)" : "");
    buf_free(&names);
    buf_free(&listeners);
}

static int run_certificates(const struct command_call *call)
{
    static const struct screen_column COLUMNS[] = {
        {"NAMES", false, true},  {"EXPIRES IN", true, false}, {"KEY", false, false},
        {"ISSUER", false, true}, {"LISTENERS", false, true},  {"FROM", false, true},
    };
    struct cJSON *answer, *request = json_object();
    json_set_str(request, "command", "certificates");
    int code = command_ask(call, request, ASK_MS, &answer);
    if (code != COMMAND_FINE || !answer) {
        json_free(answer);
        return code;
    }
    const struct cJSON *list = json_get(answer, "certificates");
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (const struct cJSON *i = json_first(list); i; i = json_next(i)) {
        show_one(t, i);
    }
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    if (json_count(list)) {
        screen_table_print(t, &text, screen_columns(), 0, screen_coloured());
    } else {
        (void)buf_text(&text, "no certificates: no route listens with https\n");
    }
    fputs(buf_str(&text), stdout);
    buf_free(&text);
    screen_table_free(t);
    json_free(answer);
    return COMMAND_FINE;
}

const struct command command_certificates = {
    .name = "certificates",
    .arguments = "",
    .summary = "certificates that clients are shown, and until when they are good",
    .doc =
        "Lists the certificates of all https listeners with the names that they are for, how long "
        "they are good, who issued them, and the file that they are from. Files are watched: a "
        "changed one is in force within a second or two, and one that is no good leaves the "
        "certificate before it.",
    .example = "tidegate certificates --json",
    .asks = true,
    .run = run_certificates,
};
