/* scrape.h: the series of one target's Prometheus pages, and what a view shows of them.
 *
 * A page is taken sample by sample as it comes; what the last page did not have is gone. Only the first
 * SCRAPE_SHOWN series (and SCRAPE_BUCKETS buckets of histograms) are kept, with those whose metric a
 * rule names: a view goes to every rule, and is no store of series. */
#ifndef WATCH_SCRAPE_H
#define WATCH_SCRAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct map;
struct promtext_sample;
struct scrape;

enum {
    SCRAPE_SHOWN = 500,
    SCRAPE_BUCKETS = 2000,
    SCRAPE_WANTED = 1000 /* of metrics that rules name */
};

/* `wanted` (lent, may be NULL) has the names of metrics that are always kept. */
struct scrape *scrape_new(const struct map *wanted);
void scrape_free(struct scrape *s); /* NULL is allowed */
/* A page begins, brings samples, and is whole. Without its end the next page begins afresh. */
void scrape_begin(struct scrape *s, uint64_t now_ms, uint64_t wall_ms);
void scrape_sample(struct scrape *s, const struct promtext_sample *sample);
void scrape_end(struct scrape *s);

/* The group "prometheus" of a view (view.h) of the pages of `count` targets: counters and rates are summed,
 * quantiles are those of all observations, of the rest it is the mean. The caller owns it. */
struct cJSON *scrape_view(struct scrape *const *targets, size_t count, uint64_t now_ms);

#endif
