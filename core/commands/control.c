/* control.c: the commands that ask the running daemon. The protocol is in commands.h. */
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    QUICK_MS = 10000, /* answers that the daemon has at hand */
    RELOAD_MS = 60000,
    DEPLOY_MS = 300000,
    HOLD_MS = 600000,
    SPARE_MS = 5000, /* the daemon keeps the deadline; we wait a little longer for its word */
};

typedef void show_fn(struct buf *to, const struct cJSON *answer, unsigned columns, bool colour);

static struct cJSON *request_of(const char *command)
{
    struct cJSON *request = json_object();
    json_set_str(request, "command", command);
    return request;
}

/* A request whose first argument, if given, goes under `key`. */
static struct cJSON *request_about(const char *command, const struct command_call *call,
                                   const char *key)
{
    struct cJSON *request = request_of(command);
    if (command_arg(call, 0)) {
        json_set_str(request, key, command_arg(call, 0));
    }
    return request;
}

/* Asks and shows the answer on as many columns as there are. */
static int ask_and_show(const struct command_call *call, struct cJSON *request, show_fn *show)
{
    struct cJSON *answer;
    int code = command_ask(call, request, QUICK_MS, &answer);
    if (code != COMMAND_FINE || !answer) {
        return code;
    }
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    show(&text, answer, screen_columns(), screen_coloured());
    fputs(buf_str(&text), stdout);
    buf_free(&text);
    json_free(answer);
    return COMMAND_FINE;
}

/* Asks for something to be done and says so in one line, "<what> <first argument>". */
static int ask_and_say(const struct command_call *call, struct cJSON *request, const char *what)
{
    struct cJSON *answer;
    int code = command_ask(call, request, QUICK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        printf("%s %s\n", what, command_arg(call, 0));
    }
    json_free(answer);
    return code;
}

static int run_status(const struct command_call *call)
{
    return ask_and_show(call, request_about("status", call, "service"), commands_show_status);
}

static int run_decisions(const struct command_call *call)
{
    uint64_t since_ms = 0, now_ms = clock_wall_ms();
    int code = command_duration(call, "since", 0, &since_ms);
    if (code != COMMAND_FINE) {
        return code;
    }
    struct cJSON *request = request_about("decisions", call, "service");
    json_set_num(request, "since_wall_ms",
                 since_ms && since_ms < now_ms ? (double)(now_ms - since_ms) : 0);
    return ask_and_show(call, request, commands_show_decisions);
}

static int run_scale(const struct command_call *call)
{
    uint64_t instances, hold_ms;
    if (str_to_u64(str_of(command_arg(call, 1)), &instances) || instances > LIMIT_INSTANCES) {
        return command_fail(COMMAND_WRONG_USAGE, "\"%s\" is no number of instances: give 0 to %d",
                            command_arg(call, 1), LIMIT_INSTANCES);
    }
    int code = command_duration(call, "for", HOLD_MS, &hold_ms);
    if (code != COMMAND_FINE) {
        return code;
    }
    struct cJSON *request = request_about("scale", call, "service");
    json_set_num(request, "instances", (double)instances);
    json_set_num(request, "hold_ms", (double)hold_ms);
    struct cJSON *answer;
    code = command_ask(call, request, QUICK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        printf("%s: %d -> %d instances, held for %llu s, then its policy decides again\n",
               command_arg(call, 0), (int)json_int(answer, "was", 0),
               (int)json_int(answer, "desired", (int64_t)instances),
               (unsigned long long)(hold_ms / 1000));
    }
    json_free(answer);
    return code;
}

static int run_deploy(const struct command_call *call)
{
    uint64_t timeout_ms;
    bool wait = command_value(call, "wait") != NULL;
    int code = command_duration(call, "timeout", DEPLOY_MS, &timeout_ms);
    if (code != COMMAND_FINE) {
        return code;
    }
    struct cJSON *request = request_about("deploy", call, "service");
    json_set_bool(request, "wait", wait);
    json_set_num(request, "timeout_ms", (double)timeout_ms);
    struct cJSON *answer;
    code = command_ask(call, request, wait ? timeout_ms + SPARE_MS : QUICK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        printf("%s: generation %d %s\n", command_arg(call, 0),
               (int)json_int(answer, "generation", 0),
               wait ? "is up" : "is being deployed: follow it with `tidegate status`");
    }
    json_free(answer);
    return code;
}

