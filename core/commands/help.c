/* help.c: `tidegate help`, and the help of each command. */
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/generate.h"
#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"

enum {
    HELP_COLUMNS = 96
};

static void overview(struct buf *to)
{
    (void)buf_text(
        to, "tidegate deploys containers, waits until they are healthy, balances HTTP over them, "
            "scales\nthem and watches them; Lua policies decide.\n\n"
            "usage: tidegate COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (const struct command *const *c = commands_all(); *c; c++) {
        (void)buf_printf(to, "  %-9s %-10s %s\n", (*c)->name, (*c)->arguments, (*c)->summary);
    }
    (void)buf_text(
        to, "\nEvery command has --help with an example. Exit codes: 0 fine, 1 the answer is no,\n"
            "2 wrong usage, 3 no daemon reachable.\n");
}

/* Words of `text` in lines of at most HELP_COLUMNS. */
static void paragraph(struct buf *to, const char *text)
{
    size_t at = 0;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (at && at + 1 + len > HELP_COLUMNS) {
            (void)buf_text(to, "\n");
            at = 0;
        }
        (void)buf_printf(to, "%s%.*s", at ? " " : "", (int)len, text);
        at += len + (at > 0);
        text += len + (text[len] == ' ');
    }
    (void)buf_text(to, "\n");
}

static void details(struct buf *to, const struct command *command)
{
    (void)buf_printf(to, "tidegate %s: %s\n\nusage: tidegate %s%s%s [OPTIONS]\n\n", command->name,
                     command->summary, command->name, *command->arguments ? " " : "",
                     command->arguments);
    paragraph(to, command->doc);
    (void)buf_text(to, "\noptions:\n");
    const struct command_option *o;
    for (unsigned i = 0; (o = command_option_at(command, i)); i++) {
        int width = (int)(strlen(o->name) + (o->value ? strlen(o->value) + 1 : 0));
        (void)buf_printf(to, "  --%s%s%s%*s%s\n", o->name, o->value ? " " : "",
                         o->value ? o->value : "", width < 32 ? 34 - width : 2, "", o->doc);
    }
    (void)buf_printf(to, "\nexample:\n  %s\n", command->example);
}

static int run_help(const struct command_call *call)
{
    const char *topic = command_arg(call, 0), *shell = command_value(call, "completions");
    const struct command *command = topic ? command_find(topic) : NULL;
    if (topic && !command) {
        const char *meant = command_nearest(topic);
        return meant ? command_fail(COMMAND_WRONG_USAGE, "no help on \"%s\": did you mean \"%s\"?",
                                    topic, meant)
                     : command_fail(COMMAND_WRONG_USAGE, "no help on \"%s\": see `tidegate help`",
                                    topic);
    }
    struct buf text;
    buf_init(&text, SCREEN_MOST_BYTES);
    if (shell) {
        commands_generate_completions(&text, shell);
    } else if (command_value(call, "man")) {
        commands_generate_man(&text);
    } else if (command) {
        details(&text, command);
    } else {
        overview(&text);
    }
    fputs(buf_str(&text), stdout);
    buf_free(&text);
    return COMMAND_FINE;
}

static const struct command_option OPTIONS[] = {
    {"man", NULL, "print the manual page, for man(1)"},
    {"completions", "bash|zsh|fish", "print the completions of a shell"},
    {NULL, NULL, NULL},
};

const struct command command_help = {
    .name = "help",
    .arguments = "[COMMAND]",
    .most = 1,
    .summary = "what the commands do; manual page and completions",
    .doc = "Without a command lists all; with one tells its arguments and options. The manual page "
           "and the "
           "completions are made from the same table.",
    .example = "tidegate help scale",
    .options = OPTIONS,
    .run = run_help,
};
