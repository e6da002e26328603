/* data.c: what services say of the data they process, as counters that never fall.
 *
 * An instance counts from its own start, and goes when it is replaced; a service's counter goes on. So
 * what each instance said last is remembered, and only what it has grown by is added to the tally of the
 * service. One that says less than before has begun anew.
 *
 * Owns: both. A tally goes when nobody has grown it or said the same for as long as series stay on the
 * page; what an instance said last is kept for a day, so that one which was silent is not counted twice. */
#include "watch/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "watch/families.h"

enum {
    NUMBERS = FAMILY_BUCKETS + 1, /* of a histogram: its buckets, then the sum */
    LAST_KEEP_MS = 86400000,
    MOST_LASTS = 65536,
    MOST_NUMBERS = 10000 /* that are looked at of one instance */
};

struct tally {
    enum family family;
    uint64_t seen_ms;
    double
        numbers[NUMBERS]; /* of a score: the sum and the count of those said since the last page */
    uint32_t len;
    char labels[];
};

struct last {
    uint64_t seen_ms;
    double numbers[NUMBERS];
};

struct watch_data {
    struct map tallies; /* by family and labels */
    struct map lasts;   /* by instance, family and labels */
};

/* One group of one instance, on its way into the tallies. */
struct source {
    struct watch_data *data;
    struct families *families;
    const char *service, *instance;
    uint64_t now_ms;
    unsigned left; /* numbers that may still be looked at */
};

struct watch_data *watch_data_new(void)
{
    return mem_new(sizeof(struct watch_data));
}

static void forget(struct map *m, bool all, uint64_t keep_ms, size_t offset, uint64_t now_ms)
{
    const char *key;
    void *entry;
    for (size_t at = 0; map_next(m, &at, &key, &entry);) {
        uint64_t seen_ms = *(const uint64_t *)(const void *)((const char *)entry + offset);
        if (all || now_ms - seen_ms >= keep_ms) {
            (void)map_remove(m, key);
            mem_free(entry);
        }
    }
}

void watch_data_free(struct watch_data *d)
{
    if (d) {
        forget(&d->tallies, true, 0, offsetof(struct tally, seen_ms), 0);
        forget(&d->lasts, true, 0, offsetof(struct last, seen_ms), 0);
        map_free(&d->tallies);
        map_free(&d->lasts);
    }
    mem_free(d);
}

/* ---- Growth ------------------------------------------------------------------------------ */

static struct tally *tally_of(struct watch_data *d, enum family family, const struct labels *labels,
                              uint64_t now_ms)
{
    char *key = mem_printf("%d %.*s", (int)family, (int)labels->len, labels->text);
    struct tally *t = map_get(&d->tallies, key);
    if (!t) {
        t = mem_new(sizeof *t + labels->len);
        t->family = family;
        t->len = labels->len;
        memcpy(t->labels, labels->text, labels->len);
        (void)map_put(&d->tallies, key, t);
    }
    t->seen_ms = now_ms;
    mem_free(key);
    return t;
}

/* NULL: there are too many. */
static struct last *last_of(const struct source *s, enum family family, const struct labels *labels)
{
    struct watch_data *d = s->data;
    char *key = mem_printf("%s %d %.*s", s->instance, (int)family, (int)labels->len, labels->text);
    struct last *last = map_get(&d->lasts, key);
    if (!last && d->lasts.count < MOST_LASTS) {
        last = mem_new(sizeof *last);
        (void)map_put(&d->lasts, key, last);
    }
    if (last) {
        last->seen_ms = s->now_ms;
    }
    mem_free(key);
    return last;
}

/* What the numbers, of which none falls in one life of an instance, have grown by. */
static bool growth_of(const struct source *s, enum family family, const struct labels *labels,
                      const double *numbers, unsigned count, double *ret_growth)
{
    struct last *last = last_of(s, family, labels);
    bool anew = false;
    for (unsigned i = 0; last && i < count; i++) {
        anew = anew || numbers[i] < last->numbers[i];
    }
    for (unsigned i = 0; last && i < count; i++) {
        ret_growth[i] = anew ? numbers[i] : numbers[i] - last->numbers[i];
        last->numbers[i] = numbers[i];
    }
    return last != NULL;
}

static bool countable(double number)
{
    return isfinite(number) && number >= 0;
}

