/* issuing.c: certificates that are got from an ACME authority: for which names, when, and what is kept of them.
 *
 *   configuration -> names --due--> issuing_order.c --> certificate -> store, listeners
 *                      ^                                      |
 *                      +------- two thirds of its time over --+      failed: later and later
 *
 * Owns: names with what was issued for them, accounts. All of it is kept in the store: keys are documents of kind
 * "acme", in files that their owner alone can read. Without a store nothing is asked for: each start would ask anew,
 * and an authority issues so many a week only. Invariants: one order at a time. */
#include "app/issuing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/certificate.h"
#include "net/jose.h"
#include "net/tls.h"

enum {
    FAILURES_TOLD = 3 /* in a row: no passing trouble any more */
};

/* ---- Names ----------------------------------------------------------------------------------- */

static struct issuing_name *find_name(const struct issuing *x, const char *name)
{
    struct issuing_name *n = x->names;
    while (n && !str_same(n->name, name)) {
        n = n->next;
    }
    return n;
}

static struct issuing_name *add_name(struct issuing *x, const char *name)
{
    struct issuing_name **at = &x->names;
    while (*at) {
        at = &(*at)->next;
    }
    *at = mem_new(sizeof **at);
    (*at)->name = mem_copy(name);
    (*at)->directory = mem_copy("");
    return *at;
}

static void free_name(struct issuing_name *n)
{
    mem_free(n->name);
    mem_free(n->directory);
    certificate_free(n->certificate);
    mem_free(n->error);
    mem_free(n);
}

/* Takes a certificate over; -EINVAL with a sentence: it is none for this name. */
static int set_certificate(struct issuing_name *n, const char *directory, const char *chain,
                           const char *key, char **reterr)
{
    struct certificate *c = NULL;
    int rc = certificate_new(chain, strlen(chain), &c, reterr);
    rc = rc ? rc : certificate_take_key(c, key, strlen(key), reterr);
    if (!rc && !certificate_covers(c, n->name)) {
        *reterr = mem_printf("is not for %s", n->name);
        rc = -EINVAL;
    }
    if (rc) {
        certificate_free(c);
        return rc;
    }
    mem_free(n->directory);
    certificate_free(n->certificate);
    n->directory = mem_copy(directory);
    n->certificate = c;
    return 0;
}

static uint64_t end_ms(const struct issuing_name *n)
{
    return (uint64_t)n->certificate->not_after_s * 1000;
}

/* Listeners that want it show it from now on. */
static void serve(struct master *m, const struct issuing_name *n)
{
    char *why = NULL;
    if (n->certificate && certificates_provide(m, "acme", n->name, NULL, n->certificate->chain,
                                               n->certificate->key, &why)) {
        log_error("a certificate cannot be served", "name=%s why=%s", n->name, why);
    }
    mem_free(why);
}

static void set_error(struct issuing_name *n, const char *error)
{
    char *copy = mem_copy(error);
    mem_free(n->error);
    n->error = copy;
}

/* ---- Documents ------------------------------------------------------------------------------- */

static void keep_name(struct master *m, const struct issuing_name *n)
{
    struct cJSON *json = json_object();
    json_set_str(json, "directory", n->directory);
    if (n->certificate) {
        json_set_str(json, "chain", n->certificate->chain);
        json_set_str(json, "key", n->certificate->key);
    }
    json_set_num(json, "failures", n->failures);
    json_set_num(json, "due_ms", (double)n->due_ms);
    json_set_num(json, "not_before_ms", (double)n->not_before_ms);
    if (n->error) {
        json_set_str(json, "error", n->error);
    }
    char *text = json_text(json), *key = mem_printf("name %s", n->name);
    kept_put(m, "acme", key, text);
    mem_free_secret(text);
    mem_free(key);
    json_free(json);
}

