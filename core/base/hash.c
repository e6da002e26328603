/* hash.c: see hash.h. */
#include "base/hash.h"

#include <stdio.h>

#include "base/ban.h"

uint64_t hash_more(uint64_t seed, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++) {
        h = (h ^ at[i]) * 0x100000001b3u;
    }
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

uint64_t hash_bytes(const void *bytes, size_t len)
{
    return hash_more(0, bytes, len);
}

void hash_hex(uint64_t hash, char ret_text[17])
{
    snprintf(ret_text, 17, "%016llx", (unsigned long long)hash);
}
