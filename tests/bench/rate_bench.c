/* rate_bench.c: what asking a rate limit costs, key and all; prints nanoseconds a request.
 *   rate_bench [ROUNDS] */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "board/rate.h"

static double cost_ns(struct board *b, unsigned keys, unsigned rounds)
{
    struct board_rate limit = board_rate_limit(1e6, 1000, 1000000);
    uint64_t began = clock_now_us(), allowed = 0;
    for (unsigned i = 0; i < rounds; i++) {
        uint32_t address = i % keys;
        uint64_t key = board_rate_key(b, 7, &address, sizeof address);
        allowed += board_rate_take(b, &limit, key, began + i, false).allowed;
    }
    return allowed ? (double)(clock_now_us() - began) * 1000 / rounds : 0;
}

int main(int argc, char **argv)
{
    static const unsigned keys[] = {1, 1000, 100000};
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5000000;
    struct board *b;
    if (board_new(4, &b)) {
        return 1;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        printf("rate limit, %6u keys: %6.1f ns\n", keys[i], cost_ns(b, keys[i], rounds));
    }
    board_free(b);
    return 0;
}
