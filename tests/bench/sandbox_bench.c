/* sandbox_bench.c: what sandbox and CPU budget cost a pick: the default policy in a worker's state beside the
 * same policy and loop in a plain LuaJIT state, without budget, checks of the time, guarded libraries or a look
 * at the answer.
 *
 *   ninja -C build/release sandbox_bench && build/release/sandbox_bench [ROUNDS]
 *
 * Both in one process and in turns; the best round of each counts, since CPU time is only ever too much.
 * sandbox.sh makes a figure of many processes. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/script.h"

enum {
    BACKENDS = 8,
    PICKS = 400000
};

static struct script_backend rows[BACKENDS];
static struct script_request seen; /* by the plain state */

/* As prelude.lua has it, without a sandbox. The structs are those of its own text. */
static const char plain[] =
    "local prelude, driver, policy, rows, request, n = ...\n"
    "local ffi = require 'ffi'\n"
    "ffi.cdef(prelude:match 'ffi%.cdef %[%[(.-)%]%]')\n"
    "driver = assert(loadstring(driver))(error, type, math.huge, string.format)\n"
    "policy = assert(loadstring(policy))().new { penalty = 1, choices_above = 16 }\n"
    "local base = ffi.cast('const struct backend *', rows)\n"
    "local view, backends, picks = ffi.cast('const struct request *', request)[0], {}, {}\n"
    "for i = 1, n do backends[i] = base[i - 1] end\n"
    "for i = 1, #policy do\n"
    "    local resize\n"
    "    picks[i], resize = driver(policy[i], base - 1, backends, view)\n"
    "    resize(n)\n"
    "end\n"
    "local which = policy.which\n"
    "return function()\n"
    "    local index = picks[which(backends, n, view)]()\n"
    "    return index\n"
    "end\n";

static lua_State *plain_state(int *ret_pick)
{
    static const char *const files[] = {"script/prelude", "script/driver", "balance/ewma"};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    int code = luaL_loadstring(L, plain);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        size_t len = 0;
        const char *source = script_shipped(files[i], &len);
        lua_pushlstring(L, source ? source : "", source ? len : 0);
    }
    lua_pushlightuserdata(L, rows);
    lua_pushlightuserdata(L, &seen);
    lua_pushinteger(L, BACKENDS);
    if (code || lua_pcall(L, 6, 1, 0)) {
        fprintf(stderr, "sandbox_bench: %s\n", lua_tostring(L, -1));
        exit(1);
    }
    *ret_pick = luaL_ref(L, LUA_REGISTRYINDEX);
    return L;
}

static int plain_pick(lua_State *L, int pick, const struct script_request *request)
{
    seen = *request;
    lua_rawgeti(L, LUA_REGISTRYINDEX, pick);
    int at = lua_pcall(L, 0, 1, 0) ? -1 : (int)lua_tonumber(L, -1) - 1;
    lua_settop(L, 0);
    return at;
}

static struct script_picker *sandboxed(struct script_hot **ret_hot)
{
    const char text[] = "cluster { id = 'bench', engine = 'process' }\n"
                        "service 's' { backends = { '127.0.0.1:1' }, route = { listen = ':1' } }\n";
    struct cJSON *config = NULL;
    struct script_picker *picker = NULL;
    char *error = NULL;
    int code = script_load_text("/tmp/sandbox_bench.lua", text, &config, &error);
    if (code == 0) {
        code = script_hot_new(config, NULL, ret_hot, &error);
    }
    const struct cJSON *service = json_first(json_get(config, "services"));
    const struct cJSON *balance = json_get(json_first(json_get(service, "routes")), "balance");
    if (code == 0) {
        code = script_picker_new(*ret_hot, json_str(balance, "policy", ""),
                                 json_get(balance, "params"), rows, BACKENDS, &picker, &error);
    }
    if (code < 0) {
        fprintf(stderr, "sandbox_bench: %s\n", error);
        exit(1);
    }
    script_hot_live(*ret_hot);
    script_picker_resize(picker, BACKENDS);
    json_free(config);
    return picker;
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void fill_rows(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < BACKENDS; i++) {
        rows[i] = (struct script_backend){.in_flight = next(&seed) % 8,
                                          .weight = 1,
                                          .response_ms = 1 + next(&seed) % 9,
                                          .age_s = 1000,
                                          .ramp = 1,
                                          .hash = next(&seed),
                                          .index = i + 1,
                                          .eligible = 1};
    }
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ns of one pick, by the picker or, without one, by the plain state. */
static double measure(struct script_picker *picker, lua_State *L, int pick)
{
    uint32_t seed = 7;
    fill_rows();
    double from = cpu_ns();
    for (int i = 0; i < PICKS; i++) {
        struct script_request request = {
            .now_ms = i / 400.0, .hash = next(&seed), .changes = 1, .method = 1};
        int at = picker ? script_pick(picker, &request) : plain_pick(L, pick, &request);
        if (at < 0) {
            fprintf(stderr, "sandbox_bench: %s\n", picker ? script_picker_error(picker) : "plain");
            exit(1);
        }
        rows[at].in_flight =
            (double)(request.hash & 7); /* no branch is always taken the same way */
    }
    return (cpu_ns() - from) / PICKS;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 15, pick = 0;
    struct script_hot *hot = NULL;
    struct script_picker *picker = sandboxed(&hot);
    lua_State *L = plain_state(&pick);
    double worker = 0, bare = 0;
    for (int i = 0; i < rounds; i++) {
        double a = measure(picker, NULL, 0), b = measure(NULL, L, pick);
        worker = i == 0 || a < worker ? a : worker;
        bare = i == 0 || b < bare ? b : bare;
    }
    printf("%.1f %.1f\n", worker, bare); /* ns in a worker, and in a plain state */
    lua_close(L);
    script_hot_free(hot);
    return 0;
}
