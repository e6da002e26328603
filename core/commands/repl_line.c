/* repl_line.c: see repl_line.h.
 *
 * Owns: the editor and its history, while a prompt is open. Called by: repl.c. Invariants: SIGINT is blocked but for
 * the waiting itself, so none is lost between looking and waiting. Does not: switch on bracketed paste, which libedit
 * does not know. */
#include "commands/repl_line.h"

#include <dlfcn.h>
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "commands/screen.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    KEPT_LINES = 1000,
    LINE_BYTES = 64 << 10,
    WORDS_SHOWN = 200,
    CTRL_C = 3
};

/* What of libedit is used. */
struct edit {
    EditLine *(*init)(const char *, FILE *, FILE *, FILE *);
    void (*end)(EditLine *);
    const char *(*gets)(EditLine *, int *);
    int (*set)(EditLine *, int, ...);
    const LineInfo *(*line)(EditLine *);
    int (*insert)(EditLine *, const char *);
    History *(*history_init)(void);
    void (*history_end)(History *);
    int (*history)(History *, HistEvent *, int, ...);
};

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"el_init", offsetof(struct edit, init)},
    {"el_end", offsetof(struct edit, end)},
    {"el_gets", offsetof(struct edit, gets)},
    {"el_set", offsetof(struct edit, set)},
    {"el_line", offsetof(struct edit, line)},
    {"el_insertstr", offsetof(struct edit, insert)},
    {"history_init", offsetof(struct edit, history_init)},
    {"history_end", offsetof(struct edit, history_end)},
    {"history", offsetof(struct edit, history)},
};

struct repl_line {
    struct repl_line_options options;
    struct edit edit;
    EditLine *el;
    History *past;
    const char *prompt; /* lent while a line is read */
    bool stopped;
    struct buf text; /* the last line */
};

static int load(struct edit *ret_edit, char **reterr)
{
    void *library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    library = library ? library : dlopen("libedit.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        *reterr =
            mem_copy("libedit is not installed (Debian: libedit2, Fedora and Alpine: libedit): "
                     "no history and no completion");
        return -ELIBACC;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) {
            *reterr = mem_printf("libedit is not one that fits: %s", dlerror());
            return -ELIBACC;
        }
        memcpy((char *)ret_edit + symbols[i].at, &symbol, sizeof symbol);
    }
    return 0;
}

/* ---- Callbacks of the editor ---------------------------------------------------------------- */

/* The one that is open. libedit's callbacks get the editor alone. */
static struct repl_line *opened;

static char *show_prompt(EditLine *el)
{
    (void)el;
    return (char *)opened->prompt;
}

