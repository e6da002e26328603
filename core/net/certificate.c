/* certificate.c: see certificate.h.
 *
 * Owns: OpenSSL's objects of a chain while it is read and for as long as the certificate lives, since the key and
 * answers of authorities are held against them.
 * Invariants: what goes out as PEM was written anew by us, so a file that has key and certificate in one never leaks
 * the one with the other. */
#include "net/certificate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "net/certificate_parts.h"
#include "net/openssl.h"
#include "net/tls.h"
#include "base/ban.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    LEAST_BITS = 112 /* of security: RSA 2048, SHA-224; OpenSSL refuses less at its level 2 */
};

/* ---- Texts out of OpenSSL ---------------------------------------------------------------- */

/* What a memory BIO has collected, owned; frees it. */
static char *take_text(BIO *bio)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(bio, &bytes);
    char *text = mem_copy_bytes(len > 0 ? bytes : "", len > 0 ? (size_t)len : 0);
    BIO_free(bio);
    return text;
}

static char *name_text(X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    return take_text(bio);
}

static char *hex(const unsigned char *bytes, int len)
{
    static const char digits[] = "0123456789ABCDEF";
    char *text = mem_new(2 * (size_t)len + 1);
    for (int i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    return text;
}

static int64_t seconds(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static char *key_text(X509 *x)
{
    EVP_PKEY *key = X509_get0_pubkey(x);
    char group[64] = ""; /* a curve's name; a longer one is not asked for */
    size_t len = 0;
    int kind = key ? EVP_PKEY_get_base_id(key) : 0;
    if (kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS) {
        return mem_printf("RSA %d", EVP_PKEY_get_bits(key));
    }
    if (kind == EVP_PKEY_EC) {
        (void)EVP_PKEY_get_group_name(key, group, sizeof group, &len);
        const char *name = str_same(group, "prime256v1")  ? "P-256"
                           : str_same(group, "secp384r1") ? "P-384"
                           : str_same(group, "secp521r1") ? "P-521"
                                                          : group;
        return mem_printf("ECDSA %s", name);
    }
    return mem_copy(kind == EVP_PKEY_ED25519 ? "Ed25519"
                    : kind == EVP_PKEY_ED448 ? "Ed448"
                                             : "other");
}

/* ---- Names ------------------------------------------------------------------------------- */

static void add_name(struct certificate *c, const char *text, size_t len)
{
    if (!len || memchr(text, '\0', len)) {
        return; /* a NUL within a name is there to deceive */
    }
    c->names = mem_resize(c->names, (c->name_count + 1) * sizeof *c->names);
    char *name = c->names[c->name_count++] = mem_copy_bytes(text, len);
    for (size_t i = 0; i < len; i++) {
        name[i] = (char)tolower((unsigned char)name[i]);
    }
}

static void add_address(struct certificate *c, const ASN1_OCTET_STRING *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    int len = ASN1_STRING_length(address);
    if (len == 4 || len == 16) {
        inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof text);
        add_name(c, text, strlen(text));
    }
}

static void read_names(struct certificate *c, X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int count = names ? sk_GENERAL_NAME_num(names) : 0;
    for (int i = 0; i < count; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            add_name(c, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                     (size_t)ASN1_STRING_length(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
            add_address(c, name->d.iPAddress);
        }
    }
    GENERAL_NAMES_free(names);
    if (!c->name_count) {
        char text[256] = ""; /* a longer common name is cut, and is no host's */
        int len =
            X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, text, sizeof text);
        c->common_name = true;
        add_name(c, text, len > 0 && len < 254 ? (size_t)len : 0);
    }
}

/* ---- Reading ----------------------------------------------------------------------------- */

/* Nobody is asked: OpenSSL would read from the terminal. */
static int no_pass_phrase(char *to, int size, int writing, void *arg)
{
    (void)to, (void)size, (void)writing, (void)arg;
    return -1;
}

static bool holds(const char *pem, size_t len, const char *word)
{
    return memmem(pem, len, word, strlen(word)) != NULL;
}

bool certificate_has_key(const char *pem, size_t len)
{
    return holds(pem, len, "PRIVATE KEY-----");
}

static char *no_certificate(const char *pem, size_t len)
{
    if (!len) {
        return mem_copy("is empty");
    } else if (holds(pem, len, "-----BEGIN CERTIFICATE REQUEST-----")) {
        return mem_copy("holds a request: put in what the authority made of it");
    } else if (certificate_has_key(pem, len)) {
        return mem_copy("holds a key and no certificate: are certificate and key exchanged?");
    } else if ((unsigned char)pem[0] == 0x30) {
        return mem_copy(
            "is DER and not PEM: convert it: openssl x509 -inform der -in OLD -out NEW.pem");
    }
    return mem_copy(
        "has no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----");
}

/* All certificates of a text, in its order. */
static int read_all(const char *pem, size_t len, struct certificate_parts *p, char **reterr)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *x;
    while ((x = PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL)) != NULL) {
        p->all = mem_resize(p->all, (p->count + 1) * sizeof(X509 *));
        p->all[p->count++] = x;
    }
    unsigned long error = ERR_peek_last_error();
    bool over = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (!over) {
        *reterr = mem_printf("is damaged: its certificate number %zu cannot be read", p->count + 1);
        return -EINVAL;
    } else if (!p->count) {
        *reterr = no_certificate(pem, len);
        return -EINVAL;
    }
    return 0;
}

