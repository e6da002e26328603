/* certificate.h: what certificates and their keys say, and whether they are fit to be served.
 *
 * Reads PEM texts (answers of authorities: DER), opens no files and asks nobody for a pass phrase. Sentences begin
 * with a verb, for behind the name of the file: "has no certificate: ...".
 *
 *   certificate_new(chain) -> certificate_take_key(key) -> certificate_staple(answer)? -> certificate_look
 *
 * Needs OpenSSL: -ELIBACC with a sentence where it is not installed. */
#ifndef NET_CERTIFICATE_H
#define NET_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct certificate_parts; /* certificate.c */

/* The first certificate of a file, and its chain. */
struct certificate {
    char **names; /* hosts of subjectAltName, in lower case, "*.shop.example" too, and addresses */
    size_t name_count; /* ... */
    bool common_name;  /* it has none: names has the subject's common name instead */
    bool self_signed;
    bool must_staple;                  /* clients want an answer of its authority with it */
    char *subject, *issuer;            /* "CN=Root,O=Example" */
    char *serial;                      /* "0A1B..." */
    char *key_type;                    /* "ECDSA P-256", "RSA 2048", "Ed25519" */
    int64_t not_before_s, not_after_s; /* since 1970 */
    char *chain; /* PEM: itself, then each one's issuer as far as the file has them; nothing else */
    char *key;   /* PEM, or NULL before certificate_take_key */
    char *ocsp;  /* base64 of an answer of its authority, or NULL */
    int64_t ocsp_until_s; /* when that is over; 0 = no answer, or it does not say */
    struct certificate_parts *parts;
};

/* Reads a chain. -EINVAL with a sentence: nothing of it can be served. The caller owns *ret. */
int certificate_new(const char *pem, size_t len, struct certificate **ret_certificate,
                    char **reterr);
/* Wipes the key. NULL is allowed. */
void certificate_free(struct certificate *c);
/* Reads its key from a text that may hold more than that. -EINVAL with a sentence about the key's file. */
int certificate_take_key(struct certificate *c, const char *pem, size_t len, char **reterr);
/* Takes an authority's answer about it (DER). -EINVAL with a sentence. */
int certificate_staple(struct certificate *c, const char *der, size_t len, char **reterr);

/* Says what is not right with it but no reason to refuse it: `text` as above, borrowed. `grave`: clients refuse it
 * as it is. */
typedef void certificate_say_fn(void *arg, bool grave, const char *text);
void certificate_look(const struct certificate *c, int64_t now_s, certificate_say_fn *say,
                      void *arg);
/* Whether it is for that host ("shop.example"; "*.shop.example" for all directly below it). */
bool certificate_covers(const struct certificate *c, const char *host);

/* Reads certificates of authorities; how many there are, or -EINVAL with a sentence. */
int certificate_authorities(const char *pem, size_t len, char **reterr);
/* Whether a text holds a private key in PEM. */
bool certificate_has_key(const char *pem, size_t len);
/* Random bytes as base64, owned; wipe it. -ELIBACC with a sentence. */
int certificate_random(size_t bytes, char **ret_base64, char **reterr);

#endif
