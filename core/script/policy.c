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

void policy_push_instance(lua_State *L, const struct cJSON *policy, const struct cJSON *params)
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
    if (params) {
        state_push_json(L, params);
    } else {
        lua_newtable(L);
    }
    bool detects = str_same(json_str(policy, "kind", ""), "anomaly");
    if (detects) {
        detector_push(L);
    }
    lua_call(L, detects ? 2 : 1, 1);
}