/* Waits for a byte. 1, 0 at the end, -EINTR when Ctrl-C came. */
static int next_byte(struct repl_line *line, char *to)
{
    sigset_t only, before;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    sigprocmask(SIG_BLOCK, &only, &before);
    int code = 0;
    for (;;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        if (*line->options.pressed) {
            *line->options.pressed = 0;
            code = -EINTR;
            break;
        }
        if (ppoll(&input, 1, NULL, &before) < 0) {
            if (errno == EINTR) {
                continue;
            }
            break;
        }
        ssize_t got = read(STDIN_FILENO, to, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        code = got == 1;
        break;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return code;
}

/* The next character; Ctrl-C is one of them however it came. */
static int get_char(EditLine *el, wchar_t *to)
{
    (void)el;
    mbstate_t state = {0};
    for (;;) {
        char byte = 0;
        int code = next_byte(opened, &byte);
        if (code <= 0) {
            *to = CTRL_C;
            return code < 0 ? 1 : 0;
        }
        size_t got = mbrtowc(to, &byte, 1, &state);
        if (got <= 1) {
            return 1;
        }
        if (got == (size_t)-1) {
            *to = L'?';
            return 1;
        }
    }
}

static unsigned char on_stop(EditLine *el, int key)
{
    (void)key;
    (void)el;
    opened->stopped = true;
    fputs("^C\n", stdout);
    fflush(stdout);
    return CC_NEWLINE;
}

/* Bytes that all words begin with. */
static size_t common(struct str words)
{
    struct str first = {0}, word;
    while (str_next(&words, '\n', &word)) {
        size_t n = 0;
        if (!first.ptr) {
            first = word;
        }
        while (n < first.len && n < word.len && first.ptr[n] == word.ptr[n]) {
            n++;
        }
        first.len = n;
    }
    return first.len;
}

static void list_words(struct str words)
{
    struct buf out;
    struct str word;
    unsigned count = 0, column = 0, width = screen_columns();
    buf_init(&out, SCREEN_MOST_BYTES);
    (void)buf_text(&out, "\n");
    while (str_next(&words, '\n', &word) && count++ < WORDS_SHOWN) {
        if (column && column + word.len + 2 > width) {
            (void)buf_text(&out, "\n");
            column = 0;
        }
        (void)buf_append(&out, word.ptr, word.len);
        (void)buf_text(&out, "  ");
        column += (unsigned)word.len + 2;
    }
    (void)buf_text(&out, count > WORDS_SHOWN ? "...\n" : "\n");
    fputs(buf_str(&out), stdout);
    fflush(stdout);
    buf_free(&out);
}

static unsigned char on_complete(EditLine *el, int key)
{
    (void)key;
    struct repl_line *line = opened;
    const LineInfo *info = line->edit.line(el);
    size_t replaced = 0;
    char *before = mem_copy_bytes(info->buffer, (size_t)(info->cursor - info->buffer));
    char *words = line->options.complete(line->options.arg, before, &replaced);
    size_t shared = common(str_of(words));
    unsigned char answer = CC_ERROR;
    if (*words && shared > replaced) {
        char *more = mem_copy_bytes(words + replaced, shared - replaced);
        answer = line->edit.insert(el, more) == 0 ? CC_REFRESH : CC_ERROR;
        mem_free(more);
    } else if (strchr(words, '\n')) {
        list_words(str_of(words));
        answer = CC_REDISPLAY;
    }
    mem_free(words);
    mem_free(before);
    return answer;
}

/* ---- The prompt ----------------------------------------------------------------------------- */

static void open_history(struct repl_line *line)
{
    HistEvent event;
    line->past = line->edit.history_init();
    if (!line->past) {
        return;
    }
    line->edit.history(line->past, &event, H_SETSIZE, KEPT_LINES);
    line->edit.history(line->past, &event, H_SETUNIQUE, 1);
    if (line->options.history_path) {
        line->edit.history(line->past, &event, H_LOAD, line->options.history_path);
    }
    line->edit.set(line->el, EL_HIST, line->edit.history, line->past);
}

/* UTF-8, whatever the environment says: what is typed and shown is. */
static void use_utf8(void)
{
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
}

int repl_line_open(const struct repl_line_options *options, struct repl_line **ret_line,
                   char **reterr)
{
    struct repl_line *line = mem_new(sizeof *line);
    line->options = *options;
    buf_init(&line->text, LINE_BYTES);
    int code = load(&line->edit, reterr);
    if (code < 0) {
        repl_line_close(line);
        return code;
    }
    use_utf8();
    line->el = line->edit.init("tidegate", stdin, stdout, stderr);
    if (!line->el) {
        *reterr = mem_copy("the terminal cannot be edited on: no history and no completion");
        repl_line_close(line);
        return -EIO;
    }
    opened = line;
    line->edit.set(line->el, EL_PROMPT, show_prompt);
    line->edit.set(line->el, EL_GETCFN, get_char);
    line->edit.set(line->el, EL_EDITOR, "emacs");
    line->edit.set(line->el, EL_ADDFN, "tidegate-stop", "drop the line", on_stop);
    line->edit.set(line->el, EL_ADDFN, "tidegate-complete", "complete a word", on_complete);
    line->edit.set(line->el, EL_BIND, "^C", "tidegate-stop", NULL);
    line->edit.set(line->el, EL_BIND, "^I", "tidegate-complete", NULL);
    line->edit.set(line->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    open_history(line);
    *ret_line = line;
    return 0;
}

void repl_line_close(struct repl_line *line)
{
    if (!line) {
        return;
    }
    if (line->el) {
        line->edit.end(line->el);
    }
    if (line->past) {
        line->edit.history_end(line->past);
    }
    opened = NULL;
    buf_free(&line->text);
    mem_free(line);
}

enum repl_line_got repl_line_read(struct repl_line *line, const char *prompt, const char **ret_text)
{
    int count = 0;
    line->prompt = prompt;
    line->stopped = false;
    const char *got = line->edit.gets(line->el, &count);
    if (line->stopped) {
        return REPL_LINE_STOPPED;
    }
    if (!got || count <= 0) {
        return REPL_LINE_END;
    }
    buf_clear(&line->text);
    size_t len = (size_t)count - (got[count - 1] == '\n');
    if (buf_append(&line->text, got, len) < 0) {
        fputs("the line is too long: it was dropped\n", stderr);
    }
    *ret_text = buf_str(&line->text);
    return REPL_LINE_TEXT;
}

void repl_line_keep(struct repl_line *line, const char *text)
{
    HistEvent event;
    if (!line->past || !*text) {
        return;
    }
    line->edit.history(line->past, &event, H_ENTER, text);
    if (line->options.history_path) {
        mode_t before = umask(077);
        line->edit.history(line->past, &event, H_SAVE, line->options.history_path);
        umask(before);
    }
}
