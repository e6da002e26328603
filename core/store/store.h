/* store.h: what is remembered on disk: events, documents and samples, in SQLite.
 *
 *     loop thread                    writer thread                      files below `dir`
 *     store_event, store_put  --->   one transaction of all       --->  events.db   (WAL, FULL)
 *     store_sample            --->   journal, heads, full chunks  --->  journal-N, samples-DAY.db,
 *     on_durable, on_notice   <---                                      rollups-WEEK.db (WAL, NORMAL)
 *     store_query_*           --->   reader thread                --->  the same, read only
 *     its callback            <---
 *
 * No call here touches a file or waits for one, but store_open and store_documents, which are for
 * the start. All functions are for the loop's thread; all callbacks come from the loop, later.
 *
 * EVENTS AND DOCUMENTS are durable when their transaction is: on_durable tells up to which sequence.
 * Whatever is queued when the writer is free becomes one transaction, in order. When the disk is
 * full they wait in memory (and a ballast file is given up for them) until they can be written.
 *
 * SAMPLES are for looking at: a kill may cost the last second of them. They stop before the disk is
 * full (`reserve_bytes`), and go on when there is room. Integers up to 2^53 are kept exactly, other
 * numbers with six significant digits. A series' samples go into a head in memory, which 120
 * samples, half an hour or midnight (UTC) turn into one compressed chunk and its one-minute
 * roll-ups. Time goes forward: what is not newer than a series' last sample is left out.
 *
 * A database that is damaged is moved aside (`events.db.damaged-TIME`), what can be read of it is
 * taken over, and on_notice says so. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct uv_loop_s;

enum store_limits {
    STORE_EVENTS_QUEUED = 65536,    /* events and documents that wait for the writer */
    STORE_SAMPLES_QUEUED = 1 << 20, /* samples that do */
    STORE_SERIES = 200000,          /* series that are written at the same time */
    STORE_QUERIES_QUEUED = 64,
    STORE_ROWS = 10000,    /* most events of one answer */
    STORE_POINTS = 100000, /* most points of one answer's series */
    STORE_ANSWERS = 1000,  /* most series of one answer */
};

/* What went wrong or right again, for the log and for metrics; once for each change. */
enum store_notice {
    STORE_DAMAGED,         /* a database was moved aside: text tells which and what was saved */
    STORE_SAMPLES_STOPPED, /* no room on the disk */
    STORE_SAMPLES_AGAIN,
    STORE_EVENTS_WAIT, /* events cannot be written: they wait */
    STORE_EVENTS_AGAIN,
    STORE_EVENTS_LOST, /* the queue is full */
    STORE_EXPIRED,     /* a file was deleted: by age or by bytes */
    STORE_NOTICES
};

/* Lends text until return. */
typedef void store_notice_fn(void *arg, enum store_notice what, const char *text);
/* Every event and document up to this sequence is on disk. */
/* The version of SQLite in use. Static storage. */
const char *store_library(void);

typedef void store_durable_fn(void *arg, uint64_t sequence);

struct store_options {
    struct uv_loop_s *loop;
    const char *dir;              /* made when it is not there */
    uint32_t days;                /* samples younger than that are kept; 0: 14 */
    uint64_t bytes;               /* all of it together takes at most about that; 0: 2 GB */
    uint32_t rollup_days;         /* roll-ups; 0: 90 */
    uint32_t event_days;          /* events; 0: 400 */
    uint64_t reserve_bytes;       /* less than that free on the disk: no samples; 0: 64 MB */
    store_durable_fn *on_durable; /* may be NULL */
    store_notice_fn *on_notice;   /* may be NULL */
    void *arg;
};

/* Opens or makes everything and replays the journal; well below a second after a kill. -errno with a
 * sentence that the caller owns (mem_free): the directory cannot be used, or another has it. */
int store_open(const struct store_options *options, struct store **ret_store, char **reterr);
/* Writes what is queued, ends the threads, cancels queries (-ECANCELED), then calls back. */
void store_close(struct store *s, void (*on_closed)(void *arg), void *arg);

/* ---- Events ----------------------------------------------------------------------------- */

/* Kinds in use: decision deploy instance circuit alert reload operator engine worker policy
 * notification anomaly certificate. */
