/* answers.c: what an authority's answers mean for an order; see acme.h.
 *
 * Everything in them comes from outside: what is missing or of another shape ends the order with a sentence. */
#include <string.h>

#include "acme/account.h"
#include "acme/order.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/certificate.h"
#include "net/jose.h"

enum {
    TOKEN_LONGEST = 256,
    URL_LONGEST = 1024,
    LIMITED_MS =
        3600 * 1000 /* when too much was asked for and the authority does not say for how long */
};

/* ---- Small things ---------------------------------------------------------------------------- */

const char *acme_order_authorization(const struct acme_order *o)
{
    const struct cJSON *at = json_first(o->authorizations);
    for (unsigned i = 0; at && i < o->at; i++) {
        at = json_next(at);
    }
    return json_value_str(at, "");
}

static void fail(struct acme_order *o, const char *why)
{
    acme_order_fail(o, mem_copy(why), 0);
}

static bool is_url(const char *url)
{
    return (!strncmp(url, "https://", 8) || !strncmp(url, "http://", 7)) &&
           strlen(url) < URL_LONGEST;
}

/* Sets *to to the member's URL; false: there is none. */
static bool take_url(char **to, const struct cJSON *json, const char *key)
{
    const char *url = json_str(json, key, "");
    if (!is_url(url)) {
        return false;
    }
    mem_free(*to);
    *to = mem_copy(url);
    return true;
}

