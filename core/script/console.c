/* console.c: see console.h.
 *
 * Owns: a COLD state, the functions that console.lua returned (in the registry), and a `struct load`, whose host
 * functions find libraries and run the examples of drafts. Called by: `tidegate repl`. Invariants: what a host
 * function must free hangs on the console, so that an error of Lua loses nothing. Does not: read or write
 * terminals, nor know how a daemon is reached. */
#include "script/console.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/budget.h"
#include "script/convert.h"
#include "script/host.h"
#include "script/policy.h"
#include "script/state.h"
#include "base/ban.h"

enum {
    COMPLETE_MS = 100,
    MEMORY_BYTES = 2 * LIMIT_POLICY_MEMORY_BYTES /* the snapshot beside what is typed */
};

struct script_console {
    struct script_console_options options;
    struct state *state;
    struct load load;
    struct cJSON *libraries; /* {"libraries": [...]} of the configuration */
    /* Of the host function under way. */
    struct cJSON *request, *answer;
    struct buf file;
    char *path;
};

static void clear(struct script_console *c)
{
    json_free(c->request);
    json_free(c->answer);
    c->request = c->answer = NULL;
    mem_release(&c->path);
    buf_clear(&c->file);
}

static struct script_console *console_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- Host functions ------------------------------------------------------------------------- */

/* host.emit(text) */
static int host_emit(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    const struct script_console *c = console_of(L);
    c->options.print(c->options.arg, text, len);
    budget_check(state_budget(L), L); /* printing may take its time */
    return 0;
}

/* host.ask(request) -> answer */
static int host_ask(lua_State *L)
{
    struct script_console *c = console_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    clear(c);
    c->request = convert_to_json(L, 1);
    c->answer = c->options.ask(c->options.arg, c->request);
    budget_check(state_budget(L), L);
    state_push_json(L, c->answer);
    return 1;
}

/* host.simulate(request) -> answer */
static int host_simulate(lua_State *L)
{
    struct script_console *c = console_of(L);
    struct itimerspec left;
    luaL_checktype(L, 1, LUA_TTABLE);
    clear(c);
    c->request = convert_to_json(L, 1);
    budget_pause(state_budget(L), &left);
    c->answer = c->options.simulate(c->options.arg, c->request);
    budget_resume(state_budget(L), &left);
    budget_check(state_budget(L), L);
    state_push_json(L, c->answer);
    return 1;
}

/* host.hash(text) -> what workers make of the texts of requests */
static int host_hash(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    uint32_t hash = (uint32_t)hash_bytes(text, len);
    lua_pushnumber(L, hash ? hash : 1);
    return 1;
}

/* host.picker(policy, backends, request) -> pick, resize, cost */
static int host_picker(lua_State *L)
{
    lua_settop(L, 3);
    state_push_prelude(L, "tables");
    lua_insert(L, 1);
    lua_call(L, 3, 3);
    return 3;
}

static int read_open(struct script_console *c, int fd)
{
    struct stat about;
    char part[4096];
    ssize_t got = 0;
    if (fstat(fd, &about) < 0) {
        return -errno;
    }
    if (!S_ISREG(about.st_mode)) {
        return -EINVAL;
    }
    while ((got = read(fd, part, sizeof part)) > 0) {
        int code = buf_append(&c->file, part, (size_t)got);
        if (code < 0) {
            return code;
        }
    }
    return got < 0 ? -errno : 0;
}

/* A file of the person at the prompt, by a path from here or from the configuration's directory. */
static int read_file(struct script_console *c, const char *name)
{
    const char *directory = c->load.files.directory;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && *name != '/') {
        c->path = mem_printf("%s/%s", directory, name);
        fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    if (fd < 0) {
        return -errno;
    }
    int code = read_open(c, fd);
    close(fd);
    return code;
}

