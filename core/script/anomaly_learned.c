/* anomaly_learned.c: what detectors learned, saved and taken up again; see script.h. */
#include "script/anomaly.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "script/script.h"
#include "script/state.h"
#include "base/ban.h"

struct saving {
    const struct anomaly_series *series;
    struct cJSON *value;
};

static int body_save(lua_State *L)
{
    struct saving *saving = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, saving->series->state);
    saving->value = anomaly_state_json(L);
    return 0;
}

struct cJSON *script_anomaly_save(struct script_anomaly *a, size_t *at, size_t most)
{
    struct cJSON *portion = NULL;
    const char *key;
    void *series;
    for (size_t count = 0; count < most && map_next(&a->series, at, &key, &series); count++) {
        struct saving saving = {.series = series};
        char *why = NULL;
        portion = portion ? portion : json_object();
        if (state_run(a->state, body_save, &saving, LIMIT_POLICY_CPU_MS, key, &why) == 0) {
            json_set(portion, key, saving.value);
        }
        mem_free(why);
    }
    return portion;
}

void script_anomaly_restore(struct script_anomaly *a, const struct cJSON *series)
{
    for (const struct cJSON *item = json_first(series); item; item = json_next(item)) {
        json_free(map_put(&a->learned, json_name(item), json_copy(item)));
    }
}
