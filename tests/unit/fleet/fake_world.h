/* fake_world.h: an engine, health checks and workers in memory, on a virtual clock, for the fleet.
 *
 * The engine's side outlives the fleet: world_crash frees the fleet as a kill -9 would (what it had
 * asked of the engine still happens), world_boot makes a new one on what is there. Every call of
 * the engine takes effect after `effect_ms` and answers after `reply_ms`. */
#ifndef TESTS_FLEET_FAKE_WORLD_H
#define TESTS_FLEET_FAKE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "engine/engine.h"

struct world;

struct container {
    struct list node;
    struct world *world;
    char *id, *name, *service, *spec_hash, *image, *address, *output;
    uint32_t serial, slot, generation, restarts;
    enum engine_state state;
    enum engine_health health;
    int exit_code;
    bool oom, sick, restarts_itself;
    bool mute;                    /* cannot be sampled */
    uint64_t started_ms, back_ms; /* back_ms: restarts itself then; 0 = not */
    double cpu_seconds;
};

/* How containers of an image behave. */
struct image {
    bool missing;     /* create says so */
    bool has_check;   /* HEALTHCHECK */
    bool restarts;    /* restart policy brings it back */
    int status;       /* of GET /health once ready, 200 by default */
    int64_t ready_ms; /* after start */
    int64_t dies_ms;  /* after start; 0 = lives on */
    int exit_code;
    bool oom;
    double cores;       /* used, of 1 allotted */
    double start_cores; /* the same within start_ms from its start */
    int64_t start_ms;
    double memory; /* used, of 1 allotted */
};

enum op_kind {
    OP_CREATE,
    OP_START,
    OP_INSPECT,
    OP_LIST,
    OP_STOP,
    OP_REMOVE,
    OP_SAMPLE,
    OP_LOGS,
    OP_KINDS
};

/* A call under way. */
struct op {
    struct list node;
    enum op_kind kind;
    uint64_t effect_ms, reply_ms;
    bool effected, orphaned; /* orphaned: nobody waits for the answer any more */
    int code;                /* of the answer */
    char *text;
    char *id;                     /* container's id or name */
    struct container *made;       /* create: waiting to be inserted at effect_ms */
    struct engine_instance *seen; /* list: what there was, deep copies */
    size_t seen_count;
    void *arg;
    union engine_callback on;
};

/* A fault ahead: the next `times` calls of a kind answer `code`. */
struct fault {
    int times;
    int code;
    bool happens; /* the effect takes place although the answer is an error */
    char *text;
};

struct fake_engine {
    struct engine head;
    struct world *world;
    bool up;
    uint32_t made; /* containers ever */
    uint32_t delay_ms[OP_KINDS];
    struct fault faults[OP_KINDS];
    unsigned calls[OP_KINDS];
    unsigned in_flight_most, duplicates; /* creates and starts at once; creates of a known name */
    struct list containers, ops;
    struct map images; /* name -> struct image, owned */
    struct buf log;    /* "create tg-x-1\n" of every call that changes something */
    int64_t crash_in;  /* changing calls until the crash; 0 = never */
    bool crash_due;
};

extern const struct engine_kind fake_engine_kind;

void fake_engine_init(struct fake_engine *e, struct world *world);
void fake_engine_free(struct fake_engine *e);
/* Lets what is due by `now_ms` happen. */
void fake_engine_run(struct fake_engine *e, uint64_t now_ms);
/* Nobody waits any more: pending calls answer -ECANCELED now, their effects still come. */
void fake_engine_cancel(struct fake_engine *e, int code);
struct container *fake_engine_find(struct fake_engine *e, const char *id_or_name);
struct container *fake_engine_at(struct fake_engine *e, const char *address);
struct image *fake_engine_image(struct fake_engine *e, const char *name);
void fake_container_die(struct container *c, int exit_code, bool oom);
void fake_container_free(struct container *c);
struct container *fake_container_new(struct fake_engine *e, const char *name, const char *service);

/* ---- world.c, for fake_engine.c ---- */
uint64_t world_now(const struct world *w);
void world_event(struct world *w, enum engine_event_kind kind, const struct container *c);

#endif
