/* bytes.h - a byte queue that grows at its end and is taken from its front.
 *
 * Owns: its memory. Running out of memory ends the process: a demonstration service has nothing
 * better to do. Does not: limit itself; whoever adds bytes from a peer checks a limit first. */
#ifndef QUICKSTART_BYTES_H
#define QUICKSTART_BYTES_H

#include <stddef.h>

struct str {
    const char *at;
    size_t len;
};

struct bytes {
    char *data;
    size_t start, end, room;
};

/* Queued bytes, and where they begin (lent until the next call that adds). */
size_t bytes_len(const struct bytes *b);
const char *bytes_at(const struct bytes *b);

/* Makes room for `more` bytes behind the end and returns where they go; bytes_grown() adds them. */
char *bytes_reserve(struct bytes *b, size_t more);
void bytes_grown(struct bytes *b, size_t count);

void bytes_add(struct bytes *b, const void *data, size_t len);
void bytes_addf(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds `s` as a JSON string with its quotes. Bytes from 0x80 are written as if they were Latin-1,
 * so that the result is valid JSON whatever a client sent. */
void bytes_add_json(struct bytes *b, struct str s);

void bytes_take(struct bytes *b, size_t count);
void bytes_free(struct bytes *b);

#endif
