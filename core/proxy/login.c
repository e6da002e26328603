/* login.c: see login.h.
 *
 *   waiting -> (a thread: edge_password_check) -> its exchange goes on
 *
 * Owns: the log-ins under way, and what was proven of late. Hashes of passwords are slow on purpose, so they are
 * computed on libuv's threads, CHECKS at a time, which leaves some to the access log. Invariants: at most
 * WAITING wait, CLIENT_WAITING of one client, so who tries passwords keeps others waiting for a bounded time;
 * what a thread works on belongs to it until it is through, with or without an exchange. */
#include "proxy/parts.h"

#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/mem.h"
#include "board/board.h"
#include "edge/users.h"
#include "proxy/login.h"

enum {
    CHECKS = 2,
    WAITING = 64,
    CLIENT_WAITING = 8
};

struct logins {
    struct list waiting;
    unsigned count, running; /* all; on threads */
    uv_loop_t *loop;
    bool over; /* the proxy is gone: the last one frees it */
    struct edge_proven proven;
};

struct login {
    uv_work_t work;
    struct list node; /* of those that wait for a thread */
    struct logins *all;
    struct exchange *ex; /* NULL: it is gone */
    struct edge_credentials credentials;
    uint64_t now_ms;
    uint32_t client;
    bool running, done, right;
};

static void discard(struct login *l)
{
    l->all->count--;
    explicit_bzero(l, sizeof *l);
    mem_free(l);
}

static void on_thread(uv_work_t *work)
{
    struct login *l = work->data;
    const char *hash = l->credentials.hash;
    bool equal = edge_password_check(str_of(hash), l->credentials.password);
    l->right = equal && l->credentials.known;
}

static void start_next(struct logins *all);

static void after_thread(uv_work_t *work, int status)
{
    struct login *l = work->data;
    struct logins *all = l->all;
    all->running--;
    l->running = false;
    l->done = true;
    l->right = l->right && !status;
    if (l->right) {
        edge_proven_add(&all->proven, l->credentials.digest, l->now_ms);
    }
    if (l->ex) {
        proxy_steps_wake(l->ex);
    } else {
        discard(l);
    }
    if (all->over && !all->running) {
        explicit_bzero(all, sizeof *all);
        mem_free(all);
    } else if (!all->over) {
        start_next(all);
    }
}

static void start_next(struct logins *all)
{
    while (all->running < CHECKS && !list_empty(&all->waiting)) {
        struct login *l = list_owner(all->waiting.next, struct login, node);
        list_remove(&l->node);
        l->work.data = l;
        l->running = !uv_queue_work(all->loop, &l->work, on_thread, after_thread);
        all->running += l->running;
        if (!l->running) { /* libuv refuses none; if it did, they would be wrong */
            l->done = true;
            proxy_steps_wake(l->ex);
        }
    }
}

static unsigned count_client(const struct logins *all, uint32_t client)
{
    unsigned count = 0;
    for (const struct list *at = all->waiting.next; at != &all->waiting; at = at->next) {
        count += list_owner(at, struct login, node)->client == client;
    }
    return count;
}

static struct logins *logins_of(struct proxy *p)
{
    if (!p->logins) {
        p->logins = mem_new(sizeof *p->logins);
        p->logins->loop = p->options.loop;
        list_init(&p->logins->waiting);
    }
    return p->logins;
}

static enum login_result begin(struct exchange *ex, struct edge_credentials *credentials)
{
    struct proxy *p = ex->session->proxy;
    struct logins *all = logins_of(p);
    if (all->count >= WAITING) {
        return LOGIN_BUSY;
    } else if (count_client(all, ex->session->key) >= CLIENT_WAITING) {
        return LOGIN_CLIENT_BUSY;
    }
    struct login *l = mem_new(sizeof *l);
    size_t user_len = credentials->user.len;
    l->all = all;
    l->ex = ex;
    l->credentials = *credentials;
    l->credentials.user.ptr = l->credentials.bytes;
    l->credentials.password.ptr = l->credentials.bytes + user_len + 1;
    l->now_ms = p->now_ms;
    l->client = ex->session->key;
    all->count++;
    ex->course->login = l;
    list_init(&l->node);
    list_append(&all->waiting, &l->node);
    p->uv_due = true;
    start_next(all);
    return LOGIN_WAITS;
}

/* What its thread found. */
static enum login_result end(struct exchange *ex)
{
    struct login *l = ex->course->login;
    enum login_result result = l->right ? LOGIN_RIGHT : LOGIN_WRONG;
    if (l->right) {
        proxy_steps_user(ex, l->credentials.user);
    }
    ex->course->login = NULL;
    discard(l);
    return result;
}

enum login_result proxy_login_ask(struct exchange *ex, const struct edge_users *users,
                                  const struct http1_head *head)
{
    struct proxy *p = ex->session->proxy;
    struct edge_credentials credentials;
    enum login_result result = LOGIN_MISSING;
    if (ex->course->login) {
        return end(ex);
    }
    switch (edge_users_ask(users, &logins_of(p)->proven, head, p->now_ms, &credentials)) {
    case EDGE_LOGIN_MISSING:
        return LOGIN_MISSING;
    case EDGE_LOGIN_PROVEN:
        proxy_steps_user(ex, credentials.user);
        result = LOGIN_RIGHT;
        break;
    case EDGE_LOGIN_UNPROVEN:
        result = begin(ex, &credentials);
        break;
    }
    explicit_bzero(&credentials, sizeof credentials);
    return result;
}

void proxy_login_leave(struct login *l)
{
    if (l && l->running) {
        l->ex = NULL;
    } else if (l) {
        list_remove(&l->node);
        discard(l);
    }
}

void proxy_logins_free(struct proxy *p)
{
    struct logins *all = p->logins;
    p->logins = NULL;
    if (all && all->running) {
        all->over = true;
    } else if (all) {
        explicit_bzero(all, sizeof *all);
        mem_free(all);
    }
}
