/* guard.c: what keeps requests away from backends that fail: circuits, comparison with others, the
 * retry budget, and the news of all that.
 *
 * Comparison (outlier ejection). A circuit asks how a backend does, the comparison how it does beside
 * its like. Envoy's rule is a success rate below mean - 1.9 deviations over all hosts; with n hosts
 * one cannot be further than sqrt(n - 1) deviations from the mean, so it needs five to mean
 * anything. Here the mean and deviation are those of the others, with a margin for when these are
 * all alike, and three suffice:
 *
 *   ejected when rate < mean(others) - max(margin, deviations x deviation(others))
 *
 * Done at most twice a second for a service, by whichever worker sees a failure first then.
 *
 * Retry budget. Repeats may make up a part of the requests of the last ten seconds over all workers,
 * and so many a second always: else a service that is slow because it is overloaded gets every request
 * several times. The counts are on the board (share.h). */
#include "proxy/parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "board/board.h"
#include "board/share.h"

enum {
    SWEEP_MS = 500,
    COMPARED_LEAST = 3, /* backends with enough requests */
    HURRY_MS = 1000,    /* between two calls for a check of one backend */
    PANIC_MS = 1000     /* between two words on the same panic */
};

static const double MARGIN = 0.1;

/* ---- Settings ---------------------------------------------------------------------------- */

static bool names_failure(const struct cJSON *list, const char *name)
{
    for (struct cJSON *i = json_first(list); i; i = json_next(i)) {
        if (!strcmp(json_value_str(i, ""), name)) {
            return true;
        }
    }
    return false;
}

static uint32_t number(const struct cJSON *from, const char *key, double otherwise, double most)
{
    double value = json_num(from, key, otherwise);
    return value < 0 ? 0 : value > most ? (uint32_t)most : (uint32_t)value;
}

static void read_breaker(struct guard *g, const struct cJSON *json)
{
    static const char *const names[FAILURES] = {"", "connect", "timeout", "reset", "5xx"};
    const struct cJSON *on = json_get(json, "failures_on");
    g->rule = (struct board_rule){
        .failure_threshold = json ? number(json, "failure_threshold", 5, 1e6) : 0,
        .success_threshold = number(json, "success_threshold", 3, 1e4),
        .trials = number(json, "trials", 1, 1e4),
        .minimum_requests = number(json, "minimum_requests", 20, 1e6),
        .window_ms = number(json, "window_ms", 10000, BOARD_WINDOW_MS),
        .recovery_ms = number(json, "recovery_timeout_ms", 60000, 1e9),
        .failure_rate = json_num(json, "failure_rate", 0.5),
    };
    for (int f = FAILURE_NONE + 1; f < FAILURES; f++) {
        g->counts[f] = !on || names_failure(on, names[f]);
    }
}

static void read_ejection(struct guard *g, const struct cJSON *json)
{
    g->compares = json != NULL;
    g->eject_share = json_num(json, "max_ejected", 50) / 100;
    g->eject_deviations = json_num(json, "deviations", 1.9);
    g->eject_minimum = number(json, "minimum_requests", 100, 1e6);
    g->eject_window_ms = number(json, "window_ms", 10000, BOARD_WINDOW_MS);
    g->eject_base_ms = number(json, "base_time_ms", 30000, 1e9);
    g->eject_most_ms = number(json, "max_time_ms", 300000, 1e9);
}

/* The key of a route, NULL when it is absent or off. */
static const struct cJSON *record_of(const struct cJSON *route, const char *key)
{
    const struct cJSON *record = json_get(route, key);
    return record && json_first(record) ? record : NULL;
}

