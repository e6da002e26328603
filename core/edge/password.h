/* password.h: whether a password is that of a hash (htpasswd.h), and what an Authorization field says. */
#ifndef EDGE_PASSWORD_H
#define EDGE_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/htpasswd.h"
#include "base/str.h"

enum {
    EDGE_CREDENTIALS_BYTES = 512 /* longest "user:password" that is looked at */
};

/* Takes milliseconds on purpose: on threads, never on a loop. May be called on several at once. `hash` is
 * one that htpasswd_next gave, and its kind begun. False also where it cannot be computed. */
bool edge_password_check(struct str hash, struct str password);
/* Loads what computes hashes of this kind (libcrypt, OpenSSL), on the loop. -ELIBACC: it is not there, -ENOTSUP:
 * it does not do it; with a sentence. */
int edge_password_begin(enum htpasswd_kind kind, char **reterr);

/* What a field such as "Basic YWxpY2U6c2VjcmV0" says (RFC 7617): user and password, in `to`. False: it is
 * no such field, or not whole, or too long. Bytes are taken as they are, control characters refused. */
bool edge_basic_read(struct str field, char to[EDGE_CREDENTIALS_BYTES], struct str *ret_user,
                     struct str *ret_password);

#endif
