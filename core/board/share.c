/* share.c: see share.h.
 *
 * Invariants: a cell of a table is one 64-bit word, so its key and count are seen together; the count
 * is 0 only when the whole word is. */
#include "board/share.h"

#include <string.h>

#include "base/ban.h"
#include "base/hash.h"

enum {
    COUNT_BITS = 24,
    COUNT_MASK = (1 << COUNT_BITS) - 1,
    SECOND_MS = 1000
};

/* ---- Clients ----------------------------------------------------------------------------- */

uint64_t board_client_key(const struct board *b, uint64_t route, const char *address)
{
    uint64_t seed = hash_more(board_secret(b), &route, sizeof route);
    return hash_more(seed, address, strlen(address));
}

static uint64_t *bucket_of(const struct board *b, unsigned worker, uint64_t key)
{
    return board_clients((struct board *)b, worker, (unsigned)(key % BOARD_CLIENT_BUCKETS));
}

static uint64_t tag_of(uint64_t key)
{
    return key & ~(uint64_t)COUNT_MASK;
}

/* The bucket's cell of that key; NULL: none. */
static uint64_t *find(uint64_t *bucket, uint64_t key)
{
    for (unsigned i = 0; i < BOARD_CLIENT_CELLS; i++) {
        uint64_t word = board_get(&bucket[i]);
        if (word & COUNT_MASK && tag_of(word) == tag_of(key)) {
            return &bucket[i];
        }
    }
    return NULL;
}

bool board_client_enter(struct board *b, unsigned worker, uint64_t key)
{
    uint64_t *bucket = bucket_of(b, worker, key), *cell = find(bucket, key);
    for (unsigned i = 0; !cell && i < BOARD_CLIENT_CELLS; i++) {
        if (!bucket[i]) {
            cell = &bucket[i];
        }
    }
    if (!cell || (*cell & COUNT_MASK) == COUNT_MASK) {
        return false;
    }
    board_set(cell, tag_of(key) | ((*cell & COUNT_MASK) + 1));
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* known before its caller sums */
    return true;
}

void board_client_leave(struct board *b, unsigned worker, uint64_t key)
{
    uint64_t *cell = find(bucket_of(b, worker, key), key);
    if (cell) {
        uint64_t left = (*cell & COUNT_MASK) - 1;
        board_set(cell, left ? tag_of(key) | left : 0);
    }
}

uint64_t board_client_count(const struct board *b, uint64_t key)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < board_workers(b); w++) {
        const uint64_t *bucket = bucket_of(b, w, key);
        for (unsigned i = 0; i < BOARD_CLIENT_CELLS; i++) {
            uint64_t word = board_get(&bucket[i]);
            sum += word && tag_of(word) == tag_of(key) ? word & COUNT_MASK : 0;
        }
    }
    return sum;
}

/* ---- Repeats ----------------------------------------------------------------------------- */

/* The worker's bucket of this second. */
static struct board_asked *present(struct board *b, unsigned worker, unsigned route,
                                   uint64_t now_ms)
{
    uint32_t at = (uint32_t)(now_ms / SECOND_MS) + 1; /* 0: never used */
    struct board_asked *k = &board_route(b, worker, route)->asked[at % BOARD_BUDGET_RING];
    if (k->at != at) {
        __atomic_store_n(&k->at, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&k->all, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&k->repeated, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&k->at, at, __ATOMIC_RELEASE);
    }
    return k;
}

void board_budget_ask(struct board *b, unsigned worker, unsigned route, uint64_t now_ms)
{
    struct board_asked *k = present(b, worker, route, now_ms);
    __atomic_store_n(&k->all, k->all + 1, __ATOMIC_RELAXED);
}

static void sum_asked(struct board *b, unsigned route, uint64_t now_ms, uint64_t *ret_all,
                      uint64_t *ret_repeated)
{
    uint32_t last = (uint32_t)(now_ms / SECOND_MS) + 1;
    uint64_t all = 0, repeated = 0;
    for (unsigned w = 0; w < board_workers(b); w++) {
        const struct board_asked *ring = board_route(b, w, route)->asked;
        for (uint32_t i = 0; i < BOARD_BUDGET_S && i < last; i++) {
            const struct board_asked *k = &ring[(last - i) % BOARD_BUDGET_RING];
            if (__atomic_load_n(&k->at, __ATOMIC_ACQUIRE) == last - i) {
                all += __atomic_load_n(&k->all, __ATOMIC_RELAXED);
                repeated += __atomic_load_n(&k->repeated, __ATOMIC_RELAXED);
            }
        }
    }
    *ret_all = all;
    *ret_repeated = repeated;
}

bool board_budget_repeat(struct board *b, unsigned worker, unsigned route, double ratio,
                         double per_second, uint64_t now_ms)
{
    struct board_asked *k = present(b, worker, route, now_ms);
    uint64_t all, repeated;
    __atomic_store_n(&k->repeated, k->repeated + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    sum_asked(b, route, now_ms, &all, &repeated);
    if ((double)repeated <= ratio * (double)all + per_second * BOARD_BUDGET_S) {
        return true;
    }
    __atomic_store_n(&k->repeated, k->repeated - 1, __ATOMIC_RELAXED);
    return false;
}
