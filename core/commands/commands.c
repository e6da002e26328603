/* commands.c: see commands.h: the table, reading a command line, asking the daemon. */
#include "commands/commands.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "app/paths.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    MOST_OPTIONS = 32, /* of a command, --help and those that ask the daemon included */
    MOST_WORD_BYTES = 32
};

/* Of all commands, and of those that ask the daemon. */
static const struct command_option HELP = {"help", NULL, "what the command does, with an example"};
static const struct command_option ASKING[] = {
    {"socket", "PATH", "control socket of the daemon; also $TIDEGATE_SOCKET"},
    {"cluster", "ID", "the daemon of this cluster, when several run"},
    {"json", NULL, "print the daemon's answer as one line of JSON"},
    {NULL, NULL, NULL},
};

/* One a line, so that two new ones do not meet. */
/* clang-format off */
static const struct command *const COMMANDS[] = {
    &command_run,
    &command_check,
    &command_status,
    &command_decisions,
    &command_events,
    &command_history,
    &command_explain,
    &command_metrics,
    &command_labels,
    &command_scale,
    &command_deploy,
    &command_drain,
    &command_undrain,
    &command_backend,
    &command_weight,
    &command_restart,
    &command_approve,
    &command_stop,
    &command_reload,
    &command_repl,
    &command_anomaly,
    &command_simulate,
    &command_policy,
    &command_alerts,
    &command_alert,
    &command_silence,
    &command_ack,
    &command_certificates,
    &command_doctor,
    &command_version,
    &command_help,
    NULL,
};
/* clang-format on */

/* Edits from `a` to `b`: insert, delete, replace, swap of neighbours. */
static unsigned distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b);
    if (m > MOST_WORD_BYTES || n > MOST_WORD_BYTES) {
        return MOST_WORD_BYTES;
    }
    unsigned d[MOST_WORD_BYTES + 1][MOST_WORD_BYTES + 1];
    for (unsigned i = 0; i <= m; i++) {
        for (unsigned j = 0; j <= n; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            unsigned gap = (d[i - 1][j] < d[i][j - 1] ? d[i - 1][j] : d[i][j - 1]) + 1;
            best = gap < best ? gap : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best) {
                best = d[i - 2][j - 2] + 1;
            }
            d[i][j] = best;
        }
    }
    return d[m][n];
}

/* Near enough to be meant: a third of its letters may be wrong. */
static bool nearer(const char *word, const char *candidate, unsigned *best)
{
    unsigned edits = distance(word, candidate);
    if (edits >= *best || edits > (strlen(candidate) + 2) / 3) {
        return false;
    }
    *best = edits;
    return true;
}

static const char *nearest_option(const struct command *command, const char *word)
{
    const char *found = NULL;
    unsigned best = MOST_WORD_BYTES;
    const struct command_option *option;
    for (unsigned i = 0; (option = command_option_at(command, i)); i++) {
        if (nearer(word, option->name, &best)) {
            found = option->name;
        }
    }
    return found;
}

static int unknown_option(const struct command *command, const char *word, const char *name)
{
    const char *meant = nearest_option(command, name);
    return meant ? command_fail(COMMAND_WRONG_USAGE,
                                "unknown option \"%s\" of %s: did you mean \"--%s\"?", word,
                                command->name, meant)
                 : command_fail(COMMAND_WRONG_USAGE,
                                "unknown option \"%s\" of %s: see `tidegate %s --help`", word,
                                command->name, command->name);
}

/* Whether `value` is one of "a|b|c"; free values (in capitals) take anything. */
static bool allowed(const char *choices, const char *value)
{
    if (!strchr(choices, '|')) {
        return true;
    }
    struct str rest = str_of(choices), choice;
    while (str_next(&rest, '|', &choice)) {
        if (str_is(choice, value)) {
            return true;
        }
    }
    return false;
}

/* The options that have one letter, too. */
static const char *spelt_out(const char *word)
{
    return !strcmp(word, "-h") ? "help" : !strcmp(word, "-e") ? "eval" : word + 1;
}

/* Reads argv[*at] as an option, with its value from the word itself or the next one. */
static int read_option(const struct command *command, int argc, char **argv, int *at,
                       const char **values)
{
    const char *word = argv[*at];
    struct str rest = str_of(word[1] == '-' ? word + 2 : spelt_out(word));
    struct str part;
    if (!str_next(&rest, '=', &part)) {
        part = rest;
    }
    char name[MOST_WORD_BYTES + 1];
    (void)str_put(name, sizeof name, part);
    const struct command_option *option;
    unsigned i = 0;
    while ((option = command_option_at(command, i)) && strcmp(option->name, name) != 0) {
        i++;
    }
    if (!option || (word[1] != '-' && word[2])) {
        return unknown_option(command, word, name);
    }
    must(i < MOST_OPTIONS);
    if (!option->value) {
        if (rest.ptr) {
            return command_fail(COMMAND_WRONG_USAGE, "--%s takes no value: leave \"=%s\" out", name,
                                rest.ptr);
        }
        values[i] = "";
        return COMMAND_FINE;
    }
    values[i] = rest.ptr ? rest.ptr : *at + 1 < argc ? argv[++*at] : NULL;
    if (!values[i]) {
        return command_fail(COMMAND_WRONG_USAGE, "--%s needs a value: --%s %s", name, name,
                            option->value);
    }
    if (!allowed(option->value, values[i])) {
        return command_fail(COMMAND_WRONG_USAGE, "--%s cannot be \"%s\": give one of %s", name,
                            values[i], option->value);
    }
    return COMMAND_FINE;
}

