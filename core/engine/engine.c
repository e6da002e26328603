/* engine.c: the choice of an engine, and names for what engines tell. See
 * engine.h. */
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const struct {
    const char *name;
    int (*make)(const struct engine_options *options, struct engine **ret_engine, char **reterr);
} kinds[] = {
    {"docker", engine_docker_new},
    {"process", engine_process_new},
};

int engine_new(const struct engine_options *options, struct engine **ret_engine, char **reterr)
{
    const char *name = json_str(options->cluster_config, "engine", "docker");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (str_same(kinds[i].name, name)) {
            return kinds[i].make(options, ret_engine, reterr);
        }
    }
    *reterr = mem_printf("cluster.engine: there is no engine \"%s\": use \"docker\" or \"process\"",
                         name);
    return -EINVAL;
}

const char *engine_state_name(enum engine_state state)
{
    static const char *const names[ENGINE_STATES] = {"created", "running", "restarting",
                                                     "paused",  "exited",  "gone"};
    must(state < ENGINE_STATES);
    return names[state];
}

const char *engine_health_name(enum engine_health health)
{
    static const char *const names[ENGINE_HEALTHS] = {"none", "starting", "healthy", "unhealthy"};
    must(health < ENGINE_HEALTHS);
    return names[health];
}
