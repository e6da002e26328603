/* promtext.h: reading Prometheus text 0.0.4, and OpenMetrics 1.0 as far as it is alike, as it comes.
 *
 * Nothing is fatal: what Prometheus would lose a scrape for costs its line here. Taken as it means it:
 * CRLF, a missing last newline, split families, second HELP and TYPE, unknown escapes (the character
 * itself), blanks inside braces. Left out and counted as `bad`: lines that are none, numbers that are none or
 * overflow, invalid UTF-8, lines longer than PROMTEXT_LINE_BYTES. Exemplars are skipped; behind "# EOF"
 * nothing is read. Of a sample that comes twice the receiver keeps the first. */
#ifndef WATCH_PROMTEXT_H
#define WATCH_PROMTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum {
    PROMTEXT_LINE_BYTES = 65536,
    PROMTEXT_NAME_BYTES = 256 /* of a family whose type is remembered */
};

enum promtext_type {
    PROMTEXT_UNTYPED,
    PROMTEXT_COUNTER, /* also the _total, _count, _sum and _bucket of what has those */
    PROMTEXT_GAUGE,
    PROMTEXT_BUCKET, /* of a histogram: has the label le */
    PROMTEXT_TYPES
};

struct promtext_sample { /* borrowed until return */
    const char *name;
    size_t name_len;
    const char *labels; /* between the braces, as it was written */
    size_t labels_len;
    double value;
    enum promtext_type type;
    bool has_time;
    int64_t time_ms; /* since 1970 */
};

typedef void promtext_sample_fn(void *arg, const struct promtext_sample *sample);

struct promtext {
    promtext_sample_fn *on_sample;
    void *arg;
    bool ended;    /* "# EOF" came */
    bool skipping; /* inside a line that is too long */
    uint64_t samples, bad;
    char family[PROMTEXT_NAME_BYTES]; /* of the last TYPE line */
    size_t family_len;
    int family_type;
    char *rest; /* of a line whose end has not come yet */
    size_t rest_len, rest_cap;
};

/* Begins a page. promtext_free afterwards. */
void promtext_init(struct promtext *p, promtext_sample_fn *on_sample, void *arg);
/* The next bytes; calls on_sample for each whole line of them. */
void promtext_feed(struct promtext *p, const char *bytes, size_t len);
/* No more will come: the last line may lack its newline. */
void promtext_end(struct promtext *p);
void promtext_free(struct promtext *p);

/* Appends labels as `a="b",c="d"`, without those named `without` (may be NULL), whose value goes to
 * *ret_value (may be NULL; untouched when it is not there; unescaped, at most `size` bytes with NUL).
 * -EINVAL: not labels, or one twice. -ENOBUFS. */
int promtext_labels(const char *labels, size_t len, const char *without, struct buf *to,
                    char *ret_value, size_t size);

#endif
