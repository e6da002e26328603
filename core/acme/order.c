/* order.c: what an order asks for next; see acme.h. What answers mean is in answers.c.
 *
 * Owns: the order with its key. Invariants: acme_order_to is the only writer of the state; in each state but PRESENT,
 * DONE and FAILED there is one call to be made, and a nonce is fetched before one that needs it and has none. */
#include "acme/order.h"

#include <string.h>

#include "acme/account.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/jose.h"

enum {
    UNANSWERED_MOST = 3,
    FAILURE_LONGEST = 400 /* an authority's sentence is cut there */
};

static const char *const challenges[ACME_CHALLENGES] = {"http-01", "tls-alpn-01"};

static const char *const states[ORDER_STATES] = {
    "reading the directory",
    "registering the account",
    "ordering",
    "authorizing",
    "preparing the challenge",
    "starting the validation",
    "validating",
    "validating",
    "finalizing",
    "waiting to be issued",
    "fetching",
    "done",
    "failed",
};

const char *acme_challenge_name(enum acme_challenge challenge)
{
    return challenge < ACME_CHALLENGES ? challenges[challenge] : "";
}

enum acme_challenge acme_challenge_of(const char *name)
{
    enum acme_challenge c = ACME_HTTP_01;
    while (c < ACME_CHALLENGES && !str_same(challenges[c], name)) {
        c++;
    }
    return c;
}

void acme_order_to(struct acme_order *o, enum order_state state)
{
    log_debug("acme: order", "name=%s state=%s", o->name, states[state]);
    o->state = state;
    o->polls = 0;
    o->wait_ms = 0;
}

/* What the other side wrote, for a line of a log or a screen. */
static void clean(char *text)
{
    if (strlen(text) > FAILURE_LONGEST) {
        memcpy(text + FAILURE_LONGEST - 3, "...", 4);
    }
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            *at = ' ';
        }
    }
}

void acme_order_fail(struct acme_order *o, char *why, uint64_t retry_ms)
{
    clean(why);
    mem_free(o->failure);
    o->failure = why;
    o->retry_ms = retry_ms;
    acme_order_to(o, ORDER_FAILED);
}

/* ---- What is asked --------------------------------------------------------------------------- */

static char *account_payload(const struct acme_order *o)
{
    struct cJSON *json = json_object();
    json_set_bool(json, "termsOfServiceAgreed", true);
    if (*o->account->email) {
        struct cJSON *contact = json_array();
        char *mail = mem_printf("mailto:%s", o->account->email);
        json_add_str(contact, mail);
        json_set(json, "contact", contact);
        mem_free(mail);
    }
    char *text = json_text(json);
    json_free(json);
    return text;
}

static char *order_payload(const struct acme_order *o)
{
    struct cJSON *json = json_object(), *list = json_array(), *one = json_object();
    json_set_str(one, "type", "dns");
    json_set_str(one, "value", o->name);
    json_set(list, NULL, one);
    json_set(json, "identifiers", list);
    char *text = json_text(json);
    json_free(json);
    return text;
}

static char *finalize_payload(struct acme_order *o)
{
    char *csr = NULL;
    if (jose_csr(o->key, o->name, &csr)) {
        acme_order_fail(o, mem_printf("no certificate can be requested for \"%s\"", o->name), 0);
        return NULL;
    }
    char *text = mem_printf("{\"csr\":\"%s\"}", csr);
    mem_free(csr);
    return text;
}

/* The URL and payload of the present state's message; the caller owns the payload. NULL: it failed. */
static char *message(struct acme_order *o, const char **ret_url)
{
    switch (o->state) {
    case ORDER_ACCOUNT:
        *ret_url = o->account->new_account;
        return account_payload(o);
    case ORDER_NEW:
        *ret_url = o->account->new_order;
        return order_payload(o);
    case ORDER_CHALLENGE:
        *ret_url = o->challenge_url;
        return mem_copy("{}");
    case ORDER_FINALIZE:
        *ret_url = o->finalize_url;
        return finalize_payload(o);
    case ORDER_AUTHORIZATION:
    case ORDER_POLL:
        *ret_url = acme_order_authorization(o);
        return mem_copy("");
    case ORDER_CERTIFICATE:
        *ret_url = o->certificate_url;
        return mem_copy("");
    case ORDER_READY:
    case ORDER_PENDING:
        *ret_url = o->url;
        return mem_copy("");
    case ORDER_DIRECTORY:
    case ORDER_PRESENT:
    case ORDER_DONE:
    case ORDER_FAILED:
    case ORDER_STATES:
        break;
    }
    return NULL;
}

static void want_call(struct acme_order *o, struct acme_want *want)
{
    want->step = ACME_CALL;
    o->fetches_nonce = false;
    if (o->state == ORDER_DIRECTORY) {
        want->method = "GET";
        want->url = o->account->directory;
    } else if (!o->account->nonce) {
        o->fetches_nonce = true;
        want->method = "HEAD";
        want->url = o->account->new_nonce;
    } else {
        char *payload = message(o, &want->url);
        if (!payload) {
            want->step = ACME_FAILED;
            return;
        }
        mem_free(o->body);
        o->body = acme_account_sign(o->account, want->url, payload, o->state == ORDER_ACCOUNT);
        mem_free(payload);
        want->method = "POST";
        want->body = o->body;
    }
}

