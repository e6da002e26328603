/* docker_others.c: containers that people start themselves; see engine.h.
 *
 * Called by: who makes backends of labelled containers.
 * Invariants: a list tells all that is needed, so that nothing is inspected; the stream has only the
 * events that change something, as each health check of a container is three others. It is a stream of
 * its own: its filters are wider than those of our own containers, and it is there only while wanted.
 * Does not: judge labels; every text of theirs is passed on as it is. */
#include "engine/docker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    LIST_TIMEOUT_MS = 5000,
    MOST_PORTS = 64,
    HTTP_OK = 200
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

/* ---- Listing ----------------------------------------------------------------------------- */

struct others {
    struct docker_op op;
    engine_others_fn *done;
    void *arg;
    char *prefix;
};

static void others_end(struct others *o, const struct engine_error *error,
                       const struct cJSON *others)
{
    docker_op_end(&o->op);
    o->done(o->arg, error, others);
    mem_free(o->prefix);
    mem_free(o);
}

static void others_fail(struct docker_op *op, const struct engine_error *error)
{
    others_end((struct others *)op, error, NULL);
}

static void listed(struct docker_op *op, const struct net_answer *answer)
{
    struct others *o = (struct others *)op;
    if (!docker_answer_ok(answer)) {
        docker_op_refused(op, answer);
        return;
    }
    struct cJSON *others = docker_others_read(answer->body, answer->body_len, o->prefix);
    if (!others) {
        docker_op_fail(op, -EAGAIN, "list: the answer is not a JSON array");
        return;
    }
    struct engine_error none = {.code = 0, .text = ""};
    others_end(o, &none, others);
    json_free(others);
}

int docker_others(struct engine *e, const char *prefix, engine_others_fn *done, void *arg)
{
    struct others *o = mem_new(sizeof *o);
    *o = (struct others){.done = done, .arg = arg, .prefix = mem_copy(prefix)};
    docker_op_begin((struct docker *)e, &o->op, others_fail);
    struct docker_request request = {.path = "/containers/json?all=1",
                                     .timeout_ms = LIST_TIMEOUT_MS};
    docker_op_call(&o->op, &request, listed);
    return 0;
}

/* ---- Following --------------------------------------------------------------------------- */

struct docker_follow {
    struct docker_op op;
    struct docker_lines lines;
    bool stands;
};

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

/* {"type":["container","network"],"event":["start",...]} */
static char *follow_path(const struct docker *d)
{
    struct cJSON *filters = json_object(), *list;
    json_set(filters, "type", list = json_array());
    json_add_str(list, "container");
    json_add_str(list, "network");
    if (!d->podman) { /* whose filter by event does not know its own words */
        json_set(filters, "event", list = json_array());
        for (size_t i = 0; i < DOCKER_ACTIONS; i++) {
            json_add_str(list, actions[i].action);
        }
    }
    char *text = json_text(filters);
    char *path = docker_path("/events?filters=", text, "");
    json_free(filters);
    mem_free(text);
    return path;
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

static void on_line(void *arg, const char *line, size_t len)
{
    struct docker *d = arg;
    struct cJSON *json;
    enum engine_other_kind kind;
    const char *id;
    if (d->follow && docker_follow_read(line, len, &json, &kind, &id)) {
        d->engine.listener.other(d->engine.listener.arg, kind, id);
        json_free(json);
    }
}

static void on_head(void *arg, int status)
{
    struct docker_follow *f = arg;
    struct docker *d = f->op.docker;
    f->stands = status == HTTP_OK;
    if (d->follow == f && f->stands) {
        d->engine.listener.other(d->engine.listener.arg, ENGINE_OTHER_FOLLOWED, "");
    }
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct docker_follow *f = arg;
    struct docker *d = f->op.docker;
    if (d->follow == f && f->stands) {
        docker_lines_feed(&f->lines, bytes, len, on_line, d);
    }
}

static void follow_free(struct docker_follow *f)
{
    docker_op_end(&f->op);
    docker_lines_free(&f->lines);
    mem_free(f);
}

static void follow_fail(struct docker_op *op, const struct engine_error *error)
{
    struct docker *d = op->docker;
    (void)error; /* only when the engine is closed */
    d->follow = d->follow == (struct docker_follow *)op ? NULL : d->follow;
    follow_free((struct docker_follow *)op);
}

static void follow_ended(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_follow *f = (struct docker_follow *)op;
    struct docker *d = op->docker;
    bool current = d->follow == f;
    struct docker_fault fault = {0};
    if (!docker_answer_ok(answer)) {
        docker_fault_of(answer, &fault);
    }
    follow_free(f);
    if (current) {
        d->follow = NULL;
        log_warn("events of containers end", "why=%s", *fault.text ? fault.text : "by the engine");
        d->engine.listener.other(d->engine.listener.arg, ENGINE_OTHER_LOST, "");
    }
}

void docker_follow_start(struct docker *d)
{
    if (!d->following || d->follow || d->link != DOCKER_UP || !d->engine.listener.other) {
        return;
    }
    struct docker_follow *f = mem_new(sizeof *f);
    docker_lines_init(&f->lines);
    docker_op_begin(d, &f->op, follow_fail);
    d->follow = f;
    char *path = follow_path(d);
    struct docker_request request = {.path = path, .on_head = on_head, .on_data = on_data};
    docker_op_call(&f->op, &request, follow_ended);
    mem_free(path);
}

void docker_follow_stop(struct docker *d)
{
    struct docker_follow *f = d->follow;
    d->follow = NULL;
    if (f && f->op.call) {
        net_call_cancel(f->op.call);
    }
}

void docker_follow(struct engine *e, bool on)
{
    struct docker *d = (struct docker *)e;
    d->following = on;
    if (on) {
        docker_follow_start(d);
    } else {
        docker_follow_stop(d);
    }
}
