/* strikes.c: see strikes.h. */
#include "base/strikes.h"

#include "base/ban.h"

bool strikes_add(struct strikes *s, uint32_t limit, uint64_t window_ms, uint64_t now_ms,
                 uint64_t calls)
{
    if (limit == 0) {
        return false;
    }
    uint32_t most = limit < STRIKES_MOST ? limit : STRIKES_MOST;
    uint32_t at = (uint32_t)(s->count++ % most);
    s->at_ms[at] = now_ms;
    s->at_calls[at] = calls;
    uint32_t oldest = (uint32_t)(s->count % most); /* overwritten by the next one */
    return s->count >= most && now_ms - s->at_ms[oldest] <= window_ms &&
           calls - s->at_calls[oldest] <= (uint64_t)most * STRIKES_CALLS;
}
