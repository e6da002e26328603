/* store_private.h: the store's state, shared by the files of this room only.
 *
 *   store.c    the loop's side: queues in, news out, opening and closing
 *   writer.c   the writer thread: takes the queues, keeps house
 *   events.c   events.db
 *   heads.c    series and their heads: what is not a chunk yet
 *   journal.c  what the heads hold, on disk, until it is
 *   slots.c    the series' numbers in this run
 *   periods.c  files of days and weeks: names, rows, retention
 *   query.c    the reader thread
 *   chunk.c bits.c sql.c   leaves
 *
 * Who may touch what: `lock` guards the queues and the news, `heads_lock` the heads that the writer
 * changes and the reader copies. Everything else belongs to the thread that its comment names. */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include <dirent.h>
#include <uv.h>

#include "base/buf.h"
#include "store/chunk.h"
#include "store/slots.h"
#include "store/store.h"

struct sqlite3;
struct sqlite3_stmt;

enum op_kind {
    OP_EVENT,
    OP_PUT,
    OP_REMOVE,
};

enum op_text {
    TEXT_KIND,
    TEXT_SERVICE, /* key of a document */
    TEXT_SUBJECT, /* its JSON */
    TEXT_WHAT,
    TEXT_WHO,
    TEXT_DETAIL,
    TEXTS
};

/* An event or a document on its way to the disk. */
struct op {
    struct op *next;
    size_t size; /* of all of it */
    enum op_kind kind;
    uint64_t sequence, wall_ms;
    bool bad;
    const char *texts[TEXTS]; /* into bytes */
    char bytes[];
};

struct ops {
    struct op *first, **last;
    size_t count;
};

enum tick_kind {
    TICK_SAMPLE,
    TICK_SERIES, /* a slot gets a name */
    TICK_END,
};

/* What happens to a series, in order. */
struct tick {
    uint64_t at_ms;
    union {
        double value;
        struct series_name *name; /* owned */
    };
    uint32_t slot;
    uint32_t kind;
};

struct ticks {
    struct tick *items;
    size_t count, cap;
};

struct series_name {
    uint64_t hash;
    const char *service, *instance, *metric; /* into bytes */
    char bytes[];
};

/* What a series has in a file of a period. */
struct head_file {
    uint64_t period; /* number + 1; 0 = none */
    int64_t sid;
};

struct head {
    struct series_name *name; /* NULL = the slot is free */
    struct chunk_sample *samples;
    uint32_t count, cap;
    uint32_t full;     /* as many samples make a chunk; its first one is shorter, so that
                                series that start together do not end together */
    uint64_t last_ms;  /* of the last sample */
    uint32_t named_in; /* journal that has its name; 0 = none */
    uint32_t first_in; /* journal with the first of `samples` */
    struct head_file files[2];
};

/* Samples that make a chunk, until it is in the files. */
struct full {
    struct full *next;
    struct series_name *name; /* its own: the slot may be another's by now */
    uint32_t slot, first_in;
    uint32_t count;
    struct chunk_sample *samples;
};

enum period_kind {
    PERIOD_SAMPLES, /* a day's chunks */
    PERIOD_ROLLUPS, /* a week's */
    PERIOD_KINDS
};

/* A database of one period, open for writing. */
struct period {
    uint64_t number; /* of its days or weeks since 1970 */
    struct sqlite3 *db;
    struct sqlite3_stmt *insert, *name, *find;
};

struct journal {
    int fd; /* -1 = none */
    uint32_t number;
    uint64_t bytes;
    uint64_t started_ms; /* monotonic */
    struct buf out;      /* the block being made */
    size_t list;         /* where in it the length of the open list of samples stands; 0 = none */
    uint64_t list_ms;
    uint32_t list_count;
};

struct events {
    struct sqlite3 *db;
    struct sqlite3_stmt *insert, *put, *remove, *mark;
};

struct news {
    struct news *next;
    enum store_notice what;
    char *text;
};

struct query {
    struct query *next;
    int rc;
    void *arg;
    store_rows_fn *on_rows; /* or */
    store_points_fn *on_points;
    /* The question, owned. */
    struct store_filter filter;
    struct store_range range;
    /* The answer, owned. */
    struct store_row *rows;
    struct store_points *points;
    size_t count;
};

struct store {
    struct store_options options; /* dir owned, defaults filled in */
    int lock_fd;
    uv_async_t async;
    uv_thread_t writer, reader;
    uv_mutex_t lock;
    uv_cond_t wake_writer, wake_reader;