static int run_drain(const struct command_call *call)
{
    bool drain = call->command == &command_drain;
    struct cJSON *request = request_about("drain", call, "backend");
    json_set_bool(request, "drain", drain);
    return ask_and_say(call, request, drain ? "draining" : "taking requests again:");
}

static int run_backend(const struct command_call *call)
{
    const char *what = command_arg(call, 0), *address = command_arg(call, 2);
    bool add = str_same(what, "add");
    if (!add && !str_same(what, "remove")) {
        return command_fail(COMMAND_WRONG_USAGE, "\"%s\" is neither add nor remove", what);
    }
    struct cJSON *request = request_of("backend");
    json_set_bool(request, "add", add);
    json_set_str(request, "service", command_arg(call, 1));
    json_set_str(request, "backend", address);
    struct cJSON *answer;
    int code = command_ask(call, request, QUICK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        printf("%s: %s %s\n", command_arg(call, 1), add ? "checking, then balancing" : "draining",
               json_str(answer, "backend", address));
    }
    json_free(answer);
    return code;
}

static int run_weight(const struct command_call *call)
{
    uint64_t weight;
    if (str_to_u64(str_of(command_arg(call, 1)), &weight) || !weight || weight > 1000) {
        return command_fail(COMMAND_WRONG_USAGE, "\"%s\" is no weight: give 1 to 1000",
                            command_arg(call, 1));
    }
    struct cJSON *request = request_about("weight", call, "backend");
    json_set_num(request, "weight", (double)weight);
    return ask_and_say(call, request, "weighted");
}

static int run_restart(const struct command_call *call)
{
    return ask_and_say(call, request_about("restart", call, "instance"), "replacing");
}

static int run_approve(const struct command_call *call)
{
    struct cJSON *answer;
    int code = command_ask(call, request_about("approve", call, "service"), QUICK_MS, &answer);
    if (code == COMMAND_FINE && answer) {
        printf("%s: %d -> %d instances\n", command_arg(call, 0), (int)json_int(answer, "was", 0),
               (int)json_int(answer, "instances", 0));
    }
    json_free(answer);
    return code;
}

static int run_stop(const struct command_call *call)
{
    return ask_and_say(call, request_about("stop", call, "service"), "draining and stopping");
}

/* "4 (CPU 91 %)" or what failed. */
static void put_side(struct buf *to, const struct cJSON *side)
{
    const char *error = json_str(side, "error", NULL), *reason = json_str(side, "reason", "");
    if (error) {
        screen_text(to, error);
        return;
    }
    (void)buf_printf(to, "%g", json_num(side, "want", 0));
    if (*reason) {
        (void)buf_text(to, " (");
        screen_text(to, reason);
        (void)buf_text(to, ")");
    }
}

/* What the last views would have led to. */
static void put_diff(struct buf *to, const struct cJSON *diff)
{
    const struct cJSON *services = json_get(diff, "services"), *alerts = json_get(diff, "alerts");
    int views = (int)json_int(diff, "views", 0);
    if (json_bool(diff, "partial", false)) {
        (void)buf_text(to, "decisions were not all compared: that took too long\n");
    }
    if (views && !json_count(services)) {
        (void)buf_printf(to, "no decision differs on the last %d view%s\n", views,
                         views == 1 ? "" : "s");
    }
    for (const struct cJSON *s = json_first(services); s; s = json_next(s)) {
        const struct cJSON *last = json_get(s, "last");
        const char *was = json_str(s, "was", ""), *now = json_str(s, "now", "");
        screen_text(to, json_str(s, "service", ""));
        (void)buf_printf(to, ": %d of the last %d decisions differ", (int)json_int(s, "differ", 0),
                         (int)json_int(s, "views", 0));
        if (!str_same(was, now)) {
            (void)buf_text(to, ", ");
            screen_text(to, was);
            (void)buf_text(to, " -> ");
            screen_text(to, now);
        }
        (void)buf_text(to, "\n  ");
        put_side(to, json_get(last, "was"));
        (void)buf_text(to, "\n  -> ");
        put_side(to, json_get(last, "now"));
        (void)buf_text(to, "\n");
    }
    for (const struct cJSON *a = json_first(alerts); a; a = json_next(a)) {
        (void)buf_text(to, "alert ");
        screen_text(to, json_str(a, "alert", ""));
        (void)buf_text(to,
                       json_bool(a, "now", false) ? " would fire for " : " would not fire for ");
        screen_text(to, json_str(a, "subject", ""));
        if (json_str(a, "error", NULL)) {
            (void)buf_text(to, ": ");
            screen_text(to, json_str(a, "error", ""));
        }
        (void)buf_text(to, "\n");
    }
}

