/* balance_bench.c: what it costs to choose a backend, by policy, beside C round robin.
 *
 *   ninja -C build/release balance_bench && build/release/balance_bench [ROUNDS]
 *
 * Two tables of ns of CPU, best of ROUNDS (7), for 3, 10 and 100 backends:
 *   pick     script_pick alone, over rows that differ: what Lua computes
 *   request  what a worker does around it: rows filled, pick, place taken, answer counted, place given
 *            back. Requests come 25 us apart, as under load, so that what is refreshed once a
 *            millisecond is refreshed as often as then.
 * "C round robin" is the same without policy and rows: the difference to it is what Lua adds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"
#include "proxy/parts.h"

enum {
    MOST = 100,
    REQUESTS = 1024, /* that take turns */
    PICKS = 20000,
    REQUEST_US = 25
};

static const struct variant {
    const char *label, *balance; /* as in a configuration */
    bool data;
} variants[] = {
    {"round_robin", "'round_robin'", false},
    {"weighted_round_robin", "'weighted_round_robin'", false},
    {"least_connections", "'least_connections'", false},
    {"least_response_time", "'least_response_time'", false},
    {"ewma", "'ewma'", false},
    {"ewma, all looked at", "{ 'ewma', choices_above = 1000 }", false},
    {"zone_aware", "'zone_aware'", false},
    {"consistent_hashing", "'consistent_hashing'", false},
    {"consistent_hashing, no bound", "{ 'consistent_hashing', balance_factor = 0 }", false},
    {"data_locality_aware", "'data_locality_aware'", true},
    {"data_locality_aware, no data", "'data_locality_aware'", false},
    {"least_response_time, seed", "{ 'least_response_time', scoring = 'seed' }", false},
    {"data_locality_aware, seed", "{ 'data_locality_aware', scoring = 'seed' }", true},
};

enum {
    VARIANTS = sizeof variants / sizeof *variants
};

static const uint32_t sizes[] = {3, 10, MOST};
static struct script_request requests[REQUESTS];

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void make_requests(void)
{
    uint32_t chance = 1;
    for (int i = 0; i < REQUESTS; i++) {
        chance = chance * 1664525u + 1013904223u;
        requests[i] = (struct script_request){.hash = chance ^ chance >> 15,
                                              .key = chance * 2654435761u,
                                              .tags = 1u << (chance >> 27) % 8,
                                              .tag_count = 1,
                                              .zone = 1,
                                              .method = 1};
    }
}

static struct cJSON *config_of(const struct variant *v)
{
    char path[] = "/tmp/balance_bench.XXXXXX", *warnings = NULL, *error = NULL;
    struct cJSON *config = NULL;
    int fd = mkstemp(path);
    if (fd < 0) {
        perror("balance_bench");
        exit(1);
    }
    dprintf(fd, "cluster { id = 'bench', engine = 'process' }\nservice 'bench' { backends = {");
    for (unsigned i = 0; i < MOST; i++) {
        dprintf(fd, " '127.0.0.1:%u',", 10000 + i);
    }
    dprintf(fd, " }, route = { listen = '127.0.0.1:9', balance = %s } }\n",
            v ? v->balance : "'round_robin'");
    close(fd);
    if (script_load(path, NULL, &config, &warnings, &error)) {
        fprintf(stderr, "balance_bench: %s\n", error);
        exit(1);
    }
    unlink(path);
    mem_free(warnings);
    json_set_bool(config, "builtin_balance", !v);
    return config;
}

static struct cJSON *roster_of(uint32_t count)
{
    struct cJSON *roster = json_object(), *services = json_array(), *service = json_object();
    struct cJSON *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char text[32]; /* words and a number of at most 10 digits */
        struct cJSON *b = json_object(), *tags = json_array();
        snprintf(text, sizeof text, "127.0.0.1:%u", 10000 + i);
        json_set_str(b, "id", text);
        json_set_str(b, "address", text);
        json_set_num(b, "slot", i);
        json_set_num(b, "weight", 1);
        json_set_num(b, "capacity", 1000);
        json_set_num(b, "max_connections", 100);
        snprintf(text, sizeof text, "tag:%u", i % 8);
        json_add_str(tags, text);
        json_set(b, "tags", tags);
        json_set(list, NULL, b);
    }
    json_set_str(service, "name", "bench");
    json_set(service, "backends", list);
    json_set(services, NULL, service);
    json_set_num(roster, "version", 1);
    json_set(roster, "services", services);
    return roster;
}

