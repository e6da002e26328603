/* events.c: events.db: events and documents, each transaction on disk before it counts.
 *
 * Called by: store_open, then the writer only.
 * Invariants: the mark in `meta` is the highest sequence that was ever durable. */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/sql.h"
#include "store/store_private.h"

/* Entry n leads from version n to n + 1; what was released is never changed. */
static const char *const steps[] = {
    "CREATE TABLE event(sequence INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
    "  service TEXT NOT NULL, subject TEXT NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,"
    "  detail TEXT NOT NULL, bad INTEGER NOT NULL);"
    "CREATE TABLE document(kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,"
    "  PRIMARY KEY(kind, key)) WITHOUT ROWID;"
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
    "CREATE INDEX event_service ON event(service, sequence);"
    "CREATE INDEX event_kind ON event(kind, sequence);"
    "CREATE INDEX event_time ON event(wall_ms);",
};

enum {
    VERSION = sizeof steps / sizeof steps[0],
    EXPIRE_AT_ONCE = 1000,
    DAY_MS = 24 * 3600 * 1000,
    /* Sequences that may have been handed out and are not in what could be saved. */
    SKIPPED = STORE_EVENTS_QUEUED,
};

#define EVENT_COLUMNS "sequence, wall_ms, kind, service, subject, what, who, detail, bad"

char *events_path(const struct store *s)
{
    return mem_printf("%s/events.db", s->options.dir);
}

static void finish(struct events *e)
{
    sql_finish(e->insert);
    sql_finish(e->put);
    sql_finish(e->remove);
    sql_finish(e->mark);
    sql_close(e->db);
    memset(e, 0, sizeof *e);
}

void events_close(struct store *s)
{
    finish(&s->events);
}

/* -EPROTO: of a newer version. */
static int migrate(struct sqlite3 *db)
{
    int64_t version = sql_number(db, "PRAGMA user_version", -1);
    if (version < 0) {
        return -EBADMSG;
    }
    int rc = version > VERSION ? -EPROTO : 0;
    while (!rc && version < VERSION) {
        char *text = mem_printf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT;",
                                steps[version], (int)version + 1);
        rc = sql_run(db, text);
        if (rc) {
            (void)sql_run(db, "ROLLBACK");
        }
        mem_free(text);
        version++;
    }
    return rc;
}

static int open_file(struct store *s, const char *path)
{
    struct events e = {.db = NULL};
    int rc = sql_open(path, SQL_SYNC_FULL, &e.db);
    rc = rc ? rc : migrate(e.db);
    if (!rc) {
        e.insert =
            sql_prepare(e.db, "INSERT INTO event(" EVENT_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?)");
        e.put = sql_prepare(e.db, "INSERT OR REPLACE INTO document VALUES(?,?,?)");
        e.remove = sql_prepare(e.db, "DELETE FROM document WHERE kind=? AND key=?");
        e.mark = sql_prepare(e.db, "INSERT OR REPLACE INTO meta VALUES('sequence',?)");
        rc = e.insert && e.put && e.remove && e.mark ? 0 : -EBADMSG;
    }
    if (rc) {
        finish(&e);
        return rc;
    }
    s->events = e;
    return 0;
}

/* ---- What can be read of a damaged one ------------------------------------------------------ */

/* Runs `select` on the damaged one and `insert` for each row until one cannot be read. */
static size_t copy_rows(struct sqlite3 *from, struct sqlite3 *to, const char *select,
                        const char *insert)
{
    struct sqlite3_stmt *in = sql_prepare(from, select), *out = sql_prepare(to, insert);
    size_t copied = 0;
    while (in && out && sqlite3_step(in) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(in); i++) {
            sqlite3_bind_value(out, i + 1, sqlite3_column_value(in, i));
        }
        if (sqlite3_step(out) == SQLITE_DONE) {
            copied += (size_t)sqlite3_changes(to);
        }
        sqlite3_reset(out);
    }
    sql_finish(in);
    sql_finish(out);
    return copied;
}

/* From both ends, so that one bad page costs little. */
static void salvage(struct store *s, const char *aside, size_t *ret_events, size_t *ret_documents)
{
    struct sqlite3 *from, *to = s->events.db;
    if (sql_open_reader(aside, &from)) {
        return;
    }
    static const char insert_event[] =
        "INSERT OR IGNORE INTO event(" EVENT_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?)";
    static const char insert_document[] = "INSERT OR IGNORE INTO document VALUES(?,?,?)";
    (void)sql_run(to, "BEGIN IMMEDIATE");
    *ret_documents =
        copy_rows(from, to, "SELECT kind, key, body FROM document ORDER BY kind, key",
                  insert_document) +
        copy_rows(from, to, "SELECT kind, key, body FROM document ORDER BY kind DESC, key DESC",
                  insert_document);
    *ret_events =
        copy_rows(from, to, "SELECT " EVENT_COLUMNS " FROM event NOT INDEXED ORDER BY sequence",
                  insert_event) +
        copy_rows(from, to,
                  "SELECT " EVENT_COLUMNS " FROM event NOT INDEXED ORDER BY sequence DESC",
                  insert_event);
    (void)copy_rows(from, to, "SELECT name, value FROM meta",
                    "INSERT OR IGNORE INTO meta VALUES(?,?)");
    if (sql_run(to, "COMMIT")) {
        (void)sql_run(to, "ROLLBACK");
        *ret_events = *ret_documents = 0;
    }
    sql_close(from);
}

