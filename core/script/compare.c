/* compare.c: what another generation would have decided; see script.h.
 *
 * Both generations answer the same views, each with instances of its own that go on from copies of the same states.
 * The views come once more, later: their times lie behind the last one, so that no policy sees a clock that goes back. */
#include "script/script.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/ban.h"

enum {
    COMPARE_MS = 2000, /* a reload waits for it */
    ERRORS_MOST = 3    /* of a service, in a row of views: the rest would be the same */
};

struct sides {
    const struct cJSON *was, *now; /* configurations */
    struct script_cold *old, *new;
    uint64_t until_ms;
};

static bool late(const struct sides *s)
{
    return clock_now_ms() >= s->until_ms;
}

static const struct cJSON *service_of(const struct cJSON *config, const char *name)
{
    const struct cJSON *s = json_first(json_get(config, "services"));
    while (s && !str_same(json_str(s, "name", ""), name)) {
        s = json_next(s);
    }
    return s;
}

/* What there would be of it, in its bounds; -1 when the policy failed. */
static double effect(const struct cJSON *decision, const struct cJSON *scale,
                     const struct cJSON *view)
{
    if (json_get(decision, "error")) {
        return -1;
    }
    double want = json_num(decision, "want", json_num(view, "desired", 0));
    return fmin(fmax(want, json_num(scale, "min", 0)), json_num(scale, "max", 1e9));
}

/* The decision on one view, owned; NULL when no policy scales the service there. */
static struct cJSON *ask(struct script_cold *cold, const char *service, const struct cJSON *scale,
                         const struct cJSON *view, double later)
{
    struct cJSON *own = json_copy(view), *services = json_object(), *snapshot = json_object();
    json_set_num(own, "now", json_num(view, "now", 0) + later);
    json_set_num(own, "min", json_num(scale, "min", json_num(view, "min", 0)));
    json_set_num(own, "max", json_num(scale, "max", json_num(view, "max", 0)));
    json_set(services, service, own);
    json_set(snapshot, "services", services);
    struct cJSON *all = script_cold_decide(cold, snapshot);
    struct cJSON *one = json_get(json_get(all, "services"), service);
    struct cJSON *out = one ? json_copy(one) : NULL;
    json_free(snapshot);
    json_free(all);
    return out;
}

/* {"want":6,"reason"|"error":"..."} */
static struct cJSON *told(const struct cJSON *decision, double effect)
{
    struct cJSON *out = json_object();
    const char *error = json_str(decision, "error", NULL);
    if (error) {
        json_set_str(out, "error", error);
    } else {
        json_set_num(out, "want", effect);
        json_set_str(out, "reason", json_str(decision, "reason", ""));
    }
    return out;
}

static double last_now(const struct cJSON *views)
{
    double last = 0;
    for (const struct cJSON *v = json_first(views); v; v = json_next(v)) {
        last = json_num(v, "now", last);
    }
    return last;
}

/* How a service's decisions differ, or NULL. */
static struct cJSON *compare_service(const struct sides *s, const char *name,
                                     const struct cJSON *views)
{
    const struct cJSON *was = json_get(service_of(s->was, name), "scale"),
                       *now = json_get(service_of(s->now, name), "scale");
    struct cJSON *last = NULL;
    unsigned count = 0, differ = 0, errors = 0;
    double first = json_num(json_first(views), "now", 0), step = last_now(views) - first;
    double later = step + fmax(step / fmax((double)json_count(views) - 1, 1), 1);
    for (const struct cJSON *v = json_first(views); v && errors < ERRORS_MOST && !late(s);
         v = json_next(v)) {
        struct cJSON *before = ask(s->old, name, was, v, later),
                     *after = ask(s->new, name, now, v, later);
        double x = effect(before, was, v), y = effect(after, now, v);
        errors += y < 0;
        if (before && after && x != y) {
            differ++;
            json_free(last);
            last = json_object();
            json_set_num(last, "desired", json_num(v, "desired", 0));
            json_set(last, "was", told(before, x));
            json_set(last, "now", told(after, y));
        }
        count += before && after;
        json_free(before);
        json_free(after);
    }
    if (!differ) {
        return NULL;
    }
    struct cJSON *out = json_object();
    json_set_str(out, "service", name);
    json_set_str(out, "was", json_str(was, "policy", ""));
    json_set_str(out, "now", json_str(now, "policy", ""));
    json_set_num(out, "views", count);
    json_set_num(out, "differ", differ);
    json_set(out, "last", last);
    return out;
}

/* One rule and subject that is answered otherwise. */
static void compare_subjects(struct cJSON *list, const char *alert, const struct cJSON *was,
                             const struct cJSON *now)
{
    for (const struct cJSON *one = json_first(now); one; one = json_next(one)) {
        const struct cJSON *before = json_get(was, json_name(one));
        const char *error = json_str(one, "error", NULL);
        if (before && (json_bool(before, "firing", false) != json_bool(one, "firing", false) ||
                       !json_get(before, "error") != !error)) {
            struct cJSON *entry = json_object();
            json_set_str(entry, "alert", alert);
            json_set_str(entry, "subject", json_name(one));
            json_set_bool(entry, "was", json_bool(before, "firing", false));
            json_set_bool(entry, "now", json_bool(one, "firing", false));
            if (error) {
                json_set_str(entry, "error", error);
            }
            json_set(list, NULL, entry);
        }
    }
}

/* Rules that are functions or policies, on the last views. */
static struct cJSON *compare_alerts(const struct sides *s, const struct cJSON *question)
{
    struct cJSON *list = json_array();
    if (question) {
        struct cJSON *was = script_cold_evaluate(s->old, question),
                     *now = script_cold_evaluate(s->new, question);
        const struct cJSON *rule = json_first(json_get(now, "rules"));
        for (; rule; rule = json_next(rule)) {
            compare_subjects(list, json_name(rule),
                             json_get(json_get(was, "rules"), json_name(rule)), rule);
        }
        json_free(was);
        json_free(now);
    }
    return list;
}

static int build(const struct cJSON *config, const struct cJSON *learned,
                 struct script_cold **ret_cold)
{
    char *why = NULL;
    int rc = script_cold_go_on(config, learned, ret_cold, &why);
    mem_free(why);
    return rc;
}

struct cJSON *script_compare(const struct cJSON *was, const struct cJSON *now,
                             const struct cJSON *learned, const struct cJSON *recent)
{
    struct sides s = {.was = was, .now = now, .until_ms = clock_now_ms() + COMPARE_MS};
    struct cJSON *out = json_object(), *services = json_array();
    size_t most = 0;
    if (!build(was, learned, &s.old) && !build(now, learned, &s.new)) {
        const struct cJSON *views = json_first(json_get(recent, "services"));
        for (; views && !late(&s); views = json_next(views)) {
            struct cJSON *one = compare_service(&s, json_name(views), views);
            most = json_count(views) > most ? json_count(views) : most;
            if (one) {
                json_set(services, NULL, one);
            }
        }
        json_set(out, "alerts", compare_alerts(&s, json_get(recent, "question")));
    }
    json_set_num(out, "views", (double)most);
    json_set_bool(out, "partial", late(&s));
    json_set(out, "services", services);
    script_cold_free(s.old);
    script_cold_free(s.new);
    return out;
}
