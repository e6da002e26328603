/* sample.c: load: CPU and memory of instances from the engine, traffic from the board.
 *
 * Traffic is counted by differences since the last look, instance by instance, so that instances
 * may come and go within a window. */
#include "fleet/fleet_private.h"

#include <string.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    STALE_INTERVALS = 3,
    WARM_UP_INTERVALS = 2
};

/* ---- The engine's samples ---- */

/* Bytes a second of a total; -1 when it went back, or nothing was ever counted: processes of the host
 * have no network of their own. */
static double network_rate(uint64_t was, uint64_t is, double seconds)
{
    return is && is >= was ? (double)(is - was) / seconds : -1;
}

static void take_sample(struct instance *i, const struct engine_sample *sample)
{
    struct usage *u = &i->usage;
    double seconds = (double)(sample->at_us - u->last.at_us) / 1e6;
    double cpu = sample->cpu_seconds - u->last.cpu_seconds;
    /* Totals that went back: it was restarted meanwhile. */
    if (u->has_last && sample->at_us > u->last.at_us && cpu >= 0 &&
        sample->cpu_cores_allotted > 0) {
        u->cpu_percent = 100 * cpu / seconds / sample->cpu_cores_allotted;
        u->memory_percent = sample->memory_limit_bytes ? 100 * (double)sample->memory_bytes /
                                                             (double)sample->memory_limit_bytes
                                                       : 0;
        u->received_rate =
            network_rate(u->last.network_rx_bytes, sample->network_rx_bytes, seconds);
        u->sent_rate = network_rate(u->last.network_tx_bytes, sample->network_tx_bytes, seconds);
        u->at_ms = i->fleet->now_ms;
    }
    u->last = *sample;
    u->has_last = true;
}

static void on_sampled(void *arg, const struct engine_error *error,
                       const struct engine_sample *sample)
{
    struct instance *i = arg;
    fleet_call_note(i->fleet, FLEET_CALL_SAMPLE, error->code);
    i->calls--;
    i->usage.calling = false;
    if (!error->code && i->state == FLEET_UP) {
        take_sample(i, sample);
    } else if (error->code) {
        (void)fleet_call_lost(i->fleet, error->code); /* else the gap shows as stale */
    }
    fleet_settle(i->fleet);
}

static void sample(struct instance *i)
{
    struct fleet *f = i->fleet;
    i->usage.next_ms = f->now_ms + f->sample_interval_ms;
    i->usage.calling = true;
    i->calls++;
    if (f->engine->kind->sample(f->engine, i->engine_id, on_sampled, i)) {
        i->usage.calling = false;
        i->calls--;
    }
}

bool fleet_usage_fresh(const struct instance *i)
{
    const struct fleet *f = i->fleet;
    uint64_t stale_ms = (uint64_t)f->sample_interval_ms * STALE_INTERVALS;
    return i->usage.at_ms && f->now_ms - i->usage.at_ms <= stale_ms;
}

/* Ready, and warm; when none is warm yet, what there is counts. */
static bool counts(const struct instance *i, bool any_warm)
{
    return i->state == FLEET_UP && !i->backend && (!any_warm || fleet_rails_warm(i));
}

static bool is_any_warm(const struct service *s)
{
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (i->state == FLEET_UP && !i->backend && fleet_rails_warm(i)) {
            return true;
        }
    }
    return false;
}

void fleet_load(const struct service *s, struct load *ret_load)
{
    const struct fleet *f = s->fleet;
    struct load load = {.cpu_percent = 0, .memory_percent = 0};
    bool any_warm = is_any_warm(s);
    uint64_t warm_ms = (uint64_t)f->sample_interval_ms * WARM_UP_INTERVALS;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        if (!counts(i, any_warm)) {
            continue;
        }
        uint64_t age_ms = f->now_ms - i->usage.at_ms;
        bool fresh = fleet_usage_fresh(i);
        load.expected += fresh || f->now_ms - i->up_ms >= warm_ms;
        if (fresh) {
            load.fresh++;
            load.cpu_percent += i->usage.cpu_percent;
            load.memory_percent += i->usage.memory_percent;
            load.age_ms = age_ms > load.age_ms ? age_ms : load.age_ms;
        }
    }
    if (load.fresh) {
        load.cpu_percent /= load.fresh;
        load.memory_percent /= load.fresh;
    } else {
        load.cpu_percent = load.memory_percent = -1;
    }
    *ret_load = load;
}

