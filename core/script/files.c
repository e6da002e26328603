/* files.c: see files.h. */
#include "script/files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/shipped.h"
#include "base/ban.h"

enum {
    READING = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
};

/* "no such file or directory", owned. */
static char *sentence(int code)
{
    char *text = mem_copy(err_text(code));
    text[0] = (char)tolower((unsigned char)text[0]);
    return text;
}

static int resolve(const char *path, char **ret_resolved)
{
    char *resolved = realpath(path, NULL);
    if (!resolved) {
        return -errno;
    }
    *ret_resolved = mem_copy(resolved);
    free(resolved); /* NOLINT: made by libc */
    return 0;
}

int files_open(struct files *f, const char *path, char **reterr)
{
    memset(f, 0, sizeof(*f));
    const char *slash = strrchr(path, '/');
    char *folder = slash ? mem_copy_bytes(path, (size_t)(slash - path) + 1) : mem_copy(".");
    int code = resolve(folder, &f->directory);
    mem_free(folder);
    if (code < 0) {
        char *why = sentence(code);
        *reterr = mem_printf("%s: %s: give the path of a configuration", path, why);
        mem_free(why);
        return code;
    }
    f->main = mem_copy(slash ? slash + 1 : path);
    return 0;
}

void files_close(struct files *f)
{
    for (size_t i = 0; i < f->library_count; i++) {
        mem_free(f->libraries[i].name);
        mem_free(f->libraries[i].origin);
        mem_free(f->libraries[i].source);
    }
    mem_release(&f->libraries);
    mem_release(&f->directory);
    mem_release(&f->main);
    f->library_count = 0;
}

static void count(struct files *f, const char *bytes, size_t len)
{
    f->hash = hash_more(f->hash, &len, sizeof len); /* where one ends counts, too */
    f->hash = hash_more(f->hash, bytes, len);
}

