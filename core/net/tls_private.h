/* tls_private.h: what the files of TLS share; private to the room.
 *
 *   tls.c        connections: handshake, records in and out
 *   tls_server.c contexts of a listener, and which certificate a client gets
 *   tls_client.c contexts towards backends, and their sessions
 *   tls_pem.c    certificates, keys and base64 as they come in a message
 *   tls_store.c  a message of certificates as a whole;  openssl.h, openssl.c: the library */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include "base/limits.h"
#include "base/map.h"
#include "net/openssl.h"
#include "net/tls.h"

enum {
    TLS_RECORD_BYTES = 16384, /* most plain bytes of one record */
    TLS_BATCH = 4,            /* records that leave with one call */
    TLS_RAW_BYTES = 64 << 10,
    TLS_OUT_BYTES = 96 << 10, /* a batch, or a flight of a handshake; no more waits */
    TLS_NAME_BYTES = 256,     /* longest name of a server, and NUL */
    TLS_SUBJECT_BYTES = 1024, /* longest subject of a client, and NUL */
    TLS_DIGEST_BYTES = 32,
    TLS_TICKET_NAME_BYTES = 16,
    TLS_TICKETS = 8
};

/* Raw bytes belong to the connection that is in a call, and to none outside of one. */
struct tls_io {
    BIO_METHOD *method;
    size_t raw_at, raw_len, out_len;
    unsigned char raw[TLS_RAW_BYTES];
    unsigned char out[TLS_OUT_BYTES];
    char plain[TLS_RECORD_BYTES];
};

struct tls {
    SSL *ssl; /* NULL: the first record is not whole */
    struct tls_io *io;
    struct tls_server *server; /* one of the two */
    struct tls_client *client;
    const struct tls_choice *choice; /* of the server; NULL: none made */
    int fd;
    int failed;          /* -errno for ever, or 0 */
    unsigned char *held; /* received, for OpenSSL */
    size_t held_at, held_len;
    unsigned char *out; /* written by OpenSSL, for the socket */
    size_t out_at, out_len;
    size_t owed;      /* plain bytes of it whose sender was told that they are not taken */
    size_t first_len; /* of io->raw: what was no TLS */
    bool drained;     /* the socket had no more in this call */
    bool ended;       /* its other side has ended, */
    bool clean;       /* and said so */
    bool established, closed;
    bool offers_acme; /* the client's ALPN */
    char *name;       /* server: that the client sent; client: for SNI and the check */
    char *peer;       /* client: whose sessions */
    char *subject, *why;
};

/* ---- tls_pem.c --------------------------------------------------------------------------- */

/* A certificate and what goes with it; zeroed: none. */
struct tls_identity {
    X509 **chain; /* its own first */
    size_t chain_len;
    EVP_PKEY *key;
    unsigned char *ocsp; /* NULL: none */
    size_t ocsp_len;
};

/* Fills it from PEM and base64 ("": none); -EINVAL with a sentence. To be freed in either case. */
int tls_identity_read(const char *chain, const char *key, const char *ocsp, struct tls_identity *id,
                      char **reterr);
void tls_identity_free(struct tls_identity *id);
/* Has a context show it. */
int tls_identity_use(const struct tls_identity *id, SSL_CTX *ctx);
/* All certificates of a PEM as trusted ones; -EINVAL with a sentence. The caller owns the store. */
int tls_trust_read(const char *pem, X509_STORE **ret_store, char **reterr);
/* The names of a PEM's certificates, as a server tells which it trusts. The caller owns them. */
STACK_OF(X509_NAME) * tls_trust_names(const char *pem);
/* Decoded bytes; NULL when it is no base64. The caller owns them: mem_free. */
unsigned char *tls_base64(const char *text, size_t *ret_len);
void tls_digest(const void *bytes, size_t len, unsigned char ret_digest[TLS_DIGEST_BYTES]);
bool tls_is_address(const char *host);
/* What OpenSSL complained of first, and forgets it. Static. */
const char *tls_complaint(void);

/* ---- tls_server.c ------------------------------------------------------------------------ */

/* Keys that all workers have, so that each resumes what another began. */
struct tls_tickets {
    uint32_t refs, count;
    struct tls_ticket {
        unsigned char name[TLS_TICKET_NAME_BYTES], aes[32], mac[32];
        size_t len; /* of each key: 16 or 32 */
    } keys[TLS_TICKETS];
};

int tls_tickets_read(const struct cJSON *json, struct tls_tickets **ret_tickets, char **reterr);
void tls_tickets_unref(struct tls_tickets *tickets); /* NULL is allowed */

/* What a name is served with: of the entries for it the first of each type of key. */
struct tls_choice {
    SSL_CTX *ctx;
    uint32_t entries[4];
    uint32_t count;
};

struct tls_entry {
    struct tls_identity id;
    bool acme;
};

struct tls_server {
    uint32_t refs;
    char *listen;
    unsigned char digest[TLS_DIGEST_BYTES]; /* of its part of the message */
    struct tls_entry *entries;
    size_t entry_count;
    struct tls_choice **choices;
    size_t choice_count;
    struct map names;      /* "a.example", "*.b.example", "*" -> struct tls_choice * */
    struct map acme_names; /* the same for clients that offer acme-tls/1 */
    struct tls_choice *first;
    struct tls_tickets *tickets; /* NULL: OpenSSL's own */
    bool http2, asks, requires;  /* a client's certificate */
};

int tls_server_new(const struct cJSON *json, const unsigned char *digest,
                   struct tls_server **ret_server, char **reterr);
void tls_server_unref(struct tls_server *s); /* NULL is allowed */
void tls_server_tickets(struct tls_server *s, struct tls_tickets *tickets);
/* For a host in lower case; NULL: none. */
struct tls_choice *tls_server_find(const struct tls_server *s, const char *host, bool acme);

/* ---- tls_client.c ------------------------------------------------------------------------ */

struct tls_client {
    uint32_t refs;
    char *service;
    unsigned char digest[TLS_DIGEST_BYTES];
    SSL_CTX *ctx;
    char *name; /* NULL: the backend's own */
    bool verify;
    struct map sessions; /* peer -> SSL_SESSION * */
};

int tls_client_new(const struct cJSON *json, const unsigned char *digest,
                   struct tls_client **ret_client, char **reterr);
void tls_client_unref(struct tls_client *c); /* NULL is allowed */
/* Sets name, check and session of a connection that begins. -EINVAL. */
int tls_client_begin(struct tls *t);

#endif
