/* order.h: an order as order.c and answers.c share it; private to the room. */
#ifndef ACME_ORDER_H
#define ACME_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "acme/acme.h"

struct cJSON;

enum order_state {
    ORDER_DIRECTORY,     /* reads where things are */
    ORDER_ACCOUNT,       /* registers, or finds the account of our key */
    ORDER_NEW,           /* orders */
    ORDER_AUTHORIZATION, /* what has to be proved? */
    ORDER_PRESENT,       /* the driver makes the challenge answerable */
    ORDER_CHALLENGE,     /* tells that it is */
    ORDER_POLL,          /* was it proved? */
    ORDER_READY,         /* was all of it? */
    ORDER_FINALIZE,      /* sends the request for the certificate */
    ORDER_PENDING,       /* is it issued? */
    ORDER_CERTIFICATE,   /* fetches it */
    ORDER_DONE,
    ORDER_FAILED,
    ORDER_STATES
};

struct acme_order {
    enum order_state state;
    struct acme_account *account;
    char *name;
    enum acme_challenge challenge;
    struct jose_key *key;       /* of the certificate */
    uint64_t began_ms, wait_ms; /* not before wait_ms */
    unsigned nonces;            /* refused in a row */
    unsigned unanswered;        /* calls in a row that came to nothing */
    unsigned polls;             /* looks at the same thing */
    bool fetches_nonce;         /* the call under way is for a nonce */
    bool account_anew;          /* the account was unknown there, and was made anew */
    char *body;                 /* of the call under way */
    char *url;                  /* of the order */
    char *finalize_url, *certificate_url;
    struct cJSON *authorizations;        /* URLs */
    unsigned at;                         /* of them */
    char *challenge_url, *token, *proof; /* proof: the key authorization */
    char *chain;
    char *failure;
    uint64_t retry_ms;
};

/* The only writer of the state. */
void acme_order_to(struct acme_order *o, enum order_state state);
/* Takes `why`. */
void acme_order_fail(struct acme_order *o, char *why, uint64_t retry_ms);

/* answers.c */
/* An answer with a status below 400 to what the present state asked. */
void acme_order_take(struct acme_order *o, const struct acme_answer *answer, uint64_t now_ms);
/* One that refuses (RFC 7807). */
void acme_order_refused(struct acme_order *o, const struct acme_answer *answer, uint64_t now_ms);
/* The URL of the authorization under way, or "". */
const char *acme_order_authorization(const struct acme_order *o);

#endif
