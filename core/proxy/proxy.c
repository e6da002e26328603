/* proxy.c: the worker's data plane as a whole: made, told things, taken down; see proxy.h. */
#include "proxy/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"
#include "board/board.h"
#include "board/traffic.h"
#include "proxy/inner.h"
#include "proxy/login.h"

enum {
    SESSIONS_MOST = 32768,
    BLOCKS_MOST = 16384,
    OTHER_FDS = 64,          /* epoll, listeners, libuv's, pipes */
    UPSTREAMS_BESIDE = 1024, /* idle ones beside one for each session */
    LINKS_MOST = 4096
};

/* Sessions that our descriptors suffice for, with some left for backends: idle clients, most of many, need
 * one each, and make room when those that are busy need more. As many as allowed are asked for. */
static uint32_t session_limit(void)
{
    struct rlimit files;
    const rlim_t most = 2u * SESSIONS_MOST + OTHER_FDS;
    if (getrlimit(RLIMIT_NOFILE, &files)) {
        return SESSIONS_MOST;
    }
    if (files.rlim_cur < most && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max < most ? files.rlim_max : most;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= most) {
        return SESSIONS_MOST;
    }
    rlim_t kept = OTHER_FDS + files.rlim_cur / 64;
    rlim_t sessions = files.rlim_cur > kept + 16 ? files.rlim_cur - kept : 16;
    return sessions < SESSIONS_MOST ? (uint32_t)sessions : SESSIONS_MOST;
}

static int init_pools(struct proxy *p)
{
    uint32_t sessions = session_limit();
    uint32_t blocks = sessions * 2 < BLOCKS_MOST ? sessions * 2 : BLOCKS_MOST;
    int rc = proxy_pool_init(&p->session_pool, sizeof(struct session), sessions);
    rc = rc ? rc : proxy_pool_init(&p->exchange_pool, sizeof(struct exchange), sessions);
    rc = rc ? rc : proxy_pool_init(&p->course_pool, sizeof(struct course), sessions);
    rc = rc ? rc
            : proxy_pool_init(&p->upstream_pool, sizeof(struct upstream),
                              sessions + UPSTREAMS_BESIDE);
    rc = rc ? rc : proxy_pool_init(&p->link_pool, sizeof(struct link), LINKS_MOST);
    rc = rc ? rc : proxy_pool_init(&p->h2_pool, proxy_h2_bytes(), sessions);
    rc = rc ? rc : proxy_pool_init(&p->stream_pool, proxy_h2_stream_bytes(), sessions);
    return rc ? rc : proxy_pool_init(&p->block_pool, sizeof(struct block), blocks);
}

static void init_lists(struct proxy *p)
{
    list_init(&p->sessions);
    list_init(&p->listeners);
    list_init(&p->ready);
    list_init(&p->inners);
    list_init(&p->grave);
    list_init(&p->h2_due);
    for (int i = 0; i < CLIENT_BUCKETS; i++) {
        list_init(&p->clients[i]);
    }
    list_init(&p->queues);
    list_init(&p->links_due);
    list_init(&p->handshakes);
    p->register_timeout = proxy_timeout_of(p, 10);
    p->drain_timeout = proxy_timeout_of(p, 1000);
    p->linger_timeout = proxy_timeout_of(p, 2000);
    p->idle_timeout = proxy_timeout_of(p, 30000);
    proxy_links_patience(p, LINK_SILENCE_MS, LINK_PONG_MS);
}

int proxy_new(const struct proxy_options *options, struct proxy **ret_proxy)
{
    struct proxy *p = mem_new(sizeof *p);
    p->options = *options;
    p->coders.most = LIMIT_CODER_BYTES;
    p->numbers = board_worker(options->board, options->worker);
    p->traffic = board_traffic_new(options->board, options->worker);
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    init_lists(p);
    proxy_now(p);
    proxy_past_open(p);
    if (getrandom(p->random, sizeof p->random, 0) != (ssize_t)sizeof p->random) {
        p->random[0] = p->now_us;
    }
    p->random[0] |= 1;
    /* splice(2) cannot be told otherwise not to raise it. */
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = p->epoll < 0 ? -errno : init_pools(p);
    if (!rc) {
        proxy_conn_init(&p->uv, CONN_UV, uv_backend_fd(options->loop));
        rc = proxy_conn_register(p, &p->uv);
    }
    if (rc) {
        proxy_free(p);
        return rc;
    }
    *ret_proxy = p;
    return 0;
}

void proxy_free(struct proxy *p)
{
    if (!p) {
        return;
    }
    while (!list_empty(&p->sessions)) {
        proxy_session_kill(list_owner(p->sessions.next, struct session, node), true);
    }
    proxy_inner_drop(p);
    while (!list_empty(&p->listeners)) {
        proxy_listener_close(p, list_owner(p->listeners.next, struct listener, node));
    }
    proxy_abort(p);
    proxy_generation_unref(p->current);
    proxy_challenges(p, NULL);
    proxy_roster_free(p);
    proxy_secure_free(p);
    proxy_pipes_free(p);
    proxy_logins_free(p);
    mem_free(p->deadlines);
    edge_coders_free(&p->coders);
    proxy_pool_free(&p->session_pool);
    proxy_pool_free(&p->exchange_pool);
    proxy_pool_free(&p->upstream_pool);
    proxy_pool_free(&p->link_pool);
    proxy_pool_free(&p->block_pool);
    proxy_pool_free(&p->h2_pool);
    proxy_pool_free(&p->stream_pool);
    proxy_h2_end(p);
    proxy_pool_free(&p->course_pool);
    proxy_past_close(p);
    proxy_spans_free(p->spans);
    board_traffic_free(p->traffic);
    while (p->timeouts) {
        struct timeout *t = p->timeouts;
        p->timeouts = t->next;
        mem_free(t);
    }
    if (p->reserve >= 0) {
        close(p->reserve);
    }
    if (p->epoll >= 0) {
        close(p->epoll);
    }
    mem_free(p);
}

void proxy_reopen(struct proxy *p)
{
    proxy_access_reopen(p->current ? p->current->access : NULL);
    proxy_access_reopen(p->prepared ? p->prepared->access : NULL);
}

void proxy_on_fact(struct proxy *p, proxy_fact_fn *fn, void *arg)
{
    p->on_fact = fn;
    p->fact_arg = arg;
}

void proxy_on_fault(struct proxy *p, proxy_fault_fn *fn, void *arg)
{
    p->on_fault = fn;
    p->fault_arg = arg;
}

void proxy_on_spans(struct proxy *p, proxy_spans_fn *fn, void *arg)
{
    p->on_spans = fn;
    p->spans_arg = arg;
}

void proxy_fact(struct proxy *p, const char *kind, const char *text)
{
    unsigned skipped;
    if (p->on_fact && log_allowed(&p->fact_limit, 1, &skipped)) {
        proxy_tell(p, kind, "", "", text);
    }
}

void proxy_tell(struct proxy *p, const char *kind, const char *service, const char *backend,
                const char *text)
{
    if (p->on_fact) {
        p->on_fact(p->fact_arg, kind, service, backend, text);
        p->uv_due = true;
    }
}
