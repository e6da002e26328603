/* shadow.c: a route's shadow policy: asked for some of the requests that the route's own policy decided, with
 * the same rows, never obeyed. What came of it is counted on the board.
 *
 * Called by: pick.c, for routes that have one. Allocates nothing. */
#include "proxy/parts.h"

#include <errno.h>
#include <stdio.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"

enum {
    FAILURES_MOST = 20 /* in a row; then it rests until the next reload */
};

int proxy_shadow_new(struct route *r, const struct cJSON *json, char **reterr)
{
    const struct cJSON *shadow = json_get(json, "shadow");
    if (!shadow) {
        return 0;
    }
    r->shadow.policy = mem_copy(json_str(shadow, "policy", ""));
    int rc = script_picker_new(r->generation->hot, r->shadow.policy, json_get(shadow, "params"),
                               r->rows, r->capacity, &r->shadow.picker, reterr);
    if (rc) {
        r->shadow.picker = NULL;
    }
    return rc;
}

void proxy_shadow_free(struct route *r)
{
    script_picker_free(r->shadow.picker);
    mem_free(r->shadow.policy);
}

void proxy_shadow_begin(struct proxy *p, const struct generation *g)
{
    for (uint32_t i = 0; i < g->route_count; i++) {
        struct board_route *row =
            board_route(p->options.board, p->options.worker, g->routes[i].number);
        board_set(&row->shadow_asked, 0);
        board_set(&row->shadow_differed, 0);
        board_set(&row->shadow_failed, 0);
    }
}

static void failed(struct proxy *p, struct route *r, const char *error)
{
    char text[300]; /* words, a name of less than 64 bytes, and what fits of the error */
    if (++r->shadow.failures < FAILURES_MOST) {
        return;
    }
    r->shadow.rests = true;
    snprintf(text, sizeof text,
             "shadow %.63s of route %u is not asked until the next reload, for it failed %d times "
             "in a row: %.120s",
             r->shadow.policy, r->place, FAILURES_MOST, error);
    proxy_tell(p, "policy", r->service->name, "", text);
}

void proxy_shadow_ask(struct proxy *p, struct route *r, uint32_t count, int chosen)
{
    if (r->shadow.rests || r->generation != p->current) {
        return;
    }
    struct board_route *row = board_route(p->options.board, p->options.worker, r->number);
    int at = script_pick(r->shadow.picker, &p->asked);
    bool may = at == -ENOENT || (at >= 0 && (uint32_t)at < count && r->rows[at].eligible);
    board_add(&row->shadow_asked, 1);
    if (!may) {
        board_add(&row->shadow_failed, 1);
        failed(p, r,
               at == -EIO ? script_picker_error(r->shadow.picker)
                          : "the policy chose a backend that it may not");
        return;
    }
    r->shadow.failures = 0;
    board_add(&row->shadow_differed, at != chosen);
}
