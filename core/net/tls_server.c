/* tls_server.c: contexts of a listener, and which certificate a client gets.
 *
 * A context (SSL_CTX) is made for each set of entries that some name is served with, mostly one an entry.
 * A connection begins with that of the first entry and changes over when the client's name wants another.
 *
 * Invariants: whatever is the listener's own and not the certificate's is the same in all its contexts. Sessions
 * are resumed only where they began: the session id context is made of the address and of what is asked of
 * clients, so that nobody gets around a client certificate with a ticket of elsewhere. */
#include "net/tls_private.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

/* AES-128-GCM first: as good as the others, and the cheapest; a client that leads with ChaCha20 has no AES in its
 * processor, and gets that. */
static const char ciphers_1_2[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK:!SRP";
static const char ciphers_1_3[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";
static const char acme_protocol[] = "acme-tls/1";

/* ---- tickets ----------------------------------------------------------------------------- */

int tls_tickets_read(const struct cJSON *json, struct tls_tickets **ret_tickets, char **reterr)
{
    struct tls_tickets *tickets = mem_new(sizeof *tickets);
    tickets->refs = 1;
    for (const struct cJSON *at = json_first(json); at && tickets->count < TLS_TICKETS;
         at = json_next(at)) {
        size_t len = 0;
        unsigned char *bytes = tls_base64(json_value_str(at, ""), &len);
        if (!bytes || (len != 48 && len != 80)) {
            mem_free(bytes);
            mem_free(tickets);
            *reterr = mem_copy("a key for tickets has 48 or 80 bytes, in base64");
            return -EINVAL;
        }
        struct tls_ticket *key = &tickets->keys[tickets->count++];
        key->len = (len - sizeof key->name) / 2;
        memcpy(key->name, bytes, sizeof key->name);
        memcpy(key->aes, bytes + sizeof key->name, key->len);
        memcpy(key->mac, bytes + sizeof key->name + key->len, key->len);
        mem_free(bytes);
    }
    if (!tickets->count) { /* a ticket of ours is then of use to this process alone */
        struct tls_ticket *key = &tickets->keys[tickets->count++];
        key->len = sizeof key->aes;
        if (RAND_bytes(key->name, sizeof key->name) != 1 ||
            RAND_bytes(key->aes, sizeof key->aes) != 1 ||
            RAND_bytes(key->mac, sizeof key->mac) != 1) {
            mem_free(tickets);
            *reterr = mem_printf("no random bytes: %s", tls_complaint());
            return -EINVAL;
        }
    }
    *ret_tickets = tickets;
    return 0;
}

void tls_tickets_unref(struct tls_tickets *tickets)
{
    if (tickets && !--tickets->refs) {
        mem_free(tickets);
    }
}

void tls_server_tickets(struct tls_server *s, struct tls_tickets *tickets)
{
    tickets->refs++;
    tls_tickets_unref(s->tickets);
    s->tickets = tickets;
}

static const struct tls_ticket *ticket_named(const struct tls_tickets *tickets,
                                             const unsigned char *name)
{
    for (uint32_t i = 0; i < tickets->count; i++) {
        if (!memcmp(tickets->keys[i].name, name, TLS_TICKET_NAME_BYTES)) {
            return &tickets->keys[i];
        }
    }
    return NULL;
}

/* 0: this ticket is none of ours; 2: it is, and a new one is due. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypts)
{
    const struct tls *t = SSL_get_app_data(ssl);
    const struct tls_tickets *tickets = t->server->tickets;
    const struct tls_ticket *key = encrypts ? &tickets->keys[0] : ticket_named(tickets, name);
    if (!key) {
        return 0;
    }
    OSSL_PARAM params[3] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
                                          key->len),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_end()};
    const EVP_CIPHER *aes = key->len == 32 ? EVP_aes_256_cbc() : EVP_aes_128_cbc();
    if (encrypts) {
        memcpy(name, key->name, sizeof key->name);
        if (RAND_bytes(iv, 16) != 1 || !EVP_EncryptInit_ex(cipher, aes, NULL, key->aes, iv)) {
            return -1;
        }
    } else if (!EVP_DecryptInit_ex(cipher, aes, NULL, key->aes, iv)) {
        return -1;
    }
    if (!EVP_MAC_CTX_set_params(mac, params)) {
        return -1;
    }
    /* A ticket of 1.3 is good for one connection: with the next comes a new one. */
    bool renews = key != &tickets->keys[0] || SSL_version(ssl) == TLS1_3_VERSION;
    return encrypts || !renews ? 1 : 2;
}

/* ---- who is asked for -------------------------------------------------------------------- */

struct tls_choice *tls_server_find(const struct tls_server *s, const char *host, bool acme)
{
    const struct map *names = acme ? &s->acme_names : &s->names;
    struct tls_choice *found = map_get(names, host);
    const char *dot = strchr(host, '.');
    if (!found && dot && dot > host) {
        char wild[TLS_NAME_BYTES + 1];
        size_t len = strlen(dot);
        if (len < TLS_NAME_BYTES) {
            wild[0] = '*';
            memcpy(wild + 1, dot, len + 1);
            found = map_get(names, wild);
        }
    }
    return found ? found : map_get(names, "*");
}

/* Whether a list of protocols, each with its length before it, has this one. */
static bool offers(const unsigned char *list, size_t len, const char *protocol)
{
    size_t want = strlen(protocol);
    for (size_t at = 0; at < len; at += 1u + list[at]) {
        if (list[at] == want && len - at > want && !memcmp(list + at + 1, protocol, want)) {
            return true;
        }
    }
    return false;
}

/* The certificate is chosen before OpenSSL looks at the protocols. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    const unsigned char *list;
    size_t len;
    struct tls *t = SSL_get_app_data(ssl);
    (void)alert;
    (void)arg;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &list,
                                  &len) &&
        len > 2) {
        t->offers_acme = offers(list + 2, len - 2, acme_protocol);
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

static char *lower_name(const char *name)
{
    char *copy = mem_copy(name);
    for (char *c = copy; *c; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return copy;
}

/* What is told of it comes to terminals. */
static bool is_visible(const char *name)
{
    while (*name > ' ' && *name < 0x7f) {
        name++;
    }
    return !*name;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
    struct tls_server *s = arg;
    struct tls *t = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool acme = t->offers_acme;
    /* An address is no name, though some clients send it as one. */
    if (!name || tls_is_address(name)) {
        t->choice = s->first;
        return SSL_TLSEXT_ERR_NOACK;
    }
    mem_free(t->name);
    t->name = lower_name(name);
    t->choice = tls_server_find(s, t->name, acme);
    if (!t->choice) {
        mem_free(t->why);
        t->why = is_visible(t->name)
                     ? mem_printf("no certificate is here for the name \"%s\"", t->name)
                     : mem_copy("no certificate is here for a name that no host has");
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (t->choice != s->first) {
        (void)SSL_set_SSL_CTX(ssl, t->choice->ctx);
    }
    return SSL_TLSEXT_ERR_OK;
}

static int on_protocols(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_len,
                        const unsigned char *list, unsigned len, void *arg)
{
    static const char *const ordinary[] = {"h2", "http/1.1"};
    const struct tls_server *s = arg;
    const struct tls *t = SSL_get_app_data(ssl);
    const char *chosen = NULL;
    if (t->offers_acme && t->choice && t->choice->count && s->entries[t->choice->entries[0]].acme) {
        chosen = acme_protocol;
    }
    for (int i = s->http2 ? 0 : 1; !chosen && i < 2; i++) {
        chosen = offers(list, len, ordinary[i]) ? ordinary[i] : NULL;
    }
    if (!chosen) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *ret_chosen = (const unsigned char *)chosen;
    *ret_len = (unsigned char)strlen(chosen);
    return SSL_TLSEXT_ERR_OK;
}

static int on_status(SSL *ssl, void *arg)
{
    const struct tls_server *s = arg;
    const X509 *shown = SSL_get_certificate(ssl);
    for (size_t i = 0; shown && i < s->entry_count; i++) {
        const struct tls_identity *id = &s->entries[i].id;
        if (id->chain[0] == shown && id->ocsp) {
            /* OpenSSL frees it. */
            void *copy = CRYPTO_memdup(id->ocsp, id->ocsp_len, "tls", 0);
            (void)SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)id->ocsp_len);
            return copy ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- contexts ---------------------------------------------------------------------------- */

/* What a listener's contexts have in common. */
struct common {
    struct tls_server *server;
    X509_STORE *trust; /* NULL: asks for no certificate */
    const char *client_ca;
    unsigned char id[TLS_DIGEST_BYTES];
    int least;
    bool acme;
};

static void set_callbacks(SSL_CTX *ctx, const struct common *c)
{
    (void)SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    (void)SSL_CTX_set_tlsext_servername_arg(ctx, c->server);
    SSL_CTX_set_alpn_select_cb(ctx, on_protocols, c->server);
    (void)SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    (void)SSL_CTX_set_tlsext_status_arg(ctx, c->server);
    (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    if (c->acme) {
        SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
    }
}

static int set_clients(SSL_CTX *ctx, const struct common *c)
{
    if (!c->trust) {
        return 0;
    }
    (void)SSL_CTX_set1_cert_store(ctx, c->trust);
    STACK_OF(X509_NAME) *names = tls_trust_names(c->client_ca);
    if (!names) {
        return -EINVAL;
    }
    SSL_CTX_set_client_CA_list(ctx, names); /* takes them */
    SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (c->server->requires ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    return 0;
}

static SSL_CTX *new_context(const struct common *c)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) {
        return NULL;
    }
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                       SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    bool ok = SSL_CTX_set_min_proto_version(ctx, c->least) == 1 &&
              SSL_CTX_set_cipher_list(ctx, ciphers_1_2) == 1 &&
              SSL_CTX_set_ciphersuites(ctx, ciphers_1_3) == 1 &&
              SSL_CTX_set1_groups_list(ctx, groups) == 1 && SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
              SSL_CTX_set_session_id_context(ctx, c->id, sizeof c->id) == 1;
    if (!ok || set_clients(ctx, c)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    set_callbacks(ctx, c);
    return ctx;
}

static bool holds(const struct tls_choice *choice, const struct tls_choice *other)
{
    return choice->count == other->count &&
           !memcmp(choice->entries, other->entries, other->count * sizeof other->entries[0]);
}

/* The choice of these entries, made when no name had it before; NULL with OpenSSL's complaint. */
static struct tls_choice *choice_of(const struct common *c, const struct tls_choice *wanted)
{
    struct tls_server *s = c->server;
    for (size_t i = 0; i < s->choice_count; i++) {
        if (holds(s->choices[i], wanted)) {
            return s->choices[i];
        }
    }
    SSL_CTX *ctx = new_context(c);
    for (uint32_t i = 0; ctx && i < wanted->count; i++) {
        if (tls_identity_use(&s->entries[wanted->entries[i]].id, ctx)) {
            SSL_CTX_free(ctx);
            ctx = NULL;
        }
    }
    if (!ctx) {
        return NULL;
    }
    struct tls_choice *choice = mem_new(sizeof *choice);
    *choice = *wanted;
    choice->ctx = ctx;
    s->choices = mem_resize(s->choices, (s->choice_count + 1) * sizeof(struct tls_choice *));
    s->choices[s->choice_count++] = choice;
    return choice;
}

static int key_type(const struct tls_server *s, uint32_t entry)
{
    return EVP_PKEY_get_base_id(s->entries[entry].id.key);
}

/* Adds an entry unless one with a key of its type is there. */
static void want(const struct tls_server *s, struct tls_choice *wanted, uint32_t entry)
{
    for (uint32_t i = 0; i < wanted->count; i++) {
        if (key_type(s, wanted->entries[i]) == key_type(s, entry)) {
            return;
        }
    }
    if (wanted->count < sizeof wanted->entries / sizeof wanted->entries[0]) {
        wanted->entries[wanted->count++] = entry;
    }
}

/* Sets of entries that names are served with, while they are gathered. */
static void gather(struct tls_server *s, const struct cJSON *entries, bool acme, struct map *to)
{
    uint32_t i = 0;
    for (const struct cJSON *at = json_first(entries); at; at = json_next(at), i++) {
        const struct cJSON *name = json_first(json_get(at, "names"));
        for (; name && s->entries[i].acme == acme; name = json_next(name)) {
            char *key = lower_name(json_value_str(name, ""));
            struct tls_choice *wanted = map_get(to, key);
            if (!wanted) {
                wanted = mem_new(sizeof *wanted);
                (void)map_put(to, key, wanted);
            }
            want(s, wanted, i);
            mem_free(key);
        }
    }
}

/* Replaces what was gathered under each name by its choice. */
static int settle(const struct common *c, struct map *names)
{
    size_t at = 0;
    const char *name;
    void *value;
    int rc = 0;
    while (map_next(names, &at, &name, &value)) {
        struct tls_choice *choice = rc ? NULL : choice_of(c, value);
        mem_free(value);
        rc = choice ? rc : -EINVAL;
        if (choice) {
            names->entries[at - 1].value = choice;
        } else {
            (void)map_remove(names, name);
        }
    }
    return rc;
}

/* The first entry that is no challenge, with what else serves its first name. */
static struct tls_choice *first_choice(const struct common *c, const struct cJSON *entries)
{
    struct tls_server *s = c->server;
    struct tls_choice wanted = {0};
    uint32_t i = 0;
    for (const struct cJSON *at = json_first(entries); at; at = json_next(at), i++) {
        if (!s->entries[i].acme) {
            char *name = lower_name(json_value_str(json_first(json_get(at, "names")), ""));
            struct tls_choice *found = map_get(&s->names, name);
            mem_free(name);
            want(s, &wanted, i);
            return found ? found : choice_of(c, &wanted);
        }
    }
    return choice_of(c, &wanted);
}

static int read_entries(struct tls_server *s, const struct cJSON *entries, struct common *c,
                        char **reterr)
{
    s->entries = mem_array(json_count(entries) + 1, sizeof *s->entries);
    for (const struct cJSON *at = json_first(entries); at; at = json_next(at)) {
        struct tls_entry *entry = &s->entries[s->entry_count++];
        entry->acme = !strcmp(json_str(at, "alpn", ""), acme_protocol);
        c->acme = c->acme || entry->acme;
        int rc = tls_identity_read(json_str(at, "chain", ""), json_str(at, "key", ""),
                                   json_str(at, "ocsp", ""), &entry->id, reterr);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int read_clients(struct tls_server *s, const struct cJSON *json, struct common *c,
                        char **reterr)
{
    const char *client = json_str(json, "client", "none");
    char *identity = mem_printf("%s %s %s", s->listen, client, json_str(json, "client_ca", ""));
    tls_digest(identity, strlen(identity), c->id);
    mem_free(identity);
    s->requires = !strcmp(client, "require");
    s->asks = s->requires || !strcmp(client, "request");
    c->client_ca = json_str(json, "client_ca", "");
    return s->asks ? tls_trust_read(c->client_ca, &c->trust, reterr) : 0;
}

int tls_server_new(const struct cJSON *json, const unsigned char *digest,
                   struct tls_server **ret_server, char **reterr)
{
    const struct cJSON *entries = json_get(json, "entries");
    struct tls_server *s = mem_new(sizeof *s);
    struct common c = {.server = s};
    s->refs = 1;
    s->listen = mem_copy(json_str(json, "listen", ""));
    memcpy(s->digest, digest, sizeof s->digest);
    s->http2 = json_bool(json, "http2", false);
    c.least =
        !strcmp(json_str(json, "min_version", "1.2"), "1.3") ? TLS1_3_VERSION : TLS1_2_VERSION;
    int rc = read_entries(s, entries, &c, reterr);
    rc = rc ? rc : read_clients(s, json, &c, reterr);
    if (!rc) {
        gather(s, entries, false, &s->names);
        gather(s, entries, true, &s->acme_names);
        rc = settle(&c, &s->names);
        rc = settle(&c, &s->acme_names) ? -EINVAL : rc;
        s->first = rc ? NULL : first_choice(&c, entries);
        if (!s->first) {
            rc = -EINVAL;
            *reterr =
                mem_printf("OpenSSL takes no certificate for %s: %s", s->listen, tls_complaint());
        }
    }
    X509_STORE_free(c.trust);
    if (rc) {
        tls_server_unref(s);
        return rc;
    }
    *ret_server = s;
    return 0;
}

void tls_server_unref(struct tls_server *s)
{
    if (!s || --s->refs) {
        return;
    }
    for (size_t i = 0; i < s->choice_count; i++) {
        SSL_CTX_free(s->choices[i]->ctx);
        mem_free(s->choices[i]);
    }
    for (size_t i = 0; i < s->entry_count; i++) {
        tls_identity_free(&s->entries[i].id);
    }
    mem_free(s->choices);
    mem_free(s->entries);
    map_free(&s->names);
    map_free(&s->acme_names);
    tls_tickets_unref(s->tickets);
    mem_free(s->listen);
    mem_free(s);
}
