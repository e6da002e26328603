/* paths.c: see paths.h.
 *
 * Does not: remember anything; every call reads the environment anew. */
#include "app/paths.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    MOST_BASES = 2,
    MOST_LISTED_BYTES = 4096
};

/* Value of an environment variable, or NULL when it is unset or empty. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static char *home_state(void)
{
    const char *home = setting("HOME");
    return home ? mem_printf("%s/.local/state/tidegate", home)
                : mem_printf("/tmp/tidegate-%u/state", (unsigned)geteuid());
}

/* All places where a runtime directory of ours may be, the one to make first; returns how many. */
static int runtime_bases(char *ret_bases[MOST_BASES])
{
    int count = 0;
    const char *given = setting("TIDEGATE_RUNTIME_DIR");
    if (given) {
        ret_bases[count++] = mem_copy(given);
    } else if (geteuid() == 0) {
        ret_bases[count++] = mem_copy("/run/tidegate");
    } else {
        const char *xdg = setting("XDG_RUNTIME_DIR");
        if (xdg) {
            ret_bases[count++] = mem_printf("%s/tidegate", xdg);
        }
        ret_bases[count++] = mem_printf("/tmp/tidegate-%u", (unsigned)geteuid());
    }
    return count;
}

static char *state_base(void)
{
    const char *given = setting("TIDEGATE_STATE_DIR");
    if (given) {
        return mem_copy(given);
    }
    if (geteuid() == 0) {
        return mem_copy("/var/lib/tidegate");
    }
    const char *xdg = setting("XDG_STATE_HOME");
    return xdg ? mem_printf("%s/tidegate", xdg) : home_state();
}

/* Takes the base when it is ours to free. */
static char *below(char *base, const char *cluster)
{
    char *dir = mem_printf("%s/%s", base, cluster);
    mem_free(base);
    return dir;
}

/* False with errno: EACCES when who asks may not know. */
static bool answers(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!str_copy(to.sun_path, sizeof to.sun_path, path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    /* A full backlog (EAGAIN) is a daemon too. */
    bool alive = !connect(fd, (struct sockaddr *)&to, sizeof to) || errno == EAGAIN;
    int error = errno;
    close(fd);
    errno = error;
    return alive;
}

static void note_denied(char **denied, const char *path)
{
    if (errno == EACCES && !*denied) {
        *denied = mem_copy(path);
    }
}

/* Looks for BASE/<any>/control.sock that somebody answers on; counts, keeps the first, lists all; keeps the first
 * place where we may not look. */
static int find_below(const char *base, char **first, struct buf *list, char **denied)
{
    int count = 0;
    DIR *dir = opendir(base);
    struct dirent *entry;
    if (!dir) {
        note_denied(denied, base);
    }
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char *path = mem_printf("%s/%s/control.sock", base, entry->d_name);
        if (answers(path)) {
            count++;
            (void)buf_printf(list, "%s%s", list->len ? ", " : "", path);
            if (!*first) {
                *first = path;
                continue;
            }
        } else {
            note_denied(denied, path);
        }
        mem_free(path);
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

static int find_only(char **bases, int base_count, char **ret_path, char **reterr)
{
    struct buf list;
    buf_init(&list, MOST_LISTED_BYTES);
    char *first = NULL, *denied = NULL;
    int count = 0;
    for (int i = 0; i < base_count; i++) {
        count += find_below(bases[i], &first, &list, &denied);
    }
    int rc = 0;
    if (count == 1) {
        *ret_path = first;
        first = NULL;
    } else if (count > 1) {
        rc = -ENOTUNIQ;
        *reterr =
            mem_printf("several daemons are running (%s): choose one with --cluster or --socket",
                       buf_str(&list));
    } else if (denied) {
        rc = -EACCES;
        *reterr = mem_printf(
            "whether a daemon is running cannot be seen: %s: permission denied: be the user who "
            "runs it, or root",
            denied);
    } else {
        rc = -ENOENT;
        *reterr =
            mem_printf("no daemon is running below %s%s%s: start one with `tidegate run`, or name "
                       "its control socket with --socket",
                       bases[0], base_count > 1 ? " or " : "", base_count > 1 ? bases[1] : "");
    }
    mem_free(first);
    mem_free(denied);
    buf_free(&list);
    return rc;
}

/* The socket of a named cluster: where somebody answers, else where it would be. */
static int find_cluster(char **bases, int base_count, const char *cluster, char **ret_path,
                        char **reterr)
{
    if (!*cluster || strchr(cluster, '/') || cluster[0] == '.') {
        *reterr =
            mem_printf("\"%s\" is not a cluster's name: give the id of its `cluster {}`", cluster);
        return -EINVAL;
    }
    char *found = mem_printf("%s/%s/control.sock", bases[0], cluster);
    for (int i = 1; i < base_count && !answers(found); i++) {
        char *other = mem_printf("%s/%s/control.sock", bases[i], cluster);
        if (answers(other)) {
            mem_free(found);
            found = other;
        } else {
            mem_free(other);
        }
    }
    *ret_path = found;
    return 0;
}

/* What stands at `dir` must be a directory of ours that only we can change, and nobody but root and
 * us may own the one it stands in: else whoever owns it could put another in its place. */
static int check_dir(const char *dir, char **reterr)
{
    struct stat st, above = {0};
    const char *slash = strrchr(dir, '/');
    char *parent =
        !slash ? mem_copy(".") : mem_copy_bytes(dir, slash == dir ? 1 : (size_t)(slash - dir));
    int rc = lstat(dir, &st) || lstat(parent, &above) ? -errno : 0;
    if (rc) {
        *reterr = mem_printf("cannot look at %s: %s", dir, err_text(rc));
    } else if (!S_ISDIR(st.st_mode)) {
        rc = -ENOTDIR;
        *reterr = mem_printf("%s is not a directory: remove it or choose another place", dir);
    } else if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))) {
        rc = -EPERM;
        *reterr = mem_printf("%s must belong to user %u and be writable by nobody else: "
                             "correct that or choose another place",
                             dir, (unsigned)geteuid());
    } else if (above.st_uid != geteuid() && above.st_uid != 0) {
        rc = -EPERM;
        *reterr = mem_printf("%s belongs to user %u, who could replace %s: choose another place",
                             parent, (unsigned)above.st_uid, dir);
    }
    mem_free(parent);
    return rc;
}

