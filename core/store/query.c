/* query.c: the thread that reads, with connections of its own that it opens for each question.
 *
 * Invariants: what the heads hold is copied first, then the files are read; a chunk that got there
 * in between is known by its first time and left out. */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"
#include "store/store_private.h"

enum {
    SQL_BYTES = 8192,
    KINDS_MOST = 16,
};

/* ---- Events ------------------------------------------------------------------------------ */

static int bind_kinds(struct sqlite3_stmt *st, int place, const char *kinds)
{
    struct str rest = str_of(kinds), kind;
    for (int i = 0; i < KINDS_MOST && str_next(&rest, ',', &kind); i++) {
        sqlite3_bind_text(st, place++, kind.ptr, (int)kind.len, SQLITE_TRANSIENT);
    }
    return place;
}

static struct sqlite3_stmt *prepare_events(struct sqlite3 *db, const struct store_filter *f)
{
    struct buf text;
    buf_init(&text, SQL_BYTES);
    (void)buf_text(&text,
                   "SELECT sequence, wall_ms, kind, service, subject, what, who, detail, bad "
                   "FROM event WHERE 1");
    if (f->kind) {
        struct str rest = str_of(f->kind), kind;
        const char *before = " AND kind IN (";
        for (int i = 0; i < KINDS_MOST && str_next(&rest, ',', &kind); i++) {
            (void)buf_printf(&text, "%s?", before);
            before = ",";
        }
        (void)buf_text(&text, ")");
    }
    (void)buf_text(&text, f->service ? " AND service=?" : "");
    (void)buf_text(&text, f->subject ? " AND subject=?" : "");
    (void)buf_text(&text, f->since_ms ? " AND wall_ms>=?" : "");
    (void)buf_text(&text, f->to_ms ? " AND wall_ms<?" : "");
    (void)buf_text(&text, f->before ? " AND sequence<?" : "");
    (void)buf_text(&text, " ORDER BY sequence DESC LIMIT ?");
    struct sqlite3_stmt *st = sql_prepare(db, buf_str(&text));
    buf_free(&text);
    if (!st) {
        return NULL;
    }
    int place = f->kind ? bind_kinds(st, 1, f->kind) : 1;
    if (f->service) {
        sql_bind_text(st, place++, f->service);
    }
    if (f->subject) {
        sql_bind_text(st, place++, f->subject);
    }
    const uint64_t numbers[] = {f->since_ms, f->to_ms, f->before, f->limit};
    for (int i = 0; i < 4; i++) {
        if (numbers[i]) {
            sqlite3_bind_int64(st, place++, (sqlite3_int64)numbers[i]);
        }
    }
    return st;
}

static void read_row(struct sqlite3_stmt *st, struct store_row *to)
{
    to->sequence = (uint64_t)sqlite3_column_int64(st, 0);
    to->wall_ms = (uint64_t)sqlite3_column_int64(st, 1);
    const char **texts[] = {&to->kind, &to->service, &to->subject,
                            &to->what, &to->who,     &to->detail};
    for (int i = 0; i < 6; i++) {
        *texts[i] = mem_copy(sql_text(st, 2 + i));
    }
    to->bad = sqlite3_column_int(st, 8) != 0;
}

static int read_events(struct store *s, struct query *q)
{
    struct sqlite3 *db = NULL;
    char *path = events_path(s);
    int rc = sql_open_reader(path, &db);
    mem_free(path);
    if (rc) {
        return rc;
    }
    struct sqlite3_stmt *st = prepare_events(db, &q->filter);
    size_t cap = 0;
    int step = st ? sqlite3_step(st) : SQLITE_ERROR;
    for (; step == SQLITE_ROW; step = sqlite3_step(st)) {
        if (q->count == cap) {
            cap = cap ? cap * 2 : 64;
            q->rows = mem_resize(q->rows, cap * sizeof *q->rows);
        }
        read_row(st, &q->rows[q->count++]);
    }
    sql_finish(st);
    sql_close(db);
    return step == SQLITE_DONE ? 0 : -EIO;
}

/* ---- Samples ----------------------------------------------------------------------------- */

/* A series as it is being put together. */
struct gathering {
    struct gathering *next;
    char *instance, *metric;
    struct store_point *points;
    size_t count, cap;
    /* First times of the chunks that were copied from memory. */
    uint64_t *copied;
    size_t copied_count;
};

struct answer {
    struct store *s;
    const struct store_range *range;
    struct gathering *all;
    struct copied *memory;
    uint64_t minutes_until_ms; /* roll-ups before, samples from then on */
};

