/* log.c: see log.h.
 *
 * Owns: the process's only log sink (the one global that the style allows).
 * Invariants: a line leaves in one write(2), so lines of our processes that
 * share a descriptor do not mix; a line over LIMIT_LOG_LINE_BYTES is cut. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

static struct {
    int fd;
    enum log_level least;
    bool json;
    char who[32];
    char *path;
} sink = {.fd = STDERR_FILENO, .least = LOG_INFO, .who = "tidegate"};

static const char *const level_names[LOG_LEVELS] = {"debug", "info", "warn", "error"};

int log_open(const char *who, const char *path, enum log_level least, bool json)
{
    int fd = STDERR_FILENO;
    if (path) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (fd < 0) {
            return -errno;
        }
    }
    snprintf(sink.who, sizeof sink.who, "%s", who);
    mem_free(sink.path);
    sink.path = mem_copy(path);
    sink.fd = fd;
    sink.least = least;
    sink.json = json;
    return 0;
}

void log_reopen(void)
{
    if (!sink.path) {
        return;
    }
    int fd = open(sink.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd >= 0) {
        close(sink.fd);
        sink.fd = fd;
    }
}

int log_level_of(const char *name, enum log_level *ret_level)
{
    for (int i = 0; i < LOG_LEVELS; i++) {
        if (!strcmp(name, level_names[i])) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

static bool plain(const char *text)
{
    if (!*text) {
        return false;
    }
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c == '"' || *c == '=' || *c == '\\' || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

static void put_quoted(struct buf *line, const char *text)
{
    (void)buf_text(line, "\"");
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') {
            (void)buf_printf(line, "\\%c", *c);
        } else if (*c == '\n') {
            (void)buf_text(line, "\\n");
        } else if ((unsigned char)*c < ' ' || *c == 0x7f) {
            (void)buf_printf(line, "\\u%04x", (unsigned)*c);
        } else {
            (void)buf_append(line, c, 1);
        }
    }
    (void)buf_text(line, "\"");
}

static void put_text(struct buf *line, const char *text)
{
    if (!text) {
        text = "-";
    }
    if (!sink.json && plain(text)) {
        (void)buf_text(line, text);
    } else {
        put_quoted(line, text);
    }
}

/* Takes one conversion's argument off `args` and appends it; returns behind the conversion. */
static const char *put_value(struct buf *line, const char *conv, va_list *args)
{
    char spec[16]; /* a conversion of log.h is at most 6 bytes long */
    size_t len = strcspn(conv + 1, "sdufg") + 2;
    if (len >= sizeof spec) {
        return conv + strlen(conv);
    }
    memcpy(spec, conv, len);
    spec[len] = '\0';
    bool is_signed = spec[len - 1] == 'd';
    if (spec[len - 1] == 's') {
        put_text(line, va_arg(*args, const char *));
    } else if (spec[len - 1] == 'f' || spec[len - 1] == 'g') {
        char format[8];
        snprintf(format, sizeof format, "%%.%c%c", len > 3 ? spec[2] : '3', spec[len - 1]);
        char number[64]; /* %.9f of anything sane; cut otherwise */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(number, sizeof number, format, va_arg(*args, double));
#pragma GCC diagnostic pop
        (void)buf_text(line, number);
    } else if (strchr(spec, 'l') || strchr(spec, 'z')) {
        long long v = (long long)va_arg(*args, long long);
        (void)(is_signed ? buf_printf(line, "%lld", v)
                         : buf_printf(line, "%llu", (unsigned long long)v));
    } else {
        int v = va_arg(*args, int);
        (void)(is_signed ? buf_printf(line, "%d", v) : buf_printf(line, "%u", (unsigned)v));
    }
    return conv + len;
}

static void put_fields(struct buf *line, const char *fields, va_list *args)
{
    while (*fields) {
        size_t key = strcspn(fields, "=");
        if (fields[key] != '=' || fields[key + 1] != '%') {
            return;
        }
        (void)buf_printf(line, sink.json ? ",\"%.*s\":" : " %.*s=", (int)key, fields);
        fields = put_value(line, fields + key + 1, args);
        fields += *fields == ' ';
    }
}

void log_write(enum log_level level, const char *what, const char *fields, ...)
{
    if (level < sink.least) {
        return;
    }
    int saved = errno;
    struct buf line;
    buf_init(&line, LIMIT_LOG_LINE_BYTES);
    char now[32];
    clock_iso(clock_wall_ms(), now, sizeof now);
    (void)buf_printf(&line,
                     sink.json ? "{\"time\":\"%s\",\"level\":\"%s\",\"who\":\"%s\",\"msg\":"
                               : "%s %s %s msg=",
                     now, level_names[level], sink.who);
    put_quoted(&line, what);
    va_list args;
    va_start(args, fields);
    put_fields(&line, fields, &args);
    va_end(args);
    (void)buf_text(&line, sink.json ? "}\n" : "\n");
    if (line.len && line.data[line.len - 1] != '\n') {
        line.data[line.len - 1] = '\n';
    }
    ssize_t written = write(sink.fd, buf_str(&line), line.len);
    (void)written; /* nobody is left to tell */
    buf_free(&line);
    errno = saved;
}

bool log_allowed(struct log_limit *l, unsigned per_s, unsigned *ret_skipped)
{
    unsigned long long second = clock_now_ms() / 1000u;
    if (second != l->second) {
        l->second = second;
        l->passed = 0;
    }
    if (l->passed >= per_s) {
        l->skipped++;
        return false;
    }
    l->passed++;
    *ret_skipped = l->skipped;
    l->skipped = 0;
    return true;
}
