/* certificates_message.c: what workers are told of certificates (IPC_CERTIFICATES); see certificates.h.
 *
 * Written by hand into a buffer that is wiped: a JSON library would leave copies of keys behind. */
#include <string.h>
#include <strings.h>

#include "app/certificates.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/certificate.h"

static void put_text(struct buf *to, const char *text)
{
    (void)buf_append(to, "\"", 1);
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '\n') {
            (void)buf_append(to, "\\n", 2);
        } else if (c == '"' || c == '\\') {
            char escaped[2] = {'\\', (char)c};
            (void)buf_append(to, escaped, 2);
        } else if (c < 0x20) {
            (void)buf_printf(to, "\\u%04x", c);
        } else {
            (void)buf_append(to, at, 1);
        }
    }
    (void)buf_append(to, "\"", 1);
}

static void put_member(struct buf *to, const char *key, const char *text)
{
    if (text) {
        (void)buf_printf(to, ",\"%s\":", key);
        put_text(to, text);
    }
}

static void put_entry(struct buf *to, const struct certificate *c, const char *alpn, bool anybody,
                      bool *first)
{
    (void)buf_text(to, *first ? "{\"names\":[" : ",{\"names\":[");
    *first = false;
    for (size_t i = 0; i < c->name_count; i++) {
        (void)buf_text(to, i ? "," : "");
        put_text(to, c->names[i]);
    }
    if (anybody) {
        (void)buf_text(to, c->name_count ? ",\"*\"" : "\"*\"");
    }
    (void)buf_text(to, "]");
    put_member(to, "chain", c->chain);
    put_member(to, "key", c->key);
    put_member(to, "ocsp",
               c->ocsp_until_s && c->ocsp_until_s <= (int64_t)(clock_wall_ms() / 1000) ? NULL
                                                                                       : c->ocsp);
    put_member(to, "alpn", alpn);
    (void)buf_text(to, "}");
}

/* The certificate that was provided for this host, not for a challenge; or NULL. */
static const struct certificate *provided_for(const struct certificates_provided *all,
                                              const char *host)
{
    for (; all; all = all->next) {
        if (!all->alpn && !strcasecmp(all->id, host)) {
            return all->c;
        }
    }
    return NULL;
}

static void put_entries(struct buf *to, const struct certificates_listener *li,
                        const struct certificates_provided *provided)
{
    bool first = true;
    for (size_t i = 0; i < li->count; i++) {
        const struct certificates_entry *e = &li->entries[i];
        const struct certificate *c = e->pair ? e->pair->c : provided_for(provided, e->acme);
        if (c) {
            put_entry(to, c, NULL, e->anybody, &first);
        }
    }
    for (const struct certificates_provided *p = provided; p; p = p->next) {
        if (p->alpn) {
            put_entry(to, p->c, p->alpn, false, &first);
        }
    }
}

static void put_upstream(struct buf *to, const struct certificates_upstream *u, bool first)
{
    (void)buf_printf(to, "%s{\"verify\":%s", first ? "" : ",", u->verify ? "true" : "false");
    put_member(to, "service", u->service);
    put_member(to, "alpn", u->http2 ? "h2" : NULL);
    put_member(to, "ca", u->ca);
    put_member(to, "name", u->name);
    put_member(to, "certificate", u->c ? u->c->chain : NULL);
    put_member(to, "key", u->c ? u->c->key : NULL);
    (void)buf_text(to, "}");
}

void certificates_message(const struct certificates_set *set,
                          const struct certificates_provided *provided, char *const *tickets,
                          size_t ticket_count, uint64_t version, struct buf *to)
{
    (void)buf_printf(to, "{\"version\":%llu,\"listeners\":[", (unsigned long long)version);
    for (const struct certificates_listener *li = set->listeners; li; li = li->next) {
        (void)buf_text(to, li == set->listeners ? "{\"entries\":[" : ",{\"entries\":[");
        put_entries(to, li, provided);
        (void)buf_text(to, "]");
        put_member(to, "listen", li->listen);
        put_member(to, "client_ca", li->client_ca);
        put_member(to, "client", li->client);
        put_member(to, "min_version", li->min_version);
        (void)buf_printf(to, ",\"http2\":%s}", li->http2 ? "true" : "false");
    }
    (void)buf_text(to, "],\"upstreams\":[");
    for (const struct certificates_upstream *u = set->upstreams; u; u = u->next) {
        put_upstream(to, u, u == set->upstreams);
    }
    (void)buf_text(to, "],\"tickets\":[");
    for (size_t i = 0; i < ticket_count; i++) {
        (void)buf_text(to, i ? "," : "");
        put_text(to, tickets[i]);
    }
    (void)buf_text(to, "]}");
}
