/* deadline.c: exchanges with a deadline of their own, the nearest first: a binary heap.
 *
 * What a client says is any length of time, so the lists of timeout.c, one for each length, are not for it.
 * Invariants: an exchange in the heap knows its place, from 1; the heap has room for all exchanges. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "base/mem.h"

static void put(struct proxy *p, uint32_t place, struct exchange *ex)
{
    p->deadlines[place - 1] = ex;
    ex->due_place = place;
}

static uint64_t due_of(const struct proxy *p, uint32_t place)
{
    return p->deadlines[place - 1]->due_ms;
}

/* Moves what stands at `place` to where it belongs. */
static void settle(struct proxy *p, uint32_t place)
{
    struct exchange *ex = p->deadlines[place - 1];
    while (place > 1 && ex->due_ms < due_of(p, place / 2)) {
        put(p, place, p->deadlines[place / 2 - 1]);
        place /= 2;
    }
    for (uint32_t child = place * 2; child <= p->deadline_count; child = place * 2) {
        child += child < p->deadline_count && due_of(p, child + 1) < due_of(p, child);
        if (due_of(p, child) >= ex->due_ms) {
            break;
        }
        put(p, place, p->deadlines[child - 1]);
        place = child;
    }
    put(p, place, ex);
}

void proxy_deadline_start(struct exchange *ex, uint64_t ms)
{
    struct proxy *p = ex->session->proxy;
    if (!p->deadlines) {
        p->deadlines = mem_array(p->exchange_pool.count, sizeof(struct exchange *));
    }
    ex->due_ms = p->now_ms + ms;
    put(p, ++p->deadline_count, ex);
    settle(p, p->deadline_count);
}

void proxy_deadline_stop(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    uint32_t place = ex->due_place;
    if (!place) {
        return;
    }
    ex->due_place = 0;
    struct exchange *last = p->deadlines[--p->deadline_count];
    if (last != ex) {
        put(p, place, last);
        settle(p, place);
    }
}

int proxy_deadline_next(const struct proxy *p)
{
    if (!p->deadline_count) {
        return -1;
    }
    uint64_t due = p->deadlines[0]->due_ms;
    uint64_t left = due > p->now_ms ? due - p->now_ms : 0;
    return left > 60000 ? 60000 : (int)left;
}

void proxy_deadline_run(struct proxy *p)
{
    while (p->deadline_count && p->deadlines[0]->due_ms <= p->now_ms) {
        struct exchange *ex = p->deadlines[0];
        proxy_deadline_stop(ex);
        proxy_grpc_lapsed(ex);
    }
}