/* Samples that were copied from memory. */
struct copied {
    struct copied *next;
    struct gathering *to;
    struct chunk_sample *samples;
    size_t count;
};

static struct gathering *gathering_of(struct answer *a, const char *instance, const char *metric)
{
    for (struct gathering *g = a->all; g; g = g->next) {
        if (str_same(g->instance, instance) && str_same(g->metric, metric)) {
            return g;
        }
    }
    struct gathering *g = mem_new(sizeof *g);
    g->instance = mem_copy(instance);
    g->metric = mem_copy(metric);
    g->next = a->all;
    a->all = g;
    return g;
}

/* Adds what was seen in a point's time to the step that it belongs to. */
static void add_point(struct answer *a, struct gathering *g, const struct store_point *p)
{
    const struct store_range *r = a->range;
    if (p->at_ms < r->from_ms || p->at_ms >= r->to_ms) {
        return;
    }
    uint64_t at_ms = r->step_ms ? p->at_ms - p->at_ms % r->step_ms : r->from_ms;
    size_t at = g->count;
    /* Only a clock that was set back brings anything but the last one. */
    while (at > 0 && g->points[at - 1].at_ms > at_ms) {
        at--;
    }
    if (at > 0 && g->points[at - 1].at_ms == at_ms) {
        struct store_point *to = &g->points[at - 1];
        to->min = p->min < to->min ? p->min : to->min;
        to->max = p->max > to->max ? p->max : to->max;
        to->count += p->count;
        to->mean += (p->mean - to->mean) * (double)p->count / (double)to->count;
        to->last = p->last;
        return;
    }
    if (g->count == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 64;
        g->points = mem_resize(g->points, g->cap * sizeof *g->points);
    }
    memmove(g->points + at + 1, g->points + at, (g->count - at) * sizeof *g->points);
    g->points[at] = *p;
    g->points[at].at_ms = at_ms;
    g->count++;
}

static void add_samples(struct answer *a, struct gathering *g, const struct chunk_sample *samples,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double v = samples[i].value;
        add_point(
            a, g,
            &(struct store_point){
                .at_ms = samples[i].at_ms, .min = v, .max = v, .mean = v, .last = v, .count = 1});
    }
}

static bool wanted(const struct store_range *r, const struct series_name *name)
{
    return str_same(r->service, name->service) &&
           (!r->instance || str_same(r->instance, name->instance)) &&
           (!r->metric || str_same(r->metric, name->metric));
}

static void copy_memory(struct answer *a, const struct series_name *name,
                        const struct chunk_sample *samples, size_t count)
{
    if (!name || !count || !wanted(a->range, name)) {
        return;
    }
    struct copied *c = mem_new(sizeof *c);
    c->to = gathering_of(a, name->instance, name->metric);
    c->samples = mem_array(count, sizeof *c->samples);
    memcpy(c->samples, samples, count * sizeof *c->samples);
    c->count = count;
    struct gathering *g = c->to;
    g->copied = mem_resize(g->copied, (g->copied_count + 1) * sizeof *g->copied);
    g->copied[g->copied_count++] = samples[0].at_ms;
    /* Behind the others: full chunks before the head. */
    struct copied **last = &a->memory;
    while (*last) {
        last = &(*last)->next;
    }
    *last = c;
}

static void look_into_memory(struct answer *a)
{
    struct store *s = a->s;
    uv_mutex_lock(&s->heads_lock);
    for (const struct full *f = s->fulls; f; f = f->next) {
        copy_memory(a, f->name, f->samples, f->count);
    }
    for (uint32_t slot = 1; slot < s->head_cap; slot++) {
        const struct head *h = &s->heads[slot];
        copy_memory(a, h->name, h->samples, h->count);
    }
    uv_mutex_unlock(&s->heads_lock);
}

static bool is_copied(const struct gathering *g, uint64_t t0)
{
    for (size_t i = 0; i < g->copied_count; i++) {
        if (g->copied[i] == t0) {
            return true;
        }
    }
    return false;
}

static int add_chunk(struct answer *a, struct gathering *g, enum period_kind kind,
                     const void *bytes, size_t len)
{
    size_t count = 0;
    if (kind == PERIOD_SAMPLES) {
        struct chunk_sample *samples;
        int rc = chunk_read(bytes, len, &samples, &count);
        if (!rc) {
            add_samples(a, g, samples, count);
            mem_free(samples);
        }
        return rc;
    }
    struct store_point *points;
    int rc = chunk_read_minutes(bytes, len, &points, &count);
    if (!rc) {
        for (size_t i = 0; i < count; i++) {
            add_point(a, g, &points[i]);
        }
        mem_free(points);
    }
    return rc;
}

