/* hot.c: picks in a worker; see script.h.
 *
 * Owns: one HOT state for each generation, its pickers, and the only process-wide thing of the
 * room: which generation is live, because LuaJIT's profiler (budget.h) is process-wide too. Called
 * by: the worker's loop, once for each request. Invariants: a pick allocates nothing, neither here
 * nor in the prelude; the policy sees rows and request only through const references. */
#include "script/script.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/budget.h"
#include "script/hot.h"
#include "script/policy.h"
#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

struct script_picker {
    struct list link;
    struct script_hot *hot;
    struct script_backend *rows; /* lent */
    uint32_t capacity, count;
    int pick, resize, look, scores; /* scores: LUA_REFNIL when the policy has none */
    char origin[WHERE_BYTES];       /* file, and line of the function once it is known */
    char error[LIMIT_REASON_BYTES];
};

/* The one whose JIT is on. Not in struct worker: the profiler behind it exists once in a process.
 */
static struct script_hot *live;

static int body_handler(lua_State *L)
{
    int *ret_handler = lua_touserdata(L, 1);
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) > 0) {
        state_seed(L, seed); /* workers of one chance would all choose the same backend */
    }
    lua_pushcfunction(L, where_handler);
    *ret_handler = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int script_hot_new(const struct cJSON *config, uint64_t *heartbeat, struct script_hot **ret_hot,
                   char **reterr)
{
    struct script_hot *hot = mem_new(sizeof(*hot));
    list_init(&hot->pickers);
    list_init(&hot->readers);
    hot->functions = LUA_NOREF;
    hot->config = json_object();
    json_set(hot->config, "policies", json_copy(json_get(config, "policies")));
    json_set(hot->config, "libraries", json_copy(json_get(config, "libraries")));
    if (json_get(config, "program")) {
        json_set(hot->config, "program", json_copy(json_get(config, "program")));
    }
    int handler = LUA_NOREF;
    int code = state_new(STATE_HOT, LIMIT_POLICY_MEMORY_BYTES, &hot->state, reterr);
    if (code == 0) {
        state_set_libraries(hot->state, policy_library, hot->config);
        code = state_run(hot->state, body_handler, &handler, LIMIT_POLICY_LOAD_CPU_MS, "worker",
                         reterr);
    }
    if (code < 0) {
        script_hot_free(hot);
        return -EINVAL;
    }
    if (heartbeat && *heartbeat & 1) {
        ++*heartbeat; /* of a worker that was killed in Lua */
    }
    lua_rawgeti(state_lua(hot->state), LUA_REGISTRYINDEX, handler); /* at HOT_HANDLER */
    hot->budget = state_budget(state_lua(hot->state));
    hot->budget->beat = heartbeat;
    *ret_hot = hot;
    return 0;
}

void script_hot_free(struct script_hot *hot)
{
    if (!hot) {
        return;
    }
    while (!list_empty(&hot->pickers)) {
        script_picker_free(list_owner(hot->pickers.next, struct script_picker, link));
    }
    while (!list_empty(&hot->readers)) {
        reader_free_first(&hot->readers);
    }
    if (live == hot) {
        live = NULL;
    }
    state_free(hot->state);
    json_free(hot->config);
    mem_free(hot);
}

void script_hot_live(struct script_hot *hot)
{
    if (live == hot) {
        return;
    }
    if (live) {
        budget_live(state_budget(state_lua(live->state)), false);
    }
    live = hot;
    budget_live(state_budget(state_lua(hot->state)), true);
}

struct build {
    struct script_picker *picker;
    const struct cJSON *policy, *params;
};

/* Notes where the policy's function stands, for errors without a line. [-0, +0, e] */
static void note_origin(lua_State *L, struct script_picker *picker)
{
    static const char *const names[] = {"which", "pick", "score"};
    char where[WHERE_BYTES];
    for (size_t i = 0; lua_istable(L, -1) && i < sizeof(names) / sizeof(*names); i++) {
        lua_getfield(L, -1, names[i]);
        where_function(L, where, sizeof(where));
        if (*where) {
            str_copy(picker->origin, sizeof(picker->origin), where);
        }
        lua_pop(L, 1);
    }
}

