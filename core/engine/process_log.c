/* process_log.c: standard output and error of instances, in state_dir/logs.
 *
 * Children write with O_APPEND, so that a file may be cut under them. At most
 * LOG_BYTES and one older part of KEPT_BYTES stay; what is written between the
 * copy and the cut is lost. */
#include "engine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    LOG_BYTES = 16 << 20,
    KEPT_BYTES = 4 << 20,
    TAIL_BYTES = 1 << 20
};

static char *path_of(const struct instance *i, const char *suffix)
{
    return mem_printf("%s/logs/%s.log%s", i->engine->state_dir, i->name, suffix);
}

/* The last `most` bytes of a file; NULL when there is none. */
static char *read_end(const char *path, size_t most, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    off_t from = st.st_size > (off_t)most ? st.st_size - (off_t)most : 0;
    size_t want = (size_t)(st.st_size - from), len = 0;
    char *bytes = mem_new(want + 1);
    ssize_t got;
    while (len < want && (got = pread(fd, bytes + len, want - len, from + (off_t)len)) > 0) {
        len += (size_t)got;
    }
    close(fd);
    *ret_len = len;
    return bytes;
}

void process_log_trim(const struct instance *i)
{
    struct stat st;
    char *path = path_of(i, ""), *old = path_of(i, ".1");
    size_t len;
    char *end =
        !stat(path, &st) && st.st_size > LOG_BYTES ? read_end(path, KEPT_BYTES, &len) : NULL;
    if (end) {
        int fd = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd >= 0) {
            ssize_t written = write(fd, end, len);
            (void)written; /* a full disk loses the older part, and only that */
            close(fd);
        }
        (void)!truncate(path, 0);
    }
    mem_free(end);
    mem_free(path);
    mem_free(old);
}

int process_log_open(const struct instance *i)
{
    process_log_trim(i);
    char *path = path_of(i, "");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : fd;
    mem_free(path);
    return rc;
}

/* Where the last `lines` lines begin; *ret_found = how many there are. */
static const char *start_of(const char *bytes, size_t len, uint32_t lines, uint32_t *ret_found)
{
    uint32_t found = len ? 1 : 0;
    /* A newline at the very end closes the last line and opens none. */
    const char *at = bytes + len - (len && bytes[len - 1] == '\n' ? 1 : 0);
    while (at > bytes) {
        if (at[-1] == '\n') {
            if (found == lines) {
                break;
            }
            found++;
        }
        at--;
    }
    *ret_found = found;
    return at;
}

char *process_log_tail(const struct instance *i, uint32_t lines, size_t *ret_len)
{
    char *path = path_of(i, ""), *old = path_of(i, ".1");
    size_t len = 0, old_len = 0;
    uint32_t found = 0;
    char *bytes = read_end(path, TAIL_BYTES, &len);
    const char *from = bytes ? start_of(bytes, len, lines, &found) : "";
    char *before = NULL;
    if (found < lines && len < TAIL_BYTES) {
        before = read_end(old, TAIL_BYTES - len, &old_len);
    }
    uint32_t more;
    const char *before_from = before ? start_of(before, old_len, lines - found, &more) : "";
    size_t head = before ? old_len - (size_t)(before_from - before) : 0;
    size_t tail = bytes ? len - (size_t)(from - bytes) : 0;
    char *text = mem_new(head + tail + 1);
    memcpy(text, before_from, head);
    memcpy(text + head, from, lines ? tail : 0);
    *ret_len = head + (lines ? tail : 0);
    mem_free(before);
    mem_free(bytes);
    mem_free(path);
    mem_free(old);
    return text;
}

void process_log_delete(const struct instance *i)
{
    char *path = path_of(i, ""), *old = path_of(i, ".1");
    unlink(path);
    unlink(old);
    mem_free(path);
    mem_free(old);
}
