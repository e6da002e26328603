/* run.h: the daemon as the command line starts it. */
#ifndef APP_RUN_H
#define APP_RUN_H

#include <stdbool.h>

#include "base/log.h"

/* What `tidegate run` was told; NULL and negative = as the configuration says. All borrowed. */
struct run_options {
    const char *config; /* never NULL */
    const char *engine; /* "docker", "process" */
    int workers;        /* -1 = as configured, 0 = one per core */
    bool log_json;
    enum log_level log_level;
    const char *log_file;                /* NULL = stderr */
    const char *admin;                   /* address of the HTTP side; "" = none */
    const char *state_dir, *runtime_dir; /* bases, see paths.h */
    bool stop_services;                  /* at the end stop the instances too */
};

/* Runs until a signal ends it; the process's exit code. */
int app_run(const struct run_options *options);

#endif
