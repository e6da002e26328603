/* docker_body.c: a service of the configuration (script.h) as the body of
 * POST /containers/create; see docker.h.
 *
 * Unknown keys are silently ignored by the engine and wrong types are a 500, so
 * everything is spelled here and nowhere else. */
#include "engine/docker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static struct cJSON *put_object(struct cJSON *to, const char *key)
{
    struct cJSON *object = json_object();
    json_set(to, key, object);
    return object;
}

static struct cJSON *put_array(struct cJSON *to, const char *key)
{
    struct cJSON *array = json_array();
    json_set(to, key, array);
    return array;
}

static unsigned first_port(const struct cJSON *service)
{
    int64_t port = json_int(json_first(json_get(service, "ports")), "container", 0);
    return port > 0 && port <= 65535 ? (unsigned)port : 0;
}

static void set_number(struct cJSON *to, const char *key, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    json_set_str(to, key, text);
}

/* "KEY=value" unless the operator set KEY. */
static void add_variable(struct cJSON *env, const struct cJSON *own, const char *key,
                         const char *value)
{
    if (!json_get(own, key)) {
        char *text = mem_printf("%s=%s", key, value);
        json_add_str(env, text);
        mem_free(text);
    }
}

static void put_environment(const struct engine_spec *spec, struct cJSON *body)
{
    const struct cJSON *own = json_get(spec->service_config, "environment");
    struct cJSON *env = put_array(body, "Env");
    for (const struct cJSON *v = json_first(own); v; v = json_next(v)) {
        add_variable(env, NULL, json_name(v), json_value_str(v, ""));
    }
    char now[32], port[8];
    clock_iso(clock_wall_ms(), now, sizeof now);
    add_variable(env, own, "SERVICE_NAME", spec->service);
    add_variable(env, own, "DEPLOYMENT_TIME", now);
    add_variable(env, own, "CLUSTER_ID", spec->cluster);
    add_variable(env, own, "DATA_PROCESSING_MODE", "production");
    add_variable(env, own, "INSTANCE", spec->name);
    if (first_port(spec->service_config)) {
        snprintf(port, sizeof port, "%u", first_port(spec->service_config));
        add_variable(env, own, "PORT", port);
    }
}

static void put_labels(const struct engine_spec *spec, struct cJSON *body)
{
    struct cJSON *labels = put_object(body, "Labels");
    json_set_str(labels, "tidegate.managed", "1");
    json_set_str(labels, "tidegate.cluster", spec->cluster);
    json_set_str(labels, "tidegate.service", spec->service);
    set_number(labels, "tidegate.serial", spec->serial);
    set_number(labels, "tidegate.slot", spec->slot);
    set_number(labels, "tidegate.generation", spec->generation);
    json_set_str(labels, "tidegate.spec", spec->spec_hash);
    if (first_port(spec->service_config)) { /* inspect tells ports without their order */
        set_number(labels, "tidegate.port", first_port(spec->service_config));
    }
}

static void put_port(const struct docker *d, const struct cJSON *port, bool first,
                     struct cJSON *exposed, struct cJSON *bindings)
{
    int64_t inside = json_int(port, "container", 0), outside = json_int(port, "host", 0);
    const char *protocol = json_str(port, "protocol", "tcp");
    const char *host_ip = json_str(port, "host_ip", "");
    bool reach = first && d->settings.publish; /* that is how we get there */
    char key[32], number[24] = "";
    snprintf(key, sizeof key, "%u/%.8s", (unsigned)inside, protocol);
    put_object(exposed, key);
    if (!outside && !json_bool(port, "publish", false) && !reach) {
        return;
    }
    if (outside) {
        snprintf(number, sizeof number, "%lld", (long long)outside);
    } else if (reach && !host_ip[0] && docker_is_local(d)) {
        host_ip = "127.0.0.1";
    }
    struct cJSON *binding = json_object();
    json_set_str(binding, "HostIp", host_ip);
    json_set_str(binding, "HostPort", number);
    json_set(put_array(bindings, key), NULL, binding);
}

static void put_ports(const struct docker *d, const struct cJSON *service, struct cJSON *body,
                      struct cJSON *host)
{
    struct cJSON *exposed = put_object(body, "ExposedPorts");
    struct cJSON *bindings = put_object(host, "PortBindings");
    const struct cJSON *first = json_first(json_get(service, "ports"));
    for (const struct cJSON *port = first; port; port = json_next(port)) {
        put_port(d, port, port == first, exposed, bindings);
    }
}

/* A directory of the host goes into Mounts, which refuses one that does not exist (Binds would
 * create it); a named volume into Binds, which creates it. */
static int put_volumes(const struct cJSON *service, struct cJSON *host, char **reterr)
{
    struct cJSON *binds = put_array(host, "Binds"), *mounts = put_array(host, "Mounts");
    const struct cJSON *volumes = json_get(service, "volumes");
    for (const struct cJSON *v = json_first(volumes); v; v = json_next(v)) {
        const char *source = json_str(v, "source", ""), *target = json_str(v, "target", "");
        bool read_only = json_bool(v, "read_only", false);
        if (target[0] != '/') {
            *reterr =
                mem_printf("volume \"%s\": its place in the container must be absolute", source);
            return -EINVAL;
        }
        if (source[0] != '/') {
            char *text = source[0] ? mem_printf("%s:%s%s", source, target, read_only ? ":ro" : "")
                                   : mem_copy(target);
            json_add_str(binds, text);
            mem_free(text);
            continue;
        }
        struct cJSON *mount = json_object();
        json_set_str(mount, "Type", "bind");
        json_set_str(mount, "Source", source);
        json_set_str(mount, "Target", target);
        json_set_bool(mount, "ReadOnly", read_only);
        json_set(mounts, NULL, mount);
    }
    return 0;
}

