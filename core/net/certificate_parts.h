/* certificate_parts.h: OpenSSL's objects of a chain; private to the room. */
#ifndef NET_CERTIFICATE_PARTS_H
#define NET_CERTIFICATE_PARTS_H

#include <stdbool.h>
#include <stddef.h>

struct certificate_parts {
    struct x509_st **all; /* the first is the certificate; */
    size_t count;
    size_t used; /* so many are its chain, in order; the others belong to no one in it */
    bool sorted; /* the file had them in another order */
};

#endif
