/* records.c: decisions of a simulated fleet, told on the trace's clock. */
#include <math.h>

#include "base/json.h"
#include "base/mem.h"
#include "fleet/fleet.h"
#include "sim/private.h"
#include "base/ban.h"

char *records_since(const struct fleet *fleet, double start_s, double from_s)
{
    static const char *const OF_THE_DAY[] = {"at", "wall_ms", "last_wall_ms", "service"};
    double since_s = fmax(start_s + from_s, 0);
    struct cJSON *answer = fleet_decisions(fleet, NULL, (uint64_t)(since_s * 1000));
    struct cJSON *list = json_get(answer, "decisions");
    for (struct cJSON *d = json_first(list); d; d = json_next(d)) {
        json_set_num(d, "at_s", json_num(d, "wall_ms", 0) / 1000 - start_s);
        json_set_num(d, "until_s", json_num(d, "last_wall_ms", 0) / 1000 - start_s);
        for (size_t i = 0; i < sizeof OF_THE_DAY / sizeof *OF_THE_DAY; i++) {
            json_remove(d, OF_THE_DAY[i]);
        }
    }
    char *text = json_text(list);
    json_free(answer);
    return text;
}
