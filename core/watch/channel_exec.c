/* channel_exec.c: a program that is told something on its standard input.
 *
 * Owns: the process with its group, its pipes and its deadline, from exec_start to the last close callback.
 * Invariants: its owner is called back when the process has ended, not when whoever inherited its output has;
 * what it started and left in its group is killed with it when it is late or abandoned.
 * Does not: use a shell. */
#include "watch/channel_private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    SAID_BYTES = 4096 /* the end of what it prints */
};

struct exec {
    uv_process_t process;
    uv_pipe_t input, output;
    uv_timer_t deadline;
    uv_write_t write;
    char *text;
    char said[SAID_BYTES];
    size_t said_len;
    char chunk[SAID_BYTES];
    bool timed_out;
    unsigned open;      /* handles */
    exec_done_fn *done; /* NULL: abandoned */
    void *arg;
};

static void on_closed(uv_handle_t *handle)
{
    struct exec *e = handle->data;
    if (--e->open == 0) {
        mem_free(e->text);
        mem_free(e);
    }
}

static void close_one(void *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, on_closed);
    }
}

static void close_all(struct exec *e)
{
    close_one(&e->process);
    close_one(&e->input);
    close_one(&e->output);
    close_one(&e->deadline);
}

static void kill_group(const struct exec *e)
{
    if (e->process.pid > 1) {
        kill(-e->process.pid, SIGKILL);
    }
}

/* Keeps the end of it. */
static void take(struct exec *e, const char *bytes, size_t len)
{
    if (len > SAID_BYTES) {
        bytes += len - SAID_BYTES;
        len = SAID_BYTES;
    }
    size_t spare = SAID_BYTES - e->said_len;
    if (len > spare) {
        size_t keep = SAID_BYTES - len;
        memmove(e->said, e->said + e->said_len - keep, keep);
        e->said_len = keep;
    }
    memcpy(e->said + e->said_len, bytes, len);
    e->said_len += len;
}

static void on_exit(uv_process_t *process, int64_t code, int signal)
{
    struct exec *e = process->data;
    uv_os_fd_t fd;
    /* What it wrote last may not have been read yet. */
    if (!uv_is_closing((uv_handle_t *)&e->output) && !uv_fileno((uv_handle_t *)&e->output, &fd)) {
        ssize_t got;
        uv_read_stop((uv_stream_t *)&e->output);
        while ((got = recv(fd, e->chunk, sizeof e->chunk, MSG_DONTWAIT)) > 0) {
            take(e, e->chunk, (size_t)got);
        }
    }
    if (e->timed_out || !e->done) {
        kill_group(e);
    }
    if (e->done) {
        e->done(e->arg, (int)code, signal, e->timed_out, e->said, e->said_len);
    }
    e->done = NULL;
    close_all(e);
}

static void on_deadline(uv_timer_t *timer)
{
    struct exec *e = timer->data;
    e->timed_out = true;
    kill_group(e);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *to)
{
    struct exec *e = handle->data;
    (void)suggested;
    *to = uv_buf_init(e->chunk, sizeof e->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    if (got > 0) {
        take(stream->data, buf->base, (size_t)got);
    } else if (got < 0) {
        close_one(stream);
    }
}

/* One that does not read its input is none the worse. */
static void on_written(uv_write_t *write, int status)
{
    (void)status;
    close_one(write->handle);
}

/* One socket for what it prints and what it complains about: the other end for the program. -errno. */
static int open_output(struct exec *e, uv_file *ret_other)
{
    uv_os_sock_t pair[2];
    int rc = uv_socketpair(SOCK_STREAM, 0, pair, UV_NONBLOCK_PIPE, 0);
    if (rc) {
        return rc;
    }
    rc = uv_pipe_open(&e->output, pair[0]);
    if (rc) {
        close(pair[0]);
        close(pair[1]);
        return rc;
    }
    *ret_other = pair[1];
    return 0;
}

static struct exec *exec_new(struct uv_loop_s *loop, const char *input)
{
    struct exec *e = mem_new(sizeof *e);
    e->open = 4;
    e->text = mem_copy(input);
    uv_pipe_init(loop, &e->input, 0);
    uv_pipe_init(loop, &e->output, 0);
    uv_timer_init(loop, &e->deadline);
    e->process.data = e->input.data = e->output.data = e->deadline.data = e;
    e->write.data = e;
    return e;
}

int exec_start(struct uv_loop_s *loop, char **argv, char **env, const char *input,
               uint64_t timeout_ms, exec_done_fn *done, void *arg, struct exec **ret_exec)
{
    struct exec *e = exec_new(loop, input);
    uv_file other = -1;
    int rc = open_output(e, &other);
    uv_stdio_container_t stdio[3] = {
        {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE),
         .data.stream = (uv_stream_t *)&e->input},
        {.flags = UV_INHERIT_FD, .data.fd = other},
        {.flags = UV_INHERIT_FD, .data.fd = other},
    };
    uv_process_options_t options = {
        .exit_cb = on_exit,
        .file = argv[0],
        .args = argv,
        .env = env,
        .flags = UV_PROCESS_DETACHED, /* a group of its own */
        .stdio_count = 3,
        .stdio = stdio,
    };
    if (rc) {
        e->open = 3; /* the process was never a handle */
    } else {
        rc = uv_spawn(loop, &e->process, &options);
        e->process.data = e;
        close(other);
    }
    if (rc) {
        if (e->open == 4) {
            close_one(&e->process);
        }
        close_one(&e->input);
        close_one(&e->output);
        close_one(&e->deadline);
        return rc;
    }
    e->done = done;
    e->arg = arg;
    uv_buf_t bytes = uv_buf_init(e->text, (unsigned)strlen(e->text));
    if (uv_write(&e->write, (uv_stream_t *)&e->input, &bytes, 1, on_written)) {
        close_one(&e->input);
    }
    uv_read_start((uv_stream_t *)&e->output, on_alloc, on_read);
    uv_timer_start(&e->deadline, on_deadline, timeout_ms, 0);
    *ret_exec = e;
    return 0;
}

void exec_abandon(struct exec *e)
{
    e->done = NULL;
    kill_group(e);
}
