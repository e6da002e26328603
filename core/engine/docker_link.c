/* docker_link.c: the connection to the Docker engine.
 *
 *   DOWN --tick--> ping -> version -> info -> events, 200 --> UP
 *    ^                 |                                       |
 *    +---- back-off ---+<------- events end, ping fails -------+
 *
 * Owns: docker.session, docker.ping, docker.tick, docker.link.
 * Invariants: `up` is told only after the events' 200, so that the listener's
 * list and the stream leave no gap; `down` once per outage, whatever number of
 * attempts fail. A session that was given up is no longer docker.session, and its
 * late answers free it and do nothing else.
 * Why a ping: a hung engine keeps connections open and silent, which looks like an
 * idle one. It travels on another connection than the events.
 * The version is agreed anew at each connection: the engine may have been
 * exchanged meanwhile. */
#include "engine/docker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    PING_EVERY_MS = 2000,
    PING_TIMEOUT_MS = 2000,
    STEP_TIMEOUT_MS = 5000,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 3500, /* and a quarter more: an engine that is back is known within 5 s */
    SETTLED_MS = 5000,      /* a connection that held so long starts the back-off anew */
};

/* Versions as one number, 1.44 = 144. PREFERRED is what the code was written for; an engine that
 * refuses it as too old is followed up to LAST, which has every field that we read. */
enum {
    API_FIRST = 141,
    API_PREFERRED = 144,
    API_LAST = 152
};

struct docker_session {
    struct docker_op op; /* carries ping, version, info, then the events */
    struct docker_lines lines;
    char version[64];   /* "20.10.24" */
    int status;         /* of the event stream */
    struct buf refusal; /* its body when not 200 */
};

/* ---- Down ---- */

static void on_attempt(uv_timer_t *timer);

static void session_free(struct docker_session *s)
{
    docker_op_end(&s->op);
    docker_lines_free(&s->lines);
    buf_free(&s->refusal);
    mem_free(s);
}

/* Lets go of session and ping; their answers come as cancelled, later. */
static void give_up(struct docker *d)
{
    if (d->session && d->session->op.call) {
        net_call_cancel(d->session->op.call);
    }
    if (d->ping && d->ping->call) {
        net_call_cancel(d->ping->call);
    }
    d->session = NULL;
    d->ping = NULL;
    uv_timer_stop(&d->tick);
    docker_diff_stop(d);
    docker_follow_stop(d);
}

static uint32_t next_backoff(struct docker *d, uint64_t now_ms)
{
    if (!d->backoff_ms || (d->link == DOCKER_UP && now_ms - d->up_since_ms >= SETTLED_MS)) {
        d->backoff_ms = BACKOFF_FIRST_MS;
    }
    uint32_t base = d->backoff_ms;
    d->backoff_ms = base * 2 > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : base * 2;
    /* +-25 %: many daemons that lost one engine should not come back as one. */
    uint64_t now_us = clock_now_us();
    uint64_t chance = hash_more((uint64_t)(uintptr_t)d, &now_us, sizeof now_us) % 512;
    return base - base / 4 + (uint32_t)(base * chance / 1024);
}

void docker_link_lost(struct docker *d, const char *why)
{
    if (d->link == DOCKER_CLOSED) {
        return;
    }
    uint32_t wait_ms = next_backoff(d, clock_now_ms());
    give_up(d);
    d->link = DOCKER_DOWN;
    bool news = !d->told_down || strcmp(d->why, why) != 0;
    str_copy(d->why, sizeof d->why, why);
    uv_update_time(d->engine.loop);
    uv_timer_start(&d->tick, on_attempt, wait_ms, 0);
    if (!d->told_down) {
        d->told_down = true;
        d->engine.listener.down(d->engine.listener.arg, d->why);
    } else if (news) {
        log_warn("engine still not usable", "engine=docker why=%s", d->why);
    }
}

/* The session ended with this answer; `step` says at what. */
static void failed(struct docker_session *s, const char *what, const struct net_answer *answer)
{
    struct docker *d = s->op.docker;
    bool current = d->session == s;
    struct docker_fault fault;
    docker_fault_of(answer, &fault);
    session_free(s);
    if (current) {
        char why[LIMIT_REASON_BYTES];
        const char *unix_path = d->settings.unix_path; /* curl's words do not have it */
        snprintf(why, sizeof why, "%s of %s%s: %.300s", what, unix_path ? "unix://" : "",
                 unix_path ? unix_path : d->settings.base_url, fault.text);
        d->session = NULL;
        docker_link_lost(d, why);
    }
}

