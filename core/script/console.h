/* console.h: a prompt in a sandboxed state of its own, for `tidegate repl`.
 *
 * What is typed runs like a policy: allow-listed libraries, memory capped, a budget of CPU time for each
 * evaluation, so that nothing that is typed can hang or end the program. It sees `services` and the words of
 * console.lua, and through these asks the policies of a configuration. It never runs in a process that
 * serves: what it knows of a daemon is the `data` that the caller brings.
 *
 * DATA as JSON: { "configuration": as script_load gives it (absent: as before),
 *   "status"?: {...} as fleet_status gives it (absent: views are made up),
 *   "metrics"?: { "catalog": {a view of watch/view.h} },
 *   "commands"?: [ { "name": "scale", "usage": "scale SERVICE N", "doc": "...", "example": "..." } ] (for :help) } */
#ifndef SCRIPT_CONSOLE_H
#define SCRIPT_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct script_console;

struct script_console_options {
    const char *config_path; /* where policies and libraries of drafts are found; may be NULL */
    uint32_t budget_ms;      /* of CPU time, for each evaluation */
    bool write;              /* words that change the daemon may be used */
    bool json;               /* results are printed as lines of JSON: {"ok":true,"value":...} */
    void *arg;
    /* Takes what is printed: without control bytes but newline and tab. Called inside an evaluation. */
    void (*print)(void *arg, const char *text, size_t len);
    /* Asks the daemon and returns its answer, which the callee owned: never NULL. NULL: there is no daemon. Called
     * inside an evaluation. */
    struct cJSON *(*ask)(void *arg, const struct cJSON *request);
    /* Runs a simulation, which does not count as CPU time of the evaluation, and returns {"ok":true,"text":"for people",
     * ...: the value} or {"ok":false,"error"}, which the callee owned. Called inside an evaluation with
     * {"policies":["threshold:cpu=60"],"load":"yesterday","service"?:"catalog", and what console_simulate.lua takes}. */
    struct cJSON *(*simulate)(void *arg, const struct cJSON *request);
};

enum script_console_outcome {
    SCRIPT_CONSOLE_DONE,
    SCRIPT_CONSOLE_MORE,   /* the text is not complete: the same again with what follows */
    SCRIPT_CONSOLE_FAILED, /* the sentence says why: "console:1: ..." */
    SCRIPT_CONSOLE_QUIT,
    SCRIPT_CONSOLE_RELOAD, /* the caller brings fresh data */
    SCRIPT_CONSOLE_WATCH,  /* the caller evaluates ":show SERVICE" again and again */
    SCRIPT_CONSOLE_TRACE,  /* the caller evaluates ":trace" after a while, and so on */
    SCRIPT_CONSOLE_OUTCOMES
};

struct script_console_watch {
    char service[64];
    uint32_t every_ms, times; /* times 0: until interrupted */
};

/* `options` is copied, but config_path only until it returns. -EINVAL with a sentence. */
int script_console_new(const struct script_console_options *options,
                       struct script_console **ret_console, char **reterr);
void script_console_free(struct script_console *console); /* NULL is allowed */
/* Takes up other data; what was typed before stays. `fresh`: drafts of policies are forgotten. Borrows. -EINVAL
 * with a sentence: all is as before. */
int script_console_update(struct script_console *console, const struct cJSON *data, bool fresh,
                          char **reterr);
/* Runs what was typed; `origin` and `line` (from 1) are where it says it came from. `final`: nothing can
 * follow, so that what is not complete fails. *reterr (mem_free) is set when it failed, *ret_watch for WATCH. */
enum script_console_outcome script_console_eval(struct script_console *console, const char *origin,
                                                unsigned line, const char *text, bool final,
                                                struct script_console_watch *ret_watch,
                                                char **reterr);
/* Words that may stand at the end of a line, one a line ("" = none), and how many bytes at its end they
 * replace. The caller owns them. */
char *script_console_complete(struct script_console *console, const char *before,
                              size_t *ret_replaced);
/* Ends the evaluation under way, if any, with an error. May be called in a signal handler of its thread. */
void script_console_interrupt(struct script_console *console);

#endif
