/* labels.c: services of labelled containers.
 *
 *   engine --FOLLOWED, CHANGED--> list --> sets of labels --other than those in force--> reload (reload.c) --> verdicts
 *      |                           |                                                        |
 *      +--LEAVING, DIED----------> +-----> members: who serves which service, and where <---+ --> fleet
 *
 * Two ways, so that containers that only come and go cost no reload: a new set of labels makes another
 * configuration, a container with labels that are known is a backend more or less.
 *
 * Owns: what the engine last said of containers, and the sets that the configuration in force was made of.
 * Invariants: an outage changes nothing: what was known stays until a list says otherwise. A service whose last
 * container was removed stays for LINGER_MS, as compose removes one before it makes the next.
 * Does not: judge labels (script/labels.lua) or choose addresses (labelled.c). */
#include "app/labelled.h"

#include <stdio.h>
#include <string.h>

#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "fleet/fleet.h"

enum {
    SETTLE_MS = 50,    /* events come in groups: one list for all */
    LIST_MS = 30000,   /* at least so often anyway */
    RETRY_MS = 1000,   /* a list or a stream that failed */
    LINGER_MS = 10000, /* a service without containers */
    MOST_TOLD = 1000,  /* sentences that are not logged again */
    LEAVING_MS =
        600000,      /* a container that was told to end and did not: it stays, and counts again */
    GAP_MS = 500,    /* between two reloads, however many containers come */
    AGAIN_MS = 5000, /* sets that were refused: tried again, less and less often */
    AGAIN_MOST_MS = 60000,
    MOUNTINFO_BYTES = 1 << 20
};

struct labels {
    struct cJSON
        *containers;     /* as the engine listed them, with what events said since; NULL: not yet */
    struct cJSON *since; /* group -> when its first container was made, or the first seen by us */
    struct cJSON *lingering;     /* group -> when its last container was gone */
    struct cJSON *sets;          /* wanted; NULL: labels are off, or nothing is known */
    char *sets_id;               /* of them */
    char *given_id;              /* of those that the reload under way got; NULL: none */
    char *taken_id;              /* of those in force; NULL: none yet */
    char *refused_id;            /* of those that were refused last */
    char *why;                   /* why the wanted sets are not in force; NULL: they are, or soon */
    struct cJSON *members;       /* service -> the list that the fleet has */
    struct cJSON *told;          /* what was logged: container or set, label and sentence -> true */
    char self[65];               /* our own container, or "" */
    bool on, listing, fresh;     /* fresh: the stream began anew, so that what events said is old */
    uint64_t list_ms, follow_ms; /* when to; 0 = not */
    uint64_t again_ms, back_off_ms;
    uint64_t next_ms; /* no reload before */
};

/* ---- What is configured ------------------------------------------------------------------- */

static const struct cJSON *settings_of(const struct master *m)
{
    return json_get(json_get(m->config, "cluster"), "labels");
}

static const char *prefix_of(const struct master *m)
{
    return json_str(settings_of(m), "prefix", "tidegate");
}

static struct labelled_place place_of(const struct master *m)
{
    const struct cJSON *docker = json_get(json_get(m->config, "cluster"), "docker");
    return (struct labelled_place){
        .prefix = prefix_of(m),
        .network = json_str(settings_of(m), "network", ""),
        .self = m->labels->self,
        .host = m->engine && m->engine->kind->host ? m->engine->kind->host(m->engine) : "127.0.0.1",
        .publish = json_bool(docker, "publish", false),
    };
}

const struct cJSON *labels_set_of(const struct master *m, const struct cJSON *container)
{
    char id[17];
    labelled_set_of(container, prefix_of(m), id);
    const struct cJSON *s = json_first(json_get(json_get(m->config, "labels"), "sets"));
    while (s && !str_same(json_str(s, "set", ""), id)) {
        s = json_next(s);
    }
    return s;
}

/* ---- Telling ------------------------------------------------------------------------------ */

/* Once each, until it is told no more: what is forgotten here is told anew. */
static bool news(struct labels *l, const char *of, const char *label, const char *text)
{
    char *key = mem_printf("%s %s %s", of, label, text);
    if (json_count(l->told) >= MOST_TOLD) {
        json_free(l->told);
        l->told = json_object();
    }
    bool is = !json_get(l->told, key);
    json_set_bool(l->told, key, true);
    mem_free(key);
    return is;
}

