/* account.c: an account at an authority; see acme.h. */
#include "acme/account.h"

#include <string.h>

#include "acme/acme.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/jose.h"

struct acme_account *acme_account_new(const char *directory, const char *email,
                                      struct jose_key *key, const char *url)
{
    struct acme_account *a = mem_new(sizeof *a);
    *a = (struct acme_account){
        .directory = mem_copy(directory),
        .email = mem_copy(email),
        .key = key,
        .url = mem_copy(url),
    };
    return a;
}

const char *acme_account_url(const struct acme_account *a)
{
    return a->url;
}

const char *acme_account_directory(const struct acme_account *a)
{
    return a->directory;
}

char *acme_account_key(const struct acme_account *a)
{
    return jose_key_pem(a->key);
}

char *acme_account_nonce(struct acme_account *a)
{
    char *nonce = a->nonce;
    a->nonce = NULL;
    return nonce;
}

char *acme_account_sign(struct acme_account *a, const char *url, const char *payload, bool by_key)
{
    char *nonce = acme_account_nonce(a);
    struct cJSON *head = json_object();
    json_set_str(head, "alg", "ES256");
    json_set_str(head, "nonce", nonce ? nonce : "");
    json_set_str(head, "url", url);
    if (by_key) {
        char *jwk = jose_jwk(a->key);
        json_set(head, "jwk", json_parse(jwk, strlen(jwk)));
        mem_free(jwk);
    } else {
        json_set_str(head, "kid", a->url);
    }
    char *text = json_text(head);
    char *jws = jose_sign(a->key, text, payload);
    json_free(head);
    mem_free(text);
    mem_free(nonce);
    return jws;
}

void acme_account_free(struct acme_account *a)
{
    if (!a) {
        return;
    }
    jose_key_free(a->key);
    mem_free(a->directory);
    mem_free(a->email);
    mem_free(a->url);
    mem_free(a->nonce);
    mem_free(a->new_nonce);
    mem_free(a->new_account);
    mem_free(a->new_order);
    mem_free(a);
}
