/* metrics_bench.c: what metrics cost: counting on the request path, and pages of many series.
 *
 *     metrics_bench        figures as name=value
 *
 * A page is told by a writer of the bench: a quarter of its series have values with digits behind the
 * point, the rest are whole; labels are those of a backend. It is made in steps of 1 ms as the daemon makes
 * it; `step` is the longest one. Times are the least of five pages, since others use the machine too. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "board/board.h"
#include "board/traffic.h"
#include "watch/families.h"
#include "watch/page.h"

enum {
    ROUNDS = 5,
    COUNTS = 20000000,
    ROUTES = 64,
    STEP_US = 1000,
    PORTION = 64,
    LIMIT = 200000
};

static const enum family TOLD[] = {
    FAMILY_BACKEND_RETRIES,        FAMILY_BACKEND_IN_FLIGHT,  FAMILY_BACKEND_IDLE_CONNECTIONS,
    FAMILY_BACKEND_RECEIVED_BYTES, FAMILY_BACKEND_SENT_BYTES, FAMILY_BACKEND_EJECTIONS,
    FAMILY_CIRCUIT_STATE,          FAMILY_CIRCUIT_OPENED,
};

enum {
    TOLD_COUNT = sizeof TOLD / sizeof *TOLD
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

static uint64_t next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* ---- Counting ---------------------------------------------------------------------------- */

static void counting(void)
{
    struct board *b = NULL;
    must(!board_new(2, &b));
    struct board_traffic *t = board_traffic_new(b, 0);
    uint64_t routes[ROUTES], random = 88172645463325252u;
    for (int i = 0; i < ROUTES; i++) {
        routes[i] = next(&random);
    }
    double inc_ns = 1e9, observe_ns = 1e9, request_ns = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t from_us = clock_now_us();
        for (uint32_t i = 0; i < COUNTS; i++) {
            board_traffic_count(t, routes[i % ROUTES], 1, 200);
        }
        inc_ns = least(inc_ns, (double)(clock_now_us() - from_us) * 1e3 / COUNTS);
        struct board_times *times = board_traffic_times(t, routes[0], 1);
        from_us = clock_now_us();
        for (uint32_t i = 0; i < COUNTS; i++) {
            board_traffic_observe(times, next(&random) % 65536);
        }
        observe_ns = least(observe_ns, (double)(clock_now_us() - from_us) * 1e3 / COUNTS);
        from_us = clock_now_us();
        for (uint32_t i = 0; i < COUNTS; i++) { /* as proxy_tally_request and its end */
            uint64_t route = routes[next(&random) % ROUTES];
            times = board_traffic_times(t, route, 1);
            board_add(&times->in_flight, 1);
            board_sub(&times->in_flight, 1);
            board_traffic_observe(times, next(&random) % 65536);
            board_traffic_count(t, route, 1, 200);
        }
        request_ns = least(request_ns, (double)(clock_now_us() - from_us) * 1e3 / COUNTS);
    }
    printf("inc_ns=%.1f\nobserve_ns=%.1f\nrequest_ns=%.1f\n", inc_ns, observe_ns, request_ns);
    board_traffic_free(t);
    board_free(b);
}

/* ---- Pages ------------------------------------------------------------------------------- */

struct source {
    uint64_t backends;
    double turn;
};

static bool write_backends(void *arg, struct families *f, uint64_t *at)
{
    const struct source *s = arg;
    for (unsigned i = 0; i < PORTION && *at < s->backends; i++, ++*at) {
        struct labels labels;
        char service[32], backend[48]; /* with a number of 20 digits */
        snprintf(service, sizeof service, "service-%" PRIu64, *at / 50);
        snprintf(backend, sizeof backend, "service-%" PRIu64 "-%" PRIu64, *at / 50, *at % 50);
        labels_begin(&labels);
        labels_add(&labels, "service", service);
        labels_add(&labels, "backend", backend);
        for (unsigned n = 0; n < TOLD_COUNT; n++) {
            double value = (double)(*at * 1000 + n) + s->turn;
            families_add(f, TOLD[n], &labels, n % 4 == 1 ? value / 7 : value);
        }
    }
    return *at < s->backends;
}

static void pages(uint64_t series, bool gzip)
{
    struct families *f = families_new(LIMIT, 100);
    struct source source = {.backends = series / TOLD_COUNT};
    const struct page_writer writer = {write_backends, &source};
    double whole_ms = 1e9, step_ms = 0, first_ms = 0;
    size_t len = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        source.turn++;
        uint64_t from_us = clock_now_us(), longest_us = 0;
        struct page *p =
            page_new(f, &writer, 1, FAMILIES_OPENMETRICS, gzip, (uint64_t)round * 15000);
        for (bool done = false; !done;) {
            uint64_t step_us = clock_now_us();
            done = page_step(p, STEP_US);
            step_us = clock_now_us() - step_us;
            longest_us = step_us > longest_us ? step_us : longest_us;
        }
        double took_ms = (double)(clock_now_us() - from_us) / 1e3;
        if (!round) {
            first_ms = took_ms; /* makes the series */
        } else {
            whole_ms = least(whole_ms, took_ms);
            step_ms =
                round == 1 ? (double)longest_us / 1e3 : least(step_ms, (double)longest_us / 1e3);
        }
        char *bytes = NULL;
        must(!page_take(p, &bytes, &len));
        mem_free(bytes);
        page_free(p);
    }
    struct families_size size;
    families_size(f, &size);
    printf("series=%" PRIu64 " gzip=%d page_ms=%.1f first_ms=%.1f step_ms=%.2f page_bytes=%zu "
           "bytes_a_series=%.0f\n",
           series, gzip, whole_ms, first_ms, step_ms, len,
           (double)size.bytes / (double)size.series);
    families_free(f);
}

int main(void)
{
    counting();
    pages(10000, false);
    pages(100000, false);
    pages(10000, true);
    pages(100000, true);
    return 0;
}
