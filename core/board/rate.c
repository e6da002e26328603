/* rate.c: see rate.h.
 *
 * Invariants: whoever wants a cell that is another key's moves its TAT first, so of two workers that want it
 * at once one fails and looks again; the key follows. In between, and when its worker dies there, the cell
 * belongs to nobody and is free when its TAT is past. A key may so be counted in two cells for one
 * request; the first of the bucket counts from then on. */
#include "board/rate.h"

#include "base/ban.h"
#include "base/hash.h"

enum {
    UNIT_NS = 16,
    TAG_BITS = 10,
    TAG_MASK = (1 << TAG_BITS) - 1,
    TRIES = 1024,
    PATIENCE = 256 /* looks at a cell that somebody is about to name */
};

static const uint64_t longest = (uint64_t)1 << 52; /* of what is added to a moment: two years */

struct cell {
    uint64_t key;
    uint64_t word; /* TAT in units, above the tag */
};

static uint64_t units_of(uint64_t us)
{
    return us * (1000 / 8) / (UNIT_NS / 8);
}

static uint64_t us_of(uint64_t units)
{
    return (units * (UNIT_NS / 8) + (1000 / 8) - 1) / (1000 / 8);
}

struct board_rate board_rate_limit(double rate, double period_ms, uint32_t burst)
{
    double step = period_ms * 1e6 / UNIT_NS / rate;
    uint64_t units = step < 1 ? 1 : step > (double)longest ? longest : (uint64_t)(step + 0.5);
    uint64_t most = longest / units;
    uint32_t count = burst > most ? (uint32_t)most : burst;
    count = count ? count : 1;
    return (struct board_rate){units, units * count, count};
}

uint64_t board_rate_key(const struct board *b, uint64_t limit, const void *value, size_t len)
{
    uint64_t seed = hash_more(board_secret(b), &limit, sizeof limit);
    uint64_t key = hash_more(seed, value, len);
    return key ? key : 1; /* 0: a cell that was never used */
}

static uint64_t tag_of(uint64_t key)
{
    return key >> (64 - TAG_BITS);
}

static uint64_t get(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* The key's cell with what stands in it; NULL: none. *ret_claimed: one is just being given to a key that
 * may be this one. */
static struct cell *find(struct cell *bucket, uint64_t key, uint64_t *ret_word, bool *ret_claimed)
{
    *ret_claimed = false;
    for (unsigned i = 0; i < BOARD_RATE_CELLS; i++) {
        uint64_t holder = get(&bucket[i].key), word = get(&bucket[i].word);
        bool ours = word && (word & TAG_MASK) == tag_of(key);
        if (ours && holder == key) {
            *ret_word = word;
            return &bucket[i];
        }
        *ret_claimed = *ret_claimed || (ours && tag_of(holder) != tag_of(key));
    }
    return NULL;
}

/* The cell that is given away: the first that says nothing, or that which soonest would. */
static struct cell *spare(struct cell *bucket, uint64_t now, uint64_t *ret_word)
{
    struct cell *best = NULL;
    uint64_t least = 0;
    for (unsigned i = 0; i < BOARD_RATE_CELLS; i++) {
        uint64_t word = get(&bucket[i].word);
        if (!best || word >> TAG_BITS < least) {
            best = &bucket[i];
            least = word >> TAG_BITS;
            *ret_word = word;
        }
        if (least <= now) {
            break;
        }
    }
    return best;
}

/* What is left when the bucket is full again at `tat`. */
static struct board_rated rated(const struct board_rate *r, uint64_t tat, uint64_t now,
                                bool allowed)
{
    uint64_t wait = tat > now ? tat - now : 0;
    uint64_t room = wait < r->reach ? r->reach - wait : 0;
    uint64_t lack = wait + r->step > r->reach ? wait + r->step - r->reach : 0;
    return (struct board_rated){.allowed = allowed,
                                .remaining = (uint32_t)(room / r->step),
                                .retry_us = us_of(lack),
                                .reset_us = us_of(wait)};
}

struct board_rated board_rate_take(struct board *b, const struct board_rate *r, uint64_t key,
                                   uint64_t now_us, bool look)
{
    uint64_t *line = board_rates(b, (unsigned)(key % BOARD_RATE_BUCKETS));
    struct cell *bucket = (struct cell *)(void *)line;
    uint64_t now = units_of(now_us), tat = now;
    for (int i = 0; i < TRIES; i++) {
        bool claimed;
        uint64_t word = 0;
        struct cell *own = find(bucket, key, &word, &claimed);
        if (claimed && !own && i < PATIENCE) {
            continue;
        }
        tat = own && word >> TAG_BITS > now ? word >> TAG_BITS : now;
        bool allowed = tat + r->step <= now + r->reach;
        if (look || !allowed) {
            return rated(r, tat, now, allowed);
        }
        struct cell *cell = own ? own : spare(bucket, now, &word);
        uint64_t next = (tat + r->step) << TAG_BITS | tag_of(key);
        if (__atomic_compare_exchange_n(&cell->word, &word, next, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            if (!own) {
                __atomic_store_n(&cell->key, key, __ATOMIC_RELEASE);
            }
            return rated(r, tat + r->step, now, true);
        }
    }
    return rated(r, tat + r->step, now, true); /* so contended that it goes uncounted */
}
