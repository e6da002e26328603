/* promtext_driver.c: what a page is read as, in text for promtext_spec.lua. */
#include "watch/promtext.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"

char *promtest_read(const char *page, size_t len, size_t step, unsigned long long *ret_bad);
char *promtest_labels(const char *labels, size_t len, const char *without, char *value,
                      size_t size);

static void on_sample(void *arg, const struct promtext_sample *s)
{
    static const char *const types[PROMTEXT_TYPES] = {"untyped", "counter", "gauge", "bucket"};
    (void)buf_printf(arg, "%.*s{%.*s} %.17g %s", (int)s->name_len, s->name, (int)s->labels_len,
                     s->labels, s->value, types[s->type]);
    if (s->has_time) {
        (void)buf_printf(arg, " @%lld", (long long)s->time_ms);
    }
    (void)buf_text(arg, "\n");
}

/* Feeds the page in steps; a line a sample, mem_free. */
char *promtest_read(const char *page, size_t len, size_t step, unsigned long long *ret_bad)
{
    struct buf out;
    struct promtext p;
    buf_init(&out, 1 << 20);
    promtext_init(&p, on_sample, &out);
    for (size_t at = 0; at < len; at += step) {
        promtext_feed(&p, page + at, len - at < step ? len - at : step);
    }
    promtext_end(&p);
    *ret_bad = p.bad;
    promtext_free(&p);
    return buf_take(&out);
}

/* The regular labels, or NULL; mem_free. */
char *promtest_labels(const char *labels, size_t len, const char *without, char *value, size_t size)
{
    struct buf out;
    buf_init(&out, 4096);
    if (promtext_labels(labels, len, without, &out, value, size)) {
        buf_free(&out);
        return NULL;
    }
    return buf_take(&out);
}
