/* kit_hot.c: balance policies as a worker runs them: time and garbage of a pick, and where LuaJIT's compiler gives up.
 *
 * Owns: a live HOT state for the time of one report. Called by: `tidegate check --hot`, in a child of its own.
 * Invariants: what is measured is what a worker runs, interruption included. Does not: judge. */
#include "script/kit.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "script/convert.h"
#include "script/hot.h"
#include "script/policy.h"
#include "script/script.h"
#include "script/state.h"
#include "base/ban.h"

enum {
    ROWS = 4,
    WARM_PICKS = 20000,
    PICKS = 5000, /* a round, without collection of garbage */
    ROUNDS = 8,
    CALL_MS = 1000
};

struct hot_check {
    struct script_hot *hot;
    struct cJSON *known; /* names of LuaJIT's messages */
    struct cJSON *stops;
    int take; /* registry reference */
    uint32_t chance;
};

/* ---- What the compiler says ---- */

/* The names in LuaJIT's own jit/vmdef.lua, where it is installed, by a state that runs nothing else. */
static struct cJSON *vm_names(void)
{
    static const char source[] =
        "local ok, vmdef = pcall(require, 'jit.vmdef') local out = { traceerr = {}, ffnames = {}, "
        "bcnames = ok and vmdef.bcnames or '' } for _, name in ipairs { 'traceerr', 'ffnames' } do "
        "for key, value in pairs(ok and vmdef[name] or {}) do out[name][tostring(key)] = value end "
        "end return out";
    struct cJSON *names = NULL;
    lua_State *L = luaL_newstate();
    if (L) {
        luaL_openlibs(L);
        if (luaL_loadstring(L, source) == 0 && lua_pcall(L, 0, 1, 0) == 0) {
            names = convert_to_json(L, -1);
        }
        lua_close(L);
    }
    return names ? names : json_object();
}

/* A member of a module in the registry. [-0, +1, e] */
static void push_loaded(lua_State *L, const char *module, const char *member)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, module);
    lua_getfield(L, -1, member);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static int body_attach(lua_State *L)
{
    struct hot_check *check = lua_touserdata(L, 1);
    state_push_prelude(L, "aborts");
    push_loaded(L, "jit", "attach");
    state_push_bytecode(L);
    state_push_json(L, check->known);
    lua_call(L, 3, 1);
    check->take = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int body_take(lua_State *L)
{
    struct hot_check *check = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, check->take);
    lua_call(L, 0, 1);
    check->stops = convert_to_json(L, -1);
    return 0;
}

/* ---- Picks ---- */

static uint32_t chance(struct hot_check *check)
{
    check->chance = check->chance * 1664525u + 1013904223u;
    return check->chance >> 8;
}

static void make_rows(struct script_backend *rows)
{
    for (int i = 0; i < ROWS; i++) {
        rows[i] = (struct script_backend){.weight = 1 + i % 2,
                                          .max_connections = 100,
                                          .capacity = 1000,
                                          .response_ms = 5 + 3 * i,
                                          .response_mean_ms = 5 + 3 * i,
                                          .age_s = 3600,
                                          .ramp = 1,
                                          .tags = 1u << i,
                                          .hash = (uint32_t)(i + 1) * 2654435761u,
                                          .zone = 1 + i % 2,
                                          .eligible = 1,
                                          .index = i + 1};
    }
}