/* What is known already needs not be asked. */
static void skip_known(struct acme_order *o)
{
    if (o->state == ORDER_DIRECTORY && o->account->new_nonce) {
        acme_order_to(o, ORDER_ACCOUNT);
    }
    if (o->state == ORDER_ACCOUNT && *o->account->url) {
        acme_order_to(o, ORDER_NEW);
    }
}

static bool is_over(const struct acme_order *o)
{
    return o->state == ORDER_DONE || o->state == ORDER_FAILED;
}

enum acme_step acme_order_next(struct acme_order *o, uint64_t now_ms, struct acme_want *ret_want)
{
    *ret_want = (struct acme_want){.step = ACME_FAILED};
    skip_known(o);
    if (!is_over(o) && now_ms > o->began_ms + ACME_ORDER_MS) {
        acme_order_fail(o,
                        mem_printf("not done within %d s: it was still %s", ACME_ORDER_MS / 1000,
                                   states[o->state]),
                        0);
    }
    if (is_over(o)) {
        ret_want->step = o->state == ORDER_DONE ? ACME_DONE : ACME_FAILED;
    } else if (now_ms < o->wait_ms) {
        ret_want->step = ACME_WAIT;
        ret_want->until_ms = o->wait_ms;
    } else if (o->state == ORDER_PRESENT) {
        ret_want->step = ACME_PRESENT;
        ret_want->token = o->token;
        ret_want->authorization = o->proof;
    } else {
        want_call(o, ret_want);
    }
    return ret_want->step;
}

/* ---- What came of it ------------------------------------------------------------------------- */

/* A server that is restarted, or a line that broke, costs a moment and not the order; when nothing is ordered yet
 * there is nothing to lose. */
static void again(struct acme_order *o, char *why, uint64_t retry_ms, uint64_t now_ms)
{
    if (++o->unanswered > UNANSWERED_MOST || o->state == ORDER_DIRECTORY ||
        retry_ms > now_ms + ACME_POLL_MOST_MS) {
        acme_order_fail(o, why, retry_ms);
        return;
    }
    mem_free(why);
    uint64_t wait = now_ms + ((uint64_t)ACME_POLL_MS << (o->unanswered - 1));
    o->wait_ms = wait > retry_ms ? wait : retry_ms;
}

static void keep_nonce(struct acme_account *a, const char *nonce)
{
    if (*nonce) {
        mem_free(a->nonce);
        a->nonce = mem_copy(nonce);
    }
}

void acme_order_answer(struct acme_order *o, const struct acme_answer *answer, uint64_t now_ms)
{
    if (is_over(o)) {
        return;
    }
    if (answer->error) {
        again(o, mem_printf("%s: %s", states[o->state], answer->error), 0, now_ms);
        return;
    }
    keep_nonce(o->account, answer->nonce);
    if (answer->status >= 500) {
        again(o, mem_printf("%s: answered %d", states[o->state], answer->status),
              acme_retry_after_ms(answer->retry_after, now_ms), now_ms);
        return;
    }
    o->unanswered =
        o->fetches_nonce ? o->unanswered : 0; /* which says nothing of the call itself */
    if (answer->status >= 400) {
        acme_order_refused(o, answer, now_ms);
    } else if (!o->fetches_nonce) {
        o->nonces = 0;
        acme_order_take(o, answer, now_ms);
    } else if (!*answer->nonce) {
        acme_order_fail(o, mem_copy("the authority gave no nonce"), 0);
    }
}

void acme_order_presented(struct acme_order *o, const char *error)
{
    if (error) {
        acme_order_fail(o, mem_copy(error), 0);
    } else if (o->state == ORDER_PRESENT) {
        acme_order_to(o, ORDER_CHALLENGE);
    }
}

/* ---- Public ---------------------------------------------------------------------------------- */

struct acme_order *acme_order_new(struct acme_account *account, const char *name,
                                  enum acme_challenge challenge, struct jose_key *key,
                                  uint64_t now_ms)
{
    struct acme_order *o = mem_new(sizeof *o);
    *o = (struct acme_order){
        .account = account,
        .name = mem_copy(name),
        .challenge = challenge,
        .key = key,
        .began_ms = now_ms,
    };
    return o;
}

const char *acme_order_state(const struct acme_order *o)
{
    return states[o->state];
}

const char *acme_order_failure(const struct acme_order *o, uint64_t *ret_retry_ms)
{
    *ret_retry_ms = o->retry_ms;
    return o->failure ? o->failure : "";
}

const char *acme_order_certificate(const struct acme_order *o, char **ret_key)
{
    *ret_key = jose_key_pem(o->key);
    return o->chain;
}

void acme_order_free(struct acme_order *o)
{
    if (!o) {
        return;
    }
    jose_key_free(o->key);
    json_free(o->authorizations);
    mem_free(o->name);
    mem_free(o->body);
    mem_free(o->url);
    mem_free(o->finalize_url);
    mem_free(o->certificate_url);
    mem_free(o->challenge_url);
    mem_free(o->token);
    mem_free(o->proof);
    mem_free(o->chain);
    mem_free(o->failure);
    mem_free(o);
}
