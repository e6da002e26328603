/* tally.c: what an attempt leaves on the board, and what all workers know of a backend together.
 *
 * Latency is the time from sending to the head of the final answer: what the backend takes, and not
 * what a slow client does. Averages are means in which a sample's weight fades as e^-(t / 5 s), and
 * of so many at most, so that they follow also under load: failures sooner than response times, of
 * which too few would make equal backends look different. Since each says for how
 * much it stands, those of all workers make the one that a single worker would have. What nothing
 * renews fades alike, so that a backend that was slow is tried again soon. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "board/board.h"
#include "board/traffic.h"

enum {
    FADE_MS = 5000,
    MOST_RESPONSES = 400, /* of a worker */
    MOST_RESULTS = 100,
    CLIENT_LEFT = 499 /* as nginx calls it */
};

double proxy_faded(double value, double age_ms)
{
    double x = age_ms * (1.0 / FADE_MS);
    if (x < 0.02) {
        return value - value * x; /* under load nearly always, and without a division */
    }
    return value / (1 + x + x * x / 2 + x * x * x / 6); /* e^x, near enough */
}

static double faded_since(const struct proxy *p, double value, uint64_t at_us)
{
    return p->now_us > at_us ? proxy_faded(value, (double)(p->now_us - at_us) * 0.001) : value;
}

/* ---- Averages ---------------------------------------------------------------------------- */

/* For how many samples an average stands now. After a pause of t one new sample weighs at least 1 -
 * e^-(t / 5 s) against it, however many they were: else who was slow would be slow again at once. */
static double weight_of(const struct proxy *p, const struct board_average *a)
{
    double left = faded_since(p, 1, a->at_us), most = left < 1 ? left / (1 - left) : a->weight;
    return a->weight * left < most ? a->weight * left : most;
}

static void note(const struct proxy *p, struct board_average *a, double sample, double most)
{
    double left = weight_of(p, a);
    a->weight = (left < most - 1 ? left : most - 1) + 1;
    a->value += (sample - a->value) / a->weight;
    a->at_us = p->now_us;
}

static void gather(const struct proxy *p, struct merged *m, const struct board_average *a)
{
    if (a->weight > 0) {
        double weight = weight_of(p, a);
        m->sum += a->value * weight;
        m->weight += weight;
        m->others_us = a->at_us > m->others_us ? a->at_us : m->others_us;
    }
}

static void look_around(struct proxy *p, struct backend *b)
{
    unsigned workers = board_workers(p->options.board);
    b->looked_ms = p->now_ms;
    b->news = true;
    b->others = 0;
    b->response_ms = b->failed = (struct merged){0};
    for (unsigned w = 0; w < workers; w++) {
        if (w != p->options.worker) {
            const struct board_row *row = board_row(p->options.board, w, b->slot);
            b->others += board_get(&row->in_flight);
            gather(p, &b->response_ms, &row->response_ms);
            gather(p, &b->failed, &row->failed);
        }
    }
}

static void merge(const struct proxy *p, struct merged *m, const struct board_average *own)
{
    if (m->weight <= 0) {
        m->value = own->value;
        m->at_us = own->at_us;
        return;
    }
    double weight = weight_of(p, own);
    m->value = (own->value * weight + m->sum) / (weight + m->weight);
    m->at_us = own->at_us > m->others_us ? own->at_us : m->others_us;
}

static double recent_mean(struct proxy *p, struct backend *b)
{
    const struct board_recent *recent = board_recent(p->options.board, b->slot);
    uint64_t count = board_get(&recent->count);
    if (count != b->mean_count) {
        b->mean_count = count;
        b->mean_ms = board_recent_mean(recent);
    }
    return b->mean_ms;
}

void proxy_tally_fill(struct proxy *p, struct backend *b, bool mean, struct script_backend *row)
{
    if (b->looked_ms != p->now_ms) {
        look_around(p, b);
    }
    if (b->news) {
        b->news = false;
        merge(p, &b->response_ms, &b->row->response_ms);
        merge(p, &b->failed, &b->row->failed);
    }
    row->in_flight = (double)(b->row->in_flight + b->others);
    row->response_ms = faded_since(p, b->response_ms.value, b->response_ms.at_us);
    row->error_rate = b->failed.value > 0 ? faded_since(p, b->failed.value, b->failed.at_us) : 0;
    row->response_mean_ms = mean ? recent_mean(p, b) : 0;
}

/* ---- A request --------------------------------------------------------------------------- */

void proxy_tally_request(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    ex->times = board_traffic_times(p->traffic, ex->route->identity, ex->method);
    board_add(&ex->times->in_flight, 1);
}

void proxy_tally_request_move(struct exchange *ex, struct route *to)
{
    board_sub(&ex->times->in_flight, 1);
    ex->route = to;
    proxy_tally_request(ex);
}

void proxy_tally_request_end(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    if (!ex->times) {
        return;
    }
    int status = ex->grpc ? proxy_grpc_told(ex) : ex->status;
    board_sub(&ex->times->in_flight, 1);
    board_traffic_observe(ex->times, p->now_us > ex->began_us ? p->now_us - ex->began_us : 0);
    board_traffic_count(p->traffic, ex->route->identity, ex->method, status ? status : CLIENT_LEFT);
    ex->times = NULL;
}

/* ---- An attempt -------------------------------------------------------------------------- */

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
    ex->tallied = true;
    ex->route->service->gone_ms = 0;
    proxy_moved(b);
    /* Whether the answer is whole shows at its end; a trial, or what has no end, is not kept so long. */
    if (status >= 500 || status == 101 || ex->tcp || ex->ticket.trial) {
        proxy_guard_result(ex, status >= 500 ? FAILURE_5XX : FAILURE_NONE);
    }
    board_add(&row->outcomes[outcome_of(status)], 1);
    board_add(&row->latency_us_sum, took_us);
    board_observe(p->options.board, p->options.worker, b->slot, took_us);
    double took_ms = (double)took_us / 1000.0;
    note(p, &row->response_ms, took_ms, MOST_RESPONSES);
    note(p, &row->failed, status >= 500, MOST_RESULTS);
    b->news = true;
    if (proxy_view_wants_mean(ex->route->view)) {
        board_recent_add(p->options.board, b->slot, took_ms);
    }
    if (row->consecutive_failures) {
        board_set(&row->consecutive_failures, 0);
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
    proxy_moved(b);
    proxy_guard_result(ex, ex->failure ? ex->failure : FAILURE_RESET);
    proxy_suspect(p, b, ex->failure ? ex->failure : FAILURE_RESET);
    board_add(&b->row->outcomes[BOARD_NO_ANSWER], 1);
    board_add(&b->row->consecutive_failures, 1);
    board_set(&b->row->last_failure_ms, p->now_ms);
    if (repeated) {
        board_add(&b->row->retries, 1);
        if (ex->times) {
            board_add(&ex->times->repeated, 1);
        }
    }
    note(p, &b->row->failed, 1, MOST_RESULTS);
    b->news = true;
}

void proxy_tally_end(struct exchange *ex)
{
    struct backend *b = ex->backend;
    proxy_past_attempted(ex);
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
    proxy_moved(b);
    ex->session->proxy->queue_due = true;
    b->attempts--;
    proxy_backend_settle(ex->session->proxy, b);
}
