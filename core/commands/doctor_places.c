/* doctor_places.c: directories that the daemon writes, and addresses that it listens on. */
#include "commands/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/paths.h"
#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    DISK_LEAST_MB = 64, /* the history keeps no samples with less */
    DISK_FEW_MB = 1024
};

/* ---- Directories -------------------------------------------------------------------------- */

/* The directory itself, or the one above it that is there. Takes dir. */
static char *existing(char *dir)
{
    while (access(dir, F_OK) && errno == ENOENT) {
        char *slash = strrchr(dir, '/');
        if (!slash || slash == dir) {
            mem_free(dir);
            return mem_copy("/");
        }
        *slash = '\0';
    }
    return dir;
}

static bool writable(const char *dir)
{
    struct statvfs fs;
    /* For root access() says yes to what is mounted read-only by some file systems. */
    return !access(dir, W_OK | X_OK) && (statvfs(dir, &fs) || !(fs.f_flag & ST_RDONLY));
}

static void look_at_dir(struct doctor *d, const char *name, const char *dir, bool space)
{
    char *there = existing(mem_copy(dir));
    struct stat st;
    struct statvfs fs;
    if (stat(there, &st)) {
        doctor_say(d, name, DOCTOR_FAIL, "choose another directory", "%s: %s", there,
                   strerror(errno));
    } else if (!S_ISDIR(st.st_mode)) {
        doctor_say(d, name, DOCTOR_FAIL, "move it away, or choose another directory",
                   "%s is no directory", there);
    } else if (!writable(there)) {
        doctor_say(d, name, DOCTOR_FAIL,
                   "give it to the user that runs tidegate, or choose another",
                   "%s cannot be written", there);
    } else if (str_same(there, dir) &&
               (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))) {
        doctor_say(d, name, DOCTOR_FAIL, "chown it to the user that runs tidegate, and chmod 700",
                   "%s belongs to somebody else, or others may write to it", dir);
    } else {
        uint64_t mb = space && !statvfs(there, &fs)
                          ? (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize >> 20
                          : UINT64_MAX;
        enum doctor_state state = mb < DISK_LEAST_MB ? DOCTOR_FAIL
                                  : mb < DISK_FEW_MB ? DOCTOR_WARN
                                                     : DOCTOR_OK;
        doctor_say(d, name, state, state ? "make room, or lower cluster.history.bytes" : "",
                   space ? "%s, %llu MB free" : "%s", dir, (unsigned long long)mb);
    }
    mem_free(there);
}

/* ---- Addresses ---------------------------------------------------------------------------- */

/* Whether the daemon listens there. */
static bool is_theirs(const struct cJSON *config, const char *text)
{
    if (str_same(json_str(json_get(config, "cluster"), "admin", ""), text)) {
        return true;
    }
    const struct cJSON *s = json_first(json_get(config, "services"));
    for (; s; s = json_next(s)) {
        for (const struct cJSON *r = json_first(json_get(s, "routes")); r; r = json_next(r)) {
            if (str_same(json_str(r, "listen", ""), text)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether somebody else has it. */
static void look_at_address(struct doctor *d, const char *name, const char *text, const char *at)
{
    struct net_addr addr;
    int fd = -1;
    if (net_addr_parse(text, &addr)) {
        return; /* the configuration was checked */
    }
    int rc = net_listen(&addr, false, &fd);
    if (!rc) {
        close(fd);
        doctor_say(d, name, DOCTOR_OK, "", "%s is free", text);
    } else if (rc == -EADDRINUSE && is_theirs(d->theirs, text)) {
        doctor_say(d, name, DOCTOR_OK, "", "%s is in use by the daemon", text);
    } else {
        const char *todo = rc == -EADDRINUSE
                               ? "stop what listens there (ss -ltnp), or choose another port"
                           : rc == -EACCES ? "ports below 1024 are for root or CAP_NET_BIND_SERVICE"
                                           : "this host has no such address: choose another";
        doctor_say(d, name, DOCTOR_FAIL, todo, "%s%s%s: %s", at, *at ? ": " : "", text,
                   err_text(rc));
    }
}

static bool seen_before(const struct cJSON *seen, const char *address)
{
    const struct cJSON *one = json_first(seen);
    while (one && !str_same(json_value_str(one, ""), address)) {
        one = json_next(one);
    }
    return one != NULL;
}

static void look_at_addresses(struct doctor *d)
{
    const char *admin = json_str(json_get(d->config, "cluster"), "admin", "127.0.0.1:9880");
    struct cJSON *seen = json_array();
    if (*admin && !str_starts(str_of(admin), "unix:")) {
        look_at_address(d, "admin", admin, "");
    }
    const struct cJSON *s = json_first(json_get(d->config, "services"));
    for (; s; s = json_next(s)) {
        for (const struct cJSON *r = json_first(json_get(s, "routes")); r; r = json_next(r)) {
            const char *listen = json_str(r, "listen", "");
            if (!str_starts(str_of(listen), "unix:") && !seen_before(seen, listen)) {
                json_add_str(seen, listen);
                look_at_address(d, "listen", listen, json_str(r, "at", ""));
            }
        }
    }
    json_free(seen);
}

void doctor_places(struct doctor *d)
{
    const struct cJSON *cluster = json_get(d->config, "cluster");
    const char *id = json_str(cluster, "id", "default");
    char *state = paths_state_dir(json_str(cluster, "state_dir", ""), id);
    char *runtime = paths_runtime_dir(json_str(cluster, "runtime_dir", ""), id);
    look_at_dir(d, "state", state, true);
    look_at_dir(d, "runtime", runtime, false);
    look_at_addresses(d);
    mem_free(state);
    mem_free(runtime);
}
