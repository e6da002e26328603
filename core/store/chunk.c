/* chunk.c: see chunk.h.
 *
 * A column: mode, digits (k), Rice parameter, then its numbers. Whole numbers have the zero bits that
 * all their differences end with taken off: memory comes in pages. A chunk of samples: version,
 * count, column of times, column of values. Of minutes: version, count, times in minutes, counts,
 * least, most minus least; then of each minute that is more than one value the mean and the last as
 * 255ths of what lies between: a roll-up is for looking at, and of a counter the last is the most. */
#include "store/chunk.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"
#include "store/bits.h"
#include "store/store.h"

enum column_mode {
    COLUMN_BITS,        /* doubles, the bits that differ */
    COLUMN_DELTA,       /* whole multiples of 10^-k, differences */
    COLUMN_DELTA_DELTA, /* differences of differences */
};

enum {
    VERSION_SAMPLES = 1,
    VERSION_MINUTES = 2,
    DIGITS_MOST = 12,
    /* The worst: every number escaped, times and values. */
    BYTES_A_NUMBER = 12,
    PLACES = 255,
    COLUMNS = 6,
};

static const double powers[] = {1e0, 1e1, 1e2, 1e3,  1e4,  1e5,  1e6,
                                1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13};
static const double whole_most = 9007199254740992.0; /* 2^53 */

static bool is_whole(double value)
{
    return fabs(value) <= whole_most && value == trunc(value);
}

/* `value` with `digits` behind the point. */
static double round_at(double value, int digits)
{
    return nearbyint(value * powers[digits]) / powers[digits];
}

double chunk_round(double value)
{
    if (is_whole(value)) {
        return value == 0 ? 0 : value; /* no negative zero */
    }
    double size = fabs(value);
    int digits = 5;
    while (digits > 0 && size >= 10) {
        size /= 10;
        digits--;
    }
    while (digits < DIGITS_MOST && size < 1) {
        size *= 10;
        digits++;
    }
    return fabs(value) > whole_most || size < 1 ? value : round_at(value, digits);
}

/* The fewest digits behind the point with which all numbers are exact; -1: there are none. */
static int digits_of(const double *values, size_t count)
{
    int digits = 0;
    for (size_t i = 0; i < count; i++) {
        while (round_at(values[i], digits) != values[i]) {
            if (++digits > DIGITS_MOST) {
                return -1;
            }
        }
        if (fabs(values[i]) * powers[digits] > whole_most) {
            return -1;
        }
    }
    /* A later number may have asked for digits that an early one is too large for. */
    for (size_t i = 0; i < count; i++) {
        if (fabs(values[i]) * powers[digits] > whole_most ||
            round_at(values[i], digits) != values[i]) {
            return -1;
        }
    }
    return digits;
}

static void put_header(struct bits_out *b, enum column_mode mode, unsigned digits, unsigned rice)
{
    bits_put(b, mode, 2);
    bits_put(b, digits, 4);
    bits_put(b, rice, 6);
}

/* How many zero bits all differences end with. */
static unsigned shift_of(const int64_t *numbers, size_t count)
{
    uint64_t all = 0;
    for (size_t i = 1; i < count; i++) {
        all |= (uint64_t)(numbers[i] - numbers[i - 1]);
    }
    return all ? (unsigned)__builtin_ctzll(all) : 0;
}

/* The first number stands in full, and so does the first difference where differences of them
 * follow: neither says anything about the size of the others. */
