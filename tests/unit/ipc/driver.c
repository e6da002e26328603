/* driver.c: two ipc channels over one pair on one loop, for ipc_spec.lua. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/mem.h"
#include "ipc/ipc.h"

struct ipc_seen {
    unsigned received, fds;
    unsigned long long bytes;
    unsigned generation;
    int type, last_fd_error, closed, close_error;
    char text[256];
};

struct ipc_test {
    uv_loop_t loop;
    struct ipc *a, *b;
    int raw; /* the other end when only one channel stands */
    struct ipc_seen seen;
};

struct ipc_test *ipc_test_new(int raw_end);
void ipc_test_run(struct ipc_test *t, unsigned until_received, int until_closed);
int ipc_test_send(struct ipc_test *t, int type, unsigned generation, const char *data, size_t len,
                  int fd);
void ipc_test_write_raw(struct ipc_test *t, const char *bytes, size_t len);
void ipc_test_close_raw(struct ipc_test *t);
int ipc_test_free(struct ipc_test *t);
const struct ipc_seen *ipc_test_seen(const struct ipc_test *t);

static void on_message(void *arg, const struct ipc_message *m)
{
    struct ipc_test *t = arg;
    t->seen.received++;
    t->seen.bytes += m->len;
    t->seen.generation = m->generation;
    t->seen.type = (int)m->type;
    strncpy(t->seen.text, m->data, sizeof t->seen.text - 1);
    if (m->fd >= 0) {
        t->seen.fds++;
        t->seen.last_fd_error = write(m->fd, "x", 1) == 1 ? 0 : errno;
        close(m->fd);
    }
}

static void on_closed(void *arg, int error)
{
    struct ipc_test *t = arg;
    t->seen.closed++;
    t->seen.close_error = error;
}

struct ipc_test *ipc_test_new(int raw_end)
{
    struct ipc_test *t = mem_new(sizeof *t);
    int fds[2];
    uv_loop_init(&t->loop);
    if (ipc_pair(fds) || ipc_open(&t->loop, fds[0], on_message, on_closed, t, &t->a)) {
        return NULL;
    }
    t->raw = raw_end ? fds[1] : -1;
    if (!raw_end && ipc_open(&t->loop, fds[1], on_message, on_closed, t, &t->b)) {
        return NULL;
    }
    return t;
}

void ipc_test_run(struct ipc_test *t, unsigned until_received, int until_closed)
{
    while (t->seen.received < until_received || t->seen.closed < until_closed) {
        uv_run(&t->loop, UV_RUN_ONCE);
    }
}

int ipc_test_send(struct ipc_test *t, int type, unsigned generation, const char *data, size_t len,
                  int fd)
{
    return ipc_send(t->b, (enum ipc_type)type, generation, data, len, fd);
}

void ipc_test_write_raw(struct ipc_test *t, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(t->raw, bytes, len);
        if (n < 0) {
            uv_run(&t->loop, UV_RUN_NOWAIT);
            continue;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

void ipc_test_close_raw(struct ipc_test *t)
{
    close(t->raw);
}

int ipc_test_free(struct ipc_test *t)
{
    ipc_close(t->a);
    ipc_close(t->b);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&t->loop);
    mem_free(t);
    return rc;
}

const struct ipc_seen *ipc_test_seen(const struct ipc_test *t)
{
    return &t->seen;
}
