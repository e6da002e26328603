/* admin.c: see admin.h: opening and closing of both sides. */
#include "admin/admin.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/internal.h"
#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    BACKLOG = 128
};

/* What stands at the socket's path: a daemon that answers is left alone, a stale socket is removed.
 */
static int clear_path(const struct sockaddr_un *at, char **reterr)
{
    struct stat st;
    if (lstat(at->sun_path, &st)) {
        return 0;
    }
    if (!S_ISSOCK(st.st_mode)) {
        *reterr = mem_printf("%s is in the way and is no socket: remove it", at->sun_path);
        return -EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive =
        fd >= 0 && (!connect(fd, (const struct sockaddr *)at, sizeof *at) || errno == EAGAIN);
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    if (alive) {
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
        *reterr = mem_printf(
            "another daemon, pid %u, listens on %s: stop it or choose another cluster id",
            (unsigned)peer.pid, at->sun_path);
    } else {
        (void)unlink(at->sun_path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return alive ? -EADDRINUSE : 0;
}

static int control_fd(const char *path, int *ret_fd, char **reterr)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (!str_copy(at.sun_path, sizeof at.sun_path, path)) {
        *reterr = mem_printf(
            "the control socket's path is longer than %zu bytes: choose a shorter runtime "
            "directory than that of %s",
            sizeof at.sun_path - 1, path);
        return -ENAMETOOLONG;
    }
    int rc = clear_path(&at, reterr);
    if (rc) {
        return rc;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* On Linux the file gets the mode that its socket had before bind: nobody else can slip in
     * between, and the process's umask stays as it is. */
    if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&at, sizeof at)) {
        rc = -errno;
        *reterr = mem_printf("cannot make the control socket %s: %s", path, err_text(rc));
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

static int http_fd(const char *address, int *ret_fd, char **reterr)
{
    struct net_addr addr;
    int rc = net_addr_parse(address, &addr);
    if (rc) {
        *reterr =
            mem_printf("the admin address \"%s\" is none: write it as 127.0.0.1:9880", address);
        return rc;
    }
    rc = net_listen(&addr, false, ret_fd);
    if (rc) {
        *reterr =
            mem_printf("cannot listen on the admin address %s: %s: choose another one or \"\"",
                       address, err_text(rc));
    }
    return rc;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct admin_listener *l = handle->data;
    admin_released(l->admin);
}

/* Takes fd. */
static int listen_on(struct admin *a, struct admin_listener *l, const struct admin_side *side,
                     int fd, char **reterr)
{
    l->admin = a;
    l->side = side;
    (void)uv_pipe_init(a->options.loop, &l->pipe, 0);
    l->pipe.data = l;
    l->open = true;
    a->handles++;
    int rc = uv_pipe_open(&l->pipe, fd);
    if (rc) {
        close(fd);
    } else {
        rc = uv_listen((uv_stream_t *)&l->pipe, BACKLOG, admin_conn_accept);
    }
    if (rc) {
        *reterr = mem_printf("cannot listen for the admin side: %s", err_text(rc));
    }
    return rc;
}

static void listener_close(struct admin_listener *l)
{
    if (l->open) {
        l->open = false;
        uv_close((uv_handle_t *)&l->pipe, on_listener_closed);
    }
}

static void remove_socket(const struct admin *a)
{
    struct stat st;
    const char *path = a->options.socket_path;
    if (a->socket_inode && !lstat(path, &st) && st.st_dev == a->socket_device &&
        st.st_ino == a->socket_inode) {
        (void)unlink(path);
    }
}

void admin_released(struct admin *a)
{
    if (--a->handles || !a->closing) {
        return;
    }
    mem_free((char *)a->options.socket_path);
    mem_free((char *)a->options.http_address);
    mem_free(a);
}

int admin_open(const struct admin_options *options, struct admin **ret_admin, char **reterr)
{
    struct admin *a = mem_new(sizeof *a);
    a->options = *options;
    a->options.socket_path = mem_copy(options->socket_path);
    a->options.http_address = mem_copy(options->http_address ? options->http_address : "");
    list_init(&a->conns);
    list_init(&a->requests);
    int fd = -1;
    int rc = control_fd(options->socket_path, &fd, reterr);
    if (!rc) {
        struct stat st;
        if (!lstat(options->socket_path, &st)) {
            a->socket_device = st.st_dev;
            a->socket_inode = st.st_ino;
        }
        rc = listen_on(a, &a->control, &admin_control_side, fd, reterr);
    }
    if (!rc && *a->options.http_address) {
        rc = http_fd(a->options.http_address, &fd, reterr);
        if (!rc) {
            rc = listen_on(a, &a->http, &admin_http_side, fd, reterr);
        }
    }
    if (rc) {
        admin_close(a);
        return rc;
    }
    *ret_admin = a;
    return 0;
}

void admin_close(struct admin *a)
{
    if (!a || a->closing) {
        return;
    }
    a->closing = true;
    a->handles++; /* ours, so that nothing is freed on the way */
    remove_socket(a);
    admin_requests_forget(a);
    while (!list_empty(&a->conns)) {
        admin_conn_close(list_owner(a->conns.next, struct admin_conn, link));
    }
    listener_close(&a->control);
    listener_close(&a->http);
    admin_released(a);
}
