/* zone.c: see zone.h. The format is RFC 8536's; a file ends with a rule as in the variable TZ of POSIX. */
#include "base/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/civil.h"
#include "base/str.h"
#include "base/ban.h"

enum {
    FILE_MOST = 16384, /* the longest has some 3,600 */
    HEADER = 44,
    DAY_S = 86400,
    NAME_MOST = 64
};

static const int64_t MOST_S = 1e11; /* year 5138: no change is so late */

static const char FOLDER[] = "/usr/share/zoneinfo";

/* ---- Reading ---- */

static int64_t big_endian(const unsigned char *p, unsigned bytes)
{
    uint64_t value = p[0] & 0x80 ? UINT64_MAX : 0; /* the sign goes on */
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | p[i];
    }
    return (int64_t)value;
}

struct header {
    uint32_t isut, isstd, leap, time, type, chars;
};

static bool read_header(const unsigned char *p, uint64_t len, struct header *ret)
{
    uint32_t *fields[] = {&ret->isut, &ret->isstd, &ret->leap, &ret->time, &ret->type, &ret->chars};
    if (len < HEADER || memcmp(p, "TZif", 4) != 0) {
        return false;
    }
    for (unsigned i = 0; i < 6; i++) {
        int64_t value = big_endian(p + 20 + 4 * i, 4);
        if (value < 0 || value > FILE_MOST) {
            return false;
        }
        *fields[i] = (uint32_t)value;
    }
    return ret->type > 0;
}

static uint64_t body_size(const struct header *h, unsigned bytes)
{
    return (uint64_t)h->time * (bytes + 1) + h->type * 6 + h->chars +
           (uint64_t)h->leap * (bytes + 4) + h->isstd + h->isut;
}

static void add(struct zone *z, int64_t at, int32_t offset)
{
    if (z->count < ZONE_MOST && (!z->count || at > z->at[z->count - 1]) &&
        offset != z->offset[z->count]) {
        z->at[z->count++] = at;
        z->offset[z->count] = offset;
    }
}

/* RFC 8536: within 26 hours. */
static bool is_offset(int64_t offset)
{
    return offset > -26 * 3600 && offset < 26 * 3600;
}

static bool read_body(const unsigned char *p, const struct header *h, unsigned bytes,
                      struct zone *z)
{
    const unsigned char *kinds = p + (uint64_t)h->time * bytes;
    const unsigned char *types = kinds + h->time;
    for (uint32_t i = 0; i < h->type; i++) {
        if (!is_offset(big_endian(types + i * 6, 4))) {
            return false;
        }
    }
    z->count = 0;
    z->offset[0] = (int32_t)big_endian(types, 4);
    /* The oldest go when there are too many: half of the room is for what is to come. */
    uint32_t first = h->time > ZONE_MOST / 2 ? h->time - ZONE_MOST / 2 : 0;
    for (uint32_t i = first; i < h->time; i++) {
        if (kinds[i] >= h->type) {
            return false;
        }
        add(z, big_endian(p + (uint64_t)i * bytes, bytes),
            (int32_t)big_endian(types + kinds[i] * 6, 4));
    }
    return true;
}

/* ---- Rules: "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

struct rule {
    char kind; /* 'M', 'J' (without 29 February) or 'n' (from 0) */
    int month, week, day;
    int32_t time;
};

static bool take(const char **p, char c)
{
    bool there = **p == c;
    *p += there;
    return there;
}

static bool take_number(const char **p, int most, int *ret)
{
    int value = 0;
    const char *from = *p;
    while (**p >= '0' && **p <= '9' && value <= most) {
        value = value * 10 + *(*p)++ - '0';
    }
    *ret = value;
    return *p > from && value <= most;
}

static bool take_name(const char **p)
{
    const char *from = *p;
    if (take(p, '<')) {
        *p += strcspn(*p, ">");
        return take(p, '>');
    }
    while ((**p >= 'a' && **p <= 'z') || (**p >= 'A' && **p <= 'Z')) {
        (*p)++;
    }
    return *p - from >= 3;
}

/* "-1", "5:30", "-167:59:59": seconds. */
static bool take_time(const char **p, int32_t *ret)
{
    bool minus = take(p, '-');
    int part[3] = {0};
    (void)(!minus && take(p, '+'));
    if (!take_number(p, 167, &part[0]) || (take(p, ':') && !take_number(p, 59, &part[1])) ||
        (part[1] >= 0 && take(p, ':') && !take_number(p, 59, &part[2]))) {
        return false;
    }
    *ret = (part[0] * 3600 + part[1] * 60 + part[2]) * (minus ? -1 : 1);
    return true;
}

