/* service.c: one service: what it should be, what is missing, what is over.
 *
 * fleet_service_reconcile is the heart of the room: whatever happened, it lets each instance take
 * its next step, compares, then drops what is over and launches what is missing. While older
 * instances exist it rolls: one more than wanted at most, and an old one goes only when all new
 * ones are up. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

struct service *fleet_service_find(const struct fleet *f, const char *name)
{
    return map_get(&f->by_name, name);
}

struct service *fleet_service_new(struct fleet *f, const char *name)
{
    struct service *s = mem_new(sizeof *s);
    s->fleet = f;
    s->name = mem_copy(name);
    s->gone = true; /* until a configuration names it */
    list_init(&s->instances);
    list_append(&f->services, &s->node);
    map_put(&f->by_name, name, s);
    fleet_spec_read(&s->spec, NULL);
    s->window.since_ms = s->since_ask.since_ms = f->now_ms;
    s->zero.asked_ms = s->zero.since_ms = f->now_ms;
    s->figures = (struct figures){-1, -1, -1, -1, -1};
    return s;
}

void fleet_failure_clear(struct failure *failure)
{
    mem_free(failure->instance);
    mem_free(failure->reason);
    mem_free(failure->health_output);
    mem_free(failure->logs);
    *failure = (struct failure){0};
}

void fleet_service_free(struct service *s)
{
    map_remove(&s->fleet->by_name, s->name);
    list_remove(&s->node);
    while (!list_empty(&s->instances)) {
        fleet_instance_free(list_owner(s->instances.next, struct instance, node));
    }
    fleet_failure_clear(&s->failure);
    json_free(s->config);
    json_free(s->vanished);
    fleet_shadow_free(s);
    mem_free(s->name);
    mem_free(s);
}

uint32_t fleet_service_want(const struct service *s)
{
    return s->gone || s->stopped || s->spec.is_static ? 0 : s->desired;
}

/* ---- Back-off ---- */

void fleet_service_back_off(struct service *s)
{
    uint64_t now_ms = s->fleet->now_ms;
    s->failed_ms = now_ms;
    if (now_ms < s->not_before_ms) {
        return; /* several failed at once: one failure */
    }
    uint64_t wait_ms = FLEET_BACK_OFF_MOST_MS;
    if (s->failures < 16 && ((uint64_t)FLEET_BACK_OFF_MS << s->failures) < wait_ms) {
        wait_ms = (uint64_t)FLEET_BACK_OFF_MS << s->failures;
    }
    s->failures++;
    uint64_t hash =
        hash_more(hash_bytes(s->name, strlen(s->name)), &s->failures, sizeof s->failures);
    s->not_before_ms = now_ms + wait_ms - wait_ms / 10 + hash % (wait_ms / 5); /* +- 10 % */
}

void fleet_service_back_off_reset(struct service *s)
{
    s->failures = 0;
    s->not_before_ms = 0;
}

/* ---- Generations ---- */

void fleet_service_renew(struct service *s, const char *why)
{
    s->generation = ++s->generation_most;
    s->deploying = true;
    s->announced = false;
    if (s->stopped) {
        s->stopped = false;
        fleet_keep_stopped(s);
    }
    fleet_failure_clear(&s->failure);
    fleet_service_back_off_reset(s);
    fleet_tell(s->fleet, "deploy", s, NULL, "deploy wanted", why, false);
}

/* The newest generation that has the wanted specification, or a new one. */
static void find_generation(struct service *s)
{
    uint32_t best = 0;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (fleet_alive(i) && !i->backend && !strcmp(i->spec_hash, s->spec.hash) &&
            i->generation > best) {
            best = i->generation;
        }
    }
    s->deploying = true;
    s->announced = false;
    fleet_failure_clear(&s->failure);
    s->generation = best ? best : ++s->generation_most;
}

/* Two instances of one place are one in the middle of a replacement. */
static uint32_t running_places(const struct service *s)
{
    bool taken[LIMIT_INSTANCES + 1] = {false};
    uint32_t count = 0;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (fleet_alive(i) && !i->backend && i->place <= LIMIT_INSTANCES && !taken[i->place]) {
            taken[i->place] = true;
            count++;
        }
    }
    return count;
}

/* What the configuration makes of a number. */
static uint32_t clamp(uint32_t value, const struct spec *spec)
{
    value = spec->mode == FLEET_PINNED ? spec->pinned : value;
    return value < spec->min ? spec->min : value > spec->max ? spec->max : value;
}

void fleet_service_settle_desired(struct service *s)
{
    if (s->settled || s->gone) {
        return;
    }
    s->settled = true;
    s->desired = clamp(s->desired_kept ? s->desired : running_places(s), &s->spec);
    s->desired_kept = false;
    find_generation(s);
}

/* ---- Configuration ---- */

