/* tls_pem.c: certificates, keys and base64 as they come in a message.
 *
 * Does not: judge them. The master has done so, with the operator's file names at hand; what fails here is
 * what cannot be used at all. */
#include "net/tls_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    CHAIN_MOST = 32,
    TRUSTED_MOST = 1024
};

const char *tls_complaint(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return reason ? reason : "OpenSSL gives no reason";
}

/* Never asks at the terminal for the password of an encrypted key. */
static int no_password(char *to, int size, int writes, void *arg)
{
    (void)to;
    (void)size;
    (void)writes;
    (void)arg;
    return 0;
}

static BIO *reader(const char *pem)
{
    return BIO_new_mem_buf(pem, (int)strlen(pem));
}

static X509 *next_certificate(BIO *from)
{
    return from ? PEM_read_bio_X509(from, NULL, no_password, NULL) : NULL;
}

bool tls_is_address(const char *host)
{
    unsigned char bytes[16]; /* of an IPv6 address */
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

unsigned char *tls_base64(const char *text, size_t *ret_len)
{
    size_t len = strlen(text);
    if (!len || len % 4 || len > LIMIT_CONFIG_BYTES) {
        return NULL;
    }
    unsigned char *bytes = mem_new(len / 4 * 3);
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
    size_t padding = (size_t)(text[len - 1] == '=') + (size_t)(text[len - 2] == '=');
    if (n < 0 || (size_t)n < padding) {
        mem_free(bytes);
        return NULL;
    }
    *ret_len = (size_t)n - padding;
    return bytes;
}

void tls_digest(const void *bytes, size_t len, unsigned char ret_digest[TLS_DIGEST_BYTES])
{
    memset(ret_digest, 0, TLS_DIGEST_BYTES);
    (void)EVP_Digest(bytes, len, ret_digest, NULL, EVP_sha256(), NULL);
}

int tls_identity_read(const char *chain, const char *key, const char *ocsp, struct tls_identity *id,
                      char **reterr)
{
    memset(id, 0, sizeof *id);
    BIO *from = reader(chain);
    X509 *one = next_certificate(from);
    id->chain = mem_array(CHAIN_MOST, sizeof(X509 *));
    for (; one && id->chain_len < CHAIN_MOST; one = next_certificate(from)) {
        id->chain[id->chain_len++] = one;
    }
    X509_free(one);
    (void)BIO_free(from);
    ERR_clear_error();
    from = reader(key);
    id->key = from ? PEM_read_bio_PrivateKey(from, NULL, no_password, NULL) : NULL;
    (void)BIO_free(from);
    if (!id->chain_len || !id->key) {
        *reterr = mem_printf("a %s could not be read: %s", id->chain_len ? "key" : "certificate",
                             tls_complaint());
        return -EINVAL;
    }
    if (X509_check_private_key(id->chain[0], id->key) != 1) {
        *reterr =
            mem_printf("a certificate and its key do not belong together: %s", tls_complaint());
        return -EINVAL;
    }
    id->ocsp = ocsp[0] ? tls_base64(ocsp, &id->ocsp_len) : NULL;
    if (ocsp[0] && !id->ocsp) {
        *reterr = mem_copy("an OCSP answer is no base64");
        return -EINVAL;
    }
    return 0;
}

void tls_identity_free(struct tls_identity *id)
{
    for (size_t i = 0; i < id->chain_len; i++) {
        X509_free(id->chain[i]);
    }
    mem_free(id->chain);
    EVP_PKEY_free(id->key);
    mem_free(id->ocsp);
    memset(id, 0, sizeof *id);
}

int tls_identity_use(const struct tls_identity *id, SSL_CTX *ctx)
{
    bool ok = SSL_CTX_use_certificate(ctx, id->chain[0]) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, id->key) == 1;
    for (size_t i = 1; ok && i < id->chain_len; i++) {
        ok = SSL_CTX_add1_chain_cert(ctx, id->chain[i]) == 1;
    }
    return ok ? 0 : -EINVAL;
}

int tls_trust_read(const char *pem, X509_STORE **ret_store, char **reterr)
{
    X509_STORE *store = X509_STORE_new();
    BIO *from = reader(pem);
    int count = 0;
    X509 *one;
    while (store && count < TRUSTED_MOST && (one = next_certificate(from))) {
        count += X509_STORE_add_cert(store, one);
        X509_free(one);
    }
    (void)BIO_free(from);
    if (!count) {
        *reterr = mem_printf("certificates of a CA could not be read: %s", tls_complaint());
        X509_STORE_free(store);
        return -EINVAL;
    }
    ERR_clear_error();
    *ret_store = store;
    return 0;
}

STACK_OF(X509_NAME) * tls_trust_names(const char *pem)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    BIO *from = reader(pem);
    X509 *one;
    while (names && sk_X509_NAME_num(names) < TRUSTED_MOST && (one = next_certificate(from))) {
        (void)sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(one)));
        X509_free(one);
    }
    (void)BIO_free(from);
    ERR_clear_error();
    return names;
}
