/* spec.c: a service's settings as the fleet uses them, and the hash that tells whether a change
 * needs new instances. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

/* What is fixed when an instance is created. Everything else is applied in place. */
static const char *const fixed_keys[] = {
    "source", "image",   "command",        "directory",       "user", "environment", "resources",
    "ports",  "volumes", "restart_policy", "stop_timeout_ms",
};

/* What a health check asks: with another question a new instance has to answer it before an old one
 * goes, so that a wrong path fails a deploy and not the service. How often is applied in place. */
static const char *const question_keys[] = {"kind", "explicit", "path", "port"};

const char *fleet_mode_name(enum fleet_mode mode)
{
    static const char *const names[FLEET_MODES] = {"active", "recommend", "shadow", "paused",
                                                   "pinned"};
    return names[mode];
}

uint64_t fleet_spec_hash(const struct cJSON *value)
{
    if (!value) {
        return 0;
    }
    if (!json_first(value)) {
        char *text = json_text(value);
        uint64_t hash = hash_bytes(text, strlen(text));
        mem_free(text);
        return hash;
    }
    uint64_t sum = 0;
    uint64_t at = 0;
    for (struct cJSON *i = json_first(value); i; i = json_next(i)) {
        const char *name = json_name(i);
        uint64_t part[2] = {*name ? 0 : ++at, fleet_spec_hash(i)};
        /* A sum does not depend on the order of members; elements of arrays carry their place. */
        sum += hash_more(hash_bytes(name, strlen(name)), part, sizeof part);
    }
    return hash_bytes(&sum, sizeof sum);
}

static void hash_spec(struct spec *spec, const struct cJSON *config)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < sizeof fixed_keys / sizeof *fixed_keys; i++) {
        uint64_t part = fleet_spec_hash(json_get(config, fixed_keys[i]));
        hash = hash_more(hash, &part, sizeof part);
    }
    const struct cJSON *check = json_get(config, "health_check");
    for (size_t i = 0; i < sizeof question_keys / sizeof *question_keys; i++) {
        uint64_t part = fleet_spec_hash(json_get(check, question_keys[i]));
        hash = hash_more(hash, &part, sizeof part);
    }
    if (!strcmp(spec->check_kind, "engine")) {
        uint64_t part = spec->check_hash; /* the check is made with the instance */
        hash = hash_more(hash, &part, sizeof part);
    }
    hash_hex(hash, spec->hash);
}

