/* cron.h: moments given as minute, hour, day of the month, month, day of the week, in the time of a zone.
 *
 *     "0 8 * * 1-5"     8:00 from Monday to Friday          "*" each, "1-5", "1,3", "0-30/10", steps of all: a star and "/15"
 *
 * Months and days have their English names of three letters too; Sunday is 0 or 7. Days of the month and of the week
 * count both when both are given: one of them is enough, as cron has it.
 * Where clocks go forward, what lies in the hour that is left out comes when they do; where they go back, what has an
 * hour of its own comes once, the first time. */
#ifndef BASE_CRON_H
#define BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

struct zone;

struct cron {
    uint64_t minutes; /* bit sets */
    uint32_t hours, days, months, weekdays;
    bool any_hour, any_day, any_weekday; /* begin with a star */
};

enum {
    CRON_WHY_BYTES = 160
};

/* -EINVAL with a sentence in ret_why. */
int cron_parse(const char *text, struct cron *ret_cron, char ret_why[CRON_WHY_BYTES]);
/* The last such moment in (after, at], in seconds since 1970. False: there is none. */
bool cron_last(const struct cron *c, const struct zone *z, int64_t after, int64_t at,
               int64_t *ret_at);

#endif
