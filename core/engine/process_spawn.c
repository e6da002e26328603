/* process_spawn.c: from an instance to a running program.
 *
 *   we                          child
 *   fork ---------------------> new session; waits on `go`
 *   record with pid, cgroups
 *   byte on `go` -------------> user, limits, files, directory, exec
 *   end of file on `outcome` <- exec closed it: the program runs
 *   or a struct failure <------ a step failed
 *
 * When we die before the byte is sent, the child reads the end of `go` and ends:
 * there is never a program without a record. Between fork and exec the child
 * makes system calls only, since other threads of ours may hold locks. */
#include "engine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    GROUPS = 64,
    EXIT_NO_EXEC = 127,
    FALLBACK_FDS = 65536 /* closed one by one where close_range is missing */
};

enum step {
    STEP_USER,
    STEP_LIMITS,
    STEP_DIRECTORY,
    STEP_EXEC
};

struct failure { /* over the pipe */
    enum step step;
    int error;
};

struct user {
    bool change;
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS];
    int group_count;
};

struct plan { /* all that the child needs, made before the fork */
    struct arguments arguments;
    struct user user;
    const char *directory; /* "" = ours */
    int log_fd, null_fd;
    int go[2], outcome[2];
    rlim_t data_bytes, files; /* 0 = as ours */
};

struct spawn {
    struct process *engine;
    struct instance *instance; /* not to be touched once the poll is closing */
    uv_poll_t poll;
    int fd; /* `outcome` */
    spawned_fn *done;
};

/* ---- In the child ---- */

static void fail(const struct plan *plan, enum step step)
{
    struct failure failure = {step, errno};
    (void)!write(plan->outcome[1], &failure, sizeof failure);
    _exit(EXIT_NO_EXEC);
}

