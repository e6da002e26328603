/* detector.c: see detector.h. */
#include "script/detector.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/detect.h"
#include "base/mem.h"
#include "base/ban.h"

struct series {
    struct detect_settings settings;
    struct detect state;
};

/* Registry key of the metatable: this address, so that no policy can name it. */
static const char series_key;

static struct series *series_at(lua_State *L, int index)
{
    struct series *series = lua_touserdata(L, index);
    if (!series || lua_islightuserdata(L, index) || !lua_getmetatable(L, index)) {
        return NULL;
    }
    lua_pushlightuserdata(L, (void *)&series_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? series : NULL;
}

/* series:push(at, value) -> score, view, usual */
static int series_push(lua_State *L)
{
    struct series *series = series_at(L, 1);
    luaL_argcheck(L, series, 1, "expected a series of detector.record");
    enum detect_view view = DETECT_LEVEL;
    double usual = detect_usual(&series->state), value = luaL_checknumber(L, 3);
    lua_pushnumber(
        L, detect_push(&series->state, &series->settings, luaL_checknumber(L, 2), value, &view));
    lua_pushstring(L, detect_view_name(view));
    lua_pushnumber(L, usual == usual ? usual : value);
    return 3;
}

static void read_number(lua_State *L, const char *name, double *to)
{
    lua_getfield(L, 1, name);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0)) {
            luaL_error(L, "detector.record: %s: expected a number, 0 or more", name);
        }
        *to = lua_tonumber(L, -1);
    }
    lua_pop(L, 1);
}

static void read_views(lua_State *L, struct detect_settings *s)
{
    lua_getfield(L, 1, "direction");
    const char *direction = lua_isnil(L, -1) ? "both" : lua_tostring(L, -1);
    if (direction && !strcmp(direction, "up")) {
        s->directions = DETECT_UP;
    } else if (direction && !strcmp(direction, "down")) {
        s->directions = DETECT_DOWN;
    } else if (!direction || strcmp(direction, "both") != 0) {
        luaL_error(L, "detector.record: direction: expected \"up\", \"down\" or \"both\"");
    }
    lua_getfield(L, 1, "stuck");
    if (!lua_isnil(L, -1) && !lua_toboolean(L, -1)) {
        s->views &= ~(1u << DETECT_STUCK);
    }
    lua_pop(L, 2);
}

/* detector.record(settings) -> series */
static int detector_record(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct series *series = lua_newuserdata(L, sizeof(*series));
    struct detect_settings *s = &series->settings;
    detect_defaults(s);
    detect_init(&series->state);
    const struct {
        const char *name;
        double *to;
    } numbers[] = {
        {"half_life_points", &s->half_life_points},
        {"half_life_s", &s->half_life_s},
        {"warm_up", &s->warm_up},
        {"rest_points", &s->rest_points},
        {"rest_share", &s->rest_share},
        {"rest_most", &s->rest_most},
        {"again", &s->again},
        {"strictness", &s->strictness},
        {"least_effect", &s->least_effect},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        read_number(L, numbers[i].name, numbers[i].to);
    }
    if (!(s->half_life_points >= 1) || !(s->half_life_s > 0) || !(s->strictness > 0)) {
        return luaL_error(L, "detector.record: half-lives and strictness must be more than 0");
    }
    read_views(L, s);
    lua_pushlightuserdata(L, (void *)&series_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, 2);
    return 1;
}

void detector_push(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&series_key);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushcfunction(L, series_push);
    lua_setfield(L, -2, "push");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushlightuserdata(L, (void *)&series_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_rawset(L, LUA_REGISTRYINDEX);
    } else {
        lua_pop(L, 3); /* the first one stays: series know theirs by it */
    }
    lua_newtable(L);
    lua_pushcfunction(L, detector_record);
    lua_setfield(L, -2, "record");
}

char *detector_save(lua_State *L, int index)
{
    const struct series *series = series_at(L, index);
    if (!series) {
        return NULL;
    }
    char text[DETECT_TEXT_BYTES];
    return mem_copy_bytes(text, detect_save(&series->state, text));
}

int detector_restore(lua_State *L, int index, const char *text)
{
    struct series *series = series_at(L, index);
    return series ? detect_restore(text, &series->state) : -EINVAL;
}