static void tell_wrong(struct master *m, const struct cJSON *container, const struct cJSON *set)
{
    const char *name = json_str(container, "name", "");
    for (const struct cJSON *v = json_first(json_get(set, "verdicts")); v; v = json_next(v)) {
        const char *label = json_str(v, "label", ""), *text = json_str(v, "text", "");
        if (str_same(json_str(v, "verdict", ""), "wrong") &&
            news(m->labels, json_str(set, "set", ""), label, text)) {
            log_warn("label is wrong", "container=%s label=%s error=%s", name, label, text);
        }
    }
}

/* ---- Members ------------------------------------------------------------------------------ */

static bool running(const struct cJSON *container)
{
    return str_same(json_str(container, "state", ""), "running");
}

bool labels_leaving(const struct cJSON *container, uint64_t now_ms)
{
    double since_ms = json_num(container, "leaving_ms", 0);
    return since_ms > 0 && (double)now_ms - since_ms < LEAVING_MS;
}

/* Whose address this is already, or NULL. */
static const struct cJSON *taken_by(const struct cJSON *members, const char *address)
{
    for (const struct cJSON *list = json_first(members); list; list = json_next(list)) {
        for (const struct cJSON *b = json_first(list); b; b = json_next(b)) {
            if (str_same(json_str(b, "address", ""), address)) {
                return b;
            }
        }
    }
    return NULL;
}

/* `members`: those before it. */
static char *address_of(const struct master *m, const struct cJSON *container,
                        const struct cJSON *set, const struct cJSON *members,
                        const char **ret_network, char **reterr)
{
    const struct labelled_place place = place_of(m);
    char *address =
        labelled_address(m->labels->containers, container, set, &place, ret_network, reterr);
    const struct cJSON *other = address ? taken_by(members, address) : NULL;
    if (other && !str_same(json_str(other, "id", ""), json_str(container, "name", ""))) {
        *reterr = mem_printf("would be reached at %s, where container %s is already: write "
                             "another %s.port",
                             address, json_str(other, "id", ""), place.prefix);
        mem_release(&address);
    }
    return address;
}

char *labels_address(const struct master *m, const struct cJSON *container, const struct cJSON *set,
                     const char **ret_network, char **reterr)
{
    return address_of(m, container, set, m->labels->members, ret_network, reterr);
}

static struct cJSON *member(const struct cJSON *container, const struct cJSON *set,
                            const char *address)
{
    static const char *const copied[] = {"weight", "max_connections", "capacity", "tags"};
    const char *health = json_str(container, "health", "none");
    struct cJSON *b = json_object();
    json_set_str(b, "id", json_str(container, "name", ""));
    json_set_str(b, "address", address);
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        json_set(b, copied[i], json_copy(json_get(set, copied[i])));
    }
    if (!str_same(health, "none")) {
        json_set_str(b, "health", health);
    }
    return b;
}

static void add_member(struct master *m, const struct cJSON *container, struct cJSON *members,
                       uint64_t now_ms)
{
    const struct cJSON *set = labelled_candidate(container) ? labels_set_of(m, container) : NULL;
    struct cJSON *list = json_get(members, json_str(set, "service", ""));
    const char *network, *name = json_str(container, "name", "");
    if (set) {
        tell_wrong(m, container, set);
    }
    if (!list || !running(container) || labels_leaving(container, now_ms)) {
        return;
    }
    char *why = NULL, *address = address_of(m, container, set, members, &network, &why);
    if (address) {
        json_set(list, NULL, member(container, set, address));
    } else if (news(m->labels, name, "", why)) {
        log_warn("container cannot be reached", "container=%s error=%s", name, why);
    }
    mem_free(address);
    mem_free(why);
}

