/* writer.c: the thread that writes. Takes what the loop queued, and looks after the files in between.
 *
 * Owns: every database connection that writes, the journal, the heads.
 * Invariants: events before samples, always; what failed is tried again, never dropped, while the
 * store is open. */
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/store_private.h"

enum {
    SAMPLES_MS = 500, /* samples are collected so long: what a kill may cost */
    EVENTS_RETRY_MS = 1000,
    ROOM_RETRY_MS = 2000,
    LOOK_MS = 1000,       /* at the free space */
    SWEEP_MS = 30 * 1000, /* over heads without news */
    KEEP_MS = 60 * 1000,  /* retention */
    CHUNKS_AT_ONCE = 500, /* in one transaction, so that events do not wait long */
};

static const uint64_t ballast_most = 4 << 20;

/* ---- Room on the disk -------------------------------------------------------------------- */

/* -1 as a number when nobody knows. */
static uint64_t free_bytes(const struct store *s)
{
    struct statvfs v;
    return statvfs(s->options.dir, &v) ? UINT64_MAX : (uint64_t)v.f_bavail * v.f_frsize;
}

static char *ballast_path(const struct store *s)
{
    return mem_printf("%s/ballast", s->options.dir);
}

/* Bytes that are kept for events, for when the disk is full. */
static void ballast_make(struct store *s)
{
    uint64_t bytes = s->options.reserve_bytes / 16;
    bytes = bytes > ballast_most ? ballast_most : bytes;
    char *path = ballast_path(s);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    s->ballast = fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) == 0;
    if (fd >= 0) {
        close(fd);
    }
    if (!s->ballast) {
        (void)unlink(path);
    }
    mem_free(path);
}

/* Whether there was one. */
static bool ballast_drop(struct store *s)
{
    char *path = ballast_path(s);
    bool was = unlink(path) == 0;
    mem_free(path);
    s->ballast = false;
    return was;
}

static void samples_stop(struct store *s, const char *why)
{
    s->room_retry_ms = clock_now_ms() + ROOM_RETRY_MS;
    if (!s->mine.samples_stopped) {
        s->mine.samples_stopped = true;
        news_add(s, STORE_SAMPLES_STOPPED, mem_copy(why));
    }
}

static void look_at_room(struct store *s, uint64_t now_ms)
{
    uint64_t reserve = s->options.reserve_bytes, room = free_bytes(s);
    s->looked_ms = now_ms;
    if (room < reserve) {
        samples_stop(s, "the disk is nearly full");
    } else if (s->mine.samples_stopped && room >= reserve + reserve / 4 &&
               now_ms >= s->room_retry_ms) {
        s->mine.samples_stopped = false;
        news_add(s, STORE_SAMPLES_AGAIN, mem_copy("there is room on the disk again"));
    }
    if (!s->ballast && !s->mine.samples_stopped && !s->mine.events_wait) {
        ballast_make(s);
    }
}

/* ---- Events ------------------------------------------------------------------------------ */

