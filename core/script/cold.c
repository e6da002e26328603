/* cold.c: answers snapshots; see script.h.
 *
 * Owns: one COLD state with an instance of its scale policy for each service that has one.
 * Called by: the policy process, once a tick.
 * Invariants: what goes wrong in one service's policy touches only that service's answer.
 * Does not: hold answers to bounds or cooldowns; fleet does. */
#include "script/script.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/judge.h"
#include "script/policy.h"
#include "script/sentence.h"
#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

struct cold_service {
    const char *name, *policy, *origin; /* lent by script_cold.config, like all here */
    const struct cJSON *source, *params;
    int decide; /* registry reference */
};

struct script_cold {
    struct cJSON *config; /* our copy */
    struct state *state;
    struct cold_service *services;
    size_t count;
    struct judge *judge;
};

static int body_build(lua_State *L)
{
    struct cold_service *service = lua_touserdata(L, 1);
    policy_push_instance(L, service->source, service->params);
    if (!lua_isfunction(L, -1)) {
        luaL_error(L, "%s:1: `new` must return a function, not a %s", service->origin,
                   luaL_typename(L, -1));
    }
    service->decide = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int script_cold_new(const struct cJSON *config, struct script_cold **ret_cold, char **reterr)
{
    struct script_cold *cold = mem_new(sizeof(*cold));
    cold->config = json_copy(config);
    config = cold->config;
    const struct cJSON *services = json_get(config, "services");
    int code = state_new(STATE_COLD, LIMIT_POLICY_MEMORY_BYTES, &cold->state, reterr);
    if (code < 0) {
        goto out;
    }
    state_set_libraries(cold->state, policy_library, (void *)config);
    cold->services = mem_array(json_count(services), sizeof(*cold->services));
    for (const struct cJSON *item = json_first(services); item; item = json_next(item)) {
        const struct cJSON *scale = json_get(item, "scale");
        struct cold_service *service = &cold->services[cold->count];
        service->policy = json_str(scale, "policy", "");
        if (!scale || !*service->policy) {
            continue;
        }
        service->name = json_str(item, "name", "");
        service->source = policy_find(config, "scale", service->policy);
        service->params = json_get(scale, "params");
        if (!service->source) {
            *reterr =
                mem_printf("service %s: no scale policy \"%s\"", service->name, service->policy);
            goto out;
        }
        service->origin = json_str(service->source, "origin", service->policy);
        code = state_run(cold->state, body_build, service, LIMIT_POLICY_LOAD_CPU_MS,
                         service->origin, reterr);
        if (code < 0) {
            goto out;
        }
        cold->count++;
    }
    code = judge_new(config, cold->state, &cold->judge, reterr);
    if (code < 0) {
        goto out;
    }
    *ret_cold = cold;
    return 0;
out:
    script_cold_free(cold);
    return -EINVAL;
}

void script_cold_free(struct script_cold *cold)
{
    if (!cold) {
        return;
    }
    judge_free(cold->judge);
    state_free(cold->state);
    json_free(cold->config);
    mem_free(cold->services);
    mem_free(cold);
}

struct answer {
    const struct cold_service *service;
    const struct cJSON *view;
    bool opinion;
    double want; /* when opinion */
    char reason[LIMIT_REASON_BYTES];
};

static int body_decide(lua_State *L)
{
    struct answer *answer = lua_touserdata(L, 1);
    char where[WHERE_BYTES];
    lua_rawgeti(L, LUA_REGISTRYINDEX, answer->service->decide);
    where_function(L, where, sizeof(where));
    state_push_json(L, answer->view);
    state_make_strict(L, "service");
    lua_call(L, 1, 2);
    if (lua_type(L, -1) == LUA_TSTRING) {
        sentence_put(answer->reason, sizeof(answer->reason), lua_tostring(L, -1));
    }
    if (lua_isnil(L, -2)) {
        return 0;
    }
    if (lua_type(L, -2) != LUA_TNUMBER) {
        return luaL_error(L,
                          "%s: answered a %s: a whole number of instances, or nil for no opinion",
                          where, luaL_typename(L, -2));
    }
    answer->want = lua_tonumber(L, -2);
    if (!(answer->want >= 0 && answer->want <= UINT32_MAX) || answer->want != floor(answer->want)) {
        return luaL_error(L, "%s: answered %f: a whole number of instances, 0 or more", where,
                          answer->want);
    }
    answer->opinion = true;
    return 0;
}

static struct cJSON *decide(struct script_cold *cold, const struct cold_service *service,
                            const struct cJSON *view)
{
    struct answer answer = {.service = service, .view = view};
    struct cJSON *decision = json_object();
    char *why = NULL;
    if (state_run(cold->state, body_decide, &answer, LIMIT_POLICY_CPU_MS, service->origin, &why) <
        0) {
        sentence_put(answer.reason, sizeof(answer.reason), why);
        json_set_str(decision, "error", answer.reason);
        mem_free(why);
    } else if (answer.opinion) {
        json_set_num(decision, "want", answer.want);
    } else {
        json_set(decision, "want", NULL);
    }
    if (!json_get(decision, "error")) {
        json_set_str(decision, "reason", answer.reason);
    }
    json_set_str(decision, "policy", service->policy);
    json_set_str(decision, "origin", service->origin);
    return decision;
}

struct cJSON *script_cold_decide(struct script_cold *cold, const struct cJSON *snapshot)
{
    const struct cJSON *views = json_get(snapshot, "services");
    struct cJSON *decisions = json_object(), *services = json_object();
    for (size_t i = 0; i < cold->count; i++) {
        const struct cJSON *view = json_get(views, cold->services[i].name);
        if (view) {
            json_set(services, cold->services[i].name, decide(cold, &cold->services[i], view));
        }
    }
    json_set(decisions, "services", services);
    return decisions;
}

struct cJSON *script_cold_evaluate(struct script_cold *cold, const struct cJSON *question)
{
    return judge_evaluate(cold->judge, question);
}

struct cJSON *script_cold_notify(struct script_cold *cold, const struct cJSON *question)
{
    return judge_notify(cold->judge, question);
}