/* Chunks of one series that begin in [from, to). */
static int read_chunks(struct answer *a, struct sqlite3_stmt *chunks, struct gathering *g,
                       enum period_kind kind, int64_t sid, const uint64_t bounds[2])
{
    sqlite3_bind_int64(chunks, 1, sid);
    sqlite3_bind_int64(chunks, 2, (sqlite3_int64)bounds[0]);
    sqlite3_bind_int64(chunks, 3, (sqlite3_int64)bounds[1]);
    int rc = 0, step;
    while (!rc && (step = sqlite3_step(chunks)) == SQLITE_ROW) {
        if (!is_copied(g, (uint64_t)sqlite3_column_int64(chunks, 0))) {
            rc = add_chunk(a, g, kind, sqlite3_column_blob(chunks, 1),
                           (size_t)sqlite3_column_bytes(chunks, 1));
        }
    }
    sqlite3_reset(chunks);
    return rc ? rc : step == SQLITE_DONE ? 0 : -EIO;
}

/* Whether the writer has just made the file and no table in it yet. */
static bool is_empty(struct sqlite3 *db)
{
    return sql_number(db, "SELECT count(*) FROM sqlite_master WHERE name='chunk'", 1) == 0;
}

static int read_series(struct answer *a, struct sqlite3 *db, enum period_kind kind,
                       const uint64_t bounds[2])
{
    if (is_empty(db)) {
        return 0;
    }
    const struct store_range *r = a->range;
    struct sqlite3_stmt *series =
        sql_prepare(db, "SELECT sid, instance, metric FROM series WHERE service=?1 AND "
                        "(?2 IS NULL OR instance=?2) AND (?3 IS NULL OR metric=?3)");
    struct sqlite3_stmt *chunks =
        sql_prepare(db, "SELECT t0, body FROM chunk WHERE sid=? AND t0>=? AND t0<? ORDER BY t0");
    int rc = series && chunks ? 0 : -EIO, step = SQLITE_DONE;
    if (!rc) {
        sql_bind_text(series, 1, r->service);
        sqlite3_bind_text(series, 2, r->instance, -1, SQLITE_STATIC);
        sqlite3_bind_text(series, 3, r->metric, -1, SQLITE_STATIC);
    }
    while (!rc && (step = sqlite3_step(series)) == SQLITE_ROW) {
        struct gathering *g = gathering_of(a, sql_text(series, 1), sql_text(series, 2));
        rc = read_chunks(a, chunks, g, kind, sqlite3_column_int64(series, 0), bounds);
    }
    sql_finish(series);
    sql_finish(chunks);
    return rc ? rc : step == SQLITE_DONE ? 0 : -EIO;
}

/* Chunks that begin in [from, to) of all files of a kind. */
static int read_files(struct answer *a, enum period_kind kind, uint64_t from_ms, uint64_t to_ms)
{
    const uint64_t bounds[2] = {from_ms, to_ms};
    uint64_t *numbers;
    size_t count = period_list(a->s, kind, &numbers);
    int rc = 0;
    for (size_t i = 0; !rc && i < count; i++) {
        if (period_start_ms(kind, numbers[i]) >= to_ms ||
            period_start_ms(kind, numbers[i] + 1) <= from_ms) {
            continue;
        }
        struct sqlite3 *db = NULL;
        char *path = period_path(a->s, kind, numbers[i]);
        rc = sql_open_reader(path, &db);
        if (!rc) {
            rc = read_series(a, db, kind, bounds);
            sql_close(db);
        }
        /* Retention may have taken it meanwhile. */
        rc = rc == -ENOENT ? 0 : rc;
        mem_free(path);
    }
    mem_free(numbers);
    return rc;
}

/* Up to here roll-ups are read: to the end when minutes will do, else where samples begin. */
static uint64_t minutes_until(struct store *s, const struct store_range *r)
{
    if (r->step_ms && r->step_ms % MINUTE_MS == 0) {
        return r->to_ms;
    }
    uint64_t *numbers;
    size_t count = period_list(s, PERIOD_SAMPLES, &numbers);
    uint64_t until = count ? period_start_ms(PERIOD_SAMPLES, numbers[0]) : r->to_ms;
    mem_free(numbers);
    return until < r->to_ms ? until : r->to_ms;
}

