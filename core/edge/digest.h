/* digest.h: MD5 (RFC 1321) and SHA-1 (RFC 3174), for hashes of passwords that are of these, and HMAC-SHA-1
 * (RFC 2104), which is sound still. Private to the edge. */
#ifndef EDGE_DIGEST_H
#define EDGE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EDGE_MD5_BYTES = 16,
    EDGE_SHA1_BYTES = 20
};

/* A digest that is being made; of either kind. */
struct edge_digest {
    uint32_t state[5];
    uint64_t bytes;
    unsigned char block[64];
    bool sha1;
};

void edge_md5_begin(struct edge_digest *d);
void edge_sha1_begin(struct edge_digest *d);
void edge_digest_add(struct edge_digest *d, const void *bytes, size_t len);
/* EDGE_MD5_BYTES or EDGE_SHA1_BYTES of it. */
void edge_digest_end(struct edge_digest *d, unsigned char *to);
/* Keys of at most 64 bytes. */
void edge_hmac_sha1(const unsigned char *key, size_t key_len, const void *bytes, size_t len,
                    unsigned char ret_mac[20]);
/* Whether they are equal, in a time that says nothing of where they differ. */
bool edge_equal(const void *a, const void *b, size_t len);

#endif
