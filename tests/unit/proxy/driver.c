/* driver.c: a proxy in a child process, told what to do over a socket pair.
 *
 * The parent shares the board with the child, so a spec reads the numbers as the master would; the
 * board has a second worker, whose part the spec may play.
 * Commands are lines "verb rest"; the child answers each with one line. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "net/net.h"
#include "proxy/link.h"
#include "proxy/proxy.h"
#include "unit/proxy/carrier_driver.h"

enum {
    LINE_BYTES = 1 << 20,
    REPLY_BYTES = 1 << 16
};

struct proxydriver {
    struct board *board;
    pid_t pid;
    int fd;
    char reply[REPLY_BYTES];
};

struct child {
    struct proxy *proxy;
    uv_loop_t loop;
    uv_poll_t poll;
    int fd;
    struct buf in;
    unsigned facts;
    char fact[256];
    unsigned faults;
    char fault[1024];
    char news[2048]; /* of services since they were asked for */
};

struct proxydriver *proxydriver_start(unsigned files);
const char *proxydriver_tell(struct proxydriver *d, const char *line);
int proxydriver_end(struct proxydriver *d);
struct board *proxydriver_board(struct proxydriver *d);

static void on_fact(void *arg, const char *kind, const char *service, const char *backend,
                    const char *text)
{
    struct child *c = arg;
    if (service[0]) {
        size_t len = strlen(c->news);
        snprintf(c->news + len, sizeof c->news - len, "%s %s%s%s %s; ", kind, service,
                 backend[0] ? "/" : "", backend, text);
        return;
    }
    c->facts++;
    snprintf(c->fact, sizeof c->fact, "%s: %s", kind, text);
}

