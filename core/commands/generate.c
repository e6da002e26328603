/* generate.c: see generate.h. */
#include "commands/generate.h"

#include <stdbool.h>
#include <string.h>

#include "commands/commands.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/str.h"

/* ---- Manual page -------------------------------------------------------------------------- */

/* Text of a roff line: backslash and dash escaped, a leading control character made harmless. */
static void roff(struct buf *to, const char *text)
{
    (void)buf_text(to, *text == '.' || *text == '\'' ? "\\&" : "");
    for (; *text; text++) {
        switch (*text) {
        case '\\':
            (void)buf_text(to, "\\e");
            break;
        case '-':
            (void)buf_text(to, "\\-");
            break;
        default:
            (void)buf_append(to, text, 1);
        }
    }
}

static void roff_option(struct buf *to, const struct command_option *o)
{
    (void)buf_text(to, ".TP\n\\fB\\-\\-");
    roff(to, o->name);
    (void)buf_text(to, "\\fR");
    if (o->value) {
        (void)buf_text(to, " \\fI");
        roff(to, o->value);
        (void)buf_text(to, "\\fR");
    }
    (void)buf_text(to, "\n");
    roff(to, o->doc);
    (void)buf_text(to, "\n");
}

static void roff_command(struct buf *to, const struct command *c)
{
    (void)buf_printf(to, ".SS \"tidegate %s%s%s\"\n", c->name, *c->arguments ? " " : "",
                     c->arguments);
    roff(to, c->doc);
    (void)buf_text(to, "\n");
    const struct command_option *o;
    for (unsigned i = 0; (o = command_option_at(c, i)); i++) {
        roff_option(to, o);
    }
    (void)buf_text(to, ".PP\nExample:\n.PP\n.nf\n.RS 4\n");
    roff(to, c->example);
    (void)buf_text(to, "\n.RE\n.fi\n");
}

static const char MAN_END[] =
    ".SH EXIT STATUS\n"
    ".TP\n0\nfine\n.TP\n1\nthe answer is no\n.TP\n2\nwrong usage\n.TP\n3\nno daemon reachable\n"
    ".SH ENVIRONMENT\n"
    ".TP\n.B TIDEGATE_SOCKET\ncontrol socket of the daemon that the commands ask\n"
    ".TP\n.B TIDEGATE_RUNTIME_DIR\nbase of the control sockets, in place of /run/tidegate,\n"
    ".I $XDG_RUNTIME_DIR/tidegate\nor\n.I /tmp/tidegate\\-UID\n"
    ".TP\n.B TIDEGATE_STATE_DIR\nbase of what outlives the daemon, in place of /var/lib/tidegate,\n"
    ".I $XDG_STATE_HOME/tidegate\nor\n.I ~/.local/state/tidegate\n"
    ".TP\n.B NO_COLOR\nwhen set, no colours\n"
    ".SH FILES\n"
    ".TP\n.I ./tidegate.lua\nconfiguration, when none is named\n"
    ".TP\n.I policies/\nthe operator's own policies, beside the configuration\n"
    ".TP\n.I /run/tidegate/CLUSTER/control.sock\ncontrol socket\n"
    ".SH SIGNALS\n"
    ".TP\nSIGHUP\nreload\n"
    ".TP\nSIGTERM, SIGINT\ndrain and end; instances go on unless \\-\\-stop\\-services was given\n"
    ".TP\nSIGUSR1\nopen the log file again\n";

void commands_generate_man(struct buf *to)
{
    (void)buf_text(to,
                   ".TH TIDEGATE 1 \"\" \"tidegate " TIDEGATE_VERSION "\" \"User Commands\"\n"
                   ".SH NAME\ntidegate \\- deploy, balance, scale and watch services on a host\n"
                   ".SH SYNOPSIS\n");
    for (const struct command *const *c = commands_all(); *c; c++) {
        (void)buf_printf(to, "%s.B tidegate %s\n", c == commands_all() ? "" : ".br\n", (*c)->name);
        if (*(*c)->arguments) {
            (void)buf_printf(to, ".I %s\n", (*c)->arguments);
        }
    }
    (void)buf_text(
        to,
        ".SH DESCRIPTION\ntidegate starts containers (or plain processes) from a Lua file, waits "
        "until they are healthy, balances HTTP over them, scales them and watches them. C does "
        "the input and output; every decision is a Lua policy that can be rewritten while it "
        "runs.\n.PP\nOptions may stand anywhere behind the command, as \\-\\-name value or "
        "\\-\\-name=value. Durations are written 90s, 10m or 1h30m.\n.SH COMMANDS\n");
    for (const struct command *const *c = commands_all(); *c; c++) {
        roff_command(to, *c);
    }
    (void)buf_text(to, MAN_END);
}

