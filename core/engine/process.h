/* process.h: what the parts of the process engine share. Only process*.c include it.
 *
 *   process.c         the engine: opening, the queue of calls, list, create, logs, sample
 *   process_life.c    start, exit, restart, stop, remove: the only writer of `state`
 *   process_spawn.c   fork, handshake, exec
 *   process_arguments.c  environment and command line of a child
 *   process_port.c    ports
 *   process_record.c  the files that make instances outlive us
 *   process_proc.c    what /proc tells
 *   process_cgroup.c  control groups, where they are writable
 *   process_log.c     log files of instances
 *
 * Instances are children of the host, in a session and process group of their
 * own. They go on when tidegate ends, however it ends. What makes that safe:
 *   - the record of an instance is written after the fork and before the exec: a
 *     child waits for our word, and ends when we die without giving it;
 *   - a process is known by pid, start time and boot, so that a reused pid is
 *     never touched; its end is seen through a pidfd, ours or adopted;
 *   - children carry TIDEGATE_INSTANCE and TIDEGATE_STATE_DIR in their environment
 *     (and sit in the instance's control groups), so that what they leave behind
 *     can be found. */
#ifndef ENGINE_PROCESS_H
#define ENGINE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/list.h"
#include "base/map.h"
#include "engine/engine.h"

struct cJSON;
struct process;
struct instance;

/* ---- Control groups ---- */

enum cgroup_part { /* version 1 has a tree for each; version 2 uses only CGROUP_MEMORY for all */
    CGROUP_MEMORY,
    CGROUP_CPU,
    CGROUP_CPUACCT,
    CGROUP_PIDS,
    CGROUP_PARTS
};

struct cgroups { /* where instances' groups go; base[i] NULL = not available */
    int version; /* 0 = none */
    char *base[CGROUP_PARTS];
};

struct cgroup_set { /* of one instance */
    int version;
    char *path[CGROUP_PARTS];
};

/* Finds what is writable; leaves version 0 when nothing is. `tag` names our directory. */
void process_cgroups_find(struct cgroups *c, const char *tag);
/* Removes groups without processes: of instances that have ended, or whose start we did not live to
 * see the end of. A start makes them again. */
void process_cgroups_sweep(const struct cgroups *c);
/* Sweeps, removes our own directories where they are empty then, and frees. */
void process_cgroups_free(struct cgroups *c);
/* Makes the groups of `name` with the limits of "resources" (may be NULL). Whether the memory limit
 * holds. */
bool process_cgroup_make(const struct cgroups *c, const char *name, const struct cJSON *resources,
                         struct cgroup_set *set);
void process_cgroup_join(const struct cgroup_set *set, pid_t pid);
/* Sends `sig` to every process in it (0 = only counts) and returns how many there were; -ENOENT
 * without groups. */
int process_cgroup_signal(const struct cgroup_set *set, int sig);
/* How often the kernel killed for want of memory. */
uint64_t process_cgroup_oom_kills(const struct cgroup_set *set);
/* Fills cpu, memory and pids; -ENOENT when it has no groups. */
int process_cgroup_sample(const struct cgroup_set *set, struct engine_sample *sample);
/* 0, or -EBUSY while a process is still in it. */
int process_cgroup_remove(struct cgroup_set *set);
void process_cgroup_free(struct cgroup_set *set);

/* ---- Instances ---- */

struct watch; /* of one process: its pidfd */

struct instance {
    struct process *engine;
    char id[17];
    char *name, *cluster, *service, *spec_hash;
    uint32_t serial, slot, generation;
    struct cJSON *config;
    uint64_t created_wall_ms;

    enum engine_state state;
    uint16_t port;        /* 0 = none chosen yet */
    pid_t pid;            /* 0 = no process */
    uint64_t start_ticks; /* of pid: field 22 of /proc/PID/stat */
    bool child;           /* ours to reap; else adopted */
    int exit_code;        /* 128 + signal; -1 = unknown */
    bool oom_killed;
    uint64_t oom_base; /* kills of its group when it was started */
    uint32_t restarts;
    char *error; /* why it could not start; NULL */
    uint64_t started_wall_ms, started_ms;
    struct cgroup_set cgroup;

    bool no_restart; /* we stopped it */
    uint32_t backoff_ms;
    bool starting; /* a start is under way */
    bool stopping;
    uint64_t kill_at_ms;            /* while stopping */
    unsigned removals;              /* attempts to remove its control groups */
    struct list starters, stoppers; /* calls that wait */
    struct watch *watch;            /* while pid */
    struct spawn *spawn;            /* while starting */
    uv_timer_t timer;               /* restart, or the steps of stopping */
};

/* ---- Calls ---- */

enum call_kind {
    CALL_CREATE,
    CALL_START,
    CALL_INSPECT,
    CALL_LIST,
    CALL_STOP,
    CALL_REMOVE,
    CALL_SAMPLE,
    CALL_LOGS
};