/* Splits the words behind the command's name into options and arguments, checks and runs it. */
static int run_command(const struct command *command, int argc, char **argv)
{
    const char *values[MOST_OPTIONS] = {NULL};
    const char **args = mem_array((size_t)argc + 1, sizeof *args);
    struct command_call call = {.command = command, .args = args, .values = values};
    bool only_args = false;
    int code = COMMAND_FINE;
    for (int i = 0; i < argc && code == COMMAND_FINE; i++) {
        if (only_args || argv[i][0] != '-' || !argv[i][1]) {
            args[call.arg_count++] = argv[i];
        } else if (!strcmp(argv[i], "--")) {
            only_args = true;
        } else {
            code = read_option(command, argc, argv, &i, values);
        }
    }
    if (code == COMMAND_FINE && command_value(&call, "help")) {
        const char *topic[] = {command->name};
        const char *none[MOST_OPTIONS] = {NULL};
        const struct command_call help = {&command_help, topic, 1, none};
        code = command_help.run(&help);
    } else if (code == COMMAND_FINE && call.arg_count < command->least) {
        code = command_fail(COMMAND_WRONG_USAGE, "%s needs %s: see `tidegate %s --help`",
                            command->name, command->arguments, command->name);
    } else if (code == COMMAND_FINE && call.arg_count > command->most) {
        code = command_fail(COMMAND_WRONG_USAGE,
                            "\"%s\" is one word too many: see `tidegate %s --help`",
                            args[command->most], command->name);
    } else if (code == COMMAND_FINE) {
        code = command->run(&call);
    }
    mem_free(args);
    return code;
}

/* Nobody answered: what that means and what to do. */
static int no_answer(int error, const char *path, uint64_t timeout_ms)
{
    switch (-error) {
    case ENOENT:
    case ECONNREFUSED:
        return command_fail(COMMAND_NO_DAEMON,
                            "no daemon answers on %s: start one with `tidegate run`", path);
    case EACCES:
    case EPERM:
        return command_fail(COMMAND_NO_DAEMON,
                            "may not talk to the daemon on %s: run as its user or as root", path);
    case ETIMEDOUT:
        return command_fail(COMMAND_NO_DAEMON,
                            "the daemon on %s did not answer within %llu ms: see its log", path,
                            (unsigned long long)timeout_ms);
    case EPROTO:
        return command_fail(
            COMMAND_NO_DAEMON,
            "what answers on %s is no tidegate: check --socket and the daemon's log", path);
    default:
        return command_fail(COMMAND_NO_DAEMON, "cannot talk to the daemon on %s: %s", path,
                            err_text(error));
    }
}

/* The daemon said no: its reason, and what it knows of a deploy that failed. */
static int refused(const struct command *command, const struct cJSON *answer)
{
    static const struct {
        const char *key, *title;
    } DETAILS[] = {
        {"deploy.health_output", "health output"},
        {"deploy.logs", "last log lines"},
    };
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    screen_lines(&text, json_str(answer, "error", "no reason was given"));
    const char *before = command->refusal;
    int code = command_fail(COMMAND_NO, "%s%s%s", before ? before : "", before ? ":\n" : "",
                            buf_str(&text));
    for (size_t i = 0; i < sizeof DETAILS / sizeof *DETAILS; i++) {
        const char *detail = json_value_str(json_path(answer, DETAILS[i].key), "");
        if (*detail) {
            buf_clear(&text);
            screen_lines(&text, detail);
            bool ended = text.data[text.len - 1] == '\n';
            fprintf(stderr, "%s:\n%s%s", DETAILS[i].title, text.data, ended ? "" : "\n");
        }
    }
    buf_free(&text);
    return code;
}

int commands_main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (word && (!strcmp(word, "-h") || !strcmp(word, "--help"))) {
        word = "help";
    } else if (word && (!strcmp(word, "-V") || !strcmp(word, "--version"))) {
        word = "version";
    }
    if (!word) {
        return command_fail(COMMAND_WRONG_USAGE, "no command given: see `tidegate help`");
    }
    const struct command *command = command_find(word);
    if (!command) {
        const char *meant = command_nearest(word);
        return meant ? command_fail(COMMAND_WRONG_USAGE,
                                    "unknown command \"%s\": did you mean \"%s\"?", word, meant)
                     : command_fail(COMMAND_WRONG_USAGE,
                                    "unknown command \"%s\": see `tidegate help`", word);
    }
    int code = run_command(command, argc - 2, argv + 2);
    if (fflush(stdout) && code == COMMAND_FINE) {
        code = command_fail(COMMAND_NO, "cannot write the output: %s", err_text(errno));
    }
    return code;
}

