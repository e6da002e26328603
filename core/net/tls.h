/* tls.h: TLS by OpenSSL 3, for the data plane; the only header of it that other rooms see.
 *
 *   message of certificates -> tls_store -> tls_server (a listener) -> tls_accept  -> struct tls
 *                                        -> tls_client (a service)  -> tls_connect -> struct tls
 *
 * OpenSSL is loaded when the first store is made, and not before: a process that speaks no TLS maps
 * nothing of it. Connections keep the context that they began with, also when the store is replaced.
 * Bytes go through buffers that all connections of a thread share (struct tls_io): what a connection
 * has of its own is what OpenSSL keeps, a record that came in part, and what the kernel would not take.
 *
 * Server side: TLS 1.2 with ECDHE and AEAD, and 1.3; no renegotiation, no compression, no early data; tickets with
 * the keys of the message, one for each handshake. The certificate is that of the exact name, else of the
 * wildcard (one label), else of the entry with the name "*"; a client that names none gets the first entry's. A
 * name that nobody serves is answered with the alert unrecognized_name. Of several entries for one name the first of
 * each type of key (ECDSA, RSA) counts, and the client's signature algorithms decide. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cJSON;
struct iovec;
struct tls;        /* one connection */
struct tls_io;     /* what the connections of one thread share */
struct tls_store;  /* all contexts of one message */
struct tls_server; /* of a listener; counted, as are: */
struct tls_client; /* of a service whose backends speak TLS */

/* Finds OpenSSL; it stays for the life of the process. -ELIBACC with a sentence. Done by tls_store_new. */
int tls_load(char **reterr);

/* ---- contexts ---------------------------------------------------------------------------- */

/* Builds all contexts of
 * {"version":7,
 *  "listeners":[{"listen":"0.0.0.0:8443",
 *    "entries":[{"names":["a.example","*.b.example","*"],"chain":"PEM","key":"PEM","ocsp"?:"base64 of DER",
 *      "alpn"?:"acme-tls/1": only for clients that offer it}],
 *    "client_ca"?:"PEM","client"?:"none"|"request"|"require","min_version"?:"1.2"|"1.3","http2"?:true}],
 *  "upstreams"?:[{"service":"shop","alpn"?:"h2","ca"?:"PEM" (else the system's),"name"?:"shop.example"
 *    (for SNI and the check; else the backend's host),"verify"?:false,"certificate"?:"PEM","key"?:"PEM"}],
 *  "tickets":["base64 of 48 or 80 bytes", newest first]}.
 * `before` (may be NULL) is the present store: what has not changed is taken over from it, with its sessions;
 * it stays the caller's. -EINVAL, -ELIBACC with a sentence. */
int tls_store_new(const struct cJSON *message, const struct tls_store *before,
                  struct tls_store **ret_store, char **reterr);
/* Connections keep what they use of it. NULL is allowed. */
void tls_store_free(struct tls_store *store);
/* Lends: until the store is freed, or as long as a connection uses it; NULL: none of that name. */
struct tls_server *tls_store_server(const struct tls_store *store, const char *listen);
struct tls_client *tls_store_client(const struct tls_store *store, const char *service);

/* ---- connections ------------------------------------------------------------------------- */

struct tls_io *tls_io_new(void);
void tls_io_free(struct tls_io *io); /* NULL is allowed */

/* A connection on a non-blocking socket, which stays the caller's. Nothing is allocated by OpenSSL before a whole
 * first record came. */
struct tls *tls_accept(struct tls_io *io, struct tls_server *server, int fd);
/* `host`: name of the backend, for SNI and the check of its certificate unless the service has its own; an
 * address is checked as one, and not sent. `peer`: text that tells backends apart; a session with it is resumed. */
struct tls *tls_connect(struct tls_io *io, struct tls_client *client, int fd, const char *host,
                        const char *peer);
/* Sends nothing. NULL is allowed. */
void tls_free(struct tls *t);

/* Goes on with the handshake. 1 = it is over; 0 = waits for bytes, or for room in the socket (tls_blocked);
 * -ENOMSG: the first bytes are no TLS (tls_first has them); -ECONNRESET and the like; -EPROTO: it failed,
 * tls_why says how, and the other side was told. */
int tls_handshake(struct tls *t);
/* Whether a whole first record came: from then on it has memory of OpenSSL. */
bool tls_begun(const struct tls *t);
/* Whether what was written waits for room in the socket. */
bool tls_blocked(const struct tls *t);
/* What came first; only behind -ENOMSG. Lends: until the next call on any connection of this tls_io. */
const char *tls_first(const struct tls *t, size_t *ret_len);
/* Why the handshake failed, as a sentence: "certificate has expired", "no shared cipher". Lends: as long as t. */
const char *tls_why(const struct tls *t);

/* As recv: bytes; 0 = the end; -EAGAIN, -EPROTO (a broken record) or another -errno. A client's end without
 * close_notify is an end, a backend's is -ECONNRESET. */
ssize_t tls_recv(struct tls *t, void *to, size_t size);
/* Whether tls_recv may have more without a new event of the socket. */
bool tls_more(const struct tls *t);
/* As sendmsg: bytes that the kernel took, 0 when it takes none now. What it did not take is to be offered again, the
 * same bytes first. */
ssize_t tls_send(struct tls *t, const struct iovec *iov, int count);
/* Says that nothing follows (close_notify), as far as the kernel takes it now. */
void tls_close(struct tls *t);
/* Whether a connection that nobody asked for anything has said nothing: as a peek at the socket, but what is no
 * application data (tickets) is taken. */
bool tls_quiet(struct tls *t);

/* ---- what was agreed; behind the handshake ----------------------------------------------- */

bool tls_http2(const struct tls *t); /* ALPN chose "h2" */
bool tls_acme(const struct tls *t);  /* ALPN chose "acme-tls/1": nothing follows */
bool tls_resumed(const struct tls *t);
const char *tls_version(const struct tls *t);     /* "TLSv1.3" */
const char *tls_server_name(const struct tls *t); /* that the client sent, in lower case; or "" */
/* Subject of the client's verified certificate as in RFC 2253 ("CN=alice,O=Example"); "" = it has none. */
const char *tls_subject(const struct tls *t);
/* Whether a request for this host (lower case, without port) belongs on this connection: true unless the client
 * sent a name and the host is one that another certificate of the listener is for (421). */
bool tls_covers(const struct tls *t, const char *host);

#endif
