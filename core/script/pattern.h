/* pattern.h: string.find, match, gmatch and gsub that can be stopped. Private to the script room.
 *
 * LuaJIT's own ones are single C calls that no hook interrupts: ("a"):rep(65536):find("a*b") takes
 * seconds. These look at the budget at every step, and otherwise do the same. */
#ifndef SCRIPT_PATTERN_H
#define SCRIPT_PATTERN_H

#include <lauxlib.h>

/* find, match, gmatch, gsub; ends with NULLs. */
extern const luaL_Reg pattern_functions[];

#endif
