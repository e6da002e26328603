/* driver.c: a child process that runs the admin room on a loop of its own, and raw clients for it.
 *
 * Its commands: echo (answers at once with who and what), hold (answers when "release" comes),
 * later (answers after 50 ms), big (answers with {"text": "bytes" x's}). Pages: /page, /huge, /fields (what came), /later (after
 * 50 ms), /never. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "admin/admin.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    MOST_HELD = 64
};

int admintest_start(const char *socket_path, const char *http, uint32_t timeout_ms, char *ret_error,
                    size_t error_size);
int admintest_stop(int pid);
int admintest_connect(const char *address);
int admintest_send(int fd, const char *bytes, size_t len);
int admintest_shut(int fd);
int admintest_receive(int fd, char *to, size_t size, uint32_t timeout_ms);
int admintest_ask(const char *path, const char *json, uint32_t timeout_ms, char *to, size_t size);
int admintest_ask_as(uint32_t uid, const char *path, const char *json, char *to, size_t size);
int admintest_silent(const char *path);
bool admintest_hung_up(int fd, uint32_t timeout_ms);

struct child {
    uv_loop_t loop;
    uv_signal_t term;
    uv_timer_t later;
    struct admin *admin;
    struct admin_request *held[MOST_HELD];
    unsigned held_count;
    struct admin_request *late, *late_page, *held_page;
};

static struct cJSON *fine(void)
{
    struct cJSON *answer = json_object();
    json_set_bool(answer, "ok", true);
    return answer;
}

static void on_later(uv_timer_t *timer)
{
    struct child *c = timer->data;
    if (c->late_page) {
        admin_answer_page(c->late_page, 200, "text/plain", "", mem_copy("late\n"), 5);
        c->late_page = NULL;
        return;
    }
    admin_answer(c->late, fine());
}

static void on_command(void *arg, struct admin_request *request, const char *command,
                       const struct cJSON *args)
{
    struct child *c = arg;
    if (!strcmp(command, "hold")) {
        c->held[c->held_count++] = request;
        return;
    }
    if (!strcmp(command, "later")) {
        c->late = request;
        uv_timer_start(&c->later, on_later, 50, 0);
        return;
    }
    struct cJSON *answer = fine();
    if (!strcmp(command, "release")) {
        for (unsigned i = 0; i < c->held_count; i++) {
            admin_answer(c->held[i], fine());
        }
        json_set_num(answer, "released", c->held_count);
        c->held_count = 0;
    } else if (!strcmp(command, "held")) {
        json_set_num(answer, "held", c->held_count);
    } else if (!strcmp(command, "big")) {
        size_t len = (size_t)json_int(args, "bytes", 0);
        char *text = mem_new(len + 1);
        memset(text, 'x', len);
        json_set_str(answer, "text", text);
        mem_free(text);
    } else {
        json_set_str(answer, "who", admin_who(request));
        json_set(answer, "got", json_copy(args));
    }
    admin_answer(request, answer);
}

static void on_page(void *arg, struct admin_request *request, const char *path)
{
    struct child *c = arg;
    if (!strcmp(path, "/page")) {
        admin_answer_page(request, 200, "text/html", "", mem_copy("hello\n"), 6);
    } else if (!strcmp(path, "/huge")) {
        struct buf body;
        buf_init(&body, 1 << 22);
        for (int i = 0; i < 1 << 16; i++) {
            (void)buf_text(&body, "0123456789abcdef0123456789abcde\n");
        }
        size_t len = body.len;
        admin_answer_page(request, 200, "text/plain", "", buf_take(&body), len);
    } else if (!strcmp(path, "/fields")) {
        char *text = mem_printf("%s|%s|%s", admin_field(request, "accept"),
                                admin_field(request, "x-twice"), admin_field(request, "x-none"));
        admin_answer_page(request, 200, "text/plain", "identity", text, strlen(text));
    } else if (!strcmp(path, "/later")) {
        c->late_page = request;
        uv_timer_start(&c->later, on_later, 50, 0);
    } else if (!strcmp(path, "/never")) {
        c->held_page = request;
    } else {
        admin_answer_page(request, 404, "", "", NULL, 0);
    }
}

static void on_term(uv_signal_t *signal, int number)
{
    (void)number;
    struct child *c = signal->data;
    admin_close(c->admin);
    uv_close((uv_handle_t *)&c->term, NULL);
    uv_close((uv_handle_t *)&c->later, NULL);
}

/* Tells over `ready` "" or the error, runs till SIGTERM; its exit code says whether all was closed.
 */
