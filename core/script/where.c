/* where.c: see where.h. */
#include "script/where.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "script/fault.h"
#include "base/ban.h"

enum {
    NEAR = 100 /* levels that are looked at for one of a file */
};

enum {
    LOCALS_BYTES = 240 /* of values that an error is told with */
};

/* How messages call the prelude. */
static const char OURS[] = "tidegate:";

/* How many levels there are. Each look at one walks the stack down to it, so a stack that has overflowed is not
 * looked at level by level. */
static int levels(lua_State *L)
{
    lua_Debug ar;
    int inside = 0, outside = 1;
    while (lua_getstack(L, outside, &ar)) {
        inside = outside;
        outside *= 2;
    }
    while (outside - inside > 1) {
        int middle = inside + (outside - inside) / 2;
        if (lua_getstack(L, middle, &ar)) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    return outside;
}

/* Fills `ret_ar` with the first frame from `level` on, inwards or outwards, that came from a file. */
static bool frame(lua_State *L, int level, int step, lua_Debug *ret_ar)
{
    lua_Debug ar;
    for (int i = 0; i < NEAR && level >= 0 && lua_getstack(L, level, &ar); i++, level += step) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] == '@' && ar.currentline > 0) {
            *ret_ar = ar;
            return true;
        }
    }
    return false;
}

void where_policy(lua_State *L, char *to, size_t size)
{
    lua_Debug ar;
    to[0] = '\0';
    if (frame(L, 0, 1, &ar)) {
        snprintf(to, size, "%s:%d: ", ar.short_src, ar.currentline);
    }
}

void where_function(lua_State *L, char *to, size_t size)
{
    lua_Debug ar;
    to[0] = '\0';
    if (lua_isfunction(L, -1) && !lua_iscfunction(L, -1)) {
        lua_pushvalue(L, -1);
        lua_getinfo(L, ">S", &ar);
        if (ar.source[0] == '@') {
            snprintf(to, size, "%s:%d", ar.short_src, ar.linedefined);
        }
    }
}

bool where_known(const char *text)
{
    const char *at = text;
    while (*at && *at != ':' && *at != '\n') {
        at++;
    }
    if (at == text || *at != ':' || !isdigit((unsigned char)at[1])) {
        return false;
    }
    at++;
    while (isdigit((unsigned char)*at)) {
        at++;
    }
    return *at == ':';
}

/* What was raised instead of a text. [-0, +1, m] */
static void push_raised(lua_State *L)
{
    char value[LOCALS_BYTES];
    bool fields = false;
    if (lua_type(L, 1) == LUA_TTABLE) {
        lua_pushnil(L);
        fields = lua_next(L, 1);
        lua_settop(L, 1);
        (void)fault_value(L, 1, value, sizeof(value));
    }
    if (fields) {
        lua_pushfstring(L, "raised a table, %s: error takes a text, or a table with a message",
                        value);
    } else {
        lua_pushfstring(L, "raised a %s value", luaL_typename(L, 1));
    }
}

int where_handler(lua_State *L)
{
    char where[WHERE_BYTES];
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TTABLE) {
        /* Raw: a metamethod of the policy's would run here without any budget. */
        lua_pushliteral(L, "message");
        lua_rawget(L, 1);
    }
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_tolstring(L, -1, NULL);
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        push_raised(L);
    }
    const char *text = lua_tostring(L, -1);
    if (strncmp(text, OURS, strlen(OURS)) == 0) {
        /* The prelude stumbled over what a policy gave it: its own line helps nobody. */
        text += strlen(OURS);
        text += strspn(text, "0123456789: ");
    }
    const char *remedy = fault_remedy(text);
    char locals[LOCALS_BYTES] = "";
    if (strstr(text, "attempt to ")) {
        fault_locals(L, locals, sizeof(locals));
    }
    if (!where_known(text)) {
        where_policy(L, where, sizeof(where));
        lua_pushfstring(L, "%s%s%s%s", where, text, remedy, locals);
        return 1;
    }
    lua_Debug outer;
    if (*remedy || *locals) {
        lua_pushfstring(L, "%s%s%s", text, remedy, locals);
    } else if (frame(L, levels(L) - 1, -1, &outer) &&
               strncmp(text, outer.short_src, strlen(outer.short_src)) != 0) {
        lua_pushfstring(L, "%s (called from %s:%d)", text, outer.short_src, outer.currentline);
    }
    return 1;
}
