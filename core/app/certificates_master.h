/* certificates_master.h: certificates as the master keeps them; for certificates.c and certificates_told.c alone. */
#ifndef APP_CERTIFICATES_MASTER_H
#define APP_CERTIFICATES_MASTER_H

#include <stddef.h>
#include <stdint.h>

struct certificates_provided;
struct certificates_set;

enum {
    CERTIFICATES_TICKETS = 3 /* the newest seals, all open: a session is resumed for a day */
};

struct certificates {
    struct certificates_set *set;       /* in force; NULL before the first configuration */
    struct certificates_set *candidate; /* of the generation on its way, or NULL */
    struct certificates_provided *provided;
    char *tickets[CERTIFICATES_TICKETS]; /* base64, newest first */
    size_t ticket_count;
    uint64_t ticket_ms; /* when the newest was made */
    uint64_t version;   /* of the last message, */
    uint64_t force;     /* of the last one that is in force; */
    uint64_t told;      /* of the last one that all workers are known to have */
    uint64_t look_ms;
    uint64_t seen, loaded, candidate_seen; /* hashes of what the files look like */
    uint64_t
        renew_s; /* an answer of an authority is over then: it is not sent any more; 0 = none */
};

#endif
