/* process_proc.c: what /proc tells about instances.
 *
 * Does not: trust a pid alone. Before a process is signalled, its environment
 * has been seen to carry the marks of the instance. */
#include "engine/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"

enum {
    ENVIRON_BYTES = 256 << 10
};

struct stat_line { /* of /proc/PID/stat */
    char state;
    pid_t parent, session;
    uint64_t cpu_ticks; /* with waited-for children */
    uint64_t start_ticks;
    uint64_t resident_pages;
};

static bool read_stat(pid_t pid, struct stat_line *ret)
{
    char path[40], text[1024]; /* "/proc/" + 10 digits + "/stat"; a line is under 400 bytes */
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    /* The name in parentheses may hold anything, parentheses too. */
    const char *rest = strrchr(text, ')');
    unsigned long long user, kernel, start;
    long long waited_user, waited_kernel, pages;
    int parent, session;
    if (!rest || sscanf(rest + 1,
                        " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld "
                        "%*d %*d %*d %*d %llu %*u %lld",
                        &ret->state, &parent, &session, &user, &kernel, &waited_user,
                        &waited_kernel, &start, &pages) != 9) {
        return false;
    }
    ret->parent = parent;
    ret->session = session;
    ret->cpu_ticks = user + kernel + (uint64_t)waited_user + (uint64_t)waited_kernel;
    ret->start_ticks = start;
    ret->resident_pages = (uint64_t)pages;
    return true;
}

static bool ended(const struct stat_line *s)
{
    return s->state == 'Z' || s->state == 'X';
}

int process_proc_look(pid_t pid, struct proc_look *ret)
{
    struct stat_line s;
    if (!read_stat(pid, &s)) {
        return -ESRCH;
    }
    *ret =
        (struct proc_look){.start_ticks = s.start_ticks, .parent = s.parent, .zombie = ended(&s)};
    return 0;
}

typedef void each_fn(void *arg, pid_t pid);

static void each_process(each_fn *fn, void *arg)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            fn(arg, (pid_t)strtol(entry->d_name, NULL, 10));
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* Reads the environment, variables separated by NUL. Another user's is not readable: empty. */
static void read_environ(pid_t pid, struct buf *to)
{
    char path[40], bytes[4096]; /* as above */
    buf_clear(to);
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len;
    while (fd >= 0 && (len = read(fd, bytes, sizeof bytes)) > 0) {
        if (buf_append(to, bytes, (size_t)len)) {
            break;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

static const char *variable(const struct buf *environment, const char *name)
{
    size_t len = strlen(name);
    const char *at = buf_str(environment), *end = at + environment->len;
    for (; at < end; at += strlen(at) + 1) {
        if (!strncmp(at, name, len) && at[len] == '=') {
            return at + len + 1;
        }
    }
    return NULL;
}

struct search {
    const struct process *engine;
    const char *name; /* NULL = any instance that is not running */
    int sig, count;
    struct buf environment;
};

static bool wanted(const struct search *s, const char *name)
{
    if (s->name) {
        return !strcmp(s->name, name);
    }
    const struct instance *i = map_get(&s->engine->by_name, name);
    return !i || !i->pid;
}

static void look(void *arg, pid_t pid)
{
    struct search *s = arg;
    struct stat_line stat;
    read_environ(pid, &s->environment);
    const char *dir = variable(&s->environment, "TIDEGATE_STATE_DIR");
    const char *name = variable(&s->environment, "TIDEGATE_INSTANCE");
    if (!dir || !name || strcmp(dir, s->engine->state_dir) != 0 || !wanted(s, name) ||
        pid == getpid() || !read_stat(pid, &stat) || ended(&stat)) {
        return;
    }
    s->count++;
    if (s->sig) {
        kill(pid, s->sig);
    }
}

static int search(const struct process *p, const char *name, int sig)
{
    struct search s = {.engine = p, .name = name, .sig = sig};
    buf_init(&s.environment, ENVIRON_BYTES);
    each_process(look, &s);
    buf_free(&s.environment);
    return s.count;
}

int process_proc_signal(const struct instance *i, int sig)
{
    return search(i->engine, i->name, sig);
}

int process_proc_kill_orphans(const struct process *p)
{
    return search(p, NULL, SIGKILL);
}

struct sum {
    pid_t session;
    uint64_t ticks, pages;
    uint32_t pids;
};

static void add(void *arg, pid_t pid)
{
    struct sum *sum = arg;
    struct stat_line s;
    if (read_stat(pid, &s) && s.session == sum->session && !ended(&s)) {
        sum->ticks += s.cpu_ticks;
        sum->pages += s.resident_pages;
        sum->pids++;
    }
}

void process_proc_sample(const struct instance *i, struct engine_sample *sample)
{
    struct sum sum = {.session = i->pid};
    each_process(add, &sum);
    sample->cpu_seconds = (double)sum.ticks / (double)sysconf(_SC_CLK_TCK);
    sample->memory_bytes = sum.pages * (uint64_t)sysconf(_SC_PAGESIZE);
    sample->pids = sum.pids;
}

uint64_t process_proc_host_memory(void)
{
    struct sysinfo info;
    return sysinfo(&info) ? 0 : (uint64_t)info.totalram * info.mem_unit;
}
