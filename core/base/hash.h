/* hash.h: a fast 64-bit hash for tables, identities of specifications and
 * generations. Not for secrets. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a with the finalizer of MurmurHash3 (public domain), so that low bits are good too. */
uint64_t hash_bytes(const void *bytes, size_t len);
/* Continues from `seed`, for hashing in parts. */
uint64_t hash_more(uint64_t seed, const void *bytes, size_t len);
/* 16 lower-case hexadecimal digits and NUL. */
void hash_hex(uint64_t hash, char ret_text[17]);

#endif