static bool issued(X509 *issuer, X509 *x)
{
    return X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) == 0;
}

/* Behind the first one its issuer, that one's issuer, and so on; others are left out. */
static void sort_chain(struct certificate_parts *p)
{
    p->used = 1;
    while (p->used < p->count && !issued(p->all[p->used - 1], p->all[p->used - 1])) {
        size_t at = p->used;
        while (at < p->count && !issued(p->all[at], p->all[p->used - 1])) {
            at++;
        }
        if (at == p->count) {
            return;
        }
        X509 *next = p->all[at];
        p->sorted = p->sorted || at != p->used;
        memmove(p->all + p->used + 1, p->all + p->used, (at - p->used) * sizeof(X509 *));
        p->all[p->used++] = next;
    }
}

static char *chain_text(const struct certificate_parts *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    for (size_t i = 0; i < p->used; i++) {
        PEM_write_bio_X509(bio, p->all[i]);
    }
    return take_text(bio);
}

/* What OpenSSL will not serve, and no client should take. */
static int check_strength(const struct certificate *c, char **reterr)
{
    const struct certificate_parts *p = c->parts;
    EVP_PKEY *key = X509_get0_pubkey(p->all[0]);
    int bits = key ? EVP_PKEY_get_security_bits(key) : 0;
    if (bits < LEAST_BITS) {
        *reterr = mem_printf("has a weak key (%s): make a new one, of ECDSA P-256 or RSA 2048",
                             c->key_type);
        return -EINVAL;
    }
    for (size_t i = 0; i < p->used; i++) {
        int digest = 0, sign = 0, strength = 0;
        X509 *x = p->all[i];
        if (X509_get_signature_info(x, &digest, &sign, &strength, NULL) == 1 &&
            strength < LEAST_BITS && !issued(x, x)) {
            *reterr = mem_printf(
                "has a weak signature: its certificate number %zu is signed with %s, which "
                "clients refuse: have it signed with SHA-256",
                i + 1, digest == NID_sha1 ? "SHA-1" : "MD5 or the like");
            return -EINVAL;
        }
    }
    return 0;
}

int certificate_new(const char *pem, size_t len, struct certificate **ret_certificate,
                    char **reterr)
{
    int rc = tls_load(reterr);
    if (rc) {
        return rc;
    }
    struct certificate *c = mem_new(sizeof *c);
    struct certificate_parts *p = c->parts = mem_new(sizeof *p);
    rc = read_all(pem, len, p, reterr);
    if (!rc) {
        X509 *x = p->all[0];
        const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
        sort_chain(p);
        read_names(c, x);
        c->subject = name_text(X509_get_subject_name(x));
        c->issuer = name_text(X509_get_issuer_name(x));
        c->serial = hex(ASN1_STRING_get0_data(serial), ASN1_STRING_length(serial));
        c->key_type = key_text(x);
        c->not_before_s = seconds(X509_get0_notBefore(x));
        c->not_after_s = seconds(X509_get0_notAfter(x));
        c->self_signed = issued(x, x);
        TLS_FEATURE *features = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
        c->must_staple = features != NULL;
        TLS_FEATURE_free(features);
        c->chain = chain_text(p);
        rc = check_strength(c, reterr);
    }
    ERR_clear_error();
    if (rc) {
        certificate_free(c);
        return rc;
    }
    *ret_certificate = c;
    return 0;
}

