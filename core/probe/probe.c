/* probe.c: see probe.h.
 *
 * Owns: one struct check per id, with its timer and at most one attempt.
 * Invariants: a check that was removed is out of the map and silent; its memory
 * goes when its timer has closed and its attempt has come back. A report is the
 * last thing that an attempt does, since its receiver may remove the check.
 * Every attempt opens a connection of its own: a kept one would not notice that
 * a service has stopped accepting. */
#include "probe/probe.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"
#include "probe/grpc.h"

enum {
    WAITING_PERIOD_MS = 250,
    DOUBT_PERIOD_MS = 1000,
    HURRY_GAP_MS = 100, /* however often traffic complains */
    BODY_BYTES = 513,
    REASON_BYTES = 256
};

enum check_state {
    CHECK_WAITING,
    CHECK_HEALTHY,
    CHECK_UNHEALTHY
};

struct check {
    struct probe_set *set;
    char *id, *path, *url, *host_line;
    char *address; /* without scheme */
    char *unix_path;
    enum probe_kind kind;
    bool http2, https;
    struct net_tls tls; /* its texts are the check's */
    char *connect_to;
    uint32_t interval_ms, timeout_ms, start_period_ms, retries, rise;
    uv_timer_t timer;
    bool closed;  /* the timer */
    bool pending; /* an attempt is under way */
    bool removed;
    bool hurried;
    bool settled; /* the first wait at full interval, which spreads the checks, is behind it */
    struct net_call *call;
    enum check_state state;
    uint32_t successes, failures; /* in a row */
    uint32_t attempts;
    uint64_t added_ms, began_ms;
    uint32_t took_ms;
    int status;
    char reason[REASON_BYTES];
    char body[BODY_BYTES];
};

struct probe_set {
    uv_loop_t *loop;
    struct net_client *client;
    probe_changed_fn *on_change;
    void *arg;
    struct map checks;
    size_t alive; /* checks whose memory is not freed yet */
    bool closing;
};

static void set_free_if_done(struct probe_set *set)
{
    if (set->closing && !set->alive) {
        map_free(&set->checks);
        mem_free(set);
    }
}

