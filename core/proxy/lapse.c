/* lapse.c: failures of what decides for a route: its balance policy, its request function.
 *
 * From the first failure on C does without it (pick.c, function.c). When it fails again and again it is asked once
 * a second only, so that one that runs away costs little; when the master says so, not any more. Who counts
 * towards that is the master, over all workers. */
#include "proxy/parts.h"

#include <stdio.h>

#include "base/ban.h"
#include "base/limits.h"
#include "base/str.h"

enum {
    FAILURES_MOST = 8, /* in a row; then it rests */
    REST_MS = 1000,
    TELL_MS = 1000
};

bool proxy_lapse_may_ask(const struct proxy *p, struct lapses *l)
{
    if (l->quarantined || p->now_ms < l->aside_ms) {
        return false;
    }
    l->calls++;
    return true;
}

static void tell(const struct exchange *ex, struct lapses *l, const struct http1_head *head,
                 const char *error)
{
    struct proxy *p = ex->session->proxy;
    const struct route *r = ex->route;
    char input[LIMIT_REASON_BYTES];
    bool reader = head != NULL;
    if (head) {
        (void)snprintf(input, sizeof input, "%.*s %.*s of %s", (int)head->method_text.len,
                       head->method_text.ptr, (int)head->path.len, head->path.ptr,
                       ex->session->peer);
    } else {
        (void)snprintf(input, sizeof input,
                       "a request of %s to %s%s, attempt %u, %u of %u backends eligible",
                       ex->session->peer, r->host, r->path, ex->tries + 1u, r->field.eligible,
                       r->service->count);
    }
    const struct proxy_fault fault = {
        .point = reader ? "request" : "balance",
        .service = r->service->name,
        .place = r->place,
        .policy = reader ? "function" : r->policy,
        .error = error,
        .input = input,
        .generation = ex->generation->number,
        .errors = l->errors,
        .calls = l->calls - l->told_calls,
    };
    l->errors = 0;
    l->told_calls = l->calls;
    l->tell_ms = p->now_ms + TELL_MS;
    p->on_fault(p->fault_arg, &fault);
    p->uv_due = true;
}

void proxy_lapse(const struct exchange *ex, struct lapses *l, const struct http1_head *head,
                 const char *error)
{
    struct proxy *p = ex->session->proxy;
    l->errors++;
    if (++l->in_a_row >= FAILURES_MOST) {
        l->aside_ms = p->now_ms + REST_MS;
    }
    if (p->on_fault && p->now_ms >= l->tell_ms) {
        tell(ex, l, head, error);
    }
}

void proxy_quarantine(struct proxy *p, uint32_t generation, const char *point, const char *service,
                      uint32_t place)
{
    struct generation *g = p->current;
    for (uint32_t i = 0; g && g->number == generation && i < g->route_count; i++) {
        struct route *r = &g->routes[i];
        if (r->place == place && str_same(r->service->name, service)) {
            r->lapses.quarantined |= str_same(point, "balance");
            r->reader_lapses.quarantined |= str_same(point, "request");
        }
    }
}
