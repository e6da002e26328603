/* process_life.c: start, end, restart, stop and removal of instances.
 *
 * Owns: the pidfd of every running process, ours or adopted.
 * Invariants: to() is the only writer of an instance's state. Whatever tells the
 * outside (events, answers) comes last in a function, since the listener may
 * close the engine.
 *
 * The end of the first process is the end of the instance: what it leaves behind
 * is killed, at once after a crash, or when the time-out of a stop is over. */
#include "engine/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MOST_MS = 30000,
    STABLE_MS = 10000, /* ran so long: the back-off begins anew */
    STEP_MS = 20,      /* between looks at what a stop has left */
    AGAIN_MS = 200,    /* between SIGKILLs */
    REMOVALS = 100
};

struct watch {
    struct process *engine;
    struct instance *instance;
    uv_poll_t poll;
    int fd; /* pidfd */
};

static void to(struct instance *i, enum engine_state state, const char *why)
{
    log_debug("instance changed", "instance=%s from=%s to=%s why=%s pid=%d", i->name,
              engine_state_name(i->state), engine_state_name(state), why, (int)i->pid);
    i->state = state;
    int rc = process_record_write(i);
    if (rc) {
        log_warn("record of an instance cannot be written", "instance=%s error=%s", i->name,
                 err_text(rc));
    }
}

static void move(struct list *from, struct list *target)
{
    while (!list_empty(from)) {
        struct list *node = from->next;
        list_remove(node);
        list_append(target, node);
    }
}

static void answer_all(struct list *calls, int code, const char *text)
{
    while (!list_empty(calls)) {
        struct call *call = list_owner(calls->next, struct call, node);
        process_answer(call, code, text);
    }
}

/* Signals all processes of the instance, its first one or not; returns how many there are. */
static int signal_all(const struct instance *i, int sig)
{
    int count = process_cgroup_signal(&i->cgroup, sig);
    return count == -ENOENT ? process_proc_signal(i, sig) : count;
}

static void signal_group(const struct instance *i, int sig)
{
    /* A child that has not come to setsid yet has no group of its own. */
    if (kill(-i->pid, sig) && errno == ESRCH) {
        kill(i->pid, sig);
    }
}

/* ---- Watching ---- */

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    close(w->fd);
    process_release(w->engine);
    mem_free(w);
}

static void watch_close(struct instance *i)
{
    if (i->watch) {
        uv_close((uv_handle_t *)&i->watch->poll, on_watch_closed);
        i->watch = NULL;
    }
}

static int watch_open(struct instance *i, uv_poll_cb on_end)
{
    int fd = (int)syscall(SYS_pidfd_open, i->pid, 0);
    if (fd < 0) {
        return -errno;
    }
    struct watch *w = mem_new(sizeof *w);
    *w = (struct watch){.engine = i->engine, .instance = i, .fd = fd};
    int rc = uv_poll_init(i->engine->base.loop, &w->poll, fd);
    if (rc) {
        close(fd);
        mem_free(w);
        return rc;
    }
    w->poll.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_end);
    i->engine->handles++;
    i->watch = w;
    return 0;
}

static void forget_process(struct instance *i)
{
    watch_close(i);
    i->pid = 0;
    i->start_ticks = 0;
}

/* ---- Stopping ---- */

static bool wants_removal(const struct instance *i)
{
    for (const struct list *at = i->stoppers.next; at != &i->stoppers; at = at->next) {
        if (list_owner(at, struct call, node)->kind == CALL_REMOVE) {
            return true;
        }
    }
    return false;
}

/* All its processes are gone. False when its control groups are still busy. */
static bool settle(struct instance *i)
{
    struct list stoppers, starters;
    list_init(&stoppers);
    list_init(&starters);
    bool removal = wants_removal(i);
    if (removal && process_cgroup_remove(&i->cgroup) && ++i->removals < REMOVALS) {
        return false;
    }
    i->stopping = false;
    i->kill_at_ms = 0;
    move(&i->stoppers, &stoppers);
    if (removal) {
        process_record_delete(i);
        process_log_delete(i);
        move(&i->starters, &starters);
        process_forget(i);
        process_event(i, ENGINE_EVENT_REMOVED);
    }
    answer_all(&starters, -ECANCELED, "removed");
    answer_all(&stoppers, 0, NULL);
    return true;
}

