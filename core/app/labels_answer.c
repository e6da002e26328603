/* labels_answer.c: what became of each labelled container and of each of its labels, for people. */
#include <string.h>

#include "app/labelled.h"
#include "app/master.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "fleet/fleet.h"

/* A member of a list by the text of one of its keys, or NULL. */
static const struct cJSON *with(const struct cJSON *list, const char *key, const char *text)
{
    const struct cJSON *one = json_first(list);
    while (one && !str_same(json_str(one, key, ""), text)) {
        one = json_next(one);
    }
    return one;
}

static struct cJSON *routes_of(const struct master *m, const char *service)
{
    struct cJSON *out = json_array();
    const struct cJSON *s = with(json_get(m->config, "services"), "name", service);
    for (const struct cJSON *r = json_first(json_get(s, "routes")); r; r = json_next(r)) {
        struct cJSON *one = json_object();
        json_set_str(one, "listen", json_str(r, "listen", ""));
        json_set_str(one, "host", json_str(r, "host", ""));
        json_set_str(one, "path", json_str(r, "path", ""));
        json_set(out, NULL, one);
    }
    return out;
}

/* Adds what the fleet knows of it; whether it gets requests. */
static bool put_instance(struct master *m, struct cJSON *out, const char *service,
                         const char *container, uint64_t now_ms)
{
    const struct cJSON *services = json_get(services_status(m, now_ms), "services");
    char *id = mem_printf("%s@%s", service, container);
    const struct cJSON *i = with(json_get(with(services, "name", service), "instances"), "id", id);
    bool serves = str_same(json_str(i, "state", ""), "up") && !json_bool(i, "drained", false);
    if (i) {
        json_set_str(out, "backend", id);
        json_set_str(out, "backend_state", json_str(i, "state", ""));
    }
    if (i && !serves) {
        const char *reason = json_str(i, "reason", "");
        json_set_str(out, "why",
                     json_bool(i, "drained", false) ? "an operator drained it"
                     : *reason                      ? reason
                                                    : "waits for its health check");
    }
    mem_free(id);
    return serves;
}

/* Why a container cannot serve whatever its labels say, or NULL. */
static const char *not_able(const struct cJSON *c, uint64_t now_ms)
{
    const char *state = json_str(c, "state", "");
    if (json_bool(c, "oneoff", false)) {
        return "a one-off container of `docker compose run`";
    }
    if (labels_leaving(c, now_ms)) {
        return "is ending: gets no new requests";
    }
    return str_same(state, "running")      ? NULL
           : str_same(state, "paused")     ? "is paused"
           : str_same(state, "created")    ? "was not started yet"
           : str_same(state, "restarting") ? "is restarting"
                                           : "does not run";
}

static void put_where(struct master *m, struct cJSON *out, const struct cJSON *c,
                      const struct cJSON *set, uint64_t now_ms)
{
    const char *service = json_str(set, "service", NULL), *why = not_able(c, now_ms);
    const char *network = "";
    char *error = NULL, *address = NULL;
    bool serves = false;
    if (service) {
        json_set_str(out, "service", service);
        json_set(out, "routes", routes_of(m, service));
    }
    if (why) {
        json_set_str(out, "why", why);
    } else if (!set) {
        json_set_str(out, "why", labels_waiting(m) ? labels_waiting(m) : "is being taken up");
    } else if (!service) {
        json_set_str(out, "why", "of its labels one is wrong, or none makes a service");
    } else if (!(address = labels_address(m, c, set, &network, &error))) {
        json_set_str(out, "why", error);
        json_set_bool(out, "wrong", true);
    } else {
        json_set_str(out, "address", address);
        json_set_str(out, "network", network);
        json_set_str(out, "why", "is being taken up");
        serves = put_instance(m, out, service, json_str(c, "name", ""), now_ms);
        if (serves && !json_count(json_get(out, "routes"))) {
            serves = false;
            json_set_str(out, "why",
                         "no route leads to its service: tidegate.route.host makes one");
        }
    }
    if (serves) {
        json_remove(out, "why");
    }
    json_set_bool(out, "serves", serves);
    mem_free(address);
    mem_free(error);
}

/* Every label, also those that nobody has looked at. */
static struct cJSON *verdicts_of(const struct cJSON *c, const struct cJSON *set, const char *why)
{
    struct cJSON *out = json_array();
    if (json_get(set, "verdicts")) {
        json_free(out);
        return json_copy(json_get(set, "verdicts"));
    }
    for (const struct cJSON *l = json_first(json_get(c, "labels")); l; l = json_next(l)) {
        struct cJSON *one = json_object();
        json_set_str(one, "label", json_name(l));
        json_set_str(one, "value", json_value_str(l, ""));
        json_set_str(one, "verdict", "unused");
        json_set_str(one, "text", why);
        json_set(out, NULL, one);
    }
    return out;
}

static struct cJSON *describe(struct master *m, const struct cJSON *c, uint64_t now_ms)
{
    static const char *const copied[] = {"id", "image", "state", "health"};
    const struct cJSON *set = labelled_candidate(c) ? labels_set_of(m, c) : NULL;
    struct cJSON *out = json_object();
    json_set_str(out, "container", json_str(c, "name", ""));
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        json_set_str(out, copied[i], json_str(c, copied[i], ""));
    }
    put_where(m, out, c, set, now_ms);
    json_set(out, "labels", verdicts_of(c, set, json_str(out, "why", "")));
    if (with(json_get(out, "labels"), "verdict", "wrong")) {
        json_set_bool(out, "wrong", true);
    }
    return out;
}

struct cJSON *labels_answer(struct master *m, const char *name, uint64_t now_ms)
{
    struct cJSON *out = json_object(), *list = json_array();
    bool on = json_get(json_get(m->config, "cluster"), "labels");
    const char *prefix = json_str(json_path(m->config, "cluster.labels"), "prefix", "tidegate");
    const struct cJSON *all = labels_containers(m), *only = name ? labelled_find(all, name) : NULL;
    bool labelled = only && json_first(json_get(only, "labels")) && !*json_str(only, "cluster", "");
    json_set_bool(out, "ok", !name || !on || labelled);
    if (name && on && !labelled) {
        char *error =
            only && *json_str(only, "cluster", "")
                ? mem_printf("container %s is run by a tidegate: see `tidegate status`", name)
            : only ? mem_printf("container %s has no label that begins with \"%s.\"", name, prefix)
                   : mem_printf("no container %s is known: `docker ps -a` lists them", name);
        json_set_str(out, "error", error);
        mem_free(error);
    }
    for (const struct cJSON *c = only ? only : json_first(all); c; c = json_next(c)) {
        if (json_first(json_get(c, "labels")) && !*json_str(c, "cluster", "") &&
            (!name || c == only)) {
            json_set(list, NULL, describe(m, c, now_ms));
        }
    }
    json_set_bool(out, "on", on);
    if (labels_waiting(m)) {
        json_set_str(out, "waiting", labels_waiting(m));
    }
    json_set(out, "containers", list);
    return out;
}
