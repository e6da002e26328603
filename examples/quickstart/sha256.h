/* sha256.h - SHA-256 (FIPS 180-4), so that /echo can prove which body arrived. */
#ifndef QUICKSTART_SHA256_H
#define QUICKSTART_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t length;
    unsigned char block[64];
};

void sha256_start(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *data, size_t len);
/* Writes 64 hexadecimal digits and a NUL. */
void sha256_finish(struct sha256 *h, char ret_hex[65]);

#endif
