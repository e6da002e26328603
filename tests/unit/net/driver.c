/* driver.c: a loop that specs can run until something has happened, and
 * callbacks that write down what they were told.
 *
 * A record counts its callbacks, so that a spec sees one that came twice, and
 * one that came from inside the start. */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    CANCEL_NEVER,
    CANCEL_IN_HEAD,
    CANCEL_IN_DATA
};

enum {
    TURN_MS = 10
};

struct looptest {
    uv_loop_t loop;
    uv_timer_t deadline;
    uint64_t end_ms;
    bool late;
};

struct callrecord {
    uint32_t done, heads, pieces;
    int32_t error, status, head_status;
    uint32_t took_ms;
    bool reentered; /* `done` came while the start was still running */
    bool starting;
    int32_t cancel;
    struct net_client *again; /* when set, `done` starts `next` */
    const struct net_request *next;
    struct net_call *call;
    char error_text[256], api_version[64], content_type[64], location[64], replay_nonce[64];
    struct net_addr addr;
    struct buf body;
};

struct looptest *looptest_new(void);
uv_loop_t *looptest_loop(struct looptest *t);
bool looptest_until(struct looptest *t, const uint32_t *counter, uint32_t least, uint32_t ms);
void looptest_run(struct looptest *t, uint32_t ms);
int looptest_free(struct looptest *t);
void callrecord_init(struct callrecord *r);
void callrecord_free(struct callrecord *r);
int callrecord_call(struct callrecord *r, struct net_client *client,
                    const struct net_request *request, bool stream);
int callrecord_connect(struct callrecord *r, uv_loop_t *loop, const char *address, uint32_t ms);
int callrecord_resolve(struct callrecord *r, uv_loop_t *loop, const char *host_port);

static void on_late(uv_timer_t *timer)
{
    struct looptest *t = timer->data;
    t->late = uv_now(timer->loop) >= t->end_ms;
}

struct looptest *looptest_new(void)
{
    signal(SIGPIPE, SIG_IGN);
    struct looptest *t = mem_new(sizeof *t);
    uv_loop_init(&t->loop);
    uv_timer_init(&t->loop, &t->deadline);
    t->deadline.data = t;
    return t;
}

uv_loop_t *looptest_loop(struct looptest *t)
{
    return &t->loop;
}

/* Runs the loop until *counter >= least; false when `ms` passed first. */
bool looptest_until(struct looptest *t, const uint32_t *counter, uint32_t least, uint32_t ms)
{
    t->late = false;
    uv_update_time(&t->loop);
    /* A timer that has run leaves a turn of the loop waiting for the next event; so often at least
     * the condition is looked at. */
    uint32_t turn_ms = ms < TURN_MS ? ms : TURN_MS;
    t->end_ms = uv_now(&t->loop) + ms;
    uv_timer_start(&t->deadline, on_late, turn_ms, turn_ms ? turn_ms : 1);
    while (*counter < least && !t->late) {
        uv_run(&t->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&t->deadline);
    return *counter >= least;
}

void looptest_run(struct looptest *t, uint32_t ms)
{
    uint32_t never = 0;
    (void)looptest_until(t, &never, 1, ms);
}

static void on_walk(uv_handle_t *handle, void *arg)
{
    (void)handle;
    ++*(int *)arg;
}

/* Lets the close callbacks run (at most 5 s) and answers how many handles were left open. */
int looptest_free(struct looptest *t)
{
    uv_close((uv_handle_t *)&t->deadline, NULL);
    uint64_t end_ms = clock_now_ms() + 5000;
    while (uv_run(&t->loop, UV_RUN_NOWAIT) && clock_now_ms() < end_ms) {
    }
    int left = 0;
    if (uv_loop_close(&t->loop)) {
        uv_walk(&t->loop, on_walk, &left);
        return left ? left : -1;
    }
    mem_free(t);
    return 0;
}

void callrecord_init(struct callrecord *r)
{
    *r = (struct callrecord){.error = 1};
    buf_init(&r->body, 64 << 20);
}

void callrecord_free(struct callrecord *r)
{
    buf_free(&r->body);
}

static void on_head(void *arg, int status)
{
    struct callrecord *r = arg;
    r->heads++;
    r->head_status = status;
    if (r->cancel == CANCEL_IN_HEAD) {
        net_call_cancel(r->call);
    }
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct callrecord *r = arg;
    r->pieces++;
    (void)buf_append(&r->body, bytes, len);
    if (r->cancel == CANCEL_IN_DATA) {
        net_call_cancel(r->call);
    }
}

static void on_done(void *arg, const struct net_answer *answer)
{
    struct callrecord *r = arg;
    r->reentered = r->starting;
    r->done++;
    r->error = answer->error;
    r->status = answer->status;
    r->took_ms = answer->took_ms;
    str_copy(r->error_text, sizeof r->error_text, answer->error_text);
    str_copy(r->api_version, sizeof r->api_version, answer->api_version);
    str_copy(r->content_type, sizeof r->content_type, answer->content_type);
    str_copy(r->location, sizeof r->location, answer->location);
    str_copy(r->replay_nonce, sizeof r->replay_nonce, answer->replay_nonce);
    if (answer->body_len) {
        (void)buf_append(&r->body, answer->body, answer->body_len);
    }
    if (r->again) {
        struct net_client *client = r->again;
        r->again = NULL;
        net_call(client, r->next, on_done, r, &r->call);
    }
}

int callrecord_call(struct callrecord *r, struct net_client *client,
                    const struct net_request *request, bool stream)
{
    struct net_request copy = *request;
    copy.on_head = stream ? on_head : NULL;
    copy.on_data = stream ? on_data : NULL;
    r->starting = true;
    int rc = net_call(client, &copy, on_done, r, &r->call);
    r->starting = false;
    return rc;
}

static void on_connected(void *arg, int error, uint32_t took_ms)
{
    struct callrecord *r = arg;
    r->reentered = r->starting;
    r->done++;
    r->error = error;
    r->took_ms = took_ms;
}

int callrecord_connect(struct callrecord *r, uv_loop_t *loop, const char *address, uint32_t ms)
{
    struct net_addr addr;
    int rc = net_addr_parse(address, &addr);
    r->starting = true;
    rc = rc ? rc : net_try_connect(loop, &addr, ms, on_connected, r);
    r->starting = false;
    return rc;
}

static void on_resolved(void *arg, int error, const struct net_addr *addr)
{
    struct callrecord *r = arg;
    r->reentered = r->starting;
    r->done++;
    r->error = error;
    if (addr) {
        r->addr = *addr;
    }
}

int callrecord_resolve(struct callrecord *r, uv_loop_t *loop, const char *host_port)
{
    r->starting = true;
    int rc = net_resolve(loop, host_port, on_resolved, r);
    r->starting = false;
    return rc;
}