char *paths_runtime_dir(const char *base, const char *cluster)
{
    if (base && *base) {
        return mem_printf("%s/%s", base, cluster);
    }
    char *bases[MOST_BASES] = {NULL};
    (void)runtime_bases(bases);
    mem_free(bases[1]);
    return below(bases[0], cluster);
}

char *paths_state_dir(const char *base, const char *cluster)
{
    return base && *base ? mem_printf("%s/%s", base, cluster) : below(state_base(), cluster);
}

char *paths_control_socket(const char *runtime_dir)
{
    return mem_printf("%s/control.sock", runtime_dir);
}

int paths_make(const char *dir, char **reterr)
{
    char *path = mem_copy(dir);
    int rc = 0;
    for (char *at = path + (*path == '/'); !rc; at++) {
        if (*at && *at != '/') {
            continue;
        }
        char end = *at;
        *at = '\0';
        if (*path && mkdir(path, 0700) && errno != EEXIST) {
            rc = -errno;
            *reterr = mem_printf("cannot make the directory %s: %s: name another one, for what is "
                                 "kept by cluster.state_dir or $TIDEGATE_STATE_DIR, for the socket "
                                 "by $TIDEGATE_RUNTIME_DIR",
                                 path, err_text(rc));
        }
        *at = end;
        if (!end) {
            break;
        }
    }
    mem_free(path);
    return rc ? rc : check_dir(dir, reterr);
}

int paths_find_socket(const char *socket, const char *cluster, char **ret_path, char **reterr)
{
    if (!socket && !cluster) {
        socket = setting("TIDEGATE_SOCKET");
    }
    if (socket) {
        *ret_path = mem_copy(socket);
        return 0;
    }
    char *bases[MOST_BASES] = {NULL};
    int base_count = runtime_bases(bases);
    int rc = cluster ? find_cluster(bases, base_count, cluster, ret_path, reterr)
                     : find_only(bases, base_count, ret_path, reterr);
    for (int i = 0; i < base_count; i++) {
        mem_free(bases[i]);
    }
    return rc;
}

static bool is_history(const char *base, const char *cluster, char **ret_dir)
{
    struct stat st;
    char *dir = mem_printf("%s/%s/history", base, cluster);
    if (stat(dir, &st) || !S_ISDIR(st.st_mode)) {
        mem_free(dir);
        return false;
    }
    *ret_dir = dir;
    return true;
}

/* Counts those below `base`, keeps the first, lists all clusters. */
static int find_histories(const char *base, char **ret_first, struct buf *list)
{
    int count = 0;
    DIR *dir = opendir(base);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char *found = NULL;
        if (entry->d_name[0] == '.' || !is_history(base, entry->d_name, &found)) {
            continue;
        }
        (void)buf_printf(list, "%s%s", count++ ? ", " : "", entry->d_name);
        if (count == 1) {
            *ret_first = found;
        } else {
            mem_free(found);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

int paths_find_history(const char *base, const char *cluster, char **ret_dir, char **reterr)
{
    char *own = base && *base ? mem_copy(base) : state_base(), *first = NULL;
    struct buf list;
    buf_init(&list, MOST_LISTED_BYTES);
    int rc = 0, count;
    if (cluster && (!*cluster || strchr(cluster, '/') || *cluster == '.')) {
        count = 0;
    } else {
        count = cluster ? is_history(own, cluster, &first) : find_histories(own, &first, &list);
    }
    if (count == 1) {
        *ret_dir = first;
        first = NULL;
    } else if (count > 1) {
        rc = -ENOTUNIQ;
        *reterr = mem_printf("%s holds the history of several clusters (%s): choose one with "
                             "--cluster",
                             own, buf_str(&list));
    } else {
        rc = -ENOENT;
        *reterr = mem_printf("no history is kept below %s%s%s", own, cluster ? " of cluster " : "",
                             cluster ? cluster : "");
    }
    mem_free(first);
    mem_free(own);
    buf_free(&list);
    return rc;
}
