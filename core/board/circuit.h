/* circuit.h: one circuit for each backend, shared by all workers: who keeps failing is not asked.
 *
 *              opens (rule below), or is ejected                 time is over, first trial
 *   CLOSED ------------------------------------------> OPEN ------------------------------> HALF-OPEN
 *      ^                                                ^                                     |    |
 *      |                                                +------- a trial failed --------------+    |
 *      +------------------------- success_threshold trials succeeded ------------------------------+
 *
 * Opening. Counting alone (failure + 1, success - 1, open at failure_threshold) is a random walk
 * that ends at the threshold sooner or later whatever the failure rate: at 20 % it opens after a
 * median of some 1100 requests, a second of a busy service. So the count only says how soon, and a
 * rate over a sliding window says whether:
 *
 *   open when failed / all in the window >= failure_rate
 *             and (count >= failure_threshold or all in the window >= minimum_requests)
 *   or when count >= failure_threshold and failure_rate ^ (failures in a row) <= 1/1000
 *
 * The second line is for who suddenly fails everything: behind it lie thousands of good answers, and the
 * window would take seconds to say so. At the rate that is just allowed, so many in a row (10 at 0.5, none
 * at 1) are the chance of one in a thousand.
 *
 * The rate over a window with a minimum volume is that of Hystrix ("circuitBreaker.
 * requestVolumeThreshold" and "errorThresholdPercentage" of its Configuration page) and of
 * resilience4j (minimumNumberOfCalls, failureRateThreshold).
 *
 * Half-open. At most `trials` requests at a time are let through. A trial whose worker died gives
 * its place back after the recovery time without a sign.
 *
 * Tickets. A result counts only in the state that the request began in: what comes late while the
 * circuit is open neither prolongs that nor heals it.
 *
 * Ejection is the same OPEN, entered because a backend does worse than its like; its time doubles
 * with each one in succession.
 *
 * All transitions are one compare-and-swap of `word`, so exactly one worker makes each and knows it
 * from the answer; there is no lock. A closed circuit costs its readers one load. The window is
 * counted in the workers' own rows (one writer each), and summed only when something failed. */
#ifndef BOARD_CIRCUIT_H
#define BOARD_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "board/board.h"

enum board_circuit_state {
    BOARD_CLOSED,
    BOARD_HALF_OPEN,
    BOARD_OPEN,
    BOARD_CIRCUIT_STATES
};

/* What a call changed; NONE for whoever came second. */
enum board_change {
    BOARD_CHANGE_NONE,
    BOARD_CHANGE_OPENED,
    BOARD_CHANGE_TRIED,    /* half-open now */
    BOARD_CHANGE_REOPENED, /* a trial failed */
    BOARD_CHANGE_CLOSED,
    BOARD_CHANGE_EJECTED,
    BOARD_CHANGE_RETURNED, /* closed, after an ejection */
    BOARD_CHANGES
};

struct board_rule {
    uint32_t failure_threshold;
    uint32_t success_threshold;
    uint32_t trials;
    uint32_t minimum_requests;
    uint32_t window_ms; /* at most BOARD_WINDOW_MS */
    uint64_t recovery_ms;
    double failure_rate; /* 0..1 */
};

/* Given at the start of a request, brought back with its result. Zeroed: counts for nothing. */
struct board_ticket {
    uint32_t generation;
    bool counts; /* the circuit was closed, or this is a trial */
    bool trial;  /* holds one of the places */
};

/* Present state, for a pick: one load. */
enum board_circuit_state board_circuit_state(const struct board_circuit *c);
/* Whether a request would be let through now; changes nothing. */
bool board_circuit_admits(const struct board_circuit *c, const struct board_rule *rule,
                          uint64_t now_ms);
/* A request begins. false: not let through, *ret_ticket counts for nothing. */
bool board_circuit_enter(struct board_circuit *c, const struct board_rule *rule, uint64_t now_ms,
                         struct board_ticket *ret_ticket, enum board_change *ret_change);
/* Its result, told once by worker `worker`. Spends the ticket. */
enum board_change board_circuit_result(struct board *b, unsigned worker, unsigned slot,
                                       const struct board_rule *rule, bool failed, uint64_t now_ms,
                                       struct board_ticket *ticket);
/* It ended without one. */
void board_circuit_leave(struct board_circuit *c, struct board_ticket *ticket);
/* Puts a closed one out for base_ms, twice that the next time, at most most_ms; each base_ms that
 * it stays closed takes one doubling back. */
enum board_change board_circuit_eject(struct board_circuit *c, uint64_t base_ms, uint64_t most_ms,
                                      uint64_t now_ms);
/* Requests of the window that counted, over all workers, since the present state began. */
void board_window(struct board *b, unsigned slot, uint32_t window_ms, uint64_t now_ms,
                  uint64_t *ret_all, uint64_t *ret_failed);
/* The backend begins anew: closed, nothing counted. Counters of changes stay. CLOSED or RETURNED when it
 * was not closed before. */
enum board_change board_circuit_reset(struct board *b, unsigned slot);
/* "closed", "half-open", "open". */
const char *board_circuit_name(enum board_circuit_state state);

#endif
