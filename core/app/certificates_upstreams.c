/* certificates_upstreams.c: what TLS to backends needs: authorities, names and certificates of our own; see
 * certificates.h.
 *
 * Invariants: every service whose backends speak TLS has an entry, also one that names no file, so that a worker
 * without it knows that something is missing. */
#include "app/certificates.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/certificate.h"
#include "net/net.h"

static const struct certificates_upstream *upstream_before(const struct certificates_reader *with,
                                                           const char *service)
{
    const struct certificates_upstream *u = with->before ? with->before->upstreams : NULL;
    while (u && !str_same(u->service, service)) {
        u = u->next;
    }
    return u;
}

static void read_ca(const struct certificates_reader *with, struct certificates_upstream *u,
                    const struct cJSON *json)
{
    const char *path = json_str(json, "ca", "");
    struct buf pem;
    char *why = NULL;
    if (!*path) {
        return;
    }
    int rc = with->read(with->arg, path, false, &pem, &why);
    rc = rc ? rc : certificate_authorities(buf_str(&pem), pem.len, &why);
    if (rc >= 0) {
        u->ca = mem_copy(buf_str(&pem));
    } else {
        const struct certificates_upstream *old = upstream_before(with, u->service);
        u->ca = old ? mem_copy(old->ca) : NULL;
        with->bad(with->arg, u->at, path, why);
    }
    buf_free(&pem);
}

/* Our certificate and its key; the sentence, and the path that it is about. */
static int read_own(const struct certificates_reader *with, const struct cJSON *json,
                    struct certificate **ret_certificate, const char **ret_path, char **reterr)
{
    struct buf chain, key;
    struct certificate *c = NULL;
    *ret_path = json_str(json, "certificate", "");
    int rc = with->read(with->arg, *ret_path, false, &chain, reterr);
    rc = rc ? rc : certificate_new(buf_str(&chain), chain.len, &c, reterr);
    buf_free(&chain);
    if (!rc) {
        *ret_path = json_str(json, "key", *ret_path);
        rc = with->read(with->arg, *ret_path, true, &key, reterr);
        rc = rc ? rc : certificate_take_key(c, buf_str(&key), key.len, reterr);
        buf_free(&key);
    }
    if (rc) {
        certificate_free(c);
        return rc;
    }
    *ret_certificate = c;
    return 0;
}

static struct certificate *copy_of(const struct certificate *c)
{
    struct certificate *copy = NULL;
    char *why = NULL;
    if (c && !certificate_new(c->chain, strlen(c->chain), &copy, &why) &&
        certificate_take_key(copy, c->key, strlen(c->key), &why)) {
        certificate_free(copy);
        copy = NULL;
    }
    mem_free(why);
    return copy;
}

static void read_certificate(const struct certificates_reader *with,
                             struct certificates_upstream *u, const struct cJSON *json)
{
    const char *path;
    char *why = NULL;
    if (json_str(json, "certificate", "")[0] && read_own(with, json, &u->c, &path, &why)) {
        const struct certificates_upstream *old = upstream_before(with, u->service);
        u->c = old ? copy_of(old->c) : NULL;
        with->bad(with->arg, u->at, path, why);
    }
}

/* The one host name that all backends are written with; NULL when they are addresses, or differ. */
static char *common_name(const struct cJSON *service)
{
    const struct cJSON *at = json_first(json_get(service, "backends"));
    char *name = NULL;
    for (; at; at = json_next(at)) {
        struct net_addr addr;
        const char *address = json_str(at, "address", "");
        struct str host = str_of(address);
        ptrdiff_t colon = str_find(host, ':');
        host = str_sub(host, 0, colon < 0 ? host.len : (size_t)colon);
        if (net_addr_parse(address, &addr) != -EDESTADDRREQ || (name && !str_is(host, name))) {
            mem_free(name);
            return NULL;
        }
        name = name ? name : mem_copy_bytes(host.ptr, host.len);
    }
    return name;
}

void certificates_upstreams_load(const struct cJSON *config, const struct certificates_reader *with,
                                 struct certificates_upstream **to)
{
    const struct cJSON *service = json_first(json_get(config, "services"));
    for (; service; service = json_next(service)) {
        const struct cJSON *json = json_get(service, "upstream_tls");
        const char *protocol = json_str(service, "protocol", "http");
        bool http2 = !strcmp(protocol, "h2");
        if (!http2 && strcmp(protocol, "https") != 0) {
            continue;
        }
        struct certificates_upstream *u = *to = mem_new(sizeof *u);
        const char *name = json_str(json, "name", "");
        u->service = mem_copy(json_str(service, "name", ""));
        u->at = mem_copy(json_str(json, "at", ""));
        u->http2 = http2;
        u->verify = json_bool(json, "verify", true);
        u->name = *name ? mem_copy(name) : common_name(service);
        read_ca(with, u, json);
        read_certificate(with, u, json);
        to = &u->next;
    }
}

void certificates_upstreams_free(struct certificates_upstream *all)
{
    while (all) {
        struct certificates_upstream *u = all;
        all = u->next;
        mem_free(u->service);
        mem_free(u->at);
        mem_free(u->ca);
        mem_free(u->name);
        certificate_free(u->c);
        mem_free(u);
    }
}
