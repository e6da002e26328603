/* sort.h: table.sort that can be stopped. Private to the script room.
 *
 * LuaJIT's own one is a single C call: a million numbers take a quarter of a second, and a list made for it
 * far longer. This one looks at the budget at every comparison, and otherwise does the same. */
#ifndef SCRIPT_SORT_H
#define SCRIPT_SORT_H

#include <lua.h>

/* sort(list, less): a function of Lua. [-2, +0, e] */
int sort_list(lua_State *L);

#endif