struct call {
    struct list node;
    enum call_kind kind;
    char *id;
    uint32_t number;       /* time-out of stop in s, lines of logs */
    struct instance *made; /* create: owned until it is in the engine */
    union engine_callback answer;
    void *arg;
};

struct proc_row { /* a living process */
    pid_t session;
    uint64_t cpu_ticks, resident_pages;
};

struct proc_table { /* zeroed is empty; rows sorted by session */
    struct proc_row *rows;
    size_t count, room;
    uint64_t at_us;
};

struct process {
    struct engine base;
    char *cluster, *state_dir; /* state_dir is absolute */
    char boot_id[40];
    struct map by_name, by_id;
    bool control_groups; /* whether to look for them: "process.control_groups" of the cluster */
    struct cgroups cgroups;
    struct proc_table table;
    struct list calls; /* to be worked off in the next turn of the loop */
    uv_timer_t soon, tidy;
    bool opened, told_up, closing;
    unsigned handles; /* that keep the engine's memory */
};

/* A handle has closed: gives its hold on the engine's memory back. */
void process_release(struct process *p);
/* Answers a call that has only done or failed, and frees it. text NULL = "". */
void process_answer(struct call *call, int code, const char *text);
void process_event(struct instance *i, enum engine_event_kind kind);
/* Takes it out of the engine; it is freed when its timer has closed. */
void process_forget(struct instance *i);

/* ---- Life ---- */

void process_life_start(struct instance *i, struct call *call);
/* For stop and remove. */
void process_life_stop(struct instance *i, struct call *call, uint32_t timeout_ms);
/* Watches the running process of a record. False when it is not there any more: pid is 0 then and
 * exit_code set. */
bool process_life_adopt(struct instance *i);
/* Lets go of it without touching the process; moves waiting calls to `to`. */
void process_life_close(struct instance *i, struct list *to);

/* ---- Spawning ---- */

struct spawn_error {
    int code;
    char text[256];
};

/* How it ended: error.code 0 = the program runs (or ran). */
typedef void spawned_fn(struct instance *i, const struct spawn_error *error);

/* Chooses a port when there is none or it is taken, forks, sets i->pid, start_ticks, child and
 * i->spawn, writes the record, lets the child go. 0, then `done` comes later and clears i->spawn;
 * else error is set. */
int process_spawn(struct instance *i, spawned_fn *done, struct spawn_error *error);
/* Reads the outcome at once, when the child has already ended: calls `done`. */
void process_spawn_finish(struct instance *i);
/* Forgets it without calling back. */
void process_spawn_cancel(struct instance *i);

/* A child's program, arguments and environment. */
struct arguments {
    char **argv, **envp; /* NULL-terminated */
};
/* -EINVAL with a sentence in error. */
int process_arguments_make(const struct instance *i, struct arguments *ret,
                           struct spawn_error *error);
void process_arguments_free(struct arguments *a);

/* ---- Ports ---- */

/* A free port on the loopback that no record has; 0 = none found. */
uint16_t process_port_choose(const struct process *p);
/* 0, or -EADDRINUSE when something listens there. */
int process_port_check(uint16_t port);
/* ports[0].host of its configuration, or 0. */
uint16_t process_port_fixed(const struct instance *i);

/* ---- Records ---- */

int process_record_write(const struct instance *i);
void process_record_delete(const struct instance *i);
/* Reads all records of the cluster into the engine; unreadable ones are set aside with a warning. */
void process_record_read_all(struct process *p);
/* An instance that is not in the engine yet. */
struct instance *process_instance_new(struct process *p, const char *name);
void process_instance_free(struct instance *i);
/* Puts it under its name and id. */
void process_instance_enter(struct instance *i);

/* ---- /proc ---- */

struct proc_look {
    uint64_t start_ticks;
    pid_t parent;
    bool zombie; /* ended, not reaped by its parent */
};
/* -ESRCH when there is no such process. */
int process_proc_look(pid_t pid, struct proc_look *ret);
/* Sends `sig` (0 = only counts) to every process that carries the marks of the instance. */
int process_proc_signal(const struct instance *i, int sig);
/* Kills processes with the mark of our state_dir whose instance is not running; returns how many. */
int process_proc_kill_orphans(const struct process *p);
/* Sums the session of i->pid; at_us is when /proc was looked at. */
void process_proc_sample(const struct instance *i, struct engine_sample *sample);
uint64_t process_proc_host_memory(void);

/* ---- Logs ---- */

/* Opens it for appending, turned over when large; -errno. */
int process_log_open(const struct instance *i);
/* Cuts a log that has grown too large while its instance runs. */
void process_log_trim(const struct instance *i);
/* The last lines; the caller frees. */
char *process_log_tail(const struct instance *i, uint32_t lines, size_t *ret_len);
void process_log_delete(const struct instance *i);

#endif
