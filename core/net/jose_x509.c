/* jose_x509.c: requests for certificates, and those of challenges; see jose.h. */
#include "net/jose.h"
#include "net/jose_key.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    NAME_LONGEST = 253,
    COMMON_LONGEST = 64, /* ub-common-name of RFC 5280 */
    CHALLENGE_S = 7 * 86400,
    DIGEST_BYTES = 32
};

/* ---- Names ----------------------------------------------------------------------------------- */

/* What a DNS name has, so that none can write another extension into the text that OpenSSL parses. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len && len <= NAME_LONGEST &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == len;
}

static X509_EXTENSION *alternative_name(const char *name)
{
    char *text = mem_printf("DNS:%s", name);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
    mem_free(text);
    return ext;
}

/* A subject may be left out, and must where the name is too long for it. */
static void set_common_name(X509_NAME *subject, const char *name)
{
    if (strlen(name) <= COMMON_LONGEST) {
        (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name,
                                         -1, -1, 0);
    }
}

/* ---- A request ------------------------------------------------------------------------------- */

static bool fill_request(X509_REQ *req, const struct jose_key *key, const char *name)
{
    /* Without the typed functions of the headers, which would be linked and not looked up. */
    OPENSSL_STACK *list = OPENSSL_sk_new_null();
    X509_EXTENSION *names = alternative_name(name);
    set_common_name(X509_REQ_get_subject_name(req), name);
    bool done = list && names && OPENSSL_sk_push(list, names) > 0 &&
                X509_REQ_set_version(req, X509_REQ_VERSION_1) &&
                X509_REQ_set_pubkey(req, key->pkey) &&
                X509_REQ_add_extensions(req, (STACK_OF(X509_EXTENSION) *)list) &&
                X509_REQ_sign(req, key->pkey, EVP_sha256()) > 0;
    X509_EXTENSION_free(names);
    OPENSSL_sk_free(list);
    return done;
}

int jose_csr(const struct jose_key *key, const char *name, char **ret_csr)
{
    unsigned char *der = NULL;
    X509_REQ *req = is_name(name) ? X509_REQ_new() : NULL;
    int len = req && fill_request(req, key, name) ? i2d_X509_REQ(req, &der) : -1;
    if (len > 0) {
        *ret_csr = jose_base64url(der, (size_t)len);
    }
    OPENSSL_free(der);
    X509_REQ_free(req);
    return len > 0 ? 0 : -EINVAL;
}

/* ---- The certificate of a challenge ---------------------------------------------------------- */

/* RFC 8737, 3: critical, an OCTET STRING with the SHA-256 of the key authorization. */
static X509_EXTENSION *acme_identifier(const char *authorization)
{
    unsigned char value[2 + DIGEST_BYTES] = {V_ASN1_OCTET_STRING, DIGEST_BYTES};
    unsigned len = 0;
    X509_EXTENSION *ext = NULL;
    ASN1_OBJECT *id = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    ASN1_OCTET_STRING *wrapped = ASN1_OCTET_STRING_new();
    if (id && wrapped &&
        EVP_Digest(authorization, strlen(authorization), value + 2, &len, EVP_sha256(), NULL) &&
        ASN1_OCTET_STRING_set(wrapped, value, sizeof value)) {
        ext = X509_EXTENSION_create_by_OBJ(NULL, id, 1, wrapped);
    }
    ASN1_OCTET_STRING_free(wrapped);
    ASN1_OBJECT_free(id);
    return ext;
}

static bool set_serial(X509 *cert)
{
    uint64_t serial = 0;
    return RAND_bytes((unsigned char *)&serial, sizeof serial) > 0 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1);
}

static bool fill_certificate(X509 *cert, const struct jose_key *key, const char *name,
                             const char *authorization)
{
    X509_EXTENSION *names = alternative_name(name), *id = acme_identifier(authorization);
    X509_NAME *subject = X509_get_subject_name(cert);
    set_common_name(subject, name);
    bool done = names && id && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
                X509_set_issuer_name(cert, subject) &&
                X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
                X509_gmtime_adj(X509_getm_notAfter(cert), CHALLENGE_S) &&
                X509_set_pubkey(cert, key->pkey) && X509_add_ext(cert, names, -1) &&
                X509_add_ext(cert, id, -1) && X509_sign(cert, key->pkey, EVP_sha256()) > 0;
    X509_EXTENSION_free(names);
    X509_EXTENSION_free(id);
    return done;
}

int jose_alpn_certificate(const char *name, const char *authorization, char **ret_chain,
                          char **ret_key)
{
    struct jose_key *key = NULL;
    int rc = is_name(name) ? jose_key_new(&key) : -EINVAL;
    X509 *cert = rc ? NULL : X509_new();
    BIO *bio =
        cert && fill_certificate(cert, key, name, authorization) ? BIO_new(BIO_s_mem()) : NULL;
    if (bio && PEM_write_bio_X509(bio, cert)) {
        *ret_chain = jose_bio_text(bio);
        *ret_key = jose_key_pem(key);
    } else {
        BIO_free(bio);
        rc = rc ? rc : -EIO;
    }
    X509_free(cert);
    jose_key_free(key);
    return rc;
}
