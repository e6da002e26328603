/* state.c: see state.h.
 *
 * Owns: the Lua state, its memory account, the prelude's functions (in the registry).
 * Called by: cold.c, hot.c and the loader.
 * Invariants: nothing is pushed outside a protected call; the account equals what the state holds.
 * Does not: know configurations or kinds of policies. */
#include "script/state.h"

#include <errno.h>
#include <luajit.h>
#include <lualib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/budget.h"
#include "script/pattern.h"
#include "script/script.h"
#include "script/shipped.h"
#include "script/calendar.h"
#include "script/sort.h"
#include "script/where.h"
#include "base/ban.h"

enum {
    GROWTH_BYTES = 64 << 10,
    PRINTS_PER_S = 10,
    LOAD_BUDGET_MS = 2000
};

struct state {
    lua_State *L;
    enum state_kind kind;
    lua_Alloc inner; /* LuaJIT's own allocator, faster than malloc */
    void *inner_arg;
    size_t bytes, cap;
    size_t crowded; /* from so many bytes on, garbage is thrown away behind a call */
    struct budget budget;
    state_library_fn library;
    void *library_arg;
    struct log_limit prints;
    bool made, running;
};

/* Registry key of the prelude's table: this address. */
static const char prelude_key;

/* A block that grows may pass the cap by a little: LuaJIT 2.1 beta 3 can crash when a stack cannot grow as a function
 * begins (its unwinder finds the error's text where a frame should be). What is asked for anew next fails then. */
static void *allocate(void *arg, void *ptr, size_t old_size, size_t new_size)
{
    struct state *s = arg;
    size_t after = s->bytes - old_size + new_size;
    if (new_size > old_size && after > s->cap && (!ptr || after - s->cap > GROWTH_BYTES)) {
        return NULL;
    }
    void *made = s->inner(s->inner_arg, ptr, old_size, new_size);
    if (made || new_size == 0) {
        s->bytes = s->bytes - old_size + new_size;
    }
    return made;
}

static int on_panic(lua_State *L)
{
    (void)L;
    must(!"Lua error outside a protected call");
    return 0;
}

struct state *state_of(lua_State *L)
{
    void *s = NULL;
    lua_getallocf(L, &s);
    return s;
}

struct budget *state_budget(lua_State *L)
{
    return &state_of(L)->budget;
}

lua_State *state_lua(struct state *s)
{
    return s->L;
}

/* The trusted chunk of a shipped file of this room. [-0, +1, e] */
static void push_own(lua_State *L, const char *name)
{
    const struct shipped_file *file = shipped_find(name);
    must(file);
    if (luaL_loadbufferx(L, file->source, file->len, "=tidegate", "t") != 0) {
        lua_error(L);
    }
}

/* The same as one line: without comments and line ends. [-0, +1, e] */
static void push_own_line(lua_State *L, const char *name)
{
    const struct shipped_file *file = shipped_find(name);
    luaL_Buffer b;
    must(file);
    luaL_buffinit(L, &b);
    for (const char *at = file->source; *at;) {
        if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else {
            luaL_addchar(&b, *at == '\n' ? ' ' : *at);
            at++;
        }
    }
    luaL_pushresult(&b);
    if (luaL_loadbufferx(L, lua_tostring(L, -1), lua_objlen(L, -1), "=tidegate", "t") != 0) {
        lua_error(L);
    }
    lua_remove(L, -2);
}

/* host.own(name, line) -> chunk */
static int host_own(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (lua_toboolean(L, 2)) {
        push_own_line(L, name);
    } else {
        push_own(L, name);
    }
    return 1;
}

/* host.print(text) */
static int host_print(lua_State *L)
{
    struct state *s = state_of(L);
    unsigned skipped;
    if (log_allowed(&s->prints, PRINTS_PER_S, &skipped)) {
        char where[WHERE_BYTES];
        where_policy(L, where, sizeof(where));
        size_t len = strlen(where);
        where[len > 2 ? len - 2 : 0] = '\0'; /* "file:line: " */
        log_info("policy printed", "at=%s text=%s skipped=%u", where, luaL_checkstring(L, 1),
                 skipped);
    }
    return 0;
}

