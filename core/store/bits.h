/* bits.h: bits and small numbers, written to a buffer and read from bytes that nobody has to trust.
 * Private to the room. */
#ifndef STORE_BITS_H
#define STORE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most significant bit first. */
struct bits_out {
    uint8_t *at, *end;
    uint64_t hold; /* the lowest `held` bits are not written yet */
    unsigned held;
    bool full;
};

struct bits_in {
    const uint8_t *at, *end;
    uint64_t hold;
    unsigned held;
    bool bad; /* read past the end; what was read since is 0 */
};

/* The lowest `count` (0 to 56) bits of value. */
void bits_put(struct bits_out *b, uint64_t value, unsigned count);
/* Fills the last byte up with zeros. */
void bits_flush(struct bits_out *b);
uint64_t bits_get(struct bits_in *b, unsigned count);

/* Its length in 6 bits, then itself without its leading zeros. */
void bits_put_full(struct bits_out *b, uint64_t value);
uint64_t bits_get_full(struct bits_in *b);

/* Signed numbers near 0 as small ones. */
static inline uint64_t bits_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t bits_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* The Rice parameter that suits numbers with this mean. */
unsigned bits_rice_for(double mean);
/* Quotient in ones, then `k` (0 to 50) bits; what has a quotient above 24 is written in full. */
void bits_put_rice(struct bits_out *b, uint64_t value, unsigned k);
uint64_t bits_get_rice(struct bits_in *b, unsigned k);

#endif
