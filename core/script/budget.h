/* budget.h: CPU time for Lua, and how it is taken away. Private to the script room.
 *
 * JIT off: a one-shot timer on the thread's CPU clock sends STATE_SIGNAL at expiry; its handler
 * sets a hook that raises at every instruction, so that no pcall can swallow the end. No hook costs
 * anything before.
 *
 * JIT on (live): compiled code does not look at hooks, but it does look for the profiler at every
 * new line when the profiler runs in line mode. So the profiler is started with an interval that
 * never comes, and at expiry the handler sets the hook and raises SIGPROF by hand: the trace leaves
 * for the interpreter, which meets the hook. A periodic timer watches the heartbeat: two ticks of
 * CPU time inside one call are too many. Both ways are kept honest by tests/unit/script, since the
 * second combines documented parts of LuaJIT in a way that its documentation does not mention. */
#ifndef SCRIPT_BUDGET_H
#define SCRIPT_BUDGET_H

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct budget {
    lua_State *L;                               /* lent */
    timer_t timer;                              /* of this thread's CPU time */
    uint32_t budget_ms;                         /* of the call under way */
    volatile sig_atomic_t expired, interrupted; /* the second: by somebody, not by the clock */
    uintptr_t stack;                            /* of C, where the call began */
    bool live;                                  /* JIT on, the periodic timer runs */
    uint64_t calls, seen; /* calls is odd inside a call; seen: what it was at the last tick */
    uint64_t *beat;       /* odd inside too, for others to watch; lent, may be NULL */
};

/* Kernel clock ticks are 4 ms, so a live call ends 10 to 24 ms after it began to loop. */
enum {
    BUDGET_TICK_MS = 10
};

/* 0 or -errno of timer_create or sigaction. */
int budget_open(struct budget *b, lua_State *L);
void budget_close(struct budget *b);
/* For the two below, of what is not live. */
void budget_arm(struct budget *b, uint32_t ms);
void budget_disarm(struct budget *b);
/* What the clock set, unset. */
void budget_clear(struct budget *b);

static inline void budget_count(struct budget *b)
{
    __atomic_store_n(&b->calls, b->calls + 1, __ATOMIC_RELAXED);
    if (b->beat) {
        __atomic_store_n(b->beat, __atomic_load_n(b->beat, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
    }
}

/* Around a call of `ms` at most; stopping tells whether they were spent. While live, the ms are
 * those of BUDGET_TICK_MS whatever is asked. Inline: a pick takes 50 ns. */
static inline void budget_start(struct budget *b, uint32_t ms)
{
    b->stack = (uintptr_t)__builtin_frame_address(0);
    budget_count(b);
    if (!b->live) {
        budget_arm(b, ms);
    }
}

static inline bool budget_stop(struct budget *b)
{
    if (!b->live) {
        budget_disarm(b);
    }
    budget_count(b);
    /* From here on the handler sees an even count, so `expired` cannot change any more. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (!b->expired) {
        return false;
    }
    budget_clear(b);
    return true;
}

/* Between these two the call under way spends nothing of its time: for work of C's own, which may be ended by other means.
 * For what is not live. *ret_left is for resuming. */
void budget_pause(struct budget *b, struct itimerspec *ret_left);
void budget_resume(struct budget *b, const struct itimerspec *left);
/* Ends the call under way as if its time were over; nothing between calls. For a handler of a signal to the
 * same thread, and for what is not live. */
void budget_interrupt(struct budget *b);
/* Raises when expired; for hooks and for C code that loops. [-0, +0, v] */
void budget_check(struct budget *b, lua_State *L);
/* Raises when the call has gone too deep into the stack of C: for C code that calls Lua, which LuaJIT does not
 * count. [-0, +0, v] */
void budget_depth(const struct budget *b, lua_State *L);
/* Makes this one live, or passive again. Only one may be live at a time. */
void budget_live(struct budget *b, bool live);

#endif
