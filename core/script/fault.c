/* fault.c: see fault.h. Allocates nothing, since memory may be what there is none of. */
#include "script/fault.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"

enum {
    TEXT_MOST = 40, /* bytes of a text */
    KEYS_MOST = 48, /* of a table are looked at */
    KEYS_SHOWN = 8,
    LOCALS_MOST = 8
};

const char *fault_remedy(const char *text)
{
    static const struct {
        const char *says, *also, *remedy;
    } REMEDIES[] = {
        {"attempt to call method", "",
         ": a field is read with a dot, only functions are called with a colon"},
        {"attempt to call", "nil value", ": there is no function of that name"},
        {"attempt to call", "", ": it is not a function"},
        {"attempt to index", "nil value", ": look first whether it is there"},
        {"attempt to index", "number value", ": a number has no fields"},
        {"attempt to index", "string value", ": a text has no such field"},
        {"attempt to perform arithmetic", "nil value",
         ": what is not known is nil: write (x or 0), or answer nil for no opinion"},
        {"attempt to perform arithmetic", "", ": make it a number first, with tonumber(x)"},
        {"attempt to concatenate", "nil value", ": what is not known is nil: write tostring(x)"},
        {"attempt to concatenate", "", ": write tostring(x)"},
        {"attempt to compare", "nil", ": what is not known is nil: write (x or 0), or look first"},
        {"attempt to compare", "", ": both must be numbers: tonumber(x)"},
        {"stack overflow", "", ": does a function call itself without an end?"},
    };
    for (size_t i = 0; i < sizeof(REMEDIES) / sizeof(*REMEDIES); i++) {
        const char *at = strstr(text, REMEDIES[i].says);
        if (at && strstr(at, REMEDIES[i].also)) {
            return REMEDIES[i].remedy;
        }
    }
    return "";
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool looks_secret(const char *name)
{
    static const char *const WORDS[] = {"secret", "password", "token", "credential"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(*WORDS); i++) {
        if (strstr(name, WORDS[i])) {
            return true;
        }
    }
    return false;
}

static size_t limited(int written, size_t room)
{
    return written < 0 ? 0 : (size_t)written < room ? (size_t)written : room;
}

/* Anything but a table. [-0, +0, -] */
static int scalar(lua_State *L, int index, char *to, size_t size)
{
    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        return snprintf(to, size, "%.6g", lua_tonumber(L, index));
    case LUA_TBOOLEAN:
        return snprintf(to, size, "%s", lua_toboolean(L, index) ? "true" : "false");
    case LUA_TSTRING:
        return snprintf(to, size, "\"%.*s%s\"", TEXT_MOST, lua_tostring(L, index),
                        lua_objlen(L, index) > TEXT_MOST ? "..." : "");
    case LUA_TNIL:
        return snprintf(to, size, "nil");
    default:
        return snprintf(to, size, "a %s", luaL_typename(L, index));
    }
}

/* Names of fields with plain values, sorted; *ret_more: there are others. [-0, +0, -] */
static size_t keys_of(lua_State *L, int index, const char **ret_keys, bool *ret_more)
{
    size_t count = 0;
    *ret_more = false;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        bool plain = lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) != LUA_TTABLE &&
                     lua_type(L, -1) != LUA_TFUNCTION;
        if (plain && count < KEYS_MOST) {
            ret_keys[count++] = lua_tostring(L, -2); /* lives as long as the table has it */
        } else {
            *ret_more = true;
        }
        lua_pop(L, 1);
    }
    qsort(ret_keys, count, sizeof(*ret_keys), by_text);
    return count;
}

static int table_value(lua_State *L, int index, char *to, size_t size)
{
    const char *keys[KEYS_MOST] = {0};
    bool more;
    size_t count = keys_of(L, index, keys, &more), len = 0;
    if (!count) {
        return snprintf(to, size, more ? "a table" : "{}");
    }
    len += limited(snprintf(to, size, "{ "), size);
    for (size_t i = 0; i < count && i < KEYS_SHOWN; i++) {
        len +=
            limited(snprintf(to + len, size - len, "%s%s = ", i ? ", " : "", keys[i]), size - len);
        lua_pushstring(L, keys[i]);
        lua_rawget(L, index);
        len += limited(looks_secret(keys[i]) ? snprintf(to + len, size - len, "***")
                                             : scalar(L, -1, to + len, size - len),
                       size - len);
        lua_pop(L, 1);
    }
    len += limited(snprintf(to + len, size - len, more || count > KEYS_SHOWN ? ", ... }" : " }"),
                   size - len);
    return (int)len;
}

int fault_value(lua_State *L, int index, char *to, size_t size)
{
    index = index < 0 ? lua_gettop(L) + index + 1 : index;
    if (!lua_checkstack(L, 4)) {
        return snprintf(to, size, "a %s", luaL_typename(L, index));
    }
    return lua_type(L, index) == LUA_TTABLE ? table_value(L, index, to, size)
                                            : scalar(L, index, to, size);
}

/* The innermost function that came from a file. */
static bool running(lua_State *L, lua_Debug *ret_ar)
{
    for (int level = 0; lua_getstack(L, level, ret_ar); level++) {
        lua_getinfo(L, "Sl", ret_ar);
        if (ret_ar->source[0] == '@' && ret_ar->currentline > 0) {
            return true;
        }
    }
    return false;
}

void fault_locals(lua_State *L, char *to, size_t size)
{
    lua_Debug ar;
    size_t len = 0;
    const char *name;
    to[0] = '\0';
    if (!lua_checkstack(L, 6) || !running(L, &ar)) {
        return;
    }
    int shown = 0;
    for (int i = 1; shown < LOCALS_MOST && (name = lua_getlocal(L, &ar, i)); i++) {
        if (name[0] != '(' && lua_type(L, -1) != LUA_TFUNCTION) {
            len +=
                limited(snprintf(to + len, size - len, "%s%s = ", shown++ ? ", " : " (here ", name),
                        size - len);
            len += limited(looks_secret(name) ? snprintf(to + len, size - len, "***")
                                              : fault_value(L, -1, to + len, size - len),
                           size - len);
        }
        lua_pop(L, 1);
    }
    if (shown) {
        (void)snprintf(to + len, size - len, ")");
    }
}