void proxy_guard_read(struct proxy *p, struct guard *g, const struct cJSON *service,
                      const struct cJSON *route)
{
    const struct cJSON *breaker = record_of(route, "circuit_breaker");
    const struct cJSON *queue = record_of(route, "queue");
    const struct cJSON *budget = record_of(route, "retry_budget");
    double slow_ms = json_num(service, "slow_start_ms", 0);
    read_breaker(g, breaker);
    read_ejection(g, record_of(route, "outlier_ejection"));
    g->tracks = breaker || g->compares;
    g->alone = json_bool(breaker, "explicit", false);
    g->panic = json_num(route, "panic_threshold", 50) / 100;
    g->slow_start_ms = json_num(route, "slow_start_ms", slow_ms);
    g->queue_limit = queue ? number(queue, "limit", 1000, 1e6) : 0;
    g->when_down = !json_get(queue, "when_down")          ? DOWN_BRIEFLY
                   : json_bool(queue, "when_down", false) ? DOWN_WAITS
                                                          : DOWN_REFUSED;
    double wait_ms = json_num(queue, "timeout_ms", 5000);
    g->queue_timeout = proxy_timeout_of(p, wait_ms >= 1 && wait_ms < 1e9 ? (uint32_t)wait_ms : 1);
    g->budgeted = budget != NULL;
    g->retry_ratio = json_num(budget, "percent", 20) / 100;
    g->retry_per_second = json_num(budget, "min_per_second", 10);
}

/* ---- News -------------------------------------------------------------------------------- */

const char *proxy_guard_word(enum failure failure)
{
    static const char *const words[FAILURES] = {"no answer", "cannot connect", "no answer in time",
                                                "cut off or malformed", "answered 5xx"};
    return words[failure];
}

static const char *service_of(const struct backend *b)
{
    return b->service ? b->service->name : "";
}

static void tell_change(struct proxy *p, struct backend *b, enum board_change change,
                        enum failure failure)
{
    static const char *const whats[BOARD_CHANGES] = {"",
                                                     "open",
                                                     "half-open: trying",
                                                     "open again: a trial failed",
                                                     "closed: trials succeeded",
                                                     "ejected: does worse than the others",
                                                     "closed: back from its ejection"};
    static const char *const kinds[BOARD_CHANGES] = {
        "",
        "circuit_opened",
        "circuit_half_open",
        "circuit_opened",
        "circuit_closed",
        "backend_ejected",
        "backend_returned",
    };
    char text[160]; /* words above, two numbers of at most 20 digits */
    if (change == BOARD_CHANGE_NONE) {
        return;
    }
    proxy_moved(b);
    if (change == BOARD_CHANGE_OPENED || change == BOARD_CHANGE_REOPENED) {
        snprintf(text, sizeof text, "circuit %s (%s), next trial in %llu ms", whats[change],
                 proxy_guard_word(failure), (unsigned long long)(b->circuit->until_ms - p->now_ms));
    } else {
        snprintf(text, sizeof text, "circuit %s", whats[change]);
    }
    p->queue_due = true; /* who waits may go there now */
    proxy_tell(p, kinds[change], service_of(b), b->id, text);
}

void proxy_guard_panic(struct proxy *p, struct service *service, const struct field *f)
{
    char text[100]; /* words and two numbers of at most 10 digits */
    board_add(&p->numbers->panics, 1);
    if (service->panic_ms && p->now_ms - service->panic_ms < PANIC_MS) {
        return;
    }
    service->panic_ms = p->now_ms;
    snprintf(text, sizeof text, "%u of %u backends were let through: the circuits are ignored",
             f->admitted, f->healthy);
    proxy_tell(p, "panic", service->name, "", text);
}

void proxy_suspect(struct proxy *p, struct backend *b, enum failure failure)
{
    if (p->now_ms - b->hurried_ms >= HURRY_MS) {
        b->hurried_ms = p->now_ms;
        proxy_tell(p, "backend_failed", service_of(b), b->id, proxy_guard_word(failure));
    }
}

/* ---- Comparison -------------------------------------------------------------------------- */

struct rates {
    double sum, squares;
    uint32_t count, out, all;
};

static bool rate_of(struct proxy *p, const struct guard *g, const struct backend *b,
                    double *ret_rate)
{
    uint64_t all, failed;
    if (b->draining || board_circuit_state(b->circuit) != BOARD_CLOSED) {
        return false;
    }
    board_window(p->options.board, b->slot, g->eject_window_ms, p->now_ms, &all, &failed);
    *ret_rate = all ? 1 - (double)failed / (double)all : 1;
    return all && all >= g->eject_minimum;
}

