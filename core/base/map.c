/* map.c: see map.h. Linear probing, at most half full, removed entries stay
 * as tombstones until the next growth. */
#include "base/map.h"

#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/mem.h"

/* The entry of `key`, or the free one where it would go. Needs cap > 0. */
static struct map_entry *slot_of(const struct map *m, const char *key)
{
    size_t at = (size_t)hash_bytes(key, strlen(key)) & (m->cap - 1);
    while (m->entries[at].key && strcmp(m->entries[at].key, key) != 0) {
        at = (at + 1) & (m->cap - 1);
    }
    return &m->entries[at];
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->cap = 16;
    while (m->cap < (old.count + 1) * 4) {
        m->cap *= 2;
    }
    m->entries = mem_array(m->cap, sizeof *m->entries);
    m->used = 0;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.entries[i].value) {
            *slot_of(m, old.entries[i].key) = old.entries[i];
            m->used++;
        } else {
            mem_free(old.entries[i].key);
        }
    }
    mem_free(old.entries);
}

void *map_get(const struct map *m, const char *key)
{
    return m->cap ? slot_of(m, key)->value : NULL;
}

void *map_put(struct map *m, const char *key, void *value)
{
    if ((m->used + 1) * 2 > m->cap) {
        grow(m);
    }
    struct map_entry *e = slot_of(m, key);
    void *before = e->value;
    if (!e->key) {
        e->key = mem_copy(key);
        m->used++;
    }
    if (!before) {
        m->count++;
    }
    e->value = value;
    return before;
}

void *map_remove(struct map *m, const char *key)
{
    if (!m->cap) {
        return NULL;
    }
    struct map_entry *e = slot_of(m, key);
    void *before = e->value;
    if (before) {
        e->value = NULL;
        m->count--;
    }
    return before;
}

bool map_next(const struct map *m, size_t *at, const char **ret_key, void **ret_value)
{
    while (*at < m->cap) {
        const struct map_entry *e = &m->entries[(*at)++];
        if (e->value) {
            *ret_key = e->key;
            *ret_value = e->value;
            return true;
        }
    }
    return false;
}

void map_free(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++) {
        mem_free(m->entries[i].key);
    }
    mem_free(m->entries);
    *m = (struct map){0};
}