static void on_kept(struct master *m, const char *kind, const char *key, const char *text)
{
    struct issuing *x = m->issuing;
    struct cJSON *json = json_parse(text, strlen(text));
    (void)kind;
    if (!strncmp(key, "account ", 8)) {
        json_set(x->accounts, key + 8, json);
        return;
    }
    if (!strncmp(key, "name ", 5) && json) {
        struct issuing_name *n = add_name(x, key + 5);
        const char *chain = json_str(json, "chain", NULL);
        char *why = NULL;
        if (chain && set_certificate(n, json_str(json, "directory", ""), chain,
                                     json_str(json, "key", ""), &why)) {
            log_warn("a certificate that was kept cannot be used: another is asked for",
                     "name=%s why=%s", n->name, why);
        }
        mem_free(why);
        n->failures = (unsigned)json_int(json, "failures", 0);
        n->due_ms = n->failures ? (uint64_t)json_num(json, "due_ms", 0) : 0;
        n->not_before_ms = (uint64_t)json_num(json, "not_before_ms", 0);
        set_error(n, json_str(json, "error", NULL));
    }
    json_free(json);
}

/* The document of an account, and our copy of it for the case that the configuration comes back to it. */
void issuing_keep_account(struct master *m)
{
    struct issuing *x = m->issuing;
    const char *directory = acme_account_directory(x->account);
    char *pem = acme_account_key(x->account), *key = mem_printf("account %s", directory);
    struct cJSON *json = json_object();
    json_set_str(json, "key", pem);
    json_set_str(json, "url", acme_account_url(x->account));
    char *text = json_text(json);
    kept_put(m, "acme", key, text);
    json_set(x->accounts, directory, json);
    mem_free_secret(pem);
    mem_free(key);
    mem_free_secret(text);
}

/* ---- The account ----------------------------------------------------------------------------- */

static void set_trouble(struct issuing *x, char *takes)
{
    mem_free(x->trouble);
    x->trouble = takes;
    if (takes) {
        log_error("no certificates can be asked for", "why=%s", takes);
    }
}

/* The one of this directory that is kept, or a new one. */
static void open_account(struct master *m, const char *directory, const char *email)
{
    struct issuing *x = m->issuing;
    const struct cJSON *kept = json_get(x->accounts, directory);
    struct jose_key *key = NULL;
    char *error = NULL;
    if (tls_load(&error)) {
        set_trouble(x, error);
    } else if (!kept || jose_key_read(json_str(kept, "key", ""), &key)) {
        kept = NULL;
        if (jose_key_new(&key)) {
            set_trouble(x, mem_copy("no key can be made"));
        }
    }
    if (key) {
        x->account = acme_account_new(directory, email, key, json_str(kept, "url", ""));
        issuing_keep_account(m);
    }
}

/* What the configuration says of the authority. What is the same as before goes on. */
static void apply_authority(struct master *m, const struct cJSON *acme)
{
    struct issuing *x = m->issuing;
    struct cJSON *said = json_copy(acme);
    json_remove(said, "at"); /* where it stands is no change */
    char *text = acme ? json_text(said) : NULL;
    json_free(said);
    if (str_same(text, x->authority)) {
        mem_free(text);
        return;
    }
    mem_free(x->authority);
    x->authority = text;
    issuing_order_drop(m);
    bool other = x->account &&
                 !str_same(acme_account_directory(x->account), json_str(acme, "directory", ""));
    for (struct issuing_name *n = x->names; n; n = n->next) {
        n->wanted = false; /* so that it is scheduled anew, */
        if (x->account) {  /* and what failed is tried again at once: perhaps it was put right */
            n->failures = 0;
            n->not_before_ms = other ? 0 : n->not_before_ms;
        }
    }
    acme_account_free(x->account);
    mem_free(x->ca);
    x->account = NULL;
    x->ca = mem_copy(json_str(acme, "ca", NULL));
    x->challenge = acme_challenge_of(json_str(acme, "challenge", ""));
    x->retry_ms = (uint64_t)json_num(acme, "retry_ms", 60000);
    set_trouble(x, NULL);
    if (acme && !m->history) {
        set_trouble(
            x, mem_copy("account and certificates could not be kept: the history is not open"));
    } else if (acme) {
        open_account(m, json_str(acme, "directory", ""), json_str(acme, "email", ""));
    }
}

