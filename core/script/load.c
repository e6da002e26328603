/* load.c: script_load: reads a configuration by the modules dsl.lua and friends.
 *
 * Owns: the Lua state of one load, and what the host functions lend to it.
 * Called by: script_load's callers, once per load.
 * Invariants: the configuration's own code runs in a sandbox and under a budget for each step; nothing
 * that must be freed is held by a frame that a Lua error can unwind (it hangs on struct load).
 * Does not: know a single key of the configuration; that is schema.lua. */
#include "script/script.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "script/convert.h"
#include "script/host.h"
#include "script/load.h"
#include "script/state.h"
#include "base/ban.h"

enum {
    STEP_BUDGET_MS = 1000 /* of CPU time for each step: reading all files, checking, one example */
};

/* ---- Bodies ---- */

/* The table `request` of dsl.lua. [-0, +1, e] */
static void push_request(lua_State *L, struct load *l)
{
    lua_newtable(L);
    lua_pushstring(L, l->files.main);
    lua_setfield(L, -2, "main");
    lua_pushstring(L, l->files.directory);
    lua_setfield(L, -2, "directory");
    lua_pushfstring(L, "%s/%s", strcmp(l->files.directory, "/") ? l->files.directory : "",
                    l->files.main);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, l->source, l->source_len);
    lua_setfield(L, -2, "source");
    state_push_json(L, l->overrides);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    lua_setfield(L, -2, "overrides");
    if (l->labelled) {
        state_push_json(L, l->labelled);
        lua_setfield(L, -2, "labelled");
    }
}

/* Loads dsl.lua and keeps its functions. */
static int body_boot(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    host_push_module(L, "script.dsl");
    lua_getfield(L, -1, "new");
    host_push(L, l);
    push_request(L, l);
    lua_call(L, 2, 1);
    host_keep(L);
    return 0;
}

static int body_step(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    host_push_kept(L, "step");
    lua_call(L, 0, 1);
    l->more = lua_toboolean(L, -1);
    return 0;
}

static int body_failed(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    host_push_kept(L, "failed");
    lua_pushstring(L, l->sentence);
    lua_call(L, 1, 1);
    l->more = lua_toboolean(L, -1);
    return 0;
}

static int body_result(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    host_push_kept(L, "result");
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "errors");
    l->errors = mem_copy(lua_tostring(L, -1));
    lua_getfield(L, -2, "warnings");
    l->warnings = mem_copy(lua_tostring(L, -1));
    lua_getfield(L, -3, "config");
    if (lua_istable(L, -1)) {
        l->config = convert_to_json(L, -1);
    }
    return 0;
}

static int find_library(void *arg, const char *name, const char **ret_origin,
                        const char **ret_source, size_t *ret_len)
{
    struct load *l = arg;
    const struct files_library *library;
    char *why = NULL;
    int code = files_library(&l->files, name, &library, &why);
    mem_free(why);
    if (code < 0) {
        return -ENOENT;
    }
    *ret_origin = library->origin;
    *ret_source = library->source;
    *ret_len = library->len;
    return 0;
}

/* ---- The load ---- */

static int run(struct load *l, lua_CFunction body, char **reterr)
{
    return state_run(l->state, body, l, STEP_BUDGET_MS, l->files.main, reterr);
}

/* Steps until none is left; a step that raises or overruns is reported by dsl.lua. */
static int run_steps(struct load *l, char **reterr)
{
    l->more = true;
    while (l->more) {
        char *sentence = NULL;
        if (run(l, body_step, &sentence) < 0) {
            l->sentence = sentence;
            int code = run(l, body_failed, reterr);
            l->sentence = NULL;
            mem_free(sentence);
            if (code < 0) {
                return code;
            }
        }
    }
    return 0;
}

static void add_libraries(struct load *l)
{
    struct cJSON *list = json_get(l->config, "libraries");
    for (size_t i = 0; i < l->files.library_count; i++) {
        const struct files_library *library = &l->files.libraries[i];
        struct cJSON *entry = json_object();
        json_set_str(entry, "name", library->name);
        json_set_str(entry, "origin", library->origin);
        json_set_str(entry, "source", library->source);
        json_set(list, NULL, entry);
    }
}

/* Of the files, and of the labels that made services beside theirs. */
static void put_generation(struct load *l)
{
    char text[17];
    uint64_t hash = l->files.hash;
    struct cJSON *labels = json_get(l->config, "labels");
    if (labels) {
        hash_hex(l->files_hash, text);
        json_set_str(labels, "files", text);
    }
    if (labels && l->labelled) {
        char *labelled = json_text(l->labelled);
        hash = hash_more(hash, labelled, strlen(labelled));
        mem_free(labelled);
    }
    hash_hex(hash, text);
    json_set_str(l->config, "generation", text);
}

static int load(struct load *l, char **reterr)
{
    int code = state_new(STATE_COLD, LIMIT_POLICY_MEMORY_BYTES, &l->state, reterr);
    if (code < 0) {
        return code;
    }
    state_set_libraries(l->state, find_library, l);
    code = run(l, body_boot, reterr);
    if (code == 0) {
        code = run_steps(l, reterr);
    }
    if (code == 0) {
        code = run(l, body_result, reterr);
    }
    if (code < 0) {
        return -EINVAL;
    }
    if (!l->config) {
        *reterr = l->errors;
        l->errors = NULL;
        return -EINVAL;
    }
    put_generation(l);
    add_libraries(l);
    return 0;
}

/* `source` in place of what the file at `path` holds, when it is not NULL. */
static int load_file(const char *path, const char *source, const struct cJSON *overrides,
                     const struct cJSON *labelled, struct cJSON **ret_config, char **ret_warnings,
                     char **reterr)
{
    struct load l = {.overrides = overrides, .labelled = labelled};
    char *why = NULL;
    buf_init(&l.names, HOST_NAMES_BYTES);
    int code = files_open(&l.files, path, reterr);
    if (code < 0) {
        return code;
    }
    l.source = mem_copy(source);
    l.source_len = source ? strlen(source) : 0;
    code = source ? 0 : files_read_main(&l.files, &l.source, &l.source_len, &why);
    if (code < 0) {
        *reterr = mem_printf("%s: %s", path, why);
        mem_free(why);
        goto out;
    }
    code = load(&l, reterr);
    if (code == 0) {
        *ret_config = l.config;
        *ret_warnings = l.warnings;
        l.config = NULL;
        l.warnings = NULL;
    }
out:
    state_free(l.state);
    files_close(&l.files);
    buf_free(&l.names);
    host_clear(&l);
    mem_free(l.source);
    mem_free(l.errors);
    mem_free(l.warnings);
    json_free(l.config);
    return code;
}

int script_load(const char *path, const struct cJSON *overrides, struct cJSON **ret_config,
                char **ret_warnings, char **reterr)
{
    return load_file(path, NULL, overrides, NULL, ret_config, ret_warnings, reterr);
}

int script_load_labelled(const char *path, const struct cJSON *overrides,
                         const struct cJSON *labelled, struct cJSON **ret_config,
                         char **ret_warnings, char **reterr)
{
    return load_file(path, NULL, overrides, labelled, ret_config, ret_warnings, reterr);
}

int load_text(const char *path, const char *source, struct cJSON **ret_config, char **reterr)
{
    char *warnings = NULL;
    int code = load_file(path, source, NULL, NULL, ret_config, &warnings, reterr);
    mem_free(warnings);
    return code;
}

int script_load_text(const char *path, const char *source, struct cJSON **ret_config, char **reterr)
{
    return load_text(path, source, ret_config, reterr);
}
