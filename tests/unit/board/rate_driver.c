/* rate_driver.c: processes that ask for one key at once, for rate_spec.lua. */
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "board/rate.h"

struct storm {
    uint64_t allowed;
    uint64_t asked;
};

/* So many processes ask for `ms`; how many requests were let through, and in how long. */
uint64_t rate_storm(struct board *b, unsigned processes, double rate, uint32_t burst, unsigned ms,
                    uint64_t *ret_asked, uint64_t *ret_us);

uint64_t rate_storm(struct board *b, unsigned processes, double rate, uint32_t burst, unsigned ms,
                    uint64_t *ret_asked, uint64_t *ret_us)
{
    struct storm *storm =
        mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct board_rate limit = board_rate_limit(rate, 1000, burst);
    uint64_t key = board_rate_key(b, 1, "storm", 5), began = clock_now_us();
    for (unsigned i = 0; i < processes; i++) {
        if (fork() == 0) {
            for (uint64_t now = began; now < began + ms * 1000u; now = clock_now_us()) {
                if (board_rate_take(b, &limit, key, now, false).allowed) {
                    __atomic_fetch_add(&storm->allowed, 1, __ATOMIC_RELAXED);
                }
                __atomic_fetch_add(&storm->asked, 1, __ATOMIC_RELAXED);
            }
            _exit(0);
        }
    }
    for (unsigned i = 0; i < processes; i++) {
        (void)wait(NULL);
    }
    uint64_t allowed = storm->allowed;
    *ret_us = ms * (uint64_t)1000;
    *ret_asked = storm->asked;
    munmap(storm, sizeof *storm);
    return allowed;
}