/* Compares who serves what with what the fleet has, and tells it. */
static void update_members(struct master *m)
{
    struct labels *l = m->labels;
    uint64_t now_ms = clock_now_ms();
    struct cJSON *members = json_object();
    const struct cJSON *s = json_first(json_get(m->config, "services"));
    for (; s; s = json_next(s)) {
        if (json_bool(s, "labelled", false)) {
            json_set(members, json_str(s, "name", ""), json_array());
        }
    }
    for (const struct cJSON *c = json_first(l->containers); c; c = json_next(c)) {
        add_member(m, c, members, now_ms);
    }
    for (const struct cJSON *list = json_first(members); list; list = json_next(list)) {
        char *now = json_text(list), *was = json_text(json_get(l->members, json_name(list)));
        if (strcmp(now, was) != 0) {
            fleet_members(m->fleet, json_name(list), json_copy(list), now_ms);
        }
        mem_free(now);
        mem_free(was);
    }
    json_free(l->members);
    l->members = members;
}

/* ---- Sets --------------------------------------------------------------------------------- */

static char *id_of(const struct cJSON *sets)
{
    struct cJSON *ids = json_array();
    for (const struct cJSON *s = json_first(sets); s; s = json_next(s)) {
        json_add_str(ids, json_str(s, "set", ""));
    }
    char *text = json_text(ids);
    json_free(ids);
    return text;
}

static void note_groups(struct master *m, struct cJSON *present)
{
    struct labels *l = m->labels;
    for (const struct cJSON *c = json_first(l->containers); c; c = json_next(c)) {
        if (!labelled_candidate(c)) {
            continue;
        }
        const char *group = labelled_service(c, prefix_of(m));
        double created = json_num(c, "created", 0);
        if (created < json_num(l->since, group, 1e18)) {
            json_set_num(l->since, group, created);
        }
        json_set_bool(present, group, true);
        json_remove(l->lingering, group);
    }
}

/* Sets of services that have just lost their last container stay for a while. */
static void keep_lingering(struct labels *l, const struct cJSON *present, struct cJSON *sets,
                           uint64_t now_ms)
{
    for (const struct cJSON *s = json_first(l->sets); s; s = json_next(s)) {
        const char *group = json_str(s, "group", "");
        if (json_get(present, group)) {
            continue;
        }
        if (!json_get(l->lingering, group)) {
            json_set_num(l->lingering, group, (double)now_ms);
        }
        if ((double)now_ms - json_num(l->lingering, group, 0) < LINGER_MS) {
            json_set(sets, NULL, json_copy(s));
        } else {
            json_remove(l->since, group);
        }
    }
    for (const struct cJSON *g = json_first(l->lingering), *next; g; g = next) {
        next = json_next(g);
        if (!json_get(l->since, json_name(g))) {
            json_remove(l->lingering, json_name(g));
        }
    }
}

static void update_sets(struct master *m)
{
    struct labels *l = m->labels;
    struct cJSON *present = json_object();
    note_groups(m, present);
    struct cJSON *sets = labelled_sets(l->containers, prefix_of(m), l->since);
    keep_lingering(l, present, sets, clock_now_ms());
    json_free(present);
    json_free(l->sets);
    l->sets = sets;
    mem_free(l->sets_id);
    l->sets_id = id_of(sets);
    if (str_same(l->sets_id, l->taken_id)) {
        mem_release(&l->why);
    }
}

/* ---- The engine --------------------------------------------------------------------------- */

static struct cJSON *find(const struct labels *l, const char *id)
{
    return (struct cJSON *)labelled_find(l->containers, id);
}

/* What events said that a list, which was made before them, cannot know. */
static void keep_leaving(const struct labels *l, struct cJSON *containers)
{
    for (struct cJSON *c = json_first(containers); c; c = json_next(c)) {
        const struct cJSON *was = l->fresh ? NULL : find(l, json_str(c, "id", ""));
        if (json_get(was, "leaving_ms") && running(was)) {
            json_set_num(c, "leaving_ms", json_num(was, "leaving_ms", 0));
        }
    }
}

static void lose(struct master *m, const struct cJSON *container, const char *why)
{
    const struct cJSON *set = labelled_candidate(container) ? labels_set_of(m, container) : NULL;
    if (json_str(set, "service", NULL)) {
        fleet_member_lost(m->fleet, json_str(set, "service", ""), json_str(container, "name", ""),
                          why, clock_now_ms());
    }
}

/* Those that ended while nobody told. */
static void lose_unseen(struct master *m, const struct cJSON *containers)
{
    const struct cJSON *c = json_first(m->labels->containers);
    for (; c; c = json_next(c)) {
        const struct cJSON *now = labelled_find(containers, json_str(c, "id", ""));
        if (running(c) && !running(now)) {
            lose(m, c, now ? json_str(now, "state", "") : "removed");
        }
    }
}

