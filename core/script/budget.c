/* budget.c: see budget.h.
 *
 * Owns: the handlers of STATE_SIGNAL and, through LuaJIT, of SIGPROF.
 * Invariants: the signal goes to the thread that spends the CPU time, so after timer_settime has
 * disarmed the timer no late signal can follow; `expired` is only true between start and stop.
 * Does not: know what runs. */
#include "script/budget.h"

#include <errno.h>
#include <luajit.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    STACK_BYTES = 1 << 20, /* of the 8 MiB that a main thread has */
    EVERYTHING = LUA_MASKCOUNT | LUA_MASKLINE | LUA_MASKCALL | LUA_MASKRET
};

static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct budget *b = state_budget(L);
    lua_getinfo(L, "f", ar);
    bool in_handler = lua_tocfunction(L, -1) == where_handler;
    lua_pop(L, 1);
    if (in_handler) {
        return; /* it makes the sentence about the end, and is short */
    }
    if (!b->expired) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    budget_check(b, L);
}

/* STATE_SIGNAL, on the state's own thread. Setting a hook is what lua_sethook allows in a handler.
 */
static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    struct budget *b = info->si_value.sival_ptr;
    if (info->si_code != SI_TIMER || !b) {
        return;
    }
    if (b->live) {
        uint64_t calls = __atomic_load_n(&b->calls, __ATOMIC_RELAXED);
        if (!(calls & 1) || calls != b->seen) {
            b->seen = calls;
            return;
        }
    }
    b->expired = 1;
    lua_sethook(b->L, on_hook, EVERYTHING, 1);
    if (b->live) {
        raise(SIGPROF);
    }
}

static void no_profile(void *arg, lua_State *L, int samples, int vmstate)
{
    (void)arg;
    (void)L;
    (void)samples;
    (void)vmstate;
}

static void arm(struct budget *b, uint32_t first_ms, uint32_t period_ms)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = first_ms / 1000, .tv_nsec = first_ms % 1000 * 1000000L},
        .it_interval = {.tv_sec = period_ms / 1000, .tv_nsec = period_ms % 1000 * 1000000L},
    };
    timer_settime(b->timer, 0, &when, NULL);
}

int budget_open(struct budget *b, lua_State *L)
{
    memset(b, 0, sizeof(*b));
    b->L = L;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(STATE_SIGNAL, &action, NULL) < 0) {
        return -errno;
    }
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = STATE_SIGNAL};
    event.sigev_value.sival_ptr = b;
    event.sigev_notify_thread_id = gettid();
    return timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &b->timer) < 0 ? -errno : 0;
}

void budget_close(struct budget *b)
{
    budget_live(b, false);
    timer_delete(b->timer);
}

void budget_arm(struct budget *b, uint32_t ms)
{
    b->budget_ms = ms;
    arm(b, ms ? ms : 1, 0);
}

void budget_disarm(struct budget *b)
{
    arm(b, 0, 0);
}

void budget_clear(struct budget *b)
{
    b->expired = b->interrupted = 0;
    lua_sethook(b->L, NULL, 0, 0);
}

void budget_pause(struct budget *b, struct itimerspec *ret_left)
{
    timer_settime(b->timer, 0, &(struct itimerspec){.it_value = {0}}, ret_left);
}

void budget_resume(struct budget *b, const struct itimerspec *left)
{
    timer_settime(b->timer, 0, left, NULL);
}

void budget_interrupt(struct budget *b)
{
    if (__atomic_load_n(&b->calls, __ATOMIC_RELAXED) & 1) {
        b->interrupted = 1;
        b->expired = 1;
        lua_sethook(b->L, on_hook, EVERYTHING, 1);
    }
}

void budget_check(struct budget *b, lua_State *L)
{
    if (b->expired) {
        char where[WHERE_BYTES];
        where_policy(L, where, sizeof(where));
        if (b->interrupted) {
            lua_pushfstring(L, "%sinterrupted", where);
            lua_error(L);
        }
        lua_pushfstring(L, "%sran longer than %d ms of CPU time", where, (int)b->budget_ms);
        lua_error(L);
    }
}

void budget_depth(const struct budget *b, lua_State *L)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if ((here < b->stack ? b->stack - here : here - b->stack) > STACK_BYTES) {
        char where[WHERE_BYTES];
        where_policy(L, where, sizeof(where));
        lua_pushfstring(L, "%sstack overflow", where);
        lua_error(L);
    }
}

void budget_live(struct budget *b, bool live)
{
    if (b->live == live) {
        return;
    }
    b->live = live;
    if (live) {
        b->budget_ms = BUDGET_TICK_MS;
        signal(SIGPROF, SIG_IGN);
        luaJIT_setmode(b->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
        luaJIT_profile_start(b->L, "li1000000", no_profile, NULL);
        setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
        arm(b, BUDGET_TICK_MS, BUDGET_TICK_MS);
    } else {
        arm(b, 0, 0);
        luaJIT_profile_stop(b->L);
        luaJIT_setmode(b->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    }
}
