/* run.c: the commands that need no daemon: run, check, version. */
#include <stdio.h>
#include <string.h>

#include "commands/check_hot.h"
#include "commands/commands.h"
#include "app/run.h"
#include "app/certificates.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/script.h"

static const char *config_of(const struct command_call *call)
{
    const char *path = command_arg(call, 0);
    return path ? path : "tidegate.lua";
}

static int run_run(const struct command_call *call)
{
    const char *workers = command_value(call, "workers"), *level = command_value(call, "log-level");
    const char *format = command_value(call, "log-format"), *admin = command_value(call, "admin");
    struct run_options options = {
        .config = config_of(call),
        .engine = command_value(call, "engine"),
        .workers = -1,
        .log_json = format && !strcmp(format, "json"),
        .log_level = LOG_INFO,
        .log_file = command_value(call, "log-file"),
        .admin = admin && !strcmp(admin, "off") ? "" : admin,
        .state_dir = command_value(call, "state-dir"),
        .runtime_dir = command_value(call, "runtime-dir"),
        .stop_services = command_value(call, "stop-services") != NULL,
    };
    if (workers) {
        uint64_t count;
        if (str_to_u64(str_of(workers), &count) || count > LIMIT_WORKERS) {
            return command_fail(
                COMMAND_WRONG_USAGE,
                "\"%s\" is no number of workers: give 1 to %d, or 0 for one per core", workers,
                LIMIT_WORKERS);
        }
        options.workers = (int)count;
    }
    if (level) {
        (void)log_level_of(level, &options.log_level);
    }
    return app_run(&options);
}

/* "ok: 2 services, 3 routes, policies least_connections, threshold" */
static void say_ok(const struct cJSON *config)
{
    const struct cJSON *services = json_get(config, "services");
    size_t routes = 0;
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        for (const struct cJSON *r = json_first(json_get(s, "routes")); r; r = json_next(r)) {
            routes += json_get(r, "inner") == NULL;
        }
    }
    size_t count = json_count(services);
    printf("ok: %zu service%s, %zu route%s", count, count == 1 ? "" : "s", routes,
           routes == 1 ? "" : "s");
    const char *before = ", policies ";
    for (const struct cJSON *p = json_first(json_get(config, "policies")); p; p = json_next(p)) {
        printf("%s%s", before, json_str(p, "name", "?"));
        before = ", ";
    }
    putchar('\n');
}

/* One line of JSON: {"ok":true,"warnings":"...","configuration":{...},"hot"?:[as kit.h has it]} or
 * {"ok":false,"error":"..."}. */
static void say_json(const struct cJSON *config, const struct cJSON *hot, const char *warnings,
                     const char *error)
{
    struct cJSON *answer = json_object();
    json_set_bool(answer, "ok", !error);
    if (error) {
        json_set_str(answer, "error", error);
    } else {
        json_set_str(answer, "warnings", warnings);
        json_set(answer, "configuration", json_copy(config));
        if (hot) {
            json_set(answer, "hot", json_copy(hot));
        }
    }
    char *text = json_text(answer);
    puts(text);
    mem_free(text);
    json_free(answer);
}

/* Its certificates are files that no policy process opens: they are looked at here. Takes *warnings along. */
static int look_at_certificates(const struct cJSON *config, char **warnings, char **reterr)
{
    struct certificates_set *set = NULL;
    char *more = NULL;
    int rc = certificates_load(config, NULL, &set, &more, reterr);
    certificates_set_free(set);
    if (*more) {
        bool before = *warnings && **warnings;
        char *both = mem_printf("%s%s%s", before ? *warnings : "", before ? "\n" : "", more);
        mem_free(*warnings);
        *warnings = both;
    }
    mem_free(more);
    return rc;
}

