/* board.c: see board.h.
 *
 * Owns: the mapping and its layout; nobody else computes an offset.
 * Invariants: every 64-bit field is written by one process with relaxed atomic
 * stores, so a reader sees old or new, never half. */
#include "board/board.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "board/board_private.h"

enum {
    MAGIC = 0x74696465, /* "tide" */
    VERSION = 8,
    SUB_BITS = 4, /* 16 sub-buckets a power of two */
    SUBS = 1 << SUB_BITS,
    LINE = 64, /* bytes of a cache line: rows of different writers never share one */
    CLIENT_BUCKET = BOARD_CLIENT_CELLS * sizeof(uint64_t),
    RATE_BUCKET = BOARD_RATE_CELLS * 2 * sizeof(uint64_t)
};

struct header {
    uint32_t magic, version;
    uint32_t workers, backends;
    uint64_t size;
    uint64_t secret;
};

struct board {
    int fd;
    unsigned workers;
    size_t size;
    char *base;
    size_t row_size, workers_at, routes_at, clients_at, circuits_at, recents_at, rates_at, rows_at,
        histograms_at, traffic_at;
};

static size_t to_line(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

static void lay_out(struct board *b, unsigned workers)
{
    b->workers = workers;
    b->row_size = to_line(sizeof(struct board_row));
    b->workers_at = to_line(sizeof(struct header));
    b->routes_at = b->workers_at + workers * to_line(sizeof(struct board_worker));
    b->clients_at =
        b->routes_at + (size_t)workers * BOARD_ROUTES * to_line(sizeof(struct board_route));
    b->circuits_at = b->clients_at + (size_t)workers * BOARD_CLIENT_BUCKETS * CLIENT_BUCKET;
    b->recents_at = b->circuits_at + LIMIT_BACKENDS * to_line(sizeof(struct board_circuit));
    b->rates_at = b->recents_at + LIMIT_BACKENDS * to_line(sizeof(struct board_recent));
    b->rows_at = b->rates_at + (size_t)BOARD_RATE_BUCKETS * RATE_BUCKET;
    b->histograms_at = b->rows_at + (size_t)workers * LIMIT_BACKENDS * b->row_size;
    b->traffic_at = to_line(b->histograms_at +
                            (size_t)workers * LIMIT_BACKENDS * BOARD_BUCKETS * sizeof(uint64_t));
    b->size = b->traffic_at + (size_t)workers * to_line(sizeof(struct board_traffic_rows));
}

static int map(struct board *b)
{
    void *base = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    if (base == MAP_FAILED) {
        return -errno;
    }
    b->base = base;
    return 0;
}

int board_new(unsigned workers, struct board **ret_board)
{
    must(workers > 0 && workers <= LIMIT_WORKERS);
    struct board *b = mem_new(sizeof *b);
    int rc = 0;
    lay_out(b, workers);
    b->fd = memfd_create("tidegate-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct header header = {MAGIC, VERSION, workers, LIMIT_BACKENDS, b->size, 0};
    if (b->fd < 0 || ftruncate(b->fd, (off_t)b->size) < 0 ||
        fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
        getrandom(&header.secret, sizeof header.secret, 0) < 0) {
        rc = -errno;
    } else {
        rc = map(b);
    }
    if (rc) {
        board_free(b);
        return rc;
    }
    *(struct header *)(void *)b->base = header;
    *ret_board = b;
    return 0;
}

int board_open(int fd, struct board **ret_board)
{
    struct header h;
    struct stat st;
    if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || fstat(fd, &st) < 0 || h.magic != MAGIC ||
        h.version != VERSION || h.backends != LIMIT_BACKENDS || !h.workers ||
        h.workers > LIMIT_WORKERS) {
        return -EINVAL;
    }
    struct board *b = mem_new(sizeof *b);
    b->fd = fd;
    lay_out(b, h.workers);
    int rc = b->size == (size_t)st.st_size ? map(b) : -EINVAL;
    if (rc) {
        mem_free(b);
        return rc;
    }
    *ret_board = b;
    return 0;
}

void board_free(struct board *b)
{
    if (!b) {
        return;
    }
    if (b->base) {
        munmap(b->base, b->size);
    }
    if (b->fd >= 0) {
        close(b->fd);
    }
    mem_free(b);
}

int board_fd(const struct board *b)
{
    return b->fd;
}

unsigned board_workers(const struct board *b)
{
    return b->workers;
}

struct board_row *board_row(struct board *b, unsigned worker, unsigned slot)
{
    must(worker < b->workers && slot < LIMIT_BACKENDS);
    size_t at = b->rows_at + ((size_t)worker * LIMIT_BACKENDS + slot) * b->row_size;
    return (struct board_row *)(void *)(b->base + at);
}

struct board_worker *board_worker(struct board *b, unsigned worker)
{
    must(worker < b->workers);
    size_t at = b->workers_at + worker * to_line(sizeof(struct board_worker));
    return (struct board_worker *)(void *)(b->base + at);
}

struct board_circuit *board_circuit(const struct board *b, unsigned slot)
{
    must(slot < LIMIT_BACKENDS);
    size_t at = b->circuits_at + slot * to_line(sizeof(struct board_circuit));
    return (struct board_circuit *)(void *)(b->base + at);
}

struct board_route *board_route(struct board *b, unsigned worker, unsigned route)
{
    must(worker < b->workers && route < BOARD_ROUTES);
    size_t at = ((size_t)worker * BOARD_ROUTES + route) * to_line(sizeof(struct board_route));
    return (struct board_route *)(void *)(b->base + b->routes_at + at);
}

uint64_t *board_clients(struct board *b, unsigned worker, unsigned bucket)
{
    must(worker < b->workers && bucket < BOARD_CLIENT_BUCKETS);
    size_t at = ((size_t)worker * BOARD_CLIENT_BUCKETS + bucket) * CLIENT_BUCKET;
    return (uint64_t *)(void *)(b->base + b->clients_at + at);
}

uint64_t *board_rates(const struct board *b, unsigned bucket)
{
    must(bucket < BOARD_RATE_BUCKETS);
    return (uint64_t *)(void *)(b->base + b->rates_at + (size_t)bucket * RATE_BUCKET);
}

uint64_t board_secret(const struct board *b)
{
    return ((const struct header *)(const void *)b->base)->secret;
}

uint64_t board_queue_length(const struct board *b, unsigned route)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < b->workers; w++) {
        sum += board_get(&board_route((struct board *)b, w, route)->queued);
    }
    return sum;
}

