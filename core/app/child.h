/* child.h: one child process of the master: started from our own binary, with
 * its channel on descriptor 3 and, for a worker, the scoreboard on 4. */
#ifndef APP_CHILD_H
#define APP_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "ipc/ipc.h"

enum {
    CHILD_CHANNEL_FD = 3,
    CHILD_BOARD_FD = 4
};

/* What the policy process is asked. */
enum child_question {
    CHILD_DECIDE,   /* SNAPSHOT, DECISIONS */
    CHILD_EVALUATE, /* EVALUATE, EVALUATED */
    CHILD_NOTIFY,   /* NOTIFY, NOTIFIED */
    CHILD_QUESTIONS
};

struct child;

enum {
    CHILD_ORPHAN_LOOK_MS = 100 /* how often a worker without a master looks for a new one */
};

/* It ended. Called once, also after child_kill; the child's memory is gone when this returns. */
typedef void child_exited_fn(void *arg, struct child *child, int status, int signal);

struct child {
    uv_process_t process;
    uv_timer_t dismissal;
    struct ipc *channel; /* NULL once it closed */
    void *arg;
    ipc_message_fn *on_message; /* arg is the child itself; see child->arg */
    child_exited_fn *on_exited;
    bool ready; /* has sent READY */
    bool exited;
    bool closing;          /* we ended it or told it to end: that its channel closes is no news */
    unsigned index;        /* workers */
    uint64_t acked_roster; /* workers: last roster version applied */
    uint64_t acked_challenges;      /* workers: last version of CHALLENGES applied */
    uint32_t generation;            /* workers: committed; policy: loaded */
    uint32_t prepared;              /* workers: acknowledged generation */
    uint64_t certificates;          /* workers: acknowledged version of them */
    unsigned open[CHILD_QUESTIONS]; /* policy: questions without an answer yet, by kind */
    uint64_t
        question_us[CHILD_QUESTIONS]; /* ... since when, by kind, or since the last answer of it */
    uint64_t asked_ms;                /* ... since when, or since the last answer; 0 = none */
    uint64_t stuck_beat, stuck_since_ms; /* workers: heartbeat watch */
};

struct child_options {
    uv_loop_t *loop;
    const char *const *args;    /* behind argv[0], NULL-terminated */
    int board_fd;               /* -1 = none */
    ipc_message_fn *on_message; /* its arg is the struct child */
    child_exited_fn *on_exited;
    void *arg;
    unsigned index;
};

/* -errno. The child is freed after on_exited. */
int child_spawn(const struct child_options *options, struct child **ret_child);
/* Sends a message; quietly nothing when the channel is gone. */
void child_send(struct child *child, enum ipc_type type, uint32_t generation, const char *text);
/* SIGKILL. NULL is allowed. */
void child_kill(struct child *child);
/* It was told to end, and may close its channel before it exits: it is not killed for that. */
void child_expect_end(struct child *child);
/* Closes the channel, which tells the child to end by itself; soon it is killed. NULL is allowed. */
void child_dismiss(struct child *child);

#endif