/* It is part of a path that others ask for: base64url, as RFC 8555, 8.3 has it. */
static bool is_token(const char *token)
{
    size_t len = strlen(token);
    return len && len <= TOKEN_LONGEST &&
           strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

/* Looks again later: when the authority says, else soon and then less often. */
static void poll_later(struct acme_order *o, const struct acme_answer *answer, uint64_t now_ms)
{
    unsigned doublings = o->polls < 4 ? o->polls : 4;
    uint64_t step = (uint64_t)ACME_POLL_MS << doublings;
    uint64_t at = now_ms + (step < ACME_POLL_MOST_MS ? step : ACME_POLL_MOST_MS);
    uint64_t asked = acme_retry_after_ms(answer->retry_after, now_ms);
    o->polls++;
    o->wait_ms = asked > now_ms ? asked : at;
}

/* ---- Problems (RFC 7807, RFC 8555 6.7) --------------------------------------------------------- */

static const char *kind_of(const struct cJSON *problem)
{
    static const char urn[] = "urn:ietf:params:acme:error:";
    const char *type = json_str(problem, "type", "");
    return strncmp(type, urn, sizeof urn - 1) ? type : type + sizeof urn - 1;
}

/* "connection: 192.0.2.1: Fetching http://...". The caller owns it. */
static char *problem_text(const struct cJSON *problem)
{
    const struct cJSON *sub = json_first(json_get(problem, "subproblems"));
    const char *detail = json_str(problem, "detail", "");
    const char *more = json_str(sub, "detail", "");
    return mem_printf("%s%s%s%s%s", kind_of(problem), *detail ? ": " : "", detail,
                      *more ? "; " : "", more);
}

static void refuse(struct acme_order *o, const struct cJSON *problem, int status, uint64_t retry_ms)
{
    char *text = problem_text(problem);
    acme_order_fail(o,
                    *text ? mem_printf("%s: refused: %s", acme_order_state(o), text)
                          : mem_printf("%s: answered %d", acme_order_state(o), status),
                    retry_ms);
    mem_free(text);
}

/* The authority does not know the account, as after it lost its memory: it is made anew, once. */
static bool account_gone(struct acme_order *o, const char *kind)
{
    if (!str_same(kind, "accountDoesNotExist") || o->state == ORDER_ACCOUNT || o->account_anew) {
        return false;
    }
    o->account_anew = true;
    mem_free(o->account->url);
    o->account->url = mem_copy("");
    acme_order_to(o, ORDER_ACCOUNT);
    return true;
}

void acme_order_refused(struct acme_order *o, const struct acme_answer *answer, uint64_t now_ms)
{
    struct cJSON *problem = json_parse(answer->body, answer->body_len);
    const char *kind = kind_of(problem);
    uint64_t retry_ms = acme_retry_after_ms(answer->retry_after, now_ms);
    if (str_same(kind, "badNonce")) {
        /* The answer brought another one. */
        if (++o->nonces > ACME_NONCES) {
            fail(o, "each nonce is refused");
        }
    } else if (str_same(kind, "rateLimited") || answer->status == 429) {
        refuse(o, problem, answer->status, retry_ms ? retry_ms : now_ms + LIMITED_MS);
    } else if (!account_gone(o, kind)) {
        refuse(o, problem, answer->status, retry_ms);
    }
    json_free(problem);
}

/* ---- Answers, by state ------------------------------------------------------------------------- */

static void take_directory(struct acme_order *o, const struct cJSON *json)
{
    struct acme_account *a = o->account;
    /* new_nonce last: it says that all are known. */
    if (take_url(&a->new_account, json, "newAccount") &&
        take_url(&a->new_order, json, "newOrder") && take_url(&a->new_nonce, json, "newNonce")) {
        acme_order_to(o, ORDER_ACCOUNT);
    } else {
        fail(o, "the directory's address does not lead to an ACME directory");
    }
}

static void take_account(struct acme_order *o, const struct cJSON *json,
                         const struct acme_answer *answer)
{
    const char *status = json_str(json, "status", "valid");
    if (!str_same(status, "valid")) {
        acme_order_fail(o, mem_printf("the account is %s", status), 0);
    } else if (!is_url(answer->location)) {
        fail(o, "the authority did not say where the account is");
    } else {
        mem_free(o->account->url);
        o->account->url = mem_copy(answer->location);
        acme_order_to(o, ORDER_NEW);
    }
}

/* An order as the authority describes it; `finalized`: the request for the certificate was sent. */
static void take_order(struct acme_order *o, const struct cJSON *json,
                       const struct acme_answer *answer, bool finalized, uint64_t now_ms)
{
    const char *status = json_str(json, "status", "");
    (void)take_url(&o->finalize_url, json, "finalize");
    if (str_same(status, "invalid")) {
        char *text = problem_text(json_get(json, "error"));
        acme_order_fail(o, mem_printf("the order is invalid%s%s", *text ? ": " : "", text), 0);
        mem_free(text);
    } else if (str_same(status, "valid") && take_url(&o->certificate_url, json, "certificate")) {
        acme_order_to(o, ORDER_CERTIFICATE);
    } else if (str_same(status, "ready") && !finalized && o->finalize_url) {
        acme_order_to(o, ORDER_FINALIZE);
    } else if (str_same(status, "processing") || str_same(status, "ready") ||
               str_same(status, "pending")) {
        if (finalized && o->state != ORDER_PENDING) {
            acme_order_to(o, ORDER_PENDING);
        }
        poll_later(o, answer, now_ms);
    } else {
        acme_order_fail(o, mem_printf("the order is \"%s\", which is no state of one", status), 0);
    }
}

static void take_new(struct acme_order *o, const struct cJSON *json,
                     const struct acme_answer *answer, uint64_t now_ms)
{
    if (!is_url(answer->location)) {
        fail(o, "the authority did not say where the order is");
        return;
    }
    mem_free(o->url);
    o->url = mem_copy(answer->location);
    json_free(o->authorizations);
    o->authorizations = json_copy(json_get(json, "authorizations"));
    o->at = 0;
    if (str_same(json_str(json, "status", ""), "pending") && is_url(acme_order_authorization(o))) {
        (void)take_url(&o->finalize_url, json, "finalize");
        acme_order_to(o, ORDER_AUTHORIZATION);
    } else {
        o->state = ORDER_READY;
        take_order(o, json, answer, false, now_ms);
    }
}

static void next_authorization(struct acme_order *o)
{
    o->at++;
    acme_order_to(o, is_url(acme_order_authorization(o)) ? ORDER_AUTHORIZATION : ORDER_READY);
}

/* That of our kind, or NULL. */
static const struct cJSON *find_challenge(const struct acme_order *o, const struct cJSON *json)
{
    const struct cJSON *c = json_first(json_get(json, "challenges"));
    while (c && !str_same(json_str(c, "type", ""), acme_challenge_name(o->challenge))) {
        c = json_next(c);
    }
    return c;
}

static void take_authorization(struct acme_order *o, const struct cJSON *json)
{
    const char *status = json_str(json, "status", "");
    const struct cJSON *challenge = find_challenge(o, json);
    const char *token = json_str(challenge, "token", "");
    if (str_same(status, "valid")) {
        next_authorization(o);
    } else if (!str_same(status, "pending")) {
        acme_order_fail(o, mem_printf("the authorization is %s", *status ? status : "of no state"),
                        0);
    } else if (!challenge) {
        acme_order_fail(o,
                        mem_printf("the authority offers no %s for %s",
                                   acme_challenge_name(o->challenge), o->name),
                        0);
    } else if (!is_token(token) || !take_url(&o->challenge_url, challenge, "url")) {
        fail(o, "the challenge has no token or no address");
    } else {
        char *thumbprint = jose_thumbprint(o->account->key);
        mem_free(o->token);
        mem_free(o->proof);
        o->token = mem_copy(token);
        o->proof = mem_printf("%s.%s", token, thumbprint);
        mem_free(thumbprint);
        acme_order_to(o, ORDER_PRESENT);
    }
}

static void take_poll(struct acme_order *o, const struct cJSON *json,
                      const struct acme_answer *answer, uint64_t now_ms)
{
    const char *status = json_str(json, "status", "");
    if (str_same(status, "valid")) {
        next_authorization(o);
    } else if (str_same(status, "pending") || str_same(status, "processing")) {
        poll_later(o, answer, now_ms);
    } else {
        char *text = problem_text(json_get(find_challenge(o, json), "error"));
        acme_order_fail(o,
                        mem_printf("%s was not proved by %s (%s)%s%s", o->name,
                                   acme_challenge_name(o->challenge), status, *text ? ": " : "",
                                   text),
                        0);
        mem_free(text);
    }
}

static void take_certificate(struct acme_order *o, const struct acme_answer *answer)
{
    struct certificate *c = NULL;
    char *key = jose_key_pem(o->key), *why = NULL;
    int rc = certificate_new(answer->body, answer->body_len, &c, &why);
    rc = rc ? rc : certificate_take_key(c, key, strlen(key), &why);
    if (!rc && !certificate_covers(c, o->name)) {
        why = mem_copy("is not for the name in the request");
    }
    if (why) {
        acme_order_fail(o, mem_printf("what was issued %s", why), 0);
    } else {
        mem_free(o->chain);
        o->chain = mem_copy(c->chain);
        acme_order_to(o, ORDER_DONE);
    }
    mem_free(key);
    mem_free(why);
    certificate_free(c);
}

void acme_order_take(struct acme_order *o, const struct acme_answer *answer, uint64_t now_ms)
{
    if (o->state == ORDER_CERTIFICATE) {
        take_certificate(o, answer);
        return;
    }
    struct cJSON *json = json_parse(answer->body, answer->body_len);
    if (!json) {
        acme_order_fail(o, mem_printf("%s: the answer is no JSON", acme_order_state(o)), 0);
    } else if (o->state == ORDER_DIRECTORY) {
        take_directory(o, json);
    } else if (o->state == ORDER_ACCOUNT) {
        take_account(o, json, answer);
    } else if (o->state == ORDER_NEW) {
        take_new(o, json, answer, now_ms);
    } else if (o->state == ORDER_AUTHORIZATION) {
        take_authorization(o, json);
    } else if (o->state == ORDER_CHALLENGE) {
        acme_order_to(o, ORDER_POLL);
        poll_later(o, answer, now_ms);
    } else if (o->state == ORDER_POLL) {
        take_poll(o, json, answer, now_ms);
    } else {
        take_order(o, json, answer, o->state == ORDER_FINALIZE || o->state == ORDER_PENDING,
                   now_ms);
    }
    json_free(json);
}
