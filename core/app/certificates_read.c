/* certificates_read.c: the bytes of one certificate's or key's file; see certificates.h. */
#include "app/certificates.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

/* Nobody but the owner may read or change a key. Root may let a group read it, as distributions do (ssl-cert). */
static char *too_open(const char *path, const struct stat *st)
{
    mode_t others = st->st_mode & 077;
    if (!others || (others == 040 && st->st_uid == 0)) {
        return NULL;
    }
    return mem_printf("is a key that others may %s (mode %04o): chmod 600 %s",
                      others & 044 ? "read" : "change", st->st_mode & 07777, path);
}

static int read_all(int fd, struct buf *to)
{
    char *bytes = mem_new(LIMIT_CERTIFICATE_BYTES + 1);
    size_t len = 0;
    ssize_t got = 1;
    while (got && len <= LIMIT_CERTIFICATE_BYTES) {
        got = read(fd, bytes + len, LIMIT_CERTIFICATE_BYTES + 1 - len);
        if (got < 0 && errno != EINTR) {
            break;
        }
        len += got > 0 ? (size_t)got : 0;
        got = got < 0 ? 1 : got;
    }
    int rc = got < 0 ? -errno : len > LIMIT_CERTIFICATE_BYTES ? -EFBIG : buf_append(to, bytes, len);
    mem_wipe(bytes, LIMIT_CERTIFICATE_BYTES + 1);
    mem_free(bytes);
    return rc;
}

static char *unreadable(int rc)
{
    if (rc == -ENOENT || rc == -ENOTDIR) {
        return mem_copy("is not there: no such file");
    } else if (rc == -EACCES || rc == -EPERM) {
        return mem_printf(
            "cannot be read by the user that tidegate runs as (uid %u): permission denied",
            (unsigned)geteuid());
    } else if (rc == -EFBIG) {
        return mem_printf("is larger than %d bytes: is it the right file?",
                          LIMIT_CERTIFICATE_BYTES);
    } else if (rc == -EISDIR) {
        return mem_copy("is no file: write folder = \"...\" for all certificates in a folder");
    }
    return mem_printf("cannot be read: %s", err_text(rc));
}

int certificates_read(const char *path, bool secret, struct buf *ret_bytes, char **reterr)
{
    struct stat st;
    char *why = NULL;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        rc = -errno;
    } else if (!S_ISREG(st.st_mode)) {
        rc = -EISDIR;
    } else if (secret && (why = too_open(path, &st)) != NULL) {
        rc = -EPERM;
    } else {
        rc = read_all(fd, ret_bytes);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (rc) {
        *reterr = why ? why : unreadable(rc);
    }
    return rc;
}
