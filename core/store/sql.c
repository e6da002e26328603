/* sql.c: see sql.h. */
#include "store/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/mem.h"
#include "store/store.h"

enum {
    CHECKED_BYTES = 32 << 20, /* a database up to this size is read through when it is opened */
    BUSY_MS = 2000,
};

static const char *const companions[] = {"", "-wal", "-shm", "-journal"};

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    default:
        return -EIO;
    }
}

/* Writing to a full disk comes as one of many I/O errors, since a write may also be of the -shm. */
static int code_in(struct sqlite3 *db, int rc)
{
    int code = code_of(rc);
    return code && db && sqlite3_system_errno(db) == ENOSPC ? -ENOSPC : code;
}

int sql_run(struct sqlite3 *db, const char *text)
{
    return code_in(db, sqlite3_exec(db, text, NULL, NULL, NULL));
}

struct sqlite3_stmt *sql_prepare(struct sqlite3 *db, const char *text)
{
    struct sqlite3_stmt *statement = NULL;
    return sqlite3_prepare_v2(db, text, -1, &statement, NULL) == SQLITE_OK ? statement : NULL;
}

int64_t sql_number(struct sqlite3 *db, const char *text, int64_t otherwise)
{
    struct sqlite3_stmt *statement = sql_prepare(db, text);
    if (statement && sqlite3_step(statement) == SQLITE_ROW &&
        sqlite3_column_type(statement, 0) != SQLITE_NULL) {
        otherwise = sqlite3_column_int64(statement, 0);
    }
    sql_finish(statement);
    return otherwise;
}

int sql_step(struct sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    int code = code_in(sqlite3_db_handle(statement), rc);
    sqlite3_reset(statement);
    return code;
}

void sql_finish(struct sqlite3_stmt *statement)
{
    sqlite3_finalize(statement);
}

void sql_bind_text(struct sqlite3_stmt *statement, int place, const char *text)
{
    sqlite3_bind_text(statement, place, text ? text : "", -1, SQLITE_STATIC);
}

const char *sql_text(struct sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

void sql_close(struct sqlite3 *db)
{
    sqlite3_close_v2(db);
}

static int check(struct sqlite3 *db, const char *path)
{
    struct stat st;
    if (stat(path, &st) || st.st_size > CHECKED_BYTES) {
        return 0;
    }
    struct sqlite3_stmt *statement = sql_prepare(db, "PRAGMA quick_check(1)");
    int rc = statement ? sqlite3_step(statement) : sqlite3_errcode(db);
    bool well = rc == SQLITE_ROW && sqlite3_stricmp(sql_text(statement, 0), "ok") == 0;
    sql_finish(statement);
    return well ? 0 : rc == SQLITE_ROW ? -EBADMSG : code_in(db, rc);
}

static int open_with(const char *path, int flags, struct sqlite3 **ret_db)
{
    struct sqlite3 *db = NULL;
    int code = code_in(db, sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL));
    if (code) {
        sql_close(db);
        return code;
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    *ret_db = db;
    return 0;
}

/* Documents may hold keys: only its owner reads a database, wherever it is. SQLite gives the file's mode to those
 * that it makes beside it. */
static void keep_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++) {
        struct stat st;
        char *name = mem_printf("%s%s", path, companions[i]);
        if (!lstat(name, &st) && S_ISREG(st.st_mode) && st.st_mode & (S_IRWXG | S_IRWXO)) {
            (void)chmod(name, st.st_mode & S_IRWXU);
        }
        mem_free(name);
    }
}

int sql_open(const char *path, enum sql_sync sync, struct sqlite3 **ret_db)
{
    struct sqlite3 *db;
    keep_private(path);
    int code = open_with(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
    if (code) {
        return code;
    }
    code = sql_run(db, "PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=8388608;");
    code = code ? code : check(db, path);
    code = code ? code
                : sql_run(db, sync == SQL_SYNC_FULL ? "PRAGMA synchronous=FULL"
                                                    : "PRAGMA synchronous=NORMAL");
    if (code) {
        sql_close(db);
        return code;
    }
    *ret_db = db;
    return 0;
}

int sql_open_reader(const char *path, struct sqlite3 **ret_db)
{
    /* Not SQLITE_OPEN_READONLY: what was not closed has to be recovered, and left tidy. */
    int code = open_with(path, SQLITE_OPEN_READWRITE, ret_db);
    return code ? code : sql_run(*ret_db, "PRAGMA query_only=1");
}

char *sql_move_aside(const char *path, uint64_t wall_ms)
{
    char *to = mem_printf("%s.damaged-%llu", path, (unsigned long long)wall_ms);
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++) {
        char *from = mem_printf("%s%s", path, companions[i]);
        char *name = mem_printf("%s%s", to, companions[i]);
        (void)rename(from, name);
        mem_free(from);
        mem_free(name);
    }
    return to;
}

void sql_delete(const char *path)
{
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++) {
        char *name = mem_printf("%s%s", path, companions[i]);
        (void)unlink(name);
        mem_free(name);
    }
}

uint64_t sql_bytes(const char *path)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++) {
        struct stat st;
        char *name = mem_printf("%s%s", path, companions[i]);
        bytes += stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
        mem_free(name);
    }
    return bytes;
}

const char *store_library(void)
{
    return sqlite3_libversion();
}
