/* board.h: the scoreboard, numbers that master and workers share without messages.
 *
 *   memfd:  header | worker[W] | route[W][R] | clients[W] | circuit[N] | recent[N] | rate[B] | row[W][N] | histogram[W][N] | traffic[W]
 *
 * Every field but those of `circuit`, `recent` and `rate` has one writer: `row[w][*]`, `route[w][*]`,
 * `clients[w]`, `worker[w]` and `traffic[w]` belong to worker w, the header to the master; those three are written by
 * all (circuit.h, rate.h); share.h is about routes and clients, traffic.h about what clients were answered. Readers sum over the workers, so what a reader
 * sees is never stale by more than the store in flight. A dead worker's gauges are zeroed by the master
 * (board_worker_reset); its counters stay, so sums never go back.
 *
 * Rows are addressed by a backend's `slot` (0 .. LIMIT_BACKENDS-1), which `fleet` assigns
 * and the roster carries. A slot is given out again only after board_slot_reset.
 * Untouched pages of the mapping are never resident. */
#ifndef BOARD_BOARD_H
#define BOARD_BOARD_H

#include <stdbool.h>
#include <stdint.h>

/* Log-linear latency histogram: 16 sub-buckets for every power of two of microseconds, so a
 * quantile is within 3.2 % of the truth; below 16 us exact, above 2^27 us in the last one. */
enum {
    BOARD_BUCKETS = 400
};

/* The sliding window of results: a ring of buckets. */
enum {
    BOARD_WINDOW = 64,
    BOARD_BUCKET_MS = 500,
    BOARD_WINDOW_MS = 30000, /* the longest; one bucket more is being filled, others are spare */
    BOARD_RECENT = 100       /* answers that a mean without decay is of */
};

/* What routes share, see share.h. */
enum {
    BOARD_ROUTES = 1024, /* counted apart; those beyond share rows with the first */
    BOARD_BUDGET_S = 10, /* seconds that a retry budget looks back */
    BOARD_BUDGET_RING = 16,
    BOARD_CLIENT_BUCKETS = 1024,
    BOARD_CLIENT_CELLS = 8 /* of a bucket */
};

/* Whom limits count, see rate.h. */
enum {
    BOARD_RATE_BUCKETS = 65536,
    BOARD_RATE_CELLS = 4 /* of a bucket */
};

struct board_bucket {
    uint32_t at;         /* its number since the clock's start, + 1; 0 = never used */
    uint32_t generation; /* of the circuit */
    uint32_t all, failed;
};

/* Whether a backend is asked; see circuit.h. */
struct board_circuit {
    uint64_t word;
    uint64_t failures;        /* count of the seed's rule: up by failures, down by successes */
    uint64_t in_a_row;        /* failures since the last success */
    uint64_t until_ms;        /* OPEN: no trial before */
    uint64_t changed_ms;      /* last change of state; 0 = none */
    uint64_t touched_ms;      /* last sign of life of a trial */
    uint64_t opened, ejected; /* how often */
    uint64_t streak;          /* ejections in succession */
    uint64_t spell_ms;        /* length of the last ejection, 0 = closed since */
    uint64_t swept_ms;        /* last comparison with others, kept at a service's first backend */
};

/* Outcomes of a request to a backend, counted by the worker that ran it. */
enum board_outcome {
    BOARD_NO_ANSWER, /* no complete answer head: connect, reset, time-out, malformed */
    BOARD_1XX,
    BOARD_2XX,
    BOARD_3XX,
    BOARD_4XX,
    BOARD_5XX,
    BOARD_OUTCOMES
};

/* A mean of samples, older ones fading. As `weight` says for how many it stands, those of several
 * workers make one: sum(value x weight) / sum(weight), each weight faded by its age. */
struct board_average {
    double value;
    double weight; /* 0 = no sample yet */
    uint64_t at_us;
};

/* The last answers of a backend, over all workers. */
struct board_recent {
    uint64_t count;         /* ever */
    float ms[BOARD_RECENT]; /* at count % BOARD_RECENT */
};

