/* users.h: who may log in at a route: the users of an htpasswd file, what a request says, and credentials that
 * were proven of late.
 *
 *   request -> edge_users_ask -> (known credentials: in)
 *                             -> edge_password_check on a thread, with the hash it names -> edge_proven_add
 *
 * A user that is not in the file costs what one in it does: some user's hash is computed, the same one each time,
 * and nothing is the right password of it. */
#ifndef EDGE_USERS_H
#define EDGE_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/htpasswd.h"
#include "base/str.h"
#include "edge/password.h"

struct cJSON;
struct http1_head;

enum {
    EDGE_PROVEN = 1024,        /* credentials that are remembered */
    EDGE_PROVEN_MS = 300000,   /* for so long */
    EDGE_PROOF_BYTES = 32,     /* HMAC-SHA-256 */
    EDGE_CHALLENGE_BYTES = 192 /* of the field that asks for them, with its CR LF */
};

/* The users of a route. */
struct edge_users;

/* Credentials that were right: not they, but a keyed digest of them and of the hash that they are right for, so
 * that a changed password is asked for at once. */
struct edge_proven {
    unsigned char key[32];
    bool keyed;
    struct edge_proof {
        unsigned char digest[EDGE_PROOF_BYTES];
        uint64_t until_ms;
    } of[EDGE_PROVEN];
};

enum edge_login {
    EDGE_LOGIN_MISSING, /* no credentials, or none that can be read */
    EDGE_LOGIN_PROVEN,
    EDGE_LOGIN_UNPROVEN /* they are to be checked */
};

/* What a request says. */
struct edge_credentials {
    char bytes[EDGE_CREDENTIALS_BYTES];
    struct str user, password; /* in `bytes` */
    char hash[HTPASSWD_HASH_BYTES + 1];
    bool known; /* the user is there: else they are wrong, whatever edge_password_check says */
    unsigned char digest[EDGE_PROOF_BYTES];
};

/* From a route's "basic_auth", {"users":TEXT,"realm":"ops","pass":false}, on the loop; -EINVAL, -ELIBACC, -ENOTSUP with a sentence. */
int edge_users_new(const struct cJSON *json, struct edge_users **ret_users, char **reterr);
void edge_users_free(struct edge_users *u); /* NULL is allowed */
/* Looks at the Authorization field. `proven` is lent, and keyed the first time. */
enum edge_login edge_users_ask(const struct edge_users *u, struct edge_proven *proven,
                               const struct http1_head *head, uint64_t now_ms,
                               struct edge_credentials *ret);
/* They were right. */
void edge_proven_add(struct edge_proven *proven, const unsigned char digest[EDGE_PROOF_BYTES],
                     uint64_t now_ms);
/* "WWW-Authenticate: ..." with CR LF. */
struct str edge_users_challenge(const struct edge_users *u);
/* Whether backends get the Authorization field, too. */
bool edge_users_pass(const struct edge_users *u);

#endif
