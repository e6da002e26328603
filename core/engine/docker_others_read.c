/* docker_others_read.c: what the engine's lists and events say of containers that others start; see engine.h.
 *
 * Invariants: whatever the bytes are, what comes out has the shape that engine.h tells, and every text of theirs
 * is passed on as it is. No I/O, no state. */
#include "engine/docker.h"

#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/str.h"

enum {
    MOST_PORTS = 64
};

/* ---- Reading a list ---------------------------------------------------------------------- */

/* "Up 2 minutes (healthy)", "(health: starting)": a list says it in no other way before API 1.52. */
static enum engine_health health_of(const struct cJSON *listed)
{
    const char *word = json_str(json_get(listed, "Health"), "Status", "");
    const char *status = json_str(listed, "Status", "");
    const char *open = strrchr(status, '(');
    char text[32]; /* longer ones are none of ours */
    if (*word) {
        return docker_health_of(word);
    }
    struct str inner = open ? str_of(open + 1) : str_of("");
    if (str_starts(inner, "health: ")) {
        inner = str_sub(inner, strlen("health: "), inner.len);
    }
    if (!str_ends(inner, ")") || !str_put(text, sizeof text, str_sub(inner, 0, inner.len - 1))) {
        return ENGINE_HEALTH_NONE;
    }
    return docker_health_of(text);
}

/* Its own name: others have a slash inside, and are links of other containers. */
static const char *name_of(const struct cJSON *listed)
{
    const struct cJSON *names = json_get(listed, "Names");
    for (const struct cJSON *n = json_first(names); n; n = json_next(n)) {
        const char *name = json_value_str(n, "");
        name += name[0] == '/';
        if (*name && !strchr(name, '/')) {
            return name;
        }
    }
    return "";
}

static struct cJSON *labels_of(const struct cJSON *all, const char *prefix)
{
    struct cJSON *out = json_object();
    size_t len = strlen(prefix);
    for (const struct cJSON *l = json_first(all); l; l = json_next(l)) {
        const char *name = json_name(l);
        if (!strncmp(name, prefix, len) && name[len] == '.' && json_kind(l) == JSON_STRING) {
            json_set_str(out, name, json_value_str(l, ""));
        }
    }
    return out;
}

static struct cJSON *networks_of(const struct cJSON *listed)
{
    struct cJSON *out = json_array();
    const struct cJSON *all = json_get(json_get(listed, "NetworkSettings"), "Networks");
    for (const struct cJSON *n = json_first(all); n; n = json_next(n)) {
        struct cJSON *one = json_object();
        json_set_str(one, "name", json_name(n));
        json_set_str(one, "ipv4", json_str(n, "IPAddress", ""));
        json_set_str(one, "ipv6", json_str(n, "GlobalIPv6Address", ""));
        json_set(out, NULL, one);
    }
    return out;
}

struct port {
    int64_t port, host_port;
    const char *host_ip;
};

/* A port is listed once for each family that it is published for: an address of IPv4 is the one kept. */
static size_t note_port(struct port *ports, size_t count, const struct port *seen)
{
    size_t at = 0;
    while (at < count && ports[at].port != seen->port) {
        at++;
    }
    if (at == count && count == MOST_PORTS) {
        return count;
    }
    if (at == count ||
        (seen->host_port && (!ports[at].host_port || strchr(ports[at].host_ip, ':')))) {
        ports[at] = *seen;
    }
    return at == count ? count + 1 : count;
}

static int by_port(const void *a, const void *b)
{
    const struct port *x = a, *y = b;
    return x->port < y->port ? -1 : x->port > y->port;
}

static bool is_port(int64_t number, int64_t least)
{
    return number >= least && number <= 65535;
}

static struct cJSON *ports_of(const struct cJSON *listed)
{
    struct port ports[MOST_PORTS] = {0};
    size_t count = 0;
    const struct cJSON *all = json_get(listed, "Ports");
    for (const struct cJSON *p = json_first(all); p; p = json_next(p)) {
        const struct port seen = {json_int(p, "PrivatePort", 0), json_int(p, "PublicPort", 0),
                                  json_str(p, "IP", "")};
        if (is_port(seen.port, 1) && is_port(seen.host_port, 0) &&
            str_same(json_str(p, "Type", "tcp"), "tcp")) {
            count = note_port(ports, count, &seen);
        }
    }
    qsort(ports, count, sizeof *ports, by_port);
    struct cJSON *out = json_array();
    for (size_t i = 0; i < count; i++) {
        struct cJSON *one = json_object();
        json_set_num(one, "port", (double)ports[i].port);
        json_set_str(one, "host_ip", ports[i].host_ip);
        json_set_num(one, "host_port", (double)ports[i].host_port);
        json_set(out, NULL, one);
    }
    return out;
}