static void grow_count(const struct source *s, enum family family, const struct labels *labels,
                       double number)
{
    double growth;
    if (countable(number) && growth_of(s, family, labels, &number, 1, &growth)) {
        tally_of(s->data, family, labels, s->now_ms)->numbers[0] += growth;
    }
}

/* ---- Counters and scores: { "orders": { "load": 12 } } ----------------------------------- */

static void labels_of(const struct source *s, enum family family, const char *const names[2],
                      const char *outer, const char *inner, struct labels *to)
{
    labels_begin(to);
    labels_add(to, "service_name", s->service);
    labels_add(to, names[0], families_value(s->families, family, 1, outer));
    if (inner) {
        labels_add(to, names[1], families_value(s->families, family, 2, inner));
    }
}

/* Names of the labels, what a number in place of an inner object is called, and whether it is a score. */
struct shape {
    enum family family;
    const char *names[2];
    const char *outer, *inner; /* one of them NULL: that is the number's own name */
    bool score;
};

static void take(struct source *s, const struct shape *shape, const char *outer, const char *inner,
                 const struct cJSON *value)
{
    double number = json_value_num(value, NAN);
    struct labels labels;
    if (!s->left || !isfinite(number)) {
        return;
    }
    s->left--;
    labels_of(s, shape->family, shape->names, outer, inner, &labels);
    if (shape->score) {
        struct tally *t = tally_of(s->data, shape->family, &labels, s->now_ms);
        t->numbers[0] += number;
        t->numbers[1]++;
    } else {
        grow_count(s, shape->family, &labels, number);
    }
}

static void numbers(struct source *s, const struct shape *shape, const struct cJSON *group)
{
    for (const struct cJSON *o = json_first(group); o && s->left; o = json_next(o)) {
        const char *name = json_name(o);
        if (name && json_kind(o) == JSON_NUMBER) {
            take(s, shape, shape->outer ? shape->outer : name, shape->inner ? shape->inner : name,
                 o);
        }
        for (const struct cJSON *i = json_kind(o) == JSON_OBJECT ? json_first(o) : NULL; i;
             i = json_next(i)) {
            take(s, shape, name, json_name(i), i);
        }
    }
}

/* ---- Histograms: { "merge": { "count": 9, "sum": 1.5, "buckets": { "0.1": 7, "0.5": 9 } } } ------ */

/* How many are at or below the bound: what is said of the greatest bound that is no greater. */
static double below(const struct cJSON *buckets, double bound)
{
    double best = -1, count = 0;
    for (const struct cJSON *b = json_first(buckets); b; b = json_next(b)) {
        char *end = NULL;
        double at = strtod(json_name(b), &end), number = json_value_num(b, NAN);
        if (end != json_name(b) && at <= bound && at > best && countable(number)) {
            best = at;
            count = number;
        }
    }
    return count;
}

static void add_buckets(const struct source *s, const struct labels *labels, double count,
                        double sum, const struct cJSON *buckets)
{
    const struct family_bound *bounds = family_kind(FAMILY_DATA_PROCESSING_LATENCY)->bounds;
    unsigned last = family_bounds(FAMILY_DATA_PROCESSING_LATENCY);
    double numbers[NUMBERS] = {0}, growth[NUMBERS], so_far = 0;
    for (unsigned i = 0; i <= last; i++) {
        double up_to = i < last ? below(buckets, bounds[i].value) : count;
        numbers[i] = up_to > so_far ? up_to - so_far : 0;
        so_far = up_to > so_far ? up_to : so_far;
    }
    numbers[last + 1] = sum;
    if (growth_of(s, FAMILY_DATA_PROCESSING_LATENCY, labels, numbers, last + 2, growth)) {
        struct tally *t = tally_of(s->data, FAMILY_DATA_PROCESSING_LATENCY, labels, s->now_ms);
        for (unsigned i = 0; i <= last + 1; i++) {
            t->numbers[i] += growth[i];
        }
    }
}

/* Without buckets all that came since the last look are taken to be as long as their mean. */
static void add_mean(const struct source *s, const struct labels *labels, double count, double sum)
{
    const struct family_bound *bounds = family_kind(FAMILY_DATA_PROCESSING_LATENCY)->bounds;
    unsigned last = family_bounds(FAMILY_DATA_PROCESSING_LATENCY), at = 0;
    double numbers[] = {count, sum}, growth[2];
    if (growth_of(s, FAMILY_DATA_PROCESSING_LATENCY, labels, numbers, 2, growth)) {
        struct tally *t = tally_of(s->data, FAMILY_DATA_PROCESSING_LATENCY, labels, s->now_ms);
        while (at < last && growth[1] > bounds[at].value * growth[0]) {
            at++;
        }
        t->numbers[at] += growth[0];
        t->numbers[last + 1] += growth[1];
    }
}

