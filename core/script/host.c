/* host.c: see host.h. */
#include "script/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/htpasswd.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/calendar.h"
#include "script/detector.h"
#include "script/memory.h"
#include "script/shipped.h"
#include "script/state.h"
#include "base/ban.h"

/* Registry key of what host_keep keeps: this address. */
static const char kept_key;

static struct load *load_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

void host_clear(struct load *l)
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
    host_clear(l);
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

/* host.htpasswd(text) -> { { line = 1, user = "alice" }, { line = 3, why = "..." } } */
static int host_htpasswd(lua_State *L)
{
    struct str text = {NULL, 0};
    struct htpasswd_entry entry;
    const char *why = NULL;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    struct htpasswd at = {text, 0};
    lua_newtable(L);
    for (int i = 1, rc; (rc = htpasswd_next(&at, &entry, &why)) != 0; i++) {
        lua_createtable(L, 0, 2);
        lua_pushinteger(L, (lua_Integer)at.line);
        lua_setfield(L, -2, "line");
        if (rc > 0) {
            lua_pushlstring(L, entry.user.ptr, entry.user.len);
        } else {
            lua_pushstring(L, why);
        }
        lua_setfield(L, -2, rc > 0 ? "user" : "why");
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* host.library(name) -> text and origin, or nil and why */
static int host_library(lua_State *L)
{
    struct load *l = load_of(L);
    const char *name = luaL_checkstring(L, 1);
    const struct files_library *library;
    host_clear(l);
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
    host_clear(l);
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

/* host.odd(state) -> what of it is no plain data, such as "state.f is a function", or nil */
static int host_odd(lua_State *L)
{
    char why[MEMORY_WHY_BYTES];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct cJSON *json = memory_json(L, why);
    json_free(json);
    if (json) {
        return 0;
    }
    lua_pushstring(L, why);
    return 1;
}

/* host.detector() -> what new(params, detector) of an anomaly policy gets */
static int host_detector(lua_State *L)
{
    detector_push(L);
    return 1;
}

/* Calls a function of the prelude with what came. */
static int through(lua_State *L, const char *name)
{
    state_push_prelude(L, name);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* host.judge(f, view) -> firing, value, message, missing */
static int host_judge(lua_State *L)
{
    return through(L, "judge");
}

/* host.herald(f, notice) -> channels or nil */
static int host_herald(lua_State *L)
{
    return through(L, "herald");
}

/* host.given(params, make) -> parameters as `new` gets them (parts.lua) */
static int host_given(lua_State *L)
{
    return through(L, "given");
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

/* host.mark(): what is read from here on is not the configuration's own */
static int host_mark(lua_State *L)
{
    struct load *l = load_of(L);
    l->files_hash = l->files.hash;
    return 0;
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

void host_push(lua_State *L, struct load *l)
{
    static const luaL_Reg functions[] = {
        {"read", host_read},
        {"htpasswd", host_htpasswd},
        {"library", host_library},
        {"shipped", host_shipped},
        {"shipped_names", host_shipped_names},
        {"list", host_list},
        {"getenv", host_getenv},
        {"compile", state_compile},
        {"module", host_module},
        {"environment", host_environment},
        {"strict", host_strict},
        {"try", host_try},
        {"odd", host_odd},
        {"detector", host_detector},
        {"judge", host_judge},
        {"herald", host_herald},
        {"given", host_given},
        {"calendar", calendar_new},
        {"at", host_at},
        {"function_at", host_function_at},
        {"mark", host_mark},
    };
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
        lua_pushlightuserdata(L, l);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    state_push_bytecode(L);
    lua_setfield(L, -2, "bytecode");
}

void host_push_module(lua_State *L, const char *name)
{
    state_push_environment(L);
    lua_newtable(L);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, trusted_require, 2);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    lua_remove(L, -2);
}

void host_keep(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&kept_key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void host_push_kept(lua_State *L, const char *name)
{
    lua_pushlightuserdata(L, (void *)&kept_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}
