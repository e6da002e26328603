/* periods.c: the files of chunks: samples-YYYYMMDD.db a day, rollups-YYYYMMDD.db a week (named by its
 * first day). Both have the same tables; a chunk stands in the file of its first sample.
 *
 * Called by: store_open, then the writer; the functions on names by the reader too.
 * Invariants: one file of a kind is open for writing at a time. Rows are appended, so that pages
 * are full, and found by an index on (sid, t0). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"
#include "store/store_private.h"

enum {
    CHUNK_BYTES = 1 << 20, /* more than any chunk takes */
    ROWS_FREED = 5000,     /* at once, when today's file alone is too much */
};

static const uint64_t day_ms = 24 * 3600 * 1000;
static const struct {
    const char *prefix;
    uint64_t days;
} kinds[PERIOD_KINDS] = {{"samples-", 1}, {"rollups-", 7}};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS series(sid INTEGER PRIMARY KEY, service TEXT NOT NULL,"
    "  instance TEXT NOT NULL, metric TEXT NOT NULL, UNIQUE(service, instance, metric));"
    "CREATE TABLE IF NOT EXISTS chunk(id INTEGER PRIMARY KEY, sid INTEGER NOT NULL,"
    "  t0 INTEGER NOT NULL, body BLOB NOT NULL);"
    "CREATE UNIQUE INDEX IF NOT EXISTS chunk_place ON chunk(sid, t0);"
    "PRAGMA user_version=1;";

/* ---- Names ------------------------------------------------------------------------------- */

uint64_t period_number(enum period_kind kind, uint64_t at_ms)
{
    return at_ms / (day_ms * kinds[kind].days);
}

uint64_t period_start_ms(enum period_kind kind, uint64_t number)
{
    return number * day_ms * kinds[kind].days;
}

char *period_path(const struct store *s, enum period_kind kind, uint64_t number)
{
    time_t start_s = (time_t)(period_start_ms(kind, number) / 1000);
    struct tm tm;
    gmtime_r(&start_s, &tm);
    return mem_printf("%s/%s%04d%02d%02d.db", s->options.dir, kinds[kind].prefix, tm.tm_year + 1900,
                      tm.tm_mon + 1, tm.tm_mday);
}

DIR *dir_open(const struct store *s)
{
    int fd = open(s->options.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir && fd >= 0) {
        close(fd);
    }
    return dir;
}

/* The period of a file's name; false: it is none of this kind. */
static bool number_of(enum period_kind kind, const char *file, uint64_t *ret_number)
{
    struct str name = str_of(file);
    uint64_t date;
    size_t from = strlen(kinds[kind].prefix);
    if (!str_starts(name, kinds[kind].prefix) || !str_ends(name, ".db") || name.len != from + 11 ||
        str_to_u64(str_sub(name, from, from + 8), &date)) {
        return false;
    }
    struct tm tm = {.tm_year = (int)(date / 10000) - 1900,
                    .tm_mon = (int)(date / 100 % 100) - 1,
                    .tm_mday = (int)(date % 100)};
    time_t start_s = timegm(&tm);
    if (start_s < 0) {
        return false;
    }
    *ret_number = period_number(kind, (uint64_t)start_s * 1000);
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

size_t period_list(const struct store *s, enum period_kind kind, uint64_t **ret_numbers)
{
    size_t count = 0, cap = 16;
    uint64_t *numbers = mem_array(cap, sizeof *numbers), number;
    DIR *dir = dir_open(s);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!number_of(kind, e->d_name, &number)) {
            continue;
        }
        if (count == cap) {
            cap *= 2;
            numbers = mem_resize(numbers, cap * sizeof *numbers);
        }
        numbers[count++] = number;
    }
    if (dir) {
        closedir(dir);
    }
    qsort(numbers, count, sizeof *numbers, compare);
    *ret_numbers = numbers;
    return count;
}

/* ---- One file, open for writing ------------------------------------------------------------ */

