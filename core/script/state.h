/* state.h: a sandboxed Lua state. Private to the script room; the only way in.
 *
 * Every entry is one `state_run`: a protected call with a budget of thread CPU time, in which
 * `body` may raise and push as it likes. What goes wrong inside comes back as one sentence with
 * file:line. The stack of the state is the same before and after each run; what must stay lives in the
 * registry.
 *
 * Two kinds: COLD has no JIT, so that a hook set at expiry stops everything. HOT has the JIT, which
 * starts with budget_live, and FFI for the prelude alone. Before it is live it behaves as a cold
 * one.
 *
 * Sandbox: each chunk gets an environment of its own (state_push_environment) holding copies of the
 * allowed libraries; sandbox.lua says which. Absent: io, os, debug, package, ffi, jit, load*,
 * getfenv, setfenv, rawset, newproxy, collectgarbage, string.dump, math.randomseed. Only text chunks
 * are loaded. Nothing shows an address. In a COLD state math.random begins anew with each run, and with each
 * view that is made strict from that view's hash, so that what is decided again comes out the same.
 *
 * A state belongs to the thread that made it, and uses STATE_SIGNAL there (SA_RESTART). A live hot
 * state also owns SIGPROF. Neither signal may be blocked. */
#ifndef SCRIPT_STATE_H
#define SCRIPT_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_SIGNAL (SIGRTMIN + 4)

struct budget;
struct cJSON;
struct state;

enum state_kind {
    STATE_COLD,
    STATE_HOT,
    STATE_KINDS
};

/* Finds the source of a library for `require "name"` (name is like "lib.stats"). 0, or -ENOENT.
 * Called inside Lua: must not raise. Lends the results until the next call. */
typedef int (*state_library_fn)(void *arg, const char *name, const char **ret_origin,
                                const char **ret_source, size_t *ret_len);

/* A state that never holds more than `memory_bytes`. -ENOMEM or -errno with a sentence. */
int state_new(enum state_kind kind, size_t memory_bytes, struct state **ret_state, char **reterr);
void state_free(struct state *s); /* NULL is allowed */
/* Where `require` looks; without it nothing is found. `arg` is lent for the state's life. */
void state_set_libraries(struct state *s, state_library_fn fn, void *arg);

/* Calls body(L) with `arg` as light userdata at index 1, for at most `budget_ms` of this thread's
 * CPU time. 0; or -EINVAL (raised), -ENOMEM (cap reached), -ETIME (budget spent), each with a
 * sentence: "policies/scale/x.lua:3: ..."; `what` stands for the file when no line is known ("not
 * enough memory"). Not re-entrant. Whatever body stored through `arg` before it failed stays the
 * caller's to free. */
int state_run(struct state *s, lua_CFunction body, void *arg, uint32_t budget_ms, const char *what,
              char **reterr);

/* ---- For bodies: Lua functions that may raise --------------------------------------------------
 */

/* The state around L. */
struct state *state_of(lua_State *L);
/* A fresh environment with copies of the allowed libraries, print and require. [-0, +1, e] */
void state_push_environment(lua_State *L);
/* The text chunk `source`, compiled, in the environment on the top; messages call it `origin`. [-1,
 * +1, e] */
void state_push_chunk(lua_State *L, const char *origin, const char *source, size_t len);
/* compile(source, origin, env) -> chunk, or nil and why; a function of Lua that is handed to trusted
 * chunks alone. [-3, +1|2, e] */
int state_compile(lua_State *L);
/* What the chunk returns in a fresh environment: a policy's module table. [-0, +1, e] */
void state_push_module(lua_State *L, const char *origin, const char *source, size_t len);
/* null becomes nil, arrays and objects plain tables. [-0, +1, e] */
void state_push_json(lua_State *L, const struct cJSON *value);
/* Makes the table on the top strict: a missing field that `class` (prelude.lua: "service", "notice") declares
 * is nil, any other raises and names the nearest one. [-0, +0, e] */
void state_make_strict(lua_State *L, const char *class);
/* LuaJIT's functions that look at bytecode; for trusted code, never for a sandbox. [-0, +1, e] */
void state_push_bytecode(lua_State *L);
/* What math.random gives from here on. [-0, +0, e] */
void state_seed(lua_State *L, double seed);
/* A function of prelude.lua by name. [-0, +1, e] */
void state_push_prelude(lua_State *L, const char *name);

/* ---- For the room's own files --------------------------------------------------------------- */

/* Main thread of the state, for the hot call. */
lua_State *state_lua(struct state *s);
struct budget *state_budget(lua_State *L);
/* Throws away what is garbage, after memory ran out in a call. */
void state_collect(struct state *s);
/* What it holds, garbage included. */
size_t state_bytes(const struct state *s);

#endif
