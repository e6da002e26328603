/* routes.c - what each path answers. The table at the end is the list of them. */
#define _GNU_SOURCE 1
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 16384,
    STREAM_CHUNK_MAX = 1 << 20,
    BODY_TEXT_BYTES = 100,
};

#define BYTES_MAX 1e12 /* of an answer; a double counts them exactly */

/* parameters --------------------------------------------------------------------------------- */

/* A plain decimal number from min to max; -EINVAL leaves *ret_value as it was. */
static int number_parse(struct str s, double min, double max, double *ret_value)
{
    char text[32];
    char *end;

    if (s.len == 0 || s.len >= sizeof text) {
        return -EINVAL;
    }
    memcpy(text, s.at, s.len);
    text[s.len] = '\0';
    if (strspn(text, "0123456789.") != s.len) {
        return -EINVAL;
    }
    double value = strtod(text, &end);
    if (*end || value < min || value > max) {
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}

struct param {
    const char *name;
    double min, max;
    double value; /* the default, replaced by what the query says */
};

/* Reads the parameters; answers 400 and returns -EINVAL when one is wrong. */
static int params_read(struct conn *c, const struct http_request *r, struct param *params, int n)
{
    struct str text;

    for (int i = 0; i < n; i++) {
        struct param *p = &params[i];
        if (http_query_get(r->query, p->name, &text) &&
            number_parse(text, p->min, p->max, &p->value)) {
            reply_json(c, 400, "{\"error\":\"%s must be a number from %g to %g\"}\n", p->name,
                       p->min, p->max);
            return -EINVAL;
        }
    }
    return 0;
}

/* The number behind the route's path, as N in /bytes/N; answers 400 when there is none. */
static int tail_read(struct conn *c, const struct http_request *r, double max, double *ret_value)
{
    size_t skip = strlen(c->route->path) + 1;
    struct str tail = {r->path.at + skip, r->path.len > skip ? r->path.len - skip : 0};

    if (number_parse(tail, 0, max, ret_value) || (double)(uint64_t)*ret_value != *ret_value) {
        reply_json(c, 400, "{\"error\":\"use %s/N, N from 0 to %.0f\"}\n", c->route->path, max);
        return -EINVAL;
    }
    return 0;
}

static void reply_bytes(struct conn *c, int status, const char *type, struct bytes *b)
{
    reply(c, status, type, (struct str){bytes_at(b), bytes_len(b)});
    bytes_free(b);
}

/* looking ------------------------------------------------------------------------------------ */

static void on_root(struct conn *c, const struct http_request *r)
{
    static const char TEXT[BODY_TEXT_BYTES + 1] =
        "tidegate quickstart: one hundred bytes of plain text, the same for every request, "
        "cheap to answer..\n";

    (void)r;
    reply(c, 200, "text/plain", (struct str){TEXT, BODY_TEXT_BYTES});
}

static void on_health(struct conn *c, const struct http_request *r)
{
    const struct server *s = c->server;
    uint64_t up_us = c->began_us > s->started_us ? c->began_us - s->started_us : 0;
    bool starting = up_us < s->options.health_delay_ms * 1000;

    (void)r;
    reply_json(c, starting || s->sick ? 503 : 200,
               "{\"status\":\"%s\",\"service\":\"%s\",\"uptime_s\":%.3f,\"instance\":\"%s\"}\n",
               s->sick    ? "unhealthy"
               : starting ? "starting"
                          : "healthy",
               s->options.service, (double)up_us / 1e6, s->options.instance);
}

static void on_metrics(struct conn *c, const struct http_request *r)
{
    struct server *s = c->server;
    struct bytes b = {0};

    (void)r;
    stats_prometheus(&s->stats, clock_us(), load_depth(s->load), route_name, &b);
    reply_bytes(c, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void on_performance(struct conn *c, const struct http_request *r)
{
    struct bytes b = {0};

    (void)r;
    stats_performance(&c->server->stats, clock_us(), &b);
    reply_bytes(c, 200, "application/json", &b);
}

static void on_data(struct conn *c, const struct http_request *r)
{
    struct server *s = c->server;
    struct bytes b = {0};

    (void)r;
    stats_data(&s->stats, clock_us(), load_depth(s->load), &b);
    reply_bytes(c, 200, "application/json", &b);
}

/* work --------------------------------------------------------------------------------------- */

static void work_answer(struct conn *c)
{
    struct server *s = c->server;
    struct work *w = &c->work;
    bool done = w->status < 400;

    stats_records(&s->stats, w->records, done ? w->records : 0, done ? w->bad : 0, clock_us());
    reply_start(c, w->status, "text/plain", (int64_t)w->bytes);
    c->answer.left = w->bytes;
}

static void work_burnt(struct conn *c, const struct load_job *job)
{
    (void)job;
    if (c->work.latency_us > 0) {
        conn_wait(c, c->work.latency_us, work_answer);
    } else {
        work_answer(c);
    }
}

/* Whether this one fails: exactly `fail_rate` of all, evenly spread. */
static bool work_fails(struct server *s)
{
    s->fail_debt += s->fail_rate;
    if (s->fail_debt < 1) {
        return false;
    }
    s->fail_debt -= 1;
    return true;
}

static void on_work(struct conn *c, const struct http_request *r)
{
    struct param p[] = {{"cpu_ms", 0, 60000, 0},      {"latency_ms", 0, 600000, 0},
                        {"bytes", 0, BYTES_MAX, 100}, {"records", 0, 1e9, 0},
                        {"bad", 0, 1e9, 0},           {"status", 200, 599, 200}};

    if (params_read(c, r, p, 6)) {
        return;
    }
    c->work = (struct work){.cpu_us = (uint64_t)(p[0].value * 1000),
                            .latency_us = (uint64_t)(p[1].value * 1000) + c->server->slow_us,
                            .bytes = (uint64_t)p[2].value,
                            .records = (uint64_t)p[3].value,
                            .bad = (uint64_t)(p[4].value < p[3].value ? p[4].value : p[3].value),
                            .status = work_fails(c->server) ? 500 : (int)p[5].value};
    if (c->work.cpu_us > 0) {
        conn_work(c, LOAD_CPU, c->work.cpu_us, work_burnt);
    } else {
        work_burnt(c, NULL);
    }
}

static void sleep_answer(struct conn *c)
{
    reply_json(c, 200, "{\"slept\":true}\n");
}

static void on_sleep(struct conn *c, const struct http_request *r)
{
    double ms;

    if (!tail_read(c, r, 3600000, &ms)) {
        conn_wait(c, (uint64_t)(ms * 1000), sleep_answer);
    }
}

/* echo and bodies ---------------------------------------------------------------------------- */

static void peer_add(const struct conn *c, struct bytes *to)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } peer = {0};
    socklen_t len = sizeof peer;
    char text[INET6_ADDRSTRLEN] = "";

    getpeername(c->fd, &peer.any, &len);
    if (peer.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &peer.v4.sin_addr, text, sizeof text);
        bytes_addf(to, "\"%s:%d\"", text, ntohs(peer.v4.sin_port));
    } else if (peer.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &peer.v6.sin6_addr, text, sizeof text);
        bytes_addf(to, "\"[%s]:%d\"", text, ntohs(peer.v6.sin6_port));
    } else {
        bytes_addf(to, "\"unix\"");
    }
}

