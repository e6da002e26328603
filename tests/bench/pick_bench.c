/* pick_bench.c: what a balance policy adds to a request: CPU time of a pick in Lua less that of a round robin in C.
 *
 *   ninja -C build/release pick_bench && build/release/pick_bench
 *
 * Prints "scenario TAB policy TAB nanoseconds" lines for table.lua: the best of seven runs, since CPU time is only
 * ever too much. Rows and requests change between picks, so that no branch is always taken the same way. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/script.h"

enum {
    BACKENDS = 100,
    PICKS = 400000,
    RUNS = 7
};

static const char *const policies[] = {"ewma", "least_connections", "round_robin",
                                       "least_response_time"};
enum {
    POLICIES = sizeof policies / sizeof *policies
};

static struct script_backend rows[BACKENDS];

/* As an operator would write it: a service for each policy, with the parameters it comes with. */
static struct cJSON *config_of(void)
{
    char path[] = "/tmp/pick_bench.XXXXXX", *warnings = NULL, *error = NULL;
    struct cJSON *config = NULL;
    int fd = mkstemp(path);
    if (fd < 0) {
        perror("pick_bench");
        return NULL;
    }
    dprintf(fd, "cluster { id = 'bench', engine = 'process' }\n");
    for (size_t i = 0; i < POLICIES; i++) {
        dprintf(fd,
                "service 's%zu' { backends = { '127.0.0.1:1' }, "
                "route = { listen = '127.0.0.1:%zu', balance = '%s' } }\n",
                i, i + 1, policies[i]);
    }
    close(fd);
    if (script_load(path, NULL, &config, &warnings, &error)) {
        fprintf(stderr, "pick_bench: %s\n", error);
    }
    unlink(path);
    mem_free(warnings);
    mem_free(error);
    return config;
}

static const struct cJSON *balance_of(const struct cJSON *service)
{
    return json_get(json_first(json_get(service, "routes")), "balance");
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void fill_rows(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < BACKENDS; i++) {
        rows[i] = (struct script_backend){.in_flight = next(&seed) % 8,
                                          .weight = 1,
                                          .response_ms = 1 + next(&seed) % 9,
                                          .response_mean_ms = 5,
                                          .age_s = 1000,
                                          .ramp = 1,
                                          .hash = next(&seed),
                                          .eligible = 1};
    }
}

/* What a pick in C would cost: the next row that may be picked. */
static __attribute__((noinline)) int pick_next(uint32_t *turn, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *turn = *turn + 1 < count ? *turn + 1 : 0;
        if (rows[*turn].eligible) {
            return (int)*turn;
        }
    }
    return -1;
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds of one pick; of the round robin in C without a picker. -1: the policy failed. */
static double time_picks(struct script_picker *picker, uint32_t count)
{
    double best = -1;
    uint32_t seed = 7, turn = 0;
    for (int run = 0; run < RUNS; run++) {
        double from = cpu_ns();
        for (int i = 0; i < PICKS; i++) {
            struct script_request request = {
                .now_ms = run * 1000.0 + i / 400.0, .hash = next(&seed), .method = 1};
            int at = picker ? script_pick(picker, &request) : pick_next(&turn, count);
            if (at < 0) {
                return -1;
            }
            rows[at].in_flight = (double)(request.hash & 7);
        }
        double each = (cpu_ns() - from) / PICKS;
        best = best < 0 || each < best ? each : best;
    }
    return best;
}

static int measure(struct script_hot *hot, const struct cJSON *balance, uint32_t count)
{
    const char *policy = json_str(balance, "policy", "");
    struct script_picker *picker = NULL;
    char *error = NULL;
    int rc = script_picker_new(hot, policy, json_get(balance, "params"), rows, BACKENDS, &picker,
                               &error);
    if (rc) {
        fprintf(stderr, "pick_bench: %s\n", error ? error : policy);
        mem_free(error);
        return rc;
    }
    script_picker_resize(picker, count);
    double plain = time_picks(NULL, count), each = time_picks(picker, count);
    if (each < 0) {
        fprintf(stderr, "pick_bench: %s: %s\n", policy, script_picker_error(picker));
        rc = -1;
    } else {
        printf("Lua's part of a pick, %u backends\t%s\t%.1f\n", count, policy,
               each > plain ? each - plain : 0);
    }
    script_picker_free(picker);
    return rc;
}

int main(void)
{
    struct script_hot *hot = NULL;
    struct cJSON *config = config_of();
    char *error = NULL;
    int rc = config ? script_hot_new(config, NULL, &hot, &error) : -1;
    if (!rc) {
        fill_rows();
        script_hot_live(hot);
    }
    const struct cJSON *service = json_first(json_get(config, "services"));
    for (; !rc && service; service = json_next(service)) {
        rc = measure(hot, balance_of(service), 3);
        rc = rc ? rc : measure(hot, balance_of(service), BACKENDS);
    }
    if (error) {
        fprintf(stderr, "pick_bench: %s\n", error);
    }
    mem_free(error);
    script_hot_free(hot);
    json_free(config);
    return rc ? 1 : 0;
}
