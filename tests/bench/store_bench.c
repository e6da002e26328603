/* store_bench.c: what keeping samples costs: CPU time of the caller and of the writer at a fixed rate,
 * bytes on disk a sample, how long the loop is held, how long opening takes after a kill.
 *
 *     store_bench DIR SERIES INTERVAL_S RATE SECONDS
 *
 * Series are of five kinds: counters, noisy percentages, memory in bytes, latencies with a heavy tail,
 * constants. Sample times are those of series that are sampled every INTERVAL_S, with some
 * milliseconds of jitter; they run ahead of the clock so that RATE samples a second are given. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "store/store.h"

enum {
    TICK_MS = 10,
    BURSTS = 100000
};

struct bench {
    struct store *store;
    uv_timer_t timer;
    uint32_t *ids;
    double *state;
    uint64_t *random;
    uint32_t series, at;
    uint64_t interval_ms, round_ms, due, given, rate, began_us, seconds;
    uint64_t calls_us, calls_cpu_us;
    uint32_t burst_us[BURSTS];
    size_t bursts;
    struct store_figures figures;
};

static double uniform(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) / 9007199254740992.0;
}

static double normal(uint64_t *r)
{
    return sqrt(-2 * log(uniform(r) + 1e-12)) * cos(6.283185307 * uniform(r));
}

static double next_value(struct bench *b, uint32_t i)
{
    uint64_t *r = &b->random[i];
    double *x = &b->state[i];
    switch (i % 5) {
    case 0: /* a counter of requests */
        return *x += floor(40 + 12 * normal(r));
    case 1: /* per cent of CPU, with all the digits of a quotient */
        *x += 0.05 * (35 - *x) + 2 * normal(r);
        return fabs(*x) / 3.0;
    case 2: /* memory: whole pages, rises and falls */
        *x += uniform(r) < 0.4 ? 4096 * floor(8 * normal(r)) : 0;
        return 2e8 + *x;
    case 3: /* a latency in seconds */
        return 0.012 * exp(0.6 * normal(r));
    default: /* wanted instances */
        *x += uniform(r) < 0.002 ? 1 : 0;
        return 3 + fmod(*x, 4);
    }
}

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void give(struct bench *b, size_t count)
{
    static double values[4096];
    static uint64_t times[4096];
    uint32_t at = b->at;
    for (size_t i = 0; i < count; i++) {
        values[i] = next_value(b, at);
        times[i] = b->round_ms + (uint64_t)(3 * uniform(&b->random[0]));
        if (++at == b->series) {
            at = 0;
            b->round_ms += b->interval_ms;
        }
    }
    uint64_t before_us = clock_now_us(), before_cpu_us = cpu_us();
    for (size_t i = 0; i < count; i++) {
        store_sample(b->store, b->ids[b->at], times[i], values[i]);
        b->at = b->at + 1 == b->series ? 0 : b->at + 1;
    }
    b->calls_cpu_us += cpu_us() - before_cpu_us;
    uint64_t took_us = clock_now_us() - before_us;
    b->calls_us += took_us;
    if (b->bursts < BURSTS) {
        b->burst_us[b->bursts++] = (uint32_t)took_us;
    }
    b->given += count;
}

static void on_tick(uv_timer_t *timer)
{
    struct bench *b = timer->data;
    uint64_t elapsed_us = clock_now_us() - b->began_us;
    uint64_t due = elapsed_us * b->rate / 1000000;
    while (b->given < due) {
        give(b, due - b->given < 4096 ? due - b->given : 4096);
    }
    if (elapsed_us >= b->seconds * 1000000) {
        uv_close((uv_handle_t *)timer, NULL);
        store_figures(b->store, &b->figures);
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void fill(struct bench *b)
{
    b->ids = calloc(b->series, sizeof *b->ids);
    b->state = calloc(b->series, sizeof *b->state);
    b->random = calloc(b->series, sizeof *b->random);
    for (uint32_t i = 0; i < b->series; i++) {
        char instance[32], metric[32];
        snprintf(instance, sizeof instance, "catalog-%u", i / 20);
        snprintf(metric, sizeof metric, "metric_%u", i % 20);
        b->ids[i] = store_series(b->store, "catalog", instance, metric);
        b->random[i] = 88172645463325252u + i * 7919u;
    }
}

static struct store *open_store(uv_loop_t *loop, const char *dir)
{
    struct store_options o = {.loop = loop, .dir = dir, .bytes = 1ull << 40};
    struct store *store = NULL;
    char *error = NULL;
    if (store_open(&o, &store, &error)) {
        fprintf(stderr, "store_bench: %s\n", error);
        exit(1);
    }
    return store;
}

/* Ends without closing: what is then found is what a kill leaves. */
static void run(const char *dir, char **argv)
{
    static struct bench b;
    uv_loop_t loop;
    uv_loop_init(&loop);
    b.store = open_store(&loop, dir);
    b.series = (uint32_t)strtoul(argv[2], NULL, 10);
    b.interval_ms = strtoull(argv[3], NULL, 10) * 1000;
    b.rate = strtoull(argv[4], NULL, 10);
    b.seconds = strtoull(argv[5], NULL, 10);
    b.round_ms = clock_wall_ms() - clock_wall_ms() % 86400000;
    fill(&b);
    b.began_us = clock_now_us();
    b.timer.data = &b;
    uv_timer_init(&loop, &b.timer);
    uv_timer_start(&b.timer, on_tick, TICK_MS, TICK_MS);
    while (uv_is_active((uv_handle_t *)&b.timer)) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    qsort(b.burst_us, b.bursts, sizeof b.burst_us[0], by_size);
    double wall_us = (double)(clock_now_us() - b.began_us);
    double writer = 100 * (double)b.figures.writer_cpu_us / wall_us;
    double caller = 100 * (double)b.calls_cpu_us / wall_us;
    printf("samples=%" PRIu64 " lost=%" PRIu64 " chunks=%" PRIu64 " rate=%.0f/s\n",
           b.figures.samples, b.figures.samples_lost, b.figures.chunks,
           (double)b.given / wall_us * 1e6);
    printf("cpu of a core: writer %.2f %% + caller %.2f %% = %.2f %%\n", writer, caller,
           writer + caller);
    printf("loop held by %u ms worth of samples: p50 %u us, p99 %u us, most %u us\n", TICK_MS,
           b.burst_us[b.bursts / 2], b.burst_us[b.bursts * 99 / 100], b.burst_us[b.bursts - 1]);
    printf("filed=%" PRIu64 "\n", b.figures.filed);
    fflush(stdout);
    _exit(0);
}

static void on_closed(void *arg)
{
    (void)arg;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: store_bench DIR SERIES INTERVAL_S RATE SECONDS\n");
        return 2;
    }
    pid_t child = fork();
    if (child == 0) {
        run(argv[1], argv);
    }
    int status;
    waitpid(child, &status, 0);
    if (status) {
        return 1;
    }
    uv_loop_t loop;
    uv_loop_init(&loop);
    uint64_t before_us = clock_now_us();
    struct store *store = open_store(&loop, argv[1]);
    printf("open after the kill: %.0f ms\n", (double)(clock_now_us() - before_us) / 1000);
    store_close(store, on_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}