static void close_one(struct period *p)
{
    sql_finish(p->insert);
    sql_finish(p->name);
    sql_finish(p->find);
    sql_close(p->db);
    memset(p, 0, sizeof *p);
}

static int open_file(const char *path, uint64_t number, struct period *ret)
{
    struct period p = {.number = number};
    int rc = sql_open(path, SQL_SYNC_NORMAL, &p.db);
    rc = rc ? rc : sql_run(p.db, schema);
    if (!rc) {
        p.insert = sql_prepare(p.db, "INSERT OR REPLACE INTO chunk(sid, t0, body) VALUES(?,?,?)");
        p.name = sql_prepare(
            p.db, "INSERT OR IGNORE INTO series(service, instance, metric) VALUES(?,?,?)");
        p.find =
            sql_prepare(p.db, "SELECT sid FROM series WHERE service=? AND instance=? AND metric=?");
        rc = p.insert && p.name && p.find ? 0 : -EBADMSG;
    }
    if (rc) {
        close_one(&p);
        return rc;
    }
    *ret = p;
    return 0;
}

static int open_one(struct store *s, enum period_kind kind, uint64_t number)
{
    struct period *p = &s->periods[kind];
    if (p->db && p->number == number) {
        return 0;
    }
    close_one(p);
    char *path = period_path(s, kind, number);
    int rc = open_file(path, number, p);
    if (rc == -EBADMSG) {
        char *aside = sql_move_aside(path, clock_wall_ms());
        news_add(s, STORE_DAMAGED, mem_printf("%s was damaged: it is %s now", path, aside));
        mem_free(aside);
        rc = open_file(path, number, p);
    }
    mem_free(path);
    return rc;
}

static void bind_name(struct sqlite3_stmt *to, const struct series_name *name)
{
    sql_bind_text(to, 1, name->service);
    sql_bind_text(to, 2, name->instance);
    sql_bind_text(to, 3, name->metric);
}

/* 0: it has none. */
static int64_t find_sid(struct period *p, const struct series_name *name)
{
    int64_t sid = 0;
    bind_name(p->find, name);
    if (sqlite3_step(p->find) == SQLITE_ROW) {
        sid = sqlite3_column_int64(p->find, 0);
    }
    sqlite3_reset(p->find);
    return sid;
}

static int sid_of(struct store *s, enum period_kind kind, const struct full *f, int64_t *ret_sid)
{
    struct period *p = &s->periods[kind];
    struct head *h = f->slot < s->head_cap ? &s->heads[f->slot] : NULL;
    bool same = h && h->name && h->name->hash == f->name->hash;
    if (same && h->files[kind].period == p->number + 1) {
        *ret_sid = h->files[kind].sid;
        return 0;
    }
    int64_t sid = find_sid(p, f->name);
    if (!sid) {
        bind_name(p->name, f->name);
        int rc = sql_step(p->name);
        if (rc) {
            return rc;
        }
        sid = find_sid(p, f->name);
    }
    if (same) {
        h->files[kind] = (struct head_file){.period = p->number + 1, .sid = sid};
    }
    *ret_sid = sid;
    return sid ? 0 : -EIO;
}

static int body_of(enum period_kind kind, const struct full *f, struct buf *to)
{
    buf_clear(to);
    if (kind == PERIOD_SAMPLES) {
        return chunk_write(to, f->samples, f->count);
    }
    struct store_point *points = mem_array(f->count, sizeof *points);
    size_t count = chunk_minutes(f->samples, f->count, points);
    int rc = chunk_write_minutes(to, points, count);
    mem_free(points);
    return rc;
}

static int write_row(struct store *s, enum period_kind kind, const struct full *f, struct buf *body)
{
    struct sqlite3_stmt *insert = s->periods[kind].insert;
    int64_t sid = 0;
    int rc = sid_of(s, kind, f, &sid);
    rc = rc ? rc : body_of(kind, f, body);
    if (rc) {
        return rc;
    }
    sqlite3_bind_int64(insert, 1, sid);
    sqlite3_bind_int64(insert, 2, (sqlite3_int64)f->samples[0].at_ms);
    sqlite3_bind_blob(insert, 3, body->data, (int)body->len, SQLITE_STATIC);
    return sql_step(insert);
}

