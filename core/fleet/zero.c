/* zero.c: services without instances while nobody asks.
 *
 * With min = 0 a service loses its last instances when no request came for `idle`. The next request
 * waits in its route's queue, which the board tells us: one instance is started, and when it is up and
 * has answered those who waited, the policy is asked again, with figures of what came since. What piled
 * up during a start is no lasting demand, so it is not sized on it. While instances run, the policy
 * decides between 1 and max: its 0 is no word about requests that have not come yet.
 *
 * How long nobody asked is counted: gaps longer than some lengths, so that an operator sees how many cold
 * starts a day each `idle` would have cost. */
#include "fleet/fleet_private.h"

#include <stdio.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    WAKE_MOST_MS =
        10000, /* from the first instance's being up until the policy is asked at the latest */
    DAY_S = 86400
};

static const uint32_t lengths_s[FLEET_GAPS] = {60, 300, 900, 1800, 3600};

bool fleet_zero_able(const struct service *s)
{
    return s->spec.scaled && !s->spec.min && s->spec.max;
}

bool fleet_zero_rests(const struct service *s)
{
    return fleet_zero_able(s) && (!s->desired || s->zero.waking);
}

uint32_t fleet_zero_least(const struct service *s)
{
    return fleet_zero_able(s) ? 1 : s->spec.min;
}

/* ---- Gaps ---- */

static void count_gap(struct zero *z, uint64_t gap_ms)
{
    for (unsigned i = 0; i < FLEET_GAPS; i++) {
        z->gaps[i] += gap_ms >= (uint64_t)lengths_s[i] * 1000;
    }
}

void fleet_zero_asked(struct service *s)
{
    uint64_t now_ms = s->fleet->now_ms;
    count_gap(&s->zero, now_ms - s->zero.asked_ms);
    s->zero.asked_ms = now_ms;
}

static double a_day(const struct service *s, unsigned gap)
{
    double passed_s = (double)(s->fleet->now_ms - s->zero.since_ms) / 1000;
    return s->zero.gaps[gap] * (double)DAY_S / (passed_s > 1 ? passed_s : 1);
}

/* "36 at 1m, 12 at 5m, ...": for those who choose `idle`. */
static void put_gaps(const struct service *s, struct buf *to)
{
    for (unsigned i = 0; i < FLEET_GAPS; i++) {
        (void)buf_printf(to, "%s%.3g at %um", i ? ", " : "", a_day(s, i), lengths_s[i] / 60);
    }
}

/* ---- Down and up ---- */

/* Neither is a step of the policy's: its cooldowns do not hear of it. */
static void change(struct service *s, uint32_t desired, const char *why)
{
    char name[] = "scale to zero", *reason = mem_copy(why);
    struct decision d = {
        .policy = name,
        .reason = reason,
        .want = desired,
        .was = s->desired,
        .result = desired,
        .action = desired ? FLEET_SCALE_UP : FLEET_SCALE_DOWN,
    };
    fleet_audit_record(s, &d);
    s->asking = false; /* an answer that is still to come is about what was */
    mem_free(reason);
    (void)fleet_scale_set(s, desired, desired ? FLEET_BY_REQUEST : FLEET_BY_SILENCE);
    fleet_service_reconcile(s);
}

static void wake(struct service *s, uint64_t waits)
{
    struct zero *z = &s->zero;
    struct buf why;
    buf_init(&why, LIMIT_REASON_BYTES);
    z->wakes++;
    z->waking = true;
    z->up_ms = 0;
    (void)buf_printf(
        &why, "%llu wait for the first instance; cold starts a day: ", (unsigned long long)waits);
    put_gaps(s, &why);
    change(s, 1, buf_str(&why));
    buf_free(&why);
}

static void sleep_now(struct service *s, uint64_t idle_ms)
{
    struct buf why;
    buf_init(&why, LIMIT_REASON_BYTES);
    (void)buf_printf(&why, "no request for %llu s; cold starts a day by `idle`: ",
                     (unsigned long long)idle_ms / 1000);
    put_gaps(s, &why);
    s->zero.waking = false;
    change(s, 0, buf_str(&why));
    buf_free(&why);
}

/* It is over when those who waited have gone on, or when the one instance cannot manage them. */
static void look_awake(struct service *s, uint64_t waits)
{
    struct zero *z = &s->zero;
    struct census c;
    uint64_t now_ms = s->fleet->now_ms;
    fleet_census(s, &c);
    if (!c.current_up) {
        return;
    }
    z->up_ms = z->up_ms ? z->up_ms : now_ms;
    bool over = !waits && !fleet_service_in_flight(s);
    if (over || now_ms - z->up_ms >= WAKE_MOST_MS) {
        struct figures unused;
        z->waking = false;
        fleet_traffic_close(s, &s->since_ask, &unused);
        s->ask_ms = now_ms + s->spec.scale_interval_ms;
    }
}

static void look(struct service *s)
{
    uint64_t now_ms = s->fleet->now_ms, waits = fleet_service_queue(s);
    struct census c;
    if (waits || fleet_service_in_flight(s)) {
        fleet_zero_asked(s);
    }
    if (s->zero.waking) {
        look_awake(s, waits);
    }
    uint64_t quiet_ms = now_ms - s->zero.asked_ms;
    fleet_census(s, &c);
    if (now_ms < s->manual_until_ms || !fleet_can_act(s->fleet)) {
        return;
    }
    if (!s->desired && waits && !fleet_scale_barred(s, FLEET_BY_REQUEST)) {
        wake(s, waits);
    } else if (s->desired && quiet_ms >= s->spec.idle_ms && !c.launching && !c.old &&
               !fleet_scale_barred(s, FLEET_BY_SILENCE)) {
        sleep_now(s, quiet_ms);
    }
}

void fleet_zero_tick(struct fleet *f)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        if (s->stopped) {
            s->zero.asked_ms = f->now_ms; /* nobody could ask */
        } else if (fleet_zero_able(s) && s->settled && !s->gone) {
            look(s);
        }
    }
}

struct cJSON *fleet_zero_json(const struct service *s)
{
    if (!fleet_zero_able(s) || s->gone) {
        return NULL;
    }
    struct cJSON *z = json_object(), *gaps = json_object();
    json_set_num(z, "idle_s", (double)s->spec.idle_ms / 1000);
    json_set_num(z, "quiet_s", (double)(s->fleet->now_ms - s->zero.asked_ms) / 1000);
    json_set_bool(z, "waking", s->zero.waking);
    json_set_num(z, "wakes", s->zero.wakes);
    json_set_num(z, "held", s->desired && !s->zero.waking ? 0 : (double)fleet_service_queue(s));
    for (unsigned i = 0; i < FLEET_GAPS; i++) {
        char length[16]; /* "3600" and its kin */
        snprintf(length, sizeof length, "%u", lengths_s[i]);
        json_set_num(gaps, length, a_day(s, i));
    }
    json_set(z, "cold_starts_a_day", gaps);
    return z;
}
