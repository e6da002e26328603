/* jose_key.h: what jose.c and jose_x509.c share; private to the room. */
#ifndef NET_JOSE_KEY_H
#define NET_JOSE_KEY_H

#include "net/openssl.h"

struct jose_key {
    EVP_PKEY *pkey;
};

/* What was written to it, as text that the caller owns. Takes the BIO. */
char *jose_bio_text(BIO *takes);

#endif
