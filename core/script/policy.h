/* policy.h: policies and libraries of a configuration (script.h), inside a state. Private to the
 * script room. */
#ifndef SCRIPT_POLICY_H
#define SCRIPT_POLICY_H

#include <lua.h>
#include <stddef.h>

struct cJSON;
struct memory;

/* The policy as configured: {"kind", "name", "origin", "source"}, or NULL. Lent: as long as config.
 */
const struct cJSON *policy_find(const struct cJSON *config, const char *kind, const char *name);
/* A state_library_fn over config->libraries; `arg` is the configuration. */
int policy_library(void *arg, const char *name, const char **ret_origin, const char **ret_source,
                   size_t *ret_len);
struct policy_use {
    const struct cJSON *policy; /* as policy_find has it */
    const struct cJSON *params; /* may be NULL */
    const struct cJSON *config; /* where policies among the parameters are; NULL: there are none */
    struct memory *memory;      /* keeps its state under `key`; NULL: it is not kept */
    const char *key;
};

/* What new(params, state) of a freshly loaded policy returns: every instance has an environment of its own. That
 * of an anomaly policy gets the kernel (detector.h) in place of a state. [-0, +1, e] */
void policy_push_instance(lua_State *L, const struct policy_use *use);

#endif
