/* merge.c: see merge.h. */
#include "watch/merge.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum how {
    BY_SUM,
    BY_LEAST,
    BY_MOST,
    BY_MEAN, /* weighted */
    HOWS
};

enum {
    DEPTH = 8
};

static enum how how_of(const char *name)
{
    static const char *const sums[] = {"throughput",    "restarts",     "restarts_10m",
                                       "oom_kills_10m", "memory_bytes", "processing_rate",
                                       "queue_depth",   "requests"};
    static const char *const endings[] = {"_total", "_count", "_sum", "_per_second", "_processed"};
    struct str s = str_of(name);
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        if (str_is(s, sums[i])) {
            return BY_SUM;
        }
    }
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (str_ends(s, endings[i])) {
            return BY_SUM;
        }
    }
    if (str_is(s, "up") || str_is(s, "collected")) {
        return BY_LEAST;
    }
    return str_is(s, "unhealthy") ? BY_MOST : BY_MEAN;
}

/* The group at each instance (NULL: it has none), with its weight. */
struct parts {
    const struct cJSON **containers;
    const double *weights;
    size_t count;
};

static struct cJSON *merge_objects(const struct parts *p, unsigned depth);

static bool number_at(const struct cJSON *value, double *ret)
{
    if (json_kind(value) == JSON_BOOL) {
        *ret = json_value_bool(value, false);
        return true;
    }
    *ret = json_value_num(value, NAN);
    return !isnan(*ret);
}

static bool merge_numbers(const struct parts *p, const char *name, double *ret)
{
    double sum = 0, weighted = 0, weight = 0, least = INFINITY, most = -INFINITY, value;
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (number_at(json_get(p->containers[i], name), &value)) {
            count++;
            sum += value;
            weighted += value * p->weights[i];
            weight += p->weights[i];
            least = fmin(least, value);
            most = fmax(most, value);
        }
    }
    enum how how = how_of(name);
    *ret = how == BY_SUM     ? sum
           : how == BY_LEAST ? least
           : how == BY_MOST  ? most
           : weight > 0      ? weighted / weight
                             : sum / (double)count;
    return count > 0;
}

/* The text when all who have one agree, else NULL. */
static const char *merge_texts(const struct parts *p, const char *name)
{
    const char *text = NULL;
    for (size_t i = 0; i < p->count; i++) {
        const char *one = json_str(p->containers[i], name, NULL);
        if (one && text && !str_same(one, text)) {
            return NULL;
        }
        text = one ? one : text;
    }
    return text;
}

static struct cJSON *merge_children(const struct parts *p, const char *name, unsigned depth)
{
    const struct cJSON **children = mem_array(p->count, sizeof *children);
    for (size_t i = 0; i < p->count; i++) {
        children[i] = json_get(p->containers[i], name);
    }
    struct parts below = {.containers = children, .weights = p->weights, .count = p->count};
    struct cJSON *merged = merge_objects(&below, depth + 1);
    mem_free(children);
    return merged;
}

static void merge_member(struct cJSON *to, const struct parts *p, const struct cJSON *member,
                         unsigned depth)
{
    const char *name = json_name(member), *text;
    enum json_kind kind = json_kind(member);
    double number;
    if (kind == JSON_OBJECT && depth < DEPTH) {
        json_set(to, name, merge_children(p, name, depth));
    } else if ((kind == JSON_NUMBER || kind == JSON_BOOL) && merge_numbers(p, name, &number)) {
        json_set_num(to, name, number);
    } else if (kind == JSON_STRING && (text = merge_texts(p, name))) {
        json_set_str(to, name, text);
    }
}

static struct cJSON *merge_objects(const struct parts *p, unsigned depth)
{
    struct cJSON *to = json_object();
    for (size_t i = 0; i < p->count; i++) {
        for (const struct cJSON *m = json_first(p->containers[i]); m; m = json_next(m)) {
            if (json_name(m) && !json_get(to, json_name(m))) {
                merge_member(to, p, m, depth);
            }
        }
    }
    return to;
}

void merge_views(struct cJSON *view, const struct cJSON *instances)
{
    static const char *const groups[] = {"performance", "health", "data_processing", "data_quality",
                                         "resources"};
    size_t count = json_count(instances), at = 0;
    const struct cJSON **views = mem_array(count, sizeof *views);
    double *weights = mem_array(count, sizeof *weights);
    for (const struct cJSON *i = json_first(instances); i; i = json_next(i)) {
        double weight = json_num(json_get(i, "performance"), "throughput", 1);
        weights[at] = weight > 0 ? weight : 0;
        views[at++] = i;
    }
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        struct parts p = {.containers = views, .weights = weights, .count = count};
        for (at = 0; g == 1 && at < count; at++) {
            weights[at] = 1; /* only performance weighs by requests */
        }
        struct cJSON *merged = merge_children(&p, groups[g], 0);
        if (json_count(merged)) {
            json_set(view, groups[g], merged);
        } else {
            json_free(merged);
        }
    }
    mem_free(weights);
    mem_free(views);
}