struct store_event {
    uint64_t wall_ms;
    const char *kind;    /* never NULL */
    const char *service; /* the others may be NULL: "" */
    const char *subject; /* instance, backend, rule, ... */
    const char *what;    /* a sentence */
    const char *who;     /* the operator, if one */
    const char *detail;  /* JSON text */
    bool bad;
};

/* Queues a copy; its sequence, which only rises, also over restarts. 0: the queue is full (noticed). */
uint64_t store_event(struct store *s, const struct store_event *e);

/* ---- Documents: (kind, key) -> JSON text --------------------------------------------------- */

/* Sequence as of an event. Replaces. */
uint64_t store_put(struct store *s, const char *kind, const char *key, const char *json);
uint64_t store_remove(struct store *s, const char *kind, const char *key);
/* What is said between these two is in one transaction: all of it survives or none. */
void store_batch_begin(struct store *s);
void store_batch_commit(struct store *s);

typedef void store_document_fn(void *arg, const char *key, const char *json);
/* All documents of a kind, called back before it returns: reads the disk, so only before the loop
 * runs, and what was queued since the start may be missing. -errno. */
int store_documents(struct store *s, const char *kind, store_document_fn *fn, void *arg);

/* ---- Samples ----------------------------------------------------------------------------- */

/* The number of a series in this run, instance "" = the service as a whole. Costs a look-up: keep
 * it. 0: too many (STORE_SERIES), its samples count as lost. */
uint32_t store_series(struct store *s, const char *service, const char *instance,
                      const char *metric);
/* No more samples of it will come (its instance is gone); the number may be given out again. */
void store_series_end(struct store *s, uint32_t series);
/* Not a number and infinite are left out, as unknown. */
void store_sample(struct store *s, uint32_t series, uint64_t wall_ms, double value);

/* ---- Queries: asynchronous, never with what is still queued ---------------------------------- */

struct store_row {
    uint64_t sequence, wall_ms;
    const char *kind, *service, *subject, *what, *who, *detail; /* never NULL */
    bool bad;
};

struct store_filter {
    const char *kind;         /* NULL = all; or several: "deploy,instance" */
    const char *service;      /* NULL = all */
    const char *subject;      /* NULL = all */
    uint64_t since_ms, to_ms; /* 0 = no bound; since <= wall_ms < to */
    uint64_t before;          /* only sequences below; 0 = all: for paging */
    uint32_t limit;           /* 0 or more than STORE_ROWS: STORE_ROWS */
};

/* rc 0 or -errno (-ECANCELED when the store closes); lends the rows, newest first. */
typedef void store_rows_fn(void *arg, int rc, const struct store_row *rows, size_t count);
/* Copies the filter. -EBUSY: too many wait; then it never calls back. */
int store_query_events(struct store *s, const struct store_filter *f, store_rows_fn *fn, void *arg);

/* A step of a series: what was seen in [at_ms, at_ms + step). Steps without samples are absent. */
struct store_point {
    uint64_t at_ms;
    double min, max, mean, last;
    uint64_t count;
};

struct store_range {
    const char *service;
    const char *instance; /* "" = the service as a whole; NULL = that and all instances */
    const char *metric;   /* NULL = all */
    uint64_t from_ms, to_ms;
    uint64_t step_ms; /* 0 = one point for the whole range. Whole minutes are read from the
                         roll-ups, and so is what has no samples any more; else every sample is */
};

struct store_points {
    const char *instance, *metric;
    const struct store_point *points; /* oldest first */
    size_t count;
};

/* Series without samples in the range are not told. Sorted by instance and metric. */
typedef void store_points_fn(void *arg, int rc, const struct store_points *series, size_t count);
int store_query_samples(struct store *s, const struct store_range *r, store_points_fn *fn,
                        void *arg);

/* ---- Figures ----------------------------------------------------------------------------- */

struct store_figures {
    uint64_t sequence, durable; /* handed out; on disk */
    uint64_t samples, chunks;   /* written by this run */
    uint64_t filed;             /* samples in those chunks */
    uint64_t samples_lost;      /* no room, queue full, out of order */
    uint64_t events_lost, errors;
    uint64_t series;  /* with a head in memory */
    uint64_t bytes;   /* of all files, at the last look */
    uint64_t open_ms; /* how long the start took */
    uint64_t writer_cpu_us;
    bool samples_stopped, events_wait;
};

void store_figures(struct store *s, struct store_figures *ret_figures);

#endif
