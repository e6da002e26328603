/* docker_parse.c: reads what inspect and list tell of a container; see docker.h.
 *
 * Traps that were seen: health stays "healthy" on containers that exited during
 * an outage of the engine, ports of stopped ones are those of their last run, and
 * the log of health checks keeps probes of the run before. So health counts only
 * while running, addresses exist only while running, and probes are compared with
 * the start. The top-level IPAddress is gone since API 1.52 and not read. */
#include "engine/docker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum engine_state docker_state_of(const char *status)
{
    static const struct {
        const char *word;
        enum engine_state state;
    } words[] = {
        {"created", ENGINE_CREATED},       {"configured", ENGINE_CREATED},
        {"initialized", ENGINE_CREATED},   {"running", ENGINE_RUNNING},
        {"restarting", ENGINE_RESTARTING}, {"paused", ENGINE_PAUSED},
        {"stopping", ENGINE_RUNNING},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (str_same(words[i].word, status)) {
            return words[i].state;
        }
    }
    return ENGINE_EXITED; /* exited, dead, removing, stopped */
}

enum engine_health docker_health_of(const char *status)
{
    for (int h = ENGINE_HEALTH_STARTING; h < ENGINE_HEALTHS; h++) {
        if (str_same(engine_health_name((enum engine_health)h), status)) {
            return (enum engine_health)h;
        }
    }
    return ENGINE_HEALTH_NONE;
}

bool docker_labels_ours(const struct docker *d, const struct cJSON *labels)
{
    return str_same(json_str(labels, "tidegate.cluster", ""), d->settings.cluster);
}

/* "2026-01-31T12:00:00.123456789Z" or with +02:00 -> ms since 1970; 0 for others, and for year 1.
 */
static uint64_t wall_ms_of(const char *text)
{
    struct tm tm = {0};
    int used = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &used) != 6) {
        return 0;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t s = timegm(&tm);
    unsigned ms = 0, scale = 100;
    const char *at = text + used;
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9'; at++) {
            ms += (unsigned)(*at - '0') * scale;
            scale /= 10;
        }
    }
    int hours = 0, minutes = 0;
    if ((*at == '+' || *at == '-') && sscanf(at + 1, "%2d:%2d", &hours, &minutes) == 2) {
        s -= (*at == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
    }
    return s > 0 ? (uint64_t)s * 1000 + ms : 0;
}

static uint32_t label_number(const struct cJSON *labels, const char *key)
{
    uint64_t number;
    return str_to_u64(str_of(json_str(labels, key, "")), &number) || number > UINT32_MAX
               ? 0
               : (uint32_t)number;
}

static void read_labels(const struct cJSON *labels, struct engine_instance *i)
{
    i->service = json_str(labels, "tidegate.service", "");
    i->spec_hash = json_str(labels, "tidegate.spec", "");
    i->serial = label_number(labels, "tidegate.serial");
    i->slot = label_number(labels, "tidegate.slot");
    i->generation = label_number(labels, "tidegate.generation");
}

static void read_health(const struct cJSON *state, struct engine_instance *i)
{
    const struct cJSON *health = json_get(state, "Health");
    i->health = docker_health_of(json_str(health, "Status", ""));
    if (i->health == ENGINE_HEALTH_NONE) {
        return;
    }
    if (i->state == ENGINE_CREATED || i->state == ENGINE_RESTARTING) {
        i->health = ENGINE_HEALTH_STARTING;
    } else if (i->state != ENGINE_RUNNING) {
        i->health = ENGINE_UNHEALTHY;
    }
    const struct cJSON *last = NULL;
    for (const struct cJSON *p = json_first(json_get(health, "Log")); p; p = json_next(p)) {
        last = p;
    }
    if (last && wall_ms_of(json_str(last, "Start", "")) >= i->started_wall_ms) {
        i->health_output = json_str(last, "Output", "");
    }
}

/* "8080/tcp": what the label says, else the lowest that the image exposes; 0 = none. */
static unsigned first_port(const struct cJSON *config)
{
    unsigned lowest = label_number(json_get(config, "Labels"), "tidegate.port");
    const struct cJSON *ports = lowest ? NULL : json_get(config, "ExposedPorts");
    for (const struct cJSON *p = json_first(ports); p; p = json_next(p)) {
        struct str rest = str_of(json_name(p)), number;
        uint64_t port;
        if (str_next(&rest, '/', &number) && !str_to_u64(number, &port) && port <= 65535 &&
            (!lowest || port < lowest)) {
            lowest = (unsigned)port;
        }
    }
    return lowest;
}

static void put_address(struct docker_container *c, const char *host, unsigned port)
{
    bool v6 = strchr(host, ':') && host[0] != '[';
    snprintf(c->address, sizeof c->address, v6 ? "[%.64s]:%u" : "%.64s:%u", host, port);
}

