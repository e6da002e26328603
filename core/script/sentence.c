/* sentence.c: see sentence.h. */
#include "script/sentence.h"

#include "base/ban.h"

/* Bytes of the UTF-8 sequence at s, or 0 when it is none that JSON may carry. */
static size_t sequence(const unsigned char *s)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (len > 1 && (s[0] < 0xc2 || s[0] > 0xf4)) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

void sentence_put(char *to, size_t size, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t len = 0;
    while (*s) {
        size_t n = sequence(s);
        if (len + (n ? n : 1) >= size) {
            break;
        }
        if (n == 0 || *s < ' ' || *s == 0x7f) {
            to[len++] = n ? ' ' : '?';
            s++;
            continue;
        }
        for (; n > 0; n--) {
            to[len++] = (char)*s++;
        }
    }
    to[len] = '\0';
}