static struct board_recent *recent_of(const struct board *b, unsigned slot)
{
    must(slot < LIMIT_BACKENDS);
    size_t at = b->recents_at + slot * to_line(sizeof(struct board_recent));
    return (struct board_recent *)(void *)(b->base + at);
}

void board_recent_add(struct board *b, unsigned slot, double ms)
{
    struct board_recent *r = recent_of(b, slot);
    uint64_t at = __atomic_fetch_add(&r->count, 1, __ATOMIC_RELAXED);
    float value = (float)ms;
    __atomic_store(&r->ms[at % BOARD_RECENT], &value, __ATOMIC_RELAXED);
}

const struct board_recent *board_recent(const struct board *b, unsigned slot)
{
    return recent_of(b, slot);
}

double board_recent_mean(const struct board_recent *r)
{
    uint64_t count = __atomic_load_n(&r->count, __ATOMIC_RELAXED);
    uint64_t n = count < BOARD_RECENT ? count : BOARD_RECENT;
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        float value;
        __atomic_load(&r->ms[i], &value, __ATOMIC_RELAXED);
        sum += (double)value;
    }
    return n ? sum / (double)n : 0;
}

struct board_traffic_rows *board_traffic_rows(const struct board *b, unsigned worker)
{
    must(worker < b->workers);
    size_t at = b->traffic_at + worker * to_line(sizeof(struct board_traffic_rows));
    return (struct board_traffic_rows *)(void *)(b->base + at);
}

