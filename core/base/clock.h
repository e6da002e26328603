/* clock.h: the edges where time is read. Decisions get `now_ms` as a parameter. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_now_ms(void);  /* monotonic */
uint64_t clock_now_us(void);  /* monotonic */
uint64_t clock_wall_ms(void); /* since 1970, UTC */
/* CPU time of this process, user and system. */
uint64_t clock_cpu_us(void);
/* "2026-01-31T12:00:00.123Z" for milliseconds since 1970; at most 25 bytes with NUL. */
void clock_iso(uint64_t wall_ms, char *to, size_t size);

#endif
