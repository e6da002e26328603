/* input.c: see input.h. */
#include "script/input.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/ban.h"

static const char *const FIGURES[] = {
    /* of scaling */
    "instances",
    "desired",
    "starting",
    "cpu_percent",
    "memory_percent",
    "in_flight",
    "rate",
    "error_rate",
    "p99_ms",
    "queue",
    /* of alerts */
    "scale.desired",
    "scale.up",
    "health.up",
    "resources.cpu_usage",
    "resources.memory_usage",
    "traffic.rate",
    "traffic.error_rate",
    "traffic.p99",
    "traffic.queue",
    "policy_errors_5m",
    "engine_up",
    "disk_free",
};

void input_put(char *to, size_t size, const struct cJSON *view)
{
    size_t len = 0;
    to[0] = '\0';
    for (size_t i = 0; i < sizeof(FIGURES) / sizeof(*FIGURES) && len < size; i++) {
        const struct cJSON *value = json_path(view, FIGURES[i]);
        if (json_kind(value) == JSON_NUMBER) {
            int more = snprintf(to + len, size - len, "%s%s %.6g", len ? ", " : "", FIGURES[i],
                                json_value_num(value, 0));
            len += more > 0 ? (size_t)more : 0;
        }
    }
}
