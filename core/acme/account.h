/* account.h: what order.c and messages.c need of an account; private to the room. */
#ifndef ACME_ACCOUNT_H
#define ACME_ACCOUNT_H

#include <stdbool.h>

struct acme_account {
    char *directory, *email;
    struct jose_key *key;
    char *url;   /* "" = not known there yet, as far as we know */
    char *nonce; /* for the next message, or NULL */
    /* What the directory says; NULL: not read yet. */
    char *new_nonce, *new_account, *new_order;
};

/* Takes the nonce out; the caller owns it. */
char *acme_account_nonce(struct acme_account *a);
/* A JWS for this URL: with the key's public half when `by_key`, else by the account's address. `payload` "" is a
 * POST-as-GET (RFC 8555, 6.3). Uses up the nonce. The caller owns it. */
char *acme_account_sign(struct acme_account *a, const char *url, const char *payload, bool by_key);

#endif