/* By its id when it has one, else by its address. */
static const char *key_of(const struct cJSON *backend)
{
    return json_str(backend, "id", json_str(backend, "address", ""));
}

static struct instance *static_of(struct service *s, const struct cJSON *backend)
{
    const char *address = json_str(backend, "address", "");
    char *id = mem_printf("%s@%s", s->name, key_of(backend));
    struct instance *i = map_get(&s->fleet->instances, id);
    if (i && i->state == FLEET_DRAINING) {
        /* It is back before it was drained: it goes on where it stood. */
        fleet_instance_to(i, FLEET_DOWN, "configured again");
        fleet_check_start(i);
    } else if (!i) {
        i = fleet_instance_new(s, 0, id, NULL);
        mem_free(i->address);
        i->address = mem_copy(address);
    }
    mem_free(id);
    return i;
}

static void apply_backends(struct service *s)
{
    uint32_t place = 0;
    for (struct cJSON *b = json_first(json_get(s->config, "backends")); b; b = json_next(b)) {
        struct instance *i = static_of(s, b);
        json_free(i->backend);
        i->backend = json_copy(b);
        i->place = ++place;
        fleet_member_told(i);
        if (i->state == FLEET_NEW) {
            fleet_instance_to(i, FLEET_WAITING, NULL);
            fleet_check_start(i);
        }
    }
}

static bool configured(const struct service *s, const struct instance *i)
{
    const struct cJSON *b = json_first(json_get(s->config, "backends"));
    while (b && strcmp(key_of(b), key_of(i->backend)) != 0) {
        b = json_next(b);
    }
    return s->spec.is_static && !s->gone && b;
}

void fleet_service_drop_backends(struct service *s)
{
    struct list *next;
    for (struct list *n = s->instances.next; n != &s->instances; n = next) {
        next = n->next;
        struct instance *i = list_owner(n, struct instance, node);
        if (i->backend && !configured(s, i)) {
            fleet_instance_drop(i, !s->gone && fleet_labelled(s->config)
                                       ? "its container is ending, or has other labels"
                                       : "not configured any more");
        }
    }
}

void fleet_service_apply_backends(struct service *s)
{
    if (s->spec.is_static) {
        apply_backends(s);
    }
    fleet_service_drop_backends(s);
}

/* What operators changed stays while the configured list is the one that they changed. */
static void keep_edits(struct service *s, const struct cJSON *old)
{
    uint64_t hash = fleet_spec_hash(json_get(s->config, "backends"));
    bool same = s->backends_hash == hash;
    s->backends_hash = hash;
    if (fleet_labelled(s->config)) {
        if (fleet_labelled(old)) { /* fleet_members says when they are others */
            json_set(s->config, "backends", json_copy(json_get(old, "backends")));
        }
        return;
    }
    if (same && s->edited) {
        json_set(s->config, "backends", json_copy(json_get(old, "backends")));
        return;
    }
    if (s->edited) {
        s->edited = false;
        fleet_keep_backends(s);
    }
    for (struct list *n = s->instances.next; !same && n != &s->instances; n = n->next) {
        struct instance *i = list_owner(n, struct instance, node);
        if (i->weight > 0) {
            i->weight = 0;
            fleet_keep_weight(i);
        }
    }
    fleet_kept_take_backends(s);
}

static void check_again(struct service *s)
{
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        struct instance *i = list_owner(n, struct instance, node);
        i->no_path = false;
        if (i->watched) {
            fleet_check_stop(i);
            fleet_check_start(i);
        }
    }
}

static void note_mode(struct service *s, enum fleet_mode before)
{
    if (s->spec.mode == FLEET_PINNED && s->manual_until_ms) {
        s->manual_until_ms = s->fleet->now_ms; /* the configuration's word is newer */
    }
    if (s->spec.mode != before) {
        char *detail =
            mem_printf("%s -> %s", fleet_mode_name(before), fleet_mode_name(s->spec.mode));
        fleet_tell(s->fleet, "service", s, NULL, "scaling is set to another mode", detail, false);
        mem_free(detail);
    }
}

void fleet_service_apply(struct service *s, const struct cJSON *config)
{
    struct fleet *f = s->fleet;
    bool known = s->config != NULL && !s->gone;
    const struct spec before = s->spec;
    struct cJSON *old = s->config;
    s->config = json_copy(config);
    keep_edits(s, old);
    fleet_spec_read(&s->spec, s->config);
    bool changed = strcmp(before.hash, s->spec.hash) != 0;
    s->gone = false;
    fleet_kept_take_service(s);
    fleet_service_apply_backends(s);
    if (before.check_hash != s->spec.check_hash && (!changed || s->spec.is_static)) {
        check_again(s); /* a roll lets the old ones be checked as they were */
    }
    fleet_service_back_off_reset(s);
    s->recommended = false;
    s->asking = false; /* another generation's policy does not answer */
    fleet_shadow_apply(s);
    note_mode(s, known ? before.mode : FLEET_ACTIVE);
    if (known && s->settled) {
        uint32_t desired = clamp(s->desired, &s->spec);
        if (desired != s->desired) {
            fleet_scale_set(s, desired, FLEET_BY_CONFIGURATION);
        }
        if (changed) {
            find_generation(s);
        }
    } else if (f->listed || s->spec.is_static) {
        s->settled = false;
        fleet_service_settle_desired(s);
    }
    uint64_t ask_ms = f->now_ms + s->spec.scale_interval_ms;
    if (!known || s->ask_ms > ask_ms) { /* a longer interval of before ends here */
        s->ask_ms = ask_ms;
    }
    if (!known) {
        s->sample_ms = f->now_ms + f->sample_interval_ms;
    }
    json_free(old);
}

