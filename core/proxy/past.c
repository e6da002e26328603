/* past.c: what was decided of late, and from what: a ring of bytes for all decisions, and a smaller one
 * for those of requests that were repeated or failed, which so are known for longer.
 *
 * Called by: pick.c for each decision, tally.c and exchange.c for what came of it; past_told.c reads.
 * Invariants: a decision lies in one piece, the rest of a round is filled; what is written takes the place
 * of the oldest. Noting one costs no call into the system and no allocation; it copies the policy's
 * inputs, since the scores can be had from them again when somebody asks. Of services with
 * more than ROWS_ALWAYS backends only every so many decisions have all rows, so that one costs as much.
 * Does not: outlive the worker. */
#include "proxy/parts.h"

#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "board/board.h"

enum {
    ROWS_ALWAYS = 16,
    ROWS_MOST = 256,
    ALIGN = 8
};

static struct past *past_at(const struct past_ring *ring, uint64_t at)
{
    return (struct past *)(void *)(ring->bytes + (at & (ring->size - 1)));
}

static void ring_open(struct past_ring *ring, uint32_t size)
{
    ring->bytes = mem_array(size, 1);
    ring->size = size;
    ring->head = ring->tail = size; /* position 0 is none */
}

void proxy_past_open(struct proxy *p)
{
    ring_open(&p->pasts.all, PAST_BYTES);
    ring_open(&p->pasts.failed, PAST_FAILED_BYTES);
    p->pasts.since_us = p->now_us;
}

void proxy_past_close(struct proxy *p)
{
    mem_free(p->pasts.all.bytes);
    mem_free(p->pasts.failed.bytes);
    for (int i = 0; i < PAST_NAMES; i++) {
        mem_free(p->pasts.names[i].id);
        mem_free(p->pasts.names[i].address);
    }
}

/* Room for a decision at *ret_at. */
static struct past *take(struct past_ring *ring, uint32_t bytes, uint64_t *ret_at)
{
    uint64_t left = ring->size - (ring->head & (ring->size - 1));
    uint64_t at = left < bytes ? ring->head + left : ring->head;
    while (at + bytes - ring->tail > ring->size) {
        const struct past *oldest = past_at(ring, ring->tail);
        ring->count -= oldest->count != PAST_FILLER;
        ring->tail += oldest->bytes;
        ring->lost = true;
    }
    if (at != ring->head) {
        struct past *filler = past_at(ring, ring->head);
        filler->bytes = (uint32_t)left;
        filler->count = PAST_FILLER;
    }
    ring->head = at + bytes;
    ring->count++;
    *ret_at = at;
    return past_at(ring, at);
}

static bool is_there(const struct past_ring *ring, uint64_t at)
{
    return at >= ring->tail && at < ring->head;
}

/* ---- a decision -------------------------------------------------------------------------- */

static bool was_tried(const struct exchange *ex, const struct backend *b)
{
    for (unsigned i = 0; i < ex->tries; i++) {
        if (ex->tried[i] == b->serial) {
            return true;
        }
    }
    return false;
}

/* Why one that is not eligible is not. */
static enum past_state state_of(const struct exchange *ex, const struct field *f,
                                const struct backend *b, const struct script_backend *row)
{
    if (b->draining) {
        return PAST_DRAINING;
    } else if (b->max_connections > 0 && row->in_flight >= b->max_connections) {
        return PAST_FULL;
    } else if (row->circuit != BOARD_CLOSED && !f->panic) {
        return b->circuit->spell_ms ? PAST_EJECTED : PAST_CIRCUIT;
    }
    return was_tried(ex, b) ? PAST_TRIED : PAST_TAKEN;
}

static void put_rows(struct script_backend *to, const struct exchange *ex, const struct field *f,
                     uint32_t from, uint32_t count)
{
    const struct route *r = ex->route;
    memcpy(to, &r->rows[from], count * sizeof *to);
    for (uint32_t i = 0; i < count; i++) {
        if (!to[i].eligible) {
            to[i].eligible = -(int32_t)state_of(ex, f, r->service->backends[from + i], &to[i]);
        }
    }
}

/* How many rows the decision is told with: all, only the chosen one, or none. */
static uint32_t rows_for(struct proxy *p, const struct exchange *ex, uint32_t count, bool chosen)
{
    if (count <= ROWS_ALWAYS) {
        return count;
    }
    uint32_t every = (count + ROWS_ALWAYS - 1) / ROWS_ALWAYS;
    bool all = count <= ROWS_MOST && (ex->tries || !chosen || p->pasts.turn++ % every == 0);
    return all ? count : chosen;
}

