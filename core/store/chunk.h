/* chunk.h: a run of samples, or of one-minute roll-ups, as few bytes. Private to the room.
 *
 * Numbers of a column are whole multiples of 10^-k in most series, and then differences (or
 * differences of those) are written with Golomb-Rice codes; what is not is written as in Facebook's
 * Gorilla (VLDB 2015, section 4.1.2): the bits in which a double differs from the one before.
 * Times are differences of differences in milliseconds. */
#ifndef STORE_CHUNK_H
#define STORE_CHUNK_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct store_point;

enum {
    CHUNK_SAMPLES = 120,       /* a head that has so many is full */
    CHUNK_MOST = 4096,         /* more than that is no chunk of ours */
    CHUNK_MS = 30 * 60 * 1000, /* nor does a head live longer */
    MINUTE_MS = 60 * 1000,
};

struct chunk_sample {
    uint64_t at_ms;
    double value;
};

/* The value as it is kept: whole numbers below 2^53 as they are, others with six digits. */
double chunk_round(double value);
/* Appends `count` (1 to CHUNK_MOST) samples in order of time. -ENOBUFS. */
int chunk_write(struct buf *to, const struct chunk_sample *samples, size_t count);
/* The samples; mem_free. -EBADMSG: not a chunk. */
int chunk_read(const void *bytes, size_t len, struct chunk_sample **ret_samples, size_t *ret_count);
/* One point a minute. `points` has room for as many as there are samples; how many were made. */
size_t chunk_minutes(const struct chunk_sample *samples, size_t count, struct store_point *points);
/* The same for points whose at_ms are whole minutes, rising. Mean and last come back within a
 * 510th of what lies between the least and the most. */
int chunk_write_minutes(struct buf *to, const struct store_point *points, size_t count);
int chunk_read_minutes(const void *bytes, size_t len, struct store_point **ret_points,
                       size_t *ret_count);

#endif
