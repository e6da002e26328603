/* cron.c: see cron.h. Moments are looked for backward, a minute at a time, by hours where none can be. */
#include "base/cron.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/civil.h"
#include "base/str.h"
#include "base/zone.h"
#include "base/ban.h"

enum {
    FIELDS = 5,
    HOUR_S = 3600,
    DAY_S = 86400
};

struct field {
    const char *what;
    int least, most;
    const char *const *names; /* of the numbers from `least` on; NULL: none */
};

static const char *const MONTHS[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const DAYS[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct field KINDS[FIELDS] = {
    {"minute", 0, 59, NULL},  {"hour", 0, 23, NULL},           {"day of the month", 1, 31, NULL},
    {"month", 1, 12, MONTHS}, {"day of the week", 0, 7, DAYS},
};

/* ---- Reading ---- */

static bool to_number(struct str text, const struct field *f, int *ret)
{
    for (int i = 0; f->names && f->names[i]; i++) {
        if (text.len == 3 && !strncasecmp(text.ptr, f->names[i], 3)) {
            *ret = f->least + i;
            return true;
        }
    }
    int value = 0;
    for (size_t i = 0; i < text.len && i < 4; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + text.ptr[i] - '0';
    }
    *ret = value;
    return text.len && text.len < 4 && value >= f->least && value <= f->most;
}

/* "1-5/2", "*", "7" */
static bool read_part(struct str part, const struct field *f, uint64_t *bits)
{
    ptrdiff_t slash = str_find(part, '/');
    struct field any = {"step", 1, f->most, NULL};
    int from = f->least, until = f->most, step = 1;
    if (slash >= 0) {
        if (!to_number(str_sub(part, (size_t)slash + 1, part.len), &any, &step)) {
            return false;
        }
        part = str_sub(part, 0, (size_t)slash);
    }
    ptrdiff_t dash = str_find(part, '-');
    if (dash >= 0) {
        if (!to_number(str_sub(part, 0, (size_t)dash), f, &from) ||
            !to_number(str_sub(part, (size_t)dash + 1, part.len), f, &until) || from > until) {
            return false;
        }
    } else if (!str_is(part, "*")) {
        if (!to_number(part, f, &from)) {
            return false;
        }
        until = slash >= 0 ? until : from;
    }
    for (; from <= until; from += step) {
        *bits |= (uint64_t)1 << from;
    }
    return true;
}

static bool read_field(struct str text, const struct field *f, uint64_t *bits)
{
    struct str part;
    *bits = 0;
    while (str_next(&text, ',', &part)) {
        if (!read_part(part, f, bits)) {
            return false;
        }
    }
    return *bits != 0;
}

/* Days go with months where one of the two fields of days is a star: 31 2 never comes. */
static bool ever(const struct cron *c)
{
    static const unsigned char LONGEST[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool found = !c->any_day && !c->any_weekday;
    for (int month = 1; month <= 12; month++) {
        uint32_t days = (uint32_t)((UINT64_C(2) << LONGEST[month - 1]) - 2);
        found = found || (c->months >> month & 1 && c->days & days);
    }
    return found;
}

int cron_parse(const char *text, struct cron *ret_cron, char ret_why[CRON_WHY_BYTES])
{
    uint64_t bits[FIELDS] = {0};
    bool stars[FIELDS] = {false};
    unsigned count = 0;
    for (const char *at = text; at += strspn(at, " \t"), *at; count++) {
        struct str word = {at, strcspn(at, " \t")};
        at += word.len;
        if (count >= FIELDS) {
            continue;
        }
        const struct field *f = &KINDS[count];
        stars[count] = word.ptr[0] == '*';
        if (!read_field(word, f, &bits[count])) {
            int shown = word.len < 20 ? (int)word.len : 20;
            snprintf(ret_why, CRON_WHY_BYTES,
                     "\"%.*s\" is no %s: %d to %d, such as %d, %d-%d, or a star", shown, word.ptr,
                     f->what, f->least, f->most, f->least, f->least, f->most);
            return -EINVAL;
        }
    }
    if (count != FIELDS) {
        snprintf(ret_why, CRON_WHY_BYTES,
                 "has %u fields: minute, hour, day of the month, month, day of the week, such as "
                 "\"0 8 * * 1-5\"",
                 count);
        return -EINVAL;
    }
    *ret_cron = (struct cron){
        .minutes = bits[0],
        .hours = (uint32_t)bits[1],
        .days = (uint32_t)bits[2],
        .months = (uint32_t)bits[3],
        .weekdays = (uint32_t)(bits[4] | (bits[4] >> 7 & 1)), /* 7 is Sunday, too */
        .any_hour = stars[1],
        .any_day = stars[2],
        .any_weekday = stars[4],
    };
    if (!ever(ret_cron)) {
        snprintf(ret_why, CRON_WHY_BYTES, "never comes: no month that it names has such a day");
        return -EINVAL;
    }
    return 0;
}

/* ---- Looking ---- */

static int64_t floor_to(int64_t value, int64_t unit)
{
    int64_t rest = value % unit;
    return value - rest - (rest < 0 ? unit : 0);
}

/* `local`: seconds that the clock on the wall shows since its 1970. */
static bool hour_fits(const struct cron *c, int64_t local)
{
    int64_t days = floor_to(local, DAY_S) / DAY_S;
    int year, month, day;
    civil_date(days, &year, &month, &day);
    bool of_month = c->days >> day & 1, of_week = c->weekdays >> civil_weekday(days) & 1;
    bool either = c->any_day || c->any_weekday ? of_month && of_week : of_month || of_week;
    return c->months >> month & 1 && either && c->hours >> ((local - days * DAY_S) / HOUR_S) & 1;
}

static bool fits(const struct cron *c, int64_t local)
{
    int64_t minute = (local - floor_to(local, HOUR_S)) / 60;
    return c->minutes >> minute & 1 && hour_fits(c, local);
}

/* Whether it is the minute, a whole one of the world's clock. */
static bool is_moment(const struct cron *c, const struct zone *z, int64_t at)
{
    int change = zone_change(z, at);
    int32_t offset = z->offset[change + 1];
    int32_t moved = change < 0 ? 0 : offset - z->offset[change];
    int64_t since = change < 0 ? 0 : at - z->at[change];
    if (moved < 0 && since < -moved && !c->any_hour) {
        return false; /* the second time that this hour passes */
    }
    if (fits(c, at + offset)) {
        return true;
    }
    /* The first minute behind those that were left out stands for them. */
    for (int64_t left = 60; moved > 0 && since < 60 && !c->any_hour && left <= moved; left += 60) {
        if (fits(c, at + offset - left)) {
            return true;
        }
    }
    return false;
}

bool cron_last(const struct cron *c, const struct zone *z, int64_t after, int64_t at,
               int64_t *ret_at)
{
    for (at = floor_to(at, 60); at > after;) {
        int64_t local = at + zone_offset(z, at);
        int64_t before = at - (local - floor_to(local, HOUR_S)) - 60;
        bool changes = zone_change(z, before) != zone_change(z, at);
        if (!changes && !hour_fits(c, local)) {
            at = before;
            continue;
        }
        if (is_moment(c, z, at)) {
            *ret_at = at;
            return true;
        }
        at -= 60;
    }
    return false;
}