static int by_name(const void *a, const void *b)
{
    const struct store_points *x = a, *y = b;
    int order = strcmp(x->instance, y->instance);
    return order ? order : strcmp(x->metric, y->metric);
}

/* What was gathered becomes the query's; the rest is freed. */
static void hand_over(struct answer *a, struct query *q)
{
    q->points = mem_array(STORE_ANSWERS, sizeof *q->points);
    while (a->all) {
        struct gathering *g = a->all;
        a->all = g->next;
        if (g->count && q->count < STORE_ANSWERS) {
            q->points[q->count++] = (struct store_points){.instance = g->instance,
                                                          .metric = g->metric,
                                                          .points = g->points,
                                                          .count = g->count};
        } else {
            mem_free(g->instance);
            mem_free(g->metric);
            mem_free(g->points);
        }
        mem_free(g->copied);
        mem_free(g);
    }
    qsort(q->points, q->count, sizeof *q->points, by_name);
}

static int read_samples(struct store *s, struct query *q)
{
    struct answer a = {.s = s, .range = &q->range};
    look_into_memory(&a);
    uint64_t from_ms = q->range.from_ms > CHUNK_MS ? q->range.from_ms - CHUNK_MS : 0;
    a.minutes_until_ms = minutes_until(s, &q->range);
    int rc = read_files(&a, PERIOD_ROLLUPS, from_ms, a.minutes_until_ms);
    if (!rc && a.minutes_until_ms < q->range.to_ms) {
        uint64_t samples_from = a.minutes_until_ms > from_ms ? a.minutes_until_ms : from_ms;
        rc = read_files(&a, PERIOD_SAMPLES, samples_from, q->range.to_ms);
    }
    while (a.memory) {
        struct copied *c = a.memory;
        a.memory = c->next;
        add_samples(&a, c->to, c->samples, c->count);
        mem_free(c->samples);
        mem_free(c);
    }
    hand_over(&a, q);
    return rc;
}

/* ---- The thread -------------------------------------------------------------------------- */

void query_free(struct query *q)
{
    for (size_t i = 0; q->rows && i < q->count; i++) {
        const struct store_row *r = &q->rows[i];
        const char *texts[] = {r->kind, r->service, r->subject, r->what, r->who, r->detail};
        for (int t = 0; t < 6; t++) {
            mem_free((char *)texts[t]);
        }
    }
    for (size_t i = 0; q->points && i < q->count; i++) {
        mem_free((char *)q->points[i].instance);
        mem_free((char *)q->points[i].metric);
        mem_free((void *)q->points[i].points);
    }
    const char *asked[] = {q->filter.kind,   q->filter.service, q->filter.subject,
                           q->range.service, q->range.instance, q->range.metric};
    for (int i = 0; i < 6; i++) {
        mem_free((char *)asked[i]);
    }
    mem_free(q->rows);
    mem_free(q->points);
    mem_free(q);
}

void reader_run(void *store)
{
    struct store *s = store;
    struct query **last;
    uv_mutex_lock(&s->lock);
    for (;;) {
        while (!s->closing && !s->asked) {
            uv_cond_wait(&s->wake_reader, &s->lock);
        }
        if (s->closing) {
            break;
        }
        struct query *q = s->asked;
        s->asked = q->next;
        s->asked_last = s->asked ? s->asked_last : &s->asked;
        s->asked_count--;
        uv_mutex_unlock(&s->lock);
        q->next = NULL;
        q->rc = q->on_rows ? read_events(s, q) : read_samples(s, q);
        uv_mutex_lock(&s->lock);
        for (last = &s->answered; *last; last = &(*last)->next) {
        }
        *last = q;
        uv_async_send(&s->async);
    }
    s->reader_done = true;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

int store_documents(struct store *s, const char *kind, store_document_fn *fn, void *arg)
{
    struct sqlite3 *db = NULL;
    char *path = events_path(s);
    int rc = sql_open_reader(path, &db);
    mem_free(path);
    if (rc) {
        return rc;
    }
    struct sqlite3_stmt *st =
        sql_prepare(db, "SELECT key, body FROM document WHERE kind=? ORDER BY key");
    if (st) {
        sql_bind_text(st, 1, kind);
    }
    int step = st ? sqlite3_step(st) : SQLITE_ERROR;
    for (; step == SQLITE_ROW; step = sqlite3_step(st)) {
        fn(arg, sql_text(st, 0), sql_text(st, 1));
    }
    sql_finish(st);
    sql_close(db);
    return step == SQLITE_DONE ? 0 : -EIO;
}