static bool take_rule(const char **p, struct rule *r)
{
    *r = (struct rule){.kind = 'n', .time = 7200};
    if (!take(p, ',')) {
        return false;
    }
    if (take(p, 'M')) {
        r->kind = 'M';
        if (!take_number(p, 12, &r->month) || !take(p, '.') || !take_number(p, 5, &r->week) ||
            !take(p, '.') || !take_number(p, 6, &r->day) || !r->month || !r->week) {
            return false;
        }
    } else {
        r->kind = take(p, 'J') ? 'J' : 'n';
        if (!take_number(p, 365, &r->day)) {
            return false;
        }
    }
    return !take(p, '/') || take_time(p, &r->time);
}

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days since 1970 on which the rule's day of that year is. */
static int64_t day_of(const struct rule *r, int year)
{
    if (r->kind != 'M') {
        bool later = r->kind == 'J' && is_leap(year) && r->day >= 60;
        return civil_days(year, 1, 1) + r->day - (r->kind == 'J') + later;
    }
    int64_t first = civil_days(year, r->month, 1);
    int64_t day = first + (r->day - civil_weekday(first) + 7) % 7 + 7 * (r->week - 1);
    int64_t next = r->month == 12 ? civil_days(year + 1, 1, 1) : civil_days(year, r->month + 1, 1);
    return day < next ? day : day - 7; /* the fifth is the last */
}

static bool apply_rule(const char *p, struct zone *z)
{
    int32_t standard, summer = 0;
    struct rule begin, end;
    if (!take_name(&p) || !take_time(&p, &standard)) {
        return false;
    }
    standard = -standard;
    int64_t last = z->count ? z->at[z->count - 1] : 0;
    if (!is_offset(standard)) {
        return false;
    }
    if (!*p) {
        if (last <= MOST_S) {
            add(z, z->count ? last + 1 : 0, standard);
        }
        return true;
    }
    bool named = take_name(&p), given = *p != ',';
    if (!named || (given && !take_time(&p, &summer))) {
        return false;
    }
    summer = given ? -summer : standard + 3600;
    if (!is_offset(summer) || !take_rule(&p, &begin) || !take_rule(&p, &end) || *p) {
        return false;
    }
    int year, month, day;
    if (last > MOST_S) {
        return true; /* there is no room for more */
    }
    civil_date(last > 0 ? last / DAY_S : 0, &year, &month, &day);
    for (; year <= ZONE_LAST_YEAR; year++) {
        int64_t from = day_of(&begin, year) * DAY_S + begin.time - standard;
        int64_t until = day_of(&end, year) * DAY_S + end.time - summer;
        add(z, from < until ? from : until, from < until ? summer : standard);
        add(z, from < until ? until : from, from < until ? standard : summer);
    }
    return true;
}

/* ---- All of it ---- */

int zone_parse(const char *bytes, uint64_t len, struct zone *ret_zone)
{
    const unsigned char *p = (const unsigned char *)bytes;
    struct header h;
    if (!read_header(p, len, &h) || len < HEADER + body_size(&h, 4)) {
        return -EIO;
    }
    if (p[4] < '2') {
        return read_body(p + HEADER, &h, 4, ret_zone) ? 0 : -EIO;
    }
    uint64_t at = HEADER + body_size(&h, 4);
    if (!read_header(p + at, len - at, &h) || len - at < HEADER + body_size(&h, 8) ||
        !read_body(p + at + HEADER, &h, 8, ret_zone)) {
        return -EIO;
    }
    at += HEADER + body_size(&h, 8);
    char rule[128]; /* longer ones are none */
    uint64_t size = len - at;
    if (size < 2 || size > sizeof rule || p[at] != '\n' || p[len - 1] != '\n') {
        return -EIO;
    }
    memcpy(rule, p + at + 1, size - 2);
    rule[size - 2] = '\0';
    return !*rule || apply_rule(rule, ret_zone) ? 0 : -EIO;
}

/* No way out of the folder: no points, no slash at the beginning. */
static bool is_name(const char *name)
{
    static const char WORD[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";
    size_t len = strlen(name);
    return len && len <= NAME_MOST && !name[strspn(name, WORD)] && name[0] != '/' &&
           name[len - 1] != '/' && !strstr(name, "//");
}

static int read_file(const char *name, char *to, uint64_t *ret_len)
{
    int folder = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return -ENOENT;
    }
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    int code = fd < 0 || fstat(fd, &about) < 0 || !S_ISREG(about.st_mode) ? -EINVAL : 0;
    ssize_t got = 0;
    for (*ret_len = 0; !code && *ret_len < FILE_MOST; *ret_len += (uint64_t)got) {
        got = read(fd, to + *ret_len, FILE_MOST - *ret_len);
        if (got <= 0) {
            code = got < 0 ? -EIO : 0;
            break;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    close(folder);
    return code;
}

int zone_load(const char *name, struct zone *ret_zone)
{
    char bytes[FILE_MOST];
    uint64_t len = 0;
    if (str_same(name, "UTC")) {
        ret_zone->count = 0;
        ret_zone->offset[0] = 0;
        return 0;
    }
    int code = is_name(name) ? read_file(name, bytes, &len) : -EINVAL;
    if (code) {
        return code;
    }
    code = zone_parse(bytes, len, ret_zone);
    /* Other files of the folder are no zones: tables, "leapseconds". */
    return code && (len < 4 || memcmp(bytes, "TZif", 4) != 0) ? -EINVAL : code;
}

int zone_change(const struct zone *z, int64_t at)
{
    unsigned low = 0, high = z->count; /* z->at[low - 1] <= at < z->at[high] */
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (z->at[middle] <= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (int)low - 1;
}

int32_t zone_offset(const struct zone *z, int64_t at)
{
    return z->offset[zone_change(z, at) + 1];
}
