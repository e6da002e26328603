/* calendar.c: see calendar.h. Cron and zone lie in a block of Lua's own, so that nothing is to be freed. */
#include "script/calendar.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>

#include "base/cron.h"
#include "base/zone.h"
#include "base/ban.h"

enum {
    WITHIN_MOST_S = 32 * 86400 /* further back it would take long to look */
};

struct calendar {
    struct cron cron;
    struct zone zone;
};

static int began(lua_State *L)
{
    const struct calendar *c = lua_touserdata(L, lua_upvalueindex(1));
    double at = luaL_checknumber(L, 1), within = luaL_checknumber(L, 2);
    int64_t moment = 0;
    if (!(fabs(at) < 1e11) || !(within >= 0)) {
        return luaL_error(L, "began: expected seconds since 1970, and how far back");
    }
    int64_t now = (int64_t)floor(at);
    int64_t back = within < WITHIN_MOST_S ? (int64_t)ceil(within) : WITHIN_MOST_S;
    if (!cron_last(&c->cron, &c->zone, now - back, now, &moment)) {
        return 0;
    }
    lua_pushnumber(L, (double)moment);
    return 1;
}

static int refuse(lua_State *L, const char *which, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, which);
    lua_pushstring(L, why);
    return 3;
}

int calendar_new(lua_State *L)
{
    const char *cron = luaL_checkstring(L, 1), *zone = luaL_checkstring(L, 2);
    char why[CRON_WHY_BYTES];
    struct calendar *c = lua_newuserdata(L, sizeof(*c));
    if (cron_parse(cron, &c->cron, why) < 0) {
        return refuse(L, "cron", why);
    }
    int code = zone_load(zone, &c->zone);
    if (code < 0) {
        return refuse(
            L, "zone",
            code == -ENOENT   ? "no time zones in /usr/share/zoneinfo: install tzdata, or leave "
                                "it out: UTC"
            : code == -EINVAL ? "no such time zone: expected one such as \"Europe/Berlin\" or "
                                "\"UTC\""
                              : "its file in /usr/share/zoneinfo makes no sense");
    }
    lua_pushcclosure(L, began, 1);
    return 1;
}