static uint32_t number(const struct cJSON *object, const char *key, uint32_t otherwise)
{
    int64_t value = json_int(object, key, otherwise);
    return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static uint32_t at_least(uint32_t value, uint32_t least)
{
    return value < least ? least : value;
}

/* Of what checks over TLS depend on, which is not where it is written. */
static uint64_t tls_hash(const struct spec *spec)
{
    static const char *const keys[] = {"ca", "name", "verify", "certificate", "key"};
    uint64_t hash = spec->https;
    for (size_t i = 0; spec->https && i < sizeof keys / sizeof keys[0]; i++) {
        uint64_t part = fleet_spec_hash(json_get(spec->upstream_tls, keys[i]));
        hash = hash_more(hash, &part, sizeof part);
    }
    return hash;
}

static void read_check(struct spec *spec, const struct cJSON *check)
{
    spec->check_hash = fleet_spec_hash(check) + spec->http2 + tls_hash(spec);
    spec->check_kind = json_str(check, "kind", "http");
    spec->check_path = json_str(check, "path", "/health");
    spec->check_explicit = json_bool(check, "explicit", false);
    spec->check_port = number(check, "port", 0);
    spec->check_interval_ms = at_least(number(check, "interval_ms", 30000), 10);
    spec->check_timeout_ms = at_least(number(check, "timeout_ms", 5000), 10);
    spec->check_retries = at_least(number(check, "retries", 3), 1);
    spec->check_rise = at_least(number(check, "rise", 1), 1);
    spec->check_start_period_ms = number(check, "start_period_ms", 0);
}

/* Whether a group of guard rails is on: absent as by default, empty when it was switched off. */
static bool is_on(const struct cJSON *scale, const char *key, const struct cJSON **ret_group)
{
    *ret_group = json_get(scale, key);
    return !*ret_group || json_first(*ret_group);
}

static void read_rails(struct rails *r, const struct cJSON *scale)
{
    const struct cJSON *g;
    *r = (struct rails){0};
    if (is_on(scale, "step_limits", &g)) {
        r->up_factor = json_num(g, "up_factor", 4);
        r->up_count = number(g, "up_count", 8);
        r->up_period_ms = number(g, "up_period_ms", 30000);
        r->down_percent = json_num(g, "down_percent", 25);
        r->down_period_ms = number(g, "down_period_ms", 60000);
        r->after_up_ms = number(g, "after_up_ms", 60000);
    }
    if (is_on(scale, "saturation", &g)) {
        r->saturation_percent = json_num(g, "more_percent", 50);
        r->saturation_times = at_least(number(g, "times", 3), 1);
        r->saturation_cpu = json_num(g, "cpu", 95);
        r->saturation_wait_ms = number(g, "queue_wait_ms", 200);
    }
    if (is_on(scale, "churn", &g)) {
        r->churn_changes = number(g, "changes", 12);
        r->churn_window_ms = number(g, "window_ms", 3600000);
        r->churn_freeze_ms = number(g, "freeze_ms", 1800000);
    }
}

static enum fleet_mode read_mode(const struct cJSON *scale)
{
    const char *name = json_str(scale, "mode", "active");
    enum fleet_mode mode = FLEET_ACTIVE;
    while (mode < FLEET_MODES && strcmp(name, fleet_mode_name(mode)) != 0) {
        mode++;
    }
    return mode < FLEET_MODES ? mode : FLEET_ACTIVE;
}

static void read_scale(struct spec *spec, const struct cJSON *scale)
{
    spec->policy = json_str(scale, "policy", "");
    spec->scaled = !spec->is_static && *spec->policy != '\0';
    spec->min = number(scale, "min", 1);
    spec->max = at_least(number(scale, "max", spec->min), spec->min);
    if (spec->max > LIMIT_INSTANCES) {
        spec->max = LIMIT_INSTANCES;
        spec->min = spec->min > spec->max ? spec->max : spec->min;
    }
    spec->up_cooldown_ms = number(scale, "up_cooldown_ms", 300000);
    spec->down_cooldown_ms = number(scale, "down_cooldown_ms", 600000);
    spec->idle_ms = at_least(number(scale, "idle_ms", 900000), 1000);
    spec->scale_interval_ms = at_least(number(scale, "interval_ms", 15000), 100);
    read_rails(&spec->rails, scale);
    spec->mode = spec->scaled ? read_mode(scale) : FLEET_ACTIVE;
    spec->pinned = number(scale, "pinned", spec->min);
}

void fleet_spec_read(struct spec *spec, const struct cJSON *config)
{
    *spec = (struct spec){0};
    spec->is_static = !strcmp(json_str(config, "source", ""), "backends");
    spec->has_ports = json_first(json_get(config, "ports")) != NULL;
    spec->deploy_timeout_ms = number(json_get(config, "deploy"), "timeout_ms", 120000);
    spec->stop_timeout_ms = number(config, "stop_timeout_ms", 10000);
    spec->drain_timeout_ms = number(config, "drain_timeout_ms", 30000);
    spec->weight = json_num(config, "weight", 1);
    spec->max_connections = json_num(config, "max_connections", 100);
    spec->capacity = json_num(config, "capacity", 1000);
    const char *protocol = json_str(config, "protocol", "http");
    spec->https = !strcmp(protocol, "https") || !strcmp(protocol, "h2");
    spec->http2 = !strcmp(protocol, "h2c") || !strcmp(protocol, "h2");
    spec->upstream_tls = json_get(config, "upstream_tls");
    read_check(spec, json_get(config, "health_check"));
    read_scale(spec, json_get(config, "scale"));
    hash_spec(spec, config);
}

const struct cJSON *fleet_spec_tags(const struct cJSON *config, uint32_t place)
{
    const struct cJSON *tags = json_get(config, "tags");
    const struct cJSON *entry = json_first(tags);
    if (json_count(tags) == 1) {
        return entry;
    }
    for (uint32_t at = 1; entry && at < place; at++) {
        entry = json_next(entry);
    }
    return entry;
}
