/* scrape.c: see scrape.h.
 *
 * Series are found by their text as the page has it, since pages do not change their habits, and shown
 * by their regular name. Invariant: a series has at most one sample of a page, the first. */
#include "watch/scrape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "watch/promtext.h"
#include "watch/series.h"

enum {
    NAME_BYTES = 1024, /* of a series that is shown; longer ones are left out */
    OLD_MS = 300000,   /* samples that say they are older are left out */
    BOUND_BYTES = 32
};

struct scraped {
    struct list node; /* in scrape.series, in the order of the page */
    char *raw;        /* its key */
    char *name;       /* "x{a="b"}"; of a bucket: of its histogram, without _bucket and le */
    double bound;     /* of a bucket */
    enum promtext_type type;
    bool wanted;
    uint64_t page;
    double value;
    struct series series; /* of counters and buckets */
};

struct scrape {
    const struct map *wanted;
    struct map by_raw;
    struct list series;
    uint64_t page, now_ms, wall_ms;
    unsigned shown, buckets, kept_wanted;
    struct buf key;
};

struct scrape *scrape_new(const struct map *wanted)
{
    struct scrape *s = mem_new(sizeof *s);
    s->wanted = wanted;
    list_init(&s->series);
    buf_init(&s->key, PROMTEXT_LINE_BYTES + 2);
    return s;
}

static unsigned *quota(struct scrape *s, bool wanted, enum promtext_type type, unsigned *ret_most)
{
    *ret_most = wanted ? SCRAPE_WANTED : type == PROMTEXT_BUCKET ? SCRAPE_BUCKETS : SCRAPE_SHOWN;
    return wanted ? &s->kept_wanted : type == PROMTEXT_BUCKET ? &s->buckets : &s->shown;
}

static void drop(struct scrape *s, struct scraped *one)
{
    unsigned most;
    --*quota(s, one->wanted, one->type, &most);
    (void)map_remove(&s->by_raw, one->raw);
    list_remove(&one->node);
    mem_free(one->raw);
    mem_free(one->name);
    mem_free(one);
}

void scrape_free(struct scrape *s)
{
    while (s && !list_empty(&s->series)) {
        drop(s, list_owner(s->series.next, struct scraped, node));
    }
    if (s) {
        map_free(&s->by_raw);
        buf_free(&s->key);
        mem_free(s);
    }
}

void scrape_begin(struct scrape *s, uint64_t now_ms, uint64_t wall_ms)
{
    s->page++;
    s->now_ms = now_ms;
    s->wall_ms = wall_ms;
}

/* The regular name of what it belongs to; NULL: its labels are none, or too long. */
static char *name_of(const struct promtext_sample *sample, double *ret_bound)
{
    static const char bucket[] = "_bucket";
    bool is_bucket = sample->type == PROMTEXT_BUCKET;
    struct buf name;
    buf_init(&name, NAME_BYTES);
    size_t len = sample->name_len;
    if (is_bucket && str_ends((struct str){sample->name, len}, bucket)) {
        len -= sizeof bucket - 1;
    }
    char bound[BOUND_BYTES] = "", *rest = bound;
    int rc = buf_append(&name, sample->name, len);
    rc = rc ? rc : buf_text(&name, "{");
    size_t before = name.len;
    rc = rc ? rc
            : promtext_labels(sample->labels, sample->labels_len, is_bucket ? "le" : NULL, &name,
                              bound, sizeof bound);
    if (!rc && name.len == before) {
        name.data[--name.len] = '\0';
    } else {
        rc = rc ? rc : buf_text(&name, "}");
    }
    if (!rc && is_bucket) {
        *ret_bound = strtod(bound, &rest);
        rc = rest == bound || *rest || isnan(*ret_bound);
    }
    if (rc) {
        buf_free(&name);
        return NULL;
    }
    return buf_take(&name);
}

static struct scraped *add(struct scrape *s, const struct promtext_sample *sample, const char *raw)
{
    char *metric = mem_copy_bytes(sample->name, sample->name_len);
    bool wanted = s->wanted && map_get(s->wanted, metric);
    unsigned most, *kept = quota(s, wanted, sample->type, &most);
    double bound = 0;
    mem_free(metric);
    char *name = *kept < most ? name_of(sample, &bound) : NULL;
    if (!name) {
        return NULL;
    }
    struct scraped *one = mem_new(sizeof *one);
    one->raw = mem_copy(raw);
    one->name = name;
    one->bound = bound;
    one->type = sample->type;
    one->wanted = wanted;
    list_append(&s->series, &one->node);
    (void)map_put(&s->by_raw, raw, one);
    ++*kept;
    return one;
}

