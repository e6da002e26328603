/* memory.c: see memory.h.
 *
 * Owns: the keys, and references to the live tables in the registry of their Lua state.
 * Invariants: encoding holds cJSON values, so it neither raises nor allocates in Lua. */
#include "script/memory.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/state.h"
#include "base/ban.h"

enum {
    DEPTH = 16,
    VALUES = 50000,           /* in one state */
    KEY_CHARS = 32,           /* of a key, in errors */
    SAVED_BYTES = 128 * 1024, /* of one, as text; the master keeps no longer ones */
};

struct kept {
    char *key;
    const char *origin; /* lent */
    double version;
    int state; /* registry reference */
};

struct memory {
    const struct cJSON *saved;
    struct kept *kept;
    size_t count;
};

struct memory *memory_new(const struct cJSON *saved)
{
    struct memory *m = mem_new(sizeof(*m));
    m->saved = saved;
    return m;
}

void memory_free(struct memory *m)
{
    for (size_t i = 0; m && i < m->count; i++) {
        mem_free(m->kept[i].key);
    }
    if (m) {
        mem_free(m->kept);
    }
    mem_free(m);
}

/* ---- To JSON ---- */

struct encoding {
    char path[MEMORY_WHY_BYTES / 2];
    size_t values;
    const char *what; /* what is wrong at `path` */
};

static struct cJSON *encode(lua_State *L, struct encoding *e, int index, int depth);

/* Lengthens the path by the key; its length before that. */
static size_t descend(lua_State *L, struct encoding *e, int key)
{
    size_t before = strlen(e->path);
    char *to = e->path + before;
    size_t room = sizeof(e->path) - before;
    if (lua_type(L, key) == LUA_TSTRING) {
        snprintf(to, room, ".%.*s", KEY_CHARS, lua_tostring(L, key));
    } else if (lua_type(L, key) == LUA_TNUMBER) {
        snprintf(to, room, "[%.14g]", lua_tonumber(L, key));
    } else {
        snprintf(to, room, "[a %s]", lua_typename(L, lua_type(L, key)));
    }
    return before;
}

static struct cJSON *number(double value)
{
    if (isfinite(value)) {
        return json_number(value);
    }
    struct cJSON *odd = json_object();
    json_set_str(odd, "#n", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    return odd;
}

/* The value at `index`, or NULL: `e` says what is wrong with it. */
static struct cJSON *plain(lua_State *L, struct encoding *e, int index, int depth)
{
    size_t len;
    int type = lua_type(L, index);
    if (++e->values > VALUES) {
        e->what = "more than 50000 values";
        return NULL;
    }
    if (type == LUA_TNUMBER) {
        return number(lua_tonumber(L, index));
    } else if (type == LUA_TBOOLEAN) {
        return json_boolean(lua_toboolean(L, index));
    } else if (type == LUA_TSTRING) {
        const char *bytes = lua_tolstring(L, index, &len);
        e->what = "a text with a NUL byte";
        return strlen(bytes) == len ? json_string(bytes) : NULL;
    } else if (type == LUA_TTABLE) {
        return encode(L, e, index, depth);
    }
    e->what = type == LUA_TFUNCTION ? "a function"
              : type == LUA_TTHREAD ? "a coroutine"
                                    : "no plain data";
    return NULL;
}

/* What kind of table: how many members, whether they are 1..n, whether they are all words. */
struct shape {
    size_t count;
    bool list, words;
};

static struct shape shape_of(lua_State *L, int index)
{
    struct shape shape = {.words = true};
    double highest = 0;
    bool numbers = true;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        double n = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        const char *word = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "#";
        numbers = numbers && n >= 1 && n == floor(n);
        highest = n > highest ? n : highest;
        /* A '#' in front is ours. */
        shape.words = shape.words && *word != '#' && strlen(word) == lua_objlen(L, -2);
        shape.count++;
    }
    shape.list = shape.count && numbers && highest == (double)shape.count;
    return shape;
}

