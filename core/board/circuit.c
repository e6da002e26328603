/* circuit.c: see circuit.h.
 *
 * `word`, from the low bits: state 2, trials under way 14, successes 16, generation 32.
 *
 * Invariants: the generation rises with every change of state, so a ticket of an older one is
 * recognised, and a compare-and-swap can never mistake one closed phase for another. `until_ms` is
 * written before the word that makes it valid. */
#include "board/circuit.h"

#include "base/ban.h"

enum {
    TRIAL_SHIFT = 2,
    TRIAL_MASK = 0x3fff,
    SUCCESS_SHIFT = 16,
    SUCCESS_MASK = 0xffff,
    GENERATION_SHIFT = 32,
    STATE_MASK = 3,
    DOUBLINGS = 16,
    LONGEST_ROW = 1000
};

static const double UNLIKELY = 0.001;

static uint64_t load(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_ACQUIRE);
}

static uint64_t make(enum board_circuit_state state, uint32_t trials, uint32_t successes,
                     uint32_t generation)
{
    return (uint64_t)state | (uint64_t)(trials & TRIAL_MASK) << TRIAL_SHIFT |
           (uint64_t)(successes & SUCCESS_MASK) << SUCCESS_SHIFT |
           (uint64_t)generation << GENERATION_SHIFT;
}

static enum board_circuit_state state_of(uint64_t word)
{
    return (enum board_circuit_state)(word & STATE_MASK);
}

static uint32_t trials_of(uint64_t word)
{
    return (uint32_t)(word >> TRIAL_SHIFT) & TRIAL_MASK;
}

static uint32_t successes_of(uint64_t word)
{
    return (uint32_t)(word >> SUCCESS_SHIFT) & SUCCESS_MASK;
}

static uint32_t generation_of(uint64_t word)
{
    return (uint32_t)(word >> GENERATION_SHIFT);
}

