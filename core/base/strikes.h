/* strikes.h: whether something failed too often: K times within a window, and not just a few out of very many.
 *
 * Zeroed is empty. A failure is a strike; `calls` says out of how many, so that one in a million of a busy
 * caller is no reason: the K strikes must lie within STRIKES_CALLS times K calls. Where nobody counts calls,
 * give 0 each time. */
#ifndef BASE_STRIKES_H
#define BASE_STRIKES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    STRIKES_MOST = 20,  /* highest limit */
    STRIKES_CALLS = 100 /* a strike in so many calls is still too often */
};

struct strikes {
    uint64_t count;               /* ever */
    uint64_t at_ms[STRIKES_MOST]; /* at count % limit */
    uint64_t at_calls[STRIKES_MOST];
};

/* One more at now_ms, when there had been `calls` calls in all. True: these are `limit` (1 .. STRIKES_MOST)
 * within window_ms; 0 is never. The limit stays the same until it is zeroed. */
bool strikes_add(struct strikes *s, uint32_t limit, uint64_t window_ms, uint64_t now_ms,
                 uint64_t calls);

#endif