static void free_if_done(struct check *c)
{
    if (!c->closed || c->pending) {
        return;
    }
    struct probe_set *set = c->set;
    mem_free(c->id);
    mem_free(c->path);
    mem_free(c->url);
    mem_free(c->host_line);
    mem_free(c->address);
    mem_free(c->unix_path);
    mem_free(c->connect_to);
    mem_free((char *)(uintptr_t)c->tls.ca);
    mem_free((char *)(uintptr_t)c->tls.certificate);
    mem_free((char *)(uintptr_t)c->tls.key);
    mem_free(c);
    set->alive--;
    set_free_if_done(set);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct check *c = handle->data;
    c->closed = true;
    free_if_done(c);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How long from the start of one attempt to the next. */
static uint32_t period_of(struct check *c)
{
    bool doubt = c->hurried || (c->state == CHECK_HEALTHY && c->failures) ||
                 (c->state == CHECK_UNHEALTHY && c->successes);
    if (c->state == CHECK_WAITING) {
        return least(c->interval_ms, WAITING_PERIOD_MS);
    }
    if (doubt) {
        return least(c->interval_ms, DOUBT_PERIOD_MS);
    }
    if (!c->settled) {
        c->settled = true;
        return (uint32_t)(hash_bytes(c->id, strlen(c->id)) % c->interval_ms);
    }
    return c->interval_ms;
}

/* Declared ahead since a check goes in a circle: schedule, on_timer, conclude, schedule. */
static void on_timer(uv_timer_t *timer);

static void schedule(struct check *c, uint32_t in_ms)
{
    uv_timer_start(&c->timer, on_timer, in_ms, 0);
}

static void report(const struct check *c, uint32_t attempts)
{
    struct probe_result result = {
        .id = c->id,
        .healthy = c->state == CHECK_HEALTHY,
        .attempts = attempts,
        .took_ms = c->took_ms,
        .status = c->status,
        .reason = c->reason,
        .body = c->body,
    };
    c->set->on_change(c->set->arg, &result);
}

static void check_to(struct check *c, enum check_state state)
{
    uint32_t attempts = c->attempts;
    c->state = state;
    c->attempts = c->successes = c->failures = 0;
    c->hurried = false;
    schedule(c, period_of(c));
    report(c, attempts);
}

/* Counts the outcome of an attempt whose status, reason and body are already set. */
static void conclude(struct check *c, bool success)
{
    uint64_t now_ms = clock_now_ms();
    c->pending = false;
    c->call = NULL;
    if (c->removed) {
        free_if_done(c);
        return;
    }
    c->took_ms = (uint32_t)(now_ms - c->began_ms);
    c->attempts++;
    if (success) {
        c->failures = 0;
        if (c->state != CHECK_HEALTHY && ++c->successes >= c->rise) {
            check_to(c, CHECK_HEALTHY);
            return;
        }
        c->hurried = false;
    } else {
        c->successes = 0;
        bool excused = c->state == CHECK_WAITING && now_ms - c->added_ms < c->start_period_ms;
        if (c->state != CHECK_UNHEALTHY && !excused && ++c->failures >= c->retries) {
            check_to(c, CHECK_UNHEALTHY);
            return;
        }
    }
    uint32_t period = period_of(c);
    schedule(c, period > c->took_ms ? period - c->took_ms : 0);
}

/* Puts an error into words that follow "unhealthy: ". */
static void set_failure(struct check *c, int error, const char *detail)
{
    switch (-error) {
    case ETIMEDOUT:
        snprintf(c->reason, sizeof c->reason, "no %s within %u ms",
                 c->kind == PROBE_TCP ? "connection" : "answer", c->timeout_ms);
        return;
    case EPIPE:
        str_copy(c->reason, sizeof c->reason, "connection closed before the answer was complete");
        return;
    case EHOSTUNREACH:
        snprintf(c->reason, sizeof c->reason, "%s cannot be reached or resolved", c->address);
        return;
    case EPROTO:
        snprintf(c->reason, sizeof c->reason, "not an %s answer: %s",
                 c->kind == PROBE_GRPC || c->http2 ? "HTTP/2" : "HTTP", detail);
        return;
    default:
        snprintf(c->reason, sizeof c->reason, "%s", err_text(error));
        c->reason[0] = (char)tolower((unsigned char)c->reason[0]);
    }
}

static void on_answer(void *arg, const struct net_answer *answer)
{
    struct check *c = arg;
    /* The status decides; a body too large to keep is no failure. */
    bool answered = !answer->error || (answer->error == -EMSGSIZE && answer->status);
    bool success = answered && answer->status >= 200 && answer->status < 400;
    c->status = answer->status;
    str_copy(c->body, sizeof c->body, answer->body);
    if (!answered) {
        set_failure(c, answer->error, answer->error_text);
    } else if (success) {
        snprintf(c->reason, sizeof c->reason, "HTTP health check passed%s",
                 answer->error ? " (only the start of its body was read)" : "");
    } else {
        snprintf(c->reason, sizeof c->reason, "GET %s answered %d", c->path, answer->status);
    }
    conclude(c, success);
}

static void on_grpc_answer(void *arg, const struct net_answer *answer)
{
    struct check *c = arg;
    bool success = false;
    c->status = answer->status;
    if (answer->error) {
        set_failure(c, answer->error, answer->error_text);
    } else {
        success = probe_grpc_serving(answer, c->path, c->reason, sizeof c->reason);
    }
    conclude(c, success);
}

static void on_connected(void *arg, int error, uint32_t took_ms)
{
    struct check *c = arg;
    (void)took_ms;
    if (error) {
        set_failure(c, error, "");
    } else {
        str_copy(c->reason, sizeof c->reason, "TCP health check passed");
    }
    conclude(c, !error);
}

static void try_connect(struct check *c, const struct net_addr *addr)
{
    int rc = net_try_connect(c->set->loop, addr, c->timeout_ms, on_connected, c);
    if (rc) {
        on_connected(c, rc, 0);
    }
}

static void on_resolved(void *arg, int error, const struct net_addr *addr)
{
    struct check *c = arg;
    if (error || c->removed) {
        on_connected(c, error ? error : -ECANCELED, 0);
    } else {
        try_connect(c, addr);
    }
}

static void attempt_tcp(struct check *c)
{
    struct net_addr addr;
    int rc = net_addr_parse(c->address, &addr);
    if (!rc) {
        try_connect(c, &addr);
    } else if ((rc = net_resolve(c->set->loop, c->address, on_resolved, c))) {
        on_connected(c, rc, 0);
    }
}

static void attempt_call(struct check *c)
{
    bool grpc = c->kind == PROBE_GRPC;
    const char *plain[] = {c->host_line, NULL};
    const char *called[] = {c->host_line, "Content-Type: application/grpc", "TE: trailers", NULL};
    char body[PROBE_GRPC_BYTES];
    struct net_request request = {
        .method = grpc ? "POST" : NULL,
        .body = grpc ? body : NULL,
        .body_len = grpc ? probe_grpc_request(c->path, body) : 0,
        .url = c->url,
        .unix_path = c->unix_path,
        .headers = grpc ? called : plain,
        .connect_timeout_ms = c->timeout_ms,
        .timeout_ms = c->timeout_ms,
        .body_limit = LIMIT_HEALTH_BODY_BYTES,
        .http2 = grpc || c->http2,
        .tls = c->https ? &c->tls : NULL,
        .connect_to = c->connect_to,
        .fresh = true,
    };
    int rc = net_call(c->set->client, &request, grpc ? on_grpc_answer : on_answer, c, &c->call);
    if (rc) {
        set_failure(c, rc, "");
        conclude(c, false);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct check *c = timer->data;
    c->pending = true;
    c->began_ms = clock_now_ms();
    c->status = 0;
    c->body[0] = '\0';
    if (c->kind == PROBE_TCP) {
        attempt_tcp(c);
    } else {
        attempt_call(c);
    }
}

/* What is asked for; `port` with its colon, or "". The caller owns it. */
static char *url_of(const struct check *c, const char *scheme, const char *host, const char *port)
{
    const char *path = c->kind == PROBE_GRPC ? "/grpc.health.v1.Health/Check" : c->path;
    return mem_printf("%s://%s%s%s%s", scheme, host, port, *path == '/' ? "" : "/", path);
}

/* A check over TLS goes to the address and asks for the name. */
static void set_tls(struct check *c, const struct probe_spec *spec)
{
    const struct probe_tls *tls = spec->tls;
    if (!tls || spec->kind == PROBE_TCP) {
        return;
    }
    c->https = true;
    c->tls = (struct net_tls){.ca = mem_copy(tls->ca),
                              .certificate = mem_copy(tls->certificate),
                              .key = mem_copy(tls->key),
                              .skip_verify = tls->skip_verify};
    if (tls->name && !c->unix_path) {
        const char *colon = strrchr(c->address, ':');
        mem_free(c->url);
        mem_free(c->host_line);
        c->connect_to = mem_copy(c->address);
        c->url = url_of(c, "https", tls->name, colon ? colon : "");
        c->host_line = mem_printf("Host: %s", spec->host && *spec->host ? spec->host : tls->name);
    }
}

/* Everything that is made of the address; it has passed net_addr_parse. */
static void set_address(struct check *c, const struct probe_spec *spec, bool numeric,
                        const struct net_addr *addr)
{
    const char *scheme_end = strstr(spec->address, "://");
    c->address = mem_copy(numeric ? addr->text : scheme_end ? scheme_end + 3 : spec->address);
    if (!strncmp(c->address, "unix:", 5)) {
        c->unix_path = mem_copy(c->address + 5);
    }
    const char *host = c->unix_path ? "localhost" : c->address;
    const char *root = spec->kind == PROBE_GRPC ? "" : "/";
    c->path = mem_copy(spec->path && *spec->path ? spec->path : root);
    c->url = url_of(c, spec->tls ? "https" : "http", host, "");
    c->host_line = mem_printf("Host: %s", spec->host && *spec->host ? spec->host : host);
}

/* ---- Public ---- */

struct probe_set *probe_set_new(struct uv_loop_s *loop, struct net_client *client,
                                probe_changed_fn *on_change, void *arg)
{
    struct probe_set *set = mem_new(sizeof *set);
    *set = (struct probe_set){.loop = loop, .client = client, .on_change = on_change, .arg = arg};
    return set;
}

int probe_add(struct probe_set *set, const char *id, const struct probe_spec *spec)
{
    struct net_addr addr;
    int rc = net_addr_parse(spec->address, &addr);
    if ((rc && rc != -EDESTADDRREQ) || !spec->interval_ms || !spec->timeout_ms || !spec->retries ||
        !spec->rise || (unsigned)spec->kind >= PROBE_KINDS || set->closing ||
        (spec->kind == PROBE_GRPC && spec->path && strlen(spec->path) > PROBE_GRPC_SERVICE_BYTES)) {
        return -EINVAL;
    }
    probe_remove(set, id);
    struct check *c = mem_new(sizeof *c);
    *c = (struct check){
        .set = set,
        .id = mem_copy(id),
        .kind = spec->kind,
        .http2 = spec->http2,
        .interval_ms = spec->interval_ms,
        .timeout_ms = spec->timeout_ms,
        .start_period_ms = spec->start_period_ms,
        .retries = spec->retries,
        .rise = spec->rise,
        .added_ms = clock_now_ms(),
    };
    set_address(c, spec, !rc, &addr);
    set_tls(c, spec);
    uv_timer_init(set->loop, &c->timer);
    c->timer.data = c;
    set->alive++;
    map_put(&set->checks, id, c);
    schedule(c, (uint32_t)(hash_bytes(id, strlen(id)) % period_of(c)));
    return 0;
}

void probe_remove(struct probe_set *set, const char *id)
{
    struct check *c = map_remove(&set->checks, id);
    if (!c) {
        return;
    }
    c->removed = true;
    if (c->call) {
        net_call_cancel(c->call);
    }
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

void probe_hurry(struct probe_set *set, const char *id)
{
    struct check *c = map_get(&set->checks, id);
    if (!c || c->hurried) {
        return;
    }
    c->hurried = true;
    if (!c->pending) {
        uint64_t since_ms = clock_now_ms() - c->began_ms;
        schedule(c, since_ms < HURRY_GAP_MS ? HURRY_GAP_MS - (uint32_t)since_ms : 0);
    }
}

const char *probe_last_reason(const struct probe_set *set, const char *id, int *ret_status,
                              uint32_t *ret_attempts)
{
    const struct check *c = map_get(&set->checks, id);
    *ret_status = c ? c->status : 0;
    *ret_attempts = c ? c->attempts : 0;
    return c ? c->reason : "";
}

void probe_set_close(struct probe_set *set)
{
    if (!set || set->closing) {
        return;
    }
    size_t at = 0;
    const char *id;
    void *value;
    while (map_next(&set->checks, &at, &id, &value)) {
        probe_remove(set, ((struct check *)value)->id);
    }
    set->closing = true;
    set_free_if_done(set);
}
