/* proxy_bench.c: the data plane alone, to be measured beside other proxies.
 *
 *   ninja -C build/release proxy_bench
 *   build/release/proxy_bench --listen 127.0.0.1:9000 --backend 127.0.0.1:9101 --backend ...
 *
 * One worker, one route, round robin by the policy. Ends with SIGTERM after a drain
 * and prints what it counted. --churn MS reloads the configuration and changes the roster so often. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "board/board.h"
#include "net/net.h"
#include "proxy/proxy.h"
#include "script/script.h"

enum {
    BACKENDS = 128
};

struct bench {
    struct proxy *proxy;
    const char *listen, *backends[BACKENDS];
    int count;
    unsigned churn_ms, churned;
    uv_timer_t timer;
    uv_signal_t term;
};

static struct cJSON *config_of(const char *listen)
{
    struct cJSON *config = json_object(), *services = json_array(), *service = json_object();
    struct cJSON *routes = json_array(), *route = json_object(), *balance = json_object();
    struct cJSON *policies = json_array(), *policy = json_object();
    json_set_str(balance, "policy", "round_robin");
    json_set(balance, "params", json_object());
    json_set_str(route, "listen", listen);
    json_set_str(route, "path", "/");
    json_set(route, "balance", balance);
    json_set(routes, NULL, route);
    json_set_str(service, "name", "bench");
    json_set(service, "routes", routes);
    json_set(services, NULL, service);
    json_set(config, "services", services);
    json_set_str(policy, "kind", "balance");
    json_set_str(policy, "name", "round_robin");
    json_set_str(policy, "origin", "policies/balance/round_robin.lua");
    json_set_str(policy, "source", script_shipped("balance/round_robin", NULL));
    json_set(policies, NULL, policy);
    json_set(config, "policies", policies);
    json_set(config, "libraries", json_array());
    return config;
}

static struct cJSON *roster_of(const char *const *backends, int count)
{
    struct cJSON *roster = json_object(), *services = json_array(), *service = json_object();
    struct cJSON *list = json_array();
    for (int i = 0; i < count; i++) {
        if (!backends[i][0]) {
            continue;
        }
        struct cJSON *b = json_object();
        json_set_str(b, "id", backends[i]);
        json_set_num(b, "slot", i);
        json_set_str(b, "address", backends[i]);
        json_set_num(b, "weight", 1);
        json_set(list, NULL, b);
    }
    json_set_str(service, "name", "bench");
    json_set(service, "backends", list);
    json_set(services, NULL, service);
    json_set_num(roster, "version", 1);
    json_set(roster, "services", services);
    return roster;
}

static void on_term(uv_signal_t *term, int number)
{
    struct bench *b = term->data;
    (void)number;
    proxy_drain(b->proxy, 1000, 0);
    uv_close((uv_handle_t *)&b->term, NULL);
    uv_close((uv_handle_t *)&b->timer, NULL);
}

/* A new generation of the same routes, and a roster without one backend, another one each time. */
static void on_churn(uv_timer_t *timer)
{
    struct bench *b = timer->data;
    const char *some[BACKENDS];
    char *error = NULL;
    int left = 0;
    unsigned out = b->churned++ % (unsigned)b->count;
    for (int i = 0; i < b->count; i++) {
        some[i] = (unsigned)i == out ? "" : b->backends[i];
        left += (unsigned)i != out;
    }
    struct cJSON *config = config_of(b->listen);
    struct cJSON *roster = roster_of(left ? some : b->backends, b->count);
    if (proxy_prepare(b->proxy, b->churned, config, &error) || proxy_commit(b->proxy) ||
        proxy_roster(b->proxy, roster)) {
        fprintf(stderr, "proxy_bench: %s\n", error ? error : "the roster was refused");
    }
    mem_free(error);
    json_free(config);
    json_free(roster);
}

static int start(struct proxy *p, const char *listen, const char *const *backends, int count)
{
    struct net_addr addr;
    char *error = NULL;
    int fd = -1;
    struct cJSON *config = config_of(listen);
    struct cJSON *roster = roster_of(backends, count);
    int rc = net_addr_parse(listen, &addr);
    rc = rc ? rc : net_listen(&addr, true, &fd);
    rc = rc ? rc : proxy_prepare(p, 1, config, &error);
    rc = rc ? rc : proxy_listen(p, listen, fd);
    rc = rc ? rc : proxy_roster(p, roster);
    rc = rc ? rc : proxy_commit(p);
    if (rc) {
        fprintf(stderr, "proxy_bench: %s\n", error ? error : err_text(rc));
    }
    mem_free(error);
    json_free(config);
    json_free(roster);
    return rc;
}

static void report(struct board *board, int backends)
{
    const struct board_worker *w = board_worker(board, 0);
    double picks = (double)(w->picks ? w->picks : 1);
    unsigned long long in_flight = 0;
    for (int i = 0; i < backends; i++) {
        in_flight += board_row(board, 0, (unsigned)i)->in_flight;
    }
    printf("left open: %llu connections, %llu in flight\n", (unsigned long long)w->connections,
           in_flight);
    printf("accepted %llu, picks %llu (%.0f ns each), policy errors %llu, 503 %llu, cut %llu\n",
           (unsigned long long)w->accepted, (unsigned long long)w->picks,
           (double)w->pick_ns_sum / picks, (unsigned long long)w->policy_errors,
           (unsigned long long)w->no_backend, (unsigned long long)w->aborted);
}

int main(int argc, char **argv)
{
    struct bench b = {.listen = "127.0.0.1:9000"};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--listen")) {
            b.listen = argv[i + 1];
        } else if (!strcmp(argv[i], "--backend") && b.count < BACKENDS) {
            b.backends[b.count++] = argv[i + 1];
        } else if (!strcmp(argv[i], "--churn")) {
            b.churn_ms = (unsigned)strtoul(argv[i + 1], NULL, 10);
        }
    }
    struct board *board;
    uv_loop_t loop;
    if (board_new(1, &board)) {
        return 1;
    }
    uv_loop_init(&loop);
    struct proxy_options options = {.loop = &loop, .board = board, .worker = 0};
    int rc = proxy_new(&options, &b.proxy);
    rc = rc ? rc : start(b.proxy, b.listen, b.backends, b.count);
    if (!rc) {
        uv_signal_init(&loop, &b.term);
        uv_timer_init(&loop, &b.timer);
        b.term.data = b.timer.data = &b;
        uv_signal_start(&b.term, on_term, SIGTERM);
        if (b.churn_ms) {
            uv_timer_start(&b.timer, on_churn, b.churn_ms, b.churn_ms);
        }
        proxy_run(b.proxy);
        report(board, b.count);
    }
    proxy_free(b.proxy);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    board_free(board);
    return rc ? 1 : 0;
}