static void note_durable(struct store *s, uint64_t sequence, size_t count, size_t bytes)
{
    uv_mutex_lock(&s->lock);
    s->durable = sequence;
    s->queued -= count;
    s->queued_bytes -= bytes;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

static void write_events(struct store *s)
{
    uint64_t sequence = 0;
    size_t count = s->waiting.count, bytes = 0;
    for (const struct op *op = s->waiting.first; op; op = op->next) {
        sequence = op->sequence;
        bytes += op->size;
    }
    int rc = events_write(s);
    if (rc == -ENOSPC && ballast_drop(s)) {
        samples_stop(s, "the disk is full");
        rc = events_write(s);
    }
    if (rc == 0) {
        note_durable(s, sequence, count, bytes);
        if (s->mine.events_wait) {
            s->mine.events_wait = false;
            news_add(s, STORE_EVENTS_AGAIN, mem_copy("events are written again"));
        }
        return;
    }
    s->mine.errors++;
    s->events_retry_ms = clock_now_ms() + EVENTS_RETRY_MS;
    if (rc == -ENOSPC) {
        samples_stop(s, "the disk is full");
    }
    if (!s->mine.events_wait) {
        s->mine.events_wait = true;
        news_add(s, STORE_EVENTS_WAIT,
                 mem_copy(rc == -ENOSPC ? "the disk is full" : "events.db cannot be written"));
    }
}

/* ---- Samples ----------------------------------------------------------------------------- */

static void write_samples(struct store *s, struct ticks *ticks)
{
    if (ticks->count) {
        heads_take(s, ticks, s->mine.samples_stopped);
        ticks->count = 0;
        if (!s->mine.samples_stopped && journal_flush(s) == -ENOSPC) {
            samples_stop(s, "the disk is full");
        }
    }
    if (!s->mine.samples_stopped && clock_now_ms() >= s->room_retry_ms) {
        int rc = heads_write(s, CHUNKS_AT_ONCE);
        if (rc == -ENOSPC) {
            samples_stop(s, "the disk is full");
        } else if (rc) {
            s->mine.errors++;
            s->room_retry_ms = clock_now_ms() + ROOM_RETRY_MS;
        }
    }
}

static void keep_house(struct store *s, uint64_t now_ms)
{
    if (now_ms - s->looked_ms >= LOOK_MS) {
        look_at_room(s, now_ms);
    }
    if (now_ms - s->swept_ms >= SWEEP_MS) {
        s->swept_ms = now_ms;
        heads_sweep(s, clock_wall_ms());
        journal_keep(s, now_ms);
    }
    if (now_ms - s->kept_ms >= KEEP_MS) {
        s->kept_ms = now_ms;
        events_expire(s, clock_wall_ms());
        period_keep(s, clock_wall_ms());
    }
}

/* ---- The thread -------------------------------------------------------------------------- */

/* Waits until there is work; takes it. Whether the store goes on. */
static bool take(struct store *s, struct ticks *ticks)
{
    uint64_t now_ms = clock_now_ms();
    uv_mutex_lock(&s->lock);
    s->figures = s->mine;
    while (!s->closing && (!s->queue.first || s->waiting.first) && s->ticks.count < 65536 &&
           now_ms < s->ticked_ms + SAMPLES_MS) {
        (void)uv_cond_timedwait(&s->wake_writer, &s->lock,
                                (s->ticked_ms + SAMPLES_MS - now_ms) * 1000000);
        now_ms = clock_now_ms();
    }
    ops_move(&s->waiting, &s->queue);
    if (s->closing || s->ticks.count >= 65536 || now_ms >= s->ticked_ms + SAMPLES_MS) {
        /* The two change places: no copy, no allocation. */
        struct ticks empty = *ticks;
        *ticks = s->ticks;
        s->ticks = empty;
        s->ticked_ms = now_ms;
    }
    bool goes_on = !s->closing;
    uv_mutex_unlock(&s->lock);
    return goes_on;
}

static uint64_t thread_cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void end(struct store *s)
{
    if (s->waiting.first) {
        s->mine.events_lost += s->waiting.count;
        news_add(s, STORE_EVENTS_LOST,
                 mem_printf("%zu could not be written before the end", s->waiting.count));
        ops_free(&s->waiting);
    }
    (void)journal_flush(s);
    events_close(s);
    period_close(s);
    journal_close(s);
    heads_free(s);
    uv_mutex_lock(&s->lock);
    s->figures = s->mine;
    s->writer_done = true;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

void writer_run(void *store)
{
    struct store *s = store;
    struct ticks ticks = {.items = NULL};
    bool goes_on = true;
    while (goes_on) {
        goes_on = take(s, &ticks);
        uint64_t now_ms = clock_now_ms();
        if (s->waiting.first && (now_ms >= s->events_retry_ms || !goes_on)) {
            write_events(s);
        }
        keep_house(s, now_ms);
        write_samples(s, &ticks);
        s->mine.writer_cpu_us = thread_cpu_us();
    }
    mem_free(ticks.items);
    end(s);
}
