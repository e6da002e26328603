/* pool.c: objects of one size from memory that was mapped at start.
 *
 * Invariants: pages are resident only once used; the item given last is taken first, so that few
 * stay hot. Under AddressSanitizer free items are poisoned. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "base/ban.h"
#include "base/err.h"

enum {
    WARM_BLOCKS = 64,     /* free ones that may keep all their memory */
    COLD_BYTES = 16 << 10 /* what the others keep of it */
};

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

struct block *proxy_block_take(struct proxy *p)
{
    struct block *b = proxy_pool_take(&p->block_pool);
    if (b) {
        b->at = b->len = 0;
    }
    return b;
}

struct block *proxy_block_with(struct proxy *p, struct str bytes)
{
    struct block *b = proxy_block_take(p);
    if (b) {
        memcpy(b->bytes, bytes.ptr, bytes.len);
        b->len = (uint32_t)bytes.len;
    }
    return b;
}

/* A storm of slow readers must not leave all its blocks resident. */
static void cool(struct block *b)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)b->bytes + COLD_BYTES + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)b->bytes + BLOCK_BYTES) / page * page;
    (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

void proxy_block_give(struct proxy *p, struct block **block)
{
    struct block *b = *block;
    if (!b) {
        return;
    }
    *block = NULL;
    if (b->len > COLD_BYTES && p->block_pool.touched - p->block_pool.used > WARM_BLOCKS) {
        cool(b);
    }
    proxy_pool_give(&p->block_pool, b);
}
