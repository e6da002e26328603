/* exposition.c: see exposition.h. */
#include "watch/exposition.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"

static const char REPLACEMENT[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Bytes of the valid UTF-8 sequence at `s` (RFC 3629: no surrogates, no overlong forms), or 0. */
static size_t sequence(const unsigned char *s)
{
    if (s[0] < 0x80) {
        return 1;
    }
    size_t len = s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                 : (s[0] & 0xf0) == 0xe0     ? 3
                 : (s[0] & 0xf8) == 0xf0     ? 4
                                             : 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) || s[0] > 0xf4) {
        return 0;
    }
    return len;
}

static void put(struct labels *labels, const void *bytes, size_t len)
{
    must(labels->len + len <= sizeof labels->text);
    memcpy(labels->text + labels->len, bytes, len);
    labels->len += (uint32_t)len;
}

void labels_begin(struct labels *labels)
{
    labels->len = labels->count = 0;
}

void labels_add(struct labels *labels, const char *name, const char *value)
{
    if (labels->count++) {
        put(labels, ",", 1);
    }
    put(labels, name, strlen(name));
    put(labels, "=\"", 2);
    size_t most = labels->len + LABELS_VALUE_BYTES - 4; /* room for one more of any kind */
    for (const unsigned char *s = (const unsigned char *)value; *s && labels->len < most;) {
        size_t len = sequence(s);
        if (!len) {
            put(labels, REPLACEMENT, sizeof REPLACEMENT - 1);
        } else if (*s == '\n') {
            put(labels, "\\n", 2);
        } else if (*s == '\\' || *s == '"') {
            put(labels, (const char[]){'\\', (char)*s}, 2);
        } else {
            put(labels, s, len);
        }
        s += len ? len : 1;
    }
    put(labels, "\"", 1);
}

/* ---- Numbers ----------------------------------------------------------------------------- */

static size_t put_whole(char *to, uint64_t value)
{
    char digits[20]; /* of 2^64 */
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < count; i++) {
        to[i] = digits[count - 1 - i];
    }
    return count;
}

/* What is counted in millionths, as seconds are; sums of such are off by a last bit. */
static bool put_millionths(char *to, double value, size_t *ret_len)
{
    double scaled = round(value * 1e6);
    if (!(scaled < 9e15) || fabs(scaled / 1e6 - value) > value * 1e-15) {
        return false;
    }
    uint64_t all = (uint64_t)scaled, part = all % 1000000;
    size_t len = put_whole(to, all / 1000000), digits = 6;
    to[len++] = '.';
    for (; digits > 1 && part % 10 == 0; digits--) {
        part /= 10;
    }
    for (size_t i = digits; i; i--, part /= 10) {
        to[len + i - 1] = (char)('0' + part % 10);
    }
    *ret_len = len + digits;
    return true;
}

size_t exposition_number(char *to, double value)
{
    must(isfinite(value));
    size_t sign = value < 0, len;
    double size = fabs(value);
    to[0] = '-';
    if (size < 9e15 && size == floor(size)) {
        return sign + put_whole(to + sign, (uint64_t)size);
    }
    if (put_millionths(to + sign, size, &len)) {
        return sign + len;
    }
    return (size_t)snprintf(to, EXPOSITION_NUMBER_BYTES, "%.15g", value);
}
