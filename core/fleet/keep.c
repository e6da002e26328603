/* keep.c: what must outlive this process: holds, cooldowns, stops, drains, and what operators changed
 * of backends. Everything else is on the engine.
 *
 *   a change  --> ports.keep(kind, key, JSON or NULL)        a store's affair
 *   at start  --> fleet_restore --> fleet.kept --> taken by the service or instance that it is of
 *
 * Invariants: a document is there exactly while what it tells is in force; what nobody takes is
 * forgotten, at the first configuration, or (of instances) when the engine was listed. Times are
 * wall-clock in documents: an age goes on while nobody runs. Numbers of monotonic time may lie before
 * the boot of the host: they wrap, and differences of them are right. */
#include "fleet/fleet_private.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

static const char *const kinds[] = {"hold",   "cooldown", "stopped", "backend",
                                    "weight", "drain",    NULL};

const char *const *fleet_kept_kinds(void)
{
    return kinds;
}

/* ---- Keeping ---- */

static uint64_t wall_ms(const struct fleet *f)
{
    return f->ports.wall_ms(f->ports.arg);
}

/* Takes `document`; NULL forgets. */
static void put(struct fleet *f, const char *kind, const char *key, struct cJSON *document)
{
    char *text = document ? json_text(document) : NULL;
    f->ports.keep(f->ports.arg, kind, key, text);
    mem_free(text);
    json_free(document);
}

static void put_wall(const struct service *s, struct cJSON *to, const char *key, uint64_t at_ms)
{
    if (at_ms) {
        json_set_num(to, key, (double)(wall_ms(s->fleet) - (s->fleet->now_ms - at_ms)));
    }
}

static void keep_cooldown(const struct service *s)
{
    struct cJSON *d = json_object();
    put_wall(s, d, "up_wall_ms", s->changed_up_ms);
    put_wall(s, d, "down_wall_ms", s->changed_down_ms);
    put(s->fleet, "cooldown", s->name, d);
}

void fleet_keep_scale(struct service *s)
{
    struct fleet *f = s->fleet;
    if (s->changed_up_ms || s->changed_down_ms) {
        keep_cooldown(s);
    }
    if (s->manual_until_ms > f->now_ms) {
        uint64_t rest_ms = s->manual_until_ms - f->now_ms;
        struct cJSON *d = json_object();
        json_set_num(d, "instances", s->desired);
        json_set_num(d, "until_wall_ms", (double)(wall_ms(f) + rest_ms));
        json_set_num(d, "rest_ms", (double)rest_ms);
        put(f, "hold", s->name, d);
    } else if (s->manual_until_ms) {
        s->manual_until_ms = 0;
        put(f, "hold", s->name, NULL);
    }
}

void fleet_keep_stopped(const struct service *s)
{
    struct cJSON *d = NULL;
    if (s->stopped) {
        d = json_object();
        json_set_num(d, "instances", s->desired);
        json_set_num(d, "generation", s->generation_most);
    }
    put(s->fleet, "stopped", s->name, d);
}

static void drop_backends(const struct service *s)
{
    fleet_tell(s->fleet, "service", s, NULL, "backends are as configured again",
               "the configured list changed: what operators added or removed is dropped", false);
    put(s->fleet, "backend", s->name, NULL);
}

void fleet_keep_backends(const struct service *s)
{
    if (!s->edited) {
        drop_backends(s);
        return;
    }
    char list[17];
    struct cJSON *d = json_object();
    hash_hex(s->backends_hash, list);
    json_set_str(d, "list", list);
    json_set(d, "backends", json_copy(json_get(s->config, "backends")));
    put(s->fleet, "backend", s->name, d);
}

void fleet_keep_weight(const struct instance *i)
{
    struct cJSON *d = NULL;
    if (i->weight > 0) {
        char list[17];
        hash_hex(i->service->backends_hash, list);
        d = json_object();
        json_set_str(d, "service", i->service->name);
        json_set_str(d, "list", list);
        json_set_num(d, "weight", i->weight);
    }
    put(i->fleet, "weight", i->id, d);
}

void fleet_keep_drain(const struct instance *i)
{
    struct cJSON *d = NULL;
    if (i->drained) {
        d = json_object();
        json_set_str(d, "service", i->service->name);
    }
    put(i->fleet, "drain", i->id, d);
}

