/* rate.h: how often something is let through, counted over all workers.
 *
 * The generic cell rate algorithm (ITU-T I.371, annex A; the virtual scheduling form): of a key only its
 * theoretical arrival time (TAT) is kept, the moment at which its bucket would be full again. A request
 * moves it by `period / rate`, and is let through unless it came more than `burst` such steps too early.
 * That is a token bucket of `burst` tokens that `rate` a period are put into: in a time t at most
 * burst + rate * t are let through.
 *
 * A fixed table of buckets, a cache line each, of cells "64 bits of the key, 64 bits of TAT"; all workers
 * move a TAT with compare-and-swap, there is no lock and nothing to repair when a worker dies. A TAT in
 * the past says nothing that is not true of a key that was never seen, so such a cell is anybody's. When
 * all cells of a bucket are in use, that with the earliest TAT is taken: its key begins anew, with a full
 * bucket. So what does not fit in errs towards letting through, and never refuses one for another: keys
 * are hashed with a secret of the board, and the last 10 bits of a TAT are of the key that it is counted
 * for, so who writes a key's cell at the moment that it is given away is not counted there. */
#ifndef BOARD_RATE_H
#define BOARD_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/board.h"

/* Settings of a limit, from board_rate_limit. */
struct board_rate {
    uint64_t step;  /* of a request, in units of 16 ns */
    uint64_t reach; /* of the burst, in the same */
    uint32_t burst;
};

/* What was decided. */
struct board_rated {
    bool allowed;
    uint32_t remaining; /* requests that would be let through now */
    uint64_t retry_us;  /* until the next one would be; 0 when one would now */
    uint64_t reset_us;  /* until all `burst` would be */
};

/* `rate` (> 0) in `period_ms` (> 0), and `burst` (> 0) at once. */
struct board_rate board_rate_limit(double rate, double period_ms, uint32_t burst);
/* What a limit counts under, the same in all workers: `limit` tells limits apart, `value` whom they count. */
uint64_t board_rate_key(const struct board *b, uint64_t limit, const void *value, size_t len);
/* Counts a request when it is let through; with `look` it is only said what would be. */
struct board_rated board_rate_take(struct board *b, const struct board_rate *rate, uint64_t key,
                                   uint64_t now_us, bool look);

#endif