const struct command *const *commands_all(void)
{
    return COMMANDS;
}

const struct command *command_find(const char *name)
{
    for (const struct command *const *c = COMMANDS; *c; c++) {
        if (!strcmp((*c)->name, name)) {
            return *c;
        }
    }
    return NULL;
}

const char *command_nearest(const char *word)
{
    const char *found = NULL;
    unsigned best = MOST_WORD_BYTES;
    for (const struct command *const *c = COMMANDS; *c; c++) {
        if (nearer(word, (*c)->name, &best)) {
            found = (*c)->name;
        }
    }
    return found;
}

const struct command_option *command_option_at(const struct command *command, unsigned index)
{
    for (const struct command_option *o = command->options; o && o->name; o++) {
        if (!index--) {
            return o;
        }
    }
    for (const struct command_option *o = ASKING; command->asks && o->name; o++) {
        if (!index--) {
            return o;
        }
    }
    return index ? NULL : &HELP;
}

const char *command_value(const struct command_call *call, const char *option)
{
    const struct command_option *o;
    for (unsigned i = 0; (o = command_option_at(call->command, i)); i++) {
        must(i < MOST_OPTIONS);
        if (!strcmp(o->name, option)) {
            return call->values[i];
        }
    }
    return NULL;
}

const char *command_arg(const struct command_call *call, unsigned index)
{
    return index < call->arg_count ? call->args[index] : NULL;
}

int command_duration_ms(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } UNITS[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"", 1000}};
    uint64_t total = 0;
    if (!*text) {
        return -EINVAL;
    }
    while (*text) {
        size_t digits = strspn(text, "0123456789");
        size_t letters = strspn(text + digits, "dhms");
        struct str unit = {text + digits, letters};
        uint64_t number, ms = 0;
        int rc = str_to_u64((struct str){text, digits}, &number);
        for (size_t i = 0; !rc && i < sizeof UNITS / sizeof *UNITS; i++) {
            ms = str_is(unit, UNITS[i].unit) ? UNITS[i].ms : ms;
        }
        if (rc || !ms || (!letters && text[digits])) {
            return rc ? rc : -EINVAL;
        }
        if (number > (UINT32_MAX - total / 1000) * 1000 / ms) {
            return -ERANGE; /* beyond 136 years */
        }
        total += number * ms;
        text += digits + letters;
    }
    *ret_ms = total;
    return 0;
}

int command_duration(const struct command_call *call, const char *option, uint64_t otherwise,
                     uint64_t *ret_ms)
{
    const char *text = command_value(call, option);
    if (!text) {
        *ret_ms = otherwise;
        return COMMAND_FINE;
    }
    if (command_duration_ms(text, ret_ms)) {
        return command_fail(COMMAND_WRONG_USAGE,
                            "--%s: \"%s\" is no duration: write it as 90s, 10m or 1h30m", option,
                            text);
    }
    return COMMAND_FINE;
}

int command_fail(int exit_code, const char *format, ...)
{
    fflush(stdout);
    fputs("tidegate: ", stderr);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return exit_code;
}

int command_no_socket(int rc, const char *sentence)
{
    bool usage = rc == -ENOTUNIQ || rc == -EINVAL;
    return command_fail(usage ? COMMAND_WRONG_USAGE : COMMAND_NO_DAEMON, "%s", sentence);
}

static int ask(const struct command_call *call, struct cJSON *request, uint64_t timeout_ms,
               bool whole, struct cJSON **ret_answer)
{
    char *path = NULL, *sentence = NULL;
    struct cJSON *answer = NULL;
    int code = COMMAND_FINE;
    *ret_answer = NULL;
    int rc = paths_find_socket(command_value(call, "socket"), command_value(call, "cluster"), &path,
                               &sentence);
    if (rc) {
        code = command_no_socket(rc, sentence);
        goto out;
    }
    rc = admin_ask(path, request, (uint32_t)(timeout_ms < UINT32_MAX ? timeout_ms : UINT32_MAX),
                   &answer);
    if (rc) {
        code = no_answer(rc, path, timeout_ms);
        goto out;
    }
    if (command_value(call, "json")) {
        char *text = json_text(answer);
        puts(text);
        mem_free(text);
    }
    if (!json_bool(answer, "ok", false)) {
        code = refused(call->command, answer);
    } else if (whole || !command_value(call, "json")) {
        if (json_str(answer, "warning", NULL) && !command_value(call, "json")) {
            fprintf(stderr, "tidegate: %s\n", json_str(answer, "warning", ""));
        }
        *ret_answer = answer;
        answer = NULL;
    }
out:
    json_free(answer);
    json_free(request);
    mem_free(sentence);
    mem_free(path);
    return code;
}

int command_ask(const struct command_call *call, struct cJSON *request, uint64_t timeout_ms,
                struct cJSON **ret_answer)
{
    return ask(call, request, timeout_ms, false, ret_answer);
}

int command_ask_whole(const struct command_call *call, struct cJSON *request, uint64_t timeout_ms,
                      struct cJSON **ret_answer)
{
    return ask(call, request, timeout_ms, true, ret_answer);
}
