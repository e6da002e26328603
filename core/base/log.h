/* log.h: one line a fact: `time level who msg="what happened" key=value ...`,
 * or the same as one JSON object a line.
 *
 * `fields` is a printf format of the shape "key=%s other=%u": keys are
 * [a-z0-9_.]+, each followed by exactly one conversion out of
 * %s %d %u %ld %lu %lld %llu %zu %.Nf %g, separated by one blank. Values are
 * quoted and escaped where needed; NULL strings print as "-". */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_LEVELS
};

/* Sets up the process's log: `who` is "master", "policy" or "worker.0"; writes to stderr, or
 * appends to `path` when that is not NULL. 0 or -errno when the file cannot be opened. */
int log_open(const char *who, const char *path, enum log_level least, bool json);
/* Opens the file again under its name (after rotation). */
void log_reopen(void);
/* "debug", "info", "warn" or "error"; -EINVAL. */
int log_level_of(const char *name, enum log_level *ret_level);

/* `what` is a short sentence in lower case; `fields` may be "" (not NULL). */
void log_write(enum log_level level, const char *what, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

/* True at most `per_s` times a second for this counter (zeroed at start); for the data plane.
 * ret_skipped: how many were withheld since the last true. */
struct log_limit {
    unsigned long long second;
    unsigned passed, skipped;
};
bool log_allowed(struct log_limit *l, unsigned per_s, unsigned *ret_skipped);

#endif
