/* record.c: see record.h. */
#include "base/record.h"

#include "base/ban.h"

double record_number(const void *record, const struct record_field *field)
{
    return *(const double *)(const void *)((const char *)record + field->at);
}
