/* map.h: C string -> pointer, open addressing, keys copied. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map_entry {
    char *key;   /* NULL = never used */
    void *value; /* NULL = removed */
};

/* Zeroed is empty. Values are never NULL. */
struct map {
    struct map_entry *entries;
    size_t cap;
    size_t used;  /* entries with a key, removed ones too */
    size_t count; /* live values */
};

/* Value of `key` or NULL. */
void *map_get(const struct map *m, const char *key);
/* Sets it; returns the value that stood there before, or NULL. */
void *map_put(struct map *m, const char *key, void *value);
/* Takes it out and returns it, or NULL. */
void *map_remove(struct map *m, const char *key);
/* Steps through all values: start with *at = 0; false at the end. Removing the
 * present key is allowed while stepping, putting is not. */
bool map_next(const struct map *m, size_t *at, const char **ret_key, void **ret_value);
/* Frees the map's own memory, not the values; it is empty afterwards. */
void map_free(struct map *m);

#endif
