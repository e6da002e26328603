/* memory.h: what policies keep from call to call, over reloads and restarts. Private to the script room.
 *
 * new(params, state) of a policy gets a table that is its own. It may put plain data into it: booleans, numbers,
 * strings and tables of these, no deeper than 16. The table itself is what the policy works on, nothing is copied
 * in a call; it is copied out when it is asked for (memory_save), and given to the next instance under the
 * same key. A module says `state_version` (1 when it does not); when that differs from the saved one,
 * its migrate(old, from) makes the new state, and without one the policy begins anew.
 *
 * SAVED, under a key such as "scale:error_budget|catalog|": {"version":1,"state":S}. S is an array for 1..n, an object
 * for words; any other table is {"#":[key,value,...]}, and a number that JSON has not is {"#n":"inf"|"-inf"|"nan"}. */
#ifndef SCRIPT_MEMORY_H
#define SCRIPT_MEMORY_H

#include <lua.h>
#include <stddef.h>

struct cJSON;
struct memory;
struct state;

enum {
    MEMORY_WHY_BYTES = 256
};

/* For the instances of one Lua state. `saved` (may be NULL) is {KEY: SAVED}, lent until all are made. */
struct memory *memory_new(const struct cJSON *saved);
void memory_free(struct memory *m); /* NULL is allowed */

/* The state for a new instance of the policy whose module is on the top; `origin` is lent for the life of `m`.
 * Raises what migrate raises. `m` NULL: an empty table that is not kept. [-0, +1, e] */
void memory_push(lua_State *L, struct memory *m, const char *key, const char *origin);
/* The state of a policy that stands among another's parameters, in the other's own: the module is on the top, `slot` is
 * {version=1,state={...}}, an empty table or no table. Raises what migrate raises. [-0, +1, e] */
void memory_push_part(lua_State *L, int slot, const char *origin);
/* {KEY: SAVED} of at most `most` of them from *at on (begin with 0), or NULL behind the last. One that cannot be
 * saved is logged with its place and left out. The caller owns it. */
struct cJSON *memory_save(struct memory *m, struct state *s, size_t *at, size_t most);

/* S of the table on the top, owned; NULL with a sentence part such as "state.history[3] is a function". Never raises.
 * [-0, +0, -] */
struct cJSON *memory_json(lua_State *L, char why[MEMORY_WHY_BYTES]);

#endif
