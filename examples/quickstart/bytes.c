/* bytes.c - see bytes.h. */
#define _GNU_SOURCE 1
#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROOM_MIN = 1024
};

size_t bytes_len(const struct bytes *b)
{
    return b->end - b->start;
}

const char *bytes_at(const struct bytes *b)
{
    return b->data + b->start;
}

char *bytes_reserve(struct bytes *b, size_t more)
{
    size_t len = b->end - b->start;

    if (b->room - b->end >= more) {
        return b->data + b->end;
    }
    if (b->start > 0) {
        memmove(b->data, b->data + b->start, len);
        b->start = 0;
        b->end = len;
    }
    if (b->room - len < more) {
        size_t room = b->room > ROOM_MIN ? b->room : ROOM_MIN;
        while (room - len < more) {
            room *= 2;
        }
        char *data = realloc(b->data, room);
        if (!data) {
            fputs("service: out of memory\n", stderr);
            abort();
        }
        b->data = data;
        b->room = room;
    }
    return b->data + b->end;
}

void bytes_grown(struct bytes *b, size_t count)
{
    b->end += count;
}

void bytes_add(struct bytes *b, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(bytes_reserve(b, len), data, len);
        b->end += len;
    }
}

void bytes_addf(struct bytes *b, const char *format, ...)
{
    va_list args;
    size_t room = 256;

    for (;;) {
        char *to = bytes_reserve(b, room);
        va_start(args, format);
        int len = vsnprintf(to, room, format, args);
        va_end(args);
        if (len < 0) {
            return;
        }
        if ((size_t)len < room) {
            b->end += (size_t)len;
            return;
        }
        room = (size_t)len + 1;
    }
}

void bytes_add_json(struct bytes *b, struct str s)
{
    bytes_add(b, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c == '"' || c == '\\') {
            bytes_add(b, "\\", 1);
            bytes_add(b, &s.at[i], 1);
        } else if (c < 0x20 || c >= 0x7f) {
            bytes_addf(b, "\\u%04x", c);
        } else {
            bytes_add(b, &s.at[i], 1);
        }
    }
    bytes_add(b, "\"", 1);
}

void bytes_take(struct bytes *b, size_t count)
{
    b->start += count;
    if (b->start == b->end) {
        b->start = b->end = 0;
    }
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}
