/* bits.c: see bits.h. */
#include "store/bits.h"

#include "base/ban.h"

enum {
    RICE_ESCAPE = 24
};

static void put_byte(struct bits_out *b, uint8_t byte)
{
    if (b->at == b->end) {
        b->full = true;
        return;
    }
    *b->at++ = byte;
}

void bits_put(struct bits_out *b, uint64_t value, unsigned count)
{
    /* At most 7 bits are held, so that 56 more fit. */
    b->hold = b->hold << count | (value & ((1ull << count) - 1));
    b->held += count;
    while (b->held >= 8) {
        b->held -= 8;
        put_byte(b, (uint8_t)(b->hold >> b->held));
    }
}

void bits_put_full(struct bits_out *b, uint64_t value)
{
    unsigned length = value ? 64 - (unsigned)__builtin_clzll(value) : 1;
    bits_put(b, length - 1, 6);
    bits_put(b, value >> 32, length > 32 ? length - 32 : 0);
    bits_put(b, value & 0xffffffffu, length > 32 ? 32 : length);
}

void bits_flush(struct bits_out *b)
{
    if (b->held) {
        bits_put(b, 0, 8 - b->held);
    }
}

uint64_t bits_get(struct bits_in *b, unsigned count)
{
    while (b->held < count) {
        if (b->at == b->end) {
            b->bad = true;
            return 0;
        }
        b->hold = b->hold << 8 | *b->at++;
        b->held += 8;
    }
    b->held -= count;
    return b->hold >> b->held & ((1ull << count) - 1);
}

uint64_t bits_get_full(struct bits_in *b)
{
    unsigned length = (unsigned)bits_get(b, 6) + 1;
    uint64_t high = bits_get(b, length > 32 ? length - 32 : 0);
    return high << 32 | bits_get(b, length > 32 ? 32 : length);
}

unsigned bits_rice_for(double mean)
{
    unsigned k = 0;
    /* ln 2 times the mean is where one bit more pays (geometric numbers). */
    while (mean * 0.69 > 1.5 && k < 50) {
        mean /= 2;
        k++;
    }
    return k;
}

void bits_put_rice(struct bits_out *b, uint64_t value, unsigned k)
{
    uint64_t quotient = value >> k;
    if (quotient >= RICE_ESCAPE) {
        bits_put(b, (1ull << RICE_ESCAPE) - 1, RICE_ESCAPE);
        bits_put_full(b, value);
        return;
    }
    bits_put(b, ((1ull << quotient) - 1) << 1, (unsigned)quotient + 1);
    bits_put(b, value, k);
}

uint64_t bits_get_rice(struct bits_in *b, unsigned k)
{
    uint64_t quotient = 0;
    while (quotient < RICE_ESCAPE && bits_get(b, 1)) {
        quotient++;
    }
    if (quotient == RICE_ESCAPE) {
        return bits_get_full(b);
    }
    return quotient << k | bits_get(b, k);
}
