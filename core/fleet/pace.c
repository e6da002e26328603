/* pace.c: how many there should be, step by step, over the last while: what limits of speed and of changes
 * of direction are held against.
 *
 * Invariant: steps are remembered oldest first; of more than FLEET_STEPS the oldest are forgotten, which
 * makes limits wider, never narrower. */
#include "fleet/fleet_private.h"

#include "base/ban.h"

static uint64_t oldest(const struct pace *pace)
{
    return pace->count > FLEET_STEPS ? pace->count - FLEET_STEPS : 0;
}

static const struct step *at(const struct pace *pace, uint64_t number)
{
    return &pace->steps[number % FLEET_STEPS];
}

void fleet_pace_note(struct pace *pace, uint32_t before, uint32_t after, bool by_policy,
                     uint64_t now_ms)
{
    pace->steps[pace->count++ % FLEET_STEPS] =
        (struct step){.at_ms = now_ms, .before = before, .after = after, .by_policy = by_policy};
}

void fleet_pace_range(const struct pace *pace, uint32_t desired, uint32_t period_ms,
                      uint64_t now_ms, uint32_t *ret_least, uint32_t *ret_most)
{
    uint32_t least = desired, most = desired;
    for (uint64_t n = pace->count; n > oldest(pace); n--) {
        const struct step *step = at(pace, n - 1);
        if (now_ms - step->at_ms >= period_ms) {
            break;
        }
        least = step->before < least ? step->before : least;
        most = step->before > most ? step->before : most;
    }
    *ret_least = least;
    *ret_most = most;
}

unsigned fleet_pace_turns(const struct pace *pace, uint32_t window_ms, uint64_t now_ms)
{
    uint64_t from = oldest(pace) > pace->turns_from ? oldest(pace) : pace->turns_from;
    unsigned turns = 0;
    int way = 0;
    for (uint64_t n = from; n < pace->count; n++) {
        const struct step *step = at(pace, n);
        if (!step->by_policy || now_ms - step->at_ms >= window_ms) {
            continue;
        }
        int now = step->after > step->before ? 1 : -1;
        turns += way && way != now;
        way = now;
    }
    return turns;
}
