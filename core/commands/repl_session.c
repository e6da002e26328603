/* repl_session.c: see repl_session.h.
 *
 * Owns: the console, its data, SIGINT's handler. Called by: `tidegate repl`. Invariants: with a daemon, views are as of
 * the beginning of each evaluation; a daemon that is gone costs a note, and the old views stay. Does not: change
 * anything by itself: what --write allows goes over the control socket, where it is logged. */
#include "commands/repl_session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "commands/commands.h"
#include "app/paths.h"
#include "commands/repl_line.h"
#include "commands/repl_simulate.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/console.h"
#include "script/script.h"

enum {
    ASK_MS = 60000,
    SNAPSHOT_MS = 5000,
    TRACE_MS = 250,
    TEXT_BYTES = LIMIT_CONFIG_BYTES
};

struct repl {
    const struct repl_options *options;
    struct script_console *console;
    int64_t generation; /* of the configuration that the console has; attached */
    bool behind;        /* the daemon did not answer the last time, which was told */
    bool failed;        /* an evaluation did */
    char *config_path;  /* the daemon's */
    char *cluster;
    struct cJSON *configuration; /* as script_load gives it */
};

/* What SIGINT's handler needs. */
static volatile sig_atomic_t pressed;
static struct script_console *volatile evaluating;

static void on_interrupt(int number)
{
    (void)number;
    pressed = 1;
    if (evaluating) {
        script_console_interrupt(evaluating);
    }
}

/* ---- What the console asks for -------------------------------------------------------------- */

static void print(void *arg, const char *text, size_t len)
{
    (void)arg;
    (void)fwrite(text, 1, len, stdout);
}

static struct cJSON *refusal(const char *error)
{
    struct cJSON *no = json_object();
    json_set_bool(no, "ok", false);
    json_set_str(no, "error", error);
    return no;
}

static struct cJSON *ask(void *arg, const struct cJSON *request)
{
    const struct repl *r = arg;
    struct cJSON *answer = NULL;
    int code = admin_ask(r->options->socket, request, ASK_MS, &answer);
    if (code < 0) {
        char *why =
            mem_printf("the daemon does not answer on %s: %s", r->options->socket, err_text(code));
        answer = refusal(why);
        mem_free(why);
    }
    return answer;
}

static struct cJSON *simulate(void *arg, const struct cJSON *request)
{
    const struct repl *r = arg;
    const struct repl_simulate_of of = {
        .configuration = r->configuration, .socket = r->options->socket, .pressed = &pressed};
    return repl_simulate(&of, request);
}

/* ---- Data ----------------------------------------------------------------------------------- */

/* Every command of the program, for :help. */
static struct cJSON *commands_json(void)
{
    struct cJSON *list = json_array();
    for (const struct command *const *c = commands_all(); *c; c++) {
        struct cJSON *one = json_object();
        char *usage = mem_printf("%s %s", (*c)->name, (*c)->arguments);
        json_set_str(one, "name", (*c)->name);
        json_set_str(one, "usage", usage);
        json_set_str(one, "doc", (*c)->doc);
        json_set_str(one, "example", (*c)->example);
        json_set(list, NULL, one);
        mem_free(usage);
    }
    return list;
}

static int read_files(struct repl *r, struct cJSON **ret_data, char **reterr)
{
    struct cJSON *config = NULL;
    char *warnings = NULL;
    int code = script_load(r->options->config, NULL, &config, &warnings, reterr);
    mem_free(warnings);
    if (code == 0) {
        *ret_data = json_object();
        json_set(*ret_data, "configuration", config);
    }
    return code;
}

static int read_daemon(struct repl *r, struct cJSON **ret_data, char **reterr)
{
    struct cJSON *request = json_object(), *answer = NULL;
    json_set_str(request, "command", "snapshot");
    json_set_num(request, "generation", (double)r->generation);
    int code = admin_ask(r->options->socket, request, SNAPSHOT_MS, &answer);
    json_free(request);
    if (code < 0) {
        *reterr =
            mem_printf("the daemon does not answer on %s: %s", r->options->socket, err_text(code));
    } else if (!json_bool(answer, "ok", false)) {
        *reterr = mem_copy(json_str(answer, "error", "the daemon gives no snapshot"));
        code = -EINVAL;
    } else {
        *ret_data = answer;
        return 0;
    }
    json_free(answer);
    return code;
}

/* A daemon whose configuration is the one that is known does not tell it again. */
static void keep_configuration(struct repl *r, const struct cJSON *data)
{
    const struct cJSON *configuration = json_get(data, "configuration");
    if (configuration) {
        json_free(r->configuration);
        r->configuration = json_copy(configuration);
    }
}

/* Brings fresh data into the console; `fresh` forgets drafts. */
static int update(struct repl *r, bool fresh, char **reterr)
{
    struct cJSON *data = NULL;
    int code = r->options->socket ? read_daemon(r, &data, reterr) : read_files(r, &data, reterr);
    if (code < 0) {
        return code;
    }
    json_set(data, "commands", commands_json());
    code = script_console_update(r->console, data, fresh, reterr);
    if (code == 0) {
        r->generation = json_int(data, "generation", 0);
        keep_configuration(r, data);
    }
    json_free(data);
    return code;
}

