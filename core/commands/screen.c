/* screen.c: see screen.h. Widths are counted in code points. */
#include "commands/screen.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    GAP = 2,
    LEAST_WIDTH = 8,
    CELL_BYTES = 2048,
    PIPE_COLUMNS = 100,
    LEAST_COLUMNS = 60
};

struct cell {
    char *text;
    unsigned width;
    enum screen_colour colour;
};

struct screen_table {
    const struct screen_column *columns;
    unsigned column_count;
    struct cell *cells;
    size_t cell_count, cell_cap;
};

static const char *const MARKS[SCREEN_COLOURS] = {
    [SCREEN_PLAIN] = "",       [SCREEN_BOLD] = "\033[1m",   [SCREEN_DIM] = "\033[2m",
    [SCREEN_RED] = "\033[31m", [SCREEN_GREEN] = "\033[32m", [SCREEN_YELLOW] = "\033[33m",
};

/* Bytes of the UTF-8 sequence at `text`; 0 when there is none or it is a control (C0, DEL, C1). */
static unsigned printable(const unsigned char *text)
{
    if (text[0] < 0x80) {
        return text[0] >= 0x20 && text[0] != 0x7f;
    }
    unsigned len = text[0] >= 0xf0 && text[0] < 0xf5   ? 4
                   : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                                                       : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4 || (text[0] == 0xc2 && text[1] < 0xa0)) {
        return 0;
    }
    for (unsigned i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static void clean(struct buf *to, const char *text, bool keep_lines)
{
    while (*text) {
        unsigned len = printable((const unsigned char *)text);
        if (len) {
            (void)buf_append(to, text, len);
        } else if (*text == '\n' || *text == '\t') {
            (void)buf_append(to, keep_lines ? text : " ", 1);
        } else {
            (void)buf_append(to, "?", 1);
        }
        text += len ? len : 1;
    }
}

/* Code points of clean text. */
static unsigned width_of(const char *text)
{
    unsigned width = 0;
    for (; *text; text++) {
        width += (*text & 0xc0) != 0x80;
    }
    return width;
}

/* Bytes of the first `width` code points. */
static size_t bytes_of(const char *text, unsigned width)
{
    size_t at = 0;
    while (text[at] && width--) {
        at++;
        while ((text[at] & 0xc0) == 0x80) {
            at++;
        }
    }
    return at;
}

static void pad(struct buf *to, unsigned count)
{
    (void)buf_printf(to, "%*s", (int)count, "");
}

static void print_cell(struct buf *to, const char *text, unsigned width, bool right, bool last,
                       const char *mark)
{
    unsigned own = width_of(text);
    bool cut = own > width;
    unsigned blank = cut ? 0 : width - own;
    if (right) {
        pad(to, blank);
    }
    (void)buf_text(to, mark);
    (void)buf_append(to, text, cut ? bytes_of(text, width - 3) : strlen(text));
    (void)buf_text(to, cut ? "..." : "");
    (void)buf_text(to, *mark ? "\033[0m" : "");
    if (!right && !last) {
        pad(to, blank);
    }
}

/* Widths of the columns, cut down until a line fits into `width`. */
static void measure(const struct screen_table *t, unsigned width, unsigned *widths)
{
    unsigned total = (t->column_count - 1) * GAP;
    for (unsigned c = 0; c < t->column_count; c++) {
        widths[c] = width_of(t->columns[c].title);
        for (size_t i = c; i < t->cell_count; i += t->column_count) {
            widths[c] = t->cells[i].width > widths[c] ? t->cells[i].width : widths[c];
        }
        total += widths[c];
    }
    while (total > width) {
        unsigned *widest = NULL;
        for (unsigned c = 0; c < t->column_count; c++) {
            if (t->columns[c].shrinks && widths[c] > LEAST_WIDTH &&
                (!widest || widths[c] > *widest)) {
                widest = &widths[c];
            }
        }
        if (!widest) {
            return;
        }
        --*widest;
        total--;
    }
}

unsigned screen_columns(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col) {
        return PIPE_COLUMNS;
    }
    return size.ws_col < LEAST_COLUMNS ? LEAST_COLUMNS : size.ws_col;
}

