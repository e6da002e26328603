/* slots.h: which number a series has in this run. Private to the room; of the loop's thread. */
#ifndef STORE_SLOTS_H
#define STORE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed is empty. Slots start at 1. */
struct slots {
    uint64_t *hashes; /* by slot; 0 = free */
    uint32_t *next;   /* by slot: the next one of the same bucket, or the next free one */
    uint32_t *buckets;
    uint32_t cap, made, free, used, bucket_count;
};

/* 0: none has it. */
uint32_t slots_find(const struct slots *t, uint64_t hash);
/* A free one for a hash that has none; 0: STORE_SERIES are in use. */
uint32_t slots_add(struct slots *t, uint64_t hash);
/* False: it is not in use. */
bool slots_remove(struct slots *t, uint32_t slot);
bool slots_used(const struct slots *t, uint32_t slot);
void slots_free(struct slots *t);

#endif