void fleet_keep_forget_instance(const struct instance *i)
{
    if (i->weight > 0) {
        put(i->fleet, "weight", i->id, NULL);
    }
    if (i->drained) {
        put(i->fleet, "drain", i->id, NULL);
    }
}

void fleet_keep_forget_service(const struct service *s)
{
    for (size_t n = 0; kinds[n]; n++) {
        if (strcmp(kinds[n], "weight") != 0 && strcmp(kinds[n], "drain") != 0) {
            put(s->fleet, kinds[n], s->name, NULL);
        }
    }
}

/* ---- Restoring ---- */

static char *map_key(const char *kind, const char *key)
{
    return mem_printf("%s\n%s", kind, key);
}

static void tell_damaged(struct fleet *f, const char *kind, const char *key)
{
    char *detail = mem_printf("%s of %s", kind, key);
    fleet_tell(f, "service", NULL, NULL, "what was kept cannot be understood: forgotten", detail,
               true);
    mem_free(detail);
    put(f, kind, key, NULL);
}

void fleet_restore(struct fleet *f, const char *kind, const char *key, const char *json)
{
    bool known = false;
    for (size_t n = 0; kinds[n]; n++) {
        known = known || !strcmp(kinds[n], kind);
    }
    struct cJSON *d = json_parse(json, strlen(json));
    if (!known || json_kind(d) != JSON_OBJECT) {
        json_free(d);
        tell_damaged(f, kind, key);
        return;
    }
    char *at = map_key(kind, key);
    json_free(map_put(&f->kept, at, d));
    mem_free(at);
}

static struct cJSON *take(struct fleet *f, const char *kind, const char *key)
{
    if (!f->kept.count) {
        return NULL;
    }
    char *at = map_key(kind, key);
    struct cJSON *d = map_remove(&f->kept, at);
    mem_free(at);
    return d;
}

/* A whole number from 0 to `most`; false: something else. */
static bool read_count(const struct cJSON *d, const char *key, double most, uint64_t *ret_count)
{
    double value = json_num(d, key, -1);
    if (!(value >= 0 && value <= most) || value != floor(value)) {
        return false;
    }
    *ret_count = (uint64_t)value;
    return true;
}

static const double latest_ms = 1e15; /* the year 33658 */

/* The monotonic time of a moment, 0 when it is not told; false: nonsense. */
static bool read_moment(const struct fleet *f, const struct cJSON *d, const char *key,
                        uint64_t *ret_at_ms)
{
    uint64_t at_ms, now_ms = wall_ms(f);
    if (!json_get(d, key)) {
        *ret_at_ms = 0;
        return true;
    }
    if (!read_count(d, key, latest_ms, &at_ms)) {
        return false;
    }
    uint64_t age_ms = at_ms < now_ms ? now_ms - at_ms : 0; /* the clock was set back */
    uint64_t moment_ms = f->now_ms - age_ms;
    *ret_at_ms = moment_ms ? moment_ms : 1; /* 0 is never */
    return true;
}

static void take_cooldown(struct service *s)
{
    uint64_t up_ms, down_ms;
    struct cJSON *d = take(s->fleet, "cooldown", s->name);
    if (d && read_moment(s->fleet, d, "up_wall_ms", &up_ms) &&
        read_moment(s->fleet, d, "down_wall_ms", &down_ms)) {
        s->changed_up_ms = up_ms;
        s->changed_down_ms = down_ms;
    } else if (d) {
        tell_damaged(s->fleet, "cooldown", s->name);
    }
    json_free(d);
}

static void take_hold(struct service *s)
{
    struct fleet *f = s->fleet;
    uint64_t instances, until_ms, rest_ms, now_ms = wall_ms(f);
    struct cJSON *d = take(f, "hold", s->name);
    if (!d) {
        return;
    }
    if (!read_count(d, "instances", LIMIT_INSTANCES, &instances) ||
        !read_count(d, "until_wall_ms", latest_ms, &until_ms) ||
        !read_count(d, "rest_ms", latest_ms, &rest_ms)) {
        tell_damaged(f, "hold", s->name);
    } else if (until_ms <= now_ms) {
        put(f, "hold", s->name, NULL);
    } else {
        uint64_t left_ms = until_ms - now_ms;
        s->manual_until_ms = f->now_ms + (left_ms < rest_ms ? left_ms : rest_ms);
        s->desired = (uint32_t)instances;
        s->desired_kept = true;
        char *detail = mem_printf("%u instances, for %llu s", s->desired,
                                  (unsigned long long)(s->manual_until_ms - f->now_ms) / 1000);
        fleet_tell(f, "service", s, NULL, "still set by hand", detail, false);
        mem_free(detail);
    }
    json_free(d);
}