static void put_whole(struct bits_out *b, const int64_t *numbers, size_t count, unsigned digits)
{
    double sums[2] = {0, 0}; /* of differences, and of differences of those */
    int64_t delta = 0, unit = (int64_t)1 << shift_of(numbers, count);
    for (size_t i = 1; i < count; i++) {
        int64_t next = (numbers[i] - numbers[i - 1]) / unit;
        sums[0] += (double)bits_zigzag(next);
        sums[1] += i > 1 ? (double)bits_zigzag(next - delta) : 0;
        delta = next;
    }
    bool second = sums[1] < sums[0];
    unsigned rice = bits_rice_for(count > 1 ? sums[second] / (double)(count - 1) : 0);
    put_header(b, second ? COLUMN_DELTA_DELTA : COLUMN_DELTA, digits, rice);
    bits_put(b, shift_of(numbers, count), 6);
    bits_put_full(b, bits_zigzag(numbers[0]));
    delta = 0;
    for (size_t i = 1; i < count; i++) {
        int64_t next = (numbers[i] - numbers[i - 1]) / unit;
        uint64_t code = bits_zigzag(second ? next - delta : next);
        if (second && i == 1) {
            bits_put_full(b, code);
        } else {
            bits_put_rice(b, code, rice);
        }
        delta = next;
    }
}

static int get_whole(struct bits_in *b, enum column_mode mode, unsigned rice, int64_t *numbers,
                     size_t count)
{
    bool second = mode == COLUMN_DELTA_DELTA;
    unsigned shift = (unsigned)bits_get(b, 6);
    /* Unsigned: bytes of anyone may overflow. */
    uint64_t at = (uint64_t)bits_unzigzag(bits_get_full(b)), delta = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            uint64_t code = second && i == 1 ? bits_get_full(b) : bits_get_rice(b, rice);
            uint64_t next = (uint64_t)bits_unzigzag(code);
            delta = second ? delta + next : next;
            at += delta << shift;
        }
        numbers[i] = (int64_t)at;
    }
    return b->bad ? -EBADMSG : 0;
}

/* Gorilla: 0 = the same; 10 = within the last window; 11 = leading zeros, length, bits. */
static void put_bits(struct bits_out *b, const double *values, size_t count)
{
    put_header(b, COLUMN_BITS, 0, 0);
    uint64_t before = 0;
    unsigned lead = 64, trail = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t now, x;
        memcpy(&now, &values[i], sizeof now);
        x = now ^ before;
        before = now;
        if (x == 0) {
            bits_put(b, 0, 1);
            continue;
        }
        unsigned l = (unsigned)__builtin_clzll(x), t = (unsigned)__builtin_ctzll(x);
        if (lead != 64 && l >= lead && t >= trail) {
            bits_put(b, 2, 2);
        } else {
            lead = l;
            trail = t;
            bits_put(b, 3, 2);
            bits_put(b, lead, 6);
            bits_put(b, 63 - lead - trail, 6);
        }
        x >>= trail;
        bits_put(b, x >> 32, 64 - lead - trail > 32 ? 32 - lead - trail : 0);
        bits_put(b, x & 0xffffffffu, 64 - lead - trail > 32 ? 32 : 64 - lead - trail);
    }
}

static int get_bits(struct bits_in *b, double *values, size_t count)
{
    uint64_t before = 0;
    unsigned length = 0, trail = 0;
    for (size_t i = 0; i < count; i++) {
        if (bits_get(b, 1)) {
            if (bits_get(b, 1)) {
                unsigned lead = (unsigned)bits_get(b, 6);
                length = (unsigned)bits_get(b, 6) + 1;
                if (lead + length > 64) {
                    return -EBADMSG;
                }
                trail = 64 - lead - length;
            }
            uint64_t high = length > 32 ? bits_get(b, length - 32) : 0;
            uint64_t low = bits_get(b, length > 32 ? 32 : length);
            before ^= (high << 32 | low) << trail;
        }
        memcpy(&values[i], &before, sizeof before);
    }
    return b->bad ? -EBADMSG : 0;
}

static void put_column(struct bits_out *b, const double *values, size_t count, int64_t *scratch)
{
    int digits = digits_of(values, count);
    if (digits < 0) {
        put_bits(b, values, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        scratch[i] = (int64_t)nearbyint(values[i] * powers[digits]);
    }
    put_whole(b, scratch, count, (unsigned)digits);
}

static int get_column(struct bits_in *b, double *values, size_t count, int64_t *scratch)
{
    unsigned mode = (unsigned)bits_get(b, 2), digits = (unsigned)bits_get(b, 4);
    unsigned rice = (unsigned)bits_get(b, 6);
    if (mode == COLUMN_BITS) {
        return get_bits(b, values, count);
    }
    if (mode > COLUMN_DELTA_DELTA || digits > DIGITS_MOST || rice > 50 ||
        get_whole(b, mode, rice, scratch, count)) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = (double)scratch[i] / powers[digits];
    }
    return 0;
}

