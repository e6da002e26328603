/* jose.c: keys and signed messages of an ACME client; see jose.h. Certificates are in jose_x509.c.
 *
 * Called by: acme, app. Does not: keep anything. */

#include "net/jose.h"
#include "net/jose_key.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    COORDINATE_BYTES = 32, /* of P-256 */
    SIGNATURE_BYTES = 2 * COORDINATE_BYTES
};

/* ---- Keys ------------------------------------------------------------------------------------ */

static struct jose_key *wrap(EVP_PKEY *takes)
{
    struct jose_key *key = mem_new(sizeof *key);
    key->pkey = takes;
    return key;
}

int jose_key_new(struct jose_key **ret_key)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    if (!pkey) {
        return -EIO;
    }
    *ret_key = wrap(pkey);
    return 0;
}

static bool is_p256(const EVP_PKEY *pkey)
{
    char group[32] = ""; /* "prime256v1" */
    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                          NULL) &&
           !strcmp(group, "prime256v1");
}

int jose_key_read(const char *pem, struct jose_key **ret_key)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    /* No question for a password: an encrypted key is none of ours. */
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;
    BIO_free(bio);
    if (!pkey || !is_p256(pkey)) {
        EVP_PKEY_free(pkey);
        return -EINVAL;
    }
    *ret_key = wrap(pkey);
    return 0;
}

char *jose_bio_text(BIO *takes)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(takes, &bytes);
    char *text = mem_copy_bytes(bytes ? bytes : "", bytes && len > 0 ? (size_t)len : 0);
    BIO_free(takes);
    return text;
}

char *jose_key_pem(const struct jose_key *key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    (void)PEM_write_bio_PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL);
    return jose_bio_text(bio);
}

void jose_key_free(struct jose_key *key)
{
    if (key) {
        EVP_PKEY_free(key->pkey);
        mem_free(key);
    }
}

/* ---- Texts ----------------------------------------------------------------------------------- */

char *jose_base64url(const void *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = bytes;
    char *out = mem_new(len / 3 * 4 + 5), *to = out;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | in[i]) & 0xffffff;
        for (have += 8; have >= 6; have -= 6) {
            *to++ = digits[bits >> (have - 6) & 63];
        }
    }
    if (have) {
        *to++ = digits[bits << (6 - have) & 63];
    }
    return out;
}

static char *coordinate(const struct jose_key *key, const char *which)
{
    unsigned char bytes[COORDINATE_BYTES] = {0};
    BIGNUM *n = NULL;
    if (EVP_PKEY_get_bn_param(key->pkey, which, &n)) {
        (void)BN_bn2binpad(n, bytes, sizeof bytes);
    }
    BN_free(n);
    return jose_base64url(bytes, sizeof bytes);
}

char *jose_jwk(const struct jose_key *key)
{
    char *x = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X);
    char *y = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y);
    char *jwk = mem_printf("{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y);
    mem_free(x);
    mem_free(y);
    return jwk;
}

char *jose_thumbprint(const struct jose_key *key)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char *jwk = jose_jwk(key);
    (void)EVP_Digest(jwk, strlen(jwk), hash, &len, EVP_sha256(), NULL);
    mem_free(jwk);
    return jose_base64url(hash, len);
}

/* ---- Signing --------------------------------------------------------------------------------- */

/* RFC 7518, 3.4: the two numbers one behind the other, where OpenSSL writes them as ASN.1. */
static bool flatten(const unsigned char *der, size_t len, unsigned char to[SIGNATURE_BYTES])
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    if (!sig) {
        return false;
    }
    bool done = BN_bn2binpad(ECDSA_SIG_get0_r(sig), to, COORDINATE_BYTES) > 0 &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), to + COORDINATE_BYTES, COORDINATE_BYTES) > 0;
    ECDSA_SIG_free(sig);
    return done;
}

static char *signature_of(const struct jose_key *key, const char *input)
{
    unsigned char der[128], flat[SIGNATURE_BYTES] = {0}; /* ASN.1 of P-256 takes 72 at most */
    size_t len = sizeof der;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool done = md && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key->pkey) &&
                EVP_DigestSign(md, der, &len, (const unsigned char *)input, strlen(input)) &&
                flatten(der, len, flat);
    EVP_MD_CTX_free(md);
    return done ? jose_base64url(flat, sizeof flat) : mem_copy("");
}

char *jose_sign(const struct jose_key *key, const char *protected_json, const char *payload)
{
    char *head = jose_base64url(protected_json, strlen(protected_json));
    char *body = jose_base64url(payload, strlen(payload));
    char *input = mem_printf("%s.%s", head, body);
    char *signature = signature_of(key, input);
    char *jws = mem_printf("{\"protected\":\"%s\",\"payload\":\"%s\",\"signature\":\"%s\"}", head,
                           body, signature);
    mem_free(head);
    mem_free(body);
    mem_free(input);
    mem_free(signature);
    return jws;
}
