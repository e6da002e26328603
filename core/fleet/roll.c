/* roll.c: who counts as what when a service is compared with what it should be, which place a new
 * instance takes, and who has to go first.
 *
 *   current  alive and of the wanted generation and specification
 *   old      alive, but to be replaced: an older generation, doomed by an operator, unhealthy too
 * long
 *
 * A new instance takes the place of the one that it replaces, so that places stay 1 .. n. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"

bool fleet_alive(const struct instance *i)
{
    switch (i->state) {
    case FLEET_CREATING:
    case FLEET_STARTING:
    case FLEET_WAITING:
    case FLEET_UP:
    case FLEET_DOWN:
        return true;
    case FLEET_NEW:
    case FLEET_DRAINING:
    case FLEET_FAILED:
    case FLEET_STOPPING:
    case FLEET_REMOVING:
    case FLEET_GONE:
    case FLEET_STATES:
        break;
    }
    return false;
}

bool fleet_launching(const struct instance *i)
{
    return i->state == FLEET_CREATING || i->state == FLEET_STARTING ||
           (i->state == FLEET_WAITING && !i->adopted);
}

/* Unhealthy for so long that it is given up. */
static bool lost(const struct instance *i)
{
    return i->state == FLEET_DOWN && i->fleet->now_ms - i->since_ms >= fleet_check_patience_ms(i);
}

bool fleet_current(const struct instance *i)
{
    const struct service *s = i->service;
    return fleet_alive(i) && !i->backend && !i->doomed && i->generation == s->generation &&
           !memcmp(i->spec_hash, s->spec.hash, sizeof s->spec.hash) && !lost(i);
}

void fleet_census(const struct service *s, struct census *ret_census)
{
    struct census c = {0};
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (i->backend && !s->spec.is_static) {
            continue;
        }
        if (!fleet_alive(i)) {
            c.leaving++;
        } else if (fleet_current(i)) {
            c.current++;
            c.current_up += i->state == FLEET_UP;
            c.launching += fleet_launching(i);
        } else {
            c.old++;
            c.old_up += i->state == FLEET_UP;
        }
    }
    *ret_census = c;
}

uint32_t fleet_free_place(const struct service *s)
{
    bool taken[LIMIT_INSTANCES + 2] = {false};
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (fleet_current(i) && i->place <= LIMIT_INSTANCES) {
            taken[i->place] = true;
        }
    }
    uint32_t place = 1;
    while (place <= LIMIT_INSTANCES && taken[place]) {
        place++;
    }
    return place;
}

/* Whether another one that is current and up has its place. */
static bool succeeded(const struct instance *i)
{
    const struct list *head = &i->service->instances;
    for (struct list *n = head->next; n != head; n = n->next) {
        const struct instance *other = list_owner(n, struct instance, node);
        if (other != i && other->place == i->place && other->state == FLEET_UP &&
            fleet_current(other)) {
            return true;
        }
    }
    return false;
}

/* 0 goes first. */
static unsigned rank(const struct instance *i)
{
    if (fleet_launching(i)) {
        return 0;
    }
    if (i->state != FLEET_UP) {
        return 1;
    }
    return i->drained ? 2 : succeeded(i) ? 3 : 4;
}

struct instance *fleet_old_victim(const struct service *s)
{
    struct instance *victim = NULL;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        struct instance *i = list_owner(n, struct instance, node);
        if (!fleet_alive(i) || fleet_current(i) || i->backend) {
            continue;
        }
        if (!victim || rank(i) < rank(victim) ||
            (rank(i) == rank(victim) && i->serial < victim->serial)) {
            victim = i;
        }
    }
    return victim;
}

static uint64_t load_of(const struct instance *i)
{
    return i->slot == FLEET_NO_SLOT ? 0 : board_in_flight(i->fleet->board, (unsigned)i->slot);
}

static bool goes_before(const struct instance *a, const struct instance *b)
{
    if (rank(a) != rank(b)) {
        return rank(a) < rank(b);
    }
    uint64_t load_a = load_of(a);
    uint64_t load_b = load_of(b);
    return load_a != load_b ? load_a < load_b : a->serial > b->serial;
}

struct instance *fleet_extra_victim(const struct service *s)
{
    struct instance *victim = NULL;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        struct instance *i = list_owner(n, struct instance, node);
        if (fleet_current(i) && (!victim || goes_before(i, victim))) {
            victim = i;
        }
    }
    return victim;
}
