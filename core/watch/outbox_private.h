/* outbox_private.h: one channel of the outbox, for outbox.c and outbox_lane.c. */
#ifndef WATCH_OUTBOX_PRIVATE_H
#define WATCH_OUTBOX_PRIVATE_H

#include "base/list.h"
#include "watch/outbox.h"

/* A message on its way. */
struct letter {
    struct list node; /* of its lane's queue, or of the undecided */
    char *key;        /* "ID" or "ID CHANNEL" */
    const char *id;   /* lent by message */
    struct cJSON *message;
    uint64_t group; /* hash of its key: what has to stay in order */
    uint64_t order;
    uint64_t added_wall_ms;
    uint64_t due_ms;
    uint64_t sequence, keep_by_ms; /* until it is on disk; sequence 0: it is */
    uint32_t tries;
    uint32_t reached;
    bool unreached; /* the last failure says nothing about this message */
    bool test;
    bool asked; /* undecided: the policy */
};

/* A channel: its queue, oldest first. */
struct lane {
    struct lane *next;
    char *name, *kind;
    bool configured; /* in this configuration */
    bool send_resolved;
    double per_ms, burst;
    uint64_t give_up_ms;
    double tokens;
    uint64_t filled_ms;
    struct list queue;
    struct letter *open; /* the one that is being tried; in the queue too */
    uint32_t failures;   /* in a row */
    uint64_t rests_until_ms;
    char *last_error;
    struct outbox_figures figures;
};

struct letter *letter_new(const char *id, const char *channel, struct cJSON *takes_message,
                          uint64_t order, uint64_t wall_ms);
void letter_free(struct letter *l); /* NULL is allowed; it is in no list any more */
/* The text that is kept. The caller owns it. */
char *letter_document(const struct letter *l, const char *channel);

struct lane *lane_new(const char *name);
void lane_free(struct lane *lane);
void lane_configure(struct lane *lane, const struct cJSON *channel, uint64_t now_ms);
/* In its place by order. */
void lane_insert(struct lane *lane, struct letter *l);
/* What is to be tried now, or NULL. */
struct letter *lane_pick(struct lane *lane, uint64_t now_ms);
void lane_open(struct lane *lane, struct letter *l);
/* Books the outcome of its open letter, which stays in the queue unless it was sent or refused: then true. */
bool lane_close(struct lane *lane, const struct outbox_outcome *outcome, struct outbox_now at);
/* The oldest that has waited for too long, or is one too many; NULL: none. *ret_why says which. */
struct letter *lane_hopeless(const struct lane *lane, uint64_t wall_ms, const char **ret_why);

#endif