/* Those from `f` on that belong to one file, in one transaction; how many were written. */
static int write_run(struct store *s, enum period_kind kind, const struct full *f, size_t count,
                     struct buf *body, size_t *ret_written)
{
    uint64_t number = period_number(kind, f->samples[0].at_ms);
    int rc = open_one(s, kind, number);
    if (rc) {
        return rc;
    }
    struct sqlite3 *db = s->periods[kind].db;
    size_t written = 0;
    rc = sql_run(db, "BEGIN IMMEDIATE");
    while (!rc && written < count && period_number(kind, f->samples[0].at_ms) == number) {
        rc = write_row(s, kind, f, body);
        f = f->next;
        written++;
    }
    rc = rc ? rc : sql_run(db, "COMMIT");
    if (rc) {
        (void)sql_run(db, "ROLLBACK");
        return rc;
    }
    *ret_written = written;
    return 0;
}

/* Numbers of series that were not committed must not be used. */
static void forget_sids(struct store *s, enum period_kind kind)
{
    for (uint32_t slot = 0; slot < s->head_cap; slot++) {
        s->heads[slot].files[kind].period = 0;
    }
}

static int write_kind(struct store *s, enum period_kind kind, const struct full *fulls,
                      size_t count, struct buf *body)
{
    bool again = true;
    int rc = 0;
    const struct full *f = fulls;
    while (!rc && count > 0) {
        size_t written = 0;
        rc = write_run(s, kind, f, count, body, &written);
        if (rc) {
            forget_sids(s, kind);
        }
        if (rc == -EBADMSG && again) {
            /* Once: open_one finds it damaged, moves it aside and begins afresh. */
            char *path = period_path(s, kind, s->periods[kind].number);
            close_one(&s->periods[kind]);
            char *aside = sql_move_aside(path, clock_wall_ms());
            news_add(s, STORE_DAMAGED, mem_printf("%s was damaged: it is %s now", path, aside));
            mem_free(aside);
            mem_free(path);
            again = false;
            rc = 0;
        }
        for (; written > 0; written--, count--) {
            f = f->next;
        }
    }
    return rc;
}

int period_write(struct store *s, const struct full *fulls, size_t count)
{
    struct buf body;
    buf_init(&body, CHUNK_BYTES);
    /* The samples last: what period_has finds has its roll-ups. */
    int rc = write_kind(s, PERIOD_ROLLUPS, fulls, count, &body);
    rc = rc ? rc : write_kind(s, PERIOD_SAMPLES, fulls, count, &body);
    buf_free(&body);
    return rc;
}

bool period_has(struct store *s, const struct series_name *name, uint64_t t0)
{
    if (open_one(s, PERIOD_SAMPLES, period_number(PERIOD_SAMPLES, t0))) {
        return false;
    }
    struct period *p = &s->periods[PERIOD_SAMPLES];
    int64_t sid = find_sid(p, name);
    char *text = mem_printf("SELECT 1 FROM chunk WHERE sid=%lld AND t0=%llu", (long long)sid,
                            (unsigned long long)t0);
    bool has = sql_number(p->db, text, 0) == 1;
    mem_free(text);
    return has;
}

/* ---- Retention --------------------------------------------------------------------------- */

void period_tidy(struct store *s)
{
    for (enum period_kind kind = 0; kind < PERIOD_KINDS; kind++) {
        uint64_t *numbers, now = period_number(kind, clock_wall_ms());
        size_t count = period_list(s, kind, &numbers);
        for (size_t i = 0; i < count; i++) {
            char *path = period_path(s, kind, numbers[i]);
            char *wal = mem_printf("%s-wal", path);
            struct stat st;
            struct sqlite3 *db;
            /* Opening and closing brings what a kill left in the log into the file. */
            if (numbers[i] != now && stat(wal, &st) == 0 &&
                sql_open(path, SQL_SYNC_NORMAL, &db) == 0) {
                (void)sql_number(db, "SELECT count(*) FROM sqlite_master", 0);
                sql_close(db);
            }
            mem_free(wal);
            mem_free(path);
        }
        mem_free(numbers);
    }
}