static int run_reload(const struct command_call *call)
{
    struct cJSON *answer;
    struct cJSON *request = request_of("reload");
    json_set_bool(request, "dry_run", command_value(call, "dry-run") != NULL);
    int code = command_ask(call, request, RELOAD_MS, &answer);
    if (code != COMMAND_FINE || !answer) {
        return code;
    }
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    const char *warnings = json_str(answer, "warnings", "");
    if (*warnings) {
        screen_lines(&text, warnings);
        (void)buf_text(&text, text.data[text.len - 1] == '\n' ? "" : "\n");
    }
    put_diff(&text, json_get(answer, "diff"));
    if (json_bool(answer, "dry_run", false)) {
        (void)buf_text(&text, "would be accepted, nothing has changed: ");
        screen_text(&text, json_str(answer, "hash", "?"));
    } else {
        (void)buf_printf(&text, "reloaded: generation %d, ",
                         (int)json_int(answer, "generation", 0));
        screen_text(&text, json_str(answer, "hash", "?"));
    }
    if (!json_bool(answer, "all_switched", true)) {
        (void)buf_text(&text, "; not all workers have switched yet: see the log");
    }
    puts(buf_str(&text));
    buf_free(&text);
    json_free(answer);
    return COMMAND_FINE;
}

static const struct command_option SINCE[] = {
    {"since", "DURATION", "only those of this last time, such as 1h"},
    {NULL, NULL, NULL},
};
static const struct command_option FOR[] = {
    {"for", "DURATION", "how long the policy is held off (default 10m)"},
    {NULL, NULL, NULL},
};
static const struct command_option DRY_RUN[] = {
    {"dry-run", NULL, "do all of it but switch: the generation in force goes on"},
    {NULL, NULL, NULL},
};
static const struct command_option WAIT[] = {
    {"wait", NULL, "return when all instances are new, or the deploy has failed"},
    {"timeout", "DURATION", "longest wait (default 5m)"},
    {NULL, NULL, NULL},
};

const struct command command_status = {
    .name = "status",
    .arguments = "[SERVICE]",
    .most = 1,
    .summary = "services, instances, load, last decision and its reason",
    .doc = "Shows the daemon and its engine, a line for each service with its load and the last "
           "scaling "
           "decision, and every instance with its state, address and figures.",
    .example = "tidegate status catalog",
    .asks = true,
    .run = run_status,
};

const struct command command_decisions = {
    .name = "decisions",
    .arguments = "[SERVICE]",
    .most = 1,
    .summary = "what was decided, by which policy, why, and what held it back",
    .doc = "Prints the record of scaling decisions, the newest last: what the policy wanted, what "
           "was done, "
           "the policy's reason, and which bound (cooldown, min, max, stale data, work under way) "
           "held it.",
    .example = "tidegate decisions catalog --since 1h --json",
    .options = SINCE,
    .asks = true,
    .run = run_decisions,
};

const struct command command_scale = {
    .name = "scale",
    .arguments = "SERVICE N",
    .least = 2,
    .most = 2,
    .summary = "set the number of instances by hand, for a while",
    .doc = "Sets how many instances a service has. The number is held for a while, within the "
           "service's "
           "bounds; then its policy decides again.",
    .example = "tidegate scale catalog 4 --for 10m",
    .options = FOR,
    .asks = true,
    .run = run_scale,
};

