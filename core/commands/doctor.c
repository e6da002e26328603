/* doctor.c: `tidegate doctor`: whether everything that the daemon needs is there, one line each. */
#include "commands/doctor.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "app/paths.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "commands/commands.h"
#include "commands/screen.h"
#include "script/script.h"

enum {
    ASK_MS = 2000,
    NAME_WIDTH = 14
};

static const char *const STATES[DOCTOR_STATES] = {"ok", "warn", "fail"};

void doctor_say(struct doctor *d, const char *name, enum doctor_state state, const char *todo,
                const char *format, ...)
{
    char text[LIMIT_REASON_BYTES * 2];
    struct cJSON *check = json_object();
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_set_str(check, "name", name);
    json_set_str(check, "state", STATES[state]);
    json_set_str(check, "text", text);
    if (*todo) {
        json_set_str(check, "todo", todo);
    }
    json_set(d->checks, NULL, check);
    d->failed |= state == DOCTOR_FAIL;
}

/* ---- Configuration and daemon ------------------------------------------------------------- */

/* The caller owns it; NULL: it does not load, or is not there. */
static struct cJSON *look_at_config(struct doctor *d, const char *path, bool named)
{
    struct cJSON *config = NULL;
    char *warnings = NULL, *error = NULL;
    int rc = script_load(path, NULL, &config, &warnings, &error);
    if (rc == -ENOENT && !named) {
        doctor_say(d, "configuration", DOCTOR_WARN,
                   "name it, tidegate doctor FILE, so that its engine, ports and directories are "
                   "looked at",
                   "no %s here: defaults are assumed", path);
    } else if (rc) {
        char *end = strchr(error, '\n');
        if (end) {
            *end = '\0';
        }
        doctor_say(d, "configuration", DOCTOR_FAIL, "`tidegate check` tells all of it", "%s",
                   error);
    } else {
        doctor_say(d, "configuration", DOCTOR_OK, "", "%s, cluster %s, %zu services", path,
                   json_str(json_get(config, "cluster"), "id", "?"),
                   json_count(json_get(config, "services")));
    }
    mem_free(warnings);
    mem_free(error);
    return config;
}

static void say_quarantined(struct doctor *d, const struct cJSON *failing)
{
    for (const struct cJSON *f = json_first(failing); f; f = json_next(f)) {
        bool resting = json_bool(f, "quarantined", false);
        doctor_say(d, "policies", DOCTOR_WARN, "correct it and reload", "%s %s: %s",
                   json_str(f, "about", "?"), resting ? "is in quarantine" : "failed",
                   json_str(f, "error", ""));
    }
}

/* What the daemon at `path` answers; NULL with *ret_code: it does not. */
static struct cJSON *asked(const char *path, const char *command, int *ret_code)
{
    struct cJSON *request = json_object(), *answer = NULL;
    json_set_str(request, "command", command);
    *ret_code = admin_ask(path, request, ASK_MS, &answer);
    json_free(request);
    return answer;
}

/* The running daemon's status and snapshot, which the caller owns; NULL: there is none. */
static struct cJSON *look_at_daemon(struct doctor *d, struct cJSON **ret_snapshot)
{
    const struct cJSON *cluster = json_get(d->config, "cluster");
    char *dir =
        paths_runtime_dir(json_str(cluster, "runtime_dir", ""), json_str(cluster, "id", "default"));
    char *path = paths_control_socket(dir);
    int rc, ignored;
    struct cJSON *answer = asked(path, "status", &rc);
    *ret_snapshot = answer ? asked(path, "snapshot", &ignored) : NULL;
    const char *version = json_str(answer, "version", "");
    const struct cJSON *reload = json_get(answer, "reload");
    if (rc == -ENOENT || rc == -ECONNREFUSED) {
        doctor_say(d, "daemon", DOCTOR_OK, "", "none runs for this cluster");
    } else if (rc) {
        doctor_say(d, "daemon", DOCTOR_FAIL, "see its log; kill it when it hangs",
                   "the one at %s does not answer: %s", path, strerror(-rc));
    } else if (!str_same(version, TIDEGATE_VERSION)) {
        doctor_say(d, "daemon", DOCTOR_WARN, "start it again with this program",
                   "pid %d is of version %s, this program of %s", (int)json_int(answer, "pid", 0),
                   version, TIDEGATE_VERSION);
    } else {
        doctor_say(d, "daemon", DOCTOR_OK, "", "pid %d, version %s, generation %d",
                   (int)json_int(answer, "pid", 0), version,
                   (int)json_int(answer, "generation", 0));
    }
    if (reload && !json_bool(reload, "ok", true)) {
        doctor_say(d, "reload", DOCTOR_WARN, "`tidegate status` tells why; correct it and reload",
                   "the last one was refused: generation %d goes on",
                   (int)json_int(answer, "generation", 0));
    }
    say_quarantined(d, json_get(answer, "failing"));
    mem_free(path);
    mem_free(dir);
    return answer;
}

