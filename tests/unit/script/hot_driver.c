/* hot_driver.c: many picks at once, and a look at what LuaJIT made of them. */
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/mem.h"
#include "script/hot.h"
#include "script/script.h"
#include "script/state.h"

double script_test_picks(struct script_picker *picker, uint32_t count, uint32_t seed,
                         uint32_t *ret_counts, uint32_t *ret_failed);
double script_test_kbytes(struct script_hot *hot);
int script_test_opcodes(struct script_hot *hot, const struct script_picker *picker,
                        uint8_t *ret_ops, int most);

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Picks `count` times with changing requests; ret_counts[index] counts. Returns ns of CPU for one
 * pick. */
double script_test_picks(struct script_picker *picker, uint32_t count, uint32_t seed,
                         uint32_t *ret_counts, uint32_t *ret_failed)
{
    struct script_request request = {.hash = seed, .in_flight = 9};
    double began = cpu_ns();
    for (uint32_t i = 0; i < count; i++) {
        request.hash = request.hash * 1664525u + 1013904223u;
        request.key = request.hash ^ 0x5bd1e995u;
        request.tags = request.hash >> 28;
        request.tag_count = 2;
        request.data = request.hash >> 27 & 1;
        request.zone = 1;
        int index = script_pick(picker, &request);
        if (index >= 0) {
            ret_counts[index]++;
        } else {
            ++*ret_failed;
        }
    }
    return (cpu_ns() - began) / count;
}

/* Memory of the state in kB, garbage included. */
double script_test_kbytes(struct script_hot *hot)
{
    lua_State *L = state_lua(hot_state(hot));
    return lua_gc(L, LUA_GCCOUNT, 0) + lua_gc(L, LUA_GCCOUNTB, 0) / 1024.0;
}

struct look {
    const struct script_picker *picker;
    uint8_t *ops;
    int count, most;
};

/* jit.util is in no sandbox; the registry still has its loader. */
static int body(lua_State *L)
{
    struct look *look = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
    lua_getfield(L, -1, "jit.util");
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "funcbc");
    while (look->count < look->most) {
        lua_pushvalue(L, -1);
        hot_push_pick(L, look->picker);
        lua_pushinteger(L, look->count);
        lua_call(L, 2, 1);
        if (lua_isnil(L, -1)) {
            break;
        }
        look->ops[look->count++] = (uint8_t)((int64_t)lua_tonumber(L, -1) & 0xff);
        lua_pop(L, 1);
    }
    return 0;
}

int script_test_opcodes(struct script_hot *hot, const struct script_picker *picker,
                        uint8_t *ret_ops, int most)
{
    struct look look = {.picker = picker, .ops = ret_ops, .most = most};
    char *why = NULL;
    int code = state_run(hot_state(hot), body, &look, 1000, "test", &why);
    mem_free(why);
    return code < 0 ? code : look.count;
}
