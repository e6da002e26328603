/* doctor.h: what `tidegate doctor` found, and the looks that find it. Private to the commands room. */
#ifndef COMMANDS_DOCTOR_H
#define COMMANDS_DOCTOR_H

#include <stdbool.h>

struct cJSON;

enum doctor_state {
    DOCTOR_OK,
    DOCTOR_WARN, /* works, with something missing */
    DOCTOR_FAIL, /* the daemon would not do its work */
    DOCTOR_STATES
};

struct doctor {
    struct cJSON *checks;       /* of JSON: {"name","state","text","todo"?} */
    const struct cJSON *config; /* as script.h has it; NULL: none could be read */
    const struct cJSON *daemon; /* its answer to "status"; NULL: none runs for that cluster */
    const struct cJSON *theirs; /* its configuration; NULL: not known */
    bool failed;
};

/* Notes what a look found. `todo`: what to do about it, "" when it is fine. */
void doctor_say(struct doctor *d, const char *name, enum doctor_state state, const char *todo,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The LuaJIT in use: in children, since one that is broken may crash or hang. To be called before anything that
 * starts threads. */
void doctor_lua(struct doctor *d);
/* The engine of the configuration: reachable, its version, its clock. */
void doctor_engine(struct doctor *d);
/* Control groups, where the engine is `process`. */
void doctor_cgroups(struct doctor *d);
/* Limits of the process, memory, clocks, versions of libraries. */
void doctor_host(struct doctor *d);
/* Directories of the cluster, addresses to listen on. */
void doctor_places(struct doctor *d);

#endif
