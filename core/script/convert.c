/* convert.c: see convert.h. */
#include "script/convert.h"

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

struct member {
    const char *key; /* lent by the table */
    int type;
    double number;
    const char *text;   /* lent by the table */
    struct cJSON *made; /* owned, of a table */
};

static struct cJSON *table_of(lua_State *L, int index, int depth);

/* The value on the top of the stack, whatever it is. */
static struct member read_top(lua_State *L, const char *key, int depth)
{
    struct member m = {.key = key, .type = lua_type(L, -1)};
    if (m.type == LUA_TNUMBER) {
        m.number = lua_tonumber(L, -1);
    } else if (m.type == LUA_TBOOLEAN) {
        m.number = lua_toboolean(L, -1);
    } else if (m.type == LUA_TSTRING) {
        m.text = lua_tostring(L, -1);
    } else if (m.type == LUA_TTABLE && depth < DEPTH && lua_checkstack(L, 8)) {
        m.made = table_of(L, lua_gettop(L), depth + 1);
    }
    return m;
}

/* Into an object, or into an array when its key is NULL. */
static void put(struct cJSON *container, const struct member *m)
{
    if (m->type == LUA_TNUMBER && isfinite(m->number)) {
        json_set_num(container, m->key, m->number);
    } else if (m->type == LUA_TBOOLEAN) {
        json_set_bool(container, m->key, m->number != 0);
    } else if (m->type == LUA_TSTRING) {
        json_set_str(container, m->key, m->text);
    } else {
        json_set(container, m->key, m->made);
    }
}

/* Whether the table on the top has the raw field __array = true, without making a string. */
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

static struct cJSON *array_of(lua_State *L, int index, int depth)
{
    struct cJSON *array = json_array();
    size_t count = lua_objlen(L, index);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, index, (int)i);
        struct member m = read_top(L, NULL, depth);
        put(array, &m);
        lua_pop(L, 1);
    }
    return array;
}

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
            members[at++] = read_top(L, lua_tostring(L, -2), depth);
        }
        lua_pop(L, 1);
    }
    qsort(members, count, sizeof(*members), by_key);
    struct cJSON *object = json_object();
    for (size_t i = 0; i < count; i++) {
        put(object, &members[i]);
    }
    mem_free(members);
    return object;
}

static struct cJSON *table_of(lua_State *L, int index, int depth)
{
    return is_array(L, index) ? array_of(L, index, depth) : object_of(L, index, depth);
}

struct cJSON *convert_to_json(lua_State *L, int index)
{
    return table_of(L, index < 0 ? lua_gettop(L) + index + 1 : index, 0);
}
