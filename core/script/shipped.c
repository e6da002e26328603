/* shipped.c: see shipped.h and script_shipped. */
#include "script/shipped.h"

#include <string.h>

#include "script/script.h"

#include "base/ban.h"

const struct shipped_file *shipped_find(const char *name)
{
    size_t from = 0, to = shipped_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(name, shipped_files[middle].name);
        if (order == 0) {
            return &shipped_files[middle];
        }
        if (order < 0) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    return NULL;
}

const char *script_shipped(const char *name, size_t *ret_len)
{
    const struct shipped_file *file = shipped_find(name);
    if (!file) {
        return NULL;
    }
    if (ret_len) {
        *ret_len = file->len;
    }
    return file->source;
}