/* ---- What a word may be ------------------------------------------------------------------- */

static bool is_file(const char *value)
{
    return value && (!strcmp(value, "FILE") || !strcmp(value, "PATH") || !strcmp(value, "DIR"));
}

/* "a|b" as "a b"; nothing for free values. */
static void choices(struct buf *to, const char *value)
{
    for (bool any = value && strchr(value, '|'); any && *value; value++) {
        (void)buf_append(to, *value == '|' ? " " : value, 1);
    }
}

static bool takes_config(const struct command *c)
{
    return !strcmp(c->arguments, "[CONFIG]");
}

static bool takes_command(const struct command *c)
{
    return !strcmp(c->arguments, "[COMMAND]");
}

static void command_names(struct buf *to)
{
    for (const struct command *const *c = commands_all(); *c; c++) {
        (void)buf_printf(to, "%s%s", c == commands_all() ? "" : " ", (*c)->name);
    }
}

/* `text` within single quotes, `also` escaped by a backslash; `quote` stands for a quote. */
static void quoted(struct buf *to, const char *text, const char *also, const char *quote)
{
    for (; *text; text++) {
        if (*text == '\'') {
            (void)buf_text(to, quote);
            continue;
        }
        (void)buf_text(to, strchr(also, *text) ? "\\" : "");
        (void)buf_append(to, text, 1);
    }
}

/* ---- bash --------------------------------------------------------------------------------- */

static void bash_values(struct buf *to, const struct command *c)
{
    const struct command_option *o;
    for (unsigned i = 0; (o = command_option_at(c, i)); i++) {
        if (!o->value) {
            continue;
        }
        (void)buf_printf(to, "    %s:--%s)\n        ", c->name, o->name);
        if (is_file(o->value)) {
            (void)buf_text(to, "compopt -o default\n        return");
        } else if (strchr(o->value, '|')) {
            (void)buf_text(to, "words=\"");
            choices(to, o->value);
            (void)buf_text(to, "\"");
        } else {
            (void)buf_text(to, "return");
        }
        (void)buf_text(to, "\n        ;;\n");
    }
}

static void bash_words(struct buf *to, const struct command *c)
{
    (void)buf_printf(to, "    %s:*)\n", c->name);
    if (takes_config(c)) {
        (void)buf_text(to, "        compopt -o default\n");
    }
    (void)buf_text(to, "        words=\"");
    const struct command_option *o;
    for (unsigned i = 0; (o = command_option_at(c, i)); i++) {
        (void)buf_printf(to, "%s--%s", i ? " " : "", o->name);
    }
    if (takes_command(c)) {
        (void)buf_text(to, " ");
        command_names(to);
    }
    (void)buf_text(to, "\"\n        ;;\n");
}

static void bash(struct buf *to)
{
    (void)buf_text(to,
                   "# bash completion of tidegate, made by `tidegate help --completions bash`\n"
                   "_tidegate()\n{\n"
                   "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
                   "    local command=${COMP_WORDS[1]} words=\n"
                   "    COMPREPLY=()\n"
                   "    ((COMP_CWORD > 1)) || command=\n"
                   "    case $command:$prev in\n");
    for (const struct command *const *c = commands_all(); *c; c++) {
        bash_values(to, *c);
    }
    for (const struct command *const *c = commands_all(); *c; c++) {
        bash_words(to, *c);
    }
    (void)buf_text(to, "    :*)\n        words=\"");
    command_names(to);
    (void)buf_text(to, " --help --version\"\n        ;;\n    esac\n"
                       "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\n"
                       "complete -F _tidegate tidegate\n");
}

/* ---- zsh ---------------------------------------------------------------------------------- */

