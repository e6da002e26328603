/* state_driver.c: sandboxed states behind functions that FFI can call. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "script/budget.h"
#include "script/state.h"

struct state *script_test_state(int kind, size_t memory_bytes, char **reterr);
void script_test_state_free(struct state *s);
void script_test_state_live(struct state *s);
int script_test_eval(struct state *s, const char *source, size_t len, uint32_t budget_ms,
                     char **ret_text);
int script_test_view(struct state *s, const char *source, const char *json, char **ret_text);

static int library(void *arg, const char *name, const char **ret_origin, const char **ret_source,
                   size_t *ret_len)
{
    static const char *const files[][3] = {
        {"lib.answer", "policies/lib/answer.lua",
         "count = (count or 0) + 1\nreturn { value = 42 }"},
        {"lib.loop", "policies/lib/loop.lua", "local t = require \"lib.loop\"\nreturn t"},
        {"lib.ring", "policies/lib/ring.lua", "local t = require \"lib.other\"\nreturn t"},
        {"lib.other", "policies/lib/other.lua", "local t = require \"lib.ring\"\nreturn t"},
        {"lib.bad", "policies/lib/bad.lua", "local x = 1\nreturn +"},
        {"lib.raises", "policies/lib/raises.lua", "\n\nerror \"no\""},
    };
    (void)arg;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        if (!strcmp(name, files[i][0])) {
            *ret_origin = files[i][1];
            *ret_source = files[i][2];
            *ret_len = strlen(files[i][2]);
            return 0;
        }
    }
    return -2;
}

struct state *script_test_state(int kind, size_t memory_bytes, char **reterr)
{
    struct state *s = NULL;
    if (state_new((enum state_kind)kind, memory_bytes, &s, reterr) < 0) {
        return NULL;
    }
    state_set_libraries(s, library, NULL);
    return s;
}

void script_test_state_free(struct state *s)
{
    state_free(s);
}

void script_test_state_live(struct state *s)
{
    budget_live(state_budget(state_lua(s)), true);
}

struct eval {
    const char *source, *json;
    size_t len;
    char *text;
};

static int body(lua_State *L)
{
    struct eval *e = lua_touserdata(L, 1);
    state_push_environment(L);
    state_push_chunk(L, "policies/scale/test.lua", e->source, e->len);
    int args = 0;
    if (e->json) {
        struct cJSON *value = json_parse(e->json, strlen(e->json));
        state_push_json(L, value);
        json_free(value);
        state_make_strict(L, "service");
        args = 1;
    }
    lua_call(L, args, 1);
    if (lua_isboolean(L, -1)) {
        e->text = mem_copy(lua_toboolean(L, -1) ? "true" : "false");
    } else {
        const char *text = lua_tostring(L, -1);
        e->text = mem_copy(text ? text : luaL_typename(L, -1));
    }
    return 0;
}

static int run(struct state *s, struct eval *e, uint32_t budget_ms, char **ret_text)
{
    char *error = NULL;
    int code = state_run(s, body, e, budget_ms, "policies/scale/test.lua", &error);
    *ret_text = error ? error : e->text;
    if (error) {
        mem_free(e->text);
    }
    return code;
}

int script_test_eval(struct state *s, const char *source, size_t len, uint32_t budget_ms,
                     char **ret_text)
{
    struct eval e = {.source = source, .len = len};
    return run(s, &e, budget_ms, ret_text);
}

int script_test_view(struct state *s, const char *source, const char *json, char **ret_text)
{
    struct eval e = {.source = source, .len = strlen(source), .json = json};
    return run(s, &e, 1000, ret_text);
}