/* One backend as one worker knows it. The first line of the cache is what the others look at. */
struct board_row {
    uint64_t in_flight;               /* gauge: requests sent or being sent, answer not finished */
    uint64_t pooled;                  /* gauge: idle upstream connections */
    struct board_average response_ms; /* of answered requests */
    struct board_average failed;      /* 0..1, of all */
    uint64_t outcomes[BOARD_OUTCOMES];
    uint64_t retries;             /* attempts here that were repeated elsewhere */
    uint64_t bytes_in, bytes_out; /* bodies: from clients, to clients */
    uint64_t latency_us_sum;      /* of answered requests */
    uint64_t last_failure_ms;     /* monotonic; 0 = none */
    uint64_t consecutive_failures;
    struct board_bucket window[BOARD_WINDOW];
};

/* Why a connection of HTTP/2 was ended by us: more in a second than LIMIT_H2_... of these. */
enum board_h2_flood {
    BOARD_H2_RESETS, /* streams cancelled, or streams that had to be */
    BOARD_H2_SETTINGS,
    BOARD_H2_PINGS,
    BOARD_H2_EMPTY, /* frames that carry nothing */
    BOARD_H2_PRIORITIES,
    BOARD_H2_WINDOWS,       /* WINDOW_UPDATE */
    BOARD_H2_CONTINUATIONS, /* of one header block */
    BOARD_H2_HEADERS,       /* a header block that grows without end, or never ends */
    BOARD_H2_FLOODS
};

/* One worker process. */
struct board_worker {
    uint64_t heartbeat; /* odd while inside Lua */
    uint64_t pid;
    uint64_t roster_version; /* last applied */
    uint64_t connections;    /* gauge: open client connections */
    uint64_t accepted;
    uint64_t no_route;      /* requests answered 404 by us */
    uint64_t no_backend;    /* requests answered 503 by us */
    uint64_t bad_requests;  /* 400 and its kin */
    uint64_t policy_errors; /* picks that fell back to C */
    uint64_t interpreted;   /* gauge: routes whose policy LuaJIT does not compile */
    uint64_t reader_errors; /* requests whose route's request function failed */
    uint64_t picks;
    uint64_t pick_ns_sum;
    uint64_t aborted;     /* exchanges cut in mid-answer */
    uint64_t access_lost; /* lines of the access log that were not written */
    uint64_t queued;      /* gauge: requests that wait because all backends are full */
    uint64_t queued_total;
    uint64_t queue_refused;  /* answered 503: the queue was full, or the wait too long */
    uint64_t retries_denied; /* not repeated, since too many are */
    uint64_t panics;         /* picks that ignored the circuits */
    uint64_t exhausted;    /* connections and requests refused for want of descriptors or memory */
    uint64_t auth_failed;  /* requests refused since their credentials are wrong */
    uint64_t auth_errors;  /* requests refused since theirs could not be checked */
    uint64_t rate_limited; /* requests refused since a route is asked too often */
    uint64_t h2_connections; /* gauge: open client connections with HTTP/2 */
    uint64_t h2_streams;     /* requests that came by them */
    uint64_t h2_floods[BOARD_H2_FLOODS];
    uint64_t handshakes,
        handshakes_resumed;         /* of TLS with clients that came to an end; with a ticket */
    uint64_t handshakes_failed;     /* or took too long */
    uint64_t not_tls, tls_on_plain; /* connections with plain bytes on a TLS port; the other way */
    uint64_t mirrored, mirror_dropped; /* copies of requests that were sent, and that were not */
};

/* A second of a route. */
struct board_asked {
    uint32_t at; /* its number since the clock's start, + 1; 0 = never used */
    uint32_t all, repeated;
};

/* One route as one worker knows it. Its number is its place among the routes of all services in the
 * configuration, from 0, modulo BOARD_ROUTES. */
struct board_route {
    uint64_t queued; /* gauge: requests that wait for a backend */
    /* Picks that its shadow policy was asked about, another backend, none that it may have; since the last reload. */
    uint64_t shadow_asked, shadow_differed, shadow_failed;
    struct board_asked asked[BOARD_BUDGET_RING];
};

struct board;

/* Sums over all workers for one slot, with quantiles of the latency since the slot's reset. */
struct board_sum {
    uint64_t in_flight, pooled, retries, bytes_in, bytes_out, latency_us_sum;
    uint64_t outcomes[BOARD_OUTCOMES];
    uint64_t answered; /* all outcomes but BOARD_NO_ANSWER */
};

