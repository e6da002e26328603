/* backends.c: backends of services that run elsewhere, added, removed and weighted by operators.
 *
 * Invariants: the service's copy of its configuration has what was added and lacks what was removed, so
 * everything else needs to know nothing of it. It lasts until a configuration comes whose own
 * list of backends differs from the one before. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

static struct cJSON *answered(bool ok, const char *key, const char *text)
{
    struct cJSON *answer = json_object();
    json_set_bool(answer, "ok", ok);
    json_set_str(answer, key, text);
    return answer;
}

/* Takes `error`. */
static struct cJSON *refuse(char *error)
{
    struct cJSON *answer = answered(false, "error", error);
    mem_free(error);
    return answer;
}

static void tell(struct service *s, const char *what, const char *address, const char *who)
{
    char *detail = mem_printf("%s by %s", address, who);
    fleet_tell(s->fleet, "service", s, NULL, what, detail, false);
    mem_free(detail);
}

/* A copy of the list without that address; *ret_found: whether it had it. */
static struct cJSON *list_without(const struct service *s, const char *address, bool *ret_found)
{
    struct cJSON *list = json_array();
    *ret_found = false;
    for (struct cJSON *b = json_first(json_get(s->config, "backends")); b; b = json_next(b)) {
        if (!strcmp(json_str(b, "address", ""), address)) {
            *ret_found = true;
        } else {
            json_set(list, NULL, json_copy(b));
        }
    }
    return list;
}

/* Takes `list`. */
static struct cJSON *take_list(struct service *s, struct cJSON *list, const char *address)
{
    struct fleet *f = s->fleet;
    json_set(s->config, "backends", list);
    s->edited = true;
    fleet_keep_backends(s);
    fleet_service_apply_backends(s);
    f->roster_due = true;
    fleet_service_reconcile(s);
    fleet_settle(f);
    struct cJSON *answer = answered(true, "service", s->name);
    json_set_str(answer, "backend", address);
    return answer;
}

struct cJSON *fleet_backend(struct fleet *f, const char *service, const char *address, bool add,
                            const char *who, uint64_t now_ms)
{
    struct service *s = service ? fleet_service_find(f, service) : NULL;
    bool found;
    f->now_ms = now_ms;
    if (!s || s->gone || !s->spec.is_static) {
        return refuse(mem_printf("%s is no service with backends: `tidegate status` lists them",
                                 service ? service : ""));
    }
    if (fleet_labelled(s->config)) {
        return refuse(mem_printf("%s comes from labels: start a container with the labels of %s, "
                                 "or stop one; `tidegate drain` takes one out of traffic",
                                 service, service));
    }
    struct cJSON *list = list_without(s, address, &found);
    if (add == found) {
        json_free(list);
        return refuse(
            mem_printf(add ? "%s has %s already" : "%s has no backend %s", service, address));
    }
    if (add) {
        struct cJSON *entry = json_object();
        json_set_str(entry, "address", address);
        json_set_num(entry, "weight", 1);
        json_set_num(entry, "max_connections", s->spec.max_connections);
        json_set_num(entry, "capacity", s->spec.capacity);
        json_set(entry, "tags", json_array());
        json_set(list, NULL, entry);
    }
    tell(s, add ? "backend added" : "backend removed", address, who);
    return take_list(s, list, address);
}

struct cJSON *fleet_weight(struct fleet *f, const char *backend, double weight, const char *who,
                           uint64_t now_ms)
{
    struct cJSON *ids = json_array();
    f->now_ms = now_ms;
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        for (struct list *m = s->instances.next; m != &s->instances; m = m->next) {
            struct instance *i = list_owner(m, struct instance, node);
            if (!strcmp(i->id, backend) || !strcmp(i->address, backend)) {
                json_add_str(ids, i->id);
                i->weight = weight;
                fleet_keep_weight(i);
                char *what = mem_printf("weight %g", weight);
                tell(s, what, i->id, who);
                mem_free(what);
            }
        }
    }
    if (!json_first(ids)) {
        json_free(ids);
        return refuse(mem_printf("no such backend: %s: give the id or address of one that "
                                 "`status` lists",
                                 backend));
    }
    struct cJSON *answer = answered(true, "backend", backend);
    json_set(answer, "backends", ids);
    json_set_num(answer, "weight", weight);
    f->roster_due = true;
    fleet_settle(f);
    return answer;
}
