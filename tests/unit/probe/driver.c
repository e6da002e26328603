/* driver.c: writes down what a probe set reports, for specs. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/ban.h"
#include "base/str.h"
#include "probe/probe.h"

enum {
    CHANGES = 64
};

struct probechange {
    char id[64], reason[256], body[520];
    bool healthy;
    uint32_t attempts, took_ms;
    int32_t status;
};

struct proberecord {
    uint32_t count;
    struct probe_set *remove_from; /* when set, a report removes its check */
    struct probechange changes[CHANGES];
};

struct probe_set *proberecord_set(struct proberecord *r, struct uv_loop_s *loop,
                                  struct net_client *client);

static void on_change(void *arg, const struct probe_result *result)
{
    struct proberecord *r = arg;
    struct probechange *to = &r->changes[r->count++ % CHANGES];
    *to = (struct probechange){.healthy = result->healthy,
                               .attempts = result->attempts,
                               .took_ms = result->took_ms,
                               .status = result->status};
    str_copy(to->id, sizeof to->id, result->id);
    str_copy(to->reason, sizeof to->reason, result->reason);
    str_copy(to->body, sizeof to->body, result->body);
    if (r->remove_from) {
        probe_remove(r->remove_from, result->id);
    }
}

struct probe_set *proberecord_set(struct proberecord *r, struct uv_loop_s *loop,
                                  struct net_client *client)
{
    return probe_set_new(loop, client, on_change, r);
}