/* ---- Telling ------------------------------------------------------------------------------ */

static void show(const struct doctor *d, bool colour)
{
    struct buf out;
    buf_init(&out, SCREEN_MOST_BYTES);
    for (const struct cJSON *c = json_first(d->checks); c; c = json_next(c)) {
        const char *state = json_str(c, "state", ""), *todo = json_str(c, "todo", NULL);
        screen_paint(&out,
                     str_same(state, "ok")     ? SCREEN_GREEN
                     : str_same(state, "warn") ? SCREEN_YELLOW
                                               : SCREEN_RED,
                     colour, state);
        (void)buf_printf(&out, "%*s%-*s ", 6 - (int)strlen(state), "", NAME_WIDTH,
                         json_str(c, "name", ""));
        screen_text(&out, json_str(c, "text", ""));
        if (todo) {
            (void)buf_text(&out, ": ");
            screen_text(&out, todo);
        }
        (void)buf_text(&out, "\n");
    }
    fputs(buf_str(&out), stdout);
    buf_free(&out);
}

static int run_doctor(const struct command_call *call)
{
    const char *path = command_arg(call, 0);
    struct doctor d = {.checks = json_array()};
    signal(SIGPIPE, SIG_IGN);
    doctor_lua(&d);
    struct cJSON *config = look_at_config(&d, path ? path : "tidegate.lua", path != NULL);
    d.config = config;
    struct cJSON *snapshot, *daemon = look_at_daemon(&d, &snapshot);
    d.daemon = daemon;
    d.theirs = json_get(snapshot, "configuration");
    doctor_engine(&d);
    doctor_cgroups(&d);
    doctor_places(&d);
    doctor_host(&d);
    if (command_value(call, "json")) {
        struct cJSON *out = json_object();
        json_set_bool(out, "ok", !d.failed);
        json_set(out, "checks", json_copy(d.checks));
        char *text = json_text(out);
        puts(text);
        mem_free(text);
        json_free(out);
    } else {
        show(&d, screen_coloured());
    }
    json_free(d.checks);
    json_free(snapshot);
    json_free(daemon);
    json_free(config);
    return d.failed ? COMMAND_NO : COMMAND_FINE;
}

static const struct command_option OPTIONS[] = {
    {"json", NULL, "the checks as JSON"},
    {NULL, NULL, NULL},
};

const struct command command_doctor = {
    .name = "doctor",
    .arguments = "[CONFIG]",
    .most = 1,
    .summary = "look whether all that the daemon needs is there",
    .doc = "Looks at the LuaJIT in use (that policies can be interrupted, and a crash that some "
           "versions have), the "
           "configuration, the daemon when it runs, the engine (reachable, allowed, its version "
           "and clock), control "
           "groups, directories, addresses to listen on, limits, memory, clocks and libraries. One "
           "line each: ok, warn "
           "or fail, and what to do. It changes nothing. Exit code 1 when something fails.",
    .example = "tidegate doctor /etc/tidegate/tidegate.lua",
    .options = OPTIONS,
    .run = run_doctor,
};