/* A fresh board for `workers` processes in a sealed memfd; -errno. The caller owns it: board_free. */
int board_new(unsigned workers, struct board **ret_board);
/* Maps the board behind a descriptor that was inherited or received; -EINVAL when it is none. Takes fd. */
int board_open(int fd, struct board **ret_board);
void board_free(struct board *b);
/* The memfd, to hand to a child. Lends. */
int board_fd(const struct board *b);
unsigned board_workers(const struct board *b);

/* Lent rows; valid until board_free. `slot` < LIMIT_BACKENDS, `worker` < board_workers. */
struct board_row *board_row(struct board *b, unsigned worker, unsigned slot);
struct board_worker *board_worker(struct board *b, unsigned worker);
struct board_circuit *board_circuit(const struct board *b, unsigned slot);
/* `route` < BOARD_ROUTES, `bucket` (of BOARD_CLIENT_CELLS words) < BOARD_CLIENT_BUCKETS. */
struct board_route *board_route(struct board *b, unsigned worker, unsigned route);
uint64_t *board_clients(struct board *b, unsigned worker, unsigned bucket);
/* A line of BOARD_RATE_CELLS pairs of words; `bucket` < BOARD_RATE_BUCKETS. */
uint64_t *board_rates(const struct board *b, unsigned bucket);
/* A random number, the same for all who have this board. */
uint64_t board_secret(const struct board *b);
/* Requests of a route that wait, at all workers. */
uint64_t board_queue_length(const struct board *b, unsigned route);
/* Adds an answer to the slot's last ones; their mean, 0 = none yet. */
void board_recent_add(struct board *b, unsigned slot, double ms);
double board_recent_mean(const struct board_recent *r);
const struct board_recent *board_recent(const struct board *b, unsigned slot);
/* Counts one latency in worker's histogram of slot. */
void board_observe(struct board *b, unsigned worker, unsigned slot, uint64_t latency_us);
/* Counts `count` of them. */
void board_observe_many(struct board *b, unsigned worker, unsigned slot, uint64_t latency_us,
                        uint32_t count);
/* Counts a request of worker's in flight on slot unless that makes more than `most` over all
 * workers (0 = no bound). Never exceeds it: each makes its own known before it sums all, so of two
 * that take the last place at the same moment both may be refused, but not both let in. */
bool board_reserve(struct board *b, unsigned worker, unsigned slot, uint64_t most);
/* In flight on a slot over all workers. */
uint64_t board_in_flight(const struct board *b, unsigned slot);
void board_sum(const struct board *b, unsigned slot, struct board_sum *ret_sum);
/* Of these sums only the requests that ended, and those of them that failed: no answer, or 5xx. */
void board_requests(const struct board *b, unsigned slot, uint64_t *ret_requests,
                    uint64_t *ret_failures);
/* Adds the slot's histogram over all workers to `buckets` (BOARD_BUCKETS counters, zeroed by the caller). */
void board_histogram(const struct board *b, unsigned slot, uint64_t *buckets);
/* Latency in us at quantile q (0..1) of such buckets; 0 when they are empty. */
uint64_t board_quantile_us(const uint64_t *buckets, double q);
/* `count` of them at once; the quantiles rise. */
void board_quantiles_us(const uint64_t *buckets, const double *q, unsigned count, uint64_t *ret_us);
/* Bucket number of a latency, and the least latency of a bucket. */
unsigned board_bucket_of(uint64_t latency_us);
uint64_t board_bucket_floor_us(unsigned bucket);

/* Master only: worker died, its gauges (in_flight, pooled, connections, queues, clients) become 0. */
void board_worker_reset(struct board *b, unsigned worker);
/* Master only: everything about a slot becomes 0, before it is given out again. */
void board_slot_reset(struct board *b, unsigned slot);

/* Single-writer additions that readers in other processes see whole. */
void board_add(uint64_t *field, uint64_t amount);
void board_sub(uint64_t *field, uint64_t amount);
void board_set(uint64_t *field, uint64_t value);
uint64_t board_get(const uint64_t *field);

#endif