/* Reads at most `limit` bytes and one more, to see that there are more. */
static int read_all(int fd, char *to, size_t limit, size_t *ret_len)
{
    size_t len = 0;
    while (len <= limit) {
        ssize_t n = read(fd, to + len, limit + 1 - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    *ret_len = len;
    return 0;
}

/* Opens for reading, without waiting for the other side of a pipe. -errno. */
static int open_file(const char *path)
{
    int fd = open(path, READING);
    return fd < 0 ? -errno : fd;
}

/* Reads and closes what was opened; `fd` may be -errno. */
static int read_text(struct files *f, int fd, char **ret_text, size_t *ret_len, char **reterr)
{
    struct stat info;
    char *text = NULL;
    size_t len = 0;
    const char *why = NULL;
    int code = 0;
    if (fd < 0 || fstat(fd, &info) < 0) {
        code = fd < 0 ? fd : -errno;
        *reterr = sentence(code);
        goto out;
    }
    code = -EINVAL;
    if (!S_ISREG(info.st_mode)) {
        why = "not a regular file";
        goto out;
    }
    text = mem_new(LIMIT_CONFIG_BYTES + 2);
    int failed = read_all(fd, text, LIMIT_CONFIG_BYTES, &len);
    if (failed < 0) {
        code = failed;
        *reterr = sentence(failed);
    } else if (len > LIMIT_CONFIG_BYTES) {
        why = "larger than 1 MiB: split it and include the parts";
    } else if (len && text[0] == 0x1b) {
        why = "compiled Lua: only text is accepted";
    } else if (memchr(text, 0, len)) {
        why = "contains a NUL byte: only text is accepted";
    } else {
        code = 0;
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    if (code < 0) {
        mem_free(text);
        if (why) {
            *reterr = mem_copy(why);
        }
        return code;
    }
    must(text);
    text[len] = '\0';
    count(f, text, len);
    *ret_text = mem_resize(text, len + 1);
    *ret_len = len;
    return 0;
}

int files_read_main(struct files *f, char **ret_text, size_t *ret_len, char **reterr)
{
    char *path = mem_printf("%s/%s", f->directory, f->main);
    int fd = open_file(path);
    mem_free(path);
    return read_text(f, fd, ret_text, ret_len, reterr);
}

/* Whether the resolved path lies below the directory. */
static bool inside(const struct files *f, const char *resolved)
{
    must(resolved);
    size_t len = strlen(f->directory);
    if (len == 1) {
        return true; /* "/" */
    }
    return !strncmp(resolved, f->directory, len) && resolved[len] == '/';
}

static int resolve_inside(const struct files *f, const char *name, char **ret_path, char **reterr)
{
    char *path = mem_printf("%s/%s", f->directory, name);
    char *resolved = NULL;
    int code = resolve(path, &resolved);
    mem_free(path);
    if (code < 0) {
        *reterr = sentence(code);
        return code;
    }
    if (name[0] == '/' || !inside(f, resolved)) {
        mem_free(resolved);
        *reterr = mem_copy("outside of the configuration's directory");
        return -EACCES;
    }
    *ret_path = resolved;
    return 0;
}

/* Opens what resolve_inside gave. By then somebody may have put a link into the path: the kernel
 * (5.6) follows none here. */
static int open_beneath(const struct files *f, const char *resolved)
{
    int directory = open(f->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return -errno;
    }
    const struct open_how how = {.flags = READING,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    const char *name = resolved + strlen(f->directory);
    name += strspn(name, "/");
    int fd = (int)syscall(SYS_openat2, directory, *name ? name : ".", &how, sizeof(how));
    fd = fd < 0 ? -errno : fd;
    close(directory);
    if (fd == -ENOSYS || fd == -EPERM) { /* an old kernel, or a filter before it */
        fd = open_file(resolved);
    }
    return fd;
}

int files_read(struct files *f, const char *name, char **ret_text, size_t *ret_len, char **reterr)
{
    char *path = NULL;
    int code = resolve_inside(f, name, &path, reterr);
    if (code < 0) {
        return code;
    }
    must(path);
    int fd = open_beneath(f, path);
    mem_free(path);
    return read_text(f, fd, ret_text, ret_len, reterr);
}

const char *files_shipped(struct files *f, const char *name, size_t *ret_len)
{
    const struct shipped_file *file = shipped_find(name);
    if (!file) {
        return NULL;
    }
    count(f, file->source, file->len);
    *ret_len = file->len;
    return file->source;
}

static int is_lua(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && str_ends(str_of(entry->d_name), ".lua");
}

void files_list(struct files *f, const char *folder, void (*each)(void *arg, const char *name),
                void *arg)
{
    char *path = NULL, *why = NULL;
    struct dirent **entries = NULL;
    int n = -1;
    if (resolve_inside(f, folder, &path, &why) == 0 ||
        (str_same(folder, ".") && resolve(f->directory, &path) == 0)) {
        must(path);
        n = scandir(path, &entries, is_lua, alphasort);
    }
    for (int i = 0; i < n; i++) {
        if (i < FILES_LISTED) {
            each(arg, entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    mem_free(path);
    mem_free(why);
}

/* "lib.stats" -> "policies/lib/stats.lua"; NULL when it is no such name. */
static char *library_origin(const char *name)
{
    struct str rest = str_of(name);
    if (!str_starts(rest, "lib.") || rest.len > 200) {
        return NULL;
    }
    for (size_t i = 0; i < rest.len; i++) {
        char c = name[i];
        bool word =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!word && !(c == '.' && i > 0 && name[i - 1] != '.' && i + 1 < rest.len)) {
            return NULL;
        }
    }
    char *origin = mem_printf("policies/%s.lua", name);
    for (char *at = origin + strlen("policies/"); at < origin + strlen("policies/") + rest.len;
         at++) {
        *at = *at == '.' ? '/' : *at;
    }
    return origin;
}

int files_library(struct files *f, const char *name, const struct files_library **ret_library,
                  char **reterr)
{
    for (size_t i = 0; i < f->library_count; i++) {
        if (str_same(f->libraries[i].name, name)) {
            *ret_library = &f->libraries[i];
            return 0;
        }
    }
    char *origin = library_origin(name), *text = NULL, *why = NULL;
    size_t len = 0;
    if (!origin) {
        *reterr = mem_copy("libraries are files below policies/lib, such as \"lib.stats\"");
        return -EINVAL;
    }
    int code = files_read(f, origin, &text, &len, &why);
    if (code == -ENOENT) {
        char *shipped = mem_copy_bytes(origin + strlen("policies/"),
                                       strlen(origin) - strlen("policies/") - strlen(".lua"));
        const char *source = files_shipped(f, shipped, &len);
        if (source) {
            text = mem_copy_bytes(source, len);
            code = 0;
        }
        mem_free(shipped);
    }
    if (code < 0) {
        *reterr = mem_printf("%s: %s", origin, why);
        mem_free(origin);
        mem_free(why);
        return code;
    }
    mem_free(why);
    f->libraries = mem_resize(f->libraries, (f->library_count + 1) * sizeof(*f->libraries));
    f->libraries[f->library_count] = (struct files_library){
        .name = mem_copy(name), .origin = origin, .source = text, .len = len};
    *ret_library = &f->libraries[f->library_count++];
    return 0;
}