static void on_step(uv_timer_t *timer)
{
    struct instance *i = timer->data;
    uint64_t now_ms = clock_now_ms();
    bool late = now_ms >= i->kill_at_ms;
    if (i->pid && !late) {
        uv_timer_start(timer, on_step, i->kill_at_ms - now_ms, 0);
    } else if (i->pid) {
        signal_group(i, SIGKILL);
        (void)signal_all(i, SIGKILL);
        uv_timer_start(timer, on_step, AGAIN_MS, 0);
    } else if (signal_all(i, late ? SIGKILL : 0) || !settle(i)) {
        uv_timer_start(timer, on_step, STEP_MS, 0);
    }
}

void process_life_stop(struct instance *i, struct call *call, uint32_t timeout_ms)
{
    uint64_t now_ms = clock_now_ms();
    list_append(&i->stoppers, &call->node);
    i->no_restart = true;
    if (!i->stopping) {
        i->stopping = true;
        i->kill_at_ms = now_ms + timeout_ms;
        if (i->state == ENGINE_RESTARTING && !i->pid) {
            to(i, ENGINE_EXITED, "stop");
        } else {
            (void)process_record_write(i); /* that it is not to be started again */
        }
        if (i->pid && timeout_ms) {
            signal_group(i, SIGTERM);
        }
    } else if (now_ms + timeout_ms < i->kill_at_ms) {
        i->kill_at_ms = now_ms + timeout_ms;
    }
    uint64_t wait_ms = i->pid && i->kill_at_ms > now_ms ? i->kill_at_ms - now_ms : 0;
    uv_update_time(i->engine->base.loop);
    uv_timer_start(&i->timer, on_step, wait_ms, 0);
}

/* ---- Starting, and starting again ---- */

static bool may_restart(const struct instance *i)
{
    const struct cJSON *policy = json_get(i->config, "restart_policy");
    const char *name = json_str(policy, "name", "no");
    if (i->no_restart) {
        return false;
    }
    if (!strcmp(name, "on-failure")) {
        int64_t most = json_int(policy, "max_retries", 0);
        return i->exit_code != 0 && (!most || i->restarts < most);
    }
    return !strcmp(name, "always") || !strcmp(name, "unless-stopped");
}

/* Declared ahead since a life goes in a circle: begin, on_end, schedule_restart, begin. */
static void begin(struct instance *i);

static void on_restart(uv_timer_t *timer)
{
    struct instance *i = timer->data;
    i->restarts++;
    begin(i);
}

static void schedule_restart(struct instance *i)
{
    i->backoff_ms = i->backoff_ms ? i->backoff_ms * 2 : BACKOFF_FIRST_MS;
    i->backoff_ms = i->backoff_ms > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : i->backoff_ms;
    uv_update_time(i->engine->base.loop);
    uv_timer_start(&i->timer, on_restart, i->backoff_ms, 0);
}

static void start_failed(struct instance *i, const struct spawn_error *error)
{
    struct list starters;
    list_init(&starters);
    move(&i->starters, &starters);
    i->starting = false;
    i->exit_code = 127;
    mem_free(i->error);
    i->error = mem_copy(error->text);
    bool again = i->state == ENGINE_RESTARTING && may_restart(i);
    to(i, i->state == ENGINE_RESTARTING && !again ? ENGINE_EXITED : i->state, i->error);
    if (again) {
        schedule_restart(i);
    }
    answer_all(&starters, error->code, error->text);
}

