/* model.c: response times and queue of instances under a load; see sim.h.
 *
 * Below full load an instance is M/M/c (Erlang C); above it, requests are a fluid that waits. */
#include <math.h>

#include "sim/private.h"
#include "base/ban.h"

/* Share of requests that have to wait for one of `workers` servers (Erlang C), by Erlang B's recursion. */
static double waits(double workers, double load)
{
    double offered = workers * load, blocked = 1;
    for (double k = 1; k <= workers; k++) {
        blocked = offered * blocked / (k + offered * blocked);
    }
    return blocked / (1 - load * (1 - blocked));
}

double model_slower(double workers, double rate_each, double load, double t)
{
    double spare = workers - 1 - workers * load;
    double waiting = waits(workers, load), served = exp(-rate_each * t);
    if (fabs(spare) < 1e-9) {
        return served * (1 + waiting * rate_each * t);
    }
    return served * (1 + waiting * (1 - exp(-rate_each * t * spare)) / spare);
}

static double quantile(const struct model *m, double load, double q)
{
    double low = 0, high = 60;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        if (model_slower(m->workers, m->rate_each, load, middle) > 1 - q) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}

static void set_instance(struct model *m, const struct sim_options *options)
{
    m->options = options;
    m->workers = fmax(1, floor(options->capacity * (double)options->service_ms / 1000 + 0.5));
    m->workers = fmin(m->workers, MODEL_WORKERS_MOST);
    m->rate_each = options->capacity / m->workers;
    double low = 0, high = 0.999;
    for (int i = 0; i < 50; i++) {
        double middle = (low + high) / 2;
        double slower =
            model_slower(m->workers, m->rate_each, middle, (double)options->slo_ms / 1000);
        if (slower > 0.05) {
            high = middle;
        } else {
            low = middle;
        }
    }
    m->highest = low;
}

double sim_highest_load(const struct sim_options *options)
{
    struct model m = {.queue = 0};
    set_instance(&m, options);
    return m.highest;
}

void model_init(struct model *m, const struct sim_options *options)
{
    *m = (struct model){.queue = 0};
    set_instance(m, options);
    for (int step = 0; step <= MODEL_STEPS; step++) {
        double load = fmin((double)step / MODEL_STEPS, 0.99);
        m->above[step] =
            (float)model_slower(m->workers, m->rate_each, load, (double)options->slo_ms / 1000);
        m->mean_s[step] = (float)(1 / m->rate_each + waits(m->workers, load) /
                                                         (m->workers * m->rate_each * (1 - load)));
        for (int k = 0; k < MODEL_QUANTILES; k++) {
            m->quantile_s[step][k] =
                (float)quantile(m, load, fmin((k + 1.0) / MODEL_QUANTILES, 0.99));
        }
    }
}

double model_need(const struct model *m, double rate)
{
    return ceil(rate / (m->options->capacity * m->highest) - 1e-9);
}

uint64_t model_latency_us(const struct model *m, const struct model_tick *tick, int k)
{
    double s = tick->wait_s + (double)m->quantile_s[(int)(tick->load * MODEL_STEPS)][k];
    return (uint64_t)(s * 1e6);
}

void model_tick(struct model *m, double arrivals, double ready, double seconds,
                struct model_tick *t)
{
    double most = ready * m->options->capacity * seconds;
    double timeout_s = (double)m->options->timeout_ms / 1000;
    double work = m->queue + arrivals;
    *t = (struct model_tick){.served = fmin(work, most)};
    double before = m->queue;
    m->queue = work - t->served;
    double room = (ready > 0 ? ready : 1) * m->options->capacity * timeout_s;
    if (m->queue > room) {
        t->shed = m->queue - room;
        m->queue = room;
    }
    double load = most > 0 ? work / most : 2;
    t->load = fmin(load, 1);
    t->wait_s = most > 0 ? (before + m->queue) / 2 / (ready * m->options->capacity) : timeout_s;
    t->violated = arrivals > 0 && load > m->highest;
    int step = (int)(t->load * MODEL_STEPS);
    if (t->violated) {
        double slow = t->wait_s > (double)m->options->slo_ms / 1000 ? 1 : (double)m->above[step];
        t->bad = t->shed + t->served * slow;
    }
    t->in_flight = t->served / seconds * (double)m->mean_s[step];
}