static void refused(struct docker_session *s, const char *why)
{
    struct docker *d = s->op.docker;
    bool current = d->session == s;
    session_free(s);
    if (current) {
        d->session = NULL;
        docker_link_lost(d, why);
    }
}

/* Whether the step went well; otherwise the session is gone. */
static bool went_well(struct docker_session *s, const char *what, const struct net_answer *answer)
{
    if (s->op.docker->session == s && docker_answer_ok(answer)) {
        return true;
    }
    failed(s, what, answer);
    return false;
}

static void session_fail(struct docker_op *op, const struct engine_error *error)
{
    (void)error; /* only when the engine is closed */
    session_free((struct docker_session *)op);
}

/* ---- Up ---- */

static void on_ping_due(uv_timer_t *timer);

static void ping_fail(struct docker_op *op, const struct engine_error *error)
{
    (void)error;
    docker_op_end(op);
    mem_free(op);
}

static void pinged_again(struct docker_op *op, const struct net_answer *answer)
{
    struct docker *d = op->docker;
    bool current = d->ping == op;
    docker_op_end(op);
    mem_free(op);
    if (!current) {
        return;
    }
    d->ping = NULL;
    if (docker_answer_ok(answer)) {
        uv_timer_start(&d->tick, on_ping_due, PING_EVERY_MS, 0);
        return;
    }
    if (answer->error == -ETIMEDOUT) {
        docker_link_lost(d, "the engine hangs: no answer to a ping for 2 s");
        return;
    }
    struct docker_fault fault;
    char why[LIMIT_REASON_BYTES];
    docker_fault_of(answer, &fault);
    snprintf(why, sizeof why, "ping: %.400s", fault.text);
    docker_link_lost(d, why);
}

static void on_ping_due(uv_timer_t *timer)
{
    struct docker *d = timer->data;
    struct docker_request request = {
        .path = "/_ping", .connecting = true, .timeout_ms = PING_TIMEOUT_MS};
    d->ping = mem_new(sizeof *d->ping);
    docker_op_begin(d, d->ping, ping_fail);
    docker_op_call(d->ping, &request, pinged_again);
}

static void on_events_head(void *arg, int status)
{
    struct docker_session *s = arg;
    struct docker *d = s->op.docker;
    s->status = status;
    if (d->session != s || status != 200) {
        return;
    }
    d->link = DOCKER_UP;
    d->up_since_ms = clock_now_ms();
    d->told_down = false;
    d->network_id[0] = '\0'; /* it may have been removed meanwhile */
    docker_samplers_clear(d);
    uv_timer_start(&d->tick, on_ping_due, PING_EVERY_MS, 0);
    if (d->podman) {
        docker_diff_start(d);
    }
    char description[128];
    snprintf(description, sizeof description, "%s %s, API %s", d->podman ? "podman" : "docker",
             s->version, d->prefix + strlen("/v"));
    d->engine.listener.up(d->engine.listener.arg, description);
    docker_follow_start(d);
}

static void on_events_data(void *arg, const char *bytes, size_t len)
{
    struct docker_session *s = arg;
    struct docker *d = s->op.docker;
    if (d->session != s) {
        return;
    }
    if (s->status != 200) {
        buf_append(&s->refusal, bytes, len); /* what does not fit is of no use */
        return;
    }
    uint64_t before = s->lines.skipped;
    docker_lines_feed(&s->lines, bytes, len, docker_events_line, d);
    if (s->lines.skipped != before) {
        log_warn("event of the engine left out: too long", "limit=%d", LIMIT_ENGINE_LINE_BYTES);
    }
}

static void events_ended(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_session *s = (struct docker_session *)op;
    if (answer->error) {
        failed(s, "event stream", answer);
    } else if (s->status == 200) {
        refused(s, "the engine ended the event stream");
    } else {
        struct net_answer whole = *answer;
        whole.body = buf_str(&s->refusal);
        whole.body_len = s->refusal.len;
        failed(s, "event stream", &whole);
    }
}

/* ---- Connecting ---- */

static void on_no_events(uv_timer_t *timer)
{
    docker_link_lost(timer->data, "event stream: the engine does not answer");
}

