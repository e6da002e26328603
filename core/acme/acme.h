/* acme.h: how a certificate is got from an authority (RFC 8555), as a machine without network, clock or files.
 *
 *   DIRECTORY -> ACCOUNT -> ORDER -> AUTHORIZATION -> PRESENT -> CHALLENGE -> POLL -+-> FINALIZE -> PENDING -> CERTIFICATE -> DONE
 *                                          |  ^                                    |
 *                            (valid already)  +------ (more authorizations) -------+        anything else: FAILED
 *
 * Whoever drives it asks acme_order_next what to do now, does that, and tells what came of it:
 *
 *   ACME_CALL     an HTTP call                          acme_order_answer
 *   ACME_PRESENT  the challenge has to be answerable     acme_order_presented
 *   ACME_WAIT     until a moment, then ask again
 *   ACME_DONE     acme_order_certificate
 *   ACME_FAILED   acme_order_failure
 *
 * An account is what orders at one authority share: key, address there, directory, the last nonce. Nonces are for
 * one message each, so of one account one order is driven at a time. Times are ms since 1970 and come as arguments.
 * Does not: repeat an order that failed; that is planned with acme_retry_ms and acme_renew_ms. */
#ifndef ACME_ACME_H
#define ACME_ACME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct acme_account;
struct acme_order;
struct jose_key;

enum acme_limits {
    ACME_NONCES = 20, /* so many nonces may be refused in a row */
    ACME_ANSWER_BYTES = 1 << 18,
    ACME_ORDER_MS = 300000, /* an order that takes longer has failed */
    ACME_POLL_MS = 1000,    /* between two looks, doubled up to the most */
    ACME_POLL_MOST_MS = 15000
};

enum acme_challenge {
    ACME_HTTP_01,
    ACME_TLS_ALPN_01,
    ACME_CHALLENGES
};

/* "http-01", "tls-alpn-01". */
const char *acme_challenge_name(enum acme_challenge challenge);
/* ACME_CHALLENGES: none of that name. */
enum acme_challenge acme_challenge_of(const char *name);

/* ---- account.c --------------------------------------------------------------------------- */

/* Copies `directory` (its URL) and `email` (may be ""); takes `key`. `url`: what the authority called the account
 * in an earlier run, or "". */
struct acme_account *acme_account_new(const char *directory, const char *email,
                                      struct jose_key *key, const char *url);
/* What the authority calls it; "" before it has. Lends. */
const char *acme_account_url(const struct acme_account *a);
const char *acme_account_directory(const struct acme_account *a);
/* The key as PEM; the caller owns it. */
char *acme_account_key(const struct acme_account *a);
void acme_account_free(struct acme_account *a); /* NULL is allowed; no order may be left */

/* ---- order.c ----------------------------------------------------------------------------- */

enum acme_step {
    ACME_CALL,
    ACME_PRESENT,
    ACME_WAIT,
    ACME_DONE,
    ACME_FAILED,
    ACME_STEPS
};

/* What is to be done. Lent until the order is told or asked anything. */
struct acme_want {
    enum acme_step step;
    const char *method, *url;          /* CALL: "GET", "HEAD", "POST" */
    const char *body;                  /* CALL: of type application/jose+json, or NULL */
    const char *token, *authorization; /* PRESENT: token and key authorization */
    uint64_t until_ms;                 /* WAIT */
};

/* What came of a call. Texts are "" when there are none, never NULL. */
struct acme_answer {
    const char *error; /* no answer came, and why; else NULL */
    int status;
    const char *body;
    size_t body_len;
    const char *nonce, *location, *retry_after; /* fields Replay-Nonce, Location, Retry-After */
};

/* Asks for `name`; lends the account, takes `key`, that of the certificate. */
struct acme_order *acme_order_new(struct acme_account *account, const char *name,
                                  enum acme_challenge challenge, struct jose_key *key,
                                  uint64_t now_ms);
enum acme_step acme_order_next(struct acme_order *o, uint64_t now_ms, struct acme_want *ret_want);
/* Only when a CALL was wanted. */
void acme_order_answer(struct acme_order *o, const struct acme_answer *answer, uint64_t now_ms);
/* Only when PRESENT was wanted: the challenge is answerable, or `error` says why it never will be. */
void acme_order_presented(struct acme_order *o, const char *error);
/* Where it is: "ordering", "validating", ... Static storage. */
const char *acme_order_state(const struct acme_order *o);
/* A sentence, and the time before which the authority does not want to be asked again; 0: it said none. Lends. */
const char *acme_order_failure(const struct acme_order *o, uint64_t *ret_retry_ms);
/* Lends the chain; the caller owns the key. Both PEM. */
const char *acme_order_certificate(const struct acme_order *o, char **ret_key);
void acme_order_free(struct acme_order *o); /* NULL is allowed */

/* ---- renew.c ----------------------------------------------------------------------------- */

/* When a certificate that is valid from..to is asked for anew: when two thirds of its time are over, and up to a
 * thirtieth of it later, so that names that began together do not come together for ever. `salt` is the name's. */
uint64_t acme_renew_ms(uint64_t from_ms, uint64_t to_ms, const char *salt);
/* When to try again behind `failures` (from 1) in a row: `least_ms`, then three times as long each time, half a day at
 * most, four fifths to six fifths of it by `chance` (0 to 1); never before `not_before_ms`. */
uint64_t acme_retry_ms(uint64_t now_ms, uint64_t least_ms, unsigned failures, double chance,
                       uint64_t not_before_ms);
/* The moment that a Retry-After field names: seconds, or a date; 0: none that can be read. */
uint64_t acme_retry_after_ms(const char *field, uint64_t now_ms);

#endif