static uint64_t delete_file(struct store *s, enum period_kind kind, uint64_t number,
                            const char *why)
{
    char *path = period_path(s, kind, number);
    uint64_t bytes = sql_bytes(path);
    if (s->periods[kind].db && s->periods[kind].number == number) {
        close_one(&s->periods[kind]);
    }
    sql_delete(path);
    news_add(s, STORE_EXPIRED, mem_printf("%s was deleted: %s", path, why));
    mem_free(path);
    return bytes;
}

/* Deletes files whose end is before `until_ms`, and adds up the others. */
static uint64_t expire(struct store *s, enum period_kind kind, uint64_t until_ms)
{
    uint64_t *numbers, bytes = 0;
    size_t count = period_list(s, kind, &numbers);
    for (size_t i = 0; i < count; i++) {
        if (period_start_ms(kind, numbers[i] + 1) <= until_ms) {
            (void)delete_file(s, kind, numbers[i], "older than is kept");
        } else {
            char *path = period_path(s, kind, numbers[i]);
            bytes += sql_bytes(path);
            mem_free(path);
        }
    }
    mem_free(numbers);
    return bytes;
}

/* Deletes oldest files, but never the one of now, until at most `bytes` too much are left. */
static uint64_t shrink(struct store *s, enum period_kind kind, uint64_t wall_ms, uint64_t excess)
{
    uint64_t *numbers, now = period_number(kind, wall_ms);
    size_t count = period_list(s, kind, &numbers);
    for (size_t i = 0; i < count && excess > 0 && numbers[i] < now; i++) {
        uint64_t freed = delete_file(s, kind, numbers[i], "more bytes than are kept");
        excess = excess > freed ? excess - freed : 0;
    }
    mem_free(numbers);
    return excess;
}

/* The oldest rows of the file that is written make room for new ones: it grows no more. */
static void make_room_inside(struct store *s, enum period_kind kind, uint64_t excess)
{
    struct sqlite3 *db = s->periods[kind].db;
    if (!db) {
        return;
    }
    int64_t page = sql_number(db, "PRAGMA page_size", 4096);
    int64_t unused = sql_number(db, "PRAGMA freelist_count", 0) * page;
    if (unused >= 0 && (uint64_t)unused >= excess) {
        return;
    }
    char *text = mem_printf(
        "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk ORDER BY id LIMIT %d)", ROWS_FREED);
    (void)sql_run(db, text);
    mem_free(text);
}

static uint64_t age_start_ms(uint64_t wall_ms, uint32_t days)
{
    uint64_t age_ms = days * day_ms;
    return wall_ms > age_ms ? wall_ms - age_ms : 0;
}

void period_keep(struct store *s, uint64_t wall_ms)
{
    char *events = events_path(s);
    uint64_t bytes = sql_bytes(events);
    mem_free(events);
    bytes += expire(s, PERIOD_SAMPLES, age_start_ms(wall_ms, s->options.days));
    bytes += expire(s, PERIOD_ROLLUPS, age_start_ms(wall_ms, s->options.rollup_days));
    uint64_t excess = bytes > s->options.bytes ? bytes - s->options.bytes : 0;
    uint64_t left = shrink(s, PERIOD_SAMPLES, wall_ms, excess);
    left = shrink(s, PERIOD_ROLLUPS, wall_ms, left);
    if (left) {
        make_room_inside(s, PERIOD_SAMPLES, left);
    }
    s->mine.bytes = bytes - (excess - left);
}

void period_close(struct store *s)
{
    for (enum period_kind kind = 0; kind < PERIOD_KINDS; kind++) {
        close_one(&s->periods[kind]);
    }
}