static void on_echo(struct conn *c, const struct http_request *r)
{
    struct bytes b = {0};
    char hash[65];

    sha256_finish(&c->hash, hash);
    bytes_addf(&b, "{\"instance\":\"%s\",\"peer\":", c->server->options.instance);
    peer_add(c, &b);
    bytes_addf(&b,
               ",\"connection\":%" PRIu64 ",\"connection_request\":%" PRIu64 ",\"method\":", c->id,
               c->count);
    bytes_add_json(&b, r->method_name);
    bytes_addf(&b, ",\"path\":");
    bytes_add_json(&b, r->path);
    bytes_addf(&b, ",\"query\":");
    bytes_add_json(&b, r->query);
    bytes_addf(&b, ",\"version\":\"HTTP/1.%d\",\"headers\":[", r->minor);
    for (size_t i = 0; i < r->header_count; i++) {
        bytes_addf(&b, "%s[", i ? "," : "");
        bytes_add_json(&b, r->headers[i].name);
        bytes_addf(&b, ",");
        bytes_add_json(&b, r->headers[i].value);
        bytes_addf(&b, "]");
    }
    bytes_addf(&b, "],\"framing\":\"%s\",\"body_length\":%" PRIu64 ",\"body_sha256\":\"%s\"}\n",
               r->chunked      ? "chunked"
               : r->length > 0 ? "length"
                               : "none",
               c->body_bytes, hash);
    reply_bytes(c, 200, "application/json", &b);
}

