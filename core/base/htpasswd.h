/* htpasswd.h: reading files of users and password hashes, as Apache's htpasswd writes them. Knows the
 * forms of hashes, but not how to compute one (edge/password.h).
 *
 *   # who runs the shop
 *   alice:$2y$10$...          bcrypt, also $2b$ and $2a$      htpasswd -B
 *   bob:$apr1$...             MD5, 1000 rounds                htpasswd -m
 *   carol:{SHA}...            SHA-1, base64                   htpasswd -s
 *   dave:$5$...  erin:$6$...  SHA-256 and SHA-512 of crypt    mkpasswd
 */
#ifndef BASE_HTPASSWD_H
#define BASE_HTPASSWD_H

#include "base/str.h"

enum {
    HTPASSWD_USER_BYTES = 255,
    HTPASSWD_HASH_BYTES = 127,    /* of the longest hash: SHA-512 with rounds has 123 */
    HTPASSWD_COST_MOST = 15,      /* of bcrypt: more takes seconds for each log-in */
    HTPASSWD_ROUNDS_MOST = 999999 /* of SHA-256 and SHA-512, the same */
};

enum htpasswd_kind {
    HTPASSWD_BCRYPT,
    HTPASSWD_APR1,
    HTPASSWD_SHA1,
    HTPASSWD_SHA256,
    HTPASSWD_SHA512,
    HTPASSWD_KINDS
};

/* Where in a file; {text, 0} is the start. */
struct htpasswd {
    struct str rest;
    unsigned line; /* of what was read last, from 1 */
};

struct htpasswd_entry {
    struct str user, hash; /* lend: as the text */
    enum htpasswd_kind kind;
};

/* The next user: 1; 0 at the end; -EINVAL with what is wrong in that line, a constant sentence that has
 * nothing of the line in it. Reading may go on behind it. */
int htpasswd_next(struct htpasswd *at, struct htpasswd_entry *ret_entry, const char **ret_why);

#endif
