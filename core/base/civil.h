/* civil.h: dates of the Gregorian calendar as days since 1970-01-01, for all years that fit. */
#ifndef BASE_CIVIL_H
#define BASE_CIVIL_H

#include <stdint.h>

int64_t civil_days(int year, int month, int day);
void civil_date(int64_t days, int *ret_year, int *ret_month, int *ret_day);
/* 0 = Sunday. */
int civil_weekday(int64_t days);

#endif
