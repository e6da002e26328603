/* certificates_told.c: what operators, alerts and metrics are told of the certificates in force. Never keys. */
#include <string.h>
#include <strings.h>

#include "app/certificates.h"
#include "app/certificates_master.h"
#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/certificate.h"

/* One that is shown, whoever it is from. */
struct shown {
    const struct certificates_pair *pair;         /* of a file, or */
    const struct certificates_provided *provided; /* of an authority */
    const struct certificate *c;
};

typedef void each_fn(void *arg, const struct shown *shown);

/* All but those of challenges, which last for minutes. */
static void each(const struct master *m, each_fn *fn, void *arg)
{
    const struct certificates *k = m->certificates;
    for (const struct certificates_pair *p = k->set ? k->set->pairs : NULL; p; p = p->next) {
        fn(arg, &(struct shown){p, NULL, p->c});
    }
    for (const struct certificates_provided *p = k->provided; p; p = p->next) {
        if (!p->alpn) {
            fn(arg, &(struct shown){NULL, p, p->c});
        }
    }
}

static const char *name_of(const struct certificate *c)
{
    return c->name_count ? c->names[0] : c->subject;
}

/* Of those that somebody has to look after, the one that expires first. */
struct first {
    const struct master *master;
    struct shown shown;
};

/* One of an authority that is asked for again in time is nobody's business, however soon it expires. */
static bool is_renewed(const struct master *m, const struct shown *shown)
{
    return shown->provided && shown->c->not_after_s > (int64_t)(clock_wall_ms() / 1000) &&
           !issuing_fails(m, shown->provided->id);
}

static void keep_first(void *arg, const struct shown *shown)
{
    struct first *first = arg;
    const struct certificate *c = first->shown.c;
    if ((!c || shown->c->not_after_s < c->not_after_s) && !is_renewed(first->master, shown)) {
        first->shown = *shown;
    }
}

bool certificates_days_left(const struct master *m, double *ret_days)
{
    struct first first = {m, {0}};
    const struct certificate *c;
    const char *error;
    each(m, keep_first, &first);
    c = first.shown.c;
    if (c) {
        *ret_days = ((double)c->not_after_s - (double)clock_wall_ms() / 1000) / 86400;
    }
    if (issuing_missing(m, &error) && (!c || *ret_days > 0)) {
        *ret_days = 0; /* clients are refused as with one that has expired */
        return true;
    }
    return c != NULL;
}

static void put_time(struct cJSON *to, const char *key, int64_t seconds)
{
    char text[32]; /* as clock_iso writes it */
    clock_iso((uint64_t)seconds * 1000, text, sizeof text);
    json_set_str(to, key, text);
}

char *certificates_words(const struct master *m)
{
    struct first first = {m, {0}};
    const struct shown *s = &first.shown;
    char when[32]; /* as clock_iso writes it */
    const char *error, *missing = issuing_missing(m, &error);
    each(m, keep_first, &first);
    bool over = s->c && (uint64_t)s->c->not_after_s * 1000 <= clock_wall_ms();
    if (missing && !over) {
        return mem_printf("of %s (acme), which could not be got: %s", missing, error);
    }
    if (!s->c) {
        return NULL;
    }
    clock_iso((uint64_t)s->c->not_after_s * 1000, when, sizeof when);
    return mem_printf("of %s (%s), which expire%s on %.10s", name_of(s->c),
                      s->pair ? s->pair->file : s->provided->source, over ? "d" : "s", when);
}

static void write_one(void *arg, const struct shown *shown)
{
    watch_certificate(arg, name_of(shown->c),
                      shown->pair ? shown->pair->file : shown->provided->source,
                      (double)shown->c->not_after_s);
}

void certificates_metrics(const struct master *m, struct families *f)
{
    each(m, write_one, f);
}

/* ---- All of them ------------------------------------------------------------------------- */

static bool shows(const struct certificates_listener *li, const struct shown *shown)
{
    for (size_t i = 0; i < li->count; i++) {
        const struct certificates_entry *e = &li->entries[i];
        if (shown->pair ? e->pair == shown->pair
                        : e->acme && !strcasecmp(e->acme, shown->provided->id)) {
            return true;
        }
    }
    return false;
}

struct telling_all {
    const struct master *master;
    struct cJSON *list;
};

static void tell_one(void *arg, const struct shown *shown)
{
    const struct telling_all *t = arg;
    const struct certificate *c = shown->c;
    struct cJSON *one = json_object(), *names = json_array(), *listeners = json_array();
    for (size_t i = 0; i < c->name_count; i++) {
        json_add_str(names, c->names[i]);
    }
    json_set(one, "names", names);
    json_set_str(one, "issuer", c->issuer);
    json_set_str(one, "serial", c->serial);
    json_set_str(one, "key_type", c->key_type);
    put_time(one, "not_before", c->not_before_s);
    put_time(one, "not_after", c->not_after_s);
    json_set_num(one, "not_after_ms", (double)c->not_after_s * 1000);
    if (shown->pair) {
        json_set_str(one, "file", shown->pair->file);
        json_set_str(one, "key_file", shown->pair->key_file);
        json_set_str(one, "at", shown->pair->at);
    } else {
        json_set_str(one, "source", shown->provided->source);
    }
    if (c->ocsp && c->ocsp_until_s) {
        put_time(one, "ocsp_until", c->ocsp_until_s);
    }
    if (shown->pair && shown->pair->old) {
        json_set_bool(one, "kept", true);
    }
    const struct certificates_listener *li = t->master->certificates->set->listeners;
    for (; li; li = li->next) {
        if (shows(li, shown)) {
            json_add_str(listeners, li->listen);
        }
    }
    json_set(one, "listeners", listeners);
    json_set(t->list, NULL, one);
}

struct cJSON *certificates_status(const struct master *m)
{
    struct telling_all t = {m, json_array()};
    if (m->certificates->set) {
        each(m, tell_one, &t);
    }
    return t.list;
}
