/* buf.c: see buf.h. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"

void buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){.limit = limit};
}

void buf_free(struct buf *b)
{
    if (b->secret && b->data) {
        mem_wipe(b->data, b->cap);
    }
    mem_free(b->data);
    *b = (struct buf){.limit = b->limit, .secret = b->secret};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->data) {
        b->data[0] = '\0';
    }
}

/* A copy with more room; the old place is wiped, which growing in place might leave behind. */
static char *moved(struct buf *b, size_t cap)
{
    char *data = mem_new(cap);
    if (b->data) {
        memcpy(data, b->data, b->len + 1);
        mem_wipe(b->data, b->cap);
        mem_free(b->data);
    }
    return data;
}

/* Makes room for `more` bytes and the NUL. */
static int reserve(struct buf *b, size_t more)
{
    if (more > b->limit - b->len) {
        return -ENOBUFS;
    }
    size_t need = b->len + more + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        while (cap < need) {
            cap *= 2;
        }
        b->data = b->secret ? moved(b, cap) : mem_resize(b->data, cap);
        b->cap = cap;
    }
    return 0;
}

int buf_append(struct buf *b, const void *bytes, size_t len)
{
    int rc = reserve(b, len);
    if (rc) {
        return rc;
    }
    if (len) {
        memcpy(b->data + b->len, bytes, len);
    }
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_text(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int rc = len < 0 ? -EINVAL : reserve(b, (size_t)len);
    if (!rc) {
        vsnprintf(b->data + b->len, (size_t)len + 1, format, again);
        b->len += (size_t)len;
    }
    va_end(again);
    return rc;
}

void buf_consume(struct buf *b, size_t len)
{
    if (len >= b->len) {
        buf_clear(b);
        return;
    }
    b->len -= len;
    memmove(b->data, b->data + len, b->len + 1);
    if (b->secret) {
        mem_wipe(b->data + b->len + 1, len); /* what was moved from there */
    }
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
    char *data = b->data ? b->data : mem_copy("");
    b->data = NULL;
    buf_free(b);
    return data;
}