/* Called before the body comes; the connection sends it back as it arrives. */
static void on_echo_body(struct conn *c, const struct http_request *r)
{
    reply_start(c, 200, "application/octet-stream", r->chunked ? -1 : (int64_t)r->length);
}

static void on_bytes(struct conn *c, const struct http_request *r)
{
    double n;

    if (!tail_read(c, r, BYTES_MAX, &n)) {
        reply_start(c, 200, "application/octet-stream", (int64_t)n);
        c->answer.left = (uint64_t)n;
    }
}

static void on_chunked(struct conn *c, const struct http_request *r)
{
    double n;

    if (!tail_read(c, r, BYTES_MAX, &n)) {
        reply_start(c, 200, "application/octet-stream", -1);
        c->answer = (struct answer){.left = (uint64_t)n, .chunk = CHUNK_BYTES};
    }
}

static void on_stream(struct conn *c, const struct http_request *r)
{
    struct param p[] = {{"chunks", 0, 1e6, 10},
                        {"interval_ms", 0, 600000, 50},
                        {"bytes", 1, STREAM_CHUNK_MAX, 1000}};

    if (!params_read(c, r, p, 3)) {
        size_t chunk = (size_t)p[2].value;
        reply_start(c, 200, "text/plain", -1);
        c->answer = (struct answer){.left = (uint64_t)p[0].value * chunk,
                                    .chunk = chunk,
                                    .pause_us = (uint64_t)(p[1].value * 1000)};
    }
}

/* switches and faults ------------------------------------------------------------------------ */

static void on_sick(struct conn *c, const struct http_request *r)
{
    (void)r;
    c->server->sick = true;
    reply_json(c, 200, "{\"sick\":true}\n");
}

static void on_well(struct conn *c, const struct http_request *r)
{
    (void)r;
    c->server->sick = false;
    reply_json(c, 200, "{\"sick\":false}\n");
}

static void on_fail(struct conn *c, const struct http_request *r)
{
    struct param p = {"rate", 0, 1, 1};

    if (!params_read(c, r, &p, 1)) {
        c->server->fail_rate = p.value;
        c->server->fail_debt = 0;
        reply_json(c, 200, "{\"fail_rate\":%g}\n", p.value);
    }
}

static void on_slow(struct conn *c, const struct http_request *r)
{
    struct param p = {"ms", 0, 600000, 0};

    if (!params_read(c, r, &p, 1)) {
        c->server->slow_us = (uint64_t)(p.value * 1000);
        reply_json(c, 200, "{\"slow_ms\":%g}\n", p.value);
    }
}

static void on_burn(struct conn *c, const struct http_request *r)
{
    struct param p[] = {{"seconds", 0, 3600, 10}, {"threads", 1, 64, 1}};

    if (!params_read(c, r, p, 2)) {
        int started = load_burn(c->server->load, p[0].value, (int)p[1].value);
        reply_json(c, 202, "{\"burning_threads\":%d,\"seconds\":%g}\n", started, p[0].value);
    }
}

static void memory_answer(struct conn *c, const struct load_job *job)
{
    if (job->error) {
        reply_json(c, 507, "{\"error\":\"no memory\"}\n");
    } else {
        reply_json(c, 200, "{\"kept_bytes\":%" PRIu64 "}\n", job->result);
    }
}

static void on_leak(struct conn *c, const struct http_request *r)
{
    double megabytes;

    if (tail_read(c, r, 1 << 20, &megabytes)) {
        return;
    }
    if (megabytes < 1) {
        reply_json(c, 400, "{\"error\":\"use /leak/MB, MB from 1\"}\n");
        return;
    }
    conn_work(c, LOAD_GROW, (uint64_t)megabytes << 20, memory_answer);
}

static void on_free(struct conn *c, const struct http_request *r)
{
    (void)r;
    conn_work(c, LOAD_FREE, 0, memory_answer);
}

static void log_answer(struct conn *c, const struct load_job *job)
{
    reply_json(c, 200, "{\"lines\":%" PRIu64 "}\n", job->amount);
}

static void on_log(struct conn *c, const struct http_request *r)
{
    double lines;

    if (!tail_read(c, r, 1e6, &lines)) {
        conn_work(c, LOAD_LOG, (uint64_t)lines, log_answer);
    }
}

