/* docker_cgroup.c: usage of a container from the kernel's own files, cgroup v1
 * and v2; see docker.h.
 *
 * Why: 16 us a sample with files kept open, against a second (Docker 20.10, which
 * waits for its tick) or 9 % of a core for 100 streams.
 * Paths come from /proc/PID/cgroup and never from the id: drivers and parents name
 * them differently. The id has to occur in them, though, as proof that the pid is
 * what the engine means. */
#include "engine/docker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    FILE_BYTES = 4096
}; /* memory.stat, the longest, has some 1500 */

enum {
    CPU,
    MEMORY,
    MEMORY_STAT,
    PIDS,
    FILES
};

struct source {
    char *path;
    int fd; /* -1: opened each time */
};

struct docker_cgroup {
    bool v2;
    uint32_t pid;
    struct source files[FILES];
};

static int open_source(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Reads from the beginning, NUL-terminated; -errno. */
static int read_source(const struct source *s, char *to, size_t size)
{
    int fd = s->fd >= 0 ? s->fd : open_source(s->path);
    if (fd < 0) {
        return fd;
    }
    ssize_t got = pread(fd, to, size - 1, 0);
    int rc = got < 0 ? -errno : 0;
    to[got < 0 ? 0 : got] = '\0';
    if (s->fd < 0) {
        close(fd);
    }
    return rc;
}

/* ---- Where ---- */

static bool has_word(struct str list, const char *word)
{
    struct str one;
    while (str_next(&list, ',', &one)) {
        if (str_is(one, word)) {
            return true;
        }
    }
    return false;
}

/* Path of the process's cgroup for a controller out of /proc/PID/cgroup: "4:cpu,cpuacct:/docker/1f"
 * or "0::/system.slice/x" (v2, controller NULL). mem_free; NULL. */
static char *cgroup_path(const char *proc, const char *controller)
{
    struct str rest = str_of(proc), line;
    while (str_next(&rest, '\n', &line)) {
        struct str number, controllers;
        if (!str_next(&line, ':', &number) || !str_next(&line, ':', &controllers) || !line.ptr) {
            continue;
        }
        if (controller ? has_word(controllers, controller)
                       : str_is(number, "0") && !controllers.len) {
            return mem_copy_bytes(line.ptr, line.len);
        }
    }
    return NULL;
}

/* Where the hierarchy of a controller (NULL: v2) is mounted, and which part of it, from
 * "33 25 0:29 /root /sys/fs/cgroup/memory rw,... - cgroup cgroup rw,memory". Both mem_free. */
static bool find_mount(const char *controller, char **ret_root, char **ret_point)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char text[FILE_BYTES];
    bool found = false;
    while (file && !found && fgets(text, sizeof text, file)) {
        struct str rest = str_of(text), field[16], options = {"", 0};
        size_t count = 0, dash = 0;
        while (count < 16 && str_next(&rest, ' ', &field[count])) {
            dash = str_is(field[count], "-") ? count : dash;
            count++;
        }
        if (dash < 6 || count < dash + 4) {
            continue;
        }
        options = field[dash + 3];
        options.len = strcspn(options.ptr, "\n");
        found = controller ? str_is(field[dash + 1], "cgroup") && has_word(options, controller)
                           : str_is(field[dash + 1], "cgroup2");
        if (found) {
            *ret_root = mem_copy_bytes(field[3].ptr, field[3].len);
            *ret_point = mem_copy_bytes(field[4].ptr, field[4].len);
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

/* Directory of the container in a hierarchy, or NULL. mem_free. */
static char *directory(const char *proc, const char *id, const char *controller)
{
    char *path = cgroup_path(proc, controller), *root = NULL, *point = NULL, *dir = NULL;
    if (path && strstr(path, id) && find_mount(controller, &root, &point)) {
        size_t len = str_same(root, "/") ? 0 : strlen(root);
        if (!strncmp(path, root, len)) {
            dir = mem_printf("%s%s", point, path + len);
        }
    }
    mem_free(path);
    mem_free(root);
    mem_free(point);
    return dir;
}

static int set_source(struct docker_cgroup *c, int which, const char *proc, const char *id,
                      const char *controller, const char *name, bool keep)
{
    char *dir = directory(proc, id, controller);
    if (!dir) {
        return -ENOENT;
    }
    struct source *s = &c->files[which];
    s->path = mem_printf("%s/%s", dir, name);
    mem_free(dir);
    int fd = open_source(s->path);
    if (fd < 0) {
        return fd;
    }
    if (keep) {
        s->fd = fd;
    } else {
        close(fd);
    }
    return 0;
}

int docker_cgroup_open(uint32_t pid, const char *id, bool keep_open,
                       struct docker_cgroup **ret_cgroup)
{
    static const char *const names[2][FILES] = {
        {"cpuacct.usage", "memory.usage_in_bytes", "memory.stat", "pids.current"},
        {"cpu.stat", "memory.current", "memory.stat", "pids.current"}};
    static const char *const controllers[FILES] = {"cpuacct", "memory", "memory", "pids"};
    char proc[FILE_BYTES], path[64];
    snprintf(path, sizeof path, "/proc/%u/cgroup", pid);
    struct source source = {.path = path, .fd = -1};
    int rc = read_source(&source, proc, sizeof proc);
    if (rc) {
        return rc;
    }
    struct docker_cgroup *c = mem_new(sizeof *c);
    *c = (struct docker_cgroup){.pid = pid};
    char *v1 = cgroup_path(proc, "memory");
    c->v2 = !v1;
    mem_free(v1);
    for (int i = 0; i < FILES; i++) {
        c->files[i].fd = -1;
    }
    for (int i = 0; !rc && i < FILES; i++) {
        rc = set_source(c, i, proc, id, c->v2 ? NULL : controllers[i], names[c->v2][i], keep_open);
        if (i == PIDS && rc) {
            rc = 0; /* that controller may be missing */
            mem_release(&c->files[PIDS].path);
        }
    }
    if (rc) {
        docker_cgroup_free(c);
        return rc;
    }
    *ret_cgroup = c;
    return 0;
}

void docker_cgroup_free(struct docker_cgroup *c)
{
    for (int i = 0; c && i < FILES; i++) {
        mem_free(c->files[i].path);
        if (c->files[i].fd >= 0) {
            close(c->files[i].fd);
        }
    }
    mem_free(c);
}

/* ---- What ---- */

/* The number behind "key " at the beginning of a line, or 0. */
static uint64_t keyed(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *at = text; at && *at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (!strncmp(at, key, len) && at[len] == ' ') {
            return strtoull(at + len, NULL, 10);
        }
    }
    return 0;
}

/* Sums "  eth0: rx_bytes packets errs drop fifo frame compressed multicast tx_bytes ..." but lo. */
static void read_network(uint32_t pid, struct engine_sample *sample)
{
    char path[64], text[FILE_BYTES];
    snprintf(path, sizeof path, "/proc/%u/net/dev", pid);
    struct source source = {.path = path, .fd = -1};
    if (read_source(&source, text, sizeof text)) {
        return;
    }
    struct str rest = str_of(text), line, name;
    while (str_next(&rest, '\n', &line)) {
        if (!str_next(&line, ':', &name) || !line.ptr || str_is(str_trim(name), "lo")) {
            continue;
        }
        char *at = (char *)line.ptr;
        sample->network_rx_bytes += strtoull(at, &at, 10);
        for (int skipped = 0; skipped < 7; skipped++) {
            strtoull(at, &at, 10);
        }
        sample->network_tx_bytes += strtoull(at, &at, 10);
    }
}

int docker_cgroup_read(struct docker_cgroup *c, struct engine_sample *ret_sample)
{
    char text[FILE_BYTES];
    struct engine_sample s = {.at_us = clock_now_us()};
    int rc = read_source(&c->files[CPU], text, sizeof text);
    if (rc) {
        return rc;
    }
    s.cpu_seconds =
        c->v2 ? (double)keyed(text, "usage_usec") / 1e6 : (double)strtoull(text, NULL, 10) / 1e9;
    rc = read_source(&c->files[MEMORY], text, sizeof text);
    if (rc) {
        return rc;
    }
    s.memory_bytes = strtoull(text, NULL, 10);
    if (read_source(&c->files[MEMORY_STAT], text, sizeof text) == 0) {
        uint64_t cache = keyed(text, c->v2 ? "inactive_file" : "total_inactive_file");
        s.memory_bytes -= cache < s.memory_bytes ? cache : s.memory_bytes;
    }
    if (c->files[PIDS].path && read_source(&c->files[PIDS], text, sizeof text) == 0) {
        s.pids = (uint32_t)strtoull(text, NULL, 10);
    }
    read_network(c->pid, &s);
    *ret_sample = s;
    return 0;
}