static void take_stopped(struct service *s)
{
    uint64_t instances, generation;
    struct cJSON *d = take(s->fleet, "stopped", s->name);
    if (!d) {
        return;
    }
    if (read_count(d, "instances", LIMIT_INSTANCES, &instances) &&
        read_count(d, "generation", UINT32_MAX, &generation)) {
        s->stopped = true;
        s->desired = (uint32_t)instances;
        s->desired_kept = true;
        s->generation_most =
            generation > s->generation_most ? (uint32_t)generation : s->generation_most;
        fleet_tell(s->fleet, "service", s, NULL, "still stopped", "until the next deploy", false);
    } else {
        tell_damaged(s->fleet, "stopped", s->name);
    }
    json_free(d);
}

void fleet_kept_take_service(struct service *s)
{
    if (!s->spec.is_static) {
        take_cooldown(s);
        take_stopped(s);
        take_hold(s);
    }
}

static bool is_list(const struct cJSON *backends)
{
    const struct cJSON *b = json_first(backends);
    while (b && *json_str(b, "address", "")) {
        b = json_next(b);
    }
    return json_kind(backends) == JSON_ARRAY && !b;
}

void fleet_kept_take_backends(struct service *s)
{
    char list[17];
    struct cJSON *d = take(s->fleet, "backend", s->name);
    if (!d) {
        return;
    }
    hash_hex(s->backends_hash, list);
    if (!is_list(json_get(d, "backends"))) {
        tell_damaged(s->fleet, "backend", s->name);
    } else if (strcmp(json_str(d, "list", ""), list) != 0) {
        drop_backends(s);
    } else {
        json_set(s->config, "backends", json_copy(json_get(d, "backends")));
        s->edited = true;
        fleet_tell(s->fleet, "service", s, NULL, "backends still as operators changed them", "",
                   false);
    }
    json_free(d);
}

static void take_weight(struct instance *i)
{
    char list[17];
    struct cJSON *d = take(i->fleet, "weight", i->id);
    if (!d) {
        return;
    }
    double weight = json_num(d, "weight", 0);
    hash_hex(i->service->backends_hash, list);
    if (!(weight >= 1 && weight <= FLEET_WEIGHT_MOST)) {
        tell_damaged(i->fleet, "weight", i->id);
    } else if (strcmp(json_str(d, "list", ""), list) != 0) {
        put(i->fleet, "weight", i->id, NULL); /* as a reload would */
    } else {
        i->weight = weight;
        fleet_tell(i->fleet, "service", i->service, i, "weight still as set by hand", "", false);
    }
    json_free(d);
}

void fleet_kept_take_instance(struct instance *i)
{
    take_weight(i);
    struct cJSON *d = take(i->fleet, "drain", i->id);
    if (d) {
        i->drained = true;
        fleet_tell(i->fleet, "instance", i->service, i, "still drained", "", false);
    }
    json_free(d);
}

/* A document of an instance that the engine's list may still name. */
static bool awaited(const struct fleet *f, const struct cJSON *d)
{
    const char *name = json_str(d, "service", NULL);
    const struct service *s = name ? fleet_service_find(f, name) : NULL;
    return s && !s->gone && !s->spec.is_static && !f->listed;
}

void fleet_kept_drop(struct fleet *f)
{
    size_t at = 0;
    const char *where;
    void *d;
    while (map_next(&f->kept, &at, &where, &d)) {
        if (awaited(f, d)) {
            continue;
        }
        const char *key = strchr(where, '\n');
        char *kind = mem_copy_bytes(where, (size_t)(key - where));
        put(f, kind, key + 1, NULL);
        mem_free(kind);
        map_remove(&f->kept, where);
        json_free(d);
    }
}

void fleet_kept_free(struct fleet *f)
{
    size_t at = 0;
    const char *where;
    void *d;
    while (map_next(&f->kept, &at, &where, &d)) {
        json_free(d);
    }
    map_free(&f->kept);
}
