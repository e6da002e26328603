/* process_record.c: instances as files, state_dir/instances/NAME.json.
 *
 * Invariants: a record is replaced by rename, so that a reader (we, after a
 * crash) sees the old one or the new one, whole. It may hold secrets of the
 * configuration: only the owner reads it. */
#include "engine/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static const char *const cgroup_keys[CGROUP_PARTS] = {"memory", "cpu", "cpuacct", "pids"};

static char *path_of(const struct process *p, const char *name, const char *suffix)
{
    return mem_printf("%s/instances/%s.json%s", p->state_dir, name, suffix);
}

static struct cJSON *record_of(const struct instance *i)
{
    struct cJSON *r = json_object(), *groups = json_object();
    json_set_str(r, "id", i->id);
    json_set_str(r, "name", i->name);
    json_set_str(r, "cluster", i->cluster);
    json_set_str(r, "service", i->service);
    json_set_str(r, "spec_hash", i->spec_hash);
    json_set_num(r, "serial", i->serial);
    json_set_num(r, "slot", i->slot);
    json_set_num(r, "generation", i->generation);
    json_set_num(r, "created_wall_ms", (double)i->created_wall_ms);
    json_set_str(r, "state", engine_state_name(i->state));
    json_set_num(r, "port", i->port);
    json_set_num(r, "pid", i->pid);
    json_set_num(r, "start_ticks", (double)i->start_ticks);
    json_set_str(r, "boot_id", i->engine->boot_id);
    json_set_num(r, "exit_code", i->exit_code);
    json_set_bool(r, "oom_killed", i->oom_killed);
    json_set_num(r, "oom_base", (double)i->oom_base);
    json_set_num(r, "restarts", i->restarts);
    json_set_str(r, "error", i->error ? i->error : "");
    json_set_num(r, "started_wall_ms", (double)i->started_wall_ms);
    json_set_bool(r, "no_restart", i->no_restart);
    json_set_num(groups, "version", i->cgroup.version);
    for (int part = 0; part < CGROUP_PARTS; part++) {
        if (i->cgroup.path[part]) {
            json_set_str(groups, cgroup_keys[part], i->cgroup.path[part]);
        }
    }
    json_set(r, "cgroups", groups);
    json_set(r, "config", json_copy(i->config));
    return r;
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    int rc = 0;
    size_t len = strlen(text), done = 0;
    while (!rc && done < len) {
        ssize_t put = write(fd, text + done, len - done);
        if (put < 0 && errno != EINTR) {
            rc = -errno;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    if (close(fd) && !rc) {
        rc = -errno;
    }
    return rc;
}

int process_record_write(const struct instance *i)
{
    struct cJSON *record = record_of(i);
    char *text = json_text(record);
    char *path = path_of(i->engine, i->name, ""), *next = path_of(i->engine, i->name, ".new");
    int rc = write_file(next, text);
    if (!rc && rename(next, path)) {
        rc = -errno;
    }
    if (rc) {
        unlink(next);
    }
    json_free(record);
    mem_free(text);
    mem_free(path);
    mem_free(next);
    return rc;
}

void process_record_delete(const struct instance *i)
{
    char *path = path_of(i->engine, i->name, "");
    unlink(path);
    mem_free(path);
}

/* ---- Instances in memory ---- */

struct instance *process_instance_new(struct process *p, const char *name)
{
    struct instance *i = mem_new(sizeof *i);
    *i = (struct instance){
        .engine = p,
        .name = mem_copy(name),
        .state = ENGINE_CREATED,
        .created_wall_ms = clock_wall_ms(),
    };
    uint64_t now_us = clock_now_us();
    hash_hex(hash_more(hash_bytes(&now_us, sizeof now_us), name, strlen(name)), i->id);
    list_init(&i->starters);
    list_init(&i->stoppers);
    return i;
}

void process_instance_free(struct instance *i)
{
    if (!i) {
        return;
    }
    process_cgroup_free(&i->cgroup);
    json_free(i->config);
    mem_free(i->name);
    mem_free(i->cluster);
    mem_free(i->service);
    mem_free(i->spec_hash);
    mem_free(i->error);
    mem_free(i);
}

void process_instance_enter(struct instance *i)
{
    struct process *p = i->engine;
    map_put(&p->by_name, i->name, i);
    map_put(&p->by_id, i->id, i);
    uv_timer_init(p->base.loop, &i->timer);
    i->timer.data = i;
    p->handles++;
}

/* ---- Reading ---- */

static struct instance *instance_of(struct process *p, const struct cJSON *r)
{
    struct instance *i = process_instance_new(p, json_str(r, "name", ""));
    str_copy(i->id, sizeof i->id, json_str(r, "id", i->id));
    i->cluster = mem_copy(json_str(r, "cluster", ""));
    i->service = mem_copy(json_str(r, "service", ""));
    i->spec_hash = mem_copy(json_str(r, "spec_hash", ""));
    i->serial = (uint32_t)json_int(r, "serial", 0);
    i->slot = (uint32_t)json_int(r, "slot", 0);
    i->generation = (uint32_t)json_int(r, "generation", 0);
    i->created_wall_ms = (uint64_t)json_int(r, "created_wall_ms", 0);
    i->port = (uint16_t)json_int(r, "port", 0);
    i->exit_code = (int)json_int(r, "exit_code", 0);
    i->oom_killed = json_bool(r, "oom_killed", false);
    i->oom_base = (uint64_t)json_int(r, "oom_base", 0);
    i->restarts = (uint32_t)json_int(r, "restarts", 0);
    const char *error = json_str(r, "error", "");
    i->error = *error ? mem_copy(error) : NULL;
    i->started_wall_ms = (uint64_t)json_int(r, "started_wall_ms", 0);
    i->no_restart = json_bool(r, "no_restart", false);
    i->config = json_copy(json_get(r, "config"));
    const struct cJSON *groups = json_get(r, "cgroups");
    i->cgroup.version = (int)json_int(groups, "version", 0);
    for (int part = 0; part < CGROUP_PARTS; part++) {
        i->cgroup.path[part] = mem_copy(json_str(groups, cgroup_keys[part], NULL));
    }
    bool ran = strcmp(json_str(r, "state", ""), engine_state_name(ENGINE_CREATED)) != 0;
    i->state = ran ? ENGINE_EXITED : ENGINE_CREATED;
    if (str_same(json_str(r, "boot_id", ""), p->boot_id)) {
        i->pid = (pid_t)json_int(r, "pid", 0);
        i->start_ticks = (uint64_t)json_int(r, "start_ticks", 0);
    }
    return i;
}

static struct cJSON *read_json(const char *path)
{
    struct buf text;
    buf_init(&text, LIMIT_CONTROL_BYTES * 4);
    char bytes[4096];
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (got = read(fd, bytes, sizeof bytes)) > 0) {
        if (buf_append(&text, bytes, (size_t)got)) {
            break;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    struct cJSON *record = got == 0 ? json_parse(buf_str(&text), text.len) : NULL;
    buf_free(&text);
    return record;
}

/* Takes up one file; `name` is its name without ".json". */
static void read_one(struct process *p, const char *name)
{
    char *path = path_of(p, name, ""), *aside = path_of(p, name, ".bad");
    struct cJSON *record = read_json(path);
    bool known = map_get(&p->by_name, name) != NULL;
    if (!record || !str_same(json_str(record, "name", NULL), name) || !json_get(record, "config")) {
        log_warn("record of an instance is unreadable, set aside", "path=%s", aside);
        (void)rename(path, aside);
    } else if (!known && str_same(json_str(record, "cluster", ""), p->cluster)) {
        struct instance *i = instance_of(p, record);
        bool claims = i->pid != 0;
        process_instance_enter(i);
        if (process_life_adopt(i)) {
            i->state = ENGINE_RUNNING;
        } else if (claims) {
            (void)process_record_write(i);
        }
    }
    json_free(record);
    mem_free(path);
    mem_free(aside);
}

void process_record_read_all(struct process *p)
{
    char *path = mem_printf("%s/instances", p->state_dir);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        struct str file = str_of(entry->d_name);
        if (str_ends(file, ".json")) {
            char *name = mem_copy_bytes(file.ptr, file.len - 5);
            read_one(p, name);
            mem_free(name);
        } else if (str_ends(file, ".json.new")) { /* we died while writing it */
            char *stale = mem_printf("%s/%s", path, entry->d_name);
            unlink(stale);
            mem_free(stale);
        }
    }
    if (dir) {
        closedir(dir);
    }
    mem_free(path);
}