bool screen_coloured(void)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

void screen_lines(struct buf *to, const char *text)
{
    clean(to, text, true);
}

void screen_text(struct buf *to, const char *text)
{
    clean(to, text, false);
}

void screen_line(struct buf *to, unsigned width, unsigned indent, const char *text)
{
    struct buf line;
    buf_init(&line, SCREEN_MOST_BYTES);
    screen_text(&line, text);
    unsigned own = width_of(buf_str(&line)), room = width - indent;
    pad(to, indent);
    print_cell(to, buf_str(&line), own < room ? own : room, false, true, "");
    (void)buf_text(to, "\n");
    buf_free(&line);
}

void screen_paint(struct buf *to, enum screen_colour colour, bool on, const char *text)
{
    const char *mark = on ? MARKS[colour] : "";
    (void)buf_text(to, mark);
    screen_text(to, text);
    (void)buf_text(to, *mark ? "\033[0m" : "");
}

struct screen_table *screen_table_new(const struct screen_column *columns, unsigned count)
{
    must(count > 0 && count <= SCREEN_MOST_COLUMNS);
    struct screen_table *t = mem_new(sizeof *t);
    t->columns = columns;
    t->column_count = count;
    return t;
}

void screen_table_free(struct screen_table *t)
{
    for (size_t i = 0; t && i < t->cell_count; i++) {
        mem_free(t->cells[i].text);
    }
    if (t) {
        mem_free(t->cells);
    }
    mem_free(t);
}

void screen_cell(struct screen_table *t, enum screen_colour colour, const char *format, ...)
{
    char raw[CELL_BYTES]; /* what is longer is cut here: no line shows that much */
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (t->cell_count == t->cell_cap) {
        t->cell_cap = t->cell_cap ? t->cell_cap * 2 : 64;
        t->cells = mem_resize(t->cells, t->cell_cap * sizeof *t->cells);
    }
    struct buf text;
    buf_init(&text, CELL_BYTES);
    screen_text(&text, raw);
    struct cell *cell = &t->cells[t->cell_count++];
    cell->colour = colour;
    cell->text = buf_take(&text);
    cell->width = width_of(cell->text);
}

void screen_table_print(const struct screen_table *t, struct buf *to, unsigned width,
                        unsigned indent, bool coloured)
{
    unsigned widths[SCREEN_MOST_COLUMNS];
    measure(t, width - indent, widths);
    for (size_t i = 0; i < t->column_count + t->cell_count; i++) {
        unsigned c = (unsigned)(i % t->column_count);
        bool last = c + 1 == t->column_count;
        const struct cell *cell = i < t->column_count ? NULL : &t->cells[i - t->column_count];
        const char *mark = !coloured ? "" : MARKS[cell ? cell->colour : SCREEN_DIM];
        pad(to, c ? GAP : indent);
        print_cell(to, cell ? cell->text : t->columns[c].title, widths[c], t->columns[c].right,
                   last, mark);
        if (last) {
            while (to->len && to->data[to->len - 1] == ' ') {
                to->data[--to->len] = '\0';
            }
            (void)buf_text(to, "\n");
        }
    }
}

void screen_age(double seconds, char ret_text[24])
{
    if (!(seconds >= 0 && seconds < 1e12)) {
        snprintf(ret_text, 24, "-");
        return;
    }
    unsigned s = (unsigned)(seconds < 1e9 ? seconds : 1e9); /* 30 years and more are all the same */
    if (s < 60) {
        snprintf(ret_text, 24, "%us", s);
    } else if (s < 3600) {
        snprintf(ret_text, 24, "%um%02us", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(ret_text, 24, "%uh%02um", s / 3600, s / 60 % 60);
    } else {
        snprintf(ret_text, 24, "%ud%02uh", s / 86400, s / 3600 % 24);
    }
}
