/* page.c: see page.h. */
#include "watch/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

enum {
    PORTION_BYTES = 16384, /* rendered between two looks at the clock */
    GZIP_WINDOW = 15 + 16, /* of the largest size, with a gzip head */
    GZIP_MEMORY = 8
};

struct page {
    struct families *families;
    const struct page_writer *writers;
    size_t count, writer;
    uint64_t at;
    enum families_format format;
    struct families_place place;
    struct buf text; /* what is not compressed yet, or all */
    struct buf packed;
    z_stream stream;
    bool gzip;
    int error;
};

/* ---- What the client wants --------------------------------------------------------------- */

/* The next element of a list by commas, without the space around it; false: there is none. */
static bool next_element(const char **list, const char **ret_text, size_t *ret_len)
{
    const char *at = *list + strspn(*list, " \t,");
    size_t len = strcspn(at, ",");
    *list = at + len;
    while (len && (at[len - 1] == ' ' || at[len - 1] == '\t')) {
        len--;
    }
    *ret_text = at;
    *ret_len = len;
    return len > 0;
}

/* The value of parameter `name` of an element "text/plain; version=0.0.4;q=0.5", or ret_len 0. */
static const char *parameter(const char *text, size_t len, const char *name, size_t *ret_len)
{
    size_t name_len = strlen(name);
    const char *end = text + len;
    for (const char *at = memchr(text, ';', len); at && at < end;) {
        at++;
        at += strspn(at, " \t");
        const char *next = at < end ? memchr(at, ';', (size_t)(end - at)) : NULL;
        size_t size = (size_t)((next ? next : end) - at);
        if (size > name_len && at[name_len] == '=' && !strncasecmp(at, name, name_len)) {
            *ret_len = size - name_len - 1;
            return at + name_len + 1;
        }
        at = next;
    }
    *ret_len = 0;
    return "";
}

static double quality(const char *text, size_t len)
{
    size_t value_len;
    const char *value = parameter(text, len, "q", &value_len);
    char number[8]; /* "0.123" and what is no such thing */
    if (!value_len || value_len >= sizeof number) {
        return 1;
    }
    memcpy(number, value, value_len);
    number[value_len] = '\0';
    double q = strtod(number, NULL);
    return q >= 0 && q <= 1 ? q : 0;
}

static bool is_type(const char *text, size_t len, const char *type)
{
    size_t own = strcspn(text, "; ,\t");
    return own <= len && own == strlen(type) && !strncasecmp(text, type, own);
}

enum families_format page_format(const char *accept)
{
    const char *text;
    size_t len;
    double plain = 0, open = 0;
    while (next_element(&accept, &text, &len)) {
        size_t version_len;
        const char *version = parameter(text, len, "version", &version_len);
        double q = quality(text, len);
        if (is_type(text, len, "application/openmetrics-text")) {
            bool known = !version_len || (version_len == 5 && (!strncmp(version, "1.0.0", 5) ||
                                                               !strncmp(version, "0.0.1", 5)));
            open = known && q > open ? q : open;
        } else if (is_type(text, len, "text/plain") || is_type(text, len, "text/*") ||
                   is_type(text, len, "*/*")) {
            plain = q > plain ? q : plain;
        }
    }
    return open > 0 && open >= plain ? FAMILIES_OPENMETRICS : FAMILIES_TEXT;
}

bool page_gzip(const char *accept_encoding)
{
    const char *text;
    size_t len;
    double any = 0, gzip = -1;
    while (next_element(&accept_encoding, &text, &len)) {
        if (is_type(text, len, "gzip") || is_type(text, len, "x-gzip")) {
            gzip = quality(text, len);
        } else if (is_type(text, len, "*")) {
            any = quality(text, len);
        }
    }
    return gzip < 0 ? any > 0 : gzip > 0;
}

const char *page_type(enum families_format format)
{
    return format == FAMILIES_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- Steps ------------------------------------------------------------------------------- */

struct page *page_new(struct families *f, const struct page_writer *writers, size_t count,
                      enum families_format format, bool gzip, uint64_t now_ms)
{
    struct page *p = mem_new(sizeof *p);
    p->families = f;
    p->writers = writers;
    p->count = count;
    p->format = format;
    buf_init(&p->text, LIMIT_ANSWER_BYTES);
    buf_init(&p->packed, LIMIT_ANSWER_BYTES);
    if (gzip && deflateInit2(&p->stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                             Z_DEFAULT_STRATEGY) == Z_OK) {
        p->gzip = true;
    }
    families_begin(f, now_ms);
    return p;
}

void page_free(struct page *p)
{
    if (!p) {
        return;
    }
    if (p->gzip) {
        (void)deflateEnd(&p->stream);
    }
    buf_free(&p->text);
    buf_free(&p->packed);
    mem_free(p);
}

static int pack(struct page *p)
{
    unsigned char out[PORTION_BYTES];
    int rc = 0;
    p->stream.next_in = (unsigned char *)(uintptr_t)buf_str(&p->text);
    p->stream.avail_in = (unsigned)p->text.len;
    do {
        p->stream.next_out = out;
        p->stream.avail_out = sizeof out;
        (void)deflate(&p->stream, p->place.done ? Z_FINISH : Z_NO_FLUSH);
        rc = buf_append(&p->packed, out, sizeof out - p->stream.avail_out);
    } while (!rc && !p->stream.avail_out);
    buf_clear(&p->text);
    return rc;
}

static void portion(struct page *p)
{
    if (p->writer < p->count) {
        const struct page_writer *w = &p->writers[p->writer];
        if (!w->write(w->arg, p->families, &p->at)) {
            p->writer++;
            p->at = 0;
        }
        return;
    }
    if (p->writer == p->count) {
        p->writer++;
        families_own(p->families);
    }
    p->error = families_render(p->families, p->format, &p->place, PORTION_BYTES, &p->text);
    if (!p->error && p->gzip) {
        p->error = pack(p);
    }
}

bool page_step(struct page *p, uint64_t budget_us)
{
    uint64_t until_us = clock_now_us() + budget_us;
    while (!p->error && !p->place.done) {
        portion(p);
        if (clock_now_us() >= until_us) {
            break;
        }
    }
    return p->error || p->place.done;
}

int page_take(struct page *p, char **ret_bytes, size_t *ret_len)
{
    if (p->error) {
        return p->error;
    }
    struct buf *all = p->gzip ? &p->packed : &p->text;
    *ret_len = all->len;
    *ret_bytes = buf_take(all);
    return 0;
}
