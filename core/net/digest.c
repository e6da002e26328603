/* digest.c: see digest.h.
 *
 * Owns: the algorithms that were fetched, for the life of the process. Invariant: each is written once, by
 * digest_load, and only read from then on; so threads share nothing that changes. */
#include "net/digest.h"
#include "net/openssl.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "net/tls.h"

static const struct {
    const char *name;
    size_t bytes;
} KINDS[DIGEST_KINDS] = {
    [DIGEST_MD5] = {"MD5", DIGEST_MD5_BYTES},
    [DIGEST_SHA1] = {"SHA1", DIGEST_SHA1_BYTES},
    [DIGEST_SHA256] = {"SHA256", DIGEST_SHA256_BYTES},
};

static EVP_MD *fetched[DIGEST_KINDS];
static EVP_MAC_CTX *hmac; /* knows its digest, but no key: copied for each call */

/* ---- what OpenSSL has -------------------------------------------------------------------- */

/* Once, because a digest that is named is looked up each time. */
static EVP_MAC_CTX *new_hmac(void)
{
    char name[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac); /* the context has its own reference */
    if (ctx && !EVP_MAC_CTX_set_params(ctx, params)) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

int digest_load(enum digest_kind kind, char **reterr)
{
    int rc = tls_load(reterr);
    if (rc) {
        return rc;
    }
    if (!fetched[kind]) {
        fetched[kind] = EVP_MD_fetch(NULL, KINDS[kind].name, NULL);
    }
    if (kind == DIGEST_SHA256 && fetched[kind] && !hmac) {
        hmac = new_hmac();
    }
    ERR_clear_error();
    if (!fetched[kind] || (kind == DIGEST_SHA256 && !hmac)) {
        *reterr = mem_printf("OpenSSL has no %s here: its configuration allows or loads other "
                             "algorithms only (FIPS)",
                             KINDS[kind].name);
        return -ENOTSUP;
    }
    return 0;
}

/* ---- digests ----------------------------------------------------------------------------- */

void digest_begin(struct digest *d, enum digest_kind kind)
{
    bool again = d->context && d->kind == kind && d->sound;
    if (!d->context && fetched[kind]) {
        d->context = EVP_MD_CTX_new();
    }
    d->kind = kind;
    d->sound = d->context && fetched[kind] &&
               EVP_DigestInit_ex2(d->context, again ? NULL : fetched[kind], NULL) == 1;
}

void digest_add(struct digest *d, const void *bytes, size_t len)
{
    d->sound = d->sound && EVP_DigestUpdate(d->context, bytes, len) == 1;
}

bool digest_end(struct digest *d, unsigned char *to)
{
    d->sound = d->sound && EVP_DigestFinal_ex(d->context, to, NULL) == 1;
    if (!d->sound) {
        memset(to, 0, KINDS[d->kind].bytes);
    }
    return d->sound;
}

void digest_clear(struct digest *d)
{
    if (d->context) {
        EVP_MD_CTX_free(d->context);
    }
    *d = (struct digest){0};
}

bool digest_hmac(const void *key, size_t key_len, const void *bytes, size_t len,
                 unsigned char ret_mac[DIGEST_SHA256_BYTES])
{
    EVP_MAC_CTX *ctx = hmac ? EVP_MAC_CTX_dup(hmac) : NULL;
    size_t got = 0;
    bool done = ctx && EVP_MAC_init(ctx, key, key_len, NULL) && EVP_MAC_update(ctx, bytes, len) &&
                EVP_MAC_final(ctx, ret_mac, &got, DIGEST_SHA256_BYTES) &&
                got == DIGEST_SHA256_BYTES;
    if (ctx) {
        EVP_MAC_CTX_free(ctx);
    }
    if (!done) {
        memset(ret_mac, 0, DIGEST_SHA256_BYTES);
    }
    return done;
}

bool digest_equal(const void *a, const void *b, size_t len)
{
    return !CRYPTO_memcmp(a, b, len);
}
