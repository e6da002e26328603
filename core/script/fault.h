/* fault.h: what an error of Lua is told with: a remedy, and the values that the function had. Private to the
 * script room. */
#ifndef SCRIPT_FAULT_H
#define SCRIPT_FAULT_H

#include <lua.h>
#include <stddef.h>

/* What to do about an error that Lua itself raised ("attempt to ..."): ": write ...", or "" when the message says
 * it or is somebody's own. Static storage. */
const char *fault_remedy(const char *text);
/* The locals and parameters of the function that stands in a file and was running: " (here n = 3, s = { up = 2 })",
 * or "". At most some, values shortened, those that look like secrets hidden; read raw. For message handlers. [-0,
 * +0, -] */
void fault_locals(lua_State *L, char *to, size_t size);
/* The value at `index` as people read it: nil, 3, "text", { up = 2 }. Keys are sorted, inner tables left out; runs
 * nothing of anybody's. Returns what snprintf would. [-0, +0, -] */
int fault_value(lua_State *L, int index, char *to, size_t size);

#endif
