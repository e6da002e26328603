/* labelled.c: what can be said of labelled containers without asking anybody; see labelled.h. */
#include "app/labelled.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    ID_DIGITS = 64,
    SHORT_DIGITS = 12,
    NAMES_BYTES = 4096
};

/* ---- Which is which ---------------------------------------------------------------------- */

void labelled_self(const char *mountinfo, char *to)
{
    /* Docker mounts /var/lib/docker/containers/ID/hostname and others into each container. */
    static const char folder[] = "/containers/";
    *to = '\0';
    for (const char *at = mountinfo; (at = strstr(at, folder)) && !*to;) {
        at += strlen(folder);
        if (strspn(at, "0123456789abcdef") == ID_DIGITS && at[ID_DIGITS] == '/') {
            memcpy(to, at, ID_DIGITS);
            to[ID_DIGITS] = '\0';
        }
    }
}

const struct cJSON *labelled_find(const struct cJSON *containers, const char *id)
{
    size_t len = strlen(id);
    for (const struct cJSON *c = json_first(containers); len && c; c = json_next(c)) {
        if (str_same(json_str(c, "name", ""), id) || str_same(json_str(c, "id", ""), id) ||
            (len >= SHORT_DIGITS && !strncmp(json_str(c, "id", ""), id, len))) {
            return c;
        }
    }
    return NULL;
}

bool labelled_candidate(const struct cJSON *container)
{
    return json_first(json_get(container, "labels")) && !*json_str(container, "cluster", "") &&
           !json_bool(container, "oneoff", false);
}

static const char *label(const struct cJSON *container, const char *prefix, const char *key)
{
    char *name = mem_printf("%s.%s", prefix, key);
    const char *text = json_str(json_get(container, "labels"), name, "");
    mem_free(name);
    return text;
}

static const char *own_service(const struct cJSON *container)
{
    const char *compose = json_str(container, "service", "");
    return *compose ? compose : json_str(container, "name", "");
}

const char *labelled_service(const struct cJSON *container, const char *prefix)
{
    const char *named = label(container, prefix, "service");
    return *named ? named : own_service(container);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void labelled_set_of(const struct cJSON *container, const char *prefix, char *to)
{
    const struct cJSON *labels = json_get(container, "labels");
    const char *service = labelled_service(container, prefix);
    size_t count = json_count(labels), at = 0;
    const char **names = mem_array(count + 1, sizeof *names);
    for (const struct cJSON *l = json_first(labels); l; l = json_next(l)) {
        names[at++] = json_name(l);
    }
    qsort(names, count, sizeof *names, by_text);
    uint64_t hash = hash_bytes(service, strlen(service) + 1);
    for (at = 0; at < count; at++) {
        const char *text = json_str(labels, names[at], "");
        hash = hash_more(hash, names[at], strlen(names[at]) + 1);
        hash = hash_more(hash, text, strlen(text) + 1);
    }
    hash_hex(hash, to);
    mem_free(names);
}

/* ---- Sets -------------------------------------------------------------------------------- */

struct set {
    char id[17];
    const struct cJSON *container; /* the oldest one of it */
    const char *service;
    double created, service_created;
    bool running;
};

static int by_rank(const void *a, const void *b)
{
    const struct set *x = a, *y = b;
    if (x->service_created != y->service_created) {
        return x->service_created < y->service_created ? -1 : 1;
    }
    int same = strcmp(x->service, y->service);
    if (same || x->running != y->running) {
        return same ? same : x->running ? -1 : 1;
    }
    if (x->created != y->created) {
        return x->created < y->created ? -1 : 1;
    }
    return strcmp(x->id, y->id);
}

static size_t note_set(struct set *sets, size_t count, const struct set *seen)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(sets[i].id, seen->id)) {
            sets[i].running |= seen->running;
            if (seen->created < sets[i].created) {
                sets[i].created = seen->created;
                sets[i].container = seen->container;
            }
            return count;
        }
    }
    sets[count] = *seen;
    return count + 1;
}

