/* promtext_fuzz.c: libFuzzer target of the reader of Prometheus text (scripts/dev fuzz).
 *
 * The first byte chooses the size of pieces. Beside memory errors it checks that a page reads the same in
 * one piece and in pieces, that what is given lies inside a line, and that labels made regular stay as they are.
 * sources: core/watch/promtext.c core/base/buf.c core/base/mem.c core/base/str.c
 */
#include "watch/promtext.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sums {
    uint64_t samples, bytes, types, values;
};

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_labels(const struct promtext_sample *s)
{
    struct buf once, twice;
    char bound[16];
    buf_init(&once, 2 * PROMTEXT_LINE_BYTES);
    buf_init(&twice, 2 * PROMTEXT_LINE_BYTES);
    if (!promtext_labels(s->labels, s->labels_len, "le", &once, bound, sizeof bound)) {
        check(!promtext_labels(buf_str(&once), once.len, NULL, &twice, NULL, 0));
        check(once.len == twice.len && !memcmp(buf_str(&once), buf_str(&twice), once.len));
    }
    buf_free(&once);
    buf_free(&twice);
}

static void on_sample(void *arg, const struct promtext_sample *s)
{
    struct sums *sums = arg;
    uint64_t value;
    check(s->name_len > 0 && s->name_len + s->labels_len <= PROMTEXT_LINE_BYTES);
    check(!memchr(s->name, '\n', s->name_len) && !memchr(s->labels, '\n', s->labels_len));
    check(s->type < PROMTEXT_TYPES);
    memcpy(&value, &s->value, sizeof value);
    sums->samples++;
    sums->bytes += s->name_len * 3 + s->labels_len * 7;
    sums->types += s->type;
    sums->values += value ^ (s->has_time ? (uint64_t)s->time_ms : 0);
    check_labels(s);
}

static uint64_t read_page(const uint8_t *data, size_t size, size_t step, struct sums *sums)
{
    struct promtext p;
    promtext_init(&p, on_sample, sums);
    for (size_t at = 0; at < size; at += step) {
        promtext_feed(&p, (const char *)data + at, size - at < step ? size - at : step);
    }
    promtext_end(&p);
    check(p.samples == sums->samples);
    promtext_free(&p);
    return p.bad;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sums whole = {0}, pieces = {0};
    if (size < 2) {
        return 0;
    }
    size_t step = 1 + data[0];
    uint64_t bad = read_page(data + 1, size - 1, size, &whole);
    check(bad == read_page(data + 1, size - 1, step, &pieces));
    check(!memcmp(&whole, &pieces, sizeof whole));
    return 0;
}