static struct rates gather(struct proxy *p, const struct route *r)
{
    struct rates s = {0};
    for (uint32_t i = 0; i < r->service->count; i++) {
        const struct backend *b = r->service->backends[i];
        double rate;
        s.all += !b->draining;
        s.out += !b->draining && board_circuit_state(b->circuit) != BOARD_CLOSED;
        if (rate_of(p, &r->guard, b, &rate)) {
            s.sum += rate;
            s.squares += rate * rate;
            s.count++;
        }
    }
    return s;
}

/* Whether a rate is out of line with the others'. */
static bool worse(const struct guard *g, const struct rates *s, double rate)
{
    double n = s->count - 1, mean = (s->sum - rate) / n;
    double variance = (s->squares - rate * rate) / n - mean * mean;
    double allowed = g->eject_deviations * sqrt(variance > 0 ? variance : 0);
    return rate < mean - (allowed > MARGIN ? allowed : MARGIN);
}

/* One may always go, one always stays. */
static bool may_eject(const struct guard *g, const struct rates *s)
{
    double most = g->eject_share * s->all;
    return g->eject_share > 0 && s->out + 1 < s->all && s->out + 1 <= (most > 1 ? most : 1);
}

static void compare(struct proxy *p, struct route *r)
{
    const struct guard *g = &r->guard;
    uint64_t *swept = &r->service->backends[0]->circuit->swept_ms, at = board_get(swept);
    if (p->now_ms - at < SWEEP_MS ||
        !__atomic_compare_exchange_n(swept, &at, p->now_ms, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        return;
    }
    struct rates s = gather(p, r);
    for (uint32_t i = 0; s.count >= COMPARED_LEAST && i < r->service->count; i++) {
        struct backend *b = r->service->backends[i];
        double rate;
        if (may_eject(g, &s) && rate_of(p, g, b, &rate) && worse(g, &s, rate)) {
            enum board_change change =
                board_circuit_eject(b->circuit, g->eject_base_ms, g->eject_most_ms, p->now_ms);
            s.out += change != BOARD_CHANGE_NONE;
            tell_change(p, b, change, FAILURE_NONE);
        }
    }
}

/* ---- Results ----------------------------------------------------------------------------- */

bool proxy_guard_enter(struct exchange *ex, struct backend *b)
{
    struct proxy *p = ex->session->proxy;
    enum board_change change;
    bool in =
        board_circuit_enter(b->circuit, &ex->route->guard.rule, p->now_ms, &ex->ticket, &change);
    tell_change(p, b, change, FAILURE_NONE);
    return in;
}

void proxy_guard_result(struct exchange *ex, enum failure failure)
{
    struct proxy *p = ex->session->proxy;
    struct route *r = ex->route;
    struct backend *b = ex->backend;
    if (!ex->ticket.counts) {
        return;
    }
    bool failed = r->guard.counts[failure];
    enum board_change change = board_circuit_result(p->options.board, p->options.worker, b->slot,
                                                    &r->guard.rule, failed, p->now_ms, &ex->ticket);
    tell_change(p, b, change, failure);
    if (failed && r->guard.compares && r->service->count >= COMPARED_LEAST) {
        compare(p, r);
    }
}

void proxy_guard_leave(struct exchange *ex)
{
    board_circuit_leave(ex->backend->circuit, &ex->ticket);
}

/* ---- Retries ----------------------------------------------------------------------------- */

void proxy_budget_ask(struct proxy *p, struct route *r)
{
    if (r->guard.budgeted) {
        board_budget_ask(p->options.board, p->options.worker, r->number, p->now_ms);
    }
}

bool proxy_budget_repeat(struct proxy *p, struct route *r)
{
    const struct guard *g = &r->guard;
    bool may = !g->budgeted || board_budget_repeat(p->options.board, p->options.worker, r->number,
                                                   g->retry_ratio, g->retry_per_second, p->now_ms);
    if (!may) {
        board_add(&p->numbers->retries_denied, 1);
    }
    return may;
}
