/* version.c: which LuaJIT is loaded; see script.h. */
#include "script/script.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

#include "base/str.h"
#include "base/ban.h"

struct place {
    char *to;
    size_t size;
};

static int body_version(lua_State *L)
{
    struct place *place = lua_touserdata(L, 1);
    lua_pushcfunction(L, luaopen_jit);
    lua_call(L, 0, 0);
    lua_getglobal(L, "jit");
    lua_getfield(L, -1, "version");
    (void)str_copy(place->to, place->size, luaL_checkstring(L, -1));
    return 0;
}

void script_lua_version(char *to, size_t size)
{
    struct place place = {to, size};
    lua_State *L = luaL_newstate();
    (void)str_copy(to, size, "LuaJIT of an unknown version");
    if (L) {
        (void)lua_cpcall(L, body_version, &place);
        lua_close(L);
    }
}
