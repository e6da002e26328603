/* zone.h: the time of named time zones, from the system's database, whatever zone the process itself is in.
 *
 * A zone is a value: no allocation, to be copied as it is. What the database says by rule for the years to come is
 * written out until ZONE_LAST_YEAR. Instants are seconds since 1970, offsets seconds east of Greenwich. */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include <stdint.h>

enum {
    ZONE_MOST = 512,
    ZONE_LAST_YEAR = 2100
};

struct zone {
    unsigned count;
    int64_t at[ZONE_MOST];         /* from then on ... */
    int32_t offset[ZONE_MOST + 1]; /* ... it is the next of these; the first is what was before */
};

/* "Europe/Berlin", "UTC". -EINVAL: no such name; -ENOENT: there is no database; -EIO: its file makes no sense. */
int zone_load(const char *name, struct zone *ret_zone);
/* The same of a file's bytes (TZif, RFC 8536). -EIO. */
int zone_parse(const char *bytes, uint64_t len, struct zone *ret_zone);
/* The change of the clock in force at that instant: its place in `at`, or -1 before the first. */
int zone_change(const struct zone *z, int64_t at);
int32_t zone_offset(const struct zone *z, int64_t at);

#endif