/* Members as {"#":[key,value,...]}. NULL with what is wrong. */
static struct cJSON *encode_pairs(lua_State *L, struct encoding *e, int index, int depth)
{
    struct cJSON *pairs = json_array();
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        size_t before = descend(L, e, -2);
        struct cJSON *key =
            lua_type(L, -2) == LUA_TTABLE ? NULL : plain(L, e, lua_gettop(L) - 1, depth);
        struct cJSON *value = key ? plain(L, e, lua_gettop(L), depth) : NULL;
        if (!value) {
            e->what = key ? e->what : "keyed by what is no text, number or boolean";
            json_free(key);
            json_free(pairs);
            return NULL;
        }
        json_set(pairs, NULL, key);
        json_set(pairs, NULL, value);
        e->path[before] = '\0';
    }
    struct cJSON *out = json_object();
    json_add(out, "#", pairs);
    return out;
}

static struct cJSON *encode_words(lua_State *L, struct encoding *e, int index, int depth)
{
    struct cJSON *out = json_object();
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        size_t before = descend(L, e, -2);
        struct cJSON *value = plain(L, e, lua_gettop(L), depth);
        if (!value) {
            json_free(out);
            return NULL;
        }
        json_add(out, lua_tostring(L, -2), value);
        e->path[before] = '\0';
    }
    return out;
}

static struct cJSON *encode_list(lua_State *L, struct encoding *e, int index, int depth,
                                 size_t count)
{
    struct cJSON *out = json_array();
    for (size_t i = 1; i <= count; i++) {
        size_t before = strlen(e->path);
        snprintf(e->path + before, sizeof(e->path) - before, "[%zu]", i);
        lua_rawgeti(L, index, (int)i);
        struct cJSON *value = plain(L, e, lua_gettop(L), depth);
        if (!value) {
            json_free(out);
            return NULL;
        }
        json_set(out, NULL, value);
        lua_pop(L, 1);
        e->path[before] = '\0';
    }
    return out;
}

/* The table at `index`. Where it fails the stack is left as it was then: memory_json puts it right. */
static struct cJSON *encode(lua_State *L, struct encoding *e, int index, int depth)
{
    if (depth >= DEPTH || !lua_checkstack(L, 8)) {
        e->what = "nested too deeply";
        return NULL;
    }
    if (lua_getmetatable(L, index)) {
        e->what = "a table with a metatable";
        return NULL;
    }
    struct shape shape = shape_of(L, index);
    if (shape.list) {
        return encode_list(L, e, index, depth + 1, shape.count);
    }
    return shape.words ? encode_words(L, e, index, depth + 1)
                       : encode_pairs(L, e, index, depth + 1);
}

struct cJSON *memory_json(lua_State *L, char why[MEMORY_WHY_BYTES])
{
    struct encoding e = {.path = "state"};
    int top = lua_gettop(L);
    struct cJSON *out = encode(L, &e, top, 0);
    lua_settop(L, top);
    if (!out) {
        snprintf(why, MEMORY_WHY_BYTES, "%s is %s", e.path, e.what);
    }
    return out;
}

/* ---- From JSON ---- */

static double odd_number(const char *name)
{
    return str_same(name, "inf") ? INFINITY : str_same(name, "-inf") ? -INFINITY : NAN;
}

/* [-0, +1, e] */
static void push_saved(lua_State *L, const struct cJSON *saved)
{
    luaL_checkstack(L, 4, "a state is nested too deeply");
    const struct cJSON *pairs = json_get(saved, "#"), *item = json_first(pairs ? pairs : saved);
    const char *odd = json_str(saved, "#n", NULL);
    if (json_kind(saved) != JSON_ARRAY && json_kind(saved) != JSON_OBJECT) {
        state_push_json(L, saved);
    } else if (odd) {
        lua_pushnumber(L, odd_number(odd));
    } else {
        lua_newtable(L);
        for (int i = 1; item; i++, item = json_next(item)) {
            if (pairs) {
                push_saved(L, item);
                item = json_next(item);
            } else if (json_kind(saved) == JSON_ARRAY) {
                lua_pushinteger(L, i);
            } else {
                lua_pushstring(L, json_name(item));
            }
            push_saved(L, item);
            lua_rawset(L, -3);
        }
    }
}

/* ---- Life of a state ---- */

static double version_of(lua_State *L, int module, const char *origin)
{
    lua_getfield(L, module, "state_version");
    double version = lua_isnil(L, -1) ? 1 : lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (!(version >= 1) || version != floor(version)) {
        luaL_error(L, "%s:1: state_version: a whole number from 1 on", origin);
    }
    return version;
}

