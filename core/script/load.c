/* load.c: script_load: reads a configuration by the modules dsl.lua and friends.
 *
 * Owns: the Lua state of one load, and what the host functions lend to it.
 * Called by: script_load's callers, once per load.
 * Invariants: the configuration's own code runs in a sandbox and under a budget for each step;
 * nothing that must be freed is held by a frame that a Lua error can unwind (it hangs on struct
 * load). Does not: know a single key of the configuration; that is schema.lua. */
#include "script/script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "script/convert.h"
#include "script/files.h"
#include "script/shipped.h"
#include "script/state.h"
#include "base/ban.h"

enum {
    STEP_BUDGET_MS = 1000, /* of CPU time for each step: reading all files, checking, one example */
    NAMES_BYTES = 300 * FILES_LISTED
};

struct load {
    struct state *state;
    struct files files;
    const struct cJSON *overrides;
    char *source; /* of the main file */
    size_t source_len;
    char *text, *why;     /* of the host function under way */
    struct buf names;     /* NUL-separated, of the same */
    bool more;            /* steps are left */
    const char *sentence; /* why the last step was stopped */
    struct cJSON *config;
    char *errors, *warnings;
};

/* Registry keys: these addresses. */
static const char steps_key;

/* ---- Host functions: what the trusted modules may ask for -------------------------------------
 */

static struct load *load_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static void clear(struct load *l)
{
    mem_release(&l->text);
    mem_release(&l->why);
    buf_clear(&l->names);
}

/* host.read(name) -> text, or nil, why, missing */
static int host_read(lua_State *L)
{
    struct load *l = load_of(L);
    const char *name = luaL_checkstring(L, 1);
    size_t len = 0;
    clear(l);
    int code = files_read(&l->files, name, &l->text, &len, &l->why);
    if (code < 0) {
        lua_pushnil(L);
        lua_pushstring(L, l->why);
        lua_pushboolean(L, code == -ENOENT || code == -ENOTDIR);
        return 3;
    }
    lua_pushlstring(L, l->text, len);
    return 1;
}

/* host.library(name) -> text and origin, or nil and why */
static int host_library(lua_State *L)
{
    struct load *l = load_of(L);
    const char *name = luaL_checkstring(L, 1);
    const struct files_library *library;
    clear(l);
    if (files_library(&l->files, name, &library, &l->why) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, l->why);
        return 2;
    }
    lua_pushlstring(L, library->source, library->len);
    lua_pushstring(L, library->origin);
    return 2;
}

