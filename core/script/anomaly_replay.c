/* anomaly_replay.c: one series through an anomaly policy; see script.h. */
#include "script/anomaly.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/load.h"
#include "script/script.h"
#include "script/state.h"
#include "base/ban.h"

struct script_replay {
    struct script_anomaly *anomaly;
    struct anomaly_metric metric;
    struct anomaly_point point;
};

static const char DEFAULT_POLICY[] = "record";

/* The first service that uses the policy, or any when `policy` is NULL; NULL when none does. */
static struct anomaly_service *find_service(struct script_anomaly *a, const char *policy)
{
    for (size_t i = 0; i < a->count; i++) {
        if (!policy || str_same(a->services[i].policy, policy)) {
            return &a->services[i];
        }
    }
    return NULL;
}

static bool is_name(const char *text)
{
    struct str name = str_of(text);
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && c != '_') {
            return false;
        }
    }
    return name.len > 0;
}

/* A configuration in the place of `path` whose one service uses the policy with its defaults. */
static int load_alone(const char *path, const char *policy, struct cJSON **ret_config,
                      char **reterr)
{
    if (!is_name(policy)) {
        *reterr = mem_printf("\"%s\" is no name of a policy", policy);
        return -EINVAL;
    }
    char *source = mem_printf(
        "service \"replay\" { backends = { \"127.0.0.1:1\" }, anomaly = { policy = \"%s\" } }\n",
        policy);
    int code = load_text(path, source, ret_config, reterr);
    mem_free(source);
    return code;
}

static int build(struct script_replay *replay, const struct cJSON *config, const char *policy,
                 struct anomaly_service **ret_service, char **reterr)
{
    script_anomaly_free(replay->anomaly);
    replay->anomaly = NULL;
    int code = script_anomaly_new(config, &replay->anomaly, reterr);
    *ret_service = code < 0 ? NULL : find_service(replay->anomaly, policy);
    return code;
}

static int body_learn(lua_State *L)
{
    struct anomaly_point *point = lua_touserdata(L, 1);
    anomaly_push_learner(L, point->service, point->metric->name, NULL);
    point->state = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int script_replay_new(const char *policy, const char *config, struct script_replay **ret_replay,
                      char **reterr)
{
    struct script_replay *replay = mem_new(sizeof(*replay));
    struct anomaly_service *service = NULL;
    struct cJSON *loaded = NULL;
    char *warnings = NULL;
    int code = config ? script_load(config, NULL, &loaded, &warnings, reterr) : 0;
    if (code == 0 && config) {
        code = build(replay, loaded, policy, &service, reterr);
    }
    if (code == 0 && !service) {
        json_free(loaded);
        loaded = NULL;
        code = load_alone(config ? config : "replay.lua", policy ? policy : DEFAULT_POLICY, &loaded,
                          reterr);
        if (code == 0) {
            code = build(replay, loaded, NULL, &service, reterr);
        }
    }
    if (code == 0) {
        replay->metric.name = mem_copy("value");
        replay->point.service = service;
        replay->point.metric = &replay->metric;
        code = state_run(replay->anomaly->state, body_learn, &replay->point,
                         LIMIT_POLICY_LOAD_CPU_MS, service->origin, reterr);
    }
    json_free(loaded);
    mem_free(warnings);
    if (code < 0) {
        script_replay_free(replay);
        return -EINVAL;
    }
    *ret_replay = replay;
    return 0;
}

void script_replay_free(struct script_replay *replay)
{
    if (!replay) {
        return;
    }
    script_anomaly_free(replay->anomaly);
    mem_free(replay->metric.name);
    mem_free(replay);
}

int script_replay_push(struct script_replay *replay, double at_s, double value, double *ret_score,
                       char **reterr)
{
    struct anomaly_point *point = &replay->point;
    if (!isfinite(value)) {
        *ret_score = 0;
        return 0;
    }
    point->value = value;
    point->at_s = at_s;
    int code = state_run(replay->anomaly->state, anomaly_body_point, point, LIMIT_POLICY_CPU_MS,
                         point->service->origin, reterr);
    json_free(point->told);
    point->told = NULL;
    if (code < 0) {
        return -EINVAL;
    }
    *ret_score = point->score;
    return 0;
}
