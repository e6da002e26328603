/* shadow.c: policies that are asked beside a service's own and never acted upon: what they would have,
 * and where that is something else.
 *
 * Compared is what would come of both answers within the bounds, since all other rules are about what was done
 * before, which a shadow never did. A difference is told when it begins, turns round or ends, at most
 * once a minute, and counted always. */
#include "fleet/fleet_private.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    TELL_MS = 60000
};

static void clear(struct shadow *x)
{
    mem_free(x->name);
    mem_free(x->reason);
    *x = (struct shadow){0};
}

void fleet_shadow_free(struct service *s)
{
    for (unsigned n = 0; n < FLEET_SHADOWS; n++) {
        clear(&s->shadows[n]);
    }
}

/* The one of that name, taken out of those before, or a new one. */
static struct shadow go_on(struct shadow *before, const char *name)
{
    for (unsigned n = 0; n < FLEET_SHADOWS; n++) {
        if (before[n].name && !strcmp(before[n].name, name)) {
            struct shadow x = before[n];
            before[n] = (struct shadow){0};
            return x;
        }
    }
    return (struct shadow){.name = mem_copy(name)};
}

void fleet_shadow_apply(struct service *s)
{
    const struct cJSON *one = json_first(json_get(json_get(s->config, "scale"), "shadows"));
    struct shadow before[FLEET_SHADOWS];
    memcpy(before, s->shadows, sizeof before);
    for (unsigned n = 0; n < FLEET_SHADOWS; n++) {
        s->shadows[n] = one ? go_on(before, json_str(one, "name", "")) : (struct shadow){0};
        one = one ? json_next(one) : NULL;
    }
    for (unsigned n = 0; n < FLEET_SHADOWS; n++) {
        clear(&before[n]);
    }
}

static uint32_t within_bounds(const struct service *s, double want)
{
    uint32_t least = fleet_zero_least(s);
    return want < least ? least : want > s->spec.max ? s->spec.max : (uint32_t)llround(want);
}

static void tell(struct service *s, struct shadow *x, const struct decision *d)
{
    uint64_t now_ms = s->fleet->now_ms;
    int way = x->failed ? x->told : x->would > x->own ? 1 : x->would < x->own ? -1 : 0;
    if (way == x->told || (x->told_ms && now_ms - x->told_ms < TELL_MS)) {
        return;
    }
    x->told = way;
    x->told_ms = now_ms;
    char *what = mem_printf("shadow %s %s", x->name,
                            way > 0   ? "would have more"
                            : way < 0 ? "would have fewer"
                                      : "agrees");
    char *detail = mem_printf("%u where %s has %u: %s", x->would, d->policy, x->own, x->reason);
    fleet_tell(s->fleet, "policy", s, NULL, what, detail, false);
    mem_free(what);
    mem_free(detail);
}

static void take(struct service *s, struct shadow *x, const struct cJSON *said,
                 const struct decision *d)
{
    const char *error = json_str(said, "error", NULL);
    double want = json_num(said, "want", -1);
    x->asked++;
    x->failed = error != NULL;
    x->errors += x->failed;
    mem_free(x->reason);
    x->reason = mem_copy(error ? error : json_str(said, "reason", ""));
    x->own = within_bounds(s, d->want < 0 ? d->was : (double)d->want);
    x->would = error ? x->would : within_bounds(s, want < 0 ? d->was : want);
    x->differed += !x->failed && x->would != x->own;
    tell(s, x, d);
}

void fleet_shadow_take(struct service *s, const struct cJSON *said, const struct decision *d)
{
    for (const struct cJSON *one = json_first(said); one; one = json_next(one)) {
        for (unsigned n = 0; n < FLEET_SHADOWS; n++) {
            const char *name = s->shadows[n].name;
            if (name && !strcmp(name, json_str(one, "name", ""))) {
                take(s, &s->shadows[n], one, d);
            }
        }
    }
}

struct cJSON *fleet_shadow_json(const struct service *s, bool counts)
{
    struct cJSON *list = NULL;
    for (unsigned n = 0; n < FLEET_SHADOWS; n++) {
        const struct shadow *x = &s->shadows[n];
        if (!x->name || (!counts && !x->asked)) {
            continue;
        }
        struct cJSON *j = json_object();
        json_set_str(j, "name", x->name);
        if (counts) {
            json_set_num(j, "asked", (double)x->asked);
            json_set_num(j, "differed", (double)x->differed);
            json_set_num(j, "errors", (double)x->errors);
        }
        if (x->asked && !x->failed) {
            json_set_num(j, "would", x->would);
            json_set_num(j, "own", x->own);
        }
        json_set_str(j, x->failed ? "error" : "reason", x->reason ? x->reason : "");
        list = list ? list : json_array();
        json_set(list, NULL, j);
    }
    return list;
}
