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
#include "base/clock.h"
#include "base/mem.h"

enum {
    ENVIRON_BYTES = 256 << 10,
    TABLE_US = 50000 /* how old what all samples are read of may be */
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

static void note(void *arg, pid_t pid)
{
    struct proc_table *t = arg;
    struct stat_line s;
    if (!read_stat(pid, &s) || ended(&s)) {
        return;
    }
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 256;
        t->rows = mem_resize(t->rows, t->room * sizeof *t->rows);
    }
    t->rows[t->count++] = (struct proc_row){s.session, s.cpu_ticks, s.resident_pages};
}

static int by_session(const void *a, const void *b)
{
    pid_t x = ((const struct proc_row *)a)->session, y = ((const struct proc_row *)b)->session;
    return x < y ? -1 : x > y;
}

/* One look at all processes serves all samples of a tick. */
static void refresh(struct proc_table *t)
{
    uint64_t now_us = clock_now_us();
    if (!t->at_us || now_us - t->at_us > TABLE_US) {
        t->at_us = now_us;
        t->count = 0;
        each_process(note, t);
        qsort(t->rows, t->count, sizeof *t->rows, by_session);
    }
}

void process_proc_sample(const struct instance *i, struct engine_sample *sample)
{
    struct proc_table *t = &i->engine->table;
    uint64_t ticks = 0, pages = 0;
    refresh(t);
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->rows[middle].session < i->pid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    sample->pids = 0;
    for (; low < t->count && t->rows[low].session == i->pid; low++) {
        ticks += t->rows[low].cpu_ticks;
        pages += t->rows[low].resident_pages;
        sample->pids++;
    }
    sample->cpu_seconds = (double)ticks / (double)sysconf(_SC_CLK_TCK);
    sample->memory_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    sample->at_us = t->at_us;
}

uint64_t process_proc_host_memory(void)
{
    struct sysinfo info;
    return sysinfo(&info) ? 0 : (uint64_t)info.totalram * info.mem_unit;
}
