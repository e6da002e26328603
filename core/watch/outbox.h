/* outbox.h: what has to be told, until it has been: messages of alerts (alerts.h) on their way to channels.
 * A pure module: time comes as arguments, all else goes through ports.
 *
 *     outbox_add --save--> UNDECIDED --ask, outbox_decide--> one copy for each channel, WAITING
 *                             | no answer for 2 s: as the alerts say                 |  ^
 *                             +------------------------------------------------------+  | back-off
 *                                                              send, outbox_done: SENT, AGAIN, or dropped
 *
 * AT LEAST ONCE. A message is kept (port `save`) before it is sent (a disk that takes longer than a second is not
 * waited for), and taken back when its receiver took it; what a stop or a kill left is told after the next start. It has the same id then:
 * a receiver that remembers ids hears everything once.
 *
 * A CHANNEL has one try at a time. Messages of a group go in order: a later one waits for an earlier one.
 * After a failure the channel rests, for 1 s and twice as long each time, up to an hour, with jitter; what
 * the receiver asks for (Retry-After) is the least. Then one message is tried: the one tried least often,
 * so that one that its receiver cannot take does not hold up the others. A message is dropped, and
 * that is counted and told, when its receiver says that it will never take it, after `give_up_ms`, when
 * more than OUTBOX_WAITING wait, and when its channel is no longer configured.
 *
 * DOCUMENTS, kind "outbox": key "ID" (undecided) and "ID CHANNEL"; given back to outbox_restore at the next start. */
#ifndef WATCH_OUTBOX_H
#define WATCH_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox;
struct cJSON;

enum outbox_limits {
    OUTBOX_WAITING = 1000,     /* messages of one channel */
    OUTBOX_BACK_OFF_MS = 1000, /* after the first failure */
    OUTBOX_BACK_OFF_MOST_MS = 3600000,
    OUTBOX_RETRY_AFTER_MOST_MS = 86400000,
    OUTBOX_DISK_MS = 1000,   /* what the disk gets to keep a message before it is sent */
    OUTBOX_ANSWER_MS = 2000, /* what the policy gets to say who hears of it */
};

enum outbox_result {
    OUTBOX_SENT,
    OUTBOX_AGAIN,   /* not now */
    OUTBOX_REFUSED, /* its receiver will never take this one */
    OUTBOX_RESULTS
};

/* What came of a try. Borrowed. */
struct outbox_outcome {
    enum outbox_result result;
    const char *text;        /* what the receiver said, without secrets; "" when nothing */
    uint64_t retry_after_ms; /* what it asked for; 0 = nothing */
    uint32_t reached;        /* of several addresses those that took it, as bits: not told again */
    bool unreached;          /* nobody answered: that is no fault of the message */
};

/* A try. Lent until `send` returns. */
struct outbox_try {
    const char *channel, *key; /* key: for outbox_done */
    const struct cJSON
        *message;     /* {"id","reason","keys","group":{...},"text"?: what the template made} */
    uint32_t reached; /* by tries before */
};

/* Something that happened to a channel: "delivered", "not delivered", "delivers again", "dropped". Borrowed. */
struct outbox_fact {
    const char *channel, *id, *what, *detail;
    bool bad;
};

/* Called from inside outbox_* calls; must not call back into the outbox. */
struct outbox_ports {
    void *arg;
    /* What is said between these is kept as one, or not at all. */
    void (*begin)(void *arg);
    void (*commit)(void *arg);
    /* The sequence that outbox_durable will be told of; 0: it is not waited for. */
    uint64_t (*save)(void *arg, const char *key, const char *json);
    void (*remove)(void *arg, const char *key);
    /* Asks the policy who hears of a message: {"id","about":{group, "reason", "severity", "channels":[...]},"fixed"?:true
     * (the channels are not the policy's to choose)}. False: nobody is there to ask now. */
    bool (*ask)(void *arg, const struct cJSON *question);
    /* Starts a try; outbox_done comes later, once. */
    void (*send)(void *arg, const struct outbox_try *t);
    void (*fact)(void *arg, const struct outbox_fact *fact);
};

/* Both clocks at one moment. */
struct outbox_now {
    uint64_t now_ms, wall_ms;
};

struct outbox *outbox_new(const struct outbox_ports *ports);
/* What waits stays in the store. NULL is allowed. */
void outbox_free(struct outbox *o);

/* The configuration (script.h), first or changed. Borrows. */
void outbox_apply(struct outbox *o, const struct cJSON *config, struct outbox_now at);
/* One document as it was saved, after the first outbox_apply. What cannot be read is left out. */
void outbox_restore(struct outbox *o, const char *key, const char *json);
/* Takes note of a message (alerts.h: NOTIFY); one whose id waits already is left out. Borrows. */
void outbox_add(struct outbox *o, const struct cJSON *message, struct outbox_now at);
/* The policy's answer {"id","send":[{"channel","text"?}]} (script_cold_notify), or NULL: all that was asked
 * gets none. */
void outbox_decide(struct outbox *o, const struct cJSON *answer, struct outbox_now at);
/* What was saved up to this sequence is on disk. */
void outbox_durable(struct outbox *o, uint64_t sequence, struct outbox_now at);
/* Ends a try. */
void outbox_done(struct outbox *o, const char *channel, const char *key,
                 const struct outbox_outcome *outcome, struct outbox_now at);
/* Time passes. Cheap when nothing waits. */
void outbox_tick(struct outbox *o, struct outbox_now at);
/* Has one message tried as soon as the channel has no other try open, whether it rests or not, and once: its end is told by
 * outbox_done's caller. It is not kept or counted. -ENOENT: no such channel; -EBUSY: a test waits already. */
int outbox_test(struct outbox *o, const char *channel, const struct cJSON *message);

struct outbox_figures {
    const char *channel, *kind; /* lent until the next apply */
    uint64_t sent, failed;      /* messages; tries */
    uint64_t retried;           /* messages that needed more than one */
    uint64_t dropped;           /* refused, given up, too many, or the channel is gone */
    uint64_t waiting;
    uint64_t rests_ms;                 /* until the next try; 0 = it does not rest */
    uint64_t last_sent_ms, failing_ms; /* wall clock; 0 = never; failing since; 0 = it is not */
    const char *last_error;            /* "" when the last try was well; lent until the next call */
};

typedef void outbox_channel_fn(void *arg, const struct outbox_figures *f);
/* All channels, in the configuration's order. */
void outbox_each(const struct outbox *o, uint64_t now_ms, outbox_channel_fn *fn, void *arg);
/* Messages that wait, undecided ones too. */
uint64_t outbox_waiting(const struct outbox *o);

#endif