/* The route, with a roster of `count` backends that differ in load and speed. */
static struct route *set_up(struct proxy *p, const struct variant *v, uint32_t count)
{
    struct cJSON *config = config_of(v), *roster = roster_of(count);
    char *error = NULL;
    if (proxy_prepare(p, 1, config, &error) || proxy_commit(p) || proxy_roster(p, roster)) {
        fprintf(stderr, "balance_bench: %s\n", error ? error : "refused");
        exit(1);
    }
    json_free(config);
    json_free(roster);
    struct route *r = &p->current->routes[0];
    for (uint32_t i = 0; i < count; i++) {
        struct backend *b = r->service->backends[i];
        board_set(&b->row->in_flight, i * 7 % 5);
        b->row->response_ms.value = 1 + i * 3 % 7;
        b->row->response_ms.weight = 1;
        b->row->response_ms.at_us = p->now_us;
        r->rows[i].in_flight = (double)(i * 7 % 5);
        r->rows[i].response_ms = r->rows[i].response_mean_ms = b->row->response_ms.value;
        r->rows[i].eligible = 1;
        r->rows[i].tags = 1u << i % 8;
    }
    return r;
}

static uint32_t turn;

static void only_pick(struct exchange *ex, const struct variant *v, uint32_t count)
{
    int at;
    if (v) {
        requests[turn % REQUESTS].data = v->data;
        requests[turn % REQUESTS].in_flight = 2.0 * count; /* as set_up spreads them */
        requests[turn % REQUESTS].changes = 1;
        at = script_pick(ex->route->picker, &requests[turn % REQUESTS]);
    } else {
        at = (int)(turn % count);
        while (!ex->route->rows[at].eligible) {
            at = at + 1 < (int)count ? at + 1 : 0;
        }
    }
    if (at < 0) {
        fprintf(stderr, "balance_bench: %s\n", script_picker_error(ex->route->picker));
        exit(1);
    }
    turn++;
}

static void whole_request(struct exchange *ex, const struct variant *v, uint32_t count)
{
    struct proxy *p = ex->session->proxy;
    struct backend *b;
    p->now_us += REQUEST_US;
    p->now_ms = p->now_us / 1000;
    if (v) {
        const struct script_request *like = &requests[turn % REQUESTS];
        ex->view = (struct view){.key = like->key,
                                 .tags = like->tags,
                                 .tag_count = 1,
                                 .data = v->data,
                                 .tags_version = ex->route->service->tags_version};
        b = proxy_pick(ex);
    } else {
        b = ex->route->service->backends[turn % count];
        (void)proxy_guard_enter(ex, b);
        (void)board_reserve(p->options.board, 0, b->slot, (uint64_t)b->max_connections);
    }
    if (!b) {
        fprintf(stderr, "balance_bench: no backend\n");
        exit(1);
    }
    proxy_tally_begin(ex, b);
    uint64_t now_us = p->now_us;
    proxy_tally_answer(ex, 200);
    p->now_us = now_us;
    proxy_tally_end(ex);
    turn++;
}

typedef void step_fn(struct exchange *ex, const struct variant *v, uint32_t count);

static void print_row(struct proxy *p, const char *label, const struct variant *v, step_fn *step,
                      int rounds)
{
    printf("%-32s", label);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct session session = {.proxy = p};
        struct exchange ex = {.session = &session, .method = HTTP1_GET};
        double best = 1e18;
        ex.route = set_up(p, v, sizes[s]);
        for (int round = -1; round < rounds; round++) { /* the first one compiles */
            double from = cpu_ns();
            for (int i = 0; i < PICKS; i++) {
                step(&ex, v, sizes[s]);
            }
            double took = (cpu_ns() - from) / PICKS;
            best = round >= 0 && took < best ? took : best;
        }
        printf(" %7.0f", best);
    }
    printf("\n");
}

static void print_table(struct proxy *p, const char *title, step_fn *step, int rounds)
{
    printf("%-32s %7u %7u %7u\n", title, sizes[0], sizes[1], sizes[2]);
    print_row(p, "C round robin", NULL, step, rounds);
    for (int i = 0; i < VARIANTS; i++) {
        print_row(p, variants[i].label, &variants[i], step, rounds);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 7;
    struct board *board;
    struct proxy *p;
    uv_loop_t loop;
    uv_loop_init(&loop);
    if (board_new(1, &board)) {
        return 1;
    }
    struct proxy_options options = {.loop = &loop, .board = board, .worker = 0};
    if (proxy_new(&options, &p)) {
        return 1;
    }
    make_requests();
    print_table(p, "ns of a pick, backends:", only_pick, rounds);
    print_table(p, "ns of a request, backends:", whole_request, rounds);
    proxy_free(p);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    board_free(board);
    return 0;
}
