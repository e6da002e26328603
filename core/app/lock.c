/* lock.c: one master a cluster, and the hand-over from a dead one.
 *
 * `lock` is held by flock for the master's life and names its pid; the kernel lets go when it dies. A
 * clean end empties it, so a pid in it tells that workers may be left. `serving` names the master whose
 * workers serve; a clean end removes it. */
#include "app/master.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/log.h"
#include "base/mem.h"

int lock_take(struct master *m, char **reterr)
{
    char *path = mem_printf("%s/lock", m->runtime_dir);
    int rc = 0;
    m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (m->lock_fd < 0) {
        rc = -errno;
        *reterr =
            mem_printf("%s: %s: choose another place with --runtime-dir", path, strerror(-rc));
    } else if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        char pid[32] = ""; /* a pid in decimal */
        ssize_t len = pread(m->lock_fd, pid, sizeof pid - 1, 0);
        pid[len > 0 ? len : 0] = '\0';
        rc = -EEXIST;
        close(m->lock_fd); /* what lies beside the lock is the other's */
        m->lock_fd = -1;
        *reterr =
            mem_printf("this cluster has a daemon already, pid %s: stop it first, or give this "
                       "one another cluster id",
                       pid);
    } else {
        char pid[32];
        m->had_predecessor = pread(m->lock_fd, pid, 1, 0) == 1;
        m->taking_over = m->had_predecessor;
        int len = snprintf(pid, sizeof pid, "%ld", (long)getpid());
        if (ftruncate(m->lock_fd, 0) < 0 || pwrite(m->lock_fd, pid, (size_t)len, 0) != len) {
            log_warn("the lock does not name us", "file=%s", path);
        }
    }
    mem_free(path);
    return rc;
}

void lock_serving(struct master *m)
{
    char *fresh = mem_printf("%s.new", m->serving_path);
    FILE *file = fopen(fresh, "we");
    if (!file || fprintf(file, "%ld\n", (long)getpid()) < 0 || fclose(file) != 0 ||
        rename(fresh, m->serving_path) < 0) {
        log_warn("workers of a master before us are not told that we serve", "file=%s",
                 m->serving_path);
    }
    mem_free(fresh);
}

void lock_release(struct master *m)
{
    if (m->lock_fd >= 0) {
        (void)unlink(m->serving_path); /* absent when we never served */
        if (ftruncate(m->lock_fd, 0) < 0) {
            log_warn("the lock goes on to name us", "error=%s", strerror(errno));
        }
        close(m->lock_fd);
        m->lock_fd = -1;
    }
}