static struct cJSON *read_one(const struct cJSON *listed, const char *prefix)
{
    const char *id = json_str(listed, "Id", ""), *name = name_of(listed);
    const struct cJSON *labels = json_get(listed, "Labels");
    if (!*id || strlen(id) >= ENGINE_ID_BYTES || !*name || strlen(name) >= ENGINE_NAME_BYTES) {
        return NULL;
    }
    struct cJSON *one = json_object();
    json_set_str(one, "id", id);
    json_set_str(one, "name", name);
    json_set_str(one, "image", json_str(listed, "Image", ""));
    json_set_num(one, "created", json_num(listed, "Created", 0));
    json_set_str(one, "state", engine_state_name(docker_state_of(json_str(listed, "State", ""))));
    json_set_str(one, "health", engine_health_name(health_of(listed)));
    json_set_str(one, "cluster", json_str(labels, "tidegate.cluster", ""));
    json_set_str(one, "project", json_str(labels, "com.docker.compose.project", ""));
    json_set_str(one, "service", json_str(labels, "com.docker.compose.service", ""));
    json_set_bool(one, "oneoff",
                  str_is_nocase(str_of(json_str(labels, "com.docker.compose.oneoff", "")), "true"));
    json_set_str(one, "network_mode", json_str(json_get(listed, "HostConfig"), "NetworkMode", ""));
    json_set(one, "networks", networks_of(listed));
    json_set(one, "ports", ports_of(listed));
    json_set(one, "labels", labels_of(labels, prefix));
    return one;
}

struct cJSON *docker_others_read(const char *body, size_t len, const char *prefix)
{
    /* An object taken for an empty list would say that all of them are gone. */
    bool array = str_starts(str_trim((struct str){body, len}), "[");
    struct cJSON *listed = array ? json_parse(body, len) : NULL;
    if (!listed) {
        return NULL;
    }
    struct cJSON *out = json_array();
    for (const struct cJSON *c = json_first(listed); c; c = json_next(c)) {
        struct cJSON *one = read_one(c, prefix);
        if (one) {
            json_set(out, NULL, one);
        }
    }
    json_free(listed);
    return out;
}

/* ---- Reading an event -------------------------------------------------------------------- */

static const struct {
    const char *action;
    enum engine_other_kind kind;
} actions[] = {
    {"start", ENGINE_OTHER_CHANGED},   {"kill", ENGINE_OTHER_LEAVING},
    {"die", ENGINE_OTHER_DIED},        {"destroy", ENGINE_OTHER_CHANGED},
    {"pause", ENGINE_OTHER_CHANGED},   {"unpause", ENGINE_OTHER_CHANGED},
    {"rename", ENGINE_OTHER_CHANGED},  {"health_status", ENGINE_OTHER_CHANGED},
    {"connect", ENGINE_OTHER_CHANGED}, {"disconnect", ENGINE_OTHER_CHANGED},
    {"died", ENGINE_OTHER_DIED},       {"remove", ENGINE_OTHER_CHANGED}, /* Podman's words */
};
enum {
    ACTIONS = sizeof actions / sizeof *actions,
    DOCKER_ACTIONS = ACTIONS - 2
};

void docker_follow_actions(struct cJSON *list)
{
    for (size_t i = 0; i < DOCKER_ACTIONS; i++) {
        json_add_str(list, actions[i].action);
    }
}

/* A signal that asks a process to end, as `docker stop` sends it or an image says it. Others, such as
 * HUP and USR1, ask it for something else. */
static bool ends_it(const char *signal)
{
    static const char *const ending[] = {"", "15", "9", "3", "2"};
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        if (str_same(signal, ending[i])) {
            return true;
        }
    }
    return false;
}

bool docker_follow_read(const char *line, size_t len, struct cJSON **ret_json,
                        enum engine_other_kind *ret_kind, const char **ret_id)
{
    struct str text = str_trim((struct str){line, len});
    struct cJSON *json = text.len ? json_parse(text.ptr, text.len) : NULL;
    struct str detail = str_of(json_str(json, "Action", "")), action;
    const struct cJSON *actor = json_get(json, "Actor"), *about = json_get(actor, "Attributes");
    bool network = str_same(json_str(json, "Type", ""), "network");
    const char *id = network ? json_str(about, "container", "") : json_str(actor, "ID", "");
    if (*id && strlen(id) < ENGINE_ID_BYTES && str_next(&detail, ':', &action)) {
        for (size_t i = 0; i < ACTIONS; i++) {
            enum engine_other_kind kind = network ? ENGINE_OTHER_CHANGED : actions[i].kind;
            bool asks = kind != ENGINE_OTHER_LEAVING || ends_it(json_str(about, "signal", ""));
            if (str_is(action, actions[i].action) && asks) {
                *ret_json = json;
                *ret_kind = kind;
                *ret_id = id;
                return true;
            }
        }
    }
    json_free(json);
    return false;
}
