/* stats.c - see stats.h. */
#define _GNU_SOURCE 1
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double BOUNDS_S[STATS_BOUNDS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                              0.05,   0.1,   0.25,   0.5,   1,    2.5};

/* Buckets grow by an eighth of a power of two, so a percentile is at most 6 % off. */
static int bucket_of(uint64_t us)
{
    if (us < 8) {
        return (int)us;
    }
    int power = 63 - __builtin_clzll(us);
    int bucket = (power - 2) * 8 + (int)(us >> (power - 3) & 7);
    return bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1;
}

static double bucket_middle_s(int bucket)
{
    if (bucket < 8) {
        return bucket / 1e6;
    }
    int power = bucket / 8 + 2;
    double width = (double)(1ULL << (power - 3));
    return ((8 + bucket % 8) * width + width / 2) / 1e6;
}

static struct stats_second *second_at(struct stats *st, uint64_t now_us)
{
    uint64_t second = now_us / 1000000;
    struct stats_second *slot = &st->window[second % STATS_WINDOW_S];

    if (slot->second != second) {
        memset(slot, 0, sizeof *slot);
        slot->second = second;
    }
    return slot;
}

/* Sums the last minute and returns how many seconds of it this process has lived. */
static double window_sum(const struct stats *st, uint64_t now_us, struct stats_second *ret_sum)
{
    uint64_t second = now_us / 1000000;
    double lived_s = (double)(now_us - st->started_us) / 1e6;

    memset(ret_sum, 0, sizeof *ret_sum);
    for (int i = 0; i < STATS_WINDOW_S; i++) {
        const struct stats_second *slot = &st->window[i];
        if (slot->second == 0 || slot->second + STATS_WINDOW_S <= second) {
            continue;
        }
        ret_sum->requests += slot->requests;
        ret_sum->errors += slot->errors;
        ret_sum->duration_us += slot->duration_us;
        ret_sum->records_received += slot->records_received;
        ret_sum->records_processed += slot->records_processed;
        ret_sum->records_bad += slot->records_bad;
        for (int b = 0; b < STATS_BUCKETS; b++) {
            ret_sum->buckets[b] += slot->buckets[b];
        }
    }
    double full_s = STATS_WINDOW_S - 1 + (double)(now_us % 1000000) / 1e6;
    return lived_s < 1 ? 1 : lived_s < full_s ? lived_s : full_s;
}

static double percentile_s(const struct stats_second *sum, double share)
{
    uint64_t passed = 0;

    for (int b = 0; b < STATS_BUCKETS; b++) {
        passed += sum->buckets[b];
        if (passed > 0 && (double)passed >= share * (double)sum->requests) {
            return bucket_middle_s(b);
        }
    }
    return 0;
}

static double share_of(uint64_t part, uint64_t whole, double when_none)
{
    return whole > 0 ? (double)part / (double)whole : when_none;
}

void stats_start(struct stats *st, uint64_t now_us)
{
    st->started_us = now_us;
    st->record_last_us = now_us;
}

void stats_request(struct stats *st, int route, int status, bool observer, uint64_t began_us,
                   uint64_t now_us)
{
    uint64_t us = now_us > began_us ? now_us - began_us : 0;
    double seconds = (double)us / 1e6;
    int bound = 0;

    while (bound < STATS_BOUNDS && seconds > BOUNDS_S[bound]) {
        bound++;
    }
    st->by_status[route][status]++;
    st->durations[route][bound]++;
    st->duration_s[route] += seconds;
    if (observer || status == STATS_ABORTED) {
        return;
    }
    struct stats_second *slot = second_at(st, now_us);
    slot->requests++;
    slot->errors += status >= 500;
    slot->duration_us += us;
    slot->buckets[bucket_of(us)]++;
}

void stats_records(struct stats *st, uint64_t received, uint64_t processed, uint64_t bad,
                   uint64_t now_us)
{
    struct stats_second *slot = second_at(st, now_us);

    slot->records_received += received;
    slot->records_processed += processed;
    slot->records_bad += bad;
    st->records_received += received;
    st->records_processed += processed;
    st->records_bad += bad;
    if (processed > 0) {
        st->record_last_us = now_us;
    }
}

