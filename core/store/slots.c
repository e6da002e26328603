/* slots.c: see slots.h. Chained buckets, since slots leave and come back. */
#include "store/slots.h"

#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "store/store.h"

/* 0 marks a free slot. */
static uint64_t mark_of(uint64_t hash)
{
    return hash ? hash : 1;
}

static uint32_t *bucket_of(const struct slots *t, uint64_t mark)
{
    return &t->buckets[mark % t->bucket_count];
}

uint32_t slots_find(const struct slots *t, uint64_t hash)
{
    if (!t->bucket_count) {
        return 0;
    }
    uint32_t slot = *bucket_of(t, mark_of(hash));
    while (slot && t->hashes[slot] != mark_of(hash)) {
        slot = t->next[slot];
    }
    return slot;
}

bool slots_used(const struct slots *t, uint32_t slot)
{
    return slot && slot <= t->made && t->hashes[slot];
}

static void grow(struct slots *t)
{
    t->cap = t->cap ? t->cap * 2 : 256;
    t->hashes = mem_resize(t->hashes, (t->cap + 1) * sizeof *t->hashes);
    t->next = mem_resize(t->next, (t->cap + 1) * sizeof *t->next);
    mem_free(t->buckets);
    t->bucket_count = t->cap;
    t->buckets = mem_array(t->bucket_count, sizeof *t->buckets);
    for (uint32_t slot = 1; slot <= t->made; slot++) {
        if (t->hashes[slot]) {
            uint32_t *bucket = bucket_of(t, t->hashes[slot]);
            t->next[slot] = *bucket;
            *bucket = slot;
        }
    }
}

uint32_t slots_add(struct slots *t, uint64_t hash)
{
    if (t->used >= STORE_SERIES) {
        return 0;
    }
    uint32_t slot = t->free;
    if (slot) {
        t->free = t->next[slot];
    } else {
        if (t->made == t->cap) {
            grow(t);
        }
        slot = ++t->made;
    }
    uint32_t *bucket = bucket_of(t, mark_of(hash));
    t->hashes[slot] = mark_of(hash);
    t->next[slot] = *bucket;
    *bucket = slot;
    t->used++;
    return slot;
}

bool slots_remove(struct slots *t, uint32_t slot)
{
    if (!slots_used(t, slot)) {
        return false;
    }
    uint32_t *at = bucket_of(t, t->hashes[slot]);
    while (*at != slot) {
        at = &t->next[*at];
    }
    *at = t->next[slot];
    t->hashes[slot] = 0;
    t->next[slot] = t->free;
    t->free = slot;
    t->used--;
    return true;
}

void slots_free(struct slots *t)
{
    mem_free(t->hashes);
    mem_free(t->next);
    mem_free(t->buckets);
    memset(t, 0, sizeof *t);
}
