/* str.h: bytes with a length, passed by value; and the parsing of small things. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes; not NUL-terminated. */
struct str {
    const char *ptr;
    size_t len;
};

struct str str_of(const char *text);                      /* NULL gives an empty one */
struct str str_sub(struct str s, size_t from, size_t to); /* clamped [from, to) */
struct str str_trim(struct str s);                        /* without spaces and tabs at both ends */
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *text);
bool str_is_nocase(struct str a, const char *text);
bool str_starts(struct str s, const char *prefix);
bool str_ends(struct str s, const char *suffix);
/* Index of the first `c`, or -1. */
ptrdiff_t str_find(struct str s, char c);
/* Takes what stands before the first `c` off `*rest`, and `c` with it. False at the end. */
bool str_next(struct str *rest, char c, struct str *ret_part);
/* Decimal digits only, no sign. -EINVAL, -ERANGE. */
int str_to_u64(struct str s, uint64_t *ret_value);
/* Copies at most size-1 bytes and ends with NUL; returns whether all fitted. */
bool str_put(char *to, size_t size, struct str s);
/* The same for a C string. */
bool str_copy(char *to, size_t size, const char *text);
/* Whether two C strings are equal; NULL equals only NULL. */
bool str_same(const char *a, const char *b);

#endif