/* Some clients want data, some a zone; loads move. */
static int pick_once(struct hot_check *check, struct script_picker *picker,
                     struct script_backend *rows, struct script_request *request)
{
    uint32_t r = chance(check);
    double all = 0;
    rows[r % ROWS].in_flight = (double)(r >> 4 & 15);
    for (int i = 0; i < ROWS; i++) {
        all += rows[i].in_flight;
    }
    request->now_ms += 0.05;
    request->in_flight = all;
    request->hash = r * 2654435761u;
    request->key = chance(check) * 69069u;
    request->zone = (int32_t)(r >> 9 & 1) + 1;
    request->tags = request->implied = 1u << (r >> 10) % ROWS;
    request->tag_count = request->data = 1;
    request->dataset = request->processing = request->path = request->key;
    request->method = 1;
    return script_pick(picker, request);
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double bytes_in_use(lua_State *L)
{
    return lua_gc(L, LUA_GCCOUNT, 0) * 1024.0 + lua_gc(L, LUA_GCCOUNTB, 0);
}

static bool fails(int code)
{
    return code < 0 && code != -ENOENT;
}

/* ns and bytes of a pick into `one`; the first failure ends it. */
static void measure(struct hot_check *check, struct script_picker *picker,
                    struct script_backend *rows, struct cJSON *one)
{
    lua_State *L = state_lua(hot_state(check->hot));
    struct script_request request = {.now_ms = 1000, .changes = 1};
    double best = 0, bytes = 0;
    int code = 0;
    for (int i = 0; i < WARM_PICKS && !fails(code); i++) {
        code = pick_once(check, picker, rows, &request);
    }
    for (int round = 0; round < ROUNDS && !fails(code); round++) {
        state_collect(hot_state(check->hot));
        lua_gc(L, LUA_GCSTOP, 0);
        double before = bytes_in_use(L), from = cpu_ns();
        for (int i = 0; i < PICKS && !fails(code); i++) {
            code = pick_once(check, picker, rows, &request);
        }
        double took = (cpu_ns() - from) / PICKS;
        best = round == 0 || took < best ? took : best;
        bytes = (bytes_in_use(L) - before) / PICKS;
        lua_gc(L, LUA_GCRESTART, 0);
    }
    if (fails(code)) {
        json_set_str(one, "error", script_picker_error(picker));
        return;
    }
    json_set_num(one, "ns", best);
    json_set_num(one, "bytes", bytes < 0.5 ? 0 : bytes);
    json_set_bool(one, "compiled", script_picker_compiled(picker));
}

static int check_route(struct hot_check *check, const struct cJSON *balance, struct cJSON *one,
                       char **reterr)
{
    struct script_backend rows[ROWS];
    struct script_picker *picker = NULL;
    make_rows(rows);
    int code = script_picker_new(check->hot, json_str(balance, "policy", ""),
                                 json_get(balance, "params"), rows, ROWS, &picker, reterr);
    if (code < 0) {
        return code;
    }
    script_picker_resize(picker, ROWS);
    measure(check, picker, rows, one);
    script_picker_free(picker);
    code = state_run(hot_state(check->hot), body_take, check, CALL_MS, "hot", reterr);
    json_set(one, "stops", check->stops ? check->stops : json_array());
    check->stops = NULL;
    return code;
}

/* ---- The report ---- */

static bool is_known(const struct cJSON *report, const char *key)
{
    for (const struct cJSON *one = json_first(report); one; one = json_next(one)) {
        if (!strcmp(json_str(one, "key", ""), key)) {
            return true;
        }
    }
    return false;
}

/* Each policy with the same parameters once. */
static int check_service(struct hot_check *check, const struct cJSON *config,
                         const struct cJSON *service, struct cJSON *report, char **reterr)
{
    int code = 0, number = 0;
    const struct cJSON *routes = json_get(service, "routes");
    for (const struct cJSON *r = json_first(routes); r && code == 0; r = json_next(r)) {
        const struct cJSON *balance = json_get(r, "balance");
        char *key = json_text(balance);
        number++;
        if (!is_known(report, key)) {
            struct cJSON *one = json_object();
            const char *name = json_str(balance, "policy", "");
            char *at = mem_printf("%s route %d", json_str(service, "name", "?"), number);
            json_set_str(one, "key", key);
            json_set_str(one, "policy", name);
            json_set_str(one, "at", at);
            json_set_str(one, "origin",
                         json_str(policy_find(config, "balance", name), "origin", "?"));
            mem_free(at);
            json_set(report, NULL, one);
            code = check_route(check, balance, one, reterr);
        }
        mem_free(key);
    }
    return code;
}

int script_kit_hot(const struct cJSON *config, struct cJSON **ret_report, char **reterr)
{
    struct hot_check check = {.chance = 1};
    struct cJSON *report = json_array();
    check.known = vm_names();
    int code = script_hot_new(config, NULL, &check.hot, reterr);
    if (code == 0) {
        code = state_run(hot_state(check.hot), body_attach, &check, CALL_MS, "hot", reterr);
    }
    if (code == 0) {
        script_hot_live(check.hot);
    }
    const struct cJSON *services = json_get(config, "services");
    for (const struct cJSON *s = json_first(services); s && code == 0; s = json_next(s)) {
        code = check_service(&check, config, s, report, reterr);
    }
    script_hot_free(check.hot);
    json_free(check.known);
    if (code < 0) {
        json_free(report);
        return -EINVAL;
    }
    *ret_report = report;
    return 0;
}
