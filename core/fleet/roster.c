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

/* A backend's own number when the configuration gives one, else the service's. */
static void put_number(struct cJSON *to, const struct instance *i, const char *key,
                       double otherwise)
{
    json_set_num(to, key, json_num(i->backend, key, otherwise));
}

static struct cJSON *backend_json(const struct instance *i)
{
    const struct service *s = i->service;
    struct cJSON *b = json_object();
    json_set_str(b, "id", i->id);
    json_set_num(b, "slot", i->slot);
    json_set_str(b, "address", i->address);
    put_number(b, i, "weight", s->spec.weight);
    if (i->weight > 0) {
        json_set_num(b, "weight", i->weight);
    }
    put_number(b, i, "max_connections", s->spec.max_connections);
    put_number(b, i, "capacity", s->spec.capacity);
    const struct cJSON *tags =
        i->backend ? json_get(i->backend, "tags") : fleet_spec_tags(s->config, i->place);
    json_set(b, "tags", tags ? json_copy(tags) : json_array());
    json_set_bool(b, "draining", i->state == FLEET_DRAINING || i->drained);
    json_set_num(b, "joined_ms", (double)i->up_ms);
    return b;
}

static struct cJSON *services_json(struct fleet *f)
{
    struct cJSON *services = json_array();
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        struct cJSON *backends = json_array(), *lost = s->vanished;
        s->vanished = NULL;
        for (struct list *m = s->instances.next; m != &s->instances; m = m->next) {
            const struct instance *i = list_owner(m, struct instance, node);
            if (fleet_instance_in_traffic(i)) {
                json_set(backends, NULL, backend_json(i));
            } else if (i->state == FLEET_DOWN) {
                lost = lost ? lost : json_array();
                json_add_str(lost, i->id);
            }
        }
        if (s->gone && !json_first(backends)) {
            json_free(backends);
            json_free(lost);
            continue;
        }
        struct cJSON *service = json_object();
        json_set_str(service, "name", s->name);
        json_set(service, "backends", backends);
        if (lost) {
            json_set(service, "lost", lost);
        }
        json_set(services, NULL, service);
    }
    return services;
}

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
    struct cJSON *services = services_json(f);
    char *text = json_text(services);
    json_free(services);
    uint64_t hash = hash_bytes(text, strlen(text));
    bool changed = hash != f->roster_hash || !f->roster_version;
    if (changed) {
        f->roster_hash = hash;
        f->roster_version++;
        mark_drains(f);
        char *roster = mem_printf("{\"version\":%llu,\"services\":%s}",
                                  (unsigned long long)f->roster_version, text);
        f->ports.roster(f->ports.arg, f->roster_version, roster);
        mem_free(roster);
    } else {
        mark_drains(f);
    }
    mem_free(text);
}
