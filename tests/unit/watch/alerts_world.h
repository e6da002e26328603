/* alerts_world.h: alerts on a virtual clock, with ports that write down what they are asked: read by C
 * and, as it stands, by ffi.cdef.
 *
 * Texts that are returned are lent until the next such call. */
#ifndef TESTS_WATCH_ALERTS_WORLD_H
#define TESTS_WATCH_ALERTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

struct alerts_world;

struct alerts_world *alerts_world_new(void);
void alerts_world_free(struct alerts_world *w);
void alerts_world_apply(struct alerts_world *w, const char *config);
/* One evaluation now; "" = none of that. */
void alerts_world_evaluate(struct alerts_world *w, const char *views, const char *results,
                           const char *suppressed);
/* Time passes, with a tick every 100 ms. */
void alerts_world_run(struct alerts_world *w, uint32_t ms);
/* kill -9 and the next start `ms` later, with the documents of the last whole batch, and another
 * beginning of the monotonic clock. */
void alerts_world_restart(struct alerts_world *w, const char *config, uint32_t ms);

/* One document as if it had been kept. */
void alerts_world_restore(struct alerts_world *w, const char *kind, const char *key,
                          const char *json);

/* Messages since the last such call: an array. */
const char *alerts_world_told(struct alerts_world *w);
/* Facts since the last such call: lines. */
const char *alerts_world_facts(struct alerts_world *w);
/* {"KIND KEY": {document}} as on the disk. */
const char *alerts_world_documents(struct alerts_world *w);
/* Documents and messages that came outside of a batch, which would be torn by a kill. */
uint32_t alerts_world_loose(struct alerts_world *w);
/* Batches that were begun. */
uint32_t alerts_world_batches(struct alerts_world *w);
/* "status", "silences", "silence" (object = {"matchers":[],"for_ms":1}), "unsilence" (id), "acknowledge" (name). */
const char *alerts_world_ask(struct alerts_world *w, const char *what, const char *object);
/* Of that state and severity, by name. */
uint32_t alerts_world_count(struct alerts_world *w, const char *state, const char *severity);
uint64_t alerts_world_policy_errors(struct alerts_world *w);
/* Time of the thread for `count` evaluations of these views, 5 s apart, in us. */
uint64_t alerts_world_cost_us(struct alerts_world *w, const char *views, uint32_t count);
/* Blocks that are allocated now, in the whole process. */
uint64_t alerts_world_blocks(void);

#endif
