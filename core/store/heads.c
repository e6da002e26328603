/* heads.c: series and the samples of each that are not in a file yet.
 *
 * Invariants: a head's samples rise in time and are of one day; what leaves a head stands in `fulls`
 * until it is in the files, so that a query finds every sample once. */
#include <errno.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/mem.h"
#include "store/store_private.h"

enum {
    FIRST_CAP = 8,
    FIRST_LEAST = 30,    /* the first chunk of a series has at least so many samples */
    BACK_MS = 60 * 1000, /* a step back of the clock that is believed */
    IDLE_MS = CHUNK_MS + 60 * 1000,
};

/* ---- Heads (under heads_lock) --------------------------------------------------------------- */

static struct head *head_of(struct store *s, uint32_t slot)
{
    if (slot >= s->head_cap) {
        uint32_t cap = s->head_cap ? s->head_cap : 256;
        while (cap <= slot) {
            cap *= 2;
        }
        s->heads = mem_resize(s->heads, cap * sizeof *s->heads);
        memset(s->heads + s->head_cap, 0, (cap - s->head_cap) * sizeof *s->heads);
        s->head_cap = cap;
    }
    return &s->heads[slot];
}

static struct series_name *name_copy(const struct series_name *name)
{
    return series_name_new(name->service, name->instance, name->metric);
}

/* Its samples become a chunk to be written. */
static void seal(struct store *s, uint32_t slot)
{
    struct head *h = &s->heads[slot];
    if (!h->count) {
        return;
    }
    struct full *f = mem_new(sizeof *f);
    f->name = name_copy(h->name);
    f->slot = slot;
    f->first_in = h->first_in;
    f->count = h->count;
    f->samples = h->samples;
    *s->fulls_last = f;
    s->fulls_last = &f->next;
    s->full_count++;
    h->samples = NULL;
    h->count = h->cap = 0;
    h->full = CHUNK_SAMPLES;
}

static void append(struct store *s, uint32_t slot, uint64_t at_ms, double value)
{
    struct head *h = &s->heads[slot];
    if (h->count == h->cap) {
        h->cap = h->cap ? h->cap * 2 : FIRST_CAP;
        h->samples = mem_resize(h->samples, h->cap * sizeof *h->samples);
    }
    if (h->count == 0) {
        h->first_in = s->journal.number;
    }
    h->samples[h->count++] = (struct chunk_sample){.at_ms = at_ms, .value = value};
    h->last_ms = at_ms;
}

static bool ends_before(const struct head *h, uint64_t at_ms)
{
    uint64_t first_ms = h->samples[0].at_ms;
    return h->count >= h->full || at_ms < h->last_ms ||
           at_ms - first_ms >= (uint64_t)CHUNK_MS * h->full / CHUNK_SAMPLES ||
           period_number(PERIOD_SAMPLES, at_ms) != period_number(PERIOD_SAMPLES, first_ms);
}

static void take_sample(struct store *s, const struct tick *t)
{
    struct head *h = head_of(s, t->slot);
    bool late = h->last_ms && t->at_ms <= h->last_ms && h->last_ms - t->at_ms < BACK_MS;
    if (!h->name || late) {
        s->mine.samples_lost++;
        return;
    }
    if (h->count && ends_before(h, t->at_ms)) {
        seal(s, t->slot);
    }
    if (h->named_in != s->journal.number) {
        journal_name(s, t->slot, h->name);
        h->named_in = s->journal.number;
    }
    double value = chunk_round(t->value);
    journal_sample(s, t->slot, t->at_ms, value);
    append(s, t->slot, t->at_ms, value);
    s->mine.samples++;
}

/* Takes name. */
static void take_name(struct store *s, uint32_t slot, struct series_name *name)
{
    struct head *h = head_of(s, slot);
    h->name = name;
    h->full = FIRST_LEAST + (uint32_t)(name->hash % (CHUNK_SAMPLES - FIRST_LEAST + 1));
    s->mine.series++;
}

