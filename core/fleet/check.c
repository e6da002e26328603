/* check.c: whether an instance is healthy: the engine's own check when it has one, else a probe,
 * else that it runs.
 *
 * A service that configured no check is asked on the default path; where that does not exist (404)
 * a connection has to do. */
#include "fleet/fleet_private.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "probe/probe.h" /* types only: results and specs pass through ports */

enum {
    PATIENCE_MS = 10000
}; /* with an instance whose check has no interval of its own */

static enum fleet_check decide(const struct instance *i)
{
    const struct spec *spec = &i->service->spec;
    bool http = !strcmp(spec->check_kind, "http");
    bool tcp = !strcmp(spec->check_kind, "tcp");
    if (i->backend && !strcmp(spec->check_kind, "none")) {
        return FLEET_CHECK_RUNNING; /* the operator wants it unchecked */
    }
    if (i->backend && !spec->check_explicit && i->health != ENGINE_HEALTH_NONE) {
        return FLEET_CHECK_ENGINE; /* a container with a check of its own */
    }
    if (!strcmp(spec->check_kind, "grpc")) {
        return FLEET_CHECK_GRPC;
    }
    if (i->backend) {
        return http && spec->check_explicit ? FLEET_CHECK_HTTP : FLEET_CHECK_TCP;
    }
    if (!http && !tcp && strcmp(spec->check_kind, "engine") != 0) {
        return FLEET_CHECK_RUNNING;
    }
    if (spec->check_explicit && (http || tcp)) {
        return http ? FLEET_CHECK_HTTP : FLEET_CHECK_TCP;
    }
    if (i->health != ENGINE_HEALTH_NONE) {
        return FLEET_CHECK_ENGINE;
    }
    if (!spec->has_ports || !(http || tcp)) {
        return FLEET_CHECK_RUNNING;
    }
    return http && !i->no_path ? FLEET_CHECK_HTTP : FLEET_CHECK_TCP;
}

/* Whether it is we who ask. */
static bool probed(const struct instance *i)
{
    return i->check == FLEET_CHECK_HTTP || i->check == FLEET_CHECK_TCP ||
           i->check == FLEET_CHECK_GRPC;
}

/* The address with the check's own port, when it has one. The caller owns it. */
static char *check_address(const struct instance *i)
{
    uint32_t port = i->service->spec.check_port;
    const char *colon = strrchr(i->address, ':');
    if (!port || !colon || !strncmp(i->address, "unix:", 5)) {
        return mem_copy(i->address);
    }
    return mem_printf("%.*s:%u", (int)(colon - i->address), i->address, port);
}

static void watch(struct instance *i)
{
    const struct spec *spec = &i->service->spec;
    char *address = check_address(i);
    bool http = i->check == FLEET_CHECK_HTTP, grpc = i->check == FLEET_CHECK_GRPC;
    const struct cJSON *settings = spec->upstream_tls;
    const struct probe_tls tls = {
        .ca = json_str(settings, "ca", NULL),
        .certificate = json_str(settings, "certificate", NULL),
        .key = json_str(settings, "key", NULL),
        .name = json_str(settings, "name", NULL),
        .skip_verify = !json_bool(settings, "verify", true),
    };
    const struct probe_spec probe = {
        .kind = http   ? PROBE_HTTP
                : grpc ? PROBE_GRPC
                       : PROBE_TCP,
        .address = address,
        .path = http || grpc ? spec->check_path : NULL,
        .http2 = spec->http2,
        .tls = spec->https ? &tls : NULL,
        .interval_ms = spec->check_interval_ms,
        .timeout_ms = spec->check_timeout_ms,
        .start_period_ms = spec->check_start_period_ms,
        .retries = spec->check_retries,
        .rise = spec->check_rise,
    };
    int rc = i->fleet->ports.probe_add(i->fleet->ports.arg, i->id, &probe);
    i->watched = rc == 0;
    if (rc) {
        char *detail = mem_printf("address cannot be checked: %s", address);
        fleet_tell(i->fleet, "instance", i->service, i, "health check refused", detail, true);
        mem_free(detail);
    }
    mem_free(address);
}

void fleet_check_start(struct instance *i)
{
    if (i->running_ms == 0) {
        i->running_ms = i->fleet->now_ms;
    }
    i->check = decide(i);
    if (probed(i) && !i->watched && *i->address) {
        watch(i);
    } else if (!probed(i)) {
        fleet_check_stop(i);
    }
}

