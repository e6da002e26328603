/* world.h: what specs may do with a world (fake_world.h): read by C and, as it stands, by ffi.cdef.
 *
 * Texts that are returned are lent until the next such call. `op` is the order of enum op_kind. */
#ifndef TESTS_FLEET_WORLD_H
#define TESTS_FLEET_WORLD_H

#include <stdbool.h>
#include <stdint.h>

struct world;

struct world *world_new(void);
void world_free(struct world *w);
/* Virtual time passes: calls, probes, acks, ticks. */
void world_run(struct world *w, uint32_t ms);
/* kill -9 of the fleet, and its next start. */
void world_crash(struct world *w);
void world_boot(struct world *w);

/* ---- Changes ---- */
void world_apply(struct world *w, const char *config);
/* {"engine_up":true,"acks":true,"crash_in":3,"crash_delay_ms":0, crash at the third changing call
 *  "wall_ms":5000, the wall clock goes on by that
 *  "fault":{"op":0,"times":1,"code":-110,"happens":true,"text":"..."},"delay":{"op":1,"ms":500}} */
void world_set(struct world *w, const char *text);
/* {"missing":false,"has_check":false,"restarts":false,"status":200,"ready_ms":200,"dies_ms":0,
 *  "exit_code":0,"oom":false,"cores":0.5,"memory":0.4,
 *  "start_cores":1.0,"start_ms":5000} for so long after its start */
void world_image(struct world *w, const char *name, const char *text);
/* A container that is not ours. */
void world_foreign(struct world *w, const char *name);
bool world_die(struct world *w, const char *name, int exit_code, bool oom);
bool world_sick(struct world *w, const char *name, bool sick);
/* Its samples fail. */
bool world_mute(struct world *w, const char *name, bool mute);
bool world_pause(struct world *w, const char *name, bool paused);
/* Removed behind our back, without an event. */
void world_vanish(struct world *w, const char *name);
/* An address outside of the engine answers or not. */
void world_host(struct world *w, const char *address, bool answers);
/* Answers every question with these decisions; "" = stays silent. */
void world_policy(struct world *w, const char *decisions);
void world_in_flight(struct world *w, unsigned slot, uint64_t count);
/* So many requests of a route wait at a worker. */
void world_queue(struct world *w, unsigned worker, unsigned route, uint64_t count);
/* Finished requests of one latency. */
void world_requests(struct world *w, unsigned slot, unsigned count, unsigned failures,
                    uint64_t latency_us);
/* "scale", "deploy", "drain", "undrain", "restart", "approve", "stop" answer as fleet.h says; "stop_all" and
 * "idle" answer whether the fleet is idle, "surveyed" whether all that ran before it is known. */
const char *world_operate(struct world *w, const char *what, const char *object, uint32_t count,
                          uint32_t hold_ms);

/* ---- Looks ---- */
const char *world_containers(struct world *w);
/* {"calls":[{"count":3}],"in_flight_most":4,"duplicates":0,"now_ms":1000,"crash_in":0} */
const char *world_engine(struct world *w);
/* Calls that change something, "create tg-x-1\n"; and facts, one a line. */
const char *world_log(struct world *w);
const char *world_facts(struct world *w);
void world_forget(struct world *w);
const char *world_roster(struct world *w);
const char *world_asked(struct world *w);
const char *world_status(struct world *w, const char *service);
const char *world_deploy_state(struct world *w, const char *service);
const char *world_decisions(struct world *w, const char *service);
/* What the fleet wants to be kept: {"hold shop":{...}}; and another document among it. */
const char *world_kept(struct world *w);
void world_keep(struct world *w, const char *kind, const char *key, const char *json);
/* CPU time of `count` ticks in which nothing happens. */
uint64_t world_tick_cost_us(struct world *w, unsigned count);

#endif