/* When it is asked for: from the certificate that there is, unless a failure says later. */
static void schedule(const struct issuing *x, struct issuing_name *n)
{
    const struct certificate *c = n->certificate;
    bool ours = c && str_same(n->directory, acme_account_directory(x->account));
    uint64_t at = ours ? acme_renew_ms((uint64_t)c->not_before_s * 1000, end_ms(n), n->name) : 0;
    at = n->failures && n->due_ms > at ? n->due_ms : at;
    n->due_ms = n->not_before_ms > at ? n->not_before_ms : at;
}

static void want_name(struct master *m, const char *name)
{
    struct issuing *x = m->issuing;
    struct issuing_name *n = find_name(x, name);
    n = n ? n : add_name(x, name);
    if (!n->wanted && x->account) {
        schedule(x, n);
    }
    if (!n->served) {
        serve(m, n);
    }
    n->wanted = n->named = n->served = true;
}

static void drop_unwanted(struct master *m)
{
    const char *running = issuing_order_name(m);
    for (struct issuing_name *n = m->issuing->names; n; n = n->next) {
        n->wanted = n->wanted && n->named;
        if (n->served && !n->named) {
            n->served = false;
            certificates_withdraw(m, "acme", n->name, NULL);
        }
        if (!n->wanted && running && str_same(running, n->name)) {
            issuing_order_drop(m);
            running = NULL;
        }
    }
}

void issuing_apply(struct master *m, const struct cJSON *config)
{
    struct issuing *x = m->issuing;
    const struct cJSON *acme = json_path(config, "cluster.acme");
    apply_authority(m, acme);
    for (struct issuing_name *n = x->names; n; n = n->next) {
        n->named = false;
    }
    const struct cJSON *listener = json_first(json_get(config, "tls"));
    for (; listener; listener = json_next(listener)) {
        const struct cJSON *source = json_first(json_get(listener, "sources"));
        for (; source; source = json_next(source)) {
            const char *name = json_str(source, "acme", NULL);
            if (name) {
                want_name(m, name);
            }
        }
    }
    drop_unwanted(m);
}

/* ---- What came of an order ------------------------------------------------------------------- */

void issuing_done(struct master *m, const char *name, const char *chain, const char *key)
{
    struct issuing *x = m->issuing;
    struct issuing_name *n = find_name(x, name);
    bool renewed = n && n->certificate;
    char *why = NULL, until[32];
    if (!n || set_certificate(n, acme_account_directory(x->account), chain, key, &why)) {
        issuing_failed(m, name, why ? why : "nobody asked for it", 0);
        mem_free(why);
        return;
    }
    n->failures = 0;
    n->not_before_ms = 0;
    set_error(n, NULL);
    schedule(x, n);
    keep_name(m, n);
    serve(m, n);
    clock_iso(end_ms(n), until, sizeof until);
    m->counters.renewals_ok++;
    log_info(renewed ? "certificate renewed" : "certificate issued", "name=%s valid_until=%s", name,
             until);
    char *detail = mem_printf("valid until %s", until);
    history_note(m, "certificate", name, renewed ? "renewed" : "issued", detail, false);
    mem_free(detail);
}

void issuing_failed(struct master *m, const char *name, const char *why, uint64_t not_before_ms)
{
    struct issuing *x = m->issuing;
    struct issuing_name *n = find_name(x, name);
    m->counters.renewals_failed++;
    if (!n) {
        return;
    }
    uint64_t chance = UINT64_MAX / 2, now_ms = clock_wall_ms();
    char again[32];
    (void)uv_random(NULL, NULL, &chance, sizeof chance, 0, NULL); /* without: as long as it says */
    n->failures += n->failures < 1000;
    n->not_before_ms = not_before_ms;
    n->due_ms = acme_retry_ms(now_ms, x->retry_ms, n->failures, (double)(chance >> 11) / 0x1p53,
                              not_before_ms);
    set_error(n, why);
    keep_name(m, n);
    clock_iso(n->due_ms, again, sizeof again);
    log_warn("no certificate", "name=%s failures=%u next=%s why=%s", name, n->failures, again, why);
    char *detail = mem_printf("%s; next try %s", why, again);
    history_note(m, "certificate", name,
                 n->certificate ? "could not be renewed" : "could not be got", detail, true);
    mem_free(detail);
}