static void histograms(struct source *s, const struct cJSON *group)
{
    static const char *const NAMES[2] = {"operation_type", NULL};
    for (const struct cJSON *o = json_first(group); o && s->left; o = json_next(o), s->left--) {
        double count = json_num(o, "count", NAN), sum = json_num(o, "sum", NAN);
        const struct cJSON *buckets = json_get(o, "buckets");
        struct labels labels;
        if (!json_name(o) || !countable(count) || !countable(sum)) {
            continue;
        }
        labels_of(s, FAMILY_DATA_PROCESSING_LATENCY, NAMES, json_name(o), NULL, &labels);
        if (json_first(buckets)) {
            add_buckets(s, &labels, count, sum, buckets);
        } else {
            add_mean(s, &labels, count, sum);
        }
    }
}

/* ---- A service --------------------------------------------------------------------------- */

void watch_data_service(struct watch_data *d, struct families *f, const char *service,
                        const struct cJSON *instances, uint64_t now_ms)
{
    static const struct shape RECORDS = {
        FAMILY_DATA_PROCESSING_RECORDS, {"dataset_type", "processing_stage"}, NULL, "all", false};
    static const struct shape ERRORS = {
        FAMILY_DATA_PROCESSING_ERRORS, {"error_type", "severity"}, NULL, "error", false};
    static const struct shape SCORES = {
        FAMILY_DATA_QUALITY_SCORE, {"dataset_id", "quality_dimension"}, "all", NULL, true};
    struct source s = {d, f, service, "", now_ms, 0};
    for (const struct cJSON *i = json_first(instances); i; i = json_next(i)) {
        const struct cJSON *data = json_get(i, "data_processing");
        s.instance = json_name(i);
        s.left = MOST_NUMBERS;
        numbers(&s, &RECORDS, json_get(data, "records"));
        numbers(&s, &ERRORS, json_get(data, "errors"));
        numbers(&s, &SCORES, json_get(i, "data_quality"));
        histograms(&s, json_get(data, "latency_seconds"));
    }
}

void watch_data_failures(struct families *f, const char *service, uint64_t failures)
{
    struct labels labels;
    labels_begin(&labels);
    labels_add(&labels, "service_name", service);
    labels_add(&labels, "error_type", "metrics_collection_failed");
    labels_add(&labels, "severity", "warning");
    families_add(f, FAMILY_DATA_PROCESSING_ERRORS, &labels, (double)failures);
}

static void write_tally(struct tally *t, struct families *f)
{
    struct labels labels;
    labels.len = t->len;
    labels.count = 1;
    memcpy(labels.text, t->labels, t->len);
    if (family_kind(t->family)->type == FAMILY_COUNTER) {
        families_add(f, t->family, &labels, t->numbers[0]);
    } else if (family_kind(t->family)->type == FAMILY_GAUGE && t->numbers[1] > 0) {
        families_add(f, t->family, &labels, t->numbers[0] / t->numbers[1]);
        t->numbers[0] = t->numbers[1] = 0;
    } else if (family_kind(t->family)->type == FAMILY_HISTOGRAM) {
        unsigned last = family_bounds(t->family);
        uint64_t counts[FAMILY_BUCKETS] = {0};
        for (unsigned i = 0; i <= last; i++) {
            counts[i] = (uint64_t)t->numbers[i];
        }
        families_histogram(f, t->family, &labels, counts, t->numbers[last + 1]);
    }
}

void watch_data_write(struct watch_data *d, struct families *f, uint64_t now_ms)
{
    const char *key;
    void *entry;
    forget(&d->tallies, false, FAMILIES_KEEP_MS, offsetof(struct tally, seen_ms), now_ms);
    forget(&d->lasts, false, LAST_KEEP_MS, offsetof(struct last, seen_ms), now_ms);
    for (size_t at = 0; map_next(&d->tallies, &at, &key, &entry);) {
        write_tally(entry, f);
    }
}
