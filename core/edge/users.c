/* users.c: see users.h. */
#include "edge/users.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/digest.h"
#include "net/http1.h"

struct edge_users {
    struct map hashes; /* user -> hash, in `list` */
    char **list;
    size_t count;
    bool pass;
    char challenge[EDGE_CHALLENGE_BYTES];
};

/* ---- what is configured ------------------------------------------------------------------ */

static void add(struct edge_users *u, const struct htpasswd_entry *e)
{
    char user[HTPASSWD_USER_BYTES + 1];
    (void)str_put(user, sizeof user, e->user);
    u->list = mem_resize(u->list, (u->count + 1) * sizeof *u->list);
    u->list[u->count] = mem_copy_bytes(e->hash.ptr, e->hash.len);
    (void)map_put(&u->hashes, user, u->list[u->count]);
    u->count++;
}

/* As htpasswd_next, and its hash can be computed here. */
static int next(struct htpasswd *at, struct htpasswd_entry *ret_entry, char **reterr)
{
    const char *why = NULL;
    int rc = htpasswd_next(at, ret_entry, &why);
    if (rc < 0) {
        *reterr = mem_copy(why);
    } else if (rc) {
        int begun = edge_password_begin(ret_entry->kind, reterr);
        rc = begun ? begun : rc;
    }
    return rc;
}

int edge_users_new(const struct cJSON *json, struct edge_users **ret_users, char **reterr)
{
    struct htpasswd at = {str_of(json_str(json, "users", "")), 0};
    struct htpasswd_entry entry;
    int rc = digest_load(DIGEST_SHA256, reterr);
    if (rc) {
        return rc;
    }
    struct edge_users *u = mem_new(sizeof *u);
    while ((rc = next(&at, &entry, reterr)) > 0) {
        add(u, &entry);
    }
    if (rc || !u->count) {
        char *why = rc ? *reterr : mem_copy("there are no users");
        *reterr = mem_printf("basic_auth: line %u: %s", at.line, why);
        mem_free(why);
        edge_users_free(u);
        return -EINVAL;
    }
    u->pass = json_bool(json, "pass", false);
    /* A realm has at most 100 bytes and no quotes. */
    snprintf(u->challenge, sizeof u->challenge,
             "WWW-Authenticate: Basic realm=\"%.120s\", charset=\"UTF-8\"\r\n",
             json_str(json, "realm", "restricted"));
    *ret_users = u;
    return 0;
}

void edge_users_free(struct edge_users *u)
{
    for (size_t i = 0; u && i < u->count; i++) {
        mem_free(u->list[i]);
    }
    if (u) {
        map_free(&u->hashes);
        mem_free(u->list);
    }
    mem_free(u);
}

struct str edge_users_challenge(const struct edge_users *u)
{
    return str_of(u->challenge);
}

bool edge_users_pass(const struct edge_users *u)
{
    return u->pass;
}

/* ---- what a request says ----------------------------------------------------------------- */

/* The user's hash, or that of whoever stands in for one that is not there: the same for the same name, and not
 * to be told from outside. */
static const char *hash_of(const struct edge_users *u, const struct edge_proven *proven,
                           const char *user, bool *ret_known)
{
    const char *hash = map_get(&u->hashes, user);
    uint64_t seed;
    *ret_known = hash != NULL;
    memcpy(&seed, proven->key, sizeof seed);
    return hash ? hash : u->list[hash_more(seed, user, strlen(user)) % u->count];
}

static struct edge_proof *place_of(struct edge_proven *proven,
                                   const unsigned char digest[EDGE_PROOF_BYTES])
{
    return &proven->of[(digest[0] | (unsigned)digest[1] << 8) % EDGE_PROVEN];
}

static bool keyed_digest(const struct edge_proven *proven, struct edge_credentials *c)
{
    char text[HTPASSWD_HASH_BYTES + 1 + EDGE_CREDENTIALS_BYTES];
    size_t len = strlen(c->hash) + 1, said = (size_t)(c->password.ptr + c->password.len - c->bytes);
    memcpy(text, c->hash, len); /* no hash has a NUL byte: where it ends is told */
    memcpy(text + len, c->bytes, said);
    bool done = digest_hmac(proven->key, sizeof proven->key, text, len + said, c->digest);
    explicit_bzero(text, sizeof text);
    return done;
}

enum edge_login edge_users_ask(const struct edge_users *u, struct edge_proven *proven,
                               const struct http1_head *head, uint64_t now_ms,
                               struct edge_credentials *ret)
{
    const struct http1_field *f = http1_find_name(head, "Authorization");
    char user[HTPASSWD_USER_BYTES + 1];
    if (!f || !edge_basic_read(f->value, ret->bytes, &ret->user, &ret->password) ||
        !str_put(user, sizeof user, ret->user)) {
        return EDGE_LOGIN_MISSING;
    }
    if (!proven->keyed) {
        if (getrandom(proven->key, sizeof proven->key, 0) != (ssize_t)sizeof proven->key) {
            return EDGE_LOGIN_MISSING; /* without a secret nobody is let in */
        }
        proven->keyed = true;
    }
    (void)str_copy(ret->hash, sizeof ret->hash, hash_of(u, proven, user, &ret->known));
    if (!keyed_digest(proven, ret)) {
        return EDGE_LOGIN_MISSING;
    }
    const struct edge_proof *p = place_of(proven, ret->digest);
    bool same = digest_equal(p->digest, ret->digest, EDGE_PROOF_BYTES);
    return same && ret->known && p->until_ms > now_ms ? EDGE_LOGIN_PROVEN : EDGE_LOGIN_UNPROVEN;
}

void edge_proven_add(struct edge_proven *proven, const unsigned char digest[EDGE_PROOF_BYTES],
                     uint64_t now_ms)
{
    struct edge_proof *p = place_of(proven, digest);
    memcpy(p->digest, digest, EDGE_PROOF_BYTES);
    p->until_ms = now_ms + EDGE_PROVEN_MS;
}