/* A request that waits is looked at again and again: told once. */
static bool is_told(const struct proxy *p, const struct exchange *ex)
{
    const struct past_ring *ring = &p->pasts.all;
    return is_there(ring, ex->past) && !past_at(ring, ex->past)->chosen &&
           past_at(ring, ex->past)->tries == ex->tries;
}

void proxy_past_note(struct exchange *ex, uint32_t count, const struct field *f,
                     const struct backend *chosen)
{
    struct proxy *p = ex->session->proxy;
    const struct route *r = ex->route;
    if (!chosen && is_told(p, ex)) {
        return;
    }
    uint32_t id_len = (uint32_t)strlen(ex->id), kept = rows_for(p, ex, count, chosen != NULL);
    bool asked = p->pasts.by == PAST_POLICY || p->pasts.by == PAST_FAILED;
    size_t needed = sizeof(struct past) + kept * sizeof(struct script_backend) + id_len;
    uint32_t bytes = (uint32_t)((needed + ALIGN - 1) / ALIGN * ALIGN);
    uint64_t before = ex->past;
    struct past *past = take(&p->pasts.all, bytes, &ex->past);
    *past = (struct past){
        .bytes = bytes,
        .kept = (uint16_t)kept,
        .count = (uint16_t)count,
        .position = ex->past,
        .at_us = p->now_us,
        .before = before,
        .service = r->service,
        .generation = r->generation->number,
        .route = (uint32_t)(r - r->generation->routes),
        .chosen = chosen ? chosen->hash : 0,
        .by = p->pasts.by,
        .tries = ex->tries,
        .id_len = (uint8_t)id_len,
        .panic = f->panic,
    };
    if (asked) {
        past->request = p->asked;
    }
    struct script_backend *rows = (struct script_backend *)(past + 1);
    put_rows(rows, ex, f, kept == count || !chosen ? 0 : chosen->index, kept);
    memcpy(rows + kept, ex->id, id_len);
}

void proxy_past_attempted(const struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    if (is_there(&p->pasts.all, ex->past)) {
        struct past *past = past_at(&p->pasts.all, ex->past);
        uint64_t took_us = p->now_us > ex->attempt_us ? p->now_us - ex->attempt_us : 0;
        past->took_us = (uint32_t)(took_us < UINT32_MAX ? took_us : UINT32_MAX);
        past->failure = ex->failure;
        past->ended = true;
    }
}

/* All decisions of the request into the other ring, the oldest first. */
static void copy(struct pasts *pasts, uint64_t last)
{
    uint64_t at[2 * TRIES];
    unsigned count = 0;
    for (; is_there(&pasts->all, last) && count < 2 * TRIES;
         last = past_at(&pasts->all, last)->before) {
        at[count++] = last;
    }
    while (count--) {
        const struct past *from = past_at(&pasts->all, at[count]);
        uint64_t ignored;
        memcpy(take(&pasts->failed, from->bytes, &ignored), from, from->bytes);
    }
}

void proxy_past_ended(const struct exchange *ex)
{
    struct pasts *pasts = &ex->session->proxy->pasts;
    if (!is_there(&pasts->all, ex->past)) {
        return;
    }
    struct past *past = past_at(&pasts->all, ex->past);
    past->status = ex->status;
    past->ended = true;
    if (ex->tries || ex->status >= 500 || past->failure || !past->chosen) {
        copy(pasts, ex->past);
    }
}

/* ---- looking back ------------------------------------------------------------------------ */

void proxy_past_leave(struct proxy *p, const struct backend *b)
{
    struct past_name *name = &p->pasts.names[p->pasts.next_name++ % PAST_NAMES];
    mem_free(name->id);
    mem_free(name->address);
    *name = (struct past_name){b->hash, mem_copy(b->id), mem_copy(b->addr.text)};
}

const struct past *proxy_past_next(const struct past_ring *ring, uint64_t *at)
{
    *at = *at < ring->tail ? ring->tail : *at;
    while (*at < ring->head) {
        const struct past *past = past_at(ring, *at);
        *at += past->bytes;
        if (past->count != PAST_FILLER) {
            return past;
        }
    }
    return NULL;
}

bool proxy_past_is_place(const struct past_ring *ring, uint64_t at)
{
    uint64_t place = ring->tail;
    while (place < at && place < ring->head) {
        place += past_at(ring, place)->bytes;
    }
    return place == at || at < ring->tail;
}

const struct script_backend *proxy_past_rows(const struct past *past)
{
    return (const struct script_backend *)(past + 1);
}

const char *proxy_past_id(const struct past *past)
{
    return (const char *)(proxy_past_rows(past) + past->kept);
}