static void on_spawned(struct instance *i, const struct spawn_error *error)
{
    if (error->code) {
        waitpid(i->pid, NULL, 0); /* it has said so and ends */
        forget_process(i);
        start_failed(i, error);
        if (i->stopping) {
            uv_timer_start(&i->timer, on_step, 0, 0);
        }
        return;
    }
    struct list starters;
    list_init(&starters);
    move(&i->starters, &starters);
    i->starting = false;
    mem_release(&i->error);
    i->oom_killed = false;
    i->started_ms = clock_now_ms();
    i->started_wall_ms = clock_wall_ms();
    i->engine->table.at_us = 0; /* it is not in there */
    to(i, ENGINE_RUNNING, "started");
    process_event(i, ENGINE_EVENT_STARTED);
    answer_all(&starters, 0, NULL);
}

static int exit_code_of(const struct instance *i)
{
    int status;
    if (!i->child || waitpid(i->pid, &status, WNOHANG) != i->pid) {
        return -1; /* whoever adopted it has reaped it */
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
    struct instance *i = ((struct watch *)poll->data)->instance;
    (void)status;
    (void)events;
    if (i->spawn) {
        process_spawn_finish(i);
    }
    if (!i->watch || &i->watch->poll != poll) {
        return; /* it never ran, or the engine was closed meanwhile */
    }
    if (!i->stopping) {
        if (i->child) {
            kill(-i->pid, SIGKILL); /* not reaped yet, so the number is still its own */
        }
        (void)signal_all(i, SIGKILL);
    }
    i->exit_code = exit_code_of(i);
    i->oom_killed = process_cgroup_oom_kills(&i->cgroup) > i->oom_base;
    forget_process(i);
    bool again = may_restart(i);
    if (clock_now_ms() - i->started_ms >= STABLE_MS) {
        i->backoff_ms = 0;
    }
    to(i, again ? ENGINE_RESTARTING : ENGINE_EXITED, "ended");
    if (i->stopping) {
        uv_timer_start(&i->timer, on_step, 0, 0);
    } else if (again) {
        schedule_restart(i);
    }
    if (i->oom_killed) {
        process_event(i, ENGINE_EVENT_OOM);
    }
    process_event(i, ENGINE_EVENT_DIED);
}

static void begin(struct instance *i)
{
    struct spawn_error error = {.code = 0};
    uv_timer_stop(&i->timer);
    i->starting = true;
    int rc = process_spawn(i, on_spawned, &error);
    if (!rc && (rc = watch_open(i, on_end))) {
        process_spawn_cancel(i);
        signal_group(i, SIGKILL);
        waitpid(i->pid, NULL, 0);
        forget_process(i);
        error.code = rc;
        snprintf(error.text, sizeof error.text, "cannot watch it: %s", err_text(rc));
    }
    if (rc) {
        start_failed(i, &error);
    }
}

void process_life_start(struct instance *i, struct call *call)
{
    if (i->stopping) {
        process_answer(call, -EAGAIN, "it is being stopped");
        return;
    }
    if (i->pid && !i->starting) {
        process_answer(call, 0, NULL);
        return;
    }
    list_append(&i->starters, &call->node);
    i->no_restart = false;
    i->backoff_ms = 0;
    if (!i->starting) {
        begin(i);
    }
}

/* ---- Coming and going of the engine ---- */

bool process_life_adopt(struct instance *i)
{
    struct proc_look look = {.zombie = true};
    /* The pidfd first: whatever it names then is what the start time is read of. */
    int rc = i->pid ? watch_open(i, on_end) : -ESRCH;
    bool same = !rc && !process_proc_look(i->pid, &look) && look.start_ticks == i->start_ticks;
    i->child = same && look.parent == getpid(); /* when we are the same process, in a new program */
    if (!same || look.zombie) {
        i->exit_code = i->pid ? exit_code_of(i) : i->exit_code;
        forget_process(i);
        return false;
    }
    uint64_t now_wall = clock_wall_ms(), now_ms = clock_now_ms();
    uint64_t age = now_wall > i->started_wall_ms ? now_wall - i->started_wall_ms : 0;
    i->started_ms = age < now_ms ? now_ms - age : 0;
    return true;
}

void process_life_close(struct instance *i, struct list *target)
{
    process_spawn_cancel(i);
    watch_close(i);
    move(&i->starters, target);
    move(&i->stoppers, target);
}
