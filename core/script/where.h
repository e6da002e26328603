/* where.h: file and line of what Lua is doing. Private to the script room. */
#ifndef SCRIPT_WHERE_H
#define SCRIPT_WHERE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* LUA_IDSIZE of a source name, a line number, and ": ". */
enum {
    WHERE_BYTES = 96
};

/* "policies/scale/x.lua:3: " of the innermost running function that came from a file (not the
 * prelude, not C), or "". `size` is WHERE_BYTES. Allocates nothing. [-0, +0, -] */
void where_policy(lua_State *L, char *to, size_t size);
/* "policies/scale/x.lua:8" where the Lua function on the top was written; any other value: "". [-0,
 * +0, -] */
void where_function(lua_State *L, char *to, size_t size);
/* Whether the text begins as "some/file.lua:12:". */
bool where_known(const char *text);
/* The message handler: makes the error at index 1 a sentence that begins with file:line when any is
 * known, reading objects raw. [-1, +1, m] */
int where_handler(lua_State *L);

#endif
