/* process_cgroup.c: control groups of instances, versions 1 and 2.
 *
 * Our directory stands at the top of each tree, as Docker's does, and not under
 * the group that tidegate runs in: instances outlive the daemon, and a service
 * manager could not start it again in a group that has living groups below it. */
#include "engine/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    FILE_BYTES = 8192,
    CPU_PERIOD_US = 100000
};

static const char *const part_names[CGROUP_PARTS] = {"memory", "cpu", "cpuacct", "pids"};

/* Reads a small file; false when it cannot be read. */
static bool slurp(const char *dir, const char *file, char *to, size_t size)
{
    char *path = mem_printf("%s/%s", dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    mem_free(path);
    if (fd < 0) {
        return false;
    }
    ssize_t len = read(fd, to, size - 1);
    close(fd);
    to[len > 0 ? len : 0] = '\0';
    return len >= 0;
}

static bool put(const char *dir, const char *file, const char *text)
{
    char *path = mem_printf("%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    mem_free(path);
    if (fd < 0) {
        return false;
    }
    ssize_t len = write(fd, text, strlen(text));
    close(fd);
    return len >= 0;
}

static bool put_number(const char *dir, const char *file, uint64_t number)
{
    char text[24]; /* 20 digits at most */
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return put(dir, file, text);
}

/* The number behind `key` in lines of "key number", or of the whole file when key is NULL. */
static uint64_t number_in(const char *dir, const char *file, const char *key)
{
    char text[FILE_BYTES];
    if (!slurp(dir, file, text, sizeof text)) {
        return 0;
    }
    if (!key) {
        return strtoull(text, NULL, 10);
    }
    size_t len = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, len) && line[len] == ' ') {
            return strtoull(line + len, NULL, 10);
        }
    }
    return 0;
}

static bool has_token(const char *list, const char *token)
{
    struct str rest = str_of(list), part;
    while (str_next(&rest, ',', &part)) {
        if (str_is(part, token)) {
            return true;
        }
    }
    return false;
}

/* One line of mountinfo: "... ROOT MOUNTPOINT OPTIONS ... - TYPE SOURCE SUPEROPTIONS". */
static void take_mount(struct cgroups *c, char *v2[1], char *line)
{
    char *tail = strstr(line, " - cgroup");
    char point[512], type[16], options[256];
    if (!tail || sscanf(line, "%*s %*s %*s %*s %511s", point) != 1 ||
        sscanf(tail, " - %15s %*s %255s", type, options) != 2 || strstr(point, "\\0")) {
        return;
    }
    if (!strcmp(type, "cgroup2")) {
        mem_free(v2[0]);
        v2[0] = mem_copy(point);
        return;
    }
    for (int i = 0; i < CGROUP_PARTS; i++) {
        if (has_token(options, part_names[i]) && !c->base[i]) {
            c->base[i] = mem_copy(point);
        }
    }
}

static void enable_v2(const char *dir)
{
    /* One by one: a controller that is missing must not take the others with it. */
    static const char *const wishes[] = {"+memory", "+cpu", "+pids"};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        (void)put(dir, "cgroup.subtree_control", wishes[i]);
    }
}

/* Turns a mount point into our directory in it; NULL when that cannot be made. */
static char *make_base(char *mount, const char *tag)
{
    char *dir = mem_printf("%s/%s", mount, tag);
    mem_free(mount);
    if (mkdir(dir, 0755) && errno != EEXIST) {
        mem_release(&dir);
    }
    return dir;
}

