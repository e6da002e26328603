/* page.h: the metrics page, made in steps so that the loop is never held up for long:
 *
 *     page_new --page_step...--> done --> page_take
 *
 * Each writer tells of its series in portions, then all is rendered, and compressed when that is wanted. Of
 * one `families` only one page may be under way. */
#ifndef WATCH_PAGE_H
#define WATCH_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/families.h"

struct page;

/* Tells of a portion of its series; true: there is more. *at is 0 first and then the writer's own. */
typedef bool page_write_fn(void *arg, struct families *f, uint64_t *at);

struct page_writer {
    page_write_fn *write;
    void *arg;
};

/* `accept` as OpenMetrics' and Prometheus' scrapers send it, q values and all; "": text. */
enum families_format page_format(const char *accept);
/* Whether Accept-Encoding allows gzip. */
bool page_gzip(const char *accept_encoding);
const char *page_type(enum families_format format);

/* Begins a pass. Lends the writers. The caller owns it. */
struct page *page_new(struct families *f, const struct page_writer *writers, size_t count,
                      enum families_format format, bool gzip, uint64_t now_ms);
void page_free(struct page *p); /* NULL is allowed */
/* Works for about budget_us; true: it is whole, or has failed. */
bool page_step(struct page *p, uint64_t budget_us);
/* The page as it goes out, owned by the caller; -ENOBUFS when it is too large. */
int page_take(struct page *p, char **ret_bytes, size_t *ret_len);

#endif
