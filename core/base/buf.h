/* buf.h: bytes that grow up to a mandatory limit. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* NUL-terminated behind len once anything was appended; else NULL */
    size_t len;
    size_t cap;
    size_t limit; /* most bytes that len may reach */
    bool secret;  /* no byte of it is left behind in memory that is given back; set by its owner */
};

/* An empty buffer that never holds more than `limit` bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t limit);
/* Frees the bytes; the buffer is empty and usable again. */
void buf_free(struct buf *b);
/* Empties but keeps the memory. */
void buf_clear(struct buf *b);
/* All or nothing: 0, or -ENOBUFS when the limit would be passed. */
int buf_append(struct buf *b, const void *bytes, size_t len);
int buf_text(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first `len` bytes (all when len is more). */
void buf_consume(struct buf *b, size_t len);
/* The text, "" when empty. Lends: until the next change. */
const char *buf_str(const struct buf *b);
/* Hands the NUL-terminated bytes to the caller (mem_free) and empties the buffer. */
char *buf_take(struct buf *b);

#endif