static void put_resources(const struct cJSON *service, struct cJSON *host)
{
    const struct cJSON *resources = json_get(service, "resources");
    double memory = json_num(resources, "memory_bytes", 0), cpus = json_num(resources, "cpus", 0);
    double pids = json_num(resources, "pids", 0), files = json_num(resources, "files", 0);
    if (memory > 0) {
        json_set_num(host, "Memory", memory);
        json_set_num(host, "MemorySwap", memory); /* equal: no swap */
    }
    if (cpus > 0) {
        json_set_num(host, "NanoCpus", (double)(int64_t)(cpus * 1e9 + 0.5));
    }
    if (pids > 0) {
        json_set_num(host, "PidsLimit", pids);
    }
    if (files > 0) {
        struct cJSON *limit = json_object();
        json_set_str(limit, "Name", "nofile");
        json_set_num(limit, "Soft", files);
        json_set_num(limit, "Hard", files);
        json_set(put_array(host, "Ulimits"), NULL, limit);
    }
}

static void put_restart_policy(const struct cJSON *service, struct cJSON *host)
{
    const struct cJSON *policy = json_get(service, "restart_policy");
    const char *name = json_str(policy, "name", "no");
    struct cJSON *to = put_object(host, "RestartPolicy");
    json_set_str(to, "Name", name);
    if (str_same(name, "on-failure")) { /* elsewhere a count is refused */
        json_set_num(to, "MaximumRetryCount", json_num(policy, "max_retries", 0));
    }
}

static void put_duration(struct cJSON *to, const char *key, const struct cJSON *from,
                         const char *from_key)
{
    double ms = json_num(from, from_key, 0);
    if (ms > 0) {
        json_set_num(to, key, ms * 1e6); /* ns */
    }
}

/* Only what was configured: an image's own check stays untouched otherwise. */
static void put_health_check(const struct cJSON *service, struct cJSON *body)
{
    const struct cJSON *check = json_get(service, "health_check");
    const char *kind = json_str(check, "kind", "none");
    if (!json_bool(check, "explicit", true)) {
        return;
    }
    if (str_same(kind, "none") && check) {
        json_add_str(put_array(put_object(body, "Healthcheck"), "Test"), "NONE");
    }
    if (!str_same(kind, "engine")) {
        return;
    }
    struct cJSON *to = put_object(body, "Healthcheck");
    const struct cJSON *command = json_get(check, "command");
    if (json_count(command)) { /* none: the image's own, with these times */
        json_set(to, "Test", json_copy(command));
    }
    put_duration(to, "Interval", check, "interval_ms");
    put_duration(to, "Timeout", check, "timeout_ms");
    put_duration(to, "StartPeriod", check, "start_period_ms");
    json_set_num(to, "Retries", json_num(check, "retries", 3));
}

int docker_body_create(const struct docker *d, const struct engine_spec *spec,
                       struct cJSON **ret_body, char **reterr)
{
    const struct cJSON *service = spec->service_config;
    const char *image = json_str(service, "image", ""), *user = json_str(service, "user", "");
    if (!image[0]) {
        *reterr =
            mem_printf("service \"%s\" has no image, which the docker engine needs", spec->service);
        return -EINVAL;
    }
    struct cJSON *body = json_object();
    struct cJSON *host = put_object(body, "HostConfig");
    json_set_str(body, "Image", image);
    if (json_count(json_get(service, "command"))) {
        json_set(body, "Cmd", json_copy(json_get(service, "command")));
    }
    if (user[0]) {
        json_set_str(body, "User", user);
    }
    double grace_ms = json_num(service, "stop_timeout_ms", 10000);
    json_set_num(body, "StopTimeout", (double)(int64_t)((grace_ms + 999) / 1000));
    put_labels(spec, body);
    put_environment(spec, body);
    put_ports(d, service, body, host);
    put_resources(service, host);
    put_restart_policy(service, host);
    put_health_check(service, body);
    /* A process 1 without a handler ignores SIGTERM; a tiny init passes it on and reaps. */
    json_set_bool(host, "Init", true);
    int rc = put_volumes(service, host, reterr);
    if (rc) {
        json_free(body);
        return rc;
    }
    *ret_body = body;
    return 0;
}

void docker_body_join(const struct docker *d, struct cJSON *body, const char *service)
{
    static const char *const builtin[] = {"bridge", "host", "none"};
    const char *network = d->network_id;
    bool aliases = true;
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++) {
        if (str_same(d->settings.network, builtin[i])) {
            network = builtin[i]; /* by id they would be taken for user networks */
            aliases = false;      /* which they refuse */
        }
    }
    json_set_str(json_get(body, "HostConfig"), "NetworkMode", network);
    if (aliases) {
        struct cJSON *config = put_object(body, "NetworkingConfig");
        struct cJSON *endpoint = put_object(put_object(config, "EndpointsConfig"), network);
        json_add_str(put_array(endpoint, "Aliases"), service);
    }
}