static void on_exit_now(struct conn *c, const struct http_request *r)
{
    double code;

    if (!tail_read(c, r, 255, &code)) {
        fprintf(stderr, "service: exiting with code %d, as told\n", (int)code);
        _exit((int)code);
    }
}

static void on_hang(struct conn *c, const struct http_request *r)
{
    (void)r;
    conn_hang(c);
}

/* Stops the loop, as a deadlock would: only SIGCONT (or SIGKILL) reaches the process. */
static void on_hang_all(struct conn *c, const struct http_request *r)
{
    sigset_t set;
    int got;

    (void)r;
    fputs("service: hanging until SIGCONT, as told\n", stderr);
    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    sigwait(&set, &got);
    reply_json(c, 200, "{\"hung\":true}\n");
}

static void on_rst(struct conn *c, const struct http_request *r)
{
    (void)r;
    conn_reset(c);
}

static void on_half(struct conn *c, const struct http_request *r)
{
    (void)r;
    reply_start(c, 200, "text/plain", 1000);
    c->answer = (struct answer){.left = 500, .cut = true};
}

/* the table ---------------------------------------------------------------------------------- */

static const struct route ROUTES[] = {
    {.path = "/", .fn = on_root},
    {.path = "/work", .post = true, .fn = on_work},
    {.path = "/health", .observer = true, .fn = on_health},
    {.path = "/metrics", .observer = true, .fn = on_metrics},
    {.path = "/performance", .observer = true, .fn = on_performance},
    {.path = "/data", .observer = true, .fn = on_data},
    {.path = "/echo/body", .any = true, .sink = SINK_ECHO, .fn = on_echo_body},
    {.path = "/echo", .prefix = true, .any = true, .sink = SINK_HASH, .fn = on_echo},
    {.path = "/bytes", .prefix = true, .fn = on_bytes},
    {.path = "/chunked", .prefix = true, .fn = on_chunked},
    {.path = "/stream", .fn = on_stream},
    {.path = "/sleep", .prefix = true, .post = true, .fn = on_sleep},
    {.path = "/sick", .post = true, .observer = true, .fn = on_sick},
    {.path = "/well", .post = true, .observer = true, .fn = on_well},
    {.path = "/fail", .post = true, .observer = true, .fn = on_fail},
    {.path = "/slow", .post = true, .observer = true, .fn = on_slow},
    {.path = "/burn", .post = true, .observer = true, .fn = on_burn},
    {.path = "/leak", .prefix = true, .post = true, .observer = true, .fn = on_leak},
    {.path = "/free", .post = true, .observer = true, .fn = on_free},
    {.path = "/log", .prefix = true, .post = true, .observer = true, .fn = on_log},
    {.path = "/exit", .prefix = true, .post = true, .observer = true, .fn = on_exit_now},
    {.path = "/hang", .post = true, .observer = true, .fn = on_hang},
    {.path = "/hang-all", .post = true, .observer = true, .fn = on_hang_all},
    {.path = "/rst", .post = true, .observer = true, .fn = on_rst},
    {.path = "/half", .post = true, .observer = true, .fn = on_half},
};

enum {
    ROUTE_COUNT = sizeof ROUTES / sizeof ROUTES[0]
};

_Static_assert((int)ROUTE_COUNT < (int)STATS_ROUTES_MAX,
               "one row more than routes, for unknown paths");

const struct route *route_find(struct str path)
{
    for (int i = 0; i < ROUTE_COUNT; i++) {
        size_t len = strlen(ROUTES[i].path);
        if (path.len >= len && memcmp(path.at, ROUTES[i].path, len) == 0 &&
            (path.len == len || (ROUTES[i].prefix && path.at[len] == '/'))) {
            return &ROUTES[i];
        }
    }
    return NULL;
}

int route_index(const struct route *route)
{
    return route ? (int)(route - ROUTES) : ROUTE_COUNT;
}

const char *route_name(int index)
{
    return index < ROUTE_COUNT ? ROUTES[index].path : index == ROUTE_COUNT ? "other" : NULL;
}

bool route_allows(const struct route *route, enum http_method method)
{
    return route->any || method == HTTP_GET || method == HTTP_HEAD ||
           (route->post && method == HTTP_POST);
}