static bool swap(struct board_circuit *c, uint64_t was, uint64_t is)
{
    return __atomic_compare_exchange_n(&c->word, &was, is, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

static void add(uint64_t *field, uint64_t amount)
{
    (void)__atomic_fetch_add(field, amount, __ATOMIC_RELAXED);
}

enum board_circuit_state board_circuit_state(const struct board_circuit *c)
{
    return state_of(__atomic_load_n(&c->word, __ATOMIC_RELAXED));
}

const char *board_circuit_name(enum board_circuit_state state)
{
    static const char *const names[BOARD_CIRCUIT_STATES] = {"closed", "half-open", "open"};
    return state < BOARD_CIRCUIT_STATES ? names[state] : "closed";
}

/* Whether a trial may begin in this half-open word: a place is free, or those who have them are
 * silent for so long that they are taken for lost. */
static bool has_place(const struct board_circuit *c, uint64_t word, const struct board_rule *rule,
                      uint64_t now_ms)
{
    return trials_of(word) < rule->trials || now_ms >= load(&c->touched_ms) + rule->recovery_ms;
}

bool board_circuit_admits(const struct board_circuit *c, const struct board_rule *rule,
                          uint64_t now_ms)
{
    uint64_t word = load(&c->word);
    switch (state_of(word)) {
    case BOARD_CLOSED:
        return true;
    case BOARD_OPEN:
        return now_ms >= load(&c->until_ms);
    case BOARD_HALF_OPEN:
        return has_place(c, word, rule, now_ms);
    case BOARD_CIRCUIT_STATES:
        break;
    }
    return false;
}

/* The word with one trial more, or `word` itself when none may begin. */
static uint64_t with_trial(const struct board_circuit *c, uint64_t word,
                           const struct board_rule *rule, uint64_t now_ms)
{
    uint32_t generation = generation_of(word);
    if (state_of(word) == BOARD_OPEN) {
        return now_ms >= load(&c->until_ms) ? make(BOARD_HALF_OPEN, 1, 0, generation + 1) : word;
    }
    if (!has_place(c, word, rule, now_ms)) {
        return word;
    }
    if (trials_of(word) >= rule->trials) { /* lost ones: what they may still tell is too late */
        return make(BOARD_HALF_OPEN, 1, successes_of(word), generation + 1);
    }
    return make(BOARD_HALF_OPEN, trials_of(word) + 1, successes_of(word), generation);
}

bool board_circuit_enter(struct board_circuit *c, const struct board_rule *rule, uint64_t now_ms,
                         struct board_ticket *ret_ticket, enum board_change *ret_change)
{
    *ret_change = BOARD_CHANGE_NONE;
    *ret_ticket = (struct board_ticket){0};
    for (;;) {
        uint64_t word = load(&c->word);
        if (state_of(word) == BOARD_CLOSED) {
            *ret_ticket = (struct board_ticket){.generation = generation_of(word), .counts = true};
            return true;
        }
        uint64_t next = with_trial(c, word, rule, now_ms);
        if (next == word) {
            return false;
        }
        if (swap(c, word, next)) {
            board_set(&c->touched_ms, now_ms);
            if (state_of(word) == BOARD_OPEN) {
                board_set(&c->changed_ms, now_ms);
                *ret_change = BOARD_CHANGE_TRIED;
            }
            *ret_ticket = (struct board_ticket){
                .generation = generation_of(next), .counts = true, .trial = true};
            return true;
        }
    }
}

/* ---- The window -------------------------------------------------------------------------- */

static void count_in_window(struct board_row *row, uint32_t generation, bool failed,
                            uint64_t now_ms)
{
    uint32_t at = (uint32_t)(now_ms / BOARD_BUCKET_MS) + 1; /* 0: never used */
    struct board_bucket *k = &row->window[at % BOARD_WINDOW];
    if (k->at != at || k->generation != generation) {
        __atomic_store_n(&k->at, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&k->all, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&k->failed, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&k->generation, generation, __ATOMIC_RELAXED);
        __atomic_store_n(&k->at, at, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&k->all, k->all + 1, __ATOMIC_RELAXED);
    if (failed) {
        __atomic_store_n(&k->failed, k->failed + 1, __ATOMIC_RELAXED);
    }
}

void board_window(struct board *b, unsigned slot, uint32_t window_ms, uint64_t now_ms,
                  uint64_t *ret_all, uint64_t *ret_failed)
{
    uint32_t generation = generation_of(load(&board_circuit(b, slot)->word));
    uint32_t last = (uint32_t)(now_ms / BOARD_BUCKET_MS) + 1;
    uint32_t count = (window_ms + BOARD_BUCKET_MS - 1) / BOARD_BUCKET_MS;
    count = count < 1 ? 1 : count > BOARD_WINDOW - 1 ? BOARD_WINDOW - 1 : count;
    uint64_t all = 0, failed = 0;
    for (unsigned w = 0; w < board_workers(b); w++) {
        const struct board_row *row = board_row(b, w, slot);
        for (uint32_t i = 0; i < count && i < last; i++) {
            const struct board_bucket *k = &row->window[(last - i) % BOARD_WINDOW];
            if (__atomic_load_n(&k->at, __ATOMIC_ACQUIRE) == last - i &&
                __atomic_load_n(&k->generation, __ATOMIC_RELAXED) == generation) {
                all += __atomic_load_n(&k->all, __ATOMIC_RELAXED);
                failed += __atomic_load_n(&k->failed, __ATOMIC_RELAXED);
            }
        }
    }
    *ret_all = all;
    *ret_failed = failed < all ? failed : all;
}

/* ---- Results ----------------------------------------------------------------------------- */

static enum board_change open_it(struct board_circuit *c, uint64_t word, uint64_t for_ms,
                                 enum board_change change, uint64_t now_ms)
{
    board_set(&c->until_ms, now_ms + for_ms);
    if (!swap(c, word, make(BOARD_OPEN, 0, 0, generation_of(word) + 1))) {
        return BOARD_CHANGE_NONE;
    }
    board_set(&c->changed_ms, now_ms);
    add(change == BOARD_CHANGE_EJECTED ? &c->ejected : &c->opened, 1);
    return change;
}

static void forgive(struct board_circuit *c)
{
    board_set(&c->in_a_row, 0);
    uint64_t failures = load(&c->failures);
    while (failures && !__atomic_compare_exchange_n(&c->failures, &failures, failures - 1, false,
                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

/* Whether so many failures in a row would be next to impossible at the rate that is allowed. */
static bool fails_all(const struct board_rule *rule, uint64_t in_a_row)
{
    double chance = 1;
    for (uint64_t i = 0; i < in_a_row && chance > UNLIKELY && i < LONGEST_ROW; i++) {
        chance *= rule->failure_rate;
    }
    return chance <= UNLIKELY;
}

static enum board_change closed_result(struct board *b, unsigned slot,
                                       const struct board_rule *rule, bool failed, uint64_t now_ms)
{
    struct board_circuit *c = board_circuit(b, slot);
    if (!failed) {
        forgive(c);
        return BOARD_CHANGE_NONE;
    }
    uint64_t word = load(&c->word);
    uint64_t failures = __atomic_add_fetch(&c->failures, 1, __ATOMIC_RELAXED), all, bad;
    uint64_t in_a_row = __atomic_add_fetch(&c->in_a_row, 1, __ATOMIC_RELAXED);
    if (!rule->failure_threshold || state_of(word) != BOARD_CLOSED) {
        return BOARD_CHANGE_NONE;
    }
    if (failures >= rule->failure_threshold && fails_all(rule, in_a_row)) {
        return open_it(c, word, rule->recovery_ms, BOARD_CHANGE_OPENED, now_ms);
    }
    board_window(b, slot, rule->window_ms, now_ms, &all, &bad);
    if ((double)bad < rule->failure_rate * (double)all ||
        (failures < rule->failure_threshold && all < rule->minimum_requests)) {
        return BOARD_CHANGE_NONE;
    }
    return open_it(c, word, rule->recovery_ms, BOARD_CHANGE_OPENED, now_ms);
}

static enum board_change trial_result(struct board_circuit *c, const struct board_rule *rule,
                                      bool failed, uint64_t now_ms, uint32_t generation)
{
    for (;;) {
        uint64_t word = load(&c->word);
        if (state_of(word) != BOARD_HALF_OPEN || generation_of(word) != generation) {
            return BOARD_CHANGE_NONE;
        }
        if (failed) {
            uint64_t spell_ms = load(&c->spell_ms);
            uint64_t for_ms = spell_ms > rule->recovery_ms ? spell_ms : rule->recovery_ms;
            enum board_change change = open_it(c, word, for_ms, BOARD_CHANGE_REOPENED, now_ms);
            if (change) {
                return change;
            }
            continue;
        }
        uint32_t trials = trials_of(word), successes = successes_of(word) + 1;
        bool healed = successes >= rule->success_threshold;
        uint64_t next = healed
                            ? make(BOARD_CLOSED, 0, 0, generation + 1)
                            : make(BOARD_HALF_OPEN, trials ? trials - 1 : 0, successes, generation);
        if (healed) {
            board_set(&c->failures, 0);
            board_set(&c->in_a_row, 0);
        }
        if (swap(c, word, next)) {
            bool ejected = load(&c->spell_ms) != 0;
            board_set(&c->touched_ms, now_ms);
            if (!healed) {
                return BOARD_CHANGE_NONE;
            }
            board_set(&c->changed_ms, now_ms);
            board_set(&c->spell_ms, 0);
            return ejected ? BOARD_CHANGE_RETURNED : BOARD_CHANGE_CLOSED;
        }
    }
}

enum board_change board_circuit_result(struct board *b, unsigned worker, unsigned slot,
                                       const struct board_rule *rule, bool failed, uint64_t now_ms,
                                       struct board_ticket *ticket)
{
    struct board_circuit *c = board_circuit(b, slot);
    struct board_ticket t = *ticket;
    *ticket = (struct board_ticket){0};
    if (!t.counts) {
        return BOARD_CHANGE_NONE;
    }
    if (t.trial) {
        return trial_result(c, rule, failed, now_ms, t.generation);
    }
    if (generation_of(load(&c->word)) != t.generation) {
        return BOARD_CHANGE_NONE;
    }
    count_in_window(board_row(b, worker, slot), t.generation, failed, now_ms);
    if (!failed && !__atomic_load_n(&c->failures, __ATOMIC_RELAXED)) {
        return BOARD_CHANGE_NONE; /* nearly always */
    }
    return closed_result(b, slot, rule, failed, now_ms);
}

void board_circuit_leave(struct board_circuit *c, struct board_ticket *ticket)
{
    struct board_ticket t = *ticket;
    *ticket = (struct board_ticket){0};
    while (t.trial) {
        uint64_t word = load(&c->word);
        uint32_t trials = trials_of(word);
        if (state_of(word) != BOARD_HALF_OPEN || generation_of(word) != t.generation || !trials ||
            swap(c, word, make(BOARD_HALF_OPEN, trials - 1, successes_of(word), t.generation))) {
            return;
        }
    }
}

enum board_change board_circuit_eject(struct board_circuit *c, uint64_t base_ms, uint64_t most_ms,
                                      uint64_t now_ms)
{
    uint64_t word = load(&c->word);
    if (state_of(word) != BOARD_CLOSED) {
        return BOARD_CHANGE_NONE;
    }
    uint64_t streak = load(&c->streak);
    uint64_t healthy_ms = now_ms - load(&c->changed_ms);
    uint64_t back = base_ms ? healthy_ms / base_ms : 0;
    streak = streak > back ? streak - back : 0;
    uint64_t for_ms = base_ms << (streak < DOUBLINGS ? streak : DOUBLINGS);
    for_ms = for_ms < most_ms ? for_ms : most_ms;
    enum board_change change = open_it(c, word, for_ms, BOARD_CHANGE_EJECTED, now_ms);
    if (change) {
        board_set(&c->streak, streak + 1);
        board_set(&c->spell_ms, for_ms);
    }
    return change;
}

enum board_change board_circuit_reset(struct board *b, unsigned slot)
{
    struct board_circuit *c = board_circuit(b, slot);
    uint64_t word = load(&c->word);
    bool out = state_of(word) != BOARD_CLOSED, ejected = load(&c->spell_ms) != 0;
    board_set(&c->failures, 0);
    board_set(&c->in_a_row, 0);
    board_set(&c->streak, 0);
    board_set(&c->spell_ms, 0);
    while (word && !swap(c, word, make(BOARD_CLOSED, 0, 0, generation_of(word) + 1))) {
        word = load(&c->word);
    }
    return !out ? BOARD_CHANGE_NONE : ejected ? BOARD_CHANGE_RETURNED : BOARD_CHANGE_CLOSED;
}