void fleet_check_stop(struct instance *i)
{
    i->fit = false;
    if (i->watched) {
        i->watched = false;
        i->fleet->ports.probe_remove(i->fleet->ports.arg, i->id);
    }
}

static void become_up(struct instance *i, const char *why, uint32_t attempts)
{
    struct fleet *f = i->fleet;
    if (i->state != FLEET_WAITING && i->state != FLEET_DOWN) {
        return;
    }
    if (i->slot == FLEET_NO_SLOT && !fleet_slot_take(i)) {
        i->fit = true; /* tried again by the next step */
        return;
    }
    i->fit = false;
    char *detail = i->state == FLEET_WAITING && !i->adopted && attempts
                       ? mem_printf("%s, attempts %u, %.1f s after start", why, attempts,
                                    (double)(f->now_ms - i->since_ms) / 1000)
                       : mem_copy(why);
    fleet_instance_to(i, FLEET_UP, detail);
    mem_free(detail);
    struct service *s = i->service;
    if (fleet_current(i) && s->failure.reason && s->failure.at_ms <= i->created_ms) {
        fleet_failure_clear(&s->failure);
    }
}

static void probe_has_no_path(struct instance *i)
{
    const char *reason = "";
    int status = 0;
    uint32_t attempts = 0;
    i->fleet->ports.probe_reason(i->fleet->ports.arg, i->id, &reason, &status, &attempts);
    if (status == 404) {
        i->no_path = true;
        fleet_check_stop(i);
        fleet_check_start(i);
    }
}

void fleet_check_step(struct instance *i)
{
    struct fleet *f = i->fleet;
    if (i->fit) {
        become_up(i, i->reason, 0);
        return;
    }
    if (i->backend && i->check == FLEET_CHECK_RUNNING) {
        become_up(i, "not checked", 0);
        return;
    }
    bool runs = i->running_ms && i->engine_state == ENGINE_RUNNING;
    if (i->check == FLEET_CHECK_RUNNING && runs && f->now_ms >= i->running_ms + FLEET_RUNNING_MS) {
        become_up(i, "running", 0);
    } else if (i->check == FLEET_CHECK_ENGINE && runs && i->health == ENGINE_HEALTHY) {
        become_up(i, "the engine's health check passed", 0);
    } else if (i->check == FLEET_CHECK_HTTP && i->watched && !i->backend &&
               !i->service->spec.check_explicit && !i->up_ms) {
        probe_has_no_path(i);
    }
}

char *fleet_check_verdict(const struct instance *i)
{
    double waited_s = (double)(i->fleet->now_ms - i->since_ms) / 1000;
    const char *last = "";
    int status = 0;
    uint32_t attempts = 0;
    if (i->watched) {
        i->fleet->ports.probe_reason(i->fleet->ports.arg, i->id, &last, &status, &attempts);
    } else if (i->check == FLEET_CHECK_ENGINE) {
        last = i->health == ENGINE_UNHEALTHY ? "unhealthy by the engine's health check"
                                             : "the engine's health check is still starting";
    } else if (!*i->address && i->service->spec.has_ports) {
        last = "the engine gave it no address";
    }
    if (last && *last) {
        return mem_printf("%s (health check time-out after %.0f s, attempts %u)", last, waited_s,
                          attempts);
    }
    return mem_printf("health check time-out after %.0f s", waited_s);
}

uint64_t fleet_check_patience_ms(const struct instance *i)
{
    const struct spec *spec = &i->service->spec;
    uint64_t patience_ms = (uint64_t)spec->check_interval_ms * spec->check_retries;
    return probed(i) || i->check == FLEET_CHECK_ENGINE ? patience_ms : PATIENCE_MS;
}

void fleet_on_probe(struct fleet *f, const struct probe_result *result, uint64_t now_ms)
{
    f->now_ms = now_ms;
    struct instance *i = map_get(&f->instances, result->id);
    if (!i || !i->watched) {
        return;
    }
    if (*result->body || !result->healthy) {
        mem_free(i->health_output);
        i->health_output =
            mem_printf("%s%s%s", result->reason, *result->body ? ": " : "", result->body);
    }
    i->fit = false;
    if (result->healthy) {
        become_up(i, result->reason, result->attempts);
    } else if (i->state == FLEET_UP || (i->state == FLEET_WAITING && (i->adopted || i->backend))) {
        fleet_instance_down(i, result->reason);
    }
    fleet_service_reconcile(i->service);
    fleet_settle(f);
}