/* Where the configuration and its cluster are known from, before there is a console. */
static int make(struct repl *r, char **reterr)
{
    struct cJSON *data = NULL;
    int code = r->options->socket ? read_daemon(r, &data, reterr) : read_files(r, &data, reterr);
    if (code < 0) {
        return code;
    }
    const struct cJSON *config = json_get(data, "configuration");
    r->config_path = mem_copy(json_str(config, "path", "tidegate.lua"));
    r->cluster = mem_copy(json_str(json_get(config, "cluster"), "id", ""));
    r->generation = json_int(data, "generation", 0);
    struct script_console_options options = {
        .config_path = r->config_path,
        .budget_ms = r->options->budget_ms,
        .write = r->options->write,
        .json = r->options->json,
        .arg = r,
        .print = print,
        .ask = r->options->socket ? ask : NULL,
        .simulate = simulate,
    };
    keep_configuration(r, data);
    json_set(data, "commands", commands_json());
    code = script_console_new(&options, &r->console, reterr);
    if (code == 0) {
        code = script_console_update(r->console, data, true, reterr);
    }
    json_free(data);
    return code;
}

/* Views of now, before an evaluation. */
static void refresh(struct repl *r)
{
    char *why = NULL;
    if (!r->options->socket) {
        return;
    }
    int code = update(r, false, &why);
    if (code < 0 && !r->behind) {
        fprintf(stderr, "tidegate: %s: the views are those of before\n", why);
    }
    r->behind = code < 0;
    mem_free(why);
}

/* ---- Evaluation ----------------------------------------------------------------------------- */

static void tell(struct repl *r, const char *why)
{
    struct buf text;
    r->failed = true;
    fflush(stdout);
    if (r->options->json) {
        struct cJSON *answer = refusal(why);
        char *line = json_text(answer);
        puts(line);
        mem_free(line);
        json_free(answer);
        return;
    }
    buf_init(&text, SCREEN_MOST_BYTES);
    screen_lines(&text, why);
    fprintf(stderr, "%s\n", buf_str(&text));
    buf_free(&text);
}

static enum script_console_outcome evaluate(struct repl *r, const char *origin, unsigned line,
                                            const char *text, bool final,
                                            struct script_console_watch *ret_watch)
{
    char *why = NULL;
    pressed = 0;
    evaluating = r->console;
    enum script_console_outcome outcome =
        script_console_eval(r->console, origin, line, text, final, ret_watch, &why);
    evaluating = NULL;
    pressed = 0;
    if (outcome == SCRIPT_CONSOLE_FAILED) {
        tell(r, why);
        mem_free(why);
    }
    fflush(stdout);
    return outcome;
}

/* Waits, unless Ctrl-C comes; false when it came. */
static bool pause_ms(uint32_t ms)
{
    sigset_t only, before;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    sigprocmask(SIG_BLOCK, &only, &before);
    struct timespec most = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    bool stopped = pressed || (ppoll(NULL, 0, &most, &before) < 0 && errno == EINTR && pressed);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !stopped;
}

static void watch(struct repl *r, const struct script_console_watch *w)
{
    char *text = mem_printf(":show %s", w->service);
    struct script_console_watch none;
    for (uint32_t i = 1;; i++) {
        refresh(r);
        if (evaluate(r, "console", 1, text, true, &none) == SCRIPT_CONSOLE_FAILED ||
            i == w->times || !pause_ms(w->every_ms)) {
            break;
        }
    }
    pressed = 0;
    mem_free(text);
}

/* Goes on with what ":trace ..." began, until it has told enough or Ctrl-C comes. */
static void trace(struct repl *r)
{
    enum script_console_outcome outcome = SCRIPT_CONSOLE_TRACE;
    struct script_console_watch none;
    while (outcome == SCRIPT_CONSOLE_TRACE && pause_ms(TRACE_MS)) {
        outcome = evaluate(r, "console", 1, ":trace", true, &none);
    }
    pressed = 0;
}

static void reload(struct repl *r)
{
    char *why = NULL;
    r->generation = 0;
    if (update(r, true, &why) < 0) {
        tell(r, why);
        mem_free(why);
    } else if (!r->options->json) {
        puts("read again: drafts are gone");
    }
}

/* One whole text with what it leads to; MORE and QUIT are the caller's. */
static enum script_console_outcome run_text(struct repl *r, const char *origin, unsigned line,
                                            const char *text, bool final)
{
    struct script_console_watch w;
    enum script_console_outcome outcome = evaluate(r, origin, line, text, final, &w);
    if (outcome == SCRIPT_CONSOLE_WATCH) {
        watch(r, &w);
    } else if (outcome == SCRIPT_CONSOLE_TRACE) {
        trace(r);
    } else if (outcome == SCRIPT_CONSOLE_RELOAD) {
        reload(r);
    }
    return outcome;
}

/* ---- Three ways of reading ------------------------------------------------------------------ */