/* ---- Whole chunks ------------------------------------------------------------------------ */

struct work {
    double *values;
    int64_t *numbers;
    uint8_t *bytes; /* only for writing */
    struct bits_out out;
};

static void work_init(struct work *w, size_t count, size_t columns)
{
    w->values = mem_array(count, sizeof *w->values);
    w->numbers = mem_array(count, sizeof *w->numbers);
    size_t size = columns * (count + 2) * BYTES_A_NUMBER;
    w->bytes = columns ? mem_new(size) : NULL;
    w->out = (struct bits_out){.at = w->bytes, .end = w->bytes ? w->bytes + size : NULL};
}

static void work_free(struct work *w)
{
    mem_free(w->values);
    mem_free(w->numbers);
    mem_free(w->bytes);
}

static int work_append(struct work *w, struct buf *to)
{
    bits_flush(&w->out);
    return w->out.full ? -ENOBUFS : buf_append(to, w->bytes, (size_t)(w->out.at - w->bytes));
}

int chunk_write(struct buf *to, const struct chunk_sample *samples, size_t count)
{
    struct work w;
    work_init(&w, count, 2);
    bits_put(&w.out, VERSION_SAMPLES, 8);
    bits_put(&w.out, count, 16);
    for (size_t i = 0; i < count; i++) {
        w.numbers[i] = (int64_t)samples[i].at_ms;
    }
    put_whole(&w.out, w.numbers, count, 0);
    for (size_t i = 0; i < count; i++) {
        w.values[i] = samples[i].value;
    }
    put_column(&w.out, w.values, count, w.numbers);
    int rc = work_append(&w, to);
    work_free(&w);
    return rc;
}

static int read_start(struct bits_in *in, const void *bytes, size_t len, unsigned version,
                      size_t *ret_count)
{
    *in = (struct bits_in){.at = bytes, .end = (const uint8_t *)bytes + len};
    bool ours = bits_get(in, 8) == version;
    size_t count = (size_t)bits_get(in, 16);
    if (!ours || count < 1 || count > CHUNK_MOST || in->bad) {
        return -EBADMSG;
    }
    *ret_count = count;
    return 0;
}

/* Times have the header of a column and are whole. */
static int read_times(struct bits_in *in, int64_t *numbers, size_t count)
{
    unsigned mode = (unsigned)bits_get(in, 2);
    (void)bits_get(in, 4);
    unsigned rice = (unsigned)bits_get(in, 6);
    if ((mode != COLUMN_DELTA && mode != COLUMN_DELTA_DELTA) || rice > 50) {
        return -EBADMSG;
    }
    return get_whole(in, mode, rice, numbers, count);
}

int chunk_read(const void *bytes, size_t len, struct chunk_sample **ret_samples, size_t *ret_count)
{
    struct bits_in in;
    size_t count;
    if (read_start(&in, bytes, len, VERSION_SAMPLES, &count)) {
        return -EBADMSG;
    }
    struct work w;
    work_init(&w, count, 0);
    struct chunk_sample *samples = mem_array(count, sizeof *samples);
    int rc = read_times(&in, w.numbers, count);
    for (size_t i = 0; !rc && i < count; i++) {
        samples[i].at_ms = (uint64_t)w.numbers[i];
    }
    rc = rc ? rc : get_column(&in, w.values, count, w.numbers);
    for (size_t i = 0; !rc && i < count; i++) {
        samples[i].value = w.values[i];
    }
    work_free(&w);
    if (rc) {
        mem_free(samples);
        return rc;
    }
    *ret_samples = samples;
    *ret_count = count;
    return 0;
}

