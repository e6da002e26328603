/* ask.c: the client's side of the control socket: one line out, one line back, with a deadline. */
#include "admin/admin.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

/* Waits for `events`; deadline_ms 0 = for ever. -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        int left_ms = -1;
        if (deadline_ms) {
            uint64_t now_ms = clock_now_ms();
            uint64_t left = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
            left_ms = left > 3600000 ? 3600000 : (int)left;
        }
        struct pollfd p = {.fd = fd, .events = events};
        int rc = poll(&p, 1, left_ms);
        if (rc > 0) {
            return 0;
        }
        if (rc < 0 && errno != EINTR) {
            return -errno;
        }
        if (!rc && deadline_ms && clock_now_ms() >= deadline_ms) {
            return -ETIMEDOUT;
        }
    }
}

/* A unix socket whose listener is busy says EAGAIN and cannot be polled for: try again, gently. */
static int connect_to(int fd, const char *path, uint64_t deadline_ms)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!str_copy(to.sun_path, sizeof to.sun_path, path)) {
        return -ENAMETOOLONG;
    }
    while (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        if (deadline_ms && clock_now_ms() >= deadline_ms) {
            return -ETIMEDOUT;
        }
        (void)poll(NULL, 0, 10);
    }
    return 0;
}

/* A server that refuses early closes while we send (-EPIPE): its answer is there all the same. */
static int send_line(int fd, const char *text, uint64_t deadline_ms)
{
    size_t len = strlen(text), sent = 0;
    while (sent < len) {
        ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            int rc = wait_for(fd, POLLOUT, deadline_ms);
            if (rc) {
                return rc;
            }
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return 0;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int receive_line(int fd, struct buf *line, uint64_t deadline_ms)
{
    char bytes[16384]; /* a step; what is kept is bounded by the buffer */
    for (;;) {
        int rc = wait_for(fd, POLLIN, deadline_ms);
        if (rc) {
            return rc;
        }
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (n <= 0) {
            return -EPROTO; /* closed before the end of a line */
        }
        const char *end = memchr(bytes, '\n', (size_t)n);
        if (buf_append(line, bytes, end ? (size_t)(end - bytes) : (size_t)n)) {
            return -EPROTO;
        }
        if (end) {
            return 0;
        }
    }
}

int admin_ask(const char *socket_path, const struct cJSON *request, uint32_t timeout_ms,
              struct cJSON **ret_answer)
{
    uint64_t deadline_ms = timeout_ms ? clock_now_ms() + timeout_ms : 0;
    struct buf line;
    buf_init(&line, LIMIT_ANSWER_BYTES);
    char *text = json_text(request);
    char *out = mem_printf("%s\n", text);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -errno : connect_to(fd, socket_path, deadline_ms);
    if (!rc) {
        rc = send_line(fd, out, deadline_ms);
    }
    if (!rc) {
        rc = receive_line(fd, &line, deadline_ms);
    }
    if (!rc) {
        struct cJSON *answer = json_parse(buf_str(&line), line.len);
        if (answer) {
            *ret_answer = answer;
        } else {
            rc = -EPROTO;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    buf_free(&line);
    mem_free(text);
    mem_free(out);
    return rc;
}
