/* private.h: what the files of this room share. */
#ifndef SIM_PRIVATE_H
#define SIM_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "sim/sim.h"

/* ---- chance.c: reproducible noise ---- */
struct chance {
    uint64_t state;
};
double chance_uniform(struct chance *c); /* in (0, 1) */
double chance_normal(struct chance *c);
double chance_poisson(struct chance *c, double mean);

/* ---- model.c: what happens to requests ---- */
enum {
    MODEL_STEPS = 256,       /* of utilisation */
    MODEL_QUANTILES = 40,    /* of response time */
    MODEL_WORKERS_MOST = 512 /* of an instance */
};

struct model {
    const struct sim_options *options;
    double workers, rate_each;     /* servers of an instance, requests/s of one server */
    double highest;                /* sim_highest_load */
    double queue;                  /* requests that wait */
    float above[MODEL_STEPS + 1];  /* share slower than the objective */
    float mean_s[MODEL_STEPS + 1]; /* response time */
    float quantile_s[MODEL_STEPS + 1]
                    [MODEL_QUANTILES]; /* at (k + 1) / MODEL_QUANTILES, .99 at last */
};

/* What a tick came to. */
struct model_tick {
    double served, shed, bad; /* requests */
    double load;              /* utilisation 0..1 of the instances */
    double wait_s;            /* in the queue, of those who came */
    double in_flight;
    bool violated;
};

/* `model` borrows the options as long as it lives. */
void model_init(struct model *model, const struct sim_options *options);
/* Response time in microseconds at quantile k of such a tick. */
uint64_t model_latency_us(const struct model *model, const struct model_tick *tick, int k);
void model_tick(struct model *model, double arrivals, double ready, double seconds,
                struct model_tick *ret_tick);
/* Instances that a rate needs, at least 0. */
double model_need(const struct model *model, double rate);
/* Share of requests slower than t seconds at utilisation `load` below 1. */
double model_slower(double workers, double rate_each, double load, double t);

/* ---- oracle.c ---- */
/* Instance ticks from tick `from` on of the best plan. `need` has one value a tick. */
double oracle_ticks(const double *need, size_t count, size_t from, uint32_t min, uint32_t max,
                    size_t startup_ticks);
/* The same plan tick by tick: how many instances it bills, with those that are being started. */
void oracle_plan(const double *need, size_t count, uint32_t min, uint32_t max, size_t startup_ticks,
                 double *ret_plan);

/* ---- engine.c: an engine.h whose instances are records ---- */
struct sim_container {
    bool used, created, running, healthy, serving;
    char id[16], name[ENGINE_NAME_BYTES], service[64], spec_hash[24], address[32];
    uint32_t serial, slot, generation;
    uint64_t ready_ms;
    double cpu_seconds;
};

struct sim_engine;
struct sim_engine *sim_engine_new(uint64_t startup_ms, const struct engine_listener *listener);
void sim_engine_free(struct sim_engine *e);
struct engine *sim_engine_head(struct sim_engine *e);
/* Answers everything that was asked. Returns whether there was any. */
bool sim_engine_answer(struct sim_engine *e, uint64_t now_ms);
/* Tells which instances became healthy until `now_ms`. */
void sim_engine_advance(struct sim_engine *e, uint64_t now_ms);
/* The instance at an address, or NULL. Lends. */
struct sim_container *sim_engine_at(struct sim_engine *e, const char *address);
/* Adds CPU time to all in traffic, and takes them out of it when `forget`. */
void sim_engine_use(struct sim_engine *e, double cpu_seconds);
void sim_engine_unserve(struct sim_engine *e);
unsigned sim_engine_count(const struct sim_engine *e, unsigned *ret_serving);

/* ---- records.c ---- */
struct fleet;
/* Decisions since `from_s` of the trace, which began at the wall time `start_s`, as JSON text: see struct sim_interval.
 * The caller owns it. */
char *records_since(const struct fleet *fleet, double start_s, double from_s);

/* ---- plot_page.c ---- */
/* Appends text as XML and HTML take it; bytes that neither takes become '?'. */
void plot_text(struct buf *to, const char *text);
/* "14:05", or with `day` "01-31", of seconds since 1970. */
void plot_date(int64_t at_s, bool day, char ret_text[32]);

#endif
