/* docker_diff.c: finds by listing what Podman's events do not tell; see
 * docker.h. Podman has no `oom` and `kill` events, and its filters and replays
 * are incomplete; so every 5 s the list is compared with the one before, and
 * what differs is told as an event. One that its event told as well comes twice,
 * which is harmless: who gets it inspects. Health is not told at all, since Podman's
 * checks need systemd and its health events lag by one probe. */
#include "engine/docker.h"

#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    EVERY_MS = 5000
};

struct seen {
    enum engine_state state;
    char *service, *name;
    unsigned round; /* of the last list that had it */
};

struct docker_diff {
    struct docker *docker; /* NULL: stopped, only the handle remains */
    uv_timer_t timer;
    struct map seen; /* id -> struct seen */
    unsigned round;
};

static void seen_free(struct seen *s)
{
    mem_free(s->service);
    mem_free(s->name);
    mem_free(s);
}

static void tell(struct docker *d, enum engine_event_kind kind, const char *id,
                 const struct seen *s, int exit_code)
{
    struct engine_event event = {
        .kind = kind, .id = id, .name = s->name, .service = s->service, .exit_code = exit_code};
    docker_samplers_forget(d, id);
    docker_samplers_forget(d, s->name);
    d->engine.listener.event(d->engine.listener.arg, &event);
}

static void compare(struct docker_diff *diff, const struct engine_instance *i)
{
    struct seen *s = map_get(&diff->seen, i->id);
    if (!s) { /* whether it is new is for the listener to know */
        s = mem_new(sizeof *s);
        *s = (struct seen){.state = i->state, .service = mem_copy(i->service)};
        s->name = mem_copy(i->name);
        map_put(&diff->seen, i->id, s);
    }
    s->round = diff->round;
    if (s->state == i->state) {
        return;
    }
    s->state = i->state;
    if (i->state == ENGINE_RUNNING) {
        tell(diff->docker, ENGINE_EVENT_STARTED, i->id, s, 0);
    } else if (i->state == ENGINE_PAUSED) {
        tell(diff->docker, ENGINE_EVENT_PAUSED, i->id, s, 0);
    } else if (i->state != ENGINE_CREATED) {
        tell(diff->docker, ENGINE_EVENT_DIED, i->id, s, i->exit_code);
    }
}

static void on_list(void *arg, const struct engine_error *error,
                    const struct engine_instance *instances, size_t count)
{
    struct docker *d = arg;
    if (error->code || !d->diff) {
        return;
    }
    d->diff->round++;
    for (size_t i = 0; i < count && d->diff; i++) {
        compare(d->diff, &instances[i]);
    }
    size_t at = 0;
    const char *id;
    void *value;
    while (d->diff && map_next(&d->diff->seen, &at, &id, &value)) {
        struct seen *s = value;
        if (s->round != d->diff->round) {
            char gone[ENGINE_ID_BYTES];
            str_copy(gone, sizeof gone, id);
            map_remove(&d->diff->seen, gone);
            tell(d, ENGINE_EVENT_REMOVED, gone, s, 0);
            seen_free(s);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct docker_diff *diff = timer->data;
    docker_list(&diff->docker->engine, on_list, diff->docker);
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void docker_diff_start(struct docker *d)
{
    docker_diff_stop(d);
    d->diff = mem_new(sizeof *d->diff);
    d->diff->docker = d;
    d->diff->timer.data = d->diff;
    uv_timer_init(d->engine.loop, &d->diff->timer);
    uv_timer_start(&d->diff->timer, on_timer, 0, EVERY_MS);
}

void docker_diff_stop(struct docker *d)
{
    struct docker_diff *diff = d->diff;
    if (!diff) {
        return;
    }
    d->diff = NULL;
    size_t at = 0;
    const char *id;
    void *value;
    while (map_next(&diff->seen, &at, &id, &value)) {
        seen_free(value);
    }
    map_free(&diff->seen);
    uv_close((uv_handle_t *)&diff->timer, on_closed);
}
