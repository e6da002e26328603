/* telling.h: what telling.c and telling_ask.c share: messages of alerts on their way to channels. */
#ifndef APP_TELLING_H
#define APP_TELLING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "watch/outbox.h"

struct channels;
struct master;
struct sending;
struct test_wait;

struct telling {
    struct outbox *outbox;
    struct channels *channels;
    struct map held;          /* channel -> struct holding: of kind alertmanager */
    struct sending *sendings; /* tries under way */
    struct test_wait *tests;
    uint64_t serial; /* of tests */
    struct {
        uint64_t asked, differed, failed;
    } shadow; /* of the notify policy */
    bool restored;
    /* The dead man's switch. */
    uint64_t beat_ms, evaluations, evaluated_ms;
    bool beating, beat_failed, unwell;
};

/* Starts a try outside the outbox's order: an operator's test. -ENOENT, -EBUSY. */
int telling_test(struct master *m, const char *channel, const struct cJSON *message);
/* The channel as configured, or NULL. */
const struct cJSON *telling_channel(const struct master *m, const char *name);

/* telling_ask.c */
/* A try of this message ended; whether it was a test. */
bool telling_tested(struct master *m, const char *channel, const char *id,
                    const struct outbox_outcome *outcome);
/* The policy process's word on the text of a test; whether it was one. NULL: none will come, to none. */
bool telling_test_text(struct master *m, const struct cJSON *answer);
void telling_ask_tick(struct master *m, uint64_t now_ms);
void telling_ask_close(struct master *m);

/* heartbeat.c */
void heartbeat_tick(struct master *m, uint64_t now_ms);

#endif
