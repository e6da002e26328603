/* child.c: see child.h.
 *
 * Owns: process handle, channel, and the timer behind a dismissal. A child whose channel breaks, or
 * that was dismissed and does not exit, is killed, so on_exited always comes. */
#include "app/child.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    ARGS_MAX = 16,
    DISMISS_MS = 3000 /* from a dismissal to SIGKILL: it may be hanging */
};

/* The timer's, closed second. */
static void on_timer_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void on_process_closed(uv_handle_t *handle)
{
    struct child *c = handle->data;
    uv_close((uv_handle_t *)&c->dismissal, on_timer_closed);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct child *c = process->data;
    c->exited = true;
    ipc_close(c->channel);
    c->channel = NULL;
    c->on_exited(c->arg, c, (int)status, signal);
    uv_close((uv_handle_t *)process, on_process_closed);
}

static void on_channel_closed(void *arg, int error)
{
    struct child *c = arg;
    (void)error; /* the exit that follows says more */
    ipc_close(c->channel);
    c->channel = NULL;
    if (!c->closing) {
        child_kill(c);
    }
}

static void on_channel_message(void *arg, const struct ipc_message *m)
{
    struct child *c = arg;
    if (m->type == IPC_READY) {
        c->ready = true;
    }
    c->on_message(c, m);
}

static int spawn(struct child *c, const struct child_options *o, int channel_fd)
{
    char *argv[ARGS_MAX] = {(char *)"tidegate"}; /* uv_spawn does not write there */
    int argc = 1;
    for (int i = 0; o->args[i] && argc < ARGS_MAX - 1; i++) {
        argv[argc++] = (char *)o->args[i];
    }
    uv_stdio_container_t stdio[5] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = channel_fd},
        {.flags = UV_INHERIT_FD, .data.fd = o->board_fd},
    };
    uv_process_options_t options = {
        .file = "/proc/self/exe",
        .args = argv,
        .stdio = stdio,
        .stdio_count = o->board_fd >= 0 ? 5 : 4,
        .exit_cb = on_exit_status,
    };
    return uv_spawn(o->loop, &c->process, &options);
}

int child_spawn(const struct child_options *o, struct child **ret_child)
{
    int fds[2];
    int rc = ipc_pair(fds);
    if (rc) {
        return rc;
    }
    struct child *c = mem_new(sizeof *c);
    c->arg = o->arg;
    c->on_message = o->on_message;
    c->on_exited = o->on_exited;
    c->index = o->index;
    c->process.data = c;
    uv_timer_init(o->loop, &c->dismissal);
    c->dismissal.data = c;
    rc = spawn(c, o, fds[1]);
    close(fds[1]);
    if (rc) {
        close(fds[0]);
        uv_close((uv_handle_t *)&c->process, on_process_closed);
        return rc;
    }
    rc = ipc_open(o->loop, fds[0], on_channel_message, on_channel_closed, c, &c->channel);
    if (rc) {
        close(fds[0]);
        child_kill(c); /* on_exited will come; the caller sees a child that dies at once */
    }
    *ret_child = c;
    return 0;
}

void child_send(struct child *c, enum ipc_type type, uint32_t generation, const char *text)
{
    if (c->channel) {
        (void)ipc_send_text(c->channel, type, generation,
                            text); /* a broken channel is told by its callback */
    }
}

void child_kill(struct child *c)
{
    if (c && !c->exited) {
        uv_process_kill(&c->process, SIGKILL);
    }
}

void child_expect_end(struct child *c)
{
    c->closing = true;
}

static void on_overdue(uv_timer_t *timer)
{
    child_kill(timer->data);
}

void child_dismiss(struct child *c)
{
    if (c && !c->closing) {
        c->closing = true;
        ipc_close(c->channel);
        c->channel = NULL;
        uv_timer_start(&c->dismissal, on_overdue, DISMISS_MS, 0);
    }
}