/* host.file(path) -> text, "", its name; or nil and why */
static int host_file(lua_State *L)
{
    struct script_console *c = console_of(L);
    const char *name = luaL_checkstring(L, 1);
    size_t len = strlen(name);
    clear(c);
    int code = len > 4 && !strcmp(name + len - 4, ".lua") ? read_file(c, name) : -EINVAL;
    if (code < 0) {
        lua_pushnil(L);
        lua_pushstring(L, code == -EINVAL ? "that is no Lua file: give the path of a policy"
                                          : err_text(code));
        return 2;
    }
    lua_pushlstring(L, buf_str(&c->file), c->file.len);
    lua_pushliteral(L, "");
    lua_pushstring(L, name);
    return 3;
}

/* Seconds that the clock on the wall is ahead of UTC. */
static lua_Number zone_s(void)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    return (lua_Number)tm.tm_gmtoff;
}

static void push_host(lua_State *L, struct script_console *c)
{
    static const luaL_Reg functions[] = {
        {"emit", host_emit},     {"ask", host_ask},   {"hash", host_hash},
        {"picker", host_picker}, {"file", host_file}, {"simulate", host_simulate},
    };
    host_push(L, &c->load);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        lua_pushlightuserdata(L, c);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_pushboolean(L, c->options.ask != NULL);
    lua_setfield(L, -2, "attached");
    lua_pushboolean(L, c->options.write);
    lua_setfield(L, -2, "write");
    lua_pushboolean(L, c->options.json);
    lua_setfield(L, -2, "json");
    lua_pushnumber(L, zone_s());
    lua_setfield(L, -2, "zone_s");
}

/* ---- Making --------------------------------------------------------------------------------- */

/* Of the configuration, else of the folder beside it. */
static int find_library(void *arg, const char *name, const char **ret_origin,
                        const char **ret_source, size_t *ret_len)
{
    struct script_console *c = arg;
    const struct files_library *library;
    char *why = NULL;
    int code = policy_library(c->libraries, name, ret_origin, ret_source, ret_len);
    if (code == 0) {
        return code;
    }
    code = files_library(&c->load.files, name, &library, &why);
    mem_free(why);
    if (code < 0) {
        return -ENOENT;
    }
    *ret_origin = library->origin;
    *ret_source = library->source;
    *ret_len = library->len;
    return 0;
}

static int body_boot(lua_State *L)
{
    struct script_console *c = lua_touserdata(L, 1);
    host_push_module(L, "script.console");
    lua_getfield(L, -1, "new");
    push_host(L, c);
    lua_call(L, 1, 1);
    host_keep(L);
    return 0;
}

int script_console_new(const struct script_console_options *options,
                       struct script_console **ret_console, char **reterr)
{
    struct script_console *c = mem_new(sizeof *c);
    char *why = NULL;
    c->options = *options;
    c->options.config_path = NULL;
    c->libraries = json_object();
    buf_init(&c->file, LIMIT_CONFIG_BYTES);
    buf_init(&c->load.names, HOST_NAMES_BYTES);
    int code = -ENOENT;
    if (options->config_path) {
        code = files_open(&c->load.files, options->config_path, &why);
        mem_free(why);
    }
    if (code <
        0) { /* of a daemon whose directory cannot be looked into: libraries come from here */
        code = files_open(&c->load.files, "tidegate.lua", reterr);
    }
    if (code == 0) {
        code = state_new(STATE_COLD, MEMORY_BYTES, &c->state, reterr);
    }
    if (code == 0) {
        c->load.state = c->state;
        state_set_libraries(c->state, find_library, c);
        code = state_run(c->state, body_boot, c, 4 * LIMIT_POLICY_LOAD_CPU_MS, "console", reterr);
    }
    if (code < 0) {
        script_console_free(c);
        return -EINVAL;
    }
    *ret_console = c;
    return 0;
}

void script_console_free(struct script_console *c)
{
    if (!c) {
        return;
    }
    state_free(c->state);
    clear(c);
    buf_free(&c->file);
    if (c->load.files.directory) {
        files_close(&c->load.files);
    }
    host_clear(&c->load);
    buf_free(&c->load.names);
    json_free(c->libraries);
    mem_free(c);
}

/* ---- Use ------------------------------------------------------------------------------------ */

struct call {
    struct script_console *console;
    const struct cJSON *data;
    const char *origin, *text;
    unsigned line;
    bool flag; /* final, fresh */
    enum script_console_outcome outcome;
    struct script_console_watch watch;
    struct buf out;
    size_t replaced;
};

