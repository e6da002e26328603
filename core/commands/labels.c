/* labels.c: `tidegate labels`: what became of labelled containers and of each of their labels. */
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    LABELS_MS = 10000,
    INDENT = 2
};

static enum screen_colour verdict_colour(const char *verdict)
{
    return str_same(verdict, "used")    ? SCREEN_GREEN
           : str_same(verdict, "wrong") ? SCREEN_RED
                                        : SCREEN_YELLOW;
}

/* "127.0.0.1:80 shop.example/, ..." as one line; "" = none. */
static void put_routes(struct buf *to, const struct cJSON *routes)
{
    const char *before = "  ";
    for (const struct cJSON *r = json_first(routes); r; r = json_next(r)) {
        const char *host = json_str(r, "host", "");
        (void)buf_printf(to, "%s%s %s%s", before, json_str(r, "listen", ""), *host ? host : "*",
                         json_str(r, "path", ""));
        before = ", ";
    }
}

static void show_container(struct buf *to, const struct cJSON *c, unsigned columns, bool colour)
{
    static const struct screen_column COLUMNS[] = {
        {"LABEL", false, true}, {"VERDICT", false, false}, {"", false, true}};
    const char *service = json_str(c, "service", NULL), *address = json_str(c, "address", NULL);
    bool serves = json_bool(c, "serves", false);
    struct buf line;
    buf_init(&line, SCREEN_MOST_BYTES);
    screen_paint(to, SCREEN_BOLD, colour, json_str(c, "container", ""));
    (void)buf_text(to, "  ");
    screen_paint(to,
                 serves                         ? SCREEN_GREEN
                 : json_bool(c, "wrong", false) ? SCREEN_RED
                                                : SCREEN_YELLOW,
                 colour, serves ? "gets requests" : "gets no requests");
    if (!serves) {
        (void)buf_text(to, ": ");
        screen_text(to, json_str(c, "why", "?"));
    }
    (void)buf_text(to, "\n");
    if (service) {
        (void)buf_printf(&line, "service %s", service);
        put_routes(&line, json_get(c, "routes"));
        screen_line(to, columns, INDENT, buf_str(&line));
        buf_clear(&line);
    }
    if (address) {
        const char *network = json_str(c, "network", "");
        (void)buf_printf(&line, "at %s%s%s", address, *network ? " on network " : "", network);
        screen_line(to, columns, INDENT, buf_str(&line));
    }
    buf_free(&line);
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    for (const struct cJSON *v = json_first(json_get(c, "labels")); v; v = json_next(v)) {
        const char *verdict = json_str(v, "verdict", ""), *value = json_str(v, "value", NULL);
        screen_cell(t, SCREEN_PLAIN, "%s%s%s", json_str(v, "label", ""), value ? "=" : "",
                    value ? value : "");
        screen_cell(t, verdict_colour(verdict), "%s", verdict);
        screen_cell(t, SCREEN_PLAIN, "%s", json_str(v, "text", ""));
    }
    screen_table_print(t, to, columns, INDENT, colour);
    screen_table_free(t);
}

void commands_show_labels(struct buf *to, const struct cJSON *answer, unsigned columns, bool colour)
{
    const struct cJSON *containers = json_get(answer, "containers");
    const char *waiting = json_str(answer, "waiting", NULL);
    if (!json_bool(answer, "on", false)) {
        (void)buf_text(to, "labels are off: write labels = true into cluster { } of the "
                           "configuration\n");
        return;
    }
    if (waiting) {
        screen_paint(to, SCREEN_RED, colour, "labels are not taken up");
        (void)buf_text(to, ": ");
        screen_text(to, waiting);
        (void)buf_text(to, "\n");
    }
    if (!json_first(containers)) {
        (void)buf_text(to, "no container has labels\n");
    }
    for (const struct cJSON *c = json_first(containers); c; c = json_next(c)) {
        (void)buf_text(to, c == json_first(containers) ? "" : "\n");
        show_container(to, c, columns, colour);
    }
}

/* Whether a person has to do something. */
static bool is_wrong(const struct cJSON *answer)
{
    bool wrong = json_bool(answer, "on", false) && json_str(answer, "waiting", NULL);
    const struct cJSON *c = json_first(json_get(answer, "containers"));
    for (; c; c = json_next(c)) {
        wrong |= json_bool(c, "wrong", false);
    }
    return wrong;
}

static int run_labels(const struct command_call *call)
{
    struct cJSON *request = json_object(), *answer = NULL;
    json_set_str(request, "command", "labels");
    if (command_arg(call, 0)) {
        json_set_str(request, "container", command_arg(call, 0));
    }
    int code = command_ask_whole(call, request, LABELS_MS, &answer);
    if (!answer) {
        return code;
    }
    if (!command_value(call, "json")) {
        struct buf text;
        buf_init(&text, SCREEN_MOST_BYTES);
        commands_show_labels(&text, answer, screen_columns(), screen_coloured());
        fputs(buf_str(&text), stdout);
        buf_free(&text);
    }
    code = is_wrong(answer) ? COMMAND_NO : COMMAND_FINE;
    json_free(answer);
    return code;
}

const struct command command_labels = {
    .name = "labels",
    .arguments = "[CONTAINER]",
    .least = 0,
    .most = 1,
    .summary = "what became of containers with labels, and of each label",
    .doc = "Shows every container that others started and that has labels of ours: whether it gets "
           "requests and why not, its service, routes and address, and of each label what it is "
           "used as, or why it is wrong or unused and what to write. The exit code is 1 when "
           "something is wrong.",
    .example = "tidegate labels shop-web-1",
    .asks = true,
    .run = run_labels,
};
