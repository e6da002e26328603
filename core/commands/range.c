/* range.c: see range.h. */
#include "commands/range.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "base/mem.h"
#include "base/str.h"
#include "commands/commands.h"

static const char KNOWN[] = "write 6h (so long ago), 14:05, today, yesterday, 2026-01-31, "
                            "\"2026-01-31 14:05\", or two of these as FROM..TO";

/* Local time of now, at 0:00 of the day that lies `days` from today. */
static struct tm midnight(uint64_t now_ms, int days)
{
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm tm;
    localtime_r(&now_s, &tm);
    tm.tm_mday += days;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    return tm;
}

/* Takes two digits. */
static bool two(const char **at, int least, int most, int *ret_value)
{
    const char *text = *at;
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9') {
        return false;
    }
    *ret_value = (text[0] - '0') * 10 + text[1] - '0';
    *at += 2;
    return *ret_value >= least && *ret_value <= most;
}

/* Takes "14:05" or "14:05:30" into `tm`. */
static bool take_hour(const char **at, struct tm *tm)
{
    if (!two(at, 0, 23, &tm->tm_hour) || *(*at)++ != ':' || !two(at, 0, 59, &tm->tm_min)) {
        return false;
    }
    if (**at != ':') {
        return true;
    }
    ++*at;
    return two(at, 0, 59, &tm->tm_sec);
}

/* Takes "2026-01-31" into `tm`. */
static bool take_day(const char **at, struct tm *tm)
{
    int century, year, month, day;
    if (!two(at, 19, 99, &century) || !two(at, 0, 99, &year) || *(*at)++ != '-' ||
        !two(at, 1, 12, &month) || *(*at)++ != '-' || !two(at, 1, 31, &day)) {
        return false;
    }
    tm->tm_year = century * 100 + year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    tm->tm_hour = tm->tm_min = tm->tm_sec = 0;
    return true;
}

/* "14:05", "2026-01-31", "2026-01-31T14:05:00Z". *ret_day: no hour was said. */
static bool read_clock(const char *text, uint64_t now_ms, time_t *ret_s, bool *ret_day)
{
    struct tm tm = midnight(now_ms, 0);
    const char *at = text;
    bool day = strlen(text) >= 10 && text[4] == '-';
    *ret_day = false;
    if (day) {
        if (!take_day(&at, &tm)) {
            return false;
        }
        *ret_day = !*at;
        if (*at && ((*at != 'T' && *at != ' ') || (at++, !take_hour(&at, &tm)))) {
            return false;
        }
    } else if (!take_hour(&at, &tm)) {
        return false;
    }
    int said = tm.tm_mday;
    bool utc = day && !*ret_day && *at == 'Z';
    tm.tm_isdst = -1;
    *ret_s = utc ? timegm(&tm) : mktime(&tm);
    return !at[utc] && *ret_s >= 0 && tm.tm_mday == said; /* there is no 31st of February */
}

/* *ret_whole_day: it is a day, of which the next one begins at *ret_next_ms. */
static bool read_moment(const char *text, uint64_t now_ms, uint64_t *ret_ms, uint64_t *ret_next_ms)
{
    time_t at_s = 0, next_s = 0;
    uint64_t ago_ms;
    bool day = false;
    *ret_next_ms = 0;
    if (str_same(text, "now")) {
        *ret_ms = now_ms;
        return true;
    }
    if (str_same(text, "today") || str_same(text, "yesterday")) {
        struct tm tm = midnight(now_ms, *text == 't' ? 0 : -1);
        at_s = mktime(&tm);
        day = true;
    } else if (command_duration_ms(text, &ago_ms) == 0) {
        *ret_ms = now_ms - (ago_ms < now_ms ? ago_ms : now_ms);
        return true;
    } else if (!read_clock(text, now_ms, &at_s, &day)) {
        return false;
    }
    *ret_ms = (uint64_t)at_s * 1000;
    if (day) {
        struct tm tm;
        localtime_r(&at_s, &tm);
        tm.tm_mday++;
        tm.tm_isdst = -1;
        next_s = mktime(&tm);
        *ret_next_ms = (uint64_t)next_s * 1000;
    }
    return true;
}

int range_read(const char *from, const char *to, uint64_t now_ms, uint64_t *ret_from_ms,
               uint64_t *ret_to_ms, char **reterr)
{
    const char *dots = to ? NULL : strstr(from, "..");
    char *first = dots ? mem_copy_bytes(from, (size_t)(dots - from)) : mem_copy(from);
    const char *last = dots ? dots + 2 : to;
    uint64_t from_ms, to_ms, next_ms, unused;
    int code = -EINVAL;
    if (!read_moment(first, now_ms, &from_ms, &next_ms)) {
        *reterr = mem_printf("\"%s\" is no time: %s", first, KNOWN);
    } else if (last && !read_moment(last, now_ms, &to_ms, &unused)) {
        *reterr = mem_printf("\"%s\" is no time: %s", last, KNOWN);
    } else {
        to_ms = last ? to_ms : next_ms ? next_ms : now_ms;
        to_ms = to_ms < now_ms ? to_ms : now_ms;
        if (from_ms < to_ms) {
            *ret_from_ms = from_ms;
            *ret_to_ms = to_ms;
            code = 0;
        } else {
            char begin[32], end[32];
            range_text(from_ms, begin);
            range_text(to_ms, end);
            *reterr = mem_printf("there is no time between %s and %s: give the earlier one first",
                                 begin, end);
        }
    }
    mem_free(first);
    return code;
}

void range_text(uint64_t wall_ms, char ret_text[32])
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    (void)strftime(ret_text, 32, "%m-%d %H:%M", &tm);
}

int64_t range_local_s(uint64_t wall_ms)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    return (int64_t)timegm(&tm);
}