/* Moves it aside, says so and makes a fresh one. */
static int start_afresh(struct store *s, const char *path)
{
    size_t events = 0, documents = 0;
    char *aside = sql_move_aside(path, clock_wall_ms());
    int rc = open_file(s, path);
    if (!rc) {
        salvage(s, aside, &events, &documents);
    }
    news_add(s, STORE_DAMAGED,
             mem_printf("events.db was damaged: it is %s now, %zu events and %zu documents of it "
                        "were saved",
                        aside, events, documents));
    mem_free(aside);
    return rc;
}

static uint64_t highest(struct sqlite3 *db)
{
    int64_t marked = sql_number(db, "SELECT value FROM meta WHERE name='sequence'", 0);
    int64_t seen = sql_number(db, "SELECT max(sequence) FROM event", 0);
    return (uint64_t)(marked > seen ? marked : seen);
}

int events_open(struct store *s, char **reterr)
{
    char *path = events_path(s);
    int rc = open_file(s, path);
    uint64_t skipped = 0;
    if (rc == -EBADMSG) {
        rc = start_afresh(s, path);
        skipped = SKIPPED;
    }
    if (rc == -EPROTO) {
        *reterr = mem_printf("%s was written by a newer tidegate: use that, or move it away", path);
    } else if (rc) {
        *reterr = mem_printf("%s cannot be opened: %s", path, err_text(rc));
    } else {
        s->sequence = highest(s->events.db) + skipped;
    }
    mem_free(path);
    return rc;
}

/* ---- Writing ----------------------------------------------------------------------------- */

static int write_op(struct events *e, const struct op *op)
{
    struct sqlite3_stmt *to = op->kind == OP_EVENT ? e->insert
                              : op->kind == OP_PUT ? e->put
                                                   : e->remove;
    if (op->kind != OP_EVENT) {
        sql_bind_text(to, 1, op->texts[TEXT_KIND]);
        sql_bind_text(to, 2, op->texts[TEXT_SERVICE]);
        if (op->kind == OP_PUT) {
            sql_bind_text(to, 3, op->texts[TEXT_SUBJECT]);
        }
        return sql_step(to);
    }
    sqlite3_bind_int64(to, 1, (sqlite3_int64)op->sequence);
    sqlite3_bind_int64(to, 2, (sqlite3_int64)op->wall_ms);
    for (int i = 0; i < TEXTS; i++) {
        sql_bind_text(to, 3 + i, op->texts[i]);
    }
    sqlite3_bind_int(to, 9, op->bad);
    return sql_step(to);
}

static int transaction(struct store *s)
{
    struct events *e = &s->events;
    int rc = sql_run(e->db, "BEGIN IMMEDIATE");
    uint64_t sequence = 0;
    for (const struct op *op = s->waiting.first; !rc && op; op = op->next) {
        rc = write_op(e, op);
        sequence = op->sequence;
    }
    if (!rc) {
        sqlite3_bind_int64(e->mark, 1, (sqlite3_int64)sequence);
        rc = sql_step(e->mark);
    }
    rc = rc ? rc : sql_run(e->db, "COMMIT");
    if (rc) {
        (void)sql_run(e->db, "ROLLBACK");
    }
    return rc;
}

int events_write(struct store *s)
{
    int rc = -EBADMSG;
    if (s->events.db) {
        rc = transaction(s);
    }
    if (rc == -EBADMSG) {
        char *path = events_path(s);
        bool was_open = s->events.db;
        finish(&s->events);
        rc = was_open ? start_afresh(s, path) : open_file(s, path);
        mem_free(path);
        rc = rc ? rc : transaction(s);
    }
    if (!rc) {
        ops_free(&s->waiting);
    }
    return rc;
}

void events_expire(struct store *s, uint64_t wall_ms)
{
    uint64_t age_ms = (uint64_t)s->options.event_days * DAY_MS;
    if (!s->events.db || wall_ms < age_ms) {
        return;
    }
    char *text = mem_printf("DELETE FROM event WHERE sequence IN (SELECT sequence FROM event WHERE "
                            "wall_ms < %llu ORDER BY wall_ms LIMIT %d)",
                            (unsigned long long)(wall_ms - age_ms), EXPIRE_AT_ONCE);
    (void)sql_run(s->events.db, text);
    mem_free(text);
}
