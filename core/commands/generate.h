/* generate.h: manual page and shell completions, made from the command table. */
#ifndef COMMANDS_GENERATE_H
#define COMMANDS_GENERATE_H

struct buf;

/* Appends tidegate(1) in man(7) macros. */
void commands_generate_man(struct buf *to);
/* Appends the completions of "bash", "zsh" or "fish". */
void commands_generate_completions(struct buf *to, const char *shell);

#endif