static void published_address(const struct docker *d, const struct cJSON *network, unsigned port,
                              struct docker_container *c)
{
    char key[16];
    snprintf(key, sizeof key, "%u/tcp", port);
    const struct cJSON *bound = json_first(json_get(json_get(network, "Ports"), key));
    uint64_t number;
    if (str_to_u64(str_of(json_str(bound, "HostPort", "")), &number) || !number || number > 65535) {
        return;
    }
    const char *host = json_str(bound, "HostIp", "");
    bool any = !host[0] || str_same(host, "0.0.0.0") || str_same(host, "::");
    put_address(c, any || !docker_is_local(d) ? d->settings.host : host, (unsigned)number);
}

/* The network that we chose, else the first that gave an address. */
static const struct cJSON *chosen_network(const struct docker *d, const struct cJSON *networks)
{
    const struct cJSON *any = NULL;
    for (const struct cJSON *n = json_first(networks); n; n = json_next(n)) {
        const char *id = json_str(n, "NetworkID", "");
        if ((d->network_id[0] && str_same(id, d->network_id)) ||
            (d->settings.network && str_same(json_name(n), d->settings.network))) {
            return n;
        }
        if (!any && (json_str(n, "IPAddress", "")[0] || json_str(n, "GlobalIPv6Address", "")[0])) {
            any = n;
        }
    }
    return any;
}

/* Stays "" for a container that exposes no port: it cannot be routed to. */
static void read_address(const struct docker *d, struct docker_container *c)
{
    unsigned port = first_port(json_get(c->json, "Config"));
    const struct cJSON *network = json_get(c->json, "NetworkSettings");
    if (!port || c->instance.state != ENGINE_RUNNING) {
        return;
    }
    if (str_same(json_str(json_get(c->json, "HostConfig"), "NetworkMode", ""), "host")) {
        put_address(c, d->settings.host, port);
    } else if (d->settings.publish) {
        published_address(d, network, port, c);
    } else {
        const struct cJSON *n = chosen_network(d, json_get(network, "Networks"));
        const char *ip = json_str(n, "IPAddress", "");
        ip = ip[0] ? ip : json_str(n, "GlobalIPv6Address", "");
        if (ip[0]) {
            put_address(c, ip, port);
        }
    }
}

static void read_limits(const struct cJSON *host, struct docker_container *c)
{
    double nano = json_num(host, "NanoCpus", 0), quota = json_num(host, "CpuQuota", 0);
    double period = json_num(host, "CpuPeriod", 0), memory = json_num(host, "Memory", 0);
    c->cpu_limit_cores = nano > 0    ? nano / 1e9
                         : quota > 0 ? quota / (period > 0 ? period : 1e5)
                                     : 0;
    c->memory_limit_bytes = memory > 0 && memory < 1e18 ? (uint64_t)memory : 0;
}

bool docker_container_read(const struct docker *d, struct cJSON *json, struct docker_container *c)
{
    const char *id = json_str(json, "Id", "");
    const struct cJSON *state = json_get(json, "State"), *config = json_get(json, "Config");
    if (!id[0] || strlen(id) >= ENGINE_ID_BYTES || !state) {
        json_free(json);
        return false;
    }
    *c = (struct docker_container){.json = json, .tty = json_bool(config, "Tty", false)};
    struct engine_instance *i = &c->instance;
    const char *name = json_str(json, "Name", "");
    i->id = id;
    i->name = name[0] == '/' ? name + 1 : name;
    i->state = docker_state_of(json_str(state, "Status", ""));
    i->started_wall_ms = wall_ms_of(json_str(state, "StartedAt", ""));
    i->health_output = "";
    i->exit_code = (int)json_int(state, "ExitCode", 0);
    i->oom_killed = json_bool(state, "OOMKilled", false);
    i->restarts = (uint32_t)json_int(json, "RestartCount", 0);
    i->error = json_str(state, "Error", "");
    read_labels(json_get(config, "Labels"), i);
    read_health(state, i);
    read_limits(json_get(json, "HostConfig"), c);
    read_address(d, c);
    i->address = c->address;
    bool alive = i->state == ENGINE_RUNNING || i->state == ENGINE_PAUSED;
    int64_t pid = json_int(state, "Pid", 0);
    i->pid = alive && docker_is_local(d) && pid > 0 && pid <= INT32_MAX ? (uint32_t)pid : 0;
    return true;
}

bool docker_container_read_listed(const struct cJSON *listed, struct docker_container *c)
{
    const char *id = json_str(listed, "Id", "");
    if (!id[0] || strlen(id) >= ENGINE_ID_BYTES) {
        return false;
    }
    *c = (struct docker_container){.json = json_copy(listed)};
    struct engine_instance *i = &c->instance;
    const char *name = json_value_str(json_first(json_get(c->json, "Names")), "");
    i->id = json_str(c->json, "Id", "");
    i->name = name[0] == '/' ? name + 1 : name;
    i->state = docker_state_of(json_str(c->json, "State", ""));
    i->health_output = i->error = "";
    read_labels(json_get(c->json, "Labels"), i);
    i->address = c->address;
    return true;
}

void docker_container_free(struct docker_container *c)
{
    json_free(c->json);
    c->json = NULL;
}