static int body_build(lua_State *L)
{
    struct build *b = lua_touserdata(L, 1);
    struct script_picker *picker = b->picker;
    state_push_prelude(L, "picker");
    policy_push_instance(L, &(struct policy_use){.policy = b->policy, .params = b->params});
    note_origin(L, picker);
    lua_pushlightuserdata(L, picker->rows);
    lua_pushnumber(L, picker->capacity);
    lua_pushlightuserdata(L, &picker->hot->request);
    lua_call(L, 4, 4);
    picker->look = luaL_ref(L, LUA_REGISTRYINDEX);
    picker->scores = luaL_ref(L, LUA_REGISTRYINDEX);
    picker->resize = luaL_ref(L, LUA_REGISTRYINDEX);
    picker->pick = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int script_picker_new(struct script_hot *hot, const char *policy, const struct cJSON *params,
                      struct script_backend *rows, uint32_t capacity,
                      struct script_picker **ret_picker, char **reterr)
{
    struct build build = {.policy = policy_find(hot->config, "balance", policy), .params = params};
    if (!build.policy) {
        *reterr = mem_printf("no balance policy \"%s\"", policy);
        return -EINVAL;
    }
    struct script_picker *picker = mem_new(sizeof(*picker));
    picker->hot = hot;
    picker->rows = rows;
    picker->capacity = capacity;
    picker->pick = picker->resize = picker->scores = picker->look = LUA_NOREF;
    str_copy(picker->origin, sizeof(picker->origin), json_str(build.policy, "origin", policy));
    list_append(&hot->pickers, &picker->link);
    build.picker = picker;
    int code =
        state_run(hot->state, body_build, &build, LIMIT_POLICY_LOAD_CPU_MS, picker->origin, reterr);
    if (code < 0) {
        script_picker_free(picker);
        return -EINVAL;
    }
    *ret_picker = picker;
    return 0;
}

static int body_forget(lua_State *L)
{
    struct script_picker *picker = lua_touserdata(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, picker->pick);
    luaL_unref(L, LUA_REGISTRYINDEX, picker->resize);
    luaL_unref(L, LUA_REGISTRYINDEX, picker->scores);
    luaL_unref(L, LUA_REGISTRYINDEX, picker->look);
    return 0;
}

void script_picker_free(struct script_picker *picker)
{
    if (!picker) {
        return;
    }
    char *why = NULL;
    state_run(picker->hot->state, body_forget, picker, LIMIT_POLICY_LOAD_CPU_MS, "worker", &why);
    mem_free(why); /* at worst the functions stay until the generation goes */
    list_remove(&picker->link);
    mem_free(picker);
}

static int body_resize(lua_State *L)
{
    struct script_picker *picker = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, picker->resize);
    lua_pushnumber(L, picker->count);
    lua_call(L, 1, 0);
    return 0;
}

void script_picker_resize(struct script_picker *picker, uint32_t count)
{
    must(count <= picker->capacity);
    char *why = NULL;
    picker->count = count;
    if (state_run(picker->hot->state, body_resize, picker, LIMIT_POLICY_LOAD_CPU_MS, picker->origin,
                  &why) < 0) {
        /* Only memory can be short here; then the policy keeps its old rows, and C checks each
         * index. */
        str_copy(picker->error, sizeof(picker->error), why);
        mem_free(why);
    }
}

void hot_sentence(char *to, size_t size, const char *origin, const char *text)
{
    if (where_known(text)) {
        str_copy(to, size, text);
    } else {
        snprintf(to, size, "%s: %s", origin, text);
    }
}

static __attribute__((cold, noinline)) int failed(struct script_picker *picker, const char *text)
{
    hot_sentence(picker->error, sizeof(picker->error), picker->origin, text);
    return -EIO;
}