void scrape_sample(struct scrape *s, const struct promtext_sample *sample)
{
    if (sample->has_time && sample->time_ms + OLD_MS < (int64_t)s->wall_ms) {
        return;
    }
    buf_clear(&s->key);
    if (memchr(sample->name, 0, sample->name_len) ||
        memchr(sample->labels, 0, sample->labels_len) ||
        buf_append(&s->key, sample->name, sample->name_len) || buf_text(&s->key, "{") ||
        buf_append(&s->key, sample->labels, sample->labels_len)) {
        return;
    }
    struct scraped *one = map_get(&s->by_raw, buf_str(&s->key));
    one = one ? one : add(s, sample, buf_str(&s->key));
    if (!one || one->page == s->page) {
        return;
    }
    one->page = s->page;
    one->value = sample->value;
    if ((one->type == PROMTEXT_COUNTER || one->type == PROMTEXT_BUCKET) && !isnan(one->value)) {
        series_add(&one->series, s->now_ms, one->value);
    }
}

void scrape_end(struct scrape *s)
{
    for (struct list *n = s->series.next, *next; n != &s->series; n = next) {
        next = n->next;
        struct scraped *one = list_owner(n, struct scraped, node);
        if (one->page != s->page) {
            drop(s, one);
        }
    }
}

/* ---- Views --------------------------------------------------------------------------------- */

/* One name of the view, over all targets. */
struct shown {
    enum promtext_type type;
    double sum, rate;
    unsigned count, rates;
    struct series_bucket *buckets; /* growth of a histogram's */
    size_t bucket_count, bucket_cap;
};

static struct shown *shown_of(struct map *all, const char *name, enum promtext_type type)
{
    struct shown *show = map_get(all, name);
    if (!show) {
        show = mem_new(sizeof *show);
        show->type = type;
        (void)map_put(all, name, show);
    }
    return show;
}

static void show_bucket(struct shown *show, double bound, double growth)
{
    if (show->bucket_count == show->bucket_cap) {
        show->bucket_cap = show->bucket_cap ? show->bucket_cap * 2 : 16;
        show->buckets = mem_resize(show->buckets, show->bucket_cap * sizeof *show->buckets);
    }
    show->buckets[show->bucket_count++] = (struct series_bucket){bound, growth};
}

static void show_target(struct map *numbers, struct map *histograms, const struct scrape *s,
                        uint64_t now_ms)
{
    for (const struct list *n = s->series.next; n != &s->series; n = n->next) {
        const struct scraped *one = list_owner(n, struct scraped, node);
        double growth, seconds;
        bool grown = series_growth(&one->series, now_ms, &growth, &seconds);
        if (one->type == PROMTEXT_BUCKET) {
            if (grown) {
                show_bucket(shown_of(histograms, one->name, one->type), one->bound,
                            growth / seconds);
            }
            continue;
        }
        if (!isfinite(one->value)) {
            continue;
        }
        struct shown *show = shown_of(numbers, one->name, one->type);
        show->sum += one->value;
        show->count++;
        show->rate += grown ? growth / seconds : 0;
        show->rates += grown;
    }
}

static void set_number(struct cJSON *to, const char *name, const char *suffix, double value)
{
    if (isfinite(value)) {
        char *key = mem_printf("%s%s", name, suffix);
        json_add(to, key, json_number(value));
        mem_free(key);
    }
}

static void put_shown(struct cJSON *to, const char *name, struct shown *show)
{
    static const struct {
        const char *suffix;
        double q;
    } quantiles[] = {{":p50", 0.50}, {":p95", 0.95}, {":p99", 0.99}};
    if (show->type == PROMTEXT_BUCKET) {
        for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
            set_number(to, name, quantiles[i].suffix,
                       series_quantile(quantiles[i].q, show->buckets, show->bucket_count));
        }
    } else if (show->type == PROMTEXT_COUNTER) {
        set_number(to, name, "", show->sum);
        if (show->rates) {
            set_number(to, name, ":rate", show->rate);
        }
    } else {
        set_number(to, name, "", show->sum / show->count);
    }
}

static void put_all(struct cJSON *to, struct map *all)
{
    size_t at = 0;
    const char *name;
    void *value;
    while (map_next(all, &at, &name, &value)) {
        struct shown *show = value;
        put_shown(to, name, show);
        mem_free(show->buckets);
        mem_free(show);
    }
    map_free(all);
}

struct cJSON *scrape_view(struct scrape *const *targets, size_t count, uint64_t now_ms)
{
    struct map numbers = {0}, histograms = {0};
    struct cJSON *view = json_object();
    for (size_t i = 0; i < count; i++) {
        show_target(&numbers, &histograms, targets[i], now_ms);
    }
    put_all(view, &numbers);
    put_all(view, &histograms);
    return view;
}