/* host.shipped(name) -> text or nil */
static int host_shipped(lua_State *L)
{
    size_t len = 0;
    const char *source = files_shipped(&load_of(L)->files, luaL_checkstring(L, 1), &len);
    if (source) {
        lua_pushlstring(L, source, len);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

/* host.shipped_names("balance/") -> { "least_connections", ... } */
static int host_shipped_names(lua_State *L)
{
    size_t len = 0;
    const char *prefix = luaL_checklstring(L, 1, &len);
    int count = 0;
    lua_newtable(L);
    for (size_t i = 0; i < shipped_count; i++) {
        const char *name = shipped_files[i].name;
        if (!strncmp(name, prefix, len) && !strchr(name + len, '/')) {
            lua_pushstring(L, name + len);
            lua_rawseti(L, -2, ++count);
        }
    }
    return 1;
}

static void keep_name(void *arg, const char *name)
{
    struct load *l = arg;
    (void)buf_append(&l->names, name, strlen(name) + 1);
}

/* host.list(folder) -> { "a.lua", ... } */
static int host_list(lua_State *L)
{
    struct load *l = load_of(L);
    const char *folder = luaL_checkstring(L, 1);
    int count = 0;
    clear(l);
    files_list(&l->files, folder, keep_name, l);
    lua_newtable(L);
    for (size_t at = 0; at < l->names.len; at += strlen(l->names.data + at) + 1) {
        lua_pushstring(L, l->names.data + at);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* host.getenv(name) -> text or nil */
static int host_getenv(lua_State *L)
{
    const char *value = getenv(luaL_checkstring(L, 1));
    if (value) {
        lua_pushstring(L, value);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

/* host.compile(source, name, env) -> function, or nil and why */
static int host_compile(lua_State *L)
{
    size_t len = 0;
    const char *source = luaL_checklstring(L, 1, &len);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_pushfstring(L, "@%s", luaL_checkstring(L, 2));
    if (luaL_loadbufferx(L, source, len, lua_tostring(L, -1), "t") != 0) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushvalue(L, 3);
    lua_setfenv(L, -2);
    return 1;
}

/* host.module(origin, source) -> what the chunk returns in a sandbox of its own */
static int host_module(lua_State *L)
{
    size_t len = 0;
    const char *source = luaL_checklstring(L, 2, &len);
    state_push_module(L, luaL_checkstring(L, 1), source, len);
    return 1;
}

/* host.environment() -> a sandbox */
static int host_environment(lua_State *L)
{
    state_push_environment(L);
    return 1;
}

/* host.strict(view) -> the same, strict */
static int host_strict(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    state_make_strict(L, "service");
    return 1;
}

/* host.try(policy, backends, request) -> the index that a balance policy picks, or nil */
static int host_try(lua_State *L)
{
    lua_settop(L, 3);
    state_push_prelude(L, "try");
    lua_insert(L, 1);
    lua_call(L, 3, 1);
    return 1;
}

/* host.at() -> file and line of the innermost call that stands in a file */
static int host_at(lua_State *L)
{
    lua_Debug ar;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] == '@' && ar.currentline > 0) {
            lua_pushstring(L, ar.source + 1);
            lua_pushinteger(L, ar.currentline);
            return 2;
        }
    }
    lua_pushliteral(L, "?");
    lua_pushinteger(L, 1);
    return 2;
}

/* host.function_at(f) -> "file:line" */
static int host_function_at(lua_State *L)
{
    lua_Debug ar;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    lua_getinfo(L, ">S", &ar);
    lua_pushfstring(L, "%s:%d", ar.source[0] == '@' ? ar.source + 1 : "?", ar.linedefined);
    return 1;
}

/* require "script.x" of the trusted modules: upvalues are the modules so far and their environment.
 */
static int trusted_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1)) {
        return 1;
    }
    const struct shipped_file *file = shipped_find(luaL_gsub(L, name, ".", "/"));
    if (!file) {
        return luaL_error(L, "no module %s", name);
    }
    lua_pushfstring(L, "=%s", file->name);
    if (luaL_loadbufferx(L, file->source, file->len, lua_tostring(L, -1), "t") != 0) {
        return lua_error(L);
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, lua_upvalueindex(1));
    return 1;
}

/* ---- Bodies ------------------------------------------------------------------------------------
 */

/* The table `host`. [-0, +1, e] */
static void push_host(lua_State *L, struct load *l)
{
    static const luaL_Reg functions[] = {
        {"read", host_read},
        {"library", host_library},
        {"shipped", host_shipped},
        {"shipped_names", host_shipped_names},
        {"list", host_list},
        {"getenv", host_getenv},
        {"compile", host_compile},
        {"module", host_module},
        {"environment", host_environment},
        {"strict", host_strict},
        {"try", host_try},
        {"at", host_at},
        {"function_at", host_function_at},
    };
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
        lua_pushlightuserdata(L, l);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
}

/* The table `request` of dsl.lua. [-0, +1, e] */
static void push_request(lua_State *L, struct load *l)
{
    lua_newtable(L);
    lua_pushstring(L, l->files.main);
    lua_setfield(L, -2, "main");
    lua_pushstring(L, l->files.directory);
    lua_setfield(L, -2, "directory");
    lua_pushfstring(L, "%s/%s", strcmp(l->files.directory, "/") ? l->files.directory : "",
                    l->files.main);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, l->source, l->source_len);
    lua_setfield(L, -2, "source");
    state_push_json(L, l->overrides);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    lua_setfield(L, -2, "overrides");
}