static void rank(struct set *sets, size_t count, const struct cJSON *since)
{
    for (size_t i = 0; i < count; i++) {
        sets[i].service_created = json_num(since, sets[i].service, sets[i].created);
        for (size_t k = 0; k < count; k++) {
            if (!strcmp(sets[k].service, sets[i].service) &&
                sets[k].created < sets[i].service_created) {
                sets[i].service_created = sets[k].created;
            }
        }
    }
    qsort(sets, count, sizeof *sets, by_rank);
}

struct cJSON *labelled_sets(const struct cJSON *containers, const char *prefix,
                            const struct cJSON *since)
{
    struct set *sets = mem_array(json_count(containers) + 1, sizeof *sets);
    size_t count = 0;
    for (const struct cJSON *c = json_first(containers); c; c = json_next(c)) {
        struct set seen = {.container = c,
                           .service = labelled_service(c, prefix),
                           .created = json_num(c, "created", 0),
                           .running = str_same(json_str(c, "state", ""), "running")};
        if (labelled_candidate(c) && count < LIMIT_LABEL_SETS) {
            labelled_set_of(c, prefix, seen.id);
            count = note_set(sets, count, &seen);
        }
    }
    rank(sets, count, since);
    struct cJSON *out = json_array();
    for (size_t i = 0; i < count; i++) {
        struct cJSON *one = json_object();
        json_set_str(one, "set", sets[i].id);
        json_set_str(one, "container", json_str(sets[i].container, "name", ""));
        json_set_str(one, "service", own_service(sets[i].container));
        json_set_str(one, "group", sets[i].service);
        json_set(one, "labels", json_copy(json_get(sets[i].container, "labels")));
        json_set(out, NULL, one);
    }
    mem_free(sets);
    return out;
}

/* ---- Addresses --------------------------------------------------------------------------- */

/* "80, 443" of members of a list; mem_free. */
static char *listed(const struct cJSON *list, const char *key)
{
    struct buf text;
    buf_init(&text, NAMES_BYTES);
    for (const struct cJSON *one = json_first(list); one; one = json_next(one)) {
        (void)buf_text(&text, text.len ? ", " : "");
        if (json_kind(json_get(one, key)) == JSON_NUMBER) {
            (void)buf_printf(&text, "%d", (int)json_int(one, key, 0));
        } else {
            (void)buf_text(&text, json_str(one, key, ""));
        }
    }
    char *out = mem_copy(buf_str(&text));
    buf_free(&text);
    return out;
}

/* 0 with a sentence. */
static unsigned choose_port(const struct cJSON *container, const struct cJSON *set,
                            const struct labelled_place *place, char **reterr)
{
    const struct cJSON *ports = json_get(container, "ports");
    unsigned named = (unsigned)json_int(set, "port", 0);
    if (named) {
        return named;
    }
    if (json_count(ports) == 1) {
        return (unsigned)json_int(json_first(ports), "port", 0);
    }
    if (json_first(ports)) {
        char *names = listed(ports, "port");
        *reterr = mem_printf("exposes several ports (%s): write %s.port=%d, or another of them",
                             names, place->prefix, (int)json_int(json_first(ports), "port", 0));
        mem_free(names);
    } else {
        *reterr =
            mem_printf("exposes no port: write %s.port=8080, or what it listens on", place->prefix);
    }
    return 0;
}

static char *address_text(const char *host, unsigned port)
{
    bool v6 = strchr(host, ':') && *host != '[';
    return mem_printf(v6 ? "[%s]:%u" : "%s:%u", host, port);
}

static char *published(const struct cJSON *container, unsigned port,
                       const struct labelled_place *place, char **reterr)
{
    for (const struct cJSON *p = json_first(json_get(container, "ports")); p; p = json_next(p)) {
        if ((unsigned)json_int(p, "port", 0) == port && json_int(p, "host_port", 0)) {
            const char *ip = json_str(p, "host_ip", "");
            bool any = !*ip || str_same(ip, "0.0.0.0") || str_same(ip, "::");
            return address_text(any ? place->host : ip, (unsigned)json_int(p, "host_port", 0));
        }
    }
    *reterr = mem_printf("port %u is not published on the host, which docker.publish = true of the "
                         "configuration needs: start it with -p %u",
                         port, port);
    return NULL;
}

