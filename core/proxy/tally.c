/* tally.c: what an attempt leaves on the board.
 *
 * Latency is the time from sending to the head of the final answer: what the backend takes, and not
 * what a slow client does. Averages decay by time: a sample after dt weighs 1 - e^-(dt / 5 s), but
 * never less than 1/100, so that they follow also under load. What nothing renews fades alike, so
 * that a backend that was slow is tried again soon. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "board/board.h"

enum {
    FADE_MS = 5000,
    LOOK_AROUND_MS = 16 /* between two looks at the other workers' response times */
};

double proxy_faded(double value, double age_ms)
{
    double x = age_ms * (1.0 / FADE_MS);
    if (x < 0.02) {
        return value - value * x; /* under load nearly always, and without a division */
    }
    return value / (1 + x + x * x / 2 + x * x * x / 6); /* e^x, near enough */
}

static double age_ms(const struct proxy *p, const struct board_row *row)
{
    return p->now_us > row->ewma_at_us ? (double)(p->now_us - row->ewma_at_us) / 1000.0 : 0;
}

static double decayed(double old, double sample, uint64_t dt_us)
{
    double weight = 1 - proxy_faded(1, (double)dt_us / 1000.0);
    return old + (sample - old) * (weight < 0.01 ? 0.01 : weight);
}

/* The sum is built anew each time round, so that no rounding stays in it. */
static void remember(struct backend *b, double took_ms)
{
    float *slot = &b->window_ms[b->window_count % MEAN_OVER], ms = (float)took_ms;
    b->window_sum += (double)ms - (double)*slot;
    *slot = ms;
    b->window_count++;
    if (b->window_count % MEAN_OVER == 0) {
        b->window_sum = 0;
        for (int i = 0; i < MEAN_OVER; i++) {
            b->window_sum += (double)b->window_ms[i];
        }
    }
}

/* What the other workers measured: sums of their averages by freshness, looked up now and then. */
static void look_around(struct proxy *p, struct backend *b)
{
    unsigned workers = board_workers(p->options.board);
    b->around_ms = p->now_ms;
    b->around_sum = b->around_fresh = b->around_best = 0;
    for (unsigned w = 0; w < workers; w++) {
        const struct board_row *row = board_row(p->options.board, w, b->slot);
        if (w != p->options.worker && row->ewma_ms > 0) {
            double fresh = proxy_faded(1, age_ms(p, row));
            b->around_sum += row->ewma_ms * fresh;
            b->around_fresh += fresh;
            b->around_best = fresh > b->around_best ? fresh : b->around_best;
        }
    }
}

double proxy_tally_response(struct proxy *p, struct backend *b)
{
    double own = b->row->ewma_ms, fresh = own > 0 ? proxy_faded(1, age_ms(p, b->row)) : 0;
    if (p->now_ms - b->around_ms >= LOOK_AROUND_MS) {
        look_around(p, b);
    }
    if (b->around_fresh <= 0) {
        return own * fresh;
    }
    double best = fresh > b->around_best ? fresh : b->around_best;
    return (own * fresh + b->around_sum) / (fresh + b->around_fresh) * best;
}

double proxy_tally_mean(const struct backend *b)
{
    uint32_t count = b->window_count < MEAN_OVER ? b->window_count : MEAN_OVER;
    return count ? b->window_sum / count : 0;
}

void proxy_tally_begin(struct exchange *ex, struct backend *b)
{
    must(!ex->backend);
    ex->backend = b;
    ex->tallied = false;
    ex->failure = FAILURE_NONE;
    b->attempts++;
    ex->attempt_us = ex->session->proxy->now_us;
}

static enum board_outcome outcome_of(int status)
{
    static const enum board_outcome classes[] = {BOARD_NO_ANSWER, BOARD_1XX, BOARD_2XX,
                                                 BOARD_3XX,       BOARD_4XX, BOARD_5XX};
    return classes[status / 100];
}

void proxy_tally_answer(struct exchange *ex, int status)
{
    struct proxy *p = ex->session->proxy;
    struct backend *b = ex->backend;
    struct board_row *row = b->row;
    proxy_now(p);
    uint64_t took_us = p->now_us > ex->attempt_us ? p->now_us - ex->attempt_us : 0;
    uint64_t since_us = p->now_us - row->ewma_at_us;
    ex->tallied = true;
    /* Whether the answer is whole shows at its end; a trial, or what has no end, is not kept so long. */
    if (status >= 500 || status == 101 || ex->tcp || ex->ticket.trial) {
        proxy_guard_result(ex, status >= 500 ? FAILURE_5XX : FAILURE_NONE);
    }
    board_add(&row->outcomes[outcome_of(status)], 1);
    board_add(&row->latency_us_sum, took_us);
    board_observe(p->options.board, p->options.worker, b->slot, took_us);
    double took_ms = (double)took_us / 1000.0;
    row->ewma_ms = row->ewma_ms > 0 ? decayed(row->ewma_ms, took_ms, since_us) : took_ms;
    row->ewma_at_us = p->now_us;
    remember(b, took_ms);
    if (row->consecutive_failures) {
        board_set(&row->consecutive_failures, 0);
    }
    if (b->error_rate > 0 || status >= 500) {
        b->error_rate = decayed(b->error_rate, status >= 500, since_us);
        b->failed_ms = status >= 500 ? p->now_ms : b->failed_ms;
    }
}

void proxy_tally_failure(struct exchange *ex, bool repeated)
{
    struct proxy *p = ex->session->proxy;
    struct backend *b = ex->backend;
    if (ex->tallied) {
        return;
    }
    ex->tallied = true;
    proxy_guard_result(ex, ex->failure ? ex->failure : FAILURE_RESET);
    proxy_suspect(p, b, ex->failure ? ex->failure : FAILURE_RESET);
    board_add(&b->row->outcomes[BOARD_NO_ANSWER], 1);
    board_add(&b->row->consecutive_failures, 1);
    board_set(&b->row->last_failure_ms, p->now_ms);
    if (repeated) {
        board_add(&b->row->retries, 1);
    }
    b->error_rate = decayed(b->error_rate, 1, (p->now_ms - b->failed_ms) * 1000u);
    b->failed_ms = p->now_ms;
}

void proxy_tally_end(struct exchange *ex)
{
    struct backend *b = ex->backend;
    if (!ex->tallied) {
        proxy_guard_leave(ex);
    } else if (ex->ticket.counts) {
        proxy_guard_result(ex, ex->failure);
        if (ex->failure) {
            proxy_suspect(ex->session->proxy, b, ex->failure);
        }
    }
    ex->backend = NULL;
    board_sub(&b->row->in_flight, 1);
    ex->session->proxy->queue_due = true;
    b->attempts--;
    proxy_backend_settle(ex->session->proxy, b);
}