void stats_performance(struct stats *st, uint64_t now_us, struct bytes *to)
{
    struct stats_second sum;
    double window_s = window_sum(st, now_us, &sum);
    double average_s = sum.requests ? (double)sum.duration_us / 1e6 / (double)sum.requests : 0;

    bytes_addf(to,
               "{\"avg_response_time\":%.6f,\"p50\":%.6f,\"p95\":%.6f,\"p99\":%.6f,"
               "\"throughput\":%.3f,\"error_rate\":%.6f,\"requests\":%" PRIu64
               ",\"window_s\":%.1f}\n",
               average_s, percentile_s(&sum, 0.50), percentile_s(&sum, 0.95),
               percentile_s(&sum, 0.99), (double)sum.requests / window_s,
               share_of(sum.errors, sum.requests, 0), sum.requests, window_s);
}

void stats_data(struct stats *st, uint64_t now_us, uint64_t queue_depth, struct bytes *to)
{
    struct stats_second sum;
    double window_s = window_sum(st, now_us, &sum);

    bytes_addf(
        to,
        "{\"records_processed\":%" PRIu64 ",\"processing_rate\":%.3f,\"queue_depth\":%" PRIu64
        ",\"data_quality\":{\"completeness\":%.6f,\"accuracy\":%.6f,\"freshness_s\":%.3f}}\n",
        st->records_processed, (double)sum.records_processed / window_s, queue_depth,
        share_of(sum.records_processed, sum.records_received, 1),
        1 - share_of(sum.records_bad, sum.records_processed, 0),
        (double)(now_us - st->record_last_us) / 1e6);
}

static uint64_t resident_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file) {
        if (fscanf(file, "%llu %llu", &total, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void one(struct bytes *to, const char *type, const char *name, const char *help,
                double value)
{
    bytes_addf(to, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name, value);
}

static void requests_show(const struct stats *st, stats_name_fn name, struct bytes *to)
{
    bytes_addf(to,
               "# HELP requests_total Requests by path class and status; 499 = no full answer.\n"
               "# TYPE requests_total counter\n");
    for (int r = 0; name(r); r++) {
        for (int s = 0; s < STATS_STATUS_MAX; s++) {
            if (st->by_status[r][s]) {
                bytes_addf(to, "requests_total{path=\"%s\",code=\"%d\"} %" PRIu64 "\n", name(r), s,
                           st->by_status[r][s]);
            }
        }
    }
}

static void durations_show(const struct stats *st, stats_name_fn name, struct bytes *to)
{
    bytes_addf(to, "# HELP request_duration_seconds From request head to the end of the answer.\n"
                   "# TYPE request_duration_seconds histogram\n");
    for (int r = 0; name(r); r++) {
        uint64_t count = 0;
        for (int b = 0; b <= STATS_BOUNDS; b++) {
            count += st->durations[r][b];
        }
        if (count == 0) {
            continue;
        }
        uint64_t passed = 0;
        for (int b = 0; b < STATS_BOUNDS; b++) {
            passed += st->durations[r][b];
            bytes_addf(to, "request_duration_seconds_bucket{path=\"%s\",le=\"%g\"} %" PRIu64 "\n",
                       name(r), BOUNDS_S[b], passed);
        }
        bytes_addf(to,
                   "request_duration_seconds_bucket{path=\"%s\",le=\"+Inf\"} %" PRIu64
                   "\nrequest_duration_seconds_sum{path=\"%s\"} %.6f\n"
                   "request_duration_seconds_count{path=\"%s\"} %" PRIu64 "\n",
                   name(r), count, name(r), st->duration_s[r], name(r), count);
    }
}

void stats_prometheus(struct stats *st, uint64_t now_us, uint64_t queue_depth, stats_name_fn name,
                      struct bytes *to)
{
    struct timespec cpu;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    requests_show(st, name, to);
    durations_show(st, name, to);
    one(to, "gauge", "requests_in_flight", "Requests being answered now.", (double)st->in_flight);
    one(to, "gauge", "connections_open", "Open client connections.", (double)st->connections);
    one(to, "counter", "connections_total", "Accepted client connections.",
        (double)st->connections_total);
    one(to, "gauge", "queue_depth", "Work that waits for a thread.", (double)queue_depth);
    one(to, "counter", "records_received_total", "Records given to /work.",
        (double)st->records_received);
    one(to, "counter", "records_processed_total", "Records that /work processed.",
        (double)st->records_processed);
    one(to, "counter", "records_bad_total", "Processed records that were malformed.",
        (double)st->records_bad);
    one(to, "gauge", "process_resident_memory_bytes", "Resident memory.", (double)resident_bytes());
    one(to, "counter", "process_cpu_seconds_total", "CPU time of all threads.",
        (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    one(to, "gauge", "process_uptime_seconds", "Time since the start.",
        (double)(now_us - st->started_us) / 1e6);
}