static uint64_t *histogram(const struct board *b, unsigned worker, unsigned slot)
{
    must(worker < b->workers && slot < LIMIT_BACKENDS);
    size_t at = ((size_t)worker * LIMIT_BACKENDS + slot) * BOARD_BUCKETS * sizeof(uint64_t);
    return (uint64_t *)(void *)(b->base + b->histograms_at + at);
}

unsigned board_bucket_of(uint64_t latency_us)
{
    if (latency_us < SUBS) {
        return (unsigned)latency_us;
    }
    unsigned power = 63u - (unsigned)__builtin_clzll(latency_us);
    unsigned sub = (unsigned)(latency_us >> (power - SUB_BITS)) & (SUBS - 1);
    unsigned bucket = (power - SUB_BITS + 1) * SUBS + sub;
    return bucket < BOARD_BUCKETS ? bucket : BOARD_BUCKETS - 1;
}

uint64_t board_bucket_floor_us(unsigned bucket)
{
    if (bucket < SUBS) {
        return bucket;
    }
    unsigned power = bucket / SUBS + SUB_BITS - 1;
    uint64_t sub = bucket % SUBS;
    return (SUBS + sub) << (power - SUB_BITS);
}

void board_observe_many(struct board *b, unsigned worker, unsigned slot, uint64_t latency_us,
                        uint32_t count)
{
    board_add(&histogram(b, worker, slot)[board_bucket_of(latency_us)], count);
}

void board_observe(struct board *b, unsigned worker, unsigned slot, uint64_t latency_us)
{
    board_observe_many(b, worker, slot, latency_us, 1);
}

uint64_t board_in_flight(const struct board *b, unsigned slot)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < b->workers; w++) {
        sum += board_get(&board_row((struct board *)b, w, slot)->in_flight);
    }
    return sum;
}