/* Why the number that Lua answered is no index. Apart, since a pick that went well has no use for its text. */
static __attribute__((cold, noinline)) int refused(struct script_picker *picker)
{
    char text[96]; /* two numbers of at most 24 bytes and 24 of words */
    double answer = lua_tonumber(picker->hot->budget->L, -1);
    if (answer == 0) {
        return -ENOENT;
    }
    if (answer >= 1 && answer <= picker->count) {
        snprintf(text, sizeof(text), "picked backend %u, which is not eligible", (uint32_t)answer);
    } else {
        snprintf(text, sizeof(text), "picked %.17g of %u backends", answer, picker->count);
    }
    return failed(picker, text);
}

/* What driver.lua answered, a whole number or nil, as an index from 0. */
static int answered(struct script_picker *picker, lua_State *L)
{
    size_t index = (size_t)lua_tointeger(L, -1) - 1;
    if (index < picker->count && picker->rows[index].eligible) {
        return (int)index;
    }
    return refused(picker);
}

static __attribute__((cold, noinline)) int raised(struct script_picker *picker, int status)
{
    lua_State *L = picker->hot->budget->L;
    /* Only a string or nothing: the handler made it, or LuaJIT had no memory for one. */
    int code = failed(picker, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "failed");
    lua_settop(L, HOT_HANDLER);
    if (status == LUA_ERRMEM) {
        state_collect(picker->hot->state);
    }
    return code;
}

int script_pick(struct script_picker *picker, const struct script_request *request)
{
    struct script_hot *hot = picker->hot;
    struct budget *budget = hot->budget;
    lua_State *L = budget->L;
    if (picker->count == 0) {
        return -ENOENT;
    }
    hot->request = *request;
    lua_rawgeti(L, LUA_REGISTRYINDEX, picker->pick);
    budget_start(budget, BUDGET_TICK_MS);
    int status = lua_pcall(L, 0, 1, HOT_HANDLER);
    budget_stop(budget);
    if (status) {
        return raised(picker, status);
    }
    int code = answered(picker, L);
    lua_settop(L, HOT_HANDLER);
    return code;
}

struct scores {
    struct script_picker *picker;
    double *to;
};

static int body_scores(lua_State *L)
{
    struct scores *s = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->picker->scores);
    lua_pushlightuserdata(L, s->to);
    lua_pushnumber(L, s->picker->count);
    lua_call(L, 2, 0);
    return 0;
}

int script_picker_scores(struct script_picker *picker, const struct script_request *request,
                         double *ret_scores)
{
    struct scores scores = {picker, ret_scores};
    char *why = NULL;
    if (picker->scores == LUA_REFNIL) {
        return -ENOTSUP;
    }
    picker->hot->request = *request;
    if (state_run(picker->hot->state, body_scores, &scores, BUDGET_TICK_MS, picker->origin, &why) <
        0) {
        str_copy(picker->error, sizeof(picker->error), why);
        mem_free(why);
        return -EIO;
    }
    return 0;
}

struct look {
    struct script_picker *picker;
    bool compiled;
};

static int body_look(lua_State *L)
{
    struct look *look = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, look->picker->look);
    lua_call(L, 0, 1);
    look->compiled = lua_toboolean(L, -1);
    return 0;
}

bool script_picker_compiled(struct script_picker *picker)
{
    struct look look = {picker, true};
    char *why = NULL;
    (void)state_run(picker->hot->state, body_look, &look, LIMIT_POLICY_LOAD_CPU_MS, picker->origin,
                    &why);
    mem_free(why); /* memory was short: no answer is no alarm */
    return look.compiled;
}

const char *script_picker_origin(const struct script_picker *picker)
{
    return picker->origin;
}

const char *script_picker_error(const struct script_picker *picker)
{
    return picker->error;
}

struct state *hot_state(struct script_hot *hot)
{
    return hot->state;
}

void hot_push_pick(lua_State *L, const struct script_picker *picker)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, picker->pick);
}
