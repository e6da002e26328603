/* password.h: whether a password is that of a hash (htpasswd.h), and what an Authorization field says. */
#ifndef EDGE_PASSWORD_H
#define EDGE_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum {
    EDGE_CREDENTIALS_BYTES = 512 /* longest "user:password" that is looked at */
};

/* Takes milliseconds on purpose: on threads, never on a loop. May be called on several at once. `hash` is
 * one that htpasswd_next gave. False also where it cannot be computed. */
bool edge_password_check(struct str hash, struct str password);
/* Whether hashes of passwords can be computed here: libcrypt is there. -ELIBACC with a sentence. */
int edge_password_begin(char **reterr);

/* What a field such as "Basic YWxpY2U6c2VjcmV0" says (RFC 7617): user and password, in `to`. False: it is
 * no such field, or not whole, or too long. Bytes are taken as they are, control characters refused. */
bool edge_basic_read(struct str field, char to[EDGE_CREDENTIALS_BYTES], struct str *ret_user,
                     struct str *ret_password);

#endif