    /* Under lock. */
    struct ops queue;
    struct ticks ticks;
    size_t queued, queued_bytes; /* events and documents not durable yet */
    bool closing, writer_done, reader_done;
    uint64_t durable;
    struct news *news, **news_last;
    struct query *asked, **asked_last, *answered;
    size_t asked_count;
    struct store_figures figures; /* what the writer knows */

    /* Of the loop's thread. */
    uint64_t sequence, told_durable;
    uint64_t samples_lost, events_lost;
    struct ops batch; /* between begin and commit */
    unsigned batching;
    struct slots slots;
    bool joined;
    void (*on_closed)(void *arg);
    void *closed_arg;

    /* Under heads_lock; only the writer changes them. */
    uv_mutex_t heads_lock;
    struct head *heads;
    uint32_t head_cap;
    struct full *fulls, **fulls_last;
    size_t full_count;

    /* Of the writer's thread (of store_open before). */
    struct events events;
    struct ops waiting; /* taken, and not on disk yet */
    struct period periods[PERIOD_KINDS];
    struct journal journal;
    uint64_t events_retry_ms, room_retry_ms, looked_ms, swept_ms, kept_ms, ticked_ms;
    bool ballast;
    struct store_figures mine; /* becomes `figures` */
};

/* ---- store.c ---- */
void ops_init(struct ops *ops);
/* Moves all of `from` behind what `to` has. */
void ops_move(struct ops *to, struct ops *from);
void ops_free(struct ops *ops);
/* For the loop; takes text. Any thread. */
void news_add(struct store *s, enum store_notice what, char *text);
/* The caller owns it. */
struct series_name *series_name_new(const char *service, const char *instance, const char *metric);

/* ---- writer.c ---- */
void writer_run(void *store);

/* ---- events.c ---- */
/* Opens, migrates; a damaged one is moved aside. -errno with a sentence. */
int events_open(struct store *s, char **reterr);
/* One transaction of all that waits. 0: it is durable, and freed. */
int events_write(struct store *s);
/* Deletes what is too old, a piece at a time. */
void events_expire(struct store *s, uint64_t wall_ms);
void events_close(struct store *s);
char *events_path(const struct store *s);

/* ---- heads.c ---- */
/* What came from the loop goes to the journal and the heads. With `stopped` samples are left out. */
void heads_take(struct store *s, struct ticks *ticks, bool stopped);
/* Makes chunks of heads that got no samples for long. */
void heads_sweep(struct store *s, uint64_t wall_ms);
/* Writes chunks, at most `most`. 0, also when there are more; -ENOSPC ... */
int heads_write(struct store *s, size_t most);
/* The lowest journal that is still needed. */
uint32_t heads_first_journal(const struct store *s);
/* For the journal: a series' name for a slot, a sample, and samples up to at_ms that are in the files. */
void heads_restore_name(struct store *s, uint32_t slot, struct series_name *name);
void heads_restore_sample(struct store *s, uint32_t slot, uint64_t at_ms, double value);
void heads_restore_done(struct store *s, uint32_t slot, uint64_t until_ms);
void heads_free(struct store *s);

/* ---- journal.c ---- */
/* Replays and deletes nothing; goes on in a new file. */
int journal_open(struct store *s);
void journal_name(struct store *s, uint32_t slot, const struct series_name *name);
void journal_sample(struct store *s, uint32_t slot, uint64_t at_ms, double value);
/* Chunks that are about to be written, and that they are. */
void journal_intent(struct store *s, const struct full *fulls, size_t count);
void journal_done(struct store *s);
/* What was said since the last flush is one write. -ENOSPC ... */
int journal_flush(struct store *s);
/* A new file when it is time; deletes those that nobody needs. */
void journal_keep(struct store *s, uint64_t now_ms);
void journal_close(struct store *s);

/* ---- periods.c ---- */
/* The store's directory, by open(2): ThreadSanitizer does not see which descriptor opendir gets. */
DIR *dir_open(const struct store *s);
uint64_t period_number(enum period_kind kind, uint64_t at_ms);
uint64_t period_start_ms(enum period_kind kind, uint64_t number);
char *period_path(const struct store *s, enum period_kind kind, uint64_t number);
/* Numbers of the files that are there, rising; mem_free. */
size_t period_list(const struct store *s, enum period_kind kind, uint64_t **ret_numbers);
/* One transaction: rows for `count` chunks. */
int period_write(struct store *s, const struct full *fulls, size_t count);
/* Whether the files have this chunk of the series. */
bool period_has(struct store *s, const struct series_name *name, uint64_t t0);
/* Closes what earlier runs left open, deletes what is too old or too much. */
void period_tidy(struct store *s);
void period_keep(struct store *s, uint64_t wall_ms);
void period_close(struct store *s);

/* ---- query.c ---- */
void reader_run(void *store);
void query_free(struct query *q);

#endif