static int run_check(const struct command_call *call)
{
    const char *engine = command_value(call, "engine");
    bool json = command_value(call, "json") != NULL;
    struct cJSON *overrides = json_object(), *config = NULL, *hot = NULL;
    char *warnings = NULL, *error = NULL;
    if (engine) {
        json_set_str(overrides, "engine", engine);
    }
    int code = COMMAND_FINE;
    int rc = script_load(config_of(call), overrides, &config, &warnings, &error);
    rc = rc ? rc : look_at_certificates(config, &warnings, &error);
    if (!rc && command_value(call, "hot")) {
        code = check_hot(config, &hot);
    }
    if (json) {
        say_json(config, hot, warnings, rc ? error : NULL);
    }
    if (rc) {
        code =
            command_fail(COMMAND_NO, "%s does not load:\n%s", config_of(call), error ? error : "");
    } else if (!json) {
        if (warnings && *warnings) {
            fprintf(stderr, "%s\n", warnings);
        }
        say_ok(config);
    }
    if (hot) {
        code = check_hot_show(hot, json);
    }
    json_free(hot);
    json_free(config);
    json_free(overrides);
    mem_free(warnings);
    mem_free(error);
    return code;
}

static int run_version(const struct command_call *call)
{
    if (command_value(call, "json")) {
        puts("{\"version\":\"" TIDEGATE_VERSION "\"}");
    } else {
        puts("tidegate " TIDEGATE_VERSION);
    }
    return COMMAND_FINE;
}

static const struct command_option RUN[] = {
    {"engine", "docker|process", "what starts the instances, in place of cluster.engine"},
    {"workers", "N", "processes that carry traffic; 0 = one per core"},
    {"admin", "ADDRESS", "HTTP address of /healthz, /metrics and /status; off = none"},
    {"log-format", "text|json", "key=value lines, or one JSON object a line"},
    {"log-level", "debug|info|warn|error", "least level that is logged (default info)"},
    {"log-file", "FILE", "append the log to a file, opened again on SIGUSR1"},
    {"state-dir", "DIR", "base of what outlives the daemon"},
    {"runtime-dir", "DIR", "base of the control socket"},
    {"stop-services", NULL, "at the end stop the instances too"},
    {NULL, NULL, NULL},
};
static const struct command_option CHECK[] = {
    {"engine", "docker|process", "check for this engine, in place of cluster.engine"},
    {"hot", NULL,
     "also what a pick of each balance policy costs, and what LuaJIT does not compile"},
    {"json", NULL, "print the outcome and the whole configuration as one line of JSON"},
    {NULL, NULL, NULL},
};
static const struct command_option VERSION[] = {
    {"json", NULL, "print it as one line of JSON"},
    {NULL, NULL, NULL},
};

const struct command command_run = {
    .name = "run",
    .arguments = "[CONFIG]",
    .most = 1,
    .summary = "the daemon, in the foreground",
    .doc = "Deploys and watches the services of the configuration (./tidegate.lua when none is "
           "named) and "
           "balances their traffic. SIGHUP reloads; SIGTERM and SIGINT drain and leave the "
           "instances running "
           "unless --stop-services is given; SIGUSR1 opens the log file again.",
    .example = "tidegate run /etc/tidegate/tidegate.lua --workers 2 --log-format json",
    .options = RUN,
    .run = run_run,
};

const struct command command_check = {
    .name = "check",
    .arguments = "[CONFIG]",
    .most = 1,
    .summary = "validate configuration and policies, run each policy's examples",
    .doc =
        "Loads the configuration (./tidegate.lua when none is named) as the daemon would, "
        "without starting "
        "anything. Every error is printed with its file and line; then the exit code is 1. With "
        "--hot each balance policy also picks some 60,000 times over made-up backends as a worker "
        "does: CPU time and garbage of a pick, and file and line of what LuaJIT does not compile.",
    .example = "tidegate check ./tidegate.lua",
    .options = CHECK,
    .run = run_check,
};

const struct command command_version = {
    .name = "version",
    .arguments = "",
    .summary = "print the version",
    .doc = "Prints the version of this program; `tidegate status` shows that of the daemon.",
    .example = "tidegate version",
    .options = VERSION,
    .run = run_version,
};
