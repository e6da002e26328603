/* shipped.h: the Lua files that travel inside the binary, as scripts/embed.lua writes them.
 * Private to script/. */
#ifndef SCRIPT_SHIPPED_H
#define SCRIPT_SHIPPED_H

#include <stddef.h>

struct shipped_file {
    const char *name;   /* "balance/round_robin", "script/dsl", "meta" */
    const char *origin; /* "policies/balance/round_robin.lua" */
    size_t len;         /* of source */
    const char *source; /* NUL-terminated */
};

extern const struct shipped_file shipped_files[]; /* sorted by name */
extern const size_t shipped_count;

/* By name, or NULL. */
const struct shipped_file *shipped_find(const char *name);

#endif
