/* record.h: a struct of numbers and the names of its fields: one list, from which every form of it (JSON, a table
 * of Lua) is made, so that no two lists can drift apart. */
#ifndef BASE_RECORD_H
#define BASE_RECORD_H

#include <stddef.h>

/* A field that is a double. Negative: unknown, absent in every other form. */
struct record_field {
    const char *name;
    size_t at; /* offset in the struct */
};

/* Its value in the record at `record`. */
double record_number(const void *record, const struct record_field *field);

#endif
