/* issuing_order.c: one order at an ACME authority under way: its calls, and challenges in the workers.
 *
 * Owns: the order (acme.h says what is to be done), its call. Invariants: one that was dropped tells nobody; its memory
 * goes with its last call. What workers answer challenges with is taken away with the order. */
#include <errno.h>
#include <string.h>

#include "app/issuing.h"
#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/jose.h"
#include "net/net.h"

enum {
    CONNECT_MS = 10000,
    CALL_MS = 30000,
    PRESENT_MS = 10000 /* a worker that does not take a challenge for longer will not */
};

static const char SOURCE[] = "acme", PROTOCOL[] = "acme-tls/1";

struct issuing_run {
    struct master *m; /* NULL: dropped */
    char *name;
    struct acme_order *order;
    struct net_call *call;
    uint64_t present_by_ms; /* 0: no challenge is on its way to the workers */
};

static void step(struct issuing_run *r);

static void free_run(struct issuing_run *r)
{
    acme_order_free(r->order);
    mem_free(r->name);
    mem_free(r);
}

/* Nothing of it is left in the workers, nor with us. */
static void leave(struct issuing_run *r)
{
    struct master *m = r->m;
    challenges_set(m, NULL, NULL);
    certificates_withdraw(m, SOURCE, r->name, PROTOCOL);
    m->issuing->run = NULL;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static void on_answer(void *arg, const struct net_answer *answer)
{
    struct issuing_run *r = arg;
    r->call = NULL;
    if (!r->m) {
        free_run(r);
        return;
    }
    struct acme_account *account = r->m->issuing->account;
    char *before = mem_copy(acme_account_url(account));
    struct acme_answer told = {
        .error = !answer->error        ? NULL
                 : *answer->error_text ? answer->error_text
                                       : err_text(answer->error),
        .status = answer->status,
        .body = answer->body,
        .body_len = answer->body_len,
        .nonce = answer->replay_nonce,
        .location = answer->location,
        .retry_after = answer->retry_after,
    };
    acme_order_answer(r->order, &told, clock_wall_ms());
    if (!str_same(before, acme_account_url(account))) {
        issuing_keep_account(r->m);
    }
    mem_free(before);
    step(r);
}

static void call(struct issuing_run *r, const struct acme_want *want)
{
    static const char *const fields[] = {"Content-Type: application/jose+json", NULL};
    struct net_tls tls = {.ca = r->m->issuing->ca};
    struct net_request request = {
        .method = want->method,
        .url = want->url,
        .headers = want->body ? fields : NULL,
        .body = want->body,
        .body_len = want->body ? strlen(want->body) : 0,
        .tls = &tls,
        .connect_timeout_ms = CONNECT_MS,
        .timeout_ms = CALL_MS,
        .body_limit = ACME_ANSWER_BYTES,
    };
    int rc = net_call(r->m->client, &request, on_answer, r, &r->call);
    if (rc) {
        struct acme_answer none = {.error = err_text(rc)};
        acme_order_answer(r->order, &none, clock_wall_ms());
    }
}

/* ---- Challenges ------------------------------------------------------------------------------ */

/* The certificate of a tls-alpn-01 challenge, for the workers' listeners; false: it could not be made. */
static bool present_tls(struct issuing_run *r, const char *authorization)
{
    char *chain = NULL, *key = NULL, *why = NULL;
    bool made = !jose_alpn_certificate(r->name, authorization, &chain, &key) &&
                !certificates_provide(r->m, SOURCE, r->name, PROTOCOL, chain, key, &why);
    mem_free(chain);
    mem_free_secret(key);
    mem_free(why);
    return made;
}

static void present(struct issuing_run *r, const struct acme_want *want)
{
    r->present_by_ms = clock_now_ms() + PRESENT_MS;
    if (r->m->issuing->challenge != ACME_TLS_ALPN_01) {
        challenges_set(r->m, want->token, want->authorization);
    } else if (!present_tls(r, want->authorization)) {
        r->present_by_ms = 0;
        acme_order_presented(r->order, "the certificate of the challenge cannot be made");
    }
}

/* Whether all workers answer it by now; the order is told. */
static bool presented(struct issuing_run *r)
{
    bool ready = challenges_ready(r->m) && certificates_told(r->m);
    if (!ready && clock_now_ms() < r->present_by_ms) {
        return false;
    }
    r->present_by_ms = 0;
    acme_order_presented(r->order, ready ? NULL : "a worker did not take the challenge in time");
    return true;
}

/* ---- The end --------------------------------------------------------------------------------- */

static void conclude(struct issuing_run *r, bool done)
{
    struct master *m = r->m;
    leave(r);
    if (done) {
        char *key = NULL;
        const char *chain = acme_order_certificate(r->order, &key);
        issuing_done(m, r->name, chain, key);
        mem_free_secret(key);
    } else {
        uint64_t retry_ms = 0;
        const char *why = acme_order_failure(r->order, &retry_ms);
        issuing_failed(m, r->name, why, retry_ms);
    }
    free_run(r);
}

/* Goes on as far as it can now; `r` may be gone afterwards. */
static void step(struct issuing_run *r)
{
    struct acme_want want;
    while (!r->call && (!r->present_by_ms || presented(r))) {
        enum acme_step next = acme_order_next(r->order, clock_wall_ms(), &want);
        if (next == ACME_CALL) {
            call(r, &want);
        } else if (next == ACME_PRESENT) {
            present(r, &want);
        } else if (next == ACME_WAIT) {
            return;
        } else {
            conclude(r, next == ACME_DONE);
            return;
        }
    }
}

/* ---- Public ---------------------------------------------------------------------------------- */

void issuing_order(struct master *m, const char *name)
{
    struct issuing *x = m->issuing;
    struct jose_key *key;
    if (jose_key_new(&key)) {
        issuing_failed(m, name, "no key can be made", 0);
        return;
    }
    struct issuing_run *r = mem_new(sizeof *r);
    *r = (struct issuing_run){
        .m = m,
        .name = mem_copy(name),
        .order = acme_order_new(x->account, name, x->challenge, key, clock_wall_ms()),
    };
    x->run = r;
    log_info("asking for a certificate", "name=%s challenge=%s directory=%s", name,
             acme_challenge_name(x->challenge), acme_account_directory(x->account));
    step(r);
}

void issuing_order_tick(struct master *m)
{
    step(m->issuing->run);
}

void issuing_order_drop(struct master *m)
{
    struct issuing_run *r = m->issuing->run;
    if (!r) {
        return;
    }
    leave(r);
    r->m = NULL;
    if (r->call) {
        net_call_cancel(r->call); /* which frees it */
    } else {
        free_run(r);
    }
}

const char *issuing_order_name(const struct master *m)
{
    return m->issuing->run ? m->issuing->run->name : NULL;
}

const char *issuing_order_state(const struct master *m, const char *name)
{
    const struct issuing_run *r = m->issuing->run;
    return r && str_same(r->name, name) ? acme_order_state(r->order) : "";
}
