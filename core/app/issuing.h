/* issuing.h: what issuing.c and issuing_order.c share: certificates that are got from an ACME authority. */
#ifndef APP_ISSUING_H
#define APP_ISSUING_H

#include <stdbool.h>
#include <stdint.h>

#include "acme/acme.h"

struct cJSON;
struct certificate;
struct issuing_run;
struct master;

/* A name that a route wants a certificate for, or wanted since the start. */
struct issuing_name {
    struct issuing_name *next;
    char *name;
    bool named;                      /* while a configuration is applied: it names it */
    bool served;                     /* listeners may show it */
    bool wanted;                     /* by the configuration in force */
    struct certificate *certificate; /* what was issued, or NULL */
    char *directory;                 /* of the authority that issued it; "" = none */
    uint64_t due_ms;                 /* wall clock: when it is asked for; 0 = now */
    unsigned failures;               /* in a row */
    uint64_t not_before_ms; /* the authority does not want to be asked before; 0 = whenever */
    char *error;            /* the last of them, or NULL */
};

struct issuing {
    struct issuing_name *names;   /* in the order of their first mention */
    struct cJSON *accounts;       /* directory -> {"key","url"}, as kept */
    struct acme_account *account; /* NULL: the configuration names no authority */
    char *authority;              /* what the configuration says of it, as text; NULL: nothing */
    char *ca;                     /* PEM file or NULL */
    enum acme_challenge challenge;
    uint64_t retry_ms;
    struct issuing_run *run; /* the order under way; one at a time */
    char *trouble;           /* why nothing can be asked for at all, or NULL */
};

/* ---- issuing.c ---- */
/* What came of an order; `failure` NULL: chain and key, which are borrowed. */
void issuing_done(struct master *m, const char *name, const char *chain, const char *key);
void issuing_failed(struct master *m, const char *name, const char *why, uint64_t not_before_ms);
/* The account has an address there now. */
void issuing_keep_account(struct master *m);

/* ---- issuing_order.c ---- */
/* Asks for a certificate; ends in issuing_done or issuing_failed. */
void issuing_order(struct master *m, const char *name);
void issuing_order_tick(struct master *m);
/* Ends it without either. */
void issuing_order_drop(struct master *m);
/* Where it is, "" when no order is under way for this name. Static storage. */
/* The name, or NULL: none is under way. Lends. */
const char *issuing_order_name(const struct master *m);
const char *issuing_order_state(const struct master *m, const char *name);

#endif
