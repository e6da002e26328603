/* convert.h: Lua values as JSON. Private to script/. */
#ifndef SCRIPT_CONVERT_H
#define SCRIPT_CONVERT_H

#include <lua.h>

struct cJSON;

/* The table at `index` as JSON, owned by the caller. Reads raw, never raises and allocates nothing
 * in Lua. A table is an array when it has an item 1 or a metatable with the raw field __array =
 * true, else an object; functions, userdata and what is nested deeper than 32 become null. [-0, +0,
 * -] */
struct cJSON *convert_to_json(lua_State *L, int index);

#endif
