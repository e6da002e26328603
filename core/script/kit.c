/* kit.c: see kit.h: runs examples and specs with a note of the lines that ran, and writes new policies.
 *
 * Owns: a COLD state for each policy that is tested, with the set of lines of its file that ran. Called by: commands.
 * Invariants: what a policy or spec does wrong is a failure in the report; the hook that notes lines is set only
 * while a step runs. Does not: write files, print. */
#include "script/kit.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "script/convert.h"
#include "script/host.h"
#include "script/state.h"
#include "base/ban.h"

enum {
    STEP_MS = 2000,      /* of CPU time for an example or a case; a hook at each line is slow */
    LINES_MOST = 1 << 20 /* a file has at most 1 MiB */
};

const char *const script_kinds[] = {"balance", "scale", "alert", "anomaly", "notify", NULL};

struct kit {
    struct load load;
    const char *kind, *name; /* borrowed */
    char *origin;            /* "@policies/scale/x.lua", as Lua calls the source */
    unsigned char *ran;      /* of LINES_MOST */
    struct cJSON *report;
};

/* Registry key: this address. */
static const char kit_key;

static void on_line(lua_State *L, lua_Debug *ar)
{
    lua_pushlightuserdata(L, (void *)&kit_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct kit *kit = lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_getinfo(L, "S", ar);
    if (ar->currentline > 0 && ar->currentline < LINES_MOST && !strcmp(ar->source, kit->origin)) {
        kit->ran[ar->currentline] = 1;
    }
}

/* kit.lua's steps for the policy. */
static int body_boot(lua_State *L)
{
    struct kit *kit = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, (void *)&kit_key);
    lua_pushlightuserdata(L, kit);
    lua_rawset(L, LUA_REGISTRYINDEX);
    host_push_module(L, "script.kit");
    lua_getfield(L, -1, "test");
    host_push(L, &kit->load);
    lua_newtable(L);
    lua_pushstring(L, kit->kind);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, kit->name);
    lua_setfield(L, -2, "name");
    lua_call(L, 2, 1);
    host_keep(L);
    return 0;
}

static int body_step(lua_State *L)
{
    struct kit *kit = lua_touserdata(L, 1);
    host_push_kept(L, "step");
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    lua_call(L, 0, 1);
    kit->load.more = lua_toboolean(L, -1);
    return 0;
}

static int body_failed(lua_State *L)
{
    struct kit *kit = lua_touserdata(L, 1);
    host_push_kept(L, "failed");
    lua_pushstring(L, kit->load.sentence);
    lua_call(L, 1, 1);
    kit->load.more = lua_toboolean(L, -1);
    return 0;
}

static int body_result(lua_State *L)
{
    struct kit *kit = lua_touserdata(L, 1);
    host_push_kept(L, "result");
    lua_newtable(L);
    for (int line = 1; line < LINES_MOST; line++) {
        if (kit->ran[line]) {
            lua_pushboolean(L, true);
            lua_rawseti(L, -2, line);
        }
    }
    lua_call(L, 1, 1);
    kit->report = convert_to_json(L, -1);
    return 0;
}

static int find_library(void *arg, const char *name, const char **ret_origin,
                        const char **ret_source, size_t *ret_len)
{
    struct kit *kit = arg;
    const struct files_library *library;
    char *why = NULL;
    int code = files_library(&kit->load.files, name, &library, &why);
    mem_free(why);
    if (code < 0) {
        return -ENOENT;
    }
    *ret_origin = library->origin;
    *ret_source = library->source;
    *ret_len = library->len;
    return 0;
}

static int run(struct kit *kit, lua_CFunction body, char **reterr)
{
    struct state *state = kit->load.state;
    int code = state_run(state, body, kit, STEP_MS, kit->origin + 1, reterr);
    lua_sethook(state_lua(state), NULL, 0, 0);
    return code;
}

static int run_all(struct kit *kit, char **reterr)
{
    struct load *l = &kit->load;
    int code = state_new(STATE_COLD, LIMIT_POLICY_MEMORY_BYTES, &l->state, reterr);
    if (code < 0) {
        return code;
    }
    state_set_libraries(l->state, find_library, kit);
    code = run(kit, body_boot, reterr);
    l->more = true;
    while (code == 0 && l->more) {
        char *sentence = NULL;
        if (run(kit, body_step, &sentence) < 0) {
            l->sentence = sentence;
            code = run(kit, body_failed, reterr);
            l->sentence = NULL;
            mem_free(sentence);
        }
    }
    return code == 0 ? run(kit, body_result, reterr) : code;
}

int script_kit_test(const char *directory, const char *kind, const char *name,
                    struct cJSON **ret_report, char **reterr)
{
    struct kit kit = {.kind = kind, .name = name};
    char *path = mem_printf("%s/tidegate.lua", directory); /* need not exist */
    int code = files_open(&kit.load.files, path, reterr);
    mem_free(path);
    if (code < 0) {
        return code;
    }
    buf_init(&kit.load.names, HOST_NAMES_BYTES);
    kit.origin = mem_printf("@policies/%s/%s.lua", kind, name);
    kit.ran = mem_new(LINES_MOST);
    code = run_all(&kit, reterr);
    if (code == 0) {
        *ret_report = kit.report;
        kit.report = NULL;
    }
    state_free(kit.load.state);
    files_close(&kit.load.files);
    buf_free(&kit.load.names);
    host_clear(&kit.load);
    json_free(kit.report);
    mem_free(kit.ran);
    mem_free(kit.origin);
    return code;
}

/* ---- New policies ---- */

struct fresh {
    const char *kind, *name; /* borrowed */
    struct load load;        /* only what host functions need */
    struct cJSON *files;
    char *why;
};

static int body_new(lua_State *L)
{
    struct fresh *f = lua_touserdata(L, 1);
    host_push_module(L, "script.templates");
    lua_getfield(L, -1, "files");
    host_push(L, &f->load);
    lua_pushstring(L, f->kind);
    lua_pushstring(L, f->name);
    lua_call(L, 3, 2);
    if (lua_istable(L, -2)) {
        f->files = convert_to_json(L, -2);
    } else {
        f->why = mem_copy(lua_tostring(L, -1));
    }
    return 0;
}

int script_kit_new(const char *kind, const char *name, struct cJSON **ret_files, char **reterr)
{
    struct fresh f = {.kind = kind, .name = name};
    struct state *state = NULL;
    int code = state_new(STATE_COLD, LIMIT_POLICY_MEMORY_BYTES, &state, reterr);
    if (code == 0) {
        code = state_run(state, body_new, &f, STEP_MS, name, reterr);
    }
    state_free(state);
    if (code == 0 && !f.files) {
        *reterr = f.why;
        return -EINVAL;
    }
    *ret_files = f.files;
    return code;
}
