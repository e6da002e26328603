/* sql.h: SQLite with errno codes. Private to the room; a connection stays on one thread. */
#ifndef STORE_SQL_H
#define STORE_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sqlite3;
struct sqlite3_stmt;

enum sql_sync {
    SQL_SYNC_NORMAL, /* a power cut may cost the last transactions */
    SQL_SYNC_FULL,
};

/* Opens or makes a database in WAL mode. -ENOSPC; -EBADMSG: damaged; -EIO, -EACCES. */
int sql_open(const char *path, enum sql_sync sync, struct sqlite3 **ret_db);
/* Opens one that is there and only reads. -ENOENT. */
int sql_open_reader(const char *path, struct sqlite3 **ret_db);
void sql_close(struct sqlite3 *db); /* NULL is allowed */
/* Runs statements without results. */
int sql_run(struct sqlite3 *db, const char *text);
/* "%s" for texts and "%lld" for integers of the one value that a query gives; `otherwise`. */
int64_t sql_number(struct sqlite3 *db, const char *text, int64_t otherwise);
/* NULL when it cannot be prepared. */
struct sqlite3_stmt *sql_prepare(struct sqlite3 *db, const char *text);
/* Runs a bound statement that gives no rows and resets it. */
int sql_step(struct sqlite3_stmt *statement);
/* Ends; NULL is allowed. */
void sql_finish(struct sqlite3_stmt *statement);
/* NULL gives "". Borrowed until the statement is stepped. */
void sql_bind_text(struct sqlite3_stmt *statement, int place, const char *text);
const char *sql_text(struct sqlite3_stmt *statement, int column);
/* Moves a database and what belongs to it to PATH.damaged-TIME; the new name (mem_free). */
char *sql_move_aside(const char *path, uint64_t wall_ms);
/* Deletes it with what belongs to it. */
void sql_delete(const char *path);
/* Its size with what belongs to it, 0 when there is none. */
uint64_t sql_bytes(const char *path);

#endif