/* ---- Traffic ---- */

uint64_t fleet_service_in_flight(const struct service *s)
{
    uint64_t sum = 0;
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        const struct instance *i = list_owner(n, struct instance, node);
        sum += i->slot == FLEET_NO_SLOT ? 0 : board_in_flight(s->fleet->board, (unsigned)i->slot);
    }
    return sum;
}

uint64_t fleet_service_queue(const struct service *s)
{
    uint64_t sum = 0;
    for (uint32_t r = 0; r < s->route_count; r++) {
        sum += board_queue_length(s->fleet->board, (s->first_route + r) % BOARD_ROUTES);
    }
    return sum;
}

/* Adds what is new on the instance's row to both windows. */
static void count_instance(struct service *s, struct instance *i)
{
    uint64_t requests, failures;
    board_requests(s->fleet->board, (unsigned)i->slot, &requests, &failures);
    uint64_t more = requests - i->seen_requests;
    if (!more) {
        return; /* nothing was answered either: the histogram stands still */
    }
    uint64_t more_failures = failures - i->seen_failures;
    fleet_zero_asked(s);
    s->window.requests += more;
    s->window.failures += more_failures;
    s->since_ask.requests += more;
    s->since_ask.failures += more_failures;
    i->seen_requests = requests;
    i->seen_failures = failures;

    uint64_t buckets[BOARD_BUCKETS] = {0};
    board_histogram(s->fleet->board, (unsigned)i->slot, buckets);
    if (!i->seen_buckets) {
        i->seen_buckets = mem_array(BOARD_BUCKETS, sizeof *i->seen_buckets);
    }
    for (unsigned at = 0; at < BOARD_BUCKETS; at++) {
        /* Modulo 2^32: half the memory, and no window sees so many. */
        uint32_t added = (uint32_t)buckets[at] - i->seen_buckets[at];
        if (added) { /* few of them */
            s->window.buckets[at] += added;
            s->since_ask.buckets[at] += added;
            i->seen_buckets[at] = (uint32_t)buckets[at];
        }
    }
}

static void count_traffic(struct service *s)
{
    for (struct list *n = s->instances.next; n != &s->instances; n = n->next) {
        struct instance *i = list_owner(n, struct instance, node);
        if (i->slot != FLEET_NO_SLOT) {
            count_instance(s, i);
        }
    }
}

void fleet_traffic_close(struct service *s, struct traffic *window, struct figures *ret_figures)
{
    uint64_t now_ms = s->fleet->now_ms;
    count_traffic(s);
    struct figures figures = {-1, -1, -1, -1, -1};
    double seconds = (double)(now_ms - window->since_ms) / 1000;
    if (seconds > 0) {
        figures.rate = (double)window->requests / seconds;
    }
    if (window->requests) {
        figures.error_rate = (double)window->failures / (double)window->requests;
        uint64_t us[3];
        board_quantiles_us(window->buckets, (const double[]){0.50, 0.95, 0.99}, 3, us);
        figures.p50_ms = (double)us[0] / 1000;
        figures.p95_ms = (double)us[1] / 1000;
        figures.p99_ms = (double)us[2] / 1000;
    }
    *window = (struct traffic){.since_ms = now_ms};
    *ret_figures = figures;
}

void fleet_sample_tick(struct fleet *f)
{
    for (struct list *n = f->services.next; n != &f->services; n = n->next) {
        struct service *s = list_owner(n, struct service, node);
        if (f->now_ms >= s->sample_ms) {
            s->sample_ms = f->now_ms + f->sample_interval_ms;
            fleet_traffic_close(s, &s->window, &s->figures);
        }
        for (struct list *m = s->instances.next; m != &s->instances; m = m->next) {
            struct instance *i = list_owner(m, struct instance, node);
            if (i->state == FLEET_UP && !i->backend && f->now_ms >= i->usage.next_ms &&
                !i->usage.calling && fleet_can_act(f)) {
                sample(i);
            }
        }
    }
}
