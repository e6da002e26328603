/* rate_driver.c: processes that ask for one key at once, for rate_spec.lua. */
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "board/rate.h"

enum {
    STEP_US = 5 /* between two requests, whoever sends them */
};

struct storm {
    uint64_t now_us, allowed, asked;
};

/* So many processes ask for `ms` of a clock that their requests move on: how many were let through. */
uint64_t rate_storm(struct board *b, unsigned processes, double rate, uint32_t burst, unsigned ms,
                    uint64_t *ret_asked);

uint64_t rate_storm(struct board *b, unsigned processes, double rate, uint32_t burst, unsigned ms,
                    uint64_t *ret_asked)
{
    struct storm *storm =
        mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct board_rate limit = board_rate_limit(rate, 1000, burst);
    const uint64_t begin = 1000000, end = begin + ms * (uint64_t)1000;
    uint64_t key = board_rate_key(b, 1, "storm", 5);
    storm->now_us = begin;
    for (unsigned i = 0; i < processes; i++) {
        if (fork() == 0) {
            for (;;) {
                uint64_t now = __atomic_fetch_add(&storm->now_us, STEP_US, __ATOMIC_RELAXED);
                if (now >= end) {
                    _exit(0);
                }
                bool allowed = board_rate_take(b, &limit, key, now, false).allowed;
                __atomic_fetch_add(&storm->allowed, allowed, __ATOMIC_RELAXED);
                __atomic_fetch_add(&storm->asked, 1, __ATOMIC_RELAXED);
            }
        }
    }
    for (unsigned i = 0; i < processes; i++) {
        (void)wait(NULL);
    }
    uint64_t allowed = storm->allowed;
    *ret_asked = storm->asked;
    munmap(storm, sizeof *storm);
    return allowed;
}
