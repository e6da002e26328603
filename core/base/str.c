/* str.c: see str.h. */
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/ban.h"

struct str str_of(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

struct str str_sub(struct str s, size_t from, size_t to)
{
    if (to > s.len) {
        to = s.len;
    }
    if (from >= to) {
        return (struct str){s.ptr, 0};
    }
    return (struct str){s.ptr + from, to - from};
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.len && blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

bool str_is(struct str a, const char *text)
{
    return str_eq(a, str_of(text));
}

bool str_is_nocase(struct str a, const char *text)
{
    return a.len == strlen(text) && (!a.len || !strncasecmp(a.ptr, text, a.len));
}

bool str_starts(struct str s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && !memcmp(s.ptr, prefix, len);
}

bool str_ends(struct str s, const char *suffix)
{
    size_t len = strlen(suffix);
    return s.len >= len && !memcmp(s.ptr + s.len - len, suffix, len);
}

ptrdiff_t str_find(struct str s, char c)
{
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return at ? at - s.ptr : -1;
}

bool str_next(struct str *rest, char c, struct str *ret_part)
{
    if (!rest->ptr) {
        return false;
    }
    ptrdiff_t at = str_find(*rest, c);
    if (at < 0) {
        *ret_part = *rest;
        *rest = (struct str){NULL, 0};
        return true;
    }
    *ret_part = str_sub(*rest, 0, (size_t)at);
    rest->ptr += at + 1;
    rest->len -= (size_t)at + 1;
    return true;
}

int str_to_u64(struct str s, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (!s.len) {
        return -EINVAL;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return -EINVAL;
        }
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return -ERANGE;
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return 0;
}

bool str_put(char *to, size_t size, struct str s)
{
    bool fits = s.len < size;
    size_t len = fits ? s.len : size - 1;
    if (len) {
        memcpy(to, s.ptr, len);
    }
    to[len] = '\0';
    return fits;
}

bool str_copy(char *to, size_t size, const char *text)
{
    return str_put(to, size, str_of(text));
}

bool str_same(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}
