/* digest.c: see digest.h. */
#include "edge/digest.h"

#include <string.h>

#include "base/ban.h"

enum {
    BLOCK = 64
};

static uint32_t left(uint32_t word, unsigned by)
{
    return word << by | word >> (32 - by);
}

/* ---- MD5 --------------------------------------------------------------------------------- */

/* floor(2^32 * abs(sin(i + 1))) */
static const uint32_t SINES[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

static void md5_block(uint32_t state[5], const unsigned char *bytes)
{
    static const unsigned char turns[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    for (unsigned i = 0; i < 16; i++, bytes += 4) {
        words[i] = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                   (uint32_t)bytes[3] << 24;
    }
    for (unsigned i = 0; i < 64; i++) {
        uint32_t mixed = i < 16   ? (b & c) | (~b & d)
                         : i < 32 ? (d & b) | (~d & c)
                         : i < 48 ? b ^ c ^ d
                                  : c ^ (b | ~d);
        unsigned at = i < 16 ? i : i < 32 ? 5 * i + 1 : i < 48 ? 3 * i + 5 : 7 * i;
        uint32_t sum = a + mixed + SINES[i] + words[at % 16];
        a = d;
        d = c;
        c = b;
        b += left(sum, turns[i / 16][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

/* ---- SHA-1 ------------------------------------------------------------------------------- */

static void sha1_block(uint32_t state[5], const unsigned char *bytes)
{
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (unsigned i = 0; i < 16; i++, bytes += 4) {
        words[i] = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
                   bytes[3];
    }
    for (unsigned i = 16; i < 80; i++) {
        words[i] = left(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    for (unsigned i = 0; i < 80; i++) {
        uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t sum = left(a, 5) + mixed + e + words[i];
        e = d;
        d = c;
        c = left(b, 30);
        b = a;
        a = sum;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

/* ---- both -------------------------------------------------------------------------------- */

static void begin(struct edge_digest *d, bool sha1)
{
    static const uint32_t initial[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memset(d, 0, sizeof *d);
    memcpy(d->state, initial, sizeof initial);
    d->sha1 = sha1;
}

void edge_md5_begin(struct edge_digest *d)
{
    begin(d, false);
}

void edge_sha1_begin(struct edge_digest *d)
{
    begin(d, true);
}

static void block(struct edge_digest *d, const unsigned char *bytes)
{
    if (d->sha1) {
        sha1_block(d->state, bytes);
    } else {
        md5_block(d->state, bytes);
    }
}

void edge_digest_add(struct edge_digest *d, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    size_t held = d->bytes % BLOCK;
    d->bytes += len;
    if (held) {
        size_t room = BLOCK - held, n = len < room ? len : room;
        if (n) {
            memcpy(d->block + held, at, n);
        }
        if (len < room) {
            return;
        }
        block(d, d->block);
        at += n;
        len -= n;
    }
    for (; len >= BLOCK; at += BLOCK, len -= BLOCK) {
        block(d, at);
    }
    if (len) {
        memcpy(d->block, at, len);
    }
}

void edge_digest_end(struct edge_digest *d, unsigned char *to)
{
    static const unsigned char padding[BLOCK] = {0x80};
    unsigned char length[8];
    uint64_t bits = d->bytes * 8;
    for (unsigned i = 0; i < 8; i++) {
        length[i] = (unsigned char)(bits >> (d->sha1 ? 56 - 8 * i : 8 * i));
    }
    size_t held = d->bytes % BLOCK;
    edge_digest_add(d, padding, held < 56 ? 56 - held : 120 - held);
    edge_digest_add(d, length, sizeof length);
    for (unsigned i = 0; i < (d->sha1 ? EDGE_SHA1_BYTES : EDGE_MD5_BYTES); i++) {
        unsigned within = i % 4;
        to[i] = (unsigned char)(d->state[i / 4] >> (d->sha1 ? 24 - 8 * within : 8 * within));
    }
}

void edge_hmac_sha1(const unsigned char *key, size_t key_len, const void *bytes, size_t len,
                    unsigned char ret_mac[20])
{
    unsigned char pad[BLOCK] = {0}, inner[EDGE_SHA1_BYTES];
    struct edge_digest d;
    memcpy(pad, key, key_len < BLOCK ? key_len : BLOCK);
    for (size_t i = 0; i < BLOCK; i++) {
        pad[i] ^= 0x36;
    }
    edge_sha1_begin(&d);
    edge_digest_add(&d, pad, BLOCK);
    edge_digest_add(&d, bytes, len);
    edge_digest_end(&d, inner);
    for (size_t i = 0; i < BLOCK; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    edge_sha1_begin(&d);
    edge_digest_add(&d, pad, BLOCK);
    edge_digest_add(&d, inner, sizeof inner);
    edge_digest_end(&d, ret_mac);
}

bool edge_equal(const void *a, const void *b, size_t len)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned char different = 0;
    for (size_t i = 0; i < len; i++) {
        different |= x[i] ^ y[i];
    }
    return !different;
}
