/* docker_lines.c: cuts an engine's stream into lines of bounded length; see
 * docker.h. */
#include "engine/docker.h"

#include <string.h>

#include "base/ban.h"

void docker_lines_init(struct docker_lines *l)
{
    *l = (struct docker_lines){0};
    buf_init(&l->partial, LIMIT_ENGINE_LINE_BYTES);
}

static void append(struct docker_lines *l, const char *bytes, size_t len)
{
    if (!l->skipping && buf_append(&l->partial, bytes, len)) {
        l->skipping = true;
        l->skipped++;
    }
}

void docker_lines_feed(struct docker_lines *l, const char *bytes, size_t len, docker_line_fn *each,
                       void *arg)
{
    const char *end = bytes + len, *stop;
    for (; bytes < end && (stop = memchr(bytes, '\n', (size_t)(end - bytes))); bytes = stop + 1) {
        if (!l->skipping && !l->partial.len && (size_t)(stop - bytes) <= LIMIT_ENGINE_LINE_BYTES) {
            each(arg, bytes, (size_t)(stop - bytes)); /* the usual case, without a copy */
            continue;
        }
        append(l, bytes, (size_t)(stop - bytes));
        if (!l->skipping) {
            each(arg, l->partial.data, l->partial.len);
        }
        l->skipping = false;
        buf_clear(&l->partial);
    }
    if (bytes < end) {
        append(l, bytes, (size_t)(end - bytes));
    }
}

void docker_lines_end(struct docker_lines *l, docker_line_fn *each, void *arg)
{
    if (!l->skipping && l->partial.len) {
        each(arg, l->partial.data, l->partial.len);
    }
    buf_clear(&l->partial);
    l->skipping = false;
}

void docker_lines_free(struct docker_lines *l)
{
    buf_free(&l->partial);
}
