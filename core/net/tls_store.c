/* tls_store.c: a message of certificates as a whole.
 *
 * Invariants: a store is complete or there is none. Contexts whose part of the message has not changed are taken
 * over from the store before, so that a new certificate costs the others nothing; only keys for tickets are
 * replaced in them. */
#include "net/tls_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

struct tls_store {
    struct tls_server **servers;
    struct tls_client **clients;
    size_t server_count, client_count;
};

/* Adds a value to a digest. As text it would leave copies of keys behind. */
static void mix(const struct cJSON *json, unsigned char *digest)
{
    unsigned char parts[3 * TLS_DIGEST_BYTES + 1];
    const char *name = json_name(json), *text = json_value_str(json, "");
    char number[32]; /* of a double, or a boolean */
    (void)snprintf(number, sizeof number, "%g %d", json_value_num(json, 0),
                   json_value_bool(json, false));
    memcpy(parts, digest, TLS_DIGEST_BYTES);
    tls_digest(name ? name : "", name ? strlen(name) : 0, parts + TLS_DIGEST_BYTES);
    tls_digest(*text ? text : number, strlen(*text ? text : number), parts + 2 * TLS_DIGEST_BYTES);
    parts[sizeof parts - 1] = (unsigned char)json_kind(json);
    tls_digest(parts, sizeof parts, digest);
    for (const struct cJSON *at = json_first(json); at; at = json_next(at)) {
        mix(at, digest);
    }
}

static void digest_of(const struct cJSON *json, unsigned char *ret_digest)
{
    memset(ret_digest, 0, TLS_DIGEST_BYTES);
    mix(json, ret_digest);
}

static struct tls_server *same_server(const struct tls_store *store, const unsigned char *digest)
{
    for (size_t i = 0; store && i < store->server_count; i++) {
        if (!memcmp(store->servers[i]->digest, digest, TLS_DIGEST_BYTES)) {
            return store->servers[i];
        }
    }
    return NULL;
}

static struct tls_client *same_client(const struct tls_store *store, const unsigned char *digest)
{
    for (size_t i = 0; store && i < store->client_count; i++) {
        if (!memcmp(store->clients[i]->digest, digest, TLS_DIGEST_BYTES)) {
            return store->clients[i];
        }
    }
    return NULL;
}

static int add_servers(struct tls_store *store, const struct cJSON *list,
                       const struct tls_store *before, struct tls_tickets *tickets, char **reterr)
{
    store->servers = mem_array(json_count(list) + 1, sizeof(struct tls_server *));
    for (const struct cJSON *at = json_first(list); at; at = json_next(at)) {
        unsigned char digest[TLS_DIGEST_BYTES];
        digest_of(at, digest);
        struct tls_server *server = same_server(before, digest);
        if (server) {
            server->refs++;
        } else {
            int rc = tls_server_new(at, digest, &server, reterr);
            if (rc) {
                return rc;
            }
            tls_server_tickets(server, tickets);
        }
        store->servers[store->server_count++] = server;
    }
    return 0;
}

static int add_clients(struct tls_store *store, const struct cJSON *list,
                       const struct tls_store *before, char **reterr)
{
    store->clients = mem_array(json_count(list) + 1, sizeof(struct tls_client *));
    for (const struct cJSON *at = json_first(list); at; at = json_next(at)) {
        unsigned char digest[TLS_DIGEST_BYTES];
        digest_of(at, digest);
        struct tls_client *client = same_client(before, digest);
        if (client) {
            client->refs++;
        } else {
            int rc = tls_client_new(at, digest, &client, reterr);
            if (rc) {
                return rc;
            }
        }
        store->clients[store->client_count++] = client;
    }
    return 0;
}

int tls_store_new(const struct cJSON *message, const struct tls_store *before,
                  struct tls_store **ret_store, char **reterr)
{
    struct tls_tickets *tickets = NULL;
    int rc = tls_load(reterr);
    rc = rc ? rc : tls_tickets_read(json_get(message, "tickets"), &tickets, reterr);
    if (rc) {
        return rc;
    }
    struct tls_store *store = mem_new(sizeof *store);
    rc = add_servers(store, json_get(message, "listeners"), before, tickets, reterr);
    rc = rc ? rc : add_clients(store, json_get(message, "upstreams"), before, reterr);
    for (size_t i = 0; !rc && i < store->server_count; i++) {
        tls_server_tickets(store->servers[i], tickets);
    }
    tls_tickets_unref(tickets);
    if (rc) {
        tls_store_free(store);
        return rc;
    }
    *ret_store = store;
    return 0;
}

void tls_store_free(struct tls_store *store)
{
    if (!store) {
        return;
    }
    for (size_t i = 0; i < store->server_count; i++) {
        tls_server_unref(store->servers[i]);
    }
    for (size_t i = 0; i < store->client_count; i++) {
        tls_client_unref(store->clients[i]);
    }
    mem_free(store->servers);
    mem_free(store->clients);
    mem_free(store);
}

struct tls_server *tls_store_server(const struct tls_store *store, const char *listen)
{
    for (size_t i = 0; store && i < store->server_count; i++) {
        if (!strcmp(store->servers[i]->listen, listen)) {
            return store->servers[i];
        }
    }
    return NULL;
}

struct tls_client *tls_store_client(const struct tls_store *store, const char *service)
{
    for (size_t i = 0; store && i < store->client_count; i++) {
        if (!strcmp(store->clients[i]->service, service)) {
            return store->clients[i];
        }
    }
    return NULL;
}
