/* screen.h: text for a terminal: what others wrote made harmless, and aligned tables. */
#ifndef COMMANDS_SCREEN_H
#define COMMANDS_SCREEN_H

#include <stdbool.h>

struct buf;
struct screen_table;

enum {
    SCREEN_MOST_BYTES = 8 << 20,
    SCREEN_MOST_COLUMNS = 12
};

enum screen_colour {
    SCREEN_PLAIN,
    SCREEN_BOLD,
    SCREEN_DIM,
    SCREEN_RED,
    SCREEN_GREEN,
    SCREEN_YELLOW,
    SCREEN_COLOURS
};

/* Columns of stdout's terminal (never under 60), or 100 when it is none. */
unsigned screen_columns(void);
/* Whether stdout is a terminal and NO_COLOR is unset or empty. */
bool screen_coloured(void);

/* Appends `text` without control bytes: each becomes '?', in screen_lines all but newline and tab,
 * in screen_text newline and tab become a blank. What does not fit is left out. */
void screen_lines(struct buf *to, const char *text);
void screen_text(struct buf *to, const char *text);
/* One line, indented, cut with "..." where it would be wider than `width`. */
void screen_line(struct buf *to, unsigned width, unsigned indent, const char *text);
/* screen_text within colour marks, when `on`. */
void screen_paint(struct buf *to, enum screen_colour colour, bool on, const char *text);

/* "12s", "3m05s", "2h10m", "4d03h"; "-" when it is negative, that is unknown. */
void screen_age(double seconds, char ret_text[24]);

struct screen_column {
    const char *title;
    bool right;   /* numbers */
    bool shrinks; /* may be cut when the line gets too wide; the widest such one first */
};

/* A table of at most SCREEN_MOST_COLUMNS columns; `columns` must stay. The caller owns it. */
struct screen_table *screen_table_new(const struct screen_column *columns, unsigned count);
void screen_table_free(struct screen_table *table);
/* Fills the next cell, from left to right and top to bottom. */
void screen_cell(struct screen_table *table, enum screen_colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Appends the whole table, no line wider than `width`, each indented by `indent`. */
void screen_table_print(const struct screen_table *table, struct buf *to, unsigned width,
                        unsigned indent, bool coloured);

#endif
