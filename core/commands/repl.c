/* repl.c: `tidegate repl`. */
#include <errno.h>

#include "commands/commands.h"
#include "app/paths.h"
#include "commands/repl_session.h"
#include "base/ban.h"
#include "base/mem.h"

enum {
    BUDGET_MS = 10000,
    BUDGET_MOST_MS = 3600000
};

static int run_repl(const struct command_call *call)
{
    const char *config = command_arg(call, 0), *socket = command_value(call, "socket");
    const char *cluster = command_value(call, "cluster");
    bool attach = command_value(call, "attach") != NULL;
    char *path = NULL, *why = NULL;
    uint64_t budget_ms;
    int code = command_duration(call, "timeout", BUDGET_MS, &budget_ms);
    if (code != COMMAND_FINE) {
        return code;
    }
    if (attach && config) {
        return command_fail(COMMAND_WRONG_USAGE,
                            "--attach takes the daemon's configuration: leave \"%s\" out", config);
    }
    if (!attach && (socket || cluster || command_value(call, "write"))) {
        return command_fail(COMMAND_WRONG_USAGE,
                            "--socket, --cluster and --write are for a daemon: add --attach");
    }
    if (budget_ms == 0 || budget_ms > BUDGET_MOST_MS) {
        return command_fail(COMMAND_WRONG_USAGE, "--timeout is from 1ms to 1h");
    }
    if (attach) {
        int rc = paths_find_socket(socket, cluster, &path, &why);
        if (rc < 0) {
            code = command_no_socket(rc, why);
            mem_free(why);
            return code;
        }
    }
    struct repl_options options = {
        .config = config ? config : "tidegate.lua",
        .socket = path,
        .write = command_value(call, "write") != NULL,
        .json = command_value(call, "json") != NULL,
        .budget_ms = (uint32_t)budget_ms,
        .code = command_value(call, "eval"),
    };
    code = repl_run(&options);
    mem_free(path);
    return code;
}

static const struct command_option OPTIONS[] = {
    {"attach", NULL, "look at the running daemon in place of made-up views"},
    {"write", NULL, "attached, words such as scale and drain may change the running system"},
    {"eval", "CODE", "evaluate this alone and end; also -e"},
    {"timeout", "DURATION", "CPU time that one evaluation may take (default 10s)"},
    {"socket", "PATH", "control socket of the daemon; also $TIDEGATE_SOCKET"},
    {"cluster", "ID", "the daemon of this cluster, when several run"},
    {"json", NULL, "print each result as one line of JSON"},
    {NULL, NULL, NULL},
};

const struct command command_repl = {
    .name = "repl",
    .arguments = "[CONFIG]",
    .most = 1,
    .summary = "the console: a Lua prompt that asks the policies",
    .doc = "Without --attach it reads the configuration (./tidegate.lua when none is named) and "
           "asks its "
           "policies about made-up views; with it, about a snapshot of the running daemon, which "
           "is read "
           "before each evaluation. What is typed runs in a sandbox of its own, and nothing is "
           "changed unless "
           "--write is given; the daemon then notes who asked. Lines come from the terminal, with "
           "editing, history "
           "and completion, or from stdin, statement by statement up to the first that fails. "
           "`:help` tells what "
           "there is.",
    .example = "tidegate repl -e 'decide(\"catalog\", { cpu_percent = 92 })'\n"
               "tidegate repl --attach --json -e services.catalog",
    .options = OPTIONS,
    .run = run_repl,
};
