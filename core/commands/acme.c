/* acme.c: what people read of certificates that come from an ACME authority. */
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "commands/commands.h"
#include "commands/screen.h"

enum {
    MINUTES = 16 /* "2026-01-31T12:00" of a time */
};

static void time_cell(struct screen_table *t, const char *iso)
{
    screen_cell(t, SCREEN_PLAIN, "%.*s", MINUTES, iso && *iso ? iso : "-");
}

static void show_errors(struct buf *to, const struct cJSON *list)
{
    for (const struct cJSON *n = json_first(list); n; n = json_next(n)) {
        const char *error = json_str(n, "error", "");
        if (*error) {
            int failures = (int)json_int(n, "failures", 0);
            char *line = mem_printf("%s, failed %d time%s: %s", json_str(n, "name", "?"), failures,
                                    failures == 1 ? "" : "s", error);
            (void)buf_text(to, "  ");
            screen_text(to, line);
            (void)buf_text(to, "\n");
            mem_free(line);
        }
    }
}

void commands_show_acme(struct buf *to, const struct cJSON *list, unsigned width, bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"CERTIFICATE BY ACME", false, true},
        {"STATE", false, false},
        {"VALID UNTIL", false, false},
        {"NEXT", false, false},
    };
    if (!json_first(list)) {
        return;
    }
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (const struct cJSON *n = json_first(list); n; n = json_next(n)) {
        const char *state = json_str(n, "state", "?"), *order = json_str(n, "order", NULL);
        screen_cell(t, SCREEN_BOLD, "%s", json_str(n, "name", "?"));
        screen_cell(t,
                    !str_same(state, "valid")        ? SCREEN_RED
                    : json_int(n, "failures", 0) > 0 ? SCREEN_YELLOW
                                                     : SCREEN_GREEN,
                    "%s", state);
        time_cell(t, json_str(n, "valid_until", NULL));
        if (order) {
            screen_cell(t, SCREEN_PLAIN, "now: %s", order);
        } else {
            time_cell(t, json_str(n, "next", NULL));
        }
    }
    (void)buf_text(to, "\n");
    screen_table_print(t, to, width, 0, colour);
    screen_table_free(t);
    show_errors(to, list);
}
