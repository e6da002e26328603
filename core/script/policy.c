/* policy.c: see policy.h. */
#include "script/policy.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "script/detector.h"
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

/* `new` of a freshly loaded policy. [-0, +1, e] */
static void push_new(lua_State *L, const struct cJSON *policy)
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
    lua_remove(L, -2);
}

/* make(name, params, ...) of parts.lua; the configuration is its upvalue. */
static int make_part(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct cJSON *config = lua_touserdata(L, lua_upvalueindex(1));
    const struct cJSON *policy = policy_find(config, "scale", name);
    if (!policy) {
        return luaL_error(L, "no scale policy \"%s\"", name);
    }
    push_new(L, policy);
    lua_replace(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

void policy_push_instance(lua_State *L, const struct cJSON *config, const struct cJSON *policy,
                          const struct cJSON *params)
{
    push_new(L, policy);
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
    bool detects = str_same(json_str(policy, "kind", ""), "anomaly");
    if (detects) {
        detector_push(L);
    }
    lua_call(L, detects ? 2 : 1, 1);
}
