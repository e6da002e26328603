/* range.h: stretches of time as people say them. */
#ifndef COMMANDS_RANGE_H
#define COMMANDS_RANGE_H

#include <stdint.h>

/* A MOMENT is "now", "today" or "yesterday" (0:00), a day "2026-01-31" (0:00), "2026-01-31 14:05" (also with a T, with
 * seconds, and with a Z for UTC), "14:05" of today, or a duration such as "6h": so long ago. Local time, but for Z.
 *
 * `from` may also be "FROM..TO". Without `to` (NULL): a day named without an hour is the whole day, and all else
 * goes until now. 0, and *ret_from_ms < *ret_to_ms <= now_ms, all since 1970; -EINVAL with a sentence. */
int range_read(const char *from, const char *to, uint64_t now_ms, uint64_t *ret_from_ms,
               uint64_t *ret_to_ms, char **reterr);
/* "01-31 14:05" in local time. */
void range_text(uint64_t wall_ms, char ret_text[32]);
/* Local time as if it were UTC, in seconds since 1970. */
int64_t range_local_s(uint64_t wall_ms);

#endif
