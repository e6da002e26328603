/* roster.c: which backends get traffic, and which row of the board each has.
 *
 * Invariants: a row is given out again only when all workers have a roster without its last owner
 * and none of them has a request under way on it. A roster is sent only when it differs from the
 * last. It names the backends that left because they are down (`lost`), for what waits for these need
 * not wait. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

bool fleet_slot_take(struct instance *i)
{
    struct fleet *f = i->fleet;
    for (unsigned at = 0; at < LIMIT_BACKENDS; at++) {
        struct slot *slot = &f->slots[at];
        if (slot->taken || slot->free_version > f->roster_acked ||
            (slot->free_version && board_in_flight(f->board, at) > 0)) {
            continue;
        }
        board_slot_reset(f->board, at);
        slot->taken = true;
        i->slot = (int)at;
        i->seen_requests = i->seen_failures = 0;
        mem_release(&i->seen_buckets);
        return true;
    }
    return false;
}

void fleet_slot_release(struct instance *i)
{
    struct fleet *f = i->fleet;
    if (i->slot == FLEET_NO_SLOT) {
        return;
    }
    struct slot *slot = &f->slots[i->slot];
    slot->taken = false;
    slot->free_version = f->roster_version + f->roster_due;
    i->slot = FLEET_NO_SLOT;
}

/* ---- What is so ---- */

struct making {
    struct fleet_roster_service *services;
    struct fleet_backend *backends;
    size_t service_count, count;
};

/* A backend's own number when the configuration gives one, else the service's. */
static double number(const struct instance *i, const char *key, double otherwise)
{
    return i->backend ? json_num(i->backend, key, otherwise) : otherwise;
}

static struct fleet_backend backend_of(const struct instance *i)
{
    const struct service *s = i->service;
    return (struct fleet_backend){
        .id = i->id,
        .address = i->address,
        .slot = i->slot,
        .weight = i->weight > 0 ? i->weight : number(i, "weight", s->spec.weight),
        .max_connections = number(i, "max_connections", s->spec.max_connections),
        .capacity = number(i, "capacity", s->spec.capacity),
        .tags = i->backend ? json_get(i->backend, "tags") : fleet_spec_tags(s->config, i->place),
        .draining = i->state == FLEET_DRAINING || i->drained,
        .joined_ms = i->up_ms,
    };
}

/* Its backends, and who is lost: those that vanished, which are told once, and those that are down. */
static void add_service(struct making *to, struct service *s)
{
    struct cJSON *lost = s->vanished;
    size_t first = to->count;
    s->vanished = NULL;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (fleet_instance_in_traffic(i)) {
            to->backends[to->count++] = backend_of(i);
        } else if (i->state == FLEET_DOWN) {
            lost = lost ? lost : json_array();
            json_add_str(lost, i->id);
        }
    }
    if (s->gone && to->count == first) {
        json_free(lost);
        return;
    }
    to->services[to->service_count++] = (struct fleet_roster_service){
        .name = s->name, .first = first, .count = to->count - first, .lost = lost};
}

static struct making make(struct fleet *f)
{
    size_t services = 0, instances = 0;
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        const struct service *s = list_owner(n, struct service, node);
        services++;
        for (struct list *m = s->instances.next; m != &s->instances; m = m->next) {
            instances++;
        }
    }
    struct making made = {
        .services = mem_array(services + 1, sizeof *made.services),
        .backends = mem_array(instances + 1, sizeof *made.backends),
    };
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        add_service(&made, list_owner(n, struct service, node));
    }
    return made;
}

static void unmake(struct making *made)
{
    for (size_t k = 0; k < made->service_count; k++) {
        json_free((struct cJSON *)made->services[k].lost);
    }
    mem_free(made->services);
    mem_free(made->backends);
}

/* ---- Whether it is another one ---- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_more(hash, text, strlen(text) + 1);
}

static uint64_t hash_backend(uint64_t hash, const struct fleet_backend *b)
{
    const double numbers[] = {b->slot, b->weight, b->max_connections, b->capacity};
    const uint64_t rest[] = {json_first(b->tags) ? fleet_spec_hash(b->tags) : 0, b->draining,
                             b->joined_ms};
    hash = hash_text(hash_text(hash, b->id), b->address);
    return hash_more(hash_more(hash, numbers, sizeof numbers), rest, sizeof rest);
}

static uint64_t hash_of(const struct making *made)
{
    uint64_t hash = 0;
    for (size_t k = 0; k < made->service_count; k++) {
        const struct fleet_roster_service *s = &made->services[k];
        const uint64_t rest[] = {s->count, fleet_spec_hash(s->lost)};
        hash = hash_more(hash_text(hash, s->name), rest, sizeof rest);
        for (size_t i = s->first; i < s->first + s->count; i++) {
            hash = hash_backend(hash, &made->backends[i]);
        }
    }
    return hash;
}

/* ---- As JSON ---- */

static struct cJSON *backend_json(const struct fleet_backend *from)
{
    struct cJSON *b = json_object();
    json_set_str(b, "id", from->id);
    json_set_num(b, "slot", from->slot);
    json_set_str(b, "address", from->address);
    json_set_num(b, "weight", from->weight);
    json_set_num(b, "max_connections", from->max_connections);
    json_set_num(b, "capacity", from->capacity);
    json_set(b, "tags", from->tags ? json_copy(from->tags) : json_array());
    json_set_bool(b, "draining", from->draining);
    json_set_num(b, "joined_ms", (double)from->joined_ms);
    return b;
}

char *fleet_roster_text(const struct fleet_roster *roster)
{
    struct cJSON *whole = json_object(), *services = json_array();
    json_set_num(whole, "version", (double)roster->version);
    for (size_t k = 0; k < roster->service_count; k++) {
        const struct fleet_roster_service *s = &roster->services[k];
        struct cJSON *service = json_object(), *backends = json_array();
        for (size_t i = s->first; i < s->first + s->count; i++) {
            json_set(backends, NULL, backend_json(&roster->backends[i]));
        }
        json_set_str(service, "name", s->name);
        json_set(service, "backends", backends);
        if (s->lost) {
            json_set(service, "lost", json_copy(s->lost));
        }
        json_set(services, NULL, service);
    }
    json_set(whole, "services", services);
    char *text = json_text(whole);
    json_free(whole);
    return text;
}

/* ---- Sending ---- */

/* Drains that this roster is the first to carry (or that are out of it) wait for its version. */
static void mark_drains(struct fleet *f)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        for (struct list *m = s->instances.next; m != &s->instances; m = m->next) {
            struct instance *i = list_owner(m, struct instance, node);
            if (i->state == FLEET_DRAINING && !i->drain_version) {
                i->drain_version = f->roster_version;
            }
        }
    }
}

void fleet_roster_send(struct fleet *f)
{
    f->roster_due = false;
    struct making made = make(f);
    uint64_t hash = hash_of(&made);
    if (hash != f->roster_hash || !f->roster_version) {
        f->roster_hash = hash;
        const struct fleet_roster roster = {
            .version = ++f->roster_version,
            .services = made.services,
            .backends = made.backends,
            .service_count = made.service_count,
        };
        mark_drains(f);
        f->ports.roster(f->ports.arg, &roster);
    } else {
        mark_drains(f);
    }
    unmake(&made);
}
