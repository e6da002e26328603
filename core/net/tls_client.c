/* tls_client.c: contexts towards backends, and their sessions.
 *
 * Invariants: a certificate is verified unless the configuration says otherwise, and never without the name that it
 * is for. The last session of each backend is kept and offered to it again. */
#include "net/tls_private.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    SESSIONS_MOST = 4096 /* backends that one is kept of */
};

static void drop_sessions(struct tls_client *c)
{
    size_t at = 0;
    const char *peer;
    void *session;
    while (map_next(&c->sessions, &at, &peer, &session)) {
        SSL_SESSION_free(session);
    }
    map_free(&c->sessions);
}

/* 1: keeps what OpenSSL hands over. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls *t = SSL_get_app_data(ssl);
    struct tls_client *c = t->client;
    if (c->sessions.count >= SESSIONS_MOST) {
        drop_sessions(c);
    }
    SSL_SESSION *before = map_put(&c->sessions, t->peer, session);
    SSL_SESSION_free(before);
    return 1;
}

static int trust(SSL_CTX *ctx, const struct cJSON *json, char **reterr)
{
    const char *ca = json_str(json, "ca", "");
    X509_STORE *store = NULL;
    if (!ca[0]) {
        (void)SSL_CTX_set_default_verify_paths(ctx);
        ERR_clear_error();
        return 0;
    }
    int rc = tls_trust_read(ca, &store, reterr);
    if (!rc) {
        /* What the operator names is trusted, be it an authority's or the backend's own. */
        (void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        (void)SSL_CTX_set1_cert_store(ctx, store);
        X509_STORE_free(store);
    }
    return rc;
}

static int show(SSL_CTX *ctx, const struct cJSON *json, char **reterr)
{
    struct tls_identity id;
    char *why = NULL;
    const char *chain = json_str(json, "certificate", "");
    if (!*chain) {
        return 0;
    }
    int rc = tls_identity_read(chain, json_str(json, "key", ""), "", &id, &why);
    rc = rc ? rc : tls_identity_use(&id, ctx);
    if (rc) {
        *reterr = why ? why
                      : mem_printf("OpenSSL takes no certificate for backends of %s: %s",
                                   json_str(json, "service", ""), tls_complaint());
    }
    tls_identity_free(&id);
    return rc;
}

static int set_protocol(SSL_CTX *ctx, const char *protocol)
{
    unsigned char list[32];
    size_t len = strlen(protocol);
    if (!len || len >= sizeof list) {
        return -EINVAL;
    }
    list[0] = (unsigned char)len;
    memcpy(list + 1, protocol, len);
    return SSL_CTX_set_alpn_protos(ctx, list, (unsigned)len + 1) ? -EINVAL : 0;
}

int tls_client_new(const struct cJSON *json, const unsigned char *digest,
                   struct tls_client **ret_client, char **reterr)
{
    struct tls_client *c = mem_new(sizeof *c);
    const char *name = json_str(json, "name", "");
    c->refs = 1;
    c->service = mem_copy(json_str(json, "service", ""));
    c->name = name[0] ? mem_copy(name) : NULL;
    c->verify = json_bool(json, "verify", true);
    memcpy(c->digest, digest, sizeof c->digest);
    c->ctx = SSL_CTX_new(TLS_client_method());
    bool ok = c->ctx && SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) == 1 &&
              !set_protocol(c->ctx, json_str(json, "alpn", "http/1.1"));
    int rc = ok ? trust(c->ctx, json, reterr) : -EINVAL;
    rc = rc ? rc : show(c->ctx, json, reterr);
    if (rc) {
        *reterr = *reterr ? *reterr
                          : mem_printf("TLS to the backends of %s cannot be set up: %s", c->service,
                                       tls_complaint());
        tls_client_unref(c);
        return rc;
    }
    (void)SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(c->ctx,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(c->ctx, on_session);
    SSL_CTX_set_verify(c->ctx, c->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    *ret_client = c;
    return 0;
}

void tls_client_unref(struct tls_client *c)
{
    if (!c || --c->refs) {
        return;
    }
    drop_sessions(c);
    SSL_CTX_free(c->ctx);
    mem_free(c->service);
    mem_free(c->name);
    mem_free(c);
}

int tls_client_begin(struct tls *t)
{
    struct tls_client *c = t->client;
    bool address = tls_is_address(t->name);
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    int ok = address ? X509_VERIFY_PARAM_set1_ip_asc(param, t->name)
                     : X509_VERIFY_PARAM_set1_host(param, t->name, 0) &&
                           SSL_set_tlsext_host_name(t->ssl, t->name);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!ok) {
        t->why = mem_printf("\"%s\" is no name that a certificate may have", t->name);
        ERR_clear_error();
        return -EPROTO;
    }
    SSL_SESSION *session = map_get(&c->sessions, t->peer);
    if (session && SSL_SESSION_is_resumable(session)) {
        (void)SSL_set_session(t->ssl, session);
    }
    return 0;
}
