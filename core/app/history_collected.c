/* history_collected.c: what services tell of themselves goes into the history: the numbers of performance,
 * data_processing and data_quality, under their paths.
 *
 * Invariant: at most MOST of a service or instance are kept, the first ones, so that an answer with ever new
 * names does not fill the store. */
#include "app/history.h"

#include "app/master.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"

enum {
    MOST = 32
};

struct kept {
    uint32_t series;
    uint64_t round; /* the last in which it was told */
};

static void take(struct history *h, const char *service, const char *instance, const char *path,
                 double value, uint64_t wall_ms)
{
    char *key = mem_printf("%s\n%s\n%s", service, instance, path);
    struct kept *kept = map_get(&h->collected, key);
    if (!kept) {
        kept = mem_new(sizeof *kept);
        kept->series = store_series(h->store, service, instance, path);
        (void)map_put(&h->collected, key, kept);
    }
    mem_free(key);
    kept->round = h->collected_round;
    store_sample(h->store, kept->series, wall_ms, value);
}

static void take_view(struct history *h, const char *service, const char *instance,
                      const struct cJSON *view, uint64_t wall_ms)
{
    static const char *const groups[] = {"performance", "data_processing", "data_quality"};
    unsigned count = 0;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        for (const struct cJSON *m = json_first(json_get(view, groups[g])); m; m = json_next(m)) {
            if (json_kind(m) == JSON_NUMBER && count++ < MOST) {
                char *path = mem_printf("%s.%s", groups[g], json_name(m));
                take(h, service, instance, path, json_value_num(m, 0), wall_ms);
                mem_free(path);
            }
        }
    }
}

/* Figures that nobody told this time: their series rest until they come again. */
static void end_untold(struct history *h)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&h->collected, &at, &key, &value)) {
        struct kept *kept = value;
        if (kept->round != h->collected_round) {
            store_series_end(h->store, kept->series);
            (void)map_remove(&h->collected, key);
            mem_free(kept);
        }
    }
}

void history_on_views(struct master *m, const struct cJSON *views, uint64_t wall_ms)
{
    struct history *h = m->history;
    if (!h) {
        return;
    }
    const struct cJSON *services = json_get(views, "services");
    h->collected_round++;
    for (const struct cJSON *s = json_first(json_get(m->config, "services")); s; s = json_next(s)) {
        const char *name = json_str(s, "name", "");
        const struct cJSON *view = json_get(s, "collect") ? json_get(services, name) : NULL;
        const struct cJSON *i = json_first(json_get(view, "instances"));
        take_view(h, name, "", view, wall_ms);
        for (; i; i = json_next(i)) {
            take_view(h, name, json_name(i), i, wall_ms);
        }
    }
    end_untold(h);
}

void history_collected_free(struct history *h)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&h->collected, &at, &key, &value)) {
        mem_free(value);
    }
    map_free(&h->collected);
}