static void informed(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_session *s = (struct docker_session *)op;
    struct docker *d = op->docker;
    if (!went_well(s, "info", answer)) {
        return;
    }
    struct cJSON *info = json_parse(answer->body, answer->body_len);
    if (!info) {
        refused(s, "info: the answer is not JSON");
        return;
    }
    double cores = json_num(info, "NCPU", 0), memory = json_num(info, "MemTotal", 0);
    d->host_cores = cores > 0 ? cores : 0;
    d->host_memory_bytes = memory > 0 && memory < 1e18 ? (uint64_t)memory : 0;
    json_free(info);
    char *path = docker_events_path(d);
    struct docker_request request = {.path = path,
                                     .connecting = true,
                                     .versioned = true,
                                     .on_head = on_events_head,
                                     .on_data = on_events_data};
    docker_op_call(op, &request, events_ended);
    uv_timer_start(&d->tick, on_no_events, STEP_TIMEOUT_MS, 0);
    mem_free(path);
}

/* "1.41" -> 141, 0 when it is not of that shape. */
static unsigned api_number(const char *text)
{
    struct str rest = str_of(text), major;
    uint64_t number;
    if (!str_next(&rest, '.', &major) || !str_is(major, "1") || str_to_u64(rest, &number) ||
        number > 99) {
        return 0;
    }
    return 100 + (unsigned)number;
}

/* The version to speak with an engine that offers min..max, or 0. */
static unsigned agree(unsigned min, unsigned max)
{
    unsigned want = min > API_PREFERRED ? min : API_PREFERRED;
    want = want < max ? want : max;
    return want < API_FIRST || want > API_LAST || want < min ? 0 : want;
}

static bool is_podman(const struct cJSON *version)
{
    const struct cJSON *components = json_get(version, "Components");
    for (const struct cJSON *c = json_first(components); c; c = json_next(c)) {
        if (strstr(json_str(c, "Name", ""), "Podman")) {
            return true;
        }
    }
    return false;
}

static void versioned(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_session *s = (struct docker_session *)op;
    struct docker *d = op->docker;
    if (!went_well(s, "version", answer)) {
        return;
    }
    struct cJSON *version = json_parse(answer->body, answer->body_len);
    unsigned max = api_number(json_str(version, "ApiVersion", ""));
    unsigned min = api_number(json_str(version, "MinAPIVersion", ""));
    if (!version || !max) {
        json_free(version);
        refused(s, "version: the answer is not that of a Docker engine");
        return;
    }
    unsigned api = agree(min, max);
    str_copy(s->version, sizeof s->version, json_str(version, "Version", "?"));
    d->podman = is_podman(version);
    json_free(version);
    if (!api) {
        char why[LIMIT_REASON_BYTES];
        snprintf(why, sizeof why,
                 "engine %s speaks API 1.%u to 1.%u, tidegate needs one of 1.%u to 1.%u: %s",
                 s->version, min > 100 ? min - 100 : 0, max - 100u, API_FIRST - 100u,
                 API_LAST - 100u, max < API_FIRST ? "upgrade the engine" : "upgrade tidegate");
        refused(s, why);
        return;
    }
    snprintf(d->prefix, sizeof d->prefix, "/v1.%u", (api - 100) % 100);
    struct docker_request request = {
        .path = "/info", .connecting = true, .versioned = true, .timeout_ms = STEP_TIMEOUT_MS};
    docker_op_call(op, &request, informed);
}

static void pinged(struct docker_op *op, const struct net_answer *answer)
{
    struct docker_session *s = (struct docker_session *)op;
    if (!went_well(s, "ping", answer)) {
        return;
    }
    struct docker_request request = {
        .path = "/version", .connecting = true, .timeout_ms = STEP_TIMEOUT_MS};
    docker_op_call(op, &request, versioned);
}

static void on_attempt(uv_timer_t *timer)
{
    struct docker *d = timer->data;
    struct docker_session *s = mem_new(sizeof *s);
    docker_lines_init(&s->lines);
    buf_init(&s->refusal, LIMIT_HEALTH_BODY_BYTES);
    docker_op_begin(d, &s->op, session_fail);
    d->session = s;
    struct docker_request request = {
        .path = "/_ping", .connecting = true, .timeout_ms = PING_TIMEOUT_MS};
    docker_op_call(&s->op, &request, pinged);
}

/* ---- For docker.c ---- */

void docker_link_open(struct docker *d)
{
    uv_timer_start(&d->tick, on_attempt, 0, 0);
}

void docker_link_close(struct docker *d)
{
    give_up(d);
    d->link = DOCKER_CLOSED;
    str_copy(d->why, sizeof d->why, "the engine was closed");
}