/* host.depth(): raises when C's stack is nearly used up. */
static int host_depth(lua_State *L)
{
    budget_depth(state_budget(L), L);
    return 0;
}

/* A text chunk in the environment at `env`: the chunk, or nil and why, on the top. Returns how many these
 * are; leaves its name below. [-0, +2|3, e] */
static int compile(lua_State *L, const char *origin, const char *source, size_t len, int env)
{
    lua_pushfstring(L, "@%s", origin);
    int status = luaL_loadbufferx(L, source, len, lua_tostring(L, -1), "t");
    if (status == LUA_ERRMEM) {
        lua_error(L); /* says nothing of the text */
    }
    if (status != 0) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushvalue(L, env);
    lua_setfenv(L, -2);
    return 1;
}

int state_compile(lua_State *L)
{
    size_t len = 0;
    const char *source = luaL_checklstring(L, 1, &len);
    luaL_checktype(L, 3, LUA_TTABLE);
    return compile(L, luaL_checkstring(L, 2), source, len, 3);
}

/* host.library(name, env) -> chunk, or nil and why */
static int host_library(lua_State *L)
{
    struct state *s = state_of(L);
    const char *name = luaL_checkstring(L, 1), *origin, *source;
    size_t len;
    luaL_checktype(L, 2, LUA_TTABLE);
    if (!s->library || s->library(s->library_arg, name, &origin, &source, &len) < 0) {
        lua_pushnil(L);
        lua_pushfstring(
            L, "no library \"%s\": libraries are files of policies/, such as \"lib.stats\"", name);
        return 2;
    }
    return compile(L, origin, source, len, 2);
}

/* Opens a standard library, leaving nothing. [-0, +0, e] */
static void open(lua_State *L, lua_CFunction opener)
{
    lua_pushcfunction(L, opener);
    lua_call(L, 0, 0);
}

static void set_number(lua_State *L, const char *name, size_t number)
{
    lua_pushnumber(L, (lua_Number)number);
    lua_setfield(L, -2, name);
}

/* The table `host` of prelude.lua. [-0, +1, e] */
static void push_host(lua_State *L, enum state_kind kind)
{
    static const char *const parts[] = {"string", "table", "math", "bit", "coroutine"};
    static const luaL_Reg functions[] = {{"own", host_own},          {"compile", state_compile},
                                         {"print", host_print},      {"depth", host_depth},
                                         {"library", host_library},  {"sort", sort_list},
                                         {"calendar", calendar_new}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    luaL_register(L, NULL, pattern_functions);
    push_own(L, "script/nearest");
    lua_setfield(L, -2, "nearest");
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        lua_getglobal(L, parts[i]);
        lua_setfield(L, -2, parts[i]);
    }
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_setfield(L, -2, "base");
    lua_setfield(L, -2, "libraries");
    if (kind == STATE_HOT) {
        lua_pushcfunction(L, luaopen_ffi);
        lua_call(L, 0, 1);
        lua_setfield(L, -2, "ffi");
        state_push_bytecode(L);
        lua_getfield(L, -1, "funcbc");
        lua_setfield(L, -3, "funcbc");
        lua_pop(L, 1);
        set_number(L, "backend_bytes", sizeof(struct script_backend));
        set_number(L, "request_bytes", sizeof(struct script_request));
        set_number(L, "head_bytes", sizeof(struct script_head));
    }
}

/* A picker takes up to ten traces; past LuaJIT's own 1000 all are thrown away, again and again.
 * Measured with 200 pickers in turn: 720 ns a pick before, 65 ns now. [-0, +0, e] */
static void make_room_for_traces(lua_State *L)
{
    lua_getglobal(L, "jit");
    lua_getfield(L, -1, "opt");
    lua_getfield(L, -1, "start");
    lua_pushliteral(L, "maxtrace=16000");
    lua_pushliteral(L, "maxmcode=32768"); /* kB */
    lua_call(L, 2, 0);
    lua_settop(L, 0);
}

