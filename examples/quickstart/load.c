/* load.c - see load.h. */
#define _GNU_SOURCE 1
#include "load.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_BYTES = 128 * 1024
};

/* Begins each kept region. */
struct region {
    struct region *next;
    size_t size;
};

struct load {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct load_job *first, **last; /* waiting */
    struct load_job *done, **done_last;
    struct region *regions;
    uint64_t depth, kept;
    int notify_fd;
    atomic_uint burn_round; /* a burner stops when it is not the round it began in */
};

struct burner {
    struct load *load;
    uint64_t until_us;
    unsigned round;
};

static uint64_t time_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Some arithmetic that the compiler must keep, a few microseconds of it. */
static void spin(void)
{
    static const int ROUNDS = 2000;
    volatile uint64_t x = 88172645463325252ULL;

    for (int i = 0; i < ROUNDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
    }
}

static void cpu_run(struct load_job *job)
{
    uint64_t until = time_us(CLOCK_THREAD_CPUTIME_ID) + job->amount;

    while (time_us(CLOCK_THREAD_CPUTIME_ID) < until) {
        spin();
    }
}

static void grow_run(struct load *load, struct load_job *job)
{
    struct region *region =
        mmap(NULL, job->amount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (region == MAP_FAILED) {
        job->error = -ENOMEM;
        return;
    }
    memset(region, 0x5a, job->amount);
    region->size = job->amount;
    pthread_mutex_lock(&load->lock);
    region->next = load->regions;
    load->regions = region;
    load->kept += region->size;
    job->result = load->kept;
    pthread_mutex_unlock(&load->lock);
}

static void free_run(struct load *load, struct load_job *job)
{
    pthread_mutex_lock(&load->lock);
    struct region *region = load->regions;
    load->regions = NULL;
    load->kept = 0;
    pthread_mutex_unlock(&load->lock);
    while (region) {
        struct region *next = region->next;
        munmap(region, region->size);
        region = next;
    }
    job->result = 0;
}

static void log_run(struct load_job *job)
{
    for (uint64_t i = 1; i <= job->amount; i++) {
        fprintf(stderr, "service: line %llu of %llu\n", (unsigned long long)i,
                (unsigned long long)job->amount);
    }
}

static void job_run(struct load *load, struct load_job *job)
{
    switch (job->kind) {
    case LOAD_CPU:
        cpu_run(job);
        break;
    case LOAD_GROW:
        grow_run(load, job);
        break;
    case LOAD_FREE:
        free_run(load, job);
        break;
    case LOAD_LOG:
        log_run(job);
        break;
    }
}

static void *worker_main(void *arg)
{
    struct load *load = arg;
    uint64_t one = 1;

    for (;;) {
        pthread_mutex_lock(&load->lock);
        while (!load->first) {
            pthread_cond_wait(&load->work, &load->lock);
        }
        struct load_job *job = load->first;
        load->first = job->next;
        if (!load->first) {
            load->last = &load->first;
        }
        load->depth--;
        pthread_mutex_unlock(&load->lock);

        job->next = NULL;
        job_run(load, job);

        pthread_mutex_lock(&load->lock);
        *load->done_last = job;
        load->done_last = &job->next;
        pthread_mutex_unlock(&load->lock);
        while (write(load->notify_fd, &one, sizeof one) < 0 && errno == EINTR) {
        }
    }
    return NULL;
}

static void *burner_main(void *arg)
{
    struct burner b = *(struct burner *)arg;

    free(arg);
    while (time_us(CLOCK_MONOTONIC) < b.until_us && atomic_load(&b.load->burn_round) == b.round) {
        spin();
    }
    return NULL;
}

static int thread_start(void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    return -error;
}

struct load *load_new(int threads, int notify_fd)
{
    struct load *load = calloc(1, sizeof *load);

    if (!load) {
        return NULL;
    }
    pthread_mutex_init(&load->lock, NULL);
    pthread_cond_init(&load->work, NULL);
    load->last = &load->first;
    load->done_last = &load->done;
    load->notify_fd = notify_fd;
    for (int i = 0; i < threads; i++) {
        if (thread_start(worker_main, load)) {
            if (i == 0) {
                free(load);
                return NULL;
            }
            break; /* fewer threads also do the work */
        }
    }
    return load;
}

void load_submit(struct load *load, struct load_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&load->lock);
    *load->last = job;
    load->last = &job->next;
    load->depth++;
    pthread_cond_signal(&load->work);
    pthread_mutex_unlock(&load->lock);
}

struct load_job *load_finished(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    struct load_job *done = load->done;
    load->done = NULL;
    load->done_last = &load->done;
    pthread_mutex_unlock(&load->lock);
    return done;
}

uint64_t load_depth(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    uint64_t depth = load->depth;
    pthread_mutex_unlock(&load->lock);
    return depth;
}

int load_burn(struct load *load, double seconds, int threads)
{
    int started = 0;

    if (seconds <= 0) {
        atomic_fetch_add(&load->burn_round, 1);
        return 0;
    }
    while (started < threads) {
        struct burner *b = malloc(sizeof *b);
        if (!b) {
            break;
        }
        b->load = load;
        b->until_us = time_us(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e6);
        b->round = atomic_load(&load->burn_round);
        if (thread_start(burner_main, b)) {
            free(b);
            break;
        }
        started++;
    }
    return started;
}
