/* metrics.c: `tidegate metrics`: the figures that rules and policies see, by the paths that they
 * name them by. */
#include <stdio.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    METRICS_MS = 10000,
    DEPTH = 16
};

static void show_value(struct screen_table *t, const char *path, const struct cJSON *value)
{
    char text[40]; /* a number as %.10g writes it: 24 bytes at most */
    switch (json_kind(value)) {
    case JSON_NUMBER:
        snprintf(text, sizeof text, "%.10g", json_value_num(value, 0));
        break;
    case JSON_BOOL:
        snprintf(text, sizeof text, "%s", json_value_bool(value, false) ? "true" : "false");
        break;
    case JSON_STRING:
        screen_cell(t, SCREEN_PLAIN, "%s", path);
        screen_cell(t, SCREEN_PLAIN, "%s", json_value_str(value, ""));
        return;
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
    case JSON_KINDS:
        return;
    }
    screen_cell(t, SCREEN_PLAIN, "%s", path);
    screen_cell(t, SCREEN_PLAIN, "%s", text);
}

static void show_group(struct screen_table *t, const char *prefix, const struct cJSON *group,
                       unsigned depth)
{
    for (const struct cJSON *m = json_first(group); m; m = json_next(m)) {
        const char *name = json_name(m);
        if (!name || (!depth && !json_first(m) && json_kind(m) == JSON_OBJECT)) {
            continue;
        }
        char *path = *prefix ? mem_printf("%s.%s", prefix, name) : mem_copy(name);
        if (json_kind(m) == JSON_OBJECT && depth < DEPTH) {
            show_group(t, path, m, depth + 1);
        } else {
            show_value(t, path, m);
        }
        mem_free(path);
    }
}

static int run_metrics(const struct command_call *call)
{
    static const struct screen_column COLUMNS[] = {{"METRIC", false, true}, {"VALUE", false, true}};
    const char *service = command_arg(call, 0), *instance = command_value(call, "instance");
    if (instance && !service) {
        return command_fail(
            COMMAND_WRONG_USAGE,
            "--instance needs its service, too: tidegate metrics SERVICE --instance ID");
    }
    struct cJSON *request = json_object(), *answer = NULL;
    json_set_str(request, "command", "metrics");
    if (service) {
        json_set_str(request, "service", service);
    }
    if (instance) {
        json_set_str(request, "instance", instance);
    }
    int code = command_ask(call, request, METRICS_MS, &answer);
    if (!answer) {
        return code;
    }
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    struct screen_table *t = screen_table_new(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS);
    show_group(t, "", json_get(answer, "metrics"), 0);
    screen_table_print(t, &text, screen_columns(), 0, screen_coloured());
    fputs(buf_str(&text), stdout);
    screen_table_free(t);
    buf_free(&text);
    json_free(answer);
    return code;
}

static const struct command_option METRICS_OPTIONS[] = {
    {"instance", "ID", "of this instance alone"},
    {NULL, NULL, NULL},
};

const struct command command_metrics = {
    .name = "metrics",
    .arguments = "[SERVICE]",
    .least = 0,
    .most = 1,
    .summary = "figures that alerts and policies see, by their paths",
    .doc =
        "Shows what is known now of a service or one of its instances: health, performance, data "
        "processing, resources, traffic, scaling and what it tells in Prometheus text, each under "
        "the "
        "path that an alert's metric_path takes. Without a service: figures of tidegate itself. "
        "What is not known is not there.",
    .example = "tidegate metrics catalog --instance catalog-7",
    .options = METRICS_OPTIONS,
    .asks = true,
    .run = run_metrics,
};
