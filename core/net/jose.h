/* jose.h: what an ACME client makes with OpenSSL: keys, signed messages (RFC 7515), requests for certificates
 * and the certificate of a TLS-ALPN-01 challenge (RFC 8737).
 *
 * Keys are P-256, signatures ES256: every ACME server has to take these. Nothing here blocks or reads a file. */
#ifndef NET_JOSE_H
#define NET_JOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jose_key;

/* A new key; -EIO when OpenSSL cannot make one. */
int jose_key_new(struct jose_key **ret_key);
/* One that was written by jose_key_pem. -EINVAL: not a PEM file with a private key on P-256. */
int jose_key_read(const char *pem, struct jose_key **ret_key);
/* PEM (PKCS #8), not encrypted; the caller owns it. */
char *jose_key_pem(const struct jose_key *key);
/* Wipes it. NULL is allowed. */
void jose_key_free(struct jose_key *key);

/* base64url without padding (RFC 4648, 5); the caller owns it. */
char *jose_base64url(const void *bytes, size_t len);
/* The public half: {"crv":"P-256","kty":"EC","x":"...","y":"..."}, as RFC 7638 wants it; the caller owns it. */
char *jose_jwk(const struct jose_key *key);
/* SHA-256 of that in base64url (RFC 7638); the caller owns it. */
char *jose_thumbprint(const struct jose_key *key);
/* A flattened JWS {"protected","payload","signature"} over these two texts; "alg" is the caller's to write into
 * the first: "ES256". The caller owns it. */
char *jose_sign(const struct jose_key *key, const char *protected_json, const char *payload);

/* A certificate signing request for one DNS name, DER in base64url; the caller owns it. -EINVAL: no name. */
int jose_csr(const struct jose_key *key, const char *name, char **ret_csr);
/* The self-signed certificate with which a TLS-ALPN-01 challenge is answered, PEM, and its key; the caller
 * owns both. `authorization` is the key authorization. */
int jose_alpn_certificate(const char *name, const char *authorization, char **ret_chain,
                          char **ret_key);

#endif
