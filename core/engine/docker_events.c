/* docker_events.c: what the engine tells by itself; see docker.h.
 *
 * Called by: the event stream's reader, for each line, inside libcurl.
 * Invariants: never waits and never pauses the stream, since a reader that does
 * slows the whole engine down. Only `Type`, `Action` and `Actor` are read: the
 * other members went away with API 1.52. */
#include "engine/docker.h"

#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static const struct {
    const char *action;
    enum engine_event_kind kind;
    bool podman; /* only Podman's word; Docker need not be asked for it */
} actions[] = {
    {"start", ENGINE_EVENT_STARTED, false},
    {"die", ENGINE_EVENT_DIED, false},
    {"oom", ENGINE_EVENT_OOM, false},
    {"destroy", ENGINE_EVENT_REMOVED, false},
    {"pause", ENGINE_EVENT_PAUSED, false},
    {"unpause", ENGINE_EVENT_UNPAUSED, false},
    {"health_status", ENGINE_EVENT_HEALTH, false},
    {"died", ENGINE_EVENT_DIED, true},
    {"remove", ENGINE_EVENT_REMOVED, true},
};
enum {
    ACTIONS = sizeof actions / sizeof *actions
};

/* {"type":["container"],"label":["tidegate.cluster=shop"],"event":["start",...]} */
char *docker_events_path(const struct docker *d)
{
    struct cJSON *filters = json_object(), *list;
    char *label = mem_printf("tidegate.cluster=%s", d->settings.cluster);
    json_set(filters, "type", list = json_array());
    json_add_str(list, "container");
    json_set(filters, "label", list = json_array());
    json_add_str(list, label);
    if (!d->podman) { /* whose filter by event does not know its own words */
        json_set(filters, "event", list = json_array());
        for (size_t i = 0; i < ACTIONS; i++) {
            if (!actions[i].podman) {
                json_add_str(list, actions[i].action);
            }
        }
    }
    char *text = json_text(filters);
    char *path = docker_path("/events?filters=", text, "");
    json_free(filters);
    mem_free(text);
    mem_free(label);
    return path;
}

/* Attributes are strings; -1 when there is none. */
static int exit_code_of(const struct cJSON *attributes)
{
    const char *text =
        json_str(attributes, "exitCode", json_str(attributes, "containerExitCode", ""));
    uint64_t code;
    return str_to_u64(str_of(text), &code) || code > 0x7fffffff ? -1 : (int)code;
}

static void tell(struct docker *d, enum engine_event_kind kind, const struct cJSON *json,
                 const char *detail)
{
    const struct cJSON *actor = json_get(json, "Actor");
    const struct cJSON *attributes = json_get(actor, "Attributes");
    const char *id = json_str(actor, "ID", "");
    if (!id[0] || strlen(id) >= ENGINE_ID_BYTES || !docker_labels_ours(d, attributes)) {
        return;
    }
    struct engine_event event = {
        .kind = kind,
        .id = id,
        .name = json_str(attributes, "name", ""),
        .service = json_str(attributes, "tidegate.service", ""),
        .exit_code = kind == ENGINE_EVENT_DIED ? exit_code_of(attributes) : 0,
        .health = ENGINE_HEALTH_NONE,
    };
    if (kind == ENGINE_EVENT_HEALTH) {
        event.health = docker_health_of(detail[0] ? detail : json_str(json, "HealthStatus", ""));
    }
    if (kind != ENGINE_EVENT_HEALTH) {
        docker_samplers_forget(d, id);
        docker_samplers_forget(d, event.name);
    }
    d->engine.listener.event(d->engine.listener.arg, &event);
}

void docker_events_line(void *arg, const char *line, size_t len)
{
    struct docker *d = arg;
    struct str text = str_trim((struct str){line, len});
    if (d->link != DOCKER_UP || !text.len || str_is(text, "\r")) {
        return;
    }
    struct cJSON *json = json_parse(text.ptr, text.len);
    if (!json) {
        log_warn("event of the engine is not JSON", "bytes=%zu", len);
        return;
    }
    /* "die", "health_status: healthy" */
    struct str detail = str_of(json_str(json, "Action", "")), action;
    if (str_same(json_str(json, "Type", ""), "container") && str_next(&detail, ':', &action)) {
        for (size_t i = 0; i < ACTIONS; i++) {
            if (str_is(action, actions[i].action)) {
                tell(d, actions[i].kind, json, detail.ptr ? str_trim(detail).ptr : "");
            }
        }
    }
    json_free(json);
}