static void on_listed(void *arg, const struct engine_error *error, const struct cJSON *others)
{
    struct master *m = arg;
    struct labels *l = m->labels;
    if (!l) {
        return; /* closed meanwhile */
    }
    l->listing = false;
    if (error->code || !l->on) {
        l->list_ms = clock_now_ms() + RETRY_MS;
        return;
    }
    struct cJSON *containers = json_copy(others);
    keep_leaving(l, containers);
    l->fresh = false;
    lose_unseen(m, containers);
    json_free(l->containers);
    l->containers = containers;
    if (!l->list_ms) {
        l->list_ms = clock_now_ms() + LIST_MS;
    }
    update_sets(m);
    update_members(m);
}

static void list(struct master *m)
{
    struct labels *l = m->labels;
    l->list_ms = 0;
    l->listing = true;
    (void)m->engine->kind->others(m->engine, prefix_of(m), on_listed, m);
}

static void list_soon(struct labels *l, uint64_t wait_ms)
{
    uint64_t at_ms = clock_now_ms() + wait_ms;
    if (!l->list_ms || at_ms < l->list_ms) {
        l->list_ms = at_ms;
    }
}

static void on_left(struct master *m, const char *id, bool died)
{
    struct cJSON *c = find(m->labels, id);
    if (!c) {
        return;
    }
    if (!died) {
        json_set_num(c, "leaving_ms", (double)clock_now_ms());
    } else {
        json_set_str(c, "state", "exited");
        json_remove(c, "leaving_ms");
        lose(m, c, "the container ended");
    }
    update_members(m);
}

void labels_on_other(struct master *m, enum engine_other_kind kind, const char *id)
{
    struct labels *l = m->labels;
    if (!l || !l->on) {
        return;
    }
    switch (kind) {
    case ENGINE_OTHER_FOLLOWED:
        l->fresh = true;
        list_soon(l, 0);
        break;
    case ENGINE_OTHER_CHANGED:
        list_soon(l, SETTLE_MS);
        break;
    case ENGINE_OTHER_DIED:
    case ENGINE_OTHER_LEAVING:
        on_left(m, id, kind == ENGINE_OTHER_DIED);
        list_soon(l, SETTLE_MS);
        break;
    case ENGINE_OTHER_LOST:
        l->follow_ms = clock_now_ms() + RETRY_MS;
        break;
    case ENGINE_OTHERS:
        break;
    }
}

/* ---- Reloads ------------------------------------------------------------------------------ */

const struct cJSON *labels_give(struct master *m)
{
    struct labels *l = m->labels;
    if (!l) {
        return NULL; /* the first configuration says whether there is an engine to ask */
    }
    mem_release(&l->given_id);
    l->given_id = l->sets ? mem_copy(l->sets_id) : NULL;
    return l->sets;
}

/* Whether a list of sources ("policies", "libraries") has one that the other has otherwise. */
static bool other_sources(const struct cJSON *now, const struct cJSON *then, const char *list)
{
    for (const struct cJSON *a = json_first(json_get(now, list)); a; a = json_next(a)) {
        const char *origin = json_str(a, "origin", "");
        for (const struct cJSON *b = json_first(json_get(then, list)); b; b = json_next(b)) {
            if (str_same(origin, json_str(b, "origin", "")) &&
                !str_same(json_str(a, "source", ""), json_str(b, "source", ""))) {
                return true;
            }
        }
    }
    return false;
}

bool labels_stale(const struct master *m, const struct cJSON *config)
{
    const char *now = json_str(json_get(m->config, "labels"), "files", "");
    return !str_same(now, json_str(json_get(config, "labels"), "files", "")) ||
           other_sources(m->config, config, "policies") ||
           other_sources(m->config, config, "libraries");
}

void labels_refused(struct master *m, const char *why)
{
    struct labels *l = m->labels;
    bool same = str_same(l->refused_id, l->given_id);
    l->back_off_ms = !same || !l->back_off_ms ? AGAIN_MS : l->back_off_ms * 2;
    l->back_off_ms = l->back_off_ms > AGAIN_MOST_MS ? AGAIN_MOST_MS : l->back_off_ms;
    l->again_ms = clock_now_ms() + l->back_off_ms;
    if (!str_same(l->why, why)) {
        log_error("labels are not taken up: those before go on", "error=%s", why);
    }
    char *text = mem_copy(why);
    mem_free(l->why);
    l->why = text;
    mem_free(l->refused_id);
    l->refused_id = mem_copy(l->given_id);
}