/* Body: libraries and prelude; afterwards the globals are empty. */
static int body_open(lua_State *L)
{
    enum state_kind kind = state_of(L)->kind;
    lua_settop(L, 0);
    open(L, luaopen_base);
    open(L, luaopen_table);
    open(L, luaopen_string);
    open(L, luaopen_math);
    open(L, luaopen_bit);
    open(L, luaopen_jit); /* switched off below; its view of bytecode is for trusted code alone */
    if (kind == STATE_HOT) {
        make_room_for_traces(L);
    }
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    push_own(L, "script/prelude");
    push_host(L, kind);
    lua_call(L, 1, 1);
    lua_pushlightuserdata(L, (void *)&prelude_key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_pushnil(L);
    while (lua_next(L, LUA_GLOBALSINDEX)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, LUA_GLOBALSINDEX);
    }
    return 0;
}

int state_new(enum state_kind kind, size_t memory_bytes, struct state **ret_state, char **reterr)
{
    struct state *s = mem_new(sizeof(*s));
    s->kind = kind;
    s->cap = SIZE_MAX;
    int code = -ENOMEM;
    s->L = luaL_newstate();
    if (!s->L) {
        *reterr = mem_copy("no memory for a Lua state");
        goto out;
    }
    lua_atpanic(s->L, on_panic);
    code = budget_open(&s->budget, s->L);
    if (code < 0) {
        *reterr = mem_printf("a timer of CPU time: %s", err_text(code));
        lua_close(s->L);
        goto out;
    }
    s->inner = lua_getallocf(s->L, &s->inner_arg);
    s->bytes = (size_t)lua_gc(s->L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(s->L, LUA_GCCOUNTB, 0);
    lua_setallocf(s->L, allocate, s);
    code = state_run(s, body_open, NULL, LOAD_BUDGET_MS, "prelude", reterr);
    if (code < 0) {
        budget_close(&s->budget);
        lua_setallocf(s->L, s->inner, s->inner_arg);
        if (kind !=
            STATE_HOT) { /* lua_close crashes on an ffi that was opened by half: rather leave it */
            lua_close(s->L);
        }
        goto out;
    }
    s->made = true;
    s->cap = memory_bytes;
    s->crowded = memory_bytes - memory_bytes / 4;
    *ret_state = s;
    return 0;
out:
    mem_free(s);
    return code;
}

void state_free(struct state *s)
{
    if (!s) {
        return;
    }
    budget_close(&s->budget);
    /* lua_close knows the built-in allocator only by its address. */
    lua_setallocf(s->L, s->inner, s->inner_arg);
    lua_close(s->L);
    mem_free(s);
}

void state_set_libraries(struct state *s, state_library_fn fn, void *arg)
{
    s->library = fn;
    s->library_arg = arg;
}

static int body_collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

void state_collect(struct state *s)
{
    size_t cap = s->cap;
    int top = lua_gettop(s->L);
    s->cap = SIZE_MAX; /* the collector needs some itself */
    (void)lua_cpcall(s->L, body_collect, NULL);
    lua_settop(s->L, top);
    s->cap = cap;
    size_t most = cap - cap / 4, halfway = s->bytes < cap ? s->bytes + (cap - s->bytes) / 2 : cap;
    s->crowded = halfway > most ? halfway : most;
}

size_t state_bytes(const struct state *s)
{
    return s->bytes;
}

struct run {
    lua_CFunction body;
    void *arg;
    bool seeded; /* math.random begins anew */
    int status;
    char *text; /* of the error; owned */
};

static int trampoline(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    if (run->seeded) {
        state_seed(L, 0);
    }
    lua_pushcfunction(L, where_handler);
    lua_pushcfunction(L, run->body);
    lua_pushlightuserdata(L, run->arg);
    run->status = lua_pcall(L, 1, 0, -3);
    if (run->status && lua_type(L, -1) == LUA_TSTRING) {
        run->text = mem_copy(lua_tostring(L, -1));
    }
    return 0;
}

int state_run(struct state *s, lua_CFunction body, void *arg, uint32_t budget_ms, const char *what,
              char **reterr)
{
    must(!s->running);
    struct run run = {.body = body, .arg = arg, .seeded = s->kind == STATE_COLD && s->made};
    int top = lua_gettop(s->L);
    s->running = true;
    budget_start(&s->budget, budget_ms);
    int outer = lua_cpcall(s->L, trampoline, &run);
    bool expired = budget_stop(&s->budget);
    s->running = false;
    lua_settop(s->L, top);
    int status = outer ? outer : run.status;
    if (status == LUA_ERRMEM || (s->made && s->bytes > s->crowded)) {
        state_collect(s); /* memory that ran out may have been swallowed, as by pcall */
    }
    if (status == 0) {
        return 0;
    }
    if (status == LUA_ERRMEM) {
        *reterr = mem_printf("%s: not enough memory: a state may hold %zu MiB", what, s->cap >> 20);
    } else if (run.text && where_known(run.text)) {
        *reterr = mem_copy(run.text);
    } else {
        *reterr = mem_printf("%s: %s", what, run.text ? run.text : "failed");
    }
    mem_free(run.text);
    return status == LUA_ERRMEM ? -ENOMEM : expired ? -ETIME : -EINVAL;
}

void state_push_prelude(lua_State *L, const char *name)
{
    lua_pushlightuserdata(L, (void *)&prelude_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

void state_push_bytecode(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
    lua_getfield(L, -1, "jit.util");
    lua_call(L, 0, 1);
    lua_remove(L, -2);
}

void state_push_environment(lua_State *L)
{
    state_push_prelude(L, "environment");
    lua_call(L, 0, 1);
}

void state_push_chunk(lua_State *L, const char *origin, const char *source, size_t len)
{
    int env = lua_gettop(L);
    if (compile(L, origin, source, len, env) != 1) {
        lua_error(L);
    }
    lua_replace(L, env);
    lua_settop(L, env);
}

void state_push_module(lua_State *L, const char *origin, const char *source, size_t len)
{
    state_push_environment(L);
    state_push_chunk(L, origin, source, len);
    lua_call(L, 0, 1);
}

/* Members or items of a container into a table. [-0, +1, e] */
static void push_items(lua_State *L, const struct cJSON *container, bool named)
{
    int index = 0;
    lua_newtable(L);
    for (const struct cJSON *item = json_first(container); item; item = json_next(item)) {
        if (named) {
            lua_pushstring(L, json_name(item));
        } else {
            lua_pushinteger(L, ++index);
        }
        state_push_json(L, item);
        lua_rawset(L, -3);
    }
}

void state_push_json(lua_State *L, const struct cJSON *value)
{
    luaL_checkstack(L, 4, "JSON is nested too deeply");
    switch (json_kind(value)) {
    case JSON_BOOL:
        lua_pushboolean(L, json_value_bool(value, false));
        break;
    case JSON_NUMBER:
        lua_pushnumber(L, json_value_num(value, 0));
        break;
    case JSON_STRING:
        lua_pushstring(L, json_value_str(value, ""));
        break;
    case JSON_ARRAY:
        push_items(L, value, false);
        break;
    case JSON_OBJECT:
        push_items(L, value, true);
        break;
    case JSON_NULL:
    case JSON_KINDS:
        lua_pushnil(L);
        break;
    }
}

void state_seed(lua_State *L, double seed)
{
    state_push_prelude(L, "seed");
    lua_pushnumber(L, seed);
    lua_call(L, 1, 0);
}

void state_make_strict(lua_State *L, const char *class)
{
    state_push_prelude(L, "strict");
    lua_pushvalue(L, -2);
    lua_pushstring(L, class);
    lua_call(L, 2, 0);
}