static void run_script(struct repl *r)
{
    struct buf text;
    char *line = NULL;
    size_t room = 0;
    unsigned number = 0, first = 1;
    enum script_console_outcome outcome = SCRIPT_CONSOLE_DONE;
    buf_init(&text, TEXT_BYTES);
    while (!r->failed && outcome != SCRIPT_CONSOLE_QUIT && getline(&line, &room, stdin) >= 0) {
        number++;
        first = text.len ? first : number;
        if (number == 1 && line[0] == '#') {
            continue; /* so that a script can name its interpreter */
        }
        if (buf_text(&text, line) < 0) {
            tell(r, "stdin: the statement is longer than a file may be: is an `end` missing?");
            break;
        }
        refresh(r);
        outcome = run_text(r, "stdin", first, buf_str(&text), false);
        if (outcome != SCRIPT_CONSOLE_MORE) {
            buf_clear(&text);
        }
    }
    if (text.len && !r->failed) {
        run_text(r, "stdin", first, buf_str(&text), true);
    }
    free(line); /* getline's own */
    buf_free(&text);
}

static char *complete(void *arg, const char *before, size_t *ret_replaced)
{
    struct repl *r = arg;
    return script_console_complete(r->console, before, ret_replaced);
}

/* In the user's state folder; NULL when that cannot be. The caller owns it. */
static char *history_path(void)
{
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *why = NULL, *path = NULL;
    if ((!base || !*base) && (!home || !*home)) {
        return NULL;
    }
    char *dir = base && *base ? mem_printf("%s/tidegate", base)
                              : mem_printf("%s/.local/state/tidegate", home);
    if (paths_make(dir, &why) < 0) {
        fprintf(stderr, "tidegate: no history is kept: %s\n", why);
        mem_free(why);
    } else {
        path = mem_printf("%s/console_history", dir);
    }
    mem_free(dir);
    return path;
}

static void greet(const struct repl *r)
{
    printf("tidegate " TIDEGATE_VERSION ", ");
    if (r->options->socket) {
        printf("attached to %s, %s. ", r->cluster,
               r->options->write ? "and may change it" : "read-only");
    } else {
        printf("%s with made-up views. ", r->options->config);
    }
    puts(":help tells what there is, TAB completes, Ctrl-D ends it.");
}

static void type_lines(struct repl *r, struct repl_line *line)
{
    struct buf text;
    enum script_console_outcome outcome = SCRIPT_CONSOLE_DONE;
    buf_init(&text, TEXT_BYTES);
    while (outcome != SCRIPT_CONSOLE_QUIT) {
        const char *typed = "";
        bool more = outcome == SCRIPT_CONSOLE_MORE;
        enum repl_line_got got = repl_line_read(line, more ? ">> " : "> ", &typed);
        if (got == REPL_LINE_END) {
            putchar('\n');
            break;
        }
        if (got == REPL_LINE_STOPPED) {
            buf_clear(&text);
            outcome = SCRIPT_CONSOLE_DONE;
            continue;
        }
        repl_line_keep(line, typed);
        if (buf_text(&text, text.len ? "\n" : "") < 0 || buf_text(&text, typed) < 0) {
            tell(r, "console: the statement is longer than a file may be");
            buf_clear(&text);
            outcome = SCRIPT_CONSOLE_DONE;
            continue;
        }
        refresh(r);
        outcome = run_text(r, "console", 1, buf_str(&text), false);
        if (outcome != SCRIPT_CONSOLE_MORE) {
            buf_clear(&text);
        }
    }
    buf_free(&text);
}

static void run_prompt(struct repl *r)
{
    struct repl_line *line = NULL;
    char *why = NULL, *path = history_path();
    const struct repl_line_options options = {
        .history_path = path, .pressed = &pressed, .arg = r, .complete = complete};
    greet(r);
    if (repl_line_open(&options, &line, &why) < 0) {
        fprintf(stderr, "tidegate: %s\n", why);
        mem_free(why);
        run_script(r);
    } else {
        type_lines(r, line);
        r->failed = false; /* what went wrong was seen */
    }
    repl_line_close(line);
    mem_free(path);
}

int repl_run(const struct repl_options *options)
{
    struct repl r = {.options = options};
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    char *why = NULL;
    int code = make(&r, &why);
    if (code < 0) {
        int exit_code = code == -ENOENT || code == -ECONNREFUSED || code == -ETIMEDOUT ||
                                code == -EACCES || code == -EPERM || code == -EPROTO
                            ? COMMAND_NO_DAEMON
                            : COMMAND_NO;
        exit_code = options->socket ? exit_code : COMMAND_NO;
        code = command_fail(exit_code, "%s%s",
                            options->socket ? "" : "the console does not start:\n", why);
        mem_free(why);
        goto out;
    }
    sigaction(SIGINT, &action, &before);
    if (options->code) {
        run_text(&r, "console", 1, options->code, true);
    } else if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        run_prompt(&r);
    } else {
        run_script(&r);
    }
    sigaction(SIGINT, &before, NULL);
    code = r.failed ? COMMAND_NO : COMMAND_FINE;
out:
    script_console_free(r.console);
    mem_free(r.config_path);
    json_free(r.configuration);
    mem_free(r.cluster);
    return code;
}
