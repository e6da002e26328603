/* shadows.c: what routes' shadow policies would have picked, as workers count it on the board since they
 * took the configuration in force. */
#include "app/master.h"

#include <stdio.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "watch/watch.h"

struct tally {
    uint64_t asked, differed, failed;
};

static struct tally sum(const struct master *m, unsigned route)
{
    struct tally t = {0};
    for (unsigned w = 0; w < board_workers(m->board); w++) {
        const struct board_route *row = board_route(m->board, w, route % BOARD_ROUTES);
        t.asked += board_get(&row->shadow_asked);
        t.differed += board_get(&row->shadow_differed);
        t.failed += board_get(&row->shadow_failed);
    }
    return t;
}

/* A route that has a shadow; `number` is its row on the board, `place` that in its service. */
typedef void route_fn(const struct master *m, void *arg, const struct cJSON *service,
                      const struct cJSON *route, unsigned number, unsigned place);

static void each(const struct master *m, route_fn *fn, void *arg)
{
    unsigned number = 0;
    const struct cJSON *s = json_first(json_get(m->config, "services"));
    for (; s; s = json_next(s)) {
        unsigned place = 1;
        const struct cJSON *r = json_first(json_get(s, "routes"));
        for (; r; r = json_next(r), number++, place++) {
            if (json_get(r, "shadow")) {
                fn(m, arg, s, r, number, place);
            }
        }
    }
}

static void put(const struct master *m, void *arg, const struct cJSON *service,
                const struct cJSON *route, unsigned number, unsigned place)
{
    struct cJSON *to = json_first(json_get(arg, "services"));
    while (to && !str_same(json_str(to, "name", ""), json_str(service, "name", ""))) {
        to = json_next(to);
    }
    if (!to) {
        return; /* another service was asked about */
    }
    struct tally t = sum(m, number);
    struct cJSON *list = json_get(to, "route_shadows"), *one = json_object();
    if (!list) {
        list = json_array();
        json_set(to, "route_shadows", list);
    }
    json_set_num(one, "route", place);
    json_set_str(one, "path", json_str(route, "path", ""));
    json_set_str(one, "name", json_str(json_get(route, "shadow"), "policy", ""));
    json_set_num(one, "asked", (double)t.asked);
    json_set_num(one, "differed", (double)t.differed);
    json_set_num(one, "errors", (double)t.failed);
    json_set(list, NULL, one);
}

void shadows_status(const struct master *m, struct cJSON *status)
{
    each(m, put, status);
}

static void write_one(const struct master *m, void *arg, const struct cJSON *service,
                      const struct cJSON *route, unsigned number, unsigned place)
{
    struct tally t = sum(m, number);
    char text[16]; /* a number below 2^32 */
    (void)snprintf(text, sizeof text, "%u", place);
    const struct watch_shadow shadow = {
        .point = "balance",
        .of = json_str(service, "name", ""),
        .route = text,
        .policy = json_str(json_get(route, "shadow"), "policy", ""),
        .answers = t.asked,
        .differences = t.differed,
        .errors = t.failed,
    };
    watch_shadow(arg, &shadow);
}

void shadows_write(const struct master *m, struct families *families)
{
    each(m, write_one, families);
}