void certificate_free(struct certificate *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->name_count; i++) {
        mem_free(c->names[i]);
    }
    for (size_t i = 0; i < c->parts->count; i++) {
        X509_free(c->parts->all[i]);
    }
    mem_free(c->parts->all);
    mem_free(c->parts);
    mem_free(c->names);
    mem_free(c->subject);
    mem_free(c->issuer);
    mem_free(c->serial);
    mem_free(c->key_type);
    mem_free(c->chain);
    mem_free_secret(c->key);
    mem_free(c->ocsp);
    mem_free(c);
}

/* ---- The key ----------------------------------------------------------------------------- */

static char *no_key(const char *pem, size_t len)
{
    if (!len) {
        return mem_copy("is empty");
    } else if (holds(pem, len, "BEGIN ENCRYPTED PRIVATE KEY") ||
               holds(pem, len, "Proc-Type: 4,ENCRYPTED")) {
        return mem_copy(
            "is encrypted, and nobody is there to ask for its pass phrase: write it without: "
            "openssl pkey -in OLD -out NEW.key");
    } else if (certificate_has_key(pem, len)) {
        return mem_copy("is damaged: its key cannot be read");
    } else if (holds(pem, len, "-----BEGIN CERTIFICATE-----")) {
        return mem_copy("holds a certificate and no key: are certificate and key exchanged?");
    }
    return mem_copy("has no key: expected PEM, which begins with -----BEGIN PRIVATE KEY-----");
}

/* Why a key that was read is not the one. */
static char *not_its_key(const struct certificate *c, const EVP_PKEY *key)
{
    for (size_t i = 1; i < c->parts->count; i++) {
        if (X509_check_private_key(c->parts->all[i], key) == 1) {
            return mem_printf(
                "is the key of certificate number %zu in its file: put that one first", i + 1);
        }
    }
    return mem_printf("is not the key of the certificate for %s (serial %s): they were not made "
                      "together",
                      c->name_count ? c->names[0] : c->subject, c->serial);
}

int certificate_take_key(struct certificate *c, const char *pem, size_t len, char **reterr)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
    BIO_free(bio);
    char *why = NULL;
    if (!key) {
        why = no_key(pem, len);
    } else if (X509_check_private_key(c->parts->all[0], key) != 1) {
        why = not_its_key(c, key);
    } else {
        BIO *out = BIO_new(BIO_s_mem());
        PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
        mem_free_secret(c->key);
        c->key = take_text(out);
    }
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (why) {
        *reterr = why;
    }
    return why ? -EINVAL : 0;
}

int certificate_authorities(const char *pem, size_t len, char **reterr)
{
    struct certificate_parts p = {0};
    int rc = tls_load(reterr);
    rc = rc ? rc : read_all(pem, len, &p, reterr);
    for (size_t i = 0; i < p.count; i++) {
        if (!rc && X509_check_ca(p.all[i]) == 0) {
            char *subject = name_text(X509_get_subject_name(p.all[i]));
            *reterr = mem_printf(
                "has a certificate that may not sign others (%s): name the authority's", subject);
            mem_free(subject);
            rc = -EINVAL;
        }
        X509_free(p.all[i]);
    }
    mem_free(p.all);
    return rc ? rc : (int)p.count;
}

int certificate_random(size_t bytes, char **ret_base64, char **reterr)
{
    unsigned char random[128];
    int rc = tls_load(reterr);
    if (rc || bytes > sizeof random || RAND_bytes(random, (int)bytes) != 1) {
        return rc ? rc : -EIO;
    }
    char *text = mem_new(4 * ((bytes + 2) / 3) + 1);
    EVP_EncodeBlock((unsigned char *)text, random, (int)bytes);
    mem_wipe(random, sizeof random);
    *ret_base64 = text;
    return 0;
}