static void on_fault(void *arg, const struct proxy_fault *f)
{
    struct child *c = arg;
    c->faults++;
    snprintf(c->fault, sizeof c->fault, "%s of %s %u by %s: %s; %s; %llu of %llu", f->point,
             f->service, f->place, f->policy, f->error, f->input, (unsigned long long)f->errors,
             (unsigned long long)f->calls);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* listen ADDRESS: opens it too; answers with the port. */
static int do_listen(struct child *c, const char *rest, char *reply, size_t size)
{
    struct net_addr addr;
    int fd = -1;
    int rc = net_addr_parse("127.0.0.1:0", &addr);
    rc = rc ? rc : net_listen(&addr, true, &fd);
    if (!rc) {
        struct sockaddr_storage bound;
        socklen_t len = sizeof bound;
        unsigned char *bytes = (unsigned char *)&bound;
        getsockname(fd, (struct sockaddr *)&bound, &len);
        snprintf(reply, size, "%d", bytes[2] << 8 | bytes[3]);
        rc = proxy_listen(c->proxy, rest, fd);
    }
    return rc;
}

static int do_json(struct child *c, const char *verb, const char *rest, char *reply, size_t size)
{
    struct cJSON *json = json_parse(rest, strlen(rest));
    char *error = NULL;
    int rc = str_same(verb, "roster") ? proxy_roster(c->proxy, json)
             : str_same(verb, "certificates")
                 ? proxy_certificates(c->proxy, json, json_bool(json, "prepares", false), &error)
                 : proxy_prepare(c->proxy, 1, json, &error);
    if (rc) {
        snprintf(reply, size, "error %s", error ? error : err_text(rc));
    }
    mem_free(error);
    json_free(json);
    return 0;
}

static void obey(struct child *c, char *line)
{
    char reply[REPLY_BYTES] = "ok"; /* every reply below is shorter or cut */
    char *rest = strchr(line, ' ');
    rest = rest ? (*rest = '\0', rest + 1) : line + strlen(line);
    int rc = 0;
    if (str_same(line, "listen")) {
        rc = do_listen(c, rest, reply, sizeof reply);
    } else if (str_same(line, "roster") || str_same(line, "prepare") ||
               str_same(line, "certificates")) {
        rc = do_json(c, line, rest, reply, sizeof reply);
    } else if (str_same(line, "commit")) {
        rc = proxy_commit(c->proxy);
    } else if (str_same(line, "abort")) {
        proxy_abort(c->proxy);
    } else if (str_same(line, "drain")) {
        char *more;
        uint32_t deadline_ms = (uint32_t)strtoul(rest, &more, 10);
        proxy_drain(c->proxy, deadline_ms, (uint32_t)strtoul(more, NULL, 10));
    } else if (str_same(line, "fact")) {
        snprintf(reply, sizeof reply, "%u %s", c->facts, c->fact);
    } else if (str_same(line, "fault")) {
        snprintf(reply, sizeof reply, "%u %s", c->faults, c->fault);
    } else if (str_same(line, "quarantine")) {
        char *more;
        uint32_t generation = (uint32_t)strtoul(rest, &more, 10);
        proxy_quarantine(c->proxy, generation, more + strspn(more, " "), "shop", 1);
    } else if (str_same(line, "challenges")) {
        struct cJSON *json = json_parse(rest, strlen(rest));
        proxy_challenges(c->proxy, json);
        json_free(json);
    } else if (str_same(line, "news")) {
        snprintf(reply, sizeof reply, "%s", c->news);
        c->news[0] = '\0';
    } else if (str_same(line, "past")) {
        struct cJSON *json = proxy_past(c->proxy, rest);
        char *text = json_text(json);
        snprintf(reply, sizeof reply, "%s", text);
        mem_free(text);
        json_free(json);
    } else if (str_same(line, "trace")) { /* AFTER [SERVICE [ROUTE]], "-" for none */
        char *service;
        double after = strtod(rest, &service);
        service += *service == ' ';
        char *route = strchr(service, ' ');
        if (route) {
            *route++ = '\0';
        }
        struct cJSON *json =
            proxy_trace(c->proxy, after, *service && *service != '-' ? service : NULL, route);
        char *text = json_text(json);
        snprintf(reply, sizeof reply, "%s", text);
        mem_free(text);
        json_free(json);
    } else if (str_same(line, "files")) {
        snprintf(reply, sizeof reply, "%d", open_descriptors());
    } else if (str_same(line, "reopen")) {
        proxy_reopen(c->proxy);
    } else if (str_same(line, "patience")) { /* SILENCE_MS PONG_MS, of links to backends */
        char *more;
        uint32_t silence_ms = (uint32_t)strtoul(rest, &more, 10);
        proxy_links_patience(c->proxy, silence_ms, (uint32_t)strtoul(more, NULL, 10));
    } else if (str_same(line, "stop")) {
        proxy_stop(c->proxy);
    } else if (!carrierdriver_obey(c->proxy, line, rest, reply, sizeof reply)) {
        rc = -EINVAL;
    }
    if (rc) {
        snprintf(reply, sizeof reply, "error %s", err_text(rc));
    }
    size_t len = strlen(reply);
    reply[len < sizeof reply - 1 ? len : sizeof reply - 2] = '\n';
    if (write(c->fd, reply, len + 1) < 0) {
        proxy_stop(c->proxy);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct child *c = poll->data;
    char bytes[65536];
    (void)events;
    ssize_t n = status ? -1 : read(c->fd, bytes, sizeof bytes);
    if (n <= 0) {
        uv_poll_stop(poll);
        proxy_stop(c->proxy);
        return;
    }
    (void)buf_append(&c->in, bytes, (size_t)n);
    char *end;
    while (c->in.len && (end = memchr(c->in.data, '\n', c->in.len))) {
        *end = '\0';
        size_t used = (size_t)(end - c->in.data) + 1;
        obey(c, c->in.data);
        buf_consume(&c->in, used);
    }
}

static int run_child(struct board *board, int fd, unsigned files)
{
    struct child c = {.fd = fd};
    buf_init(&c.in, LINE_BYTES);
    if (files) {
        struct rlimit limit = {files, files};
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    uv_loop_init(&c.loop);
    struct proxy_options options = {.loop = &c.loop, .board = board, .worker = 0};
    if (proxy_new(&options, &c.proxy)) {
        return 3;
    }
    proxy_on_fact(c.proxy, on_fact, &c);
    proxy_on_fault(c.proxy, on_fault, &c);
    uv_poll_init(&c.loop, &c.poll, fd);
    c.poll.data = &c;
    uv_poll_start(&c.poll, UV_READABLE, on_readable);
    proxy_run(c.proxy);
    proxy_free(c.proxy);
    uv_close((uv_handle_t *)&c.poll, NULL);
    uv_run(&c.loop, UV_RUN_DEFAULT);
    buf_free(&c.in);
    return uv_loop_close(&c.loop) ? 4 : 0;
}

/* `files` limits the child's descriptors; 0 = as they are. */
struct proxydriver *proxydriver_start(unsigned files)
{
    struct proxydriver *d = mem_new(sizeof *d);
    int pair[2];
    if (board_new(2, &d->board) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        mem_free(d);
        return NULL;
    }
    d->pid = fork();
    if (!d->pid) {
        for (int fd = 3; fd < 512; fd++) {
            if (fd != pair[1] && fd != board_fd(d->board)) {
                close(fd);
            }
        }
        int rc = run_child(d->board, pair[1], files);
        board_free(d->board);
        mem_free(d);
#if defined(__SANITIZE_ADDRESS__)
        exit(rc); /* looks for leaks */
#else
        _exit(rc);
#endif
    }
    close(pair[1]);
    d->fd = pair[0];
    struct timeval patience = {.tv_sec = 10};
    setsockopt(d->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return d;
}

/* Sends a command and waits for its answer; lends the line. */
const char *proxydriver_tell(struct proxydriver *d, const char *line)
{
    size_t len = strlen(line), at = 0;
    if (send(d->fd, line, len, MSG_NOSIGNAL) != (ssize_t)len ||
        send(d->fd, "\n", 1, MSG_NOSIGNAL) != 1) {
        return "error gone";
    }
    while (at < sizeof d->reply - 1 && read(d->fd, d->reply + at, 1) == 1) {
        if (d->reply[at] == '\n') {
            d->reply[at] = '\0';
            return d->reply;
        }
        at++;
    }
    return "error no reply";
}

struct board *proxydriver_board(struct proxydriver *d)
{
    return d->board;
}

/* Ends the child and frees `d`; its exit status, or 1000 + the signal that killed it. */
int proxydriver_end(struct proxydriver *d)
{
    int status = 0;
    close(d->fd);
    waitpid(d->pid, &status, 0);
    board_free(d->board);
    mem_free(d);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
