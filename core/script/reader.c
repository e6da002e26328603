/* reader.c: a route's `request` function, asked for every request; see script.h.
 *
 * Owns: the readers of a hot state. Called by: the worker's loop, once for each request of a route
 * that has one. Invariants: the function sees the head only through the prelude (reader.lua), which
 * copies what it is asked for, and the head that it reads is that of the call under way. Does not: know
 * what the texts mean; the proxy turns them into numbers. */
#include "script/script.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/budget.h"
#include "script/hot.h"
#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

enum {
    ANSWERS = 5 /* texts of struct script_data, in its order */
};

struct script_reader {
    struct list link;
    struct script_hot *hot;
    const char *service; /* while it is built */
    uint32_t route;
    int read; /* registry reference */
    char origin[WHERE_BYTES];
    char error[LIMIT_REASON_BYTES];
};

/* Runs the configuration's files, once. [-0, +1, e] */
static void push_functions(lua_State *L, struct script_hot *hot)
{
    if (hot->functions == LUA_NOREF) {
        state_push_prelude(L, "functions");
        state_push_json(L, json_get(hot->config, "program"));
        lua_call(L, 1, 1);
        hot->functions = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, hot->functions);
}

static int body_build(lua_State *L)
{
    struct script_reader *reader = lua_touserdata(L, 1);
    state_push_prelude(L, "reader");
    push_functions(L, reader->hot);
    lua_getfield(L, -1, "routes");
    lua_getfield(L, -1, reader->service);
    if (lua_istable(L, -1)) {
        lua_rawgeti(L, -1, (int)reader->route);
    }
    if (!lua_isfunction(L, -1)) {
        luaL_error(L, "the request function is not there when the configuration is read once more");
    }
    where_function(L, reader->origin, sizeof(reader->origin));
    lua_insert(L, -4);
    lua_settop(L, -4);
    lua_pushlightuserdata(L, &reader->hot->head);
    lua_call(L, 2, 1);
    reader->read = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int script_reader_new(struct script_hot *hot, const char *service, uint32_t route,
                      struct script_reader **ret_reader, char **reterr)
{
    struct script_reader *reader = mem_new(sizeof(*reader));
    char *why = NULL;
    reader->hot = hot;
    reader->service = service;
    reader->route = route;
    reader->read = LUA_NOREF;
    list_append(&hot->readers, &reader->link);
    if (state_run(hot->state, body_build, reader, LIMIT_POLICY_LOAD_CPU_MS, "configuration", &why) <
        0) {
        *reterr = mem_printf("service %s, route %u: request: %s", service, route, why);
        mem_free(why);
        script_reader_free(reader);
        return -EINVAL;
    }
    reader->service = NULL;
    *ret_reader = reader;
    return 0;
}

static int body_forget(lua_State *L)
{
    struct script_reader *reader = lua_touserdata(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, reader->read);
    return 0;
}

void script_reader_free(struct script_reader *reader)
{
    if (!reader) {
        return;
    }
    char *why = NULL;
    state_run(reader->hot->state, body_forget, reader, LIMIT_POLICY_LOAD_CPU_MS, "worker", &why);
    mem_free(why); /* at worst the function stays until the generation goes */
    list_remove(&reader->link);
    mem_free(reader);
}

void reader_free_first(struct list *readers)
{
    script_reader_free(list_owner(readers->next, struct script_reader, link));
}

/* The strings on the stack, which the state keeps until it runs again. */
static void take(lua_State *L, struct script_data *ret_data)
{
    struct script_text *to[ANSWERS] = {&ret_data->dataset, &ret_data->tags, &ret_data->processing,
                                       &ret_data->key, &ret_data->zone};
    for (int i = 0; i < ANSWERS; i++) {
        int at = i - ANSWERS;
        *to[i] = (struct script_text){NULL, 0};
        if (lua_type(L, at) == LUA_TSTRING) {
            to[i]->ptr = lua_tolstring(L, at, &to[i]->len);
        }
    }
}

int script_read(struct script_reader *reader, const struct script_head *head,
                struct script_data *ret_data)
{
    struct script_hot *hot = reader->hot;
    struct budget *budget = hot->budget;
    lua_State *L = budget->L;
    hot->head = *head;
    lua_rawgeti(L, LUA_REGISTRYINDEX, reader->read);
    budget_start(budget, BUDGET_TICK_MS);
    int status = lua_pcall(L, 0, ANSWERS, HOT_HANDLER);
    budget_stop(budget);
    if (status) {
        hot_sentence(reader->error, sizeof(reader->error), reader->origin,
                     lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "failed");
    } else {
        take(L, ret_data);
    }
    lua_settop(L, HOT_HANDLER);
    if (status == LUA_ERRMEM) {
        state_collect(hot->state);
    }
    return status ? -EIO : 0;
}

const char *script_reader_error(const struct script_reader *reader)
{
    return reader->error;
}