static void take_end(struct store *s, uint32_t slot)
{
    struct head *h = head_of(s, slot);
    if (h->name) {
        seal(s, slot);
        mem_free(h->name);
        memset(h, 0, sizeof *h);
        s->mine.series--;
    }
}

void heads_take(struct store *s, struct ticks *ticks, bool stopped)
{
    uv_mutex_lock(&s->heads_lock);
    for (size_t i = 0; i < ticks->count; i++) {
        const struct tick *t = &ticks->items[i];
        if (t->kind == TICK_SERIES) {
            take_name(s, t->slot, t->name);
        } else if (t->kind == TICK_END) {
            take_end(s, t->slot);
        } else if (stopped) {
            s->mine.samples_lost++;
        } else {
            take_sample(s, t);
        }
    }
    uv_mutex_unlock(&s->heads_lock);
}

void heads_sweep(struct store *s, uint64_t wall_ms)
{
    uv_mutex_lock(&s->heads_lock);
    for (uint32_t slot = 1; slot < s->head_cap; slot++) {
        const struct head *h = &s->heads[slot];
        if (h->count &&
            (wall_ms < h->samples[0].at_ms || wall_ms - h->samples[0].at_ms > IDLE_MS)) {
            seal(s, slot);
        }
    }
    uv_mutex_unlock(&s->heads_lock);
}

uint32_t heads_first_journal(const struct store *s)
{
    uint32_t first = s->journal.number;
    for (uint32_t slot = 1; slot < s->head_cap; slot++) {
        const struct head *h = &s->heads[slot];
        first = h->count && h->first_in < first ? h->first_in : first;
    }
    for (const struct full *f = s->fulls; f; f = f->next) {
        first = f->first_in < first ? f->first_in : first;
    }
    return first;
}

/* ---- To the files -------------------------------------------------------------------------- */

static void drop_fulls(struct store *s, size_t count)
{
    uv_mutex_lock(&s->heads_lock);
    while (count-- > 0) {
        struct full *f = s->fulls;
        s->fulls = f->next;
        s->full_count--;
        s->mine.filed += f->count;
        mem_free(f->samples);
        mem_free(f->name);
        mem_free(f);
    }
    if (!s->fulls) {
        s->fulls_last = &s->fulls;
    }
    uv_mutex_unlock(&s->heads_lock);
}

int heads_write(struct store *s, size_t most)
{
    size_t count = s->full_count < most ? s->full_count : most;
    if (!count) {
        return 0;
    }
    journal_intent(s, s->fulls, count);
    /* Without a journal the chunks are the safer place. */
    (void)journal_flush(s);
    int rc = period_write(s, s->fulls, count);
    if (rc) {
        return rc;
    }
    journal_done(s);
    (void)journal_flush(s);
    drop_fulls(s, count);
    s->mine.chunks += count;
    return 0;
}

/* ---- From the journal ---------------------------------------------------------------------- */

void heads_restore_name(struct store *s, uint32_t slot, struct series_name *name)
{
    if (head_of(s, slot)->name) {
        mem_free(name);
    } else {
        take_name(s, slot, name);
    }
}

void heads_restore_sample(struct store *s, uint32_t slot, uint64_t at_ms, double value)
{
    struct head *h = head_of(s, slot);
    if (!h->name || h->count >= CHUNK_MOST) {
        return;
    }
    if (h->count && at_ms < h->last_ms) {
        seal(s, slot);
    }
    append(s, slot, at_ms, value);
}

void heads_restore_done(struct store *s, uint32_t slot, uint64_t until_ms)
{
    struct head *h = head_of(s, slot);
    uint32_t gone = 0;
    while (gone < h->count && h->samples[gone].at_ms <= until_ms) {
        gone++;
    }
    if (gone) {
        h->count -= gone;
        memmove(h->samples, h->samples + gone, h->count * sizeof *h->samples);
    }
}

void heads_free(struct store *s)
{
    drop_fulls(s, s->full_count);
    for (uint32_t slot = 0; slot < s->head_cap; slot++) {
        mem_free(s->heads[slot].samples);
        mem_free(s->heads[slot].name);
    }
    mem_release(&s->heads);
    s->head_cap = 0;
}