static int body_update(lua_State *L)
{
    struct call *call = lua_touserdata(L, 1);
    host_push_kept(L, "update");
    state_push_json(L, call->data);
    lua_pushboolean(L, !call->flag);
    lua_call(L, 2, 0);
    return 0;
}

int script_console_update(struct script_console *c, const struct cJSON *data, bool fresh,
                          char **reterr)
{
    struct call call = {.console = c, .data = data, .flag = fresh};
    const struct cJSON *libraries = json_path(data, "configuration.libraries");
    int code =
        state_run(c->state, body_update, &call, 4 * LIMIT_POLICY_LOAD_CPU_MS, "console", reterr);
    if (code == 0 && libraries) {
        json_free(c->libraries);
        c->libraries = json_object();
        json_set(c->libraries, "libraries", json_copy(libraries));
    }
    return code < 0 ? -EINVAL : 0;
}

static void read_watch(lua_State *L, struct script_console_watch *w)
{
    str_copy(w->service, sizeof w->service, lua_tostring(L, -3) ? lua_tostring(L, -3) : "");
    w->every_ms = (uint32_t)lua_tonumber(L, -2);
    w->times = (uint32_t)lua_tonumber(L, -1);
}

static int body_eval(lua_State *L)
{
    static const char *const names[SCRIPT_CONSOLE_OUTCOMES] = {"done",   "more",  "",     "quit",
                                                               "reload", "watch", "trace"};
    struct call *call = lua_touserdata(L, 1);
    host_push_kept(L, "eval");
    lua_pushstring(L, call->origin);
    lua_pushinteger(L, (lua_Integer)call->line);
    lua_pushstring(L, call->text);
    lua_pushboolean(L, call->flag);
    lua_call(L, 4, 4);
    for (int i = 0; i < SCRIPT_CONSOLE_OUTCOMES; i++) {
        if (str_same(lua_tostring(L, -4), names[i])) {
            call->outcome = (enum script_console_outcome)i;
        }
    }
    if (call->outcome == SCRIPT_CONSOLE_WATCH) {
        read_watch(L, &call->watch);
    }
    return 0;
}

enum script_console_outcome script_console_eval(struct script_console *c, const char *origin,
                                                unsigned line, const char *text, bool final,
                                                struct script_console_watch *ret_watch,
                                                char **reterr)
{
    struct call call = {.console = c, .origin = origin, .line = line, .text = text, .flag = final};
    int code = state_run(c->state, body_eval, &call, c->options.budget_ms, origin, reterr);
    clear(c);
    if (code == -ETIME && strstr(*reterr, "CPU time")) {
        char *more = mem_printf("%s: --timeout allows more", *reterr);
        mem_free(*reterr);
        *reterr = more;
    }
    if (code < 0) {
        return SCRIPT_CONSOLE_FAILED;
    }
    if (call.outcome == SCRIPT_CONSOLE_WATCH) {
        *ret_watch = call.watch;
    }
    return call.outcome;
}

static int body_complete(lua_State *L)
{
    struct call *call = lua_touserdata(L, 1);
    size_t len = 0;
    host_push_kept(L, "complete");
    lua_pushstring(L, call->text);
    lua_call(L, 1, 2);
    const char *words = lua_tolstring(L, -2, &len);
    if (words && buf_append(&call->out, words, len) == 0) {
        call->replaced = (size_t)lua_tonumber(L, -1);
    }
    return 0;
}

char *script_console_complete(struct script_console *c, const char *before, size_t *ret_replaced)
{
    struct call call = {.console = c, .text = before};
    char *why = NULL;
    buf_init(&call.out, LIMIT_CONFIG_BYTES);
    (void)state_run(c->state, body_complete, &call, COMPLETE_MS, "console", &why);
    mem_free(why); /* no completion is no error */
    size_t len = strlen(before);
    *ret_replaced = call.replaced < len ? call.replaced : len;
    char *words = mem_copy(buf_str(&call.out));
    buf_free(&call.out);
    return words;
}

void script_console_interrupt(struct script_console *c)
{
    budget_interrupt(state_budget(state_lua(c->state)));
}
