/* hot.h: a look inside hot states, for tests and diagnosis. Private to the script room. */
#ifndef SCRIPT_HOT_H
#define SCRIPT_HOT_H

#include <lua.h>

struct script_hot;
struct script_picker;
struct state;

/* Lends: as long as hot. */
struct state *hot_state(struct script_hot *hot);
/* The function that C calls for a pick. [-0, +1, -] */
void hot_push_pick(lua_State *L, const struct script_picker *picker);

#endif