const struct command command_deploy = {
    .name = "deploy",
    .arguments = "SERVICE",
    .least = 1,
    .most = 1,
    .summary = "roll the service to new instances, one by one, no request lost",
    .doc =
        "Starts a new instance, waits until it is healthy, drains an old one, and so on until all "
        "are new. "
        "If a new instance does not become healthy the old ones stay. With --wait it returns when "
        "that is "
        "decided: exit code 1 and the reason, the last health output and log lines when it failed.",
    .example = "tidegate deploy catalog --wait --timeout 2m",
    .options = WAIT,
    .asks = true,
    .run = run_deploy,
};

const struct command command_drain = {
    .name = "drain",
    .arguments = "BACKEND",
    .least = 1,
    .most = 1,
    .summary = "send a backend no new requests",
    .doc = "The backend, named by its instance id or its address, finishes what it has and gets "
           "nothing new "
           "until undrain.",
    .example = "tidegate drain catalog-7",
    .asks = true,
    .run = run_drain,
};

const struct command command_undrain = {
    .name = "undrain",
    .arguments = "BACKEND",
    .least = 1,
    .most = 1,
    .summary = "send a drained backend requests again",
    .doc = "Takes back what drain did.",
    .example = "tidegate undrain catalog-7",
    .asks = true,
    .run = run_drain,
};

const struct command command_backend = {
    .name = "backend",
    .arguments = "add|remove SERVICE HOST:PORT",
    .least = 3,
    .most = 3,
    .summary = "give a service that runs elsewhere one backend more or less",
    .doc = "For services with `backends`. A new one gets requests once it is healthy, one that is "
           "removed finishes what it has. It lasts over reloads until the configuration's own list "
           "of this service's backends changes, and not over a restart of the daemon.",
    .example = "tidegate backend add legacy 10.0.0.7:9000",
    .asks = true,
    .run = run_backend,
};

const struct command command_weight = {
    .name = "weight",
    .arguments = "BACKEND N",
    .least = 2,
    .most = 2,
    .summary = "give a backend another share of the requests",
    .doc = "The backend, named by its instance id or its address, has this weight from now on: as "
           "long as it lives, or until the configuration's list of its service's backends changes. "
           "Policies that know weights follow it.",
    .example = "tidegate weight legacy@10.0.0.5:9000 5",
    .asks = true,
    .run = run_weight,
};

const struct command command_restart = {
    .name = "restart",
    .arguments = "INSTANCE",
    .least = 1,
    .most = 1,
    .summary = "replace one instance by a new one",
    .doc = "Starts a new instance in its place, waits until it is healthy, then drains and removes "
           "the old "
           "one.",
    .example = "tidegate restart catalog-7",
    .asks = true,
    .run = run_restart,
};

const struct command command_approve = {
    .name = "approve",
    .arguments = "SERVICE",
    .least = 1,
    .most = 1,
    .summary = "do what a service's policy recommends",
    .doc = "For services whose scale has mode = \"recommend\": their policy's number, held to the "
           "guard rails, is shown by `tidegate status` and waits for this. The decision record "
           "says who approved it.",
    .example = "tidegate approve catalog",
    .asks = true,
    .run = run_approve,
};

const struct command command_stop = {
    .name = "stop",
    .arguments = "SERVICE",
    .least = 1,
    .most = 1,
    .summary = "drain and remove all instances of a service",
    .doc = "The service stays in the configuration without instances until it is deployed again.",
    .example = "tidegate stop catalog",
    .asks = true,
    .run = run_stop,
};

const struct command command_reload = {
    .name = "reload",
    .arguments = "",
    .summary = "read configuration and policies again, and wait for the outcome",
    .doc =
        "The same as SIGHUP, but prints the outcome. The new generation is loaded beside the "
        "old one and "
        "takes over between two requests; if anything is wrong the old one goes on, every error "
        "is printed, "
        "and the exit code is 1. The last figures of each service go once more through "
        "the old and the new policies, and decisions that differ are printed, bounds included. The "
        "hash is that of all files read. When the command returns, no worker serves the old "
        "generation any more.",
    .example = "tidegate reload --dry-run",
    .options = DRY_RUN,
    .refusal = "reload refused, the old generation goes on",
    .asks = true,
    .run = run_reload,
};
