/* pool.c: objects of one size from memory that was mapped at start.
 *
 * Invariants: pages are resident only once used; the item given last is taken first, so that few
 * stay hot. Under AddressSanitizer free items are poisoned. */
#include "proxy/parts.h"

#include <errno.h>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "base/ban.h"
#include "base/err.h"

static void poison(void *item, size_t size, bool on)
{
#if defined(__SANITIZE_ADDRESS__)
    if (on) {
        ASAN_POISON_MEMORY_REGION(item, size);
    } else {
        ASAN_UNPOISON_MEMORY_REGION(item, size);
    }
#else
    (void)item;
    (void)size;
    (void)on;
#endif
}

int proxy_pool_init(struct pool *pool, size_t item, uint32_t count)
{
    item = (item + 63) / 64 * 64;
    void *base = mmap(NULL, item * count, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return -ENOMEM;
    }
    *pool = (struct pool){.base = base, .item = item, .size = item * count, .count = count};
    return 0;
}

void proxy_pool_free(struct pool *pool)
{
    if (pool->base) {
        poison(pool->base, pool->size, false);
        munmap(pool->base, pool->size);
        pool->base = NULL;
    }
}

void *proxy_pool_take(struct pool *pool)
{
    void *item = pool->free;
    if (item) {
        poison(item, pool->item, false);
        pool->free = *(void **)item;
    } else if (pool->touched < pool->count) {
        item = pool->base + pool->item * pool->touched++;
    } else {
        return NULL;
    }
    pool->used++;
    return item;
}

void proxy_pool_give(struct pool *pool, void *item)
{
    must(pool->used > 0);
    *(void **)item = pool->free;
    pool->free = item;
    pool->used--;
    poison(item, pool->item, true);
}
