/* convert.c: see convert.h. */
#include "script/convert.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/ban.h"

enum {
    DEPTH = 32
};

static struct cJSON *value_of(lua_State *L, int index, int depth);

/* The raw field of the table on the top is true, looked up without making a string. */
static bool marked(lua_State *L)
{
    bool found = false;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) == LUA_TSTRING && !strcmp(lua_tostring(L, -2), "__array")) {
            found = lua_toboolean(L, -1);
        }
        lua_pop(L, 1);
    }
    return found;
}

static bool is_array(lua_State *L, int index)
{
    lua_rawgeti(L, index, 1);
    bool array = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!array && lua_getmetatable(L, index)) {
        array = marked(L);
        lua_pop(L, 1);
    }
    return array;
}

struct member {
    const char *key; /* lent by the table */
    struct cJSON *value;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

/* Members in the order of their names, so that equal tables give equal text. */
static struct cJSON *object_of(lua_State *L, int index, int depth)
{
    size_t count = 0, at = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        count += lua_type(L, -2) == LUA_TSTRING;
        lua_pop(L, 1);
    }
    struct member *members = mem_array(count + 1, sizeof(*members));
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            members[at].key = lua_tostring(L, -2);
            members[at++].value = value_of(L, lua_gettop(L), depth);
        }
        lua_pop(L, 1);
    }
    qsort(members, count, sizeof(*members), by_key);
    struct cJSON *object = json_object();
    for (size_t i = 0; i < count; i++) {
        json_set(object, members[i].key, members[i].value);
    }
    mem_free(members);
    return object;
}

static struct cJSON *table_of(lua_State *L, int index, int depth)
{
    if (is_array(L, index)) {
        struct cJSON *array = json_array();
        size_t count = lua_objlen(L, index);
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(L, index, (int)i);
            json_set(array, NULL, value_of(L, lua_gettop(L), depth));
            lua_pop(L, 1);
        }
        return array;
    }
    return object_of(L, index, depth);
}

static struct cJSON *value_of(lua_State *L, int index, int depth)
{
    if (depth > DEPTH || !lua_checkstack(L, 8)) {
        return cJSON_CreateNull();
    }
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        return cJSON_CreateBool(lua_toboolean(L, index));
    case LUA_TNUMBER: {
        double number = lua_tonumber(L, index);
        return isfinite(number) ? cJSON_CreateNumber(number) : cJSON_CreateNull();
    }
    case LUA_TSTRING:
        return cJSON_CreateString(lua_tostring(L, index));
    case LUA_TTABLE:
        return table_of(L, index, depth + 1);
    default:
        return cJSON_CreateNull();
    }
}

struct cJSON *convert_to_json(lua_State *L, int index)
{
    return value_of(L, index < 0 ? lua_gettop(L) + index + 1 : index, 0);
}