static int child_run(int ready, const char *socket_path, const char *http, uint32_t timeout_ms)
{
    static struct child c; /* the process ends before it would be freed */
    char *error = NULL;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    uv_loop_init(&c.loop);
    uv_signal_init(&c.loop, &c.term);
    uv_timer_init(&c.loop, &c.later);
    c.term.data = c.later.data = &c;
    uv_signal_start(&c.term, on_term, SIGTERM);
    const struct admin_options options = {
        .loop = &c.loop,
        .socket_path = socket_path,
        .http_address = http,
        .on_command = on_command,
        .on_page = on_page,
        .arg = &c,
        .timeout_ms = timeout_ms,
    };
    if (admin_open(&options, &c.admin, &error)) {
        (void)!write(ready, error, strlen(error));
        close(ready);
        mem_free(error);
        uv_close((uv_handle_t *)&c.term, NULL);
        uv_close((uv_handle_t *)&c.later, NULL);
        uv_run(&c.loop, UV_RUN_DEFAULT);
        return uv_loop_close(&c.loop) ? 2 : 1;
    }
    close(ready);
    uv_run(&c.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&c.loop) ? 2 : 0;
}

/* The child's pid once it listens; 0 with a sentence when it cannot. */
int admintest_start(const char *socket_path, const char *http, uint32_t timeout_ms, char *ret_error,
                    size_t error_size)
{
    int ready[2];
    if (pipe(ready)) {
        return -errno;
    }
    pid_t pid = fork();
    if (!pid) {
        close(ready[0]);
        _exit(child_run(ready[1], socket_path, http, timeout_ms));
    }
    close(ready[1]);
    ssize_t len = read(ready[0], ret_error, error_size - 1);
    close(ready[0]);
    ret_error[len > 0 ? len : 0] = '\0';
    if (len > 0) {
        int status;
        (void)waitpid(pid, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? 0 : -1;
    }
    return pid;
}

/* Exit code of the child, 0 when every handle was closed; 128 + signal. */
int admintest_stop(int pid)
{
    int status;
    kill(pid, SIGTERM);
    if (waitpid(pid, &status, 0) < 0) {
        return -errno;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* "/path" of a unix socket or "127.0.0.1:80". */
int admintest_connect(const char *address)
{
    struct net_addr addr;
    char *text = *address == '/' ? mem_printf("unix:%s", address) : mem_copy(address);
    int rc = net_addr_parse(text, &addr);
    mem_free(text);
    int fd = rc ? rc : socket(((struct sockaddr *)addr.bytes)->sa_family, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)addr.bytes, addr.len)) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

int admintest_send(int fd, const char *bytes, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0) {
            return -errno;
        }
        sent += (size_t)n;
    }
    return 0;
}

int admintest_shut(int fd)
{
    return shutdown(fd, SHUT_WR) ? -errno : 0;
}

/* Everything until the other side closes; length, or -ETIMEDOUT and the like. */
int admintest_receive(int fd, char *to, size_t size, uint32_t timeout_ms)
{
    uint64_t deadline_ms = clock_now_ms() + timeout_ms;
    size_t len = 0;
    for (;;) {
        uint64_t now_ms = clock_now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now_ms >= deadline_ms || poll(&p, 1, (int)(deadline_ms - now_ms)) <= 0) {
            return -ETIMEDOUT;
        }
        ssize_t n = recv(fd, to + len, size - len, 0);
        if (n < 0) {
            return -errno;
        }
        if (!n || len == size) {
            return (int)len;
        }
        len += (size_t)n;
    }
}

int admintest_ask(const char *path, const char *json, uint32_t timeout_ms, char *to, size_t size)
{
    struct cJSON *request = json_parse(json, strlen(json)), *answer = NULL;
    int rc = admin_ask(path, request, timeout_ms, &answer);
    char *text = rc ? NULL : json_text(answer);
    (void)str_copy(to, size, text ? text : "");
    mem_free(text);
    json_free(answer);
    json_free(request);
    return rc;
}

/* The same in a process of another user. */
int admintest_ask_as(uint32_t uid, const char *path, const char *json, char *to, size_t size)
{
    int out[2], status;
    if (pipe(out)) {
        return -errno;
    }
    pid_t pid = fork();
    if (!pid) {
        int rc = setuid(uid) ? -errno : admintest_ask(path, json, 2000, to, size);
        (void)!write(out[1], to, strlen(to));
        _exit(-rc);
    }
    close(out[1]);
    ssize_t len = read(out[0], to, size - 1);
    to[len > 0 ? len : 0] = '\0';
    close(out[0]);
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* A listener that accepts and never answers; its descriptor. */
int admintest_silent(const char *path)
{
    struct net_addr addr;
    char *text = mem_printf("unix:%s", path);
    int fd = -1, rc = net_addr_parse(text, &addr);
    mem_free(text);
    rc = rc ? rc : net_listen(&addr, false, &fd);
    return rc ? rc : fd;
}

/* Whether the other side closes in time, without reading anything. */
bool admintest_hung_up(int fd, uint32_t timeout_ms)
{
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, (int)timeout_ms) > 0 && (p.revents & POLLHUP);
}
