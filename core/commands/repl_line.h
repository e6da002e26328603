/* repl_line.h: lines typed at a terminal, with libedit: editing, history, completion.
 *
 * libedit is loaded when a prompt is opened, and by no other process of ours. Only one prompt at a time. */
#ifndef COMMANDS_REPL_LINE_H
#define COMMANDS_REPL_LINE_H

#include <signal.h>
#include <stddef.h>

struct repl_line;

enum repl_line_got {
    REPL_LINE_TEXT,
    REPL_LINE_STOPPED, /* Ctrl-C: the line is dropped */
    REPL_LINE_END,     /* Ctrl-D on an empty line, or the terminal is gone */
};

struct repl_line_options {
    const char *history_path; /* NULL = none; lent for the prompt's life */
    volatile sig_atomic_t
        *pressed; /* set by SIGINT's handler, which must not restart calls; lent */
    void *arg;
    /* Words that may stand behind `before`, one a line, for mem_free; how many bytes at its end they replace. */
    char *(*complete)(void *arg, const char *before, size_t *ret_replaced);
};

/* -ELIBACC with a sentence when there is no libedit that fits, -EIO when it does not take the terminal. */
int repl_line_open(const struct repl_line_options *options, struct repl_line **ret_line,
                   char **reterr);
void repl_line_close(struct repl_line *line); /* NULL is allowed */
/* The next line without its end; lent until the next call. `prompt` is lent until it returns. */
enum repl_line_got repl_line_read(struct repl_line *line, const char *prompt,
                                  const char **ret_text);
/* Keeps a line in the history, and that in its file. */
void repl_line_keep(struct repl_line *line, const char *text);

#endif