static void turn_off(struct master *m)
{
    struct labels *l = m->labels;
    if (l->on && m->engine && m->engine->kind->follow) {
        m->engine->kind->follow(m->engine, false);
    }
    l->on = false;
    json_free(l->sets);
    json_free(l->containers);
    l->sets = l->containers = NULL;
    mem_release(&l->sets_id);
    mem_release(&l->taken_id);
    mem_release(&l->why);
}

void labels_apply(struct master *m)
{
    struct labels *l = m->labels;
    if (!settings_of(m) || !m->engine || !m->engine->kind->others) {
        turn_off(m);
        return;
    }
    mem_free(l->taken_id);
    l->taken_id = l->given_id ? l->given_id : mem_copy("[]");
    l->given_id = NULL;
    l->back_off_ms = l->again_ms = 0;
    l->next_ms = m->reload.by_labels ? clock_now_ms() + GAP_MS : 0;
    mem_release(&l->why);
    json_free(l->members); /* the fleet has what it had before, and other settings */
    l->members = json_object();
    if (!l->on) {
        l->on = true;
        m->engine->kind->follow(m->engine, true);
    } else if (l->containers) {
        list_soon(l, 0); /* the prefix may be another one */
        update_members(m);
    }
}

const struct cJSON *labels_containers(const struct master *m)
{
    return m->labels->containers;
}

const char *labels_waiting(const struct master *m)
{
    const struct labels *l = m->labels;
    return l->why              ? l->why
           : l->on && !l->sets ? "the engine has not told of its containers yet"
                               : NULL;
}

/* Whether the sets that the engine has are those in force. */
static bool settled(const struct labels *l)
{
    return l->sets && str_same(l->sets_id, l->taken_id);
}

bool labels_surveyed(const struct master *m)
{
    const struct labels *l = m->labels;
    return !l->on || settled(l) || l->why;
}

/* ---- Life --------------------------------------------------------------------------------- */

static void read_self(struct labels *l)
{
    char *text = mem_array(MOUNTINFO_BYTES, 1);
    FILE *file = fopen("/proc/self/mountinfo", "re");
    size_t len = file ? fread(text, 1, MOUNTINFO_BYTES - 1, file) : 0;
    text[len] = '\0';
    labelled_self(text, l->self);
    if (file) {
        fclose(file);
    }
    mem_free(text);
}

void labels_open(struct master *m)
{
    m->labels = mem_new(sizeof *m->labels);
    m->labels->since = json_object();
    m->labels->lingering = json_object();
    m->labels->members = json_object();
    m->labels->told = json_object();
    read_self(m->labels);
}

void labels_tick(struct master *m, uint64_t now_ms)
{
    struct labels *l = m->labels;
    if (!l->on) {
        return;
    }
    if (l->follow_ms && now_ms >= l->follow_ms && m->engine_up) {
        l->follow_ms = 0;
        m->engine->kind->follow(m->engine, true);
    }
    if (l->list_ms && now_ms >= l->list_ms && !l->listing && m->engine_up) {
        list(m);
    }
    if (l->containers && !l->listing && json_first(l->lingering)) {
        update_sets(m);
    }
    bool may = m->reload.phase == RELOAD_IDLE && !m->reload.again && now_ms >= l->next_ms;
    if (l->sets && !settled(l) && may &&
        (now_ms >= l->again_ms || !str_same(l->sets_id, l->refused_id))) {
        reload_begin_labels(m);
    }
}

void labels_close(struct master *m)
{
    struct labels *l = m->labels;
    if (!l) {
        return;
    }
    m->labels = NULL;
    json_free(l->containers);
    json_free(l->since);
    json_free(l->lingering);
    json_free(l->sets);
    json_free(l->members);
    json_free(l->told);
    mem_free(l->sets_id);
    mem_free(l->given_id);
    mem_free(l->taken_id);
    mem_free(l->refused_id);
    mem_free(l->why);
    mem_free(l);
}