/* ---- Reconcile ---- */

static void launch(struct service *s)
{
    uint32_t serial = s->serial + 1;
    char *id = mem_printf("%s-%u", s->name, serial);
    char *name = mem_printf("tg-%s-%s", s->fleet->cluster, id);
    if (s->deploying && !s->announced) {
        s->announced = true;
        char *detail = mem_printf("generation %u", s->generation);
        fleet_tell(s->fleet, "deploy", s, NULL, "deploy started", detail, false);
        mem_free(detail);
    }
    uint32_t place = fleet_free_place(s);
    struct instance *i = fleet_instance_new(s, serial, id, name);
    i->place = place;
    i->generation = s->generation;
    memcpy(i->spec_hash, s->spec.hash, sizeof i->spec_hash);
    fleet_instance_to(i, FLEET_CREATING, NULL);
    fleet_instance_step(i);
    mem_free(id);
    mem_free(name);
}

static void launch_missing(struct service *s, uint32_t want, const struct census *c)
{
    struct fleet *f = s->fleet;
    unsigned need = 0;
    if (c->current + c->old < want) {
        need = want - c->current - c->old;
    } else if (c->old && c->current < want && !c->launching && c->current + c->old == want) {
        need = 1;
    }
    if (s->failures && need) {
        need = c->launching ? 0 : 1; /* one tries for all */
    }
    while (need-- && f->launches < FLEET_LAUNCHES && f->now_ms >= s->not_before_ms) {
        launch(s);
    }
}

/* Which one has to go now, or NULL. */
static struct instance *next_to_drop(const struct service *s, uint32_t want, const struct census *c,
                                     const char **ret_why)
{
    if (c->current > want) {
        *ret_why = s->gone ? "not configured any more" : s->stopped ? "stopped" : "scaled down";
        return fleet_extra_victim(s);
    }
    struct instance *old = c->old ? fleet_old_victim(s) : NULL;
    if (!old) {
        return NULL;
    }
    *ret_why = s->gone ? "not configured any more" : s->stopped ? "stopped" : "replaced";
    bool complete = c->current_up >= want;
    bool surplus = c->current + c->old > want && c->current_up == c->current;
    return complete || surplus || fleet_launching(old) ? old : NULL;
}

/* *ret_census is what is left. */
static void trim(struct service *s, uint32_t want, struct census *ret_census)
{
    const char *why = "";
    struct instance *i;
    fleet_census(s, ret_census);
    while ((i = next_to_drop(s, want, ret_census, &why))) {
        fleet_instance_drop(i, why);
        fleet_census(s, ret_census);
    }
}

static void note_progress(struct service *s, uint32_t want)
{
    if (!s->failures && !s->deploying) {
        return;
    }
    struct census c;
    fleet_census(s, &c);
    uint64_t now_ms = s->fleet->now_ms;
    for (struct list *n = s->instances.next; s->failures && n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (i->state == FLEET_UP && fleet_current(i) && i->up_ms >= s->failed_ms &&
            now_ms - i->up_ms >= FLEET_STABLE_MS) {
            fleet_service_back_off_reset(s);
        }
    }
    if (!s->deploying || c.current_up < want || c.old || c.leaving) {
        return;
    }
    s->deploying = false;
    if (s->announced && want) {
        char *detail = mem_printf("generation %u, %u up", s->generation, c.current_up);
        fleet_tell(s->fleet, "deploy", s, NULL, "deploy done", detail, false);
        mem_free(detail);
    }
}

void fleet_service_reconcile(struct service *s)
{
    if (s->fleet->quiet) {
        return;
    }
    struct list *next;
    for (struct list *n = s->instances.next; n != &s->instances; n = next) {
        next = n->next;
        fleet_instance_step(list_owner(n, struct instance, node));
    }
    if (!fleet_can_act(s->fleet) || (!s->settled && !s->gone)) {
        return;
    }
    uint32_t want = fleet_service_want(s);
    struct census c;
    trim(s, want, &c);
    launch_missing(s, want, &c);
    note_progress(s, want);
}