/* Loads dsl.lua and keeps its functions. */
static int body_boot(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    state_push_environment(L);
    lua_newtable(L);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, trusted_require, 2);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "require");
    lua_pushliteral(L, "script.dsl");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "new");
    push_host(L, l);
    push_request(L, l);
    lua_call(L, 2, 1);
    lua_pushlightuserdata(L, (void *)&steps_key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

/* A function of what body_boot kept. [-0, +1, e] */
static void push_kept(lua_State *L, const char *name)
{
    lua_pushlightuserdata(L, (void *)&steps_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static int body_step(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    push_kept(L, "step");
    lua_call(L, 0, 1);
    l->more = lua_toboolean(L, -1);
    return 0;
}

static int body_failed(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    push_kept(L, "failed");
    lua_pushstring(L, l->sentence);
    lua_call(L, 1, 1);
    l->more = lua_toboolean(L, -1);
    return 0;
}

static int body_result(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    push_kept(L, "result");
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "errors");
    l->errors = mem_copy(lua_tostring(L, -1));
    lua_getfield(L, -2, "warnings");
    l->warnings = mem_copy(lua_tostring(L, -1));
    lua_getfield(L, -3, "config");
    if (lua_istable(L, -1)) {
        l->config = convert_to_json(L, -1);
    }
    return 0;
}

static int find_library(void *arg, const char *name, const char **ret_origin,
                        const char **ret_source, size_t *ret_len)
{
    struct load *l = arg;
    const struct files_library *library;
    char *why = NULL;
    int code = files_library(&l->files, name, &library, &why);
    mem_free(why);
    if (code < 0) {
        return -ENOENT;
    }
    *ret_origin = library->origin;
    *ret_source = library->source;
    *ret_len = library->len;
    return 0;
}

/* ---- The load ----------------------------------------------------------------------------------
 */

static int run(struct load *l, lua_CFunction body, char **reterr)
{
    return state_run(l->state, body, l, STEP_BUDGET_MS, l->files.main, reterr);
}

/* Steps until none is left; a step that raises or overruns is reported by dsl.lua. */
static int run_steps(struct load *l, char **reterr)
{
    l->more = true;
    while (l->more) {
        char *sentence = NULL;
        if (run(l, body_step, &sentence) < 0) {
            l->sentence = sentence;
            int code = run(l, body_failed, reterr);
            l->sentence = NULL;
            mem_free(sentence);
            if (code < 0) {
                return code;
            }
        }
    }
    return 0;
}

static void add_libraries(struct load *l)
{
    struct cJSON *list = json_get(l->config, "libraries");
    for (size_t i = 0; i < l->files.library_count; i++) {
        const struct files_library *library = &l->files.libraries[i];
        struct cJSON *entry = json_object();
        json_set_str(entry, "name", library->name);
        json_set_str(entry, "origin", library->origin);
        json_set_str(entry, "source", library->source);
        json_set(list, NULL, entry);
    }
}

static int load(struct load *l, char **reterr)
{
    int code = state_new(STATE_COLD, LIMIT_POLICY_MEMORY_BYTES, &l->state, reterr);
    if (code < 0) {
        return code;
    }
    state_set_libraries(l->state, find_library, l);
    code = run(l, body_boot, reterr);
    if (code == 0) {
        code = run_steps(l, reterr);
    }
    if (code == 0) {
        code = run(l, body_result, reterr);
    }
    if (code < 0) {
        return -EINVAL;
    }
    if (!l->config) {
        *reterr = l->errors;
        l->errors = NULL;
        return -EINVAL;
    }
    char generation[17];
    hash_hex(l->files.hash, generation);
    json_set_str(l->config, "generation", generation);
    add_libraries(l);
    return 0;
}

int script_load(const char *path, const struct cJSON *overrides, struct cJSON **ret_config,
                char **ret_warnings, char **reterr)
{
    struct load l = {.overrides = overrides};
    char *why = NULL;
    buf_init(&l.names, NAMES_BYTES);
    int code = files_open(&l.files, path, reterr);
    if (code < 0) {
        return code;
    }
    code = files_read_main(&l.files, &l.source, &l.source_len, &why);
    if (code < 0) {
        *reterr = mem_printf("%s: %s", path, why);
        mem_free(why);
        goto out;
    }
    code = load(&l, reterr);
    if (code == 0) {
        *ret_config = l.config;
        *ret_warnings = l.warnings;
        l.config = NULL;
        l.warnings = NULL;
    }
out:
    state_free(l.state);
    files_close(&l.files);
    buf_free(&l.names);
    clear(&l);
    mem_free(l.source);
    mem_free(l.errors);
    mem_free(l.warnings);
    json_free(l.config);
    return code;
}
