/* policy.c: see policy.h. */
#include "script/policy.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "script/detector.h"
#include "script/memory.h"
#include "script/state.h"
#include "base/ban.h"

const struct cJSON *policy_find(const struct cJSON *config, const char *kind, const char *name)
{
    const struct cJSON *item = json_first(json_get(config, "policies"));
    while (item && !(str_same(json_str(item, "kind", NULL), kind) &&
                     str_same(json_str(item, "name", NULL), name))) {
        item = json_next(item);
    }
    return item;
}

int policy_library(void *arg, const char *name, const char **ret_origin, const char **ret_source,
                   size_t *ret_len)
{
    const struct cJSON *item = json_first(json_get(arg, "libraries"));
    while (item && !str_same(json_str(item, "name", NULL), name)) {
        item = json_next(item);
    }
    if (!item) {
        return -ENOENT;
    }
    *ret_origin = json_str(item, "origin", name);
    *ret_source = json_str(item, "source", "");
    *ret_len = strlen(*ret_source);
    return 0;
}

/* A freshly loaded policy's table, which has `new`. [-0, +1, e] */
static void push_module(lua_State *L, const struct cJSON *policy)
{
    const char *origin = json_str(policy, "origin", "policy");
    const char *source = json_str(policy, "source", "");
    state_push_module(L, origin, source, strlen(source));
    if (!lua_istable(L, -1)) {
        luaL_error(L, "%s:1: a policy returns a table, this one a %s", origin,
                   luaL_typename(L, -1));
    }
    lua_getfield(L, -1, "new");
    if (!lua_isfunction(L, -1)) {
        luaL_error(L, "%s:1: the policy has no function `new`", origin);
    }
    lua_pop(L, 1);
}

/* make(name, params, slot) of parts.lua: an instance that keeps its state in the table `slot`, when it is given
 * one; the configuration is the upvalue. */
static int make_part(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct cJSON *config = lua_touserdata(L, lua_upvalueindex(1));
    const struct cJSON *policy = policy_find(config, "scale", name);
    if (!policy) {
        return luaL_error(L, "no scale policy \"%s\"", name);
    }
    lua_settop(L, 3);
    push_module(L, policy);
    memory_push_part(L, 3, json_str(policy, "origin", name));
    lua_getfield(L, 4, "new");
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 5);
    lua_call(L, 2, 1);
    return 1;
}

/* Parameters as `new` gets them. [-0, +1, e] */
static void push_params(lua_State *L, const struct cJSON *config, const struct cJSON *params)
{
    if (config) {
        state_push_prelude(L, "given");
    }
    if (params) {
        state_push_json(L, params);
    } else {
        lua_newtable(L);
    }
    if (config) {
        lua_pushlightuserdata(L, (void *)config);
        lua_pushcclosure(L, make_part, 1);
        lua_call(L, 2, 1);
    }
}

void policy_push_instance(lua_State *L, const struct policy_use *use)
{
    int module = lua_gettop(L) + 1;
    push_module(L, use->policy);
    if (str_same(json_str(use->policy, "kind", ""), "anomaly")) {
        detector_push(L);
    } else {
        memory_push(L, use->memory, use->key, json_str(use->policy, "origin", "policy"));
    }
    lua_getfield(L, module, "new");
    push_params(L, use->config, use->params);
    lua_pushvalue(L, module + 1);
    lua_call(L, 2, 1);
    lua_replace(L, module);
    lua_settop(L, module);
}