bool board_reserve(struct board *b, unsigned worker, unsigned slot, uint64_t most)
{
    uint64_t *own = &board_row(b, worker, slot)->in_flight;
    board_add(own, 1);
    if (!most || (b->workers == 1 && *own <= most)) {
        return true;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (board_in_flight(b, slot) <= most) {
        return true;
    }
    board_sub(own, 1);
    return false;
}

void board_sum(const struct board *b, unsigned slot, struct board_sum *ret_sum)
{
    struct board_sum sum = {0};
    for (unsigned w = 0; w < b->workers; w++) {
        const struct board_row *row = board_row((struct board *)b, w, slot);
        sum.in_flight += board_get(&row->in_flight);
        sum.pooled += board_get(&row->pooled);
        sum.retries += board_get(&row->retries);
        sum.bytes_in += board_get(&row->bytes_in);
        sum.bytes_out += board_get(&row->bytes_out);
        sum.latency_us_sum += board_get(&row->latency_us_sum);
        for (int o = 0; o < BOARD_OUTCOMES; o++) {
            uint64_t count = board_get(&row->outcomes[o]);
            sum.outcomes[o] += count;
            sum.answered += o == BOARD_NO_ANSWER ? 0 : count;
        }
    }
    *ret_sum = sum;
}

void board_requests(const struct board *b, unsigned slot, uint64_t *ret_requests,
                    uint64_t *ret_failures)
{
    uint64_t requests = 0, failures = 0;
    for (unsigned w = 0; w < b->workers; w++) {
        const uint64_t *outcomes = board_row((struct board *)b, w, slot)->outcomes;
        for (int o = 0; o < BOARD_OUTCOMES; o++) {
            requests += board_get(&outcomes[o]);
        }
        failures += board_get(&outcomes[BOARD_5XX]) + board_get(&outcomes[BOARD_NO_ANSWER]);
    }
    *ret_requests = requests;
    *ret_failures = failures;
}

void board_histogram(const struct board *b, unsigned slot, uint64_t *buckets)
{
    for (unsigned w = 0; w < b->workers; w++) {
        const uint64_t *from = histogram(b, w, slot);
        for (unsigned i = 0; i < BOARD_BUCKETS; i++) {
            buckets[i] += board_get(&from[i]);
        }
    }
}

enum {
    RUN = 16 /* buckets that are looked at together */
};

void board_quantiles_us(const uint64_t *buckets, const double *q, unsigned count, uint64_t *ret_us)
{
    uint64_t runs[BOARD_BUCKETS / RUN] = {0}, total = 0;
    for (unsigned r = 0; r < BOARD_BUCKETS / RUN; r++) {
        uint64_t sum = 0;
        for (unsigned i = r * RUN; i < (r + 1) * RUN; i++) {
            sum += buckets[i];
        }
        runs[r] = sum;
        total += sum;
    }
    unsigned run = 0;
    uint64_t before = 0; /* in the runs before it */
    for (unsigned k = 0; k < count; k++) {
        double rank = q[k] * (double)total;
        while (run < BOARD_BUCKETS / RUN && (!runs[run] || (double)(before + runs[run]) < rank)) {
            before += runs[run++];
        }
        unsigned i = run * RUN;
        uint64_t seen = before;
        while (i < BOARD_BUCKETS && (!buckets[i] || (double)(seen + buckets[i]) < rank)) {
            seen += buckets[i++];
        }
        /* The middle of the bucket halves the error of its edges. */
        ret_us[k] = !total ? 0
                    : i == BOARD_BUCKETS
                        ? board_bucket_floor_us(i - 1)
                        : (board_bucket_floor_us(i) + board_bucket_floor_us(i + 1)) / 2;
    }
}

uint64_t board_quantile_us(const uint64_t *buckets, double q)
{
    uint64_t us;
    board_quantiles_us(buckets, &q, 1, &us);
    return us;
}

/* Writing makes a page resident, so only what was used is. */
static void clear(uint64_t *field)
{
    if (*field) {
        board_set(field, 0);
    }
}

void board_worker_reset(struct board *b, unsigned worker)
{
    board_set(&board_worker(b, worker)->connections, 0);
    board_set(&board_worker(b, worker)->h2_connections, 0);
    board_set(&board_worker(b, worker)->queued, 0);
    board_set(&board_worker(b, worker)->interpreted, 0);
    for (unsigned route = 0; route < BOARD_ROUTES; route++) {
        clear(&board_route(b, worker, route)->queued);
    }
    for (unsigned bucket = 0; bucket < BOARD_CLIENT_BUCKETS; bucket++) {
        for (unsigned cell = 0; cell < BOARD_CLIENT_CELLS; cell++) {
            clear(&board_clients(b, worker, bucket)[cell]);
        }
    }
    struct board_traffic_rows *traffic = board_traffic_rows(b, worker);
    for (unsigned i = 0; i < traffic->times_used; i++) {
        clear(&traffic->times[i].in_flight);
    }
    for (unsigned slot = 0; slot < LIMIT_BACKENDS; slot++) {
        clear(&board_row(b, worker, slot)->in_flight);
        clear(&board_row(b, worker, slot)->pooled);
    }
}

void board_slot_reset(struct board *b, unsigned slot)
{
    for (unsigned w = 0; w < b->workers; w++) {
        memset(board_row(b, w, slot), 0, sizeof(struct board_row));
        memset(histogram(b, w, slot), 0, BOARD_BUCKETS * sizeof(uint64_t));
    }
    memset(board_circuit(b, slot), 0, sizeof(struct board_circuit));
    memset(recent_of(b, slot), 0, sizeof(struct board_recent));
}

void board_add(uint64_t *field, uint64_t amount)
{
    __atomic_store_n(field, *field + amount, __ATOMIC_RELAXED);
}

void board_sub(uint64_t *field, uint64_t amount)
{
    __atomic_store_n(field, *field - amount, __ATOMIC_RELAXED);
}

void board_set(uint64_t *field, uint64_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
}

uint64_t board_get(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}
