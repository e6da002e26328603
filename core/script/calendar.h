/* calendar.h: moments of schedules, for policies. Private to the script room. */
#ifndef SCRIPT_CALENDAR_H
#define SCRIPT_CALENDAR_H

#include <lua.h>

/* calendar(cron, zone) -> began, or nil, "cron" | "zone" and why: a function of Lua. began(at, within) is the last
 * such moment of the `within` seconds until `at`, in seconds since 1970, or nil. [-2, +1, m] */
int calendar_new(lua_State *L);

#endif