static void zsh_option(struct buf *to, const struct command_option *o)
{
    (void)buf_printf(to, " \\\n            '--%s%s[", o->name, o->value ? "=" : "");
    quoted(to, o->doc, "[]:\\", "'\\''");
    (void)buf_text(to, "]");
    if (is_file(o->value)) {
        (void)buf_text(to, ":file:_files");
    } else if (o->value) {
        (void)buf_text(to, strchr(o->value, '|') ? ":choice:(" : ":value:( ");
        choices(to, o->value);
        (void)buf_text(to, ")");
    }
    (void)buf_text(to, "'");
}

static void zsh(struct buf *to)
{
    (void)buf_text(to, "#compdef tidegate\n# made by `tidegate help --completions zsh`\n"
                       "_tidegate()\n{\n    local curcontext=$curcontext state line\n"
                       "    local -a commands\n    commands=(\n");
    for (const struct command *const *c = commands_all(); *c; c++) {
        (void)buf_printf(to, "        '%s:", (*c)->name);
        quoted(to, (*c)->summary, ":\\", "'\\''");
        (void)buf_text(to, "'\n");
    }
    (void)buf_text(
        to, "    )\n    _arguments -C '1:command:->command' '*::argument:->argument'\n"
            "    case $state in\n    command)\n        _describe command commands\n        ;;\n"
            "    argument)\n        case $line[1] in\n");
    for (const struct command *const *c = commands_all(); *c; c++) {
        (void)buf_printf(to, "        %s)\n            _arguments", (*c)->name);
        const struct command_option *o;
        for (unsigned i = 0; (o = command_option_at(*c, i)); i++) {
            zsh_option(to, o);
        }
        if (takes_config(*c)) {
            (void)buf_text(to, " \\\n            '1:configuration:_files'");
        } else if (takes_command(*c)) {
            (void)buf_text(to, " \\\n            '1:command:(");
            command_names(to);
            (void)buf_text(to, ")'");
        }
        (void)buf_text(to, "\n            ;;\n");
    }
    (void)buf_text(to, "        esac\n        ;;\n    esac\n}\n\n"
                       "if [ \"$funcstack[1]\" = _tidegate ]; then\n    _tidegate \"$@\"\nelse\n"
                       "    compdef _tidegate tidegate\nfi\n");
}

/* ---- fish --------------------------------------------------------------------------------- */

static void fish_option(struct buf *to, const struct command *c, const struct command_option *o)
{
    (void)buf_printf(to, "complete -c tidegate -n '__fish_seen_subcommand_from %s' -l %s", c->name,
                     o->name);
    if (is_file(o->value)) {
        (void)buf_text(to, " -r -F");
    } else if (o->value) {
        (void)buf_text(to, " -x -a '");
        choices(to, o->value);
        (void)buf_text(to, "'");
    }
    (void)buf_text(to, " -d '");
    quoted(to, o->doc, "\\", "\\'");
    (void)buf_text(to, "'\n");
}

static void fish(struct buf *to)
{
    (void)buf_text(to, "# fish completion of tidegate, made by `tidegate help --completions fish`\n"
                       "complete -c tidegate -f\n");
    for (const struct command *const *c = commands_all(); *c; c++) {
        (void)buf_printf(to, "complete -c tidegate -n __fish_use_subcommand -a %s -d '",
                         (*c)->name);
        quoted(to, (*c)->summary, "\\", "\\'");
        (void)buf_text(to, "'\n");
        const struct command_option *o;
        for (unsigned i = 0; (o = command_option_at(*c, i)); i++) {
            fish_option(to, *c, o);
        }
        if (takes_config(*c)) {
            (void)buf_printf(to, "complete -c tidegate -n '__fish_seen_subcommand_from %s' -F\n",
                             (*c)->name);
        } else if (takes_command(*c)) {
            (void)buf_printf(to, "complete -c tidegate -n '__fish_seen_subcommand_from %s' -a '",
                             (*c)->name);
            command_names(to);
            (void)buf_text(to, "'\n");
        }
    }
}

void commands_generate_completions(struct buf *to, const char *shell)
{
    if (!strcmp(shell, "bash")) {
        bash(to);
    } else if (!strcmp(shell, "zsh")) {
        zsh(to);
    } else {
        fish(to);
    }
}
