/* roster.c: which backends each service has.
 *
 * Invariants: a roster is checked whole before anything of it is applied. A backend that stays
 * keeps its connections and numbers; one that leaves, or comes back with another address or slot,
 * loses its idle connections at once and its memory when its last exchange has ended. One that is
 * drained may finish what it has; one that is lost (it hangs, its host is gone) would never, and a
 * silent connection tells nobody: what may be repeated goes elsewhere at once. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"

struct service *proxy_service_of(struct proxy *p, const char *name)
{
    struct service *service = map_get(&p->services, name);
    if (!service) {
        service = mem_new(sizeof *service);
        service->name = mem_copy(name);
        list_init(&service->routes);
        (void)map_put(&p->services, name, service);
    }
    return service;
}

bool proxy_service_ready(const struct service *service)
{
    for (uint32_t i = 0; i < service->count; i++) {
        if (!service->backends[i]->draining) {
            return true;
        }
    }
    return false;
}

void proxy_backend_settle(struct proxy *p, struct backend *b)
{
    (void)p;
    if (!b->service && !b->attempts && !b->connections) {
        mem_free(b->id);
        mem_free(b->tags);
        mem_free(b);
    }
}

static void leave(struct proxy *p, struct backend *b)
{
    proxy_past_leave(p, b);
    b->service = NULL;
    b->attempts++; /* until its idle connections are gone */
    proxy_upstream_close_idle(b);
    b->attempts--;
    proxy_backend_settle(p, b);
}

static bool backend_valid(const struct cJSON *json)
{
    struct net_addr addr;
    double slot = json_num(json, "slot", -1);
    return json_str(json, "id", "")[0] && slot >= 0 && slot < LIMIT_BACKENDS &&
           !net_addr_parse(json_str(json, "address", ""), &addr);
}

static bool roster_valid(const struct cJSON *roster)
{
    if (!json_get(roster, "services") || json_num(roster, "version", -1) < 0) {
        return false;
    }
    for (struct cJSON *s = json_first(json_get(roster, "services")); s; s = json_next(s)) {
        if (!json_str(s, "name", "")[0]) {
            return false;
        }
        for (struct cJSON *b = json_first(json_get(s, "backends")); b; b = json_next(b)) {
            if (!backend_valid(b)) {
                return false;
            }
        }
    }
    return true;
}

static struct backend *find(const struct service *service, const char *id)
{
    for (uint32_t i = 0; i < service->count; i++) {
        if (!strcmp(service->backends[i]->id, id)) {
            return service->backends[i];
        }
    }
    return NULL;
}

static struct backend *new_backend(struct proxy *p, const char *id, const struct net_addr *addr,
                                   uint32_t slot)
{
    struct backend *b = mem_new(sizeof *b);
    b->id = mem_copy(id);
    b->hash = proxy_hash(str_of(id));
    b->addr = *addr;
    b->slot = slot;
    b->serial = ++p->backend_serial;
    b->row = board_row(p->options.board, p->options.worker, slot);
    b->circuit = board_circuit(p->options.board, slot);
    list_init(&b->idle);
    list_init(&b->links);
    return b;
}

/* The living backend that this entry means, or a new one. */
static struct backend *take(struct proxy *p, const struct service *service,
                            const struct cJSON *json)
{
    struct net_addr addr;
    const char *id = json_str(json, "id", "");
    uint32_t slot = (uint32_t)json_num(json, "slot", 0);
    must(!net_addr_parse(json_str(json, "address", ""), &addr));
    struct backend *b = find(service, id);
    if (!b || b->seen || b->slot != slot || strcmp(b->addr.text, addr.text) != 0) {
        b = new_backend(p, id, &addr, slot);
    }
    b->seen = true;
    b->weight = json_num(json, "weight", 1);
    b->max_connections = json_num(json, "max_connections", 0);
    b->capacity = json_num(json, "capacity", 0);
    b->draining = json_bool(json, "draining", false);
    proxy_view_backend(b, json_get(json, "tags"));
    b->joined_ms = (uint64_t)json_num(json, "joined_ms", 0);
    return b;
}

static bool note_lost(const struct service *service, const struct cJSON *ids)
{
    bool some = false;
    for (struct cJSON *id = json_first(ids); id; id = json_next(id)) {
        struct backend *b = find(service, json_value_str(id, ""));
        if (b) {
            b->lost = some = true;
        }
    }
    return some;
}

/* Those that wait may ask all backends of the new roster; those on a lost one go elsewhere. */
static void move_on(struct proxy *p)
{
    struct list todo; /* others may end meanwhile, to make room */
    list_init(&todo);
    while (!list_empty(&p->sessions)) {
        struct list *node = p->sessions.next;
        list_remove(node);
        list_append(&todo, node);
    }
    while (!list_empty(&todo)) {
        struct session *s = list_owner(todo.next, struct session, node);
        list_remove(&s->node);
        list_append(&p->sessions, &s->node);
        if (s->ex && s->ex->state == EXCHANGE_QUEUED) {
            s->ex->tries = 0;
        } else if (s->ex && s->ex->backend && s->ex->backend->lost) {
            proxy_attempt_lost(s->ex);
        }
    }
}

/* `backends` may be NULL: none. */
static void apply(struct proxy *p, struct service *service, const struct cJSON *backends)
{
    size_t count = json_count(backends);
    struct backend **all = mem_array(count ? count : 1, sizeof(struct backend *));
    uint32_t at = 0;
    for (struct cJSON *json = json_first(backends); json; json = json_next(json)) {
        all[at++] = take(p, service, json);
    }
    for (uint32_t i = 0; i < service->count; i++) {
        if (!service->backends[i]->seen) {
            leave(p, service->backends[i]);
        }
    }
    mem_free(service->backends);
    service->backends = all;
    service->count = at;
    for (uint32_t i = 0; i < at; i++) {
        struct backend *b = all[i];
        b->service = service;
        b->index = i;
        b->seen = false;
        if (b->draining) {
            proxy_upstream_close_idle(b);
        }
    }
    proxy_view_tags(p, service);
    proxy_route_fill(service);
}

int proxy_roster(struct proxy *p, const struct cJSON *roster)
{
    if (!roster_valid(roster)) {
        return -EINVAL;
    }
    size_t at = 0;
    bool lost = false;
    const char *name;
    void *value;
    while (map_next(&p->services, &at, &name, &value)) {
        bool named = false;
        for (struct cJSON *s = json_first(json_get(roster, "services")); s; s = json_next(s)) {
            named = named || !strcmp(json_str(s, "name", ""), name);
        }
        if (!named) {
            apply(p, value, NULL);
        }
    }
    for (struct cJSON *s = json_first(json_get(roster, "services")); s; s = json_next(s)) {
        struct service *service = proxy_service_of(p, json_str(s, "name", ""));
        lost |= note_lost(service, json_get(s, "lost"));
        apply(p, service, json_get(s, "backends"));
    }
    if (lost || !list_empty(&p->queues)) {
        move_on(p);
    }
    p->queue_due = true;
    board_set(&p->numbers->roster_version, (uint64_t)json_num(roster, "version", 0));
    return 0;
}

void proxy_roster_free(struct proxy *p)
{
    size_t at = 0;
    const char *name;
    void *value;
    while (map_next(&p->services, &at, &name, &value)) {
        struct service *service = value;
        for (uint32_t i = 0; i < service->count; i++) {
            leave(p, service->backends[i]);
        }
        mem_free(service->backends);
        mem_free(service->name);
        mem_free(service);
    }
    map_free(&p->services);
}
