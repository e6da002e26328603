/* outbox_world.h: an outbox on a virtual clock with a disk that a kill leaves as it is, for specs. Texts are
 * lent until the next call. */
#ifndef OUTBOX_WORLD_H
#define OUTBOX_WORLD_H

#include <stdbool.h>
#include <stdint.h>

struct outbox_world;

struct outbox_world *outbox_world_new(void);
void outbox_world_free(struct outbox_world *w);
void outbox_world_apply(struct outbox_world *w, const char *config);
void outbox_world_add(struct outbox_world *w, const char *message);
/* NULL: the policy process died. */
void outbox_world_decide(struct outbox_world *w, const char *answer);
/* Whether there is a policy process to ask. */
void outbox_world_policy(struct outbox_world *w, bool there);
/* What is saved from here on is on disk only when outbox_world_durable says so. */
void outbox_world_slow_disk(struct outbox_world *w);
void outbox_world_durable(struct outbox_world *w);
void outbox_world_done(struct outbox_world *w, const char *channel, const char *key, int result,
                       const char *text, uint64_t retry_after_ms, uint32_t reached, bool unreached);
int outbox_world_test(struct outbox_world *w, const char *channel, const char *message);
/* Time passes in steps of 100 ms. */
void outbox_world_run(struct outbox_world *w, uint64_t ms);
/* Killed, and started again with what is on the disk. */
void outbox_world_restart(struct outbox_world *w, const char *config);
/* Tries since the last call: [{"channel","key","message","reached","at"}] */
const char *outbox_world_tries(struct outbox_world *w);
const char *outbox_world_questions(struct outbox_world *w);
const char *outbox_world_facts(struct outbox_world *w);
/* {"KEY": document} */
const char *outbox_world_disk(struct outbox_world *w);
const char *outbox_world_figures(struct outbox_world *w);
uint64_t outbox_world_waiting(struct outbox_world *w);
/* Writes outside of a batch while a message was being decided. */
uint32_t outbox_world_loose(struct outbox_world *w);

/* The senders of channels, without sending: [{"url","body","type","bit"}] or {"error"}. */
const char *channel_world_posts(const char *channel, const char *message, uint32_t reached,
                                uint64_t wall_ms);
const char *channel_world_mail(const char *channel, const char *message, uint64_t wall_ms);
const char *channel_world_title(const char *message);
const char *channel_world_text(const char *message);
/* What is told on of an answer to this channel. */
const char *channel_world_clean(const char *channel, const char *said);
uint64_t channel_world_retry_after(const char *text, uint64_t wall_ms);

/* What an Alertmanager was told. */
const char *held_world(const char *document, const char *group, const char *firing,
                       uint64_t wall_ms);

#endif
