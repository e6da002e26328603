/* host.h: what the trusted modules of the configuration language may ask of C. Private to script/. */
#ifndef SCRIPT_HOST_H
#define SCRIPT_HOST_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "script/files.h"

struct cJSON;
struct state;

enum {
    HOST_NAMES_BYTES = 300 * FILES_LISTED
};

/* One load (load.c). What a host function must free hangs here, so that a Lua error loses nothing. */
struct load {
    struct state *state;
    struct files files;
    const struct cJSON *overrides, *labelled;
    char *source; /* of the main file */
    size_t source_len;
    char *text, *why;     /* of the host function under way */
    struct buf names;     /* NUL-separated, of the same */
    bool more;            /* steps are left */
    const char *sentence; /* why the last step was stopped */
    struct cJSON *config;
    char *errors, *warnings;
    uint64_t files_hash; /* of what was read before labels were looked at */
};

/* The table `host`: functions that dsl.lua and friends call. `l` is lent for the state's life. [-0, +1, e] */
void host_push(lua_State *L, struct load *l);
/* What `require` of a trusted module gives, which runs in a sandbox of its own. [-0, +1, e] */
void host_push_module(lua_State *L, const char *name);
/* Keeps the table on the top: one for each state. [-1, +0, e] */
void host_keep(lua_State *L);
/* A function of what was kept. [-0, +1, e] */
void host_push_kept(lua_State *L, const char *name);
/* Frees what the last host function left. */
void host_clear(struct load *l);

#endif