static void default_signals(void)
{
    sigset_t none;
    for (int sig = 1; sig < NSIG; sig++) {
        (void)signal(sig, SIG_DFL); /* an ignored SIGPIPE would be inherited */
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_on_exec_above(int first)
{
    if (!close_range((unsigned)first, ~0u, CLOSE_RANGE_CLOEXEC)) {
        return;
    }
    for (int fd = first; fd < FALLBACK_FDS; fd++) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

static void limit(const struct plan *plan, int what, rlim_t most)
{
    struct rlimit rlimit = {most, most};
    if (most && setrlimit((__rlimit_resource_t)what, &rlimit)) {
        fail(plan, STEP_LIMITS);
    }
}

static void child(const struct plan *plan)
{
    char byte;
    close(plan->go[1]);
    setsid();
    default_signals();
    if (read(plan->go[0], &byte, 1) != 1) {
        _exit(EXIT_NO_EXEC);
    }
    dup2(plan->null_fd, STDIN_FILENO);
    dup2(plan->log_fd, STDOUT_FILENO);
    dup2(plan->log_fd, STDERR_FILENO);
    close_on_exec_above(STDERR_FILENO + 1);
    limit(plan, RLIMIT_NOFILE, plan->files);
    limit(plan, RLIMIT_DATA, plan->data_bytes);
    const struct user *user = &plan->user;
    if (user->change && (setgroups((size_t)user->group_count, user->groups) || setgid(user->gid) ||
                         setuid(user->uid))) {
        fail(plan, STEP_USER);
    }
    if (*plan->directory && chdir(plan->directory)) {
        fail(plan, STEP_DIRECTORY);
    }
    environ = plan->arguments.envp; /* so that its PATH counts */
    execvp(plan->arguments.argv[0], plan->arguments.argv);
    fail(plan, STEP_EXEC);
}

/* ---- In the parent ---- */

static int refuse(struct spawn_error *error, int code, const char *what, const char *which)
{
    error->code = code;
    snprintf(error->text, sizeof error->text, "%s: %s", what, which);
    return code;
}

/* "name", "uid" or "uid:gid". */
static int find_user(const char *text, struct user *ret, struct spawn_error *error)
{
    uint64_t uid, gid = 0;
    struct str rest = str_of(text), part;
    if (!*text) {
        return 0;
    }
    ret->change = true;
    (void)str_next(&rest, ':', &part);
    if (!str_to_u64(part, &uid) && uid < UINT32_MAX) {
        if (rest.len && (str_to_u64(rest, &gid) || gid >= UINT32_MAX)) {
            return refuse(error, -EINVAL, "no such group", text);
        }
        ret->uid = (uid_t)uid;
        ret->gid = rest.len ? (gid_t)gid : (gid_t)uid;
        return 0;
    }
    const struct passwd *entry = getpwnam(text);
    if (!entry) {
        return refuse(error, -EINVAL, "no such user", text);
    }
    ret->uid = entry->pw_uid;
    ret->gid = entry->pw_gid;
    ret->group_count = GROUPS;
    if (getgrouplist(text, ret->gid, ret->groups, &ret->group_count) < 0) {
        return refuse(error, -EINVAL, "in too many groups", text);
    }
    return 0;
}

static int settle_port(struct instance *i, struct spawn_error *error)
{
    uint16_t fixed = process_port_fixed(i);
    if (fixed) {
        i->port = fixed;
        if (process_port_check(fixed)) {
            error->code = -EADDRINUSE;
            snprintf(error->text, sizeof error->text, "port %u is already in use", fixed);
            return error->code;
        }
    } else if (!i->port || process_port_check(i->port)) {
        i->port = process_port_choose(i->engine);
        if (!i->port) {
            return refuse(error, -EADDRINUSE, "port", "none is free");
        }
    }
    return 0;
}

static void plan_free(struct plan *plan)
{
    int *fds[] = {&plan->log_fd, &plan->null_fd,    &plan->go[0],
                  &plan->go[1],  &plan->outcome[0], &plan->outcome[1]};
    for (size_t n = 0; n < sizeof fds / sizeof *fds; n++) {
        if (*fds[n] >= 0) {
            close(*fds[n]);
        }
    }
    process_arguments_free(&plan->arguments);
}

static int plan_make(struct instance *i, struct plan *plan, struct spawn_error *error)
{
    const struct cJSON *resources = json_get(i->config, "resources");
    *plan = (struct plan){.log_fd = -1, .null_fd = -1, .go = {-1, -1}, .outcome = {-1, -1}};
    int rc = settle_port(i, error);
    rc = rc ? rc : process_arguments_make(i, &plan->arguments, error);
    rc = rc ? rc : find_user(json_str(i->config, "user", ""), &plan->user, error);
    if (rc) {
        return rc;
    }
    plan->directory = json_str(i->config, "directory", "");
    plan->files = (rlim_t)json_int(resources, "files", 0);
    plan->log_fd = process_log_open(i);
    plan->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (plan->log_fd < 0) {
        return refuse(error, plan->log_fd, "log file", err_text(plan->log_fd));
    }
    if (plan->null_fd < 0 || pipe2(plan->go, O_CLOEXEC) ||
        pipe2(plan->outcome, O_CLOEXEC | O_NONBLOCK)) {
        return refuse(error, -errno, "start", err_text(errno));
    }
    bool held = process_cgroup_make(&i->engine->cgroups, i->name, resources, &i->cgroup);
    plan->data_bytes = held ? 0 : (rlim_t)json_int(resources, "memory_bytes", 0);
    i->oom_base = process_cgroup_oom_kills(&i->cgroup);
    return 0;
}

static pid_t fork_child(const struct plan *plan)
{
    sigset_t all, before;
    sigfillset(&all);
    /* Our handlers must not run in the child. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (!pid) {
        child(plan);
    }
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

static void describe(const struct instance *i, const struct failure *failure,
                     struct spawn_error *error)
{
    const struct cJSON *first = json_first(json_get(i->config, "command"));
    const char *program = json_value_str(first, "");
    const char *directory = json_str(i->config, "directory", "");
    error->code = failure->error == ENOENT || failure->error == EACCES ? -failure->error : -EINVAL;
    switch (failure->step) {
    case STEP_USER:
        refuse(error, error->code, "cannot become the user", json_str(i->config, "user", ""));
        return;
    case STEP_LIMITS:
        refuse(error, error->code, "cannot set the limits", err_text(failure->error));
        return;
    case STEP_DIRECTORY:
        refuse(error, error->code,
               failure->error == ENOENT ? "directory not found" : err_text(failure->error),
               directory);
        return;
    case STEP_EXEC:
        refuse(error, error->code,
               failure->error == ENOENT    ? "command not found"
               : failure->error == EACCES  ? "permission denied"
               : failure->error == ENOEXEC ? "not a program that can be run"
                                           : err_text(failure->error),
               program);
        return;
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct spawn *s = handle->data;
    close(s->fd);
    process_release(s->engine);
    mem_free(s);
}

static void on_outcome(uv_poll_t *poll, int status, int events)
{
    struct spawn *s = poll->data;
    (void)status;
    (void)events;
    process_spawn_finish(s->instance);
}

void process_spawn_cancel(struct instance *i)
{
    if (i->spawn) {
        uv_close((uv_handle_t *)&i->spawn->poll, on_poll_closed);
        i->spawn = NULL;
    }
}

void process_spawn_finish(struct instance *i)
{
    struct failure failure;
    struct spawn_error error = {.code = 0};
    spawned_fn *done = i->spawn->done;
    if (read(i->spawn->fd, &failure, sizeof failure) == (ssize_t)sizeof failure) {
        describe(i, &failure, &error);
    }
    process_spawn_cancel(i);
    done(i, &error);
}

int process_spawn(struct instance *i, spawned_fn *done, struct spawn_error *error)
{
    struct plan plan;
    struct process *p = i->engine;
    int rc = plan_make(i, &plan, error);
    pid_t pid = rc ? -1 : fork_child(&plan);
    if (rc || pid < 0) {
        rc = rc ? rc : refuse(error, -EAGAIN, "fork", err_text(errno));
        goto out;
    }
    i->pid = pid;
    i->child = true;
    i->exit_code = 0;
    struct proc_look look = {.start_ticks = 0};
    (void)process_proc_look(pid, &look); /* it lives: it waits for us */
    i->start_ticks = look.start_ticks;
    process_cgroup_join(&i->cgroup, pid);
    rc = process_record_write(i);
    struct spawn *s = mem_new(sizeof *s);
    *s = (struct spawn){.engine = p, .instance = i, .fd = plan.outcome[0], .done = done};
    if (rc || (rc = uv_poll_init(p->base.loop, &s->poll, s->fd))) {
        refuse(error, rc, "record", err_text(rc));
        mem_free(s);
        kill(pid, SIGKILL); /* it waits for our byte */
        waitpid(pid, NULL, 0);
        i->pid = 0;
        goto out;
    }
    p->handles++;
    s->poll.data = s;
    plan.outcome[0] = -1;
    i->spawn = s;
    (void)!write(plan.go[1], "g", 1);
    uv_poll_start(&s->poll, UV_READABLE, on_outcome);
out:
    plan_free(&plan);
    return rc;
}
