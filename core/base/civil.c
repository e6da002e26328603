/* civil.c: see civil.h. Years begin in March here, so that leap days are their last ones; 146,097 days are
 * 400 years. */
#include "base/civil.h"

#include "base/ban.h"

enum {
    ERA_DAYS = 146097,
    EPOCH = 719468 /* from 0000-03-01 to 1970-01-01 */
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t civil_days(int year, int month, int day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = floor_div(y, 400), of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH;
}

void civil_date(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    days += EPOCH;
    int64_t era = floor_div(days, ERA_DAYS), of_era = days - era * ERA_DAYS;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *ret_day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *ret_month = (int)(m < 10 ? m + 3 : m - 9);
    *ret_year = (int)(y + era * 400 + (*ret_month <= 2));
}

int civil_weekday(int64_t days)
{
    int64_t since_sunday = (days + 4) % 7;
    return (int)(since_sunday < 0 ? since_sunday + 7 : since_sunday);
}
