/* channel_secret.c: reading secrets for one try, and keeping them out of what is told on. */
#include "watch/channel_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    PART_BYTES = 8 /* parts of addresses that are shorter are no secrets, but words */
};

/* Bytes of a small file; -errno. */
static ssize_t read_file(const char *path, char *to, size_t room)
{
    struct stat st;
    ssize_t got = -EINVAL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    /* Not a pipe or a device, which the loop would wait for. */
    if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
        got = read(fd, to, room);
        got = got < 0 ? -errno : got;
    }
    close(fd);
    return got;
}

static char *from_file(struct notice *n, const char *path)
{
    char bytes[CHANNEL_SECRET_BYTES];
    ssize_t got = read_file(path, bytes, sizeof bytes);
    while (got > 0 && strchr("\r\n", bytes[got - 1])) {
        got--;
    }
    char *text = NULL;
    if (got < 0) {
        n->error =
            mem_printf("the file %s of a secret cannot be read: %s", path, err_text((int)got));
    } else if (!got || got == sizeof bytes) {
        n->error = mem_printf("the file %s of a secret is %s", path, got ? "too long" : "empty");
    } else {
        text = mem_copy_bytes(bytes, (size_t)got);
    }
    explicit_bzero(bytes, sizeof bytes);
    return text;
}

static char *from_environment(struct notice *n, const char *name)
{
    const char *value = getenv(name);
    if (!value || !*value) {
        n->error = mem_printf("the variable %s is not set in the environment that tidegate was "
                              "started with",
                              name);
        return NULL;
    }
    return mem_copy(value);
}

/* In a header field or a command of SMTP a line break would begin another one. */
static bool is_one_line(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

static const char *keep(struct notice *n, char *takes_text)
{
    n->secrets = mem_resize(n->secrets, (n->secret_count + 1) * sizeof *n->secrets);
    n->secrets[n->secret_count++] = takes_text;
    return takes_text;
}

const char *notice_secret(struct notice *n, const struct cJSON *secret)
{
    const char *env = json_str(secret, "env", NULL), *file = json_str(secret, "file", NULL);
    const char *text = json_str(secret, "text", NULL);
    if (n->error) {
        return NULL;
    }
    char *found = env ? from_environment(n, env) : file ? from_file(n, file) : mem_copy(text);
    if (!found) {
        n->error = n->error ? n->error : mem_copy("a secret is missing in the configuration");
        return NULL;
    }
    keep(n, found);
    if (!is_one_line(found)) {
        n->error =
            mem_printf("the secret in %s has control characters", env    ? env
                                                                  : file ? file
                                                                         : "the configuration");
        return NULL;
    }
    return found;
}

const char *notice_field(struct notice *n, const struct cJSON *header)
{
    const char *value = notice_secret(n, header);
    return value ? keep(n, mem_printf("%s: %s", json_name(header), value)) : NULL;
}

/* ---- What is told on ------------------------------------------------------------------------- */

/* Puts "***" in the place of each `what`, ignoring none. */
static void mask(struct buf *b, const char *what, size_t len)
{
    const char *found;
    if (!len || !b->len || !memmem(b->data, b->len, what, len)) {
        return;
    }
    struct buf out;
    buf_init(&out, b->limit * 4);
    size_t at = 0;
    while ((found = memmem(b->data + at, b->len - at, what, len))) {
        (void)buf_append(&out, b->data + at, (size_t)(found - b->data) - at);
        (void)buf_text(&out, "***");
        at = (size_t)(found - b->data) + len;
    }
    (void)buf_append(&out, b->data + at, b->len - at);
    buf_clear(b);
    (void)buf_append(b, out.data, out.len < b->limit ? out.len : b->limit);
    buf_free(&out);
}

/* What an address has beside its host, whole and in parts. */
static void mask_address(struct buf *b, const char *url)
{
    const char *host = strstr(url, "://");
    if (!host) {
        return;
    }
    host += 3;
    const char *at = strchr(host, '@'), *path = strpbrk(host, "/?#");
    if (at && (!path || at < path)) {
        mask(b, host, (size_t)(at - host));
        const char *colon = memchr(host, ':', (size_t)(at - host));
        if (colon) {
            mask(b, colon + 1, (size_t)(at - colon - 1));
        }
    }
    if (!path || strlen(path) < 2) {
        return;
    }
    mask(b, path, strlen(path));
    for (const char *part = path; *part;) {
        size_t len = strcspn(part, "/?#&=");
        if (len >= PART_BYTES) {
            mask(b, part, len);
        }
        part += len + (part[len] != 0);
    }
}

/* The value alone of "Authorization: Bearer value". */
static void mask_words(struct buf *b, const char *text)
{
    struct str rest = str_of(text), word;
    while (str_next(&rest, ' ', &word)) {
        if (word.len >= PART_BYTES) {
            mask(b, word.ptr, word.len);
        }
    }
}

char *notice_clean(const struct notice *n, const char *text, size_t len)
{
    struct buf b;
    buf_init(&b, CHANNEL_ANSWER_BYTES);
    (void)buf_append(&b, text, len < CHANNEL_ANSWER_BYTES ? len : CHANNEL_ANSWER_BYTES);
    for (size_t i = 0; i < n->secret_count; i++) {
        mask(&b, n->secrets[i], strlen(n->secrets[i]));
        mask_address(&b, n->secrets[i]);
        mask_words(&b, n->secrets[i]);
    }
    struct buf line;
    buf_init(&line, CHANNEL_SAID_BYTES + 4);
    bool blank = false;
    for (size_t i = 0; i < b.len && line.len < CHANNEL_SAID_BYTES; i++) {
        unsigned char c = (unsigned char)b.data[i];
        bool is_blank = c <= ' ' || c == 0x7f;
        if (!is_blank) {
            (void)buf_text(&line, blank && line.len ? " " : "");
            char shown = c < 0x80 ? (char)c : '?'; /* whatever it was encoded in */
            (void)buf_append(&line, &shown, 1);
        }
        blank = is_blank;
    }
    (void)buf_text(&line, line.len >= CHANNEL_SAID_BYTES ? "..." : "");
    buf_free(&b);
    char *out = line.len ? buf_take(&line) : mem_copy("");
    buf_free(&line);
    return out;
}