void process_cgroups_find(struct cgroups *c, const char *tag)
{
    *c = (struct cgroups){.version = 0};
    char *v2 = NULL, *line = NULL;
    size_t size = 0;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    while (mounts && getline(&line, &size, mounts) > 0) {
        take_mount(c, &v2, line);
    }
    if (mounts) {
        fclose(mounts);
    }
    free(line);
    for (int i = 0; i < CGROUP_PARTS; i++) {
        if (c->base[i]) {
            c->base[i] = make_base(c->base[i], tag);
            c->version = c->base[i] ? 1 : c->version;
        }
    }
    if (c->version || !v2) {
        mem_free(v2);
        return;
    }
    enable_v2(v2);
    char *dir = make_base(v2, tag);
    char controllers[256];
    if (dir) {
        enable_v2(dir);
    }
    if (dir && slurp(dir, "cgroup.subtree_control", controllers, sizeof controllers) &&
        strstr(controllers, "memory")) {
        c->base[CGROUP_MEMORY] = dir;
        c->version = 2;
    } else {
        if (dir) {
            rmdir(dir);
        }
        mem_free(dir);
    }
}

/* A group with processes in it stays: the kernel refuses. */
static void sweep(const char *base)
{
    DIR *dir = opendir(base);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void process_cgroups_sweep(const struct cgroups *c)
{
    for (int i = 0; i < CGROUP_PARTS; i++) {
        if (c->base[i]) {
            sweep(c->base[i]);
        }
    }
}

void process_cgroups_free(struct cgroups *c)
{
    process_cgroups_sweep(c);
    for (int i = 0; i < CGROUP_PARTS; i++) {
        if (c->base[i]) {
            rmdir(c->base[i]); /* stays while instances live in it */
        }
        mem_release(&c->base[i]);
    }
    c->version = 0;
}

static bool limit_v1(const struct cgroup_set *set, uint64_t memory, double cpus, uint64_t pids)
{
    bool held = false;
    if (set->path[CGROUP_MEMORY] && memory) {
        /* Lowered in this order and raised in the other, since memsw may never be the smaller. */
        (void)put_number(set->path[CGROUP_MEMORY], "memory.limit_in_bytes", memory);
        (void)put_number(set->path[CGROUP_MEMORY], "memory.memsw.limit_in_bytes", memory);
        held = put_number(set->path[CGROUP_MEMORY], "memory.limit_in_bytes", memory);
    }
    if (set->path[CGROUP_CPU] && cpus > 0) {
        (void)put_number(set->path[CGROUP_CPU], "cpu.cfs_period_us", CPU_PERIOD_US);
        (void)put_number(set->path[CGROUP_CPU], "cpu.cfs_quota_us",
                         (uint64_t)(cpus * CPU_PERIOD_US));
    }
    if (set->path[CGROUP_PIDS] && pids) {
        (void)put_number(set->path[CGROUP_PIDS], "pids.max", pids);
    }
    return held;
}

static bool limit_v2(const struct cgroup_set *set, uint64_t memory, double cpus, uint64_t pids)
{
    const char *dir = set->path[CGROUP_MEMORY];
    char quota[64]; /* two numbers of 20 digits */
    bool held = memory && put_number(dir, "memory.max", memory);
    if (held) {
        (void)put_number(dir, "memory.swap.max", 0);
    }
    if (cpus > 0) {
        snprintf(quota, sizeof quota, "%llu %d", (unsigned long long)(cpus * CPU_PERIOD_US),
                 CPU_PERIOD_US);
        (void)put(dir, "cpu.max", quota);
    }
    if (pids) {
        (void)put_number(dir, "pids.max", pids);
    }
    return held;
}

bool process_cgroup_make(const struct cgroups *c, const char *name, const struct cJSON *resources,
                         struct cgroup_set *set)
{
    process_cgroup_free(set);
    set->version = c->version;
    for (int i = 0; i < CGROUP_PARTS; i++) {
        if (!c->base[i]) {
            continue;
        }
        (void)mkdir(c->base[i], 0755);
        set->path[i] = mem_printf("%s/%s", c->base[i], name);
        if (mkdir(set->path[i], 0755) && errno != EEXIST) {
            mem_release(&set->path[i]);
        }
    }
    uint64_t memory = (uint64_t)json_int(resources, "memory_bytes", 0);
    uint64_t pids = (uint64_t)json_int(resources, "pids", 0);
    double cpus = json_num(resources, "cpus", 0);
    if (set->version == 2 && set->path[CGROUP_MEMORY]) {
        return limit_v2(set, memory, cpus, pids);
    }
    return set->version == 1 && limit_v1(set, memory, cpus, pids);
}

void process_cgroup_join(const struct cgroup_set *set, pid_t pid)
{
    for (int i = 0; i < CGROUP_PARTS; i++) {
        if (set->path[i]) {
            (void)put_number(set->path[i], "cgroup.procs", (uint64_t)pid);
        }
    }
}

int process_cgroup_signal(const struct cgroup_set *set, int sig)
{
    const char *dir = NULL;
    for (int i = 0; i < CGROUP_PARTS && !dir; i++) {
        dir = set->path[i];
    }
    char *path = dir ? mem_printf("%s/cgroup.procs", dir) : NULL;
    FILE *procs = path ? fopen(path, "re") : NULL;
    mem_free(path);
    if (!procs) {
        return -ENOENT;
    }
    int count = 0, pid;
    while (fscanf(procs, "%d", &pid) == 1) {
        struct proc_look look;
        /* A zombie is gone for us: whoever adopted it has to reap it. */
        if (pid > 0 && !process_proc_look(pid, &look) && !look.zombie) {
            count++;
            if (sig) {
                kill(pid, sig);
            }
        }
    }
    fclose(procs);
    return count;
}

uint64_t process_cgroup_oom_kills(const struct cgroup_set *set)
{
    const char *dir = set->path[CGROUP_MEMORY];
    return !dir                ? 0
           : set->version == 2 ? number_in(dir, "memory.events", "oom_kill")
                               : number_in(dir, "memory.oom_control", "oom_kill");
}

static int sample_v2(const struct cgroup_set *set, struct engine_sample *sample)
{
    const char *dir = set->path[CGROUP_MEMORY];
    char text[64];
    if (!slurp(dir, "memory.current", text, sizeof text)) {
        return -ENOENT;
    }
    uint64_t used = strtoull(text, NULL, 10),
             cache = number_in(dir, "memory.stat", "inactive_file");
    sample->memory_bytes = used > cache ? used - cache : 0;
    sample->cpu_seconds = (double)number_in(dir, "cpu.stat", "usage_usec") / 1e6;
    sample->pids = (uint32_t)number_in(dir, "pids.current", NULL);
    return 0;
}

int process_cgroup_sample(const struct cgroup_set *set, struct engine_sample *sample)
{
    if (set->version == 2 && set->path[CGROUP_MEMORY]) {
        return sample_v2(set, sample);
    }
    const char *memory = set->path[CGROUP_MEMORY], *cpu = set->path[CGROUP_CPUACCT];
    char text[64];
    if (!memory || !cpu || !slurp(memory, "memory.usage_in_bytes", text, sizeof text)) {
        return -ENOENT;
    }
    uint64_t used = strtoull(text, NULL, 10);
    uint64_t cache = number_in(memory, "memory.stat", "total_inactive_file");
    sample->memory_bytes = used > cache ? used - cache : 0;
    sample->cpu_seconds = (double)number_in(cpu, "cpuacct.usage", NULL) / 1e9;
    sample->pids = set->path[CGROUP_PIDS]
                       ? (uint32_t)number_in(set->path[CGROUP_PIDS], "pids.current", NULL)
                       : 0;
    return 0;
}

int process_cgroup_remove(struct cgroup_set *set)
{
    int rc = 0;
    for (int i = 0; i < CGROUP_PARTS; i++) {
        if (set->path[i] && rmdir(set->path[i]) && errno == EBUSY) {
            rc = -EBUSY;
        }
    }
    return rc;
}

void process_cgroup_free(struct cgroup_set *set)
{
    for (int i = 0; i < CGROUP_PARTS; i++) {
        mem_release(&set->path[i]);
    }
    set->version = 0;
}