/* ---- Life ------------------------------------------------------------------------------------ */

/* The name that is due for longest, or NULL. */
static const struct issuing_name *next_due(const struct issuing *x, uint64_t wall_ms)
{
    const struct issuing_name *next = NULL;
    for (const struct issuing_name *n = x->names; n; n = n->next) {
        if (n->wanted && n->due_ms <= wall_ms && (!next || n->due_ms < next->due_ms)) {
            next = n;
        }
    }
    return next;
}

void issuing_tick(struct master *m)
{
    struct issuing *x = m->issuing;
    if (x->run) {
        issuing_order_tick(m);
    } else if (x->account && m->serving_told) { /* workers of a dead master know no challenges */
        const struct issuing_name *due = next_due(x, clock_wall_ms());
        if (due) {
            issuing_order(m, due->name);
        }
    }
}

void issuing_open(struct master *m)
{
    m->issuing = mem_new(sizeof *m->issuing);
    m->issuing->accounts = json_object();
    kept_recall(m, "acme", on_kept);
}

void issuing_close(struct master *m)
{
    struct issuing *x = m->issuing;
    if (!x) {
        return;
    }
    issuing_order_drop(m);
    while (x->names) {
        struct issuing_name *n = x->names;
        x->names = n->next;
        free_name(n);
    }
    acme_account_free(x->account);
    json_free(x->accounts);
    mem_free(x->authority);
    mem_free(x->ca);
    mem_free(x->trouble);
    mem_free(x);
    m->issuing = NULL;
}

/* ---- What is wrong ---------------------------------------------------------------------------- */

static bool fails(const struct issuing_name *n)
{
    return n && n->wanted && n->failures >= FAILURES_TOLD;
}

bool issuing_fails(const struct master *m, const char *name)
{
    return m->issuing && fails(find_name(m->issuing, name));
}

const char *issuing_missing(const struct master *m, const char **ret_error)
{
    const struct issuing_name *n = m->issuing ? m->issuing->names : NULL;
    while (n && (n->certificate || !fails(n))) {
        n = n->next;
    }
    *ret_error = n && n->error ? n->error : "";
    return n ? n->name : NULL;
}

/* ---- Status ---------------------------------------------------------------------------------- */

static void set_time(struct cJSON *json, const char *key, uint64_t wall_ms)
{
    char text[32];
    clock_iso(wall_ms, text, sizeof text);
    json_set_str(json, key, text);
}

static struct cJSON *name_status(const struct master *m, const struct issuing_name *n)
{
    const char *state = issuing_order_state(m, n->name);
    struct cJSON *one = json_object();
    uint64_t now_ms = clock_wall_ms();
    json_set_str(one, "name", n->name);
    json_set_str(one, "state",
                 !n->certificate       ? "missing"
                 : end_ms(n) <= now_ms ? "expired"
                                       : "valid");
    if (n->certificate) {
        set_time(one, "valid_until", end_ms(n));
    }
    if (*state) {
        json_set_str(one, "order", state);
    } else if (m->issuing->account) {
        set_time(one, "next", n->due_ms > now_ms ? n->due_ms : now_ms);
    }
    json_set_num(one, "failures", n->failures);
    const char *error = m->issuing->trouble ? m->issuing->trouble : n->error;
    if (error) {
        json_set_str(one, "error", error);
    }
    return one;
}

struct cJSON *issuing_status(const struct master *m)
{
    struct cJSON *list = json_array();
    for (const struct issuing_name *n = m->issuing ? m->issuing->names : NULL; n; n = n->next) {
        if (n->wanted) {
            json_set(list, NULL, name_status(m, n));
        }
    }
    return list;
}
