/* repl_session.h: a session of the console: where its data come from, and its three ways of reading. */
#ifndef COMMANDS_REPL_SESSION_H
#define COMMANDS_REPL_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct repl_options {
    const char *config; /* file, when not attached */
    const char *socket; /* of the daemon, or NULL */
    bool write, json;
    uint32_t budget_ms; /* of CPU time, for each evaluation */
    const char *code;   /* evaluated alone, or NULL */
};

/* Runs it to its end; an enum command_exit. What is wrong is told on stderr, with json on stdout. */
int repl_run(const struct repl_options *options);

#endif
