/* digest.h: MD5, SHA-1, SHA-256 and HMAC of OpenSSL, which is loaded with the first of them that is asked for.
 *
 * digest_load is called on one thread, before others compute; these may do so at once, each with a digest of
 * its own. MD5 and SHA-1 are for hashes of passwords that are of these, and for nothing new. */
#ifndef NET_DIGEST_H
#define NET_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

enum digest_kind {
    DIGEST_MD5,
    DIGEST_SHA1,
    DIGEST_SHA256, /* and HMAC with it */
    DIGEST_KINDS
};

enum {
    DIGEST_MD5_BYTES = 16,
    DIGEST_SHA1_BYTES = 20,
    DIGEST_SHA256_BYTES = 32
};

/* A digest that is being made; {0} is none yet. To be cleared. */
struct digest {
    void *context;
    enum digest_kind kind;
    bool sound;
};

/* Makes it ready for the life of the process. -ELIBACC: no OpenSSL that fits; -ENOTSUP: it does not have
 * this one (FIPS); with a sentence. */
int digest_load(enum digest_kind kind, char **reterr);

/* Starts one, of a kind that is loaded; again and again with the same memory. */
void digest_begin(struct digest *d, enum digest_kind kind);
void digest_add(struct digest *d, const void *bytes, size_t len);
/* False, and zeros: it could not be computed. `to` has room for as many bytes as the kind has. */
bool digest_end(struct digest *d, unsigned char *to);
/* Wipes and frees what it holds. */
void digest_clear(struct digest *d);

/* HMAC-SHA-256 (RFC 2104); DIGEST_SHA256 is loaded. False, and zeros: it could not be computed. */
bool digest_hmac(const void *key, size_t key_len, const void *bytes, size_t len,
                 unsigned char ret_mac[DIGEST_SHA256_BYTES]);

/* Whether they are equal, in a time that says nothing of where they differ. Anything is loaded. */
bool digest_equal(const void *a, const void *b, size_t len);

#endif
