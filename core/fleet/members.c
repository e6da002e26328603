/* members.c: backends of services from labels: containers that people start and end themselves.
 *
 * Called by: who follows these containers (app/labels.c), whenever one comes, goes or changes.
 * Invariants: the service's copy of its configuration has them as its backends, so everything else needs
 * to know nothing of it; a reload leaves them as they are. Their health is their engine's word where they
 * have a check of their own, and labels say nothing else; then it comes with the list, as nobody asks. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

bool fleet_labelled(const struct cJSON *config)
{
    return json_bool(config, "labelled", false);
}

static enum engine_health health_of(const struct cJSON *backend)
{
    const char *name = json_str(backend, "health", "none");
    for (int h = ENGINE_HEALTH_NONE; h < ENGINE_HEALTHS; h++) {
        if (str_same(engine_health_name((enum engine_health)h), name)) {
            return (enum engine_health)h;
        }
    }
    return ENGINE_HEALTH_NONE;
}

/* It was started anew, or joined another network, and nobody saw it leave. */
static void move(struct instance *i, const char *address)
{
    bool alive = i->state == FLEET_UP || i->state == FLEET_DOWN || i->state == FLEET_WAITING;
    char *why = mem_printf("is now at %s", address);
    fleet_check_stop(i);
    if (i->state == FLEET_UP) {
        fleet_instance_down(i, why);
    }
    mem_free(i->address);
    i->address = mem_copy(address);
    if (alive) {
        fleet_check_start(i);
    }
    mem_free(why);
}

static void take_health(struct instance *i)
{
    enum engine_health health = health_of(i->backend);
    bool news = health != i->health;
    i->health = health;
    i->engine_state = ENGINE_RUNNING;
    if (!news || i->state == FLEET_NEW || i->state == FLEET_DRAINING) {
        return;
    }
    fleet_check_start(i);
    if (i->state == FLEET_UP && i->check == FLEET_CHECK_ENGINE && health != ENGINE_HEALTHY) {
        fleet_instance_down(i, "unhealthy by the engine's health check");
    }
    fleet_check_step(i);
}

void fleet_member_told(struct instance *i)
{
    const char *address = json_str(i->backend, "address", "");
    if (!fleet_labelled(i->service->config)) {
        return;
    }
    if (strcmp(address, i->address) != 0) {
        move(i, address);
    }
    take_health(i);
}

static struct service *labelled(struct fleet *f, const char *name)
{
    struct service *s = fleet_service_find(f, name);
    return s && !s->gone && fleet_labelled(s->config) ? s : NULL;
}

void fleet_members(struct fleet *f, const char *service, struct cJSON *takes, uint64_t now_ms)
{
    struct service *s = labelled(f, service);
    f->now_ms = now_ms;
    if (!s) {
        json_free(takes);
        return;
    }
    json_set(s->config, "backends", takes);
    fleet_service_apply_backends(s);
    f->roster_due = true;
    fleet_service_reconcile(s);
    fleet_settle(f);
}

void fleet_member_lost(struct fleet *f, const char *service, const char *id, const char *why,
                       uint64_t now_ms)
{
    struct service *s = labelled(f, service);
    char *whole = mem_printf("%s@%s", service, id);
    struct instance *i = s ? map_get(&f->instances, whole) : NULL;
    f->now_ms = now_ms;
    if (i && i->service == s) {
        bool asked = fleet_instance_in_traffic(i);
        if (i->state == FLEET_UP) {
            fleet_instance_down(i, why);
        }
        if (asked) {
            s->vanished = s->vanished ? s->vanished : json_array();
            json_add_str(s->vanished, i->id);
        }
        fleet_instance_to(i, FLEET_GONE, why);
        f->roster_due = true;
        fleet_settle(f);
    }
    mem_free(whole);
}