/* What migrate(old, from) of the module makes of the state on the top. [-1, +1, e] */
static void migrate(lua_State *L, int module, double from, const char *origin)
{
    char why[MEMORY_WHY_BYTES];
    lua_getfield(L, module, "migrate");
    if (!lua_isfunction(L, -1)) {
        lua_pop(L, 2);
        log_info("a policy begins anew: its state is of another version, and it has no migrate",
                 "policy=%s was=%g", origin, from);
        lua_newtable(L);
        return;
    }
    lua_insert(L, -2);
    lua_pushnumber(L, from);
    lua_call(L, 2, 1);
    if (!lua_istable(L, -1)) {
        luaL_error(L, "%s:1: migrate must return the new state, a table, not a %s", origin,
                   luaL_typename(L, -1));
    }
    struct cJSON *json = memory_json(L, why);
    json_free(json);
    if (!json) {
        luaL_error(L, "%s:1: migrate: %s: plain data only", origin, why);
    }
}

void memory_push(lua_State *L, struct memory *m, const char *key, const char *origin)
{
    int module = lua_gettop(L);
    double version = version_of(L, module, origin);
    const struct cJSON *saved = m ? json_get(m->saved, key) : NULL;
    if (json_kind(json_get(saved, "state")) == JSON_NULL) {
        lua_newtable(L);
    } else {
        push_saved(L, json_get(saved, "state"));
        double was = json_num(saved, "version", 0);
        if (!lua_istable(L, -1)) {
            luaL_error(L, "%s:1: the saved state is damaged", origin);
        } else if (was != version) {
            migrate(L, module, was, origin);
        }
    }
    if (m) {
        lua_pushvalue(L, -1);
        int state = luaL_ref(L, LUA_REGISTRYINDEX);
        m->kept = mem_resize(m->kept, (m->count + 1) * sizeof(*m->kept));
        m->kept[m->count++] = (struct kept){mem_copy(key), origin, version, state};
    }
}

void memory_push_part(lua_State *L, int slot, const char *origin)
{
    int module = lua_gettop(L);
    double version = version_of(L, module, origin);
    if (!lua_istable(L, slot)) {
        lua_newtable(L);
        return;
    }
    lua_getfield(L, slot, "version");
    lua_getfield(L, slot, "state");
    double was = lua_tonumber(L, -2);
    lua_remove(L, -2);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    } else if (was != version) {
        migrate(L, module, was, origin);
    }
    lua_pushnumber(L, version);
    lua_setfield(L, slot, "version");
    lua_pushvalue(L, -1);
    lua_setfield(L, slot, "state");
}

struct saving {
    const struct kept *kept;
    struct cJSON *json;
    char why[MEMORY_WHY_BYTES];
};

static int body_save(lua_State *L)
{
    struct saving *saving = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, saving->kept->state);
    saving->json = memory_json(L, saving->why);
    return 0;
}

/* NULL: it was logged why. */
static struct cJSON *save(const struct kept *kept, struct state *s)
{
    struct saving saving = {.kept = kept};
    char *why = NULL;
    int code = state_run(s, body_save, &saving, LIMIT_POLICY_CPU_MS, kept->origin, &why);
    if (code < 0 || !saving.json) {
        log_warn("what a policy keeps cannot be saved: plain data only", "policy=%s why=%s key=%s",
                 kept->origin, why ? why : saving.why, kept->key);
        mem_free(why);
        json_free(saving.json);
        return NULL;
    }
    struct cJSON *saved = json_object();
    json_set_num(saved, "version", kept->version);
    json_set(saved, "state", saving.json);
    char *whole = json_text(saved);
    size_t bytes = strlen(whole);
    mem_free(whole);
    if (bytes > SAVED_BYTES) {
        log_warn("what a policy keeps cannot be saved: it is too large",
                 "policy=%s bytes=%zu most=%d key=%s", kept->origin, bytes, SAVED_BYTES, kept->key);
        json_free(saved);
        return NULL;
    }
    return saved;
}

struct cJSON *memory_save(struct memory *m, struct state *s, size_t *at, size_t most)
{
    struct cJSON *portion = *at < m->count ? json_object() : NULL;
    for (size_t n = 0; n < most && *at < m->count; n++, (*at)++) {
        struct cJSON *saved = save(&m->kept[*at], s);
        if (saved) {
            json_set(portion, m->kept[*at].key, saved);
        }
    }
    return portion;
}
