/* out.c: what steps write, into memory that is not theirs. */
#include "edge/edge.h"

#include <string.h>

#include "base/ban.h"

void edge_put(struct edge_out *out, struct str bytes)
{
    if (out->full || out->size - out->len < bytes.len) {
        out->full = true;
        return;
    }
    if (bytes.len) {
        memcpy(out->bytes + out->len, bytes.ptr, bytes.len);
        out->len += bytes.len;
    }
}

void edge_put_text(struct edge_out *out, const char *text)
{
    edge_put(out, str_of(text));
}

void edge_put_number(struct edge_out *out, uint64_t number)
{
    char digits[20]; /* of a uint64_t */
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    edge_put(out, (struct str){digits + at, sizeof digits - at});
}

void edge_put_field(struct edge_out *out, const char *name, struct str value)
{
    edge_put_text(out, name);
    edge_put_text(out, ": ");
    edge_put(out, value);
    edge_put_text(out, "\r\n");
}

struct str edge_put_since(const struct edge_out *out, size_t from)
{
    return (struct str){out->bytes + from, out->len - from};
}