static bool has_address(const struct cJSON *network)
{
    return *json_str(network, "ipv4", "") || *json_str(network, "ipv6", "");
}

static const struct cJSON *network_named(const struct cJSON *networks, const char *name)
{
    const struct cJSON *n = json_first(networks);
    while (n && !str_same(json_str(n, "name", ""), name)) {
        n = json_next(n);
    }
    return n;
}

static bool on_host(const struct cJSON *container)
{
    return str_same(json_str(container, "network_mode", ""), "host");
}

/* The network that a label or the configuration names, by compose's short word too. */
static const struct cJSON *named_network(const struct cJSON *container,
                                         const struct cJSON *networks, const char *name,
                                         char **reterr)
{
    char *whole = mem_printf("%s_%s", json_str(container, "project", ""), name);
    const struct cJSON *n = network_named(networks, name);
    n = n ? n : network_named(networks, whole);
    mem_free(whole);
    if (n && has_address(n)) {
        return n;
    }
    char *names = listed(networks, "name");
    *reterr = n ? mem_printf("has no address on network %s", name)
                : mem_printf("is not on network %s: it is on %s", name, *names ? names : "none");
    mem_free(names);
    return NULL;
}

/* The only one that can be meant. */
static const struct cJSON *only_network(const struct cJSON *networks, const struct cJSON *self,
                                        const struct labelled_place *place, char **reterr)
{
    struct cJSON *fit = json_array();
    for (const struct cJSON *n = json_first(networks); n; n = json_next(n)) {
        const char *name = json_str(n, "name", "");
        if (has_address(n) && (!self || network_named(json_get(self, "networks"), name))) {
            json_set(fit, NULL, json_copy(n));
        }
    }
    const struct cJSON *only = NULL;
    char *names = listed(json_count(fit) ? fit : networks, "name");
    if (json_count(fit) == 1) {
        only = network_named(networks, names);
    } else if (json_count(fit)) {
        const char *first = json_str(json_first(fit), "name", "");
        *reterr =
            mem_printf("is on several networks (%s): write %s.network=%s, or another of them; "
                       "or labels = { network = \"%s\" } into the configuration, for all",
                       names, place->prefix, first, first);
    } else if (self && json_first(networks)) {
        *reterr =
            mem_printf("shares no network with tidegate's own container: it is on %s; connect "
                       "one of them to the other's",
                       names);
    } else {
        *reterr = mem_copy("has no network: nothing can be sent to it");
    }
    mem_free(names);
    json_free(fit);
    return only;
}

char *labelled_address(const struct cJSON *containers, const struct cJSON *container,
                       const struct cJSON *set, const struct labelled_place *place,
                       const char **ret_network, char **reterr)
{
    const struct cJSON *self = *place->self ? labelled_find(containers, place->self) : NULL;
    const char *mode = json_str(container, "network_mode", "");
    const struct cJSON *of = container; /* whose network it lives in */
    *ret_network = "";
    self = self && !on_host(self) ? self : NULL;
    unsigned port = choose_port(container, set, place, reterr);
    if (!port) {
        return NULL;
    }
    if (!strncmp(mode, "container:", strlen("container:"))) {
        of = labelled_find(containers, mode + strlen("container:"));
    }
    if (!of) {
        *reterr = mem_printf("lives in the network of %s, which is gone", mode);
        return NULL;
    }
    if (on_host(of) && self) {
        *reterr = mem_copy("shares the host's network, which tidegate's own container does not "
                           "reach: start one of them otherwise");
        return NULL;
    }
    if (on_host(of)) {
        *ret_network = "host";
        return address_text(place->host, port);
    }
    if (place->publish) {
        return published(of, port, place, reterr);
    }
    const char *name = json_str(set, "network", place->network);
    const struct cJSON *networks = json_get(of, "networks");
    const struct cJSON *n = *name ? named_network(of, networks, name, reterr)
                                  : only_network(networks, self, place, reterr);
    if (!n) {
        return NULL;
    }
    *ret_network = json_str(n, "name", "");
    const char *ip = json_str(n, "ipv4", "");
    return address_text(*ip ? ip : json_str(n, "ipv6", ""), port);
}
