/* load.h - what must not run on the event loop: CPU work, memory, blocking writes.
 *
 *   loop --load_submit--> queue --> N threads --> finished --eventfd--> load_finished --> loop
 *
 * Threads are detached and end with the process: nothing waits for them. */
#ifndef QUICKSTART_LOAD_H
#define QUICKSTART_LOAD_H

#include <stddef.h>
#include <stdint.h>

struct load;

enum load_kind {
    LOAD_CPU,  /* burn `amount` microseconds of the thread's CPU time */
    LOAD_GROW, /* allocate and touch `amount` bytes, and keep them */
    LOAD_FREE, /* give all of that back */
    LOAD_LOG,  /* write `amount` lines to standard error */
};

struct load_job {
    enum load_kind kind;
    uint64_t amount;
    uint64_t result; /* bytes now kept, for LOAD_GROW and LOAD_FREE */
    int error;       /* 0, or -ENOMEM: nothing was allocated */
    struct load_job *next;
};

/* Starts the threads. Their finished jobs make `notify_fd` (an eventfd) readable. Returns NULL when
 * threads or memory are missing. */
struct load *load_new(int threads, int notify_fd);

/* Lends the job to the threads until load_finished() gives it back. */
void load_submit(struct load *load, struct load_job *job);

/* All finished jobs since the last call, oldest first, linked by `next`; may be NULL. */
struct load_job *load_finished(struct load *load);

/* Jobs that no thread has taken up yet. */
uint64_t load_depth(struct load *load);

/* Burns CPU on `threads` threads for so long; 0 seconds ends every burning that goes on.
 * Returns how many threads were started. */
int load_burn(struct load *load, double seconds, int threads);

#endif