size_t chunk_minutes(const struct chunk_sample *samples, size_t count, struct store_point *points)
{
    size_t made = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t minute = samples[i].at_ms / MINUTE_MS * MINUTE_MS;
        double value = samples[i].value;
        struct store_point *p = made ? &points[made - 1] : NULL;
        if (!p || p->at_ms != minute) {
            p = &points[made++];
            *p = (struct store_point){.at_ms = minute, .min = value, .max = value};
        }
        p->min = value < p->min ? value : p->min;
        p->max = value > p->max ? value : p->max;
        p->last = value;
        p->count++;
        p->mean += (value - p->mean) / (double)p->count;
    }
    return made;
}

/* A place between two numbers as one of 256. */
static unsigned place_of(double value, double from, double spread)
{
    double place = nearbyint((value - from) / spread * PLACES);
    return place < 0 ? 0 : place > PLACES ? PLACES : (unsigned)place;
}

int chunk_write_minutes(struct buf *to, const struct store_point *points, size_t count)
{
    struct work w;
    work_init(&w, count, COLUMNS);
    bits_put(&w.out, VERSION_MINUTES, 8);
    bits_put(&w.out, count, 16);
    for (size_t i = 0; i < count; i++) {
        w.numbers[i] = (int64_t)(points[i].at_ms / MINUTE_MS);
    }
    put_whole(&w.out, w.numbers, count, 0);
    for (size_t i = 0; i < count; i++) {
        w.numbers[i] = (int64_t)points[i].count;
    }
    put_whole(&w.out, w.numbers, count, 0);
    for (size_t i = 0; i < count; i++) {
        w.values[i] = points[i].min;
    }
    put_column(&w.out, w.values, count, w.numbers);
    for (size_t i = 0; i < count; i++) {
        w.values[i] = chunk_round(points[i].max - points[i].min);
    }
    put_column(&w.out, w.values, count, w.numbers);
    for (size_t i = 0; i < count; i++) {
        if (w.values[i] > 0) {
            bits_put(&w.out, place_of(points[i].mean, points[i].min, w.values[i]), 8);
            bits_put(&w.out, place_of(points[i].last, points[i].min, w.values[i]), 8);
        }
    }
    int rc = work_append(&w, to);
    work_free(&w);
    return rc;
}

static int read_minutes(struct bits_in *in, struct work *w, struct store_point *points,
                        size_t count)
{
    int rc = read_times(in, w->numbers, count);
    for (size_t i = 0; !rc && i < count; i++) {
        points[i].at_ms = (uint64_t)w->numbers[i] * MINUTE_MS;
    }
    rc = rc ? rc : read_times(in, w->numbers, count);
    for (size_t i = 0; !rc && i < count; i++) {
        points[i].count = (uint64_t)w->numbers[i];
    }
    rc = rc ? rc : get_column(in, w->values, count, w->numbers);
    for (size_t i = 0; !rc && i < count; i++) {
        points[i].min = w->values[i];
    }
    rc = rc ? rc : get_column(in, w->values, count, w->numbers);
    for (size_t i = 0; !rc && i < count; i++) {
        struct store_point *p = &points[i];
        double spread = w->values[i];
        /* A sum of decimals has digits that neither had. */
        p->max = p->mean = p->last = chunk_round(p->min + spread);
        if (spread > 0) {
            p->mean = p->min + spread * (double)bits_get(in, 8) / PLACES;
            unsigned place = (unsigned)bits_get(in, 8);
            p->last = place == PLACES ? p->max : p->min + spread * place / PLACES;
        }
    }
    return in->bad ? -EBADMSG : rc;
}

int chunk_read_minutes(const void *bytes, size_t len, struct store_point **ret_points,
                       size_t *ret_count)
{
    struct bits_in in;
    size_t count;
    if (read_start(&in, bytes, len, VERSION_MINUTES, &count)) {
        return -EBADMSG;
    }
    struct work w;
    work_init(&w, count, 0);
    struct store_point *points = mem_array(count, sizeof *points);
    int rc = read_minutes(&in, &w, points, count);
    work_free(&w);
    if (rc) {
        mem_free(points);
        return rc;
    }
    *ret_points = points;
    *ret_count = count;
    return 0;
}
