/* policy.h: policies and libraries of a configuration (script.h), inside a state. Private to the
 * script room. */
#ifndef SCRIPT_POLICY_H
#define SCRIPT_POLICY_H

#include <lua.h>
#include <stddef.h>

struct cJSON;

/* The policy as configured: {"kind", "name", "origin", "source"}, or NULL. Lent: as long as config.
 */
const struct cJSON *policy_find(const struct cJSON *config, const char *kind, const char *name);
/* A state_library_fn over config->libraries; `arg` is the configuration. */
int policy_library(void *arg, const char *name, const char **ret_origin, const char **ret_source,
                   size_t *ret_len);
/* What new(params) of a freshly loaded policy returns: every instance has an environment of its
 * own; that of an anomaly policy gets the kernel too (detector.h). `params` may be NULL. Policies among
 * them are those of `config`, lent for the state's life (parts.lua); NULL: there are none. [-0, +1, e] */
void policy_push_instance(lua_State *L, const struct cJSON *config, const struct cJSON *policy,
                          const struct cJSON *params);

#endif
