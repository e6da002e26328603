/* promtext.c: see promtext.h. One pass over the bytes; a line is only copied when it comes in pieces. */
#include "watch/promtext.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    NUMBER_BYTES = 64 /* longer ones are none */
};

/* OpenMetrics writes seconds, the older text milliseconds: as such, less than this is before 1973. */
static const double SECONDS_BELOW = 1e11;

enum family_type {
    FAMILY_UNTYPED,
    FAMILY_COUNTER,
    FAMILY_GAUGE,
    FAMILY_HISTOGRAM,
    FAMILY_SUMMARY
};

/* ---- Characters ---------------------------------------------------------------------------- */

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && blank(*at)) {
        at++;
    }
    return at;
}

static bool name_char(unsigned char c)
{
    static const unsigned char is[256] = {
        ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['_'] = 1, [':'] = 1};
    return is[c];
}

/* End of a name that begins at `at`; `at` itself: there is none. */
static const char *name_end(const char *at, const char *end)
{
    if (at < end && *at >= '0' && *at <= '9') {
        return at;
    }
    while (at < end && name_char((unsigned char)*at)) {
        at++;
    }
    return at;
}

/* Behind the closing quote of a value whose first character is at `at`; NULL: it does not end. */
static const char *quoted_end(const char *at, const char *end)
{
    for (; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end;
    }
    return at < end ? at + 1 : NULL;
}

static bool is_ascii(const char *at, size_t len)
{
    uint64_t any = 0, word;
    for (; len >= sizeof word; len -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        any |= word;
    }
    for (; len; len--, at++) {
        any |= (unsigned char)*at;
    }
    return !(any & 0x8080808080808080u);
}

static bool is_utf8(const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;
    while (at < end) {
        unsigned more = *at < 0x80                  ? 0
                        : *at >= 0xc2 && *at < 0xe0 ? 1
                        : *at >= 0xe0 && *at < 0xf0 ? 2
                        : *at >= 0xf0 && *at < 0xf5 ? 3
                                                    : 4;
        if (more == 4 || (size_t)(end - at) <= more) {
            return false;
        }
        if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) ||
            (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f)) {
            return false; /* overlong, a surrogate, or beyond the last one */
        }
        for (unsigned i = 1; i <= more; i++) {
            if ((at[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        at += more + 1;
    }
    return true;
}

/* ---- Numbers ------------------------------------------------------------------------------- */

/* Digits with at most one point, few enough to be exact; false: another way is needed. */
static bool plain_number(const char *at, const char *end, double *ret)
{
    static const double tens[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool minus = at < end && *at == '-';
    at += minus;
    uint64_t digits = 0;
    unsigned count = 0, behind = 0;
    bool point = false;
    for (; at < end; at++) {
        if (*at >= '0' && *at <= '9') {
            digits = digits * 10 + (uint64_t)(*at - '0');
            count++;
            behind += point;
        } else if (*at == '.' && !point) {
            point = true;
        } else {
            return false;
        }
    }
    if (!count || count > 15) {
        return false;
    }
    double value = (double)digits / tens[behind];
    *ret = minus ? -value : value;
    return true;
}

static bool odd_number(const char *at, size_t len, double *ret)
{
    char text[NUMBER_BYTES], *rest;
    if (!len || len >= sizeof text) {
        return false;
    }
    memcpy(text, at, len);
    text[len] = '\0';
    errno = 0;
    double value = strtod(text, &rest); /* takes NaN, Inf and +Inf, too */
    if (*rest || (isinf(value) && errno == ERANGE)) {
        return false;
    }
    *ret = value;
    return true;
}

static bool number(const char *at, const char *end, double *ret)
{
    return plain_number(at, end, ret) || odd_number(at, (size_t)(end - at), ret);
}

/* ---- Lines --------------------------------------------------------------------------------- */

static const char *word_end(const char *at, const char *end)
{
    while (at < end && !blank(*at)) {
        at++;
    }
    return at;
}

static bool ends_with(const char *name, size_t len, const char *suffix)
{
    return str_ends((struct str){name, len}, suffix);
}

/* `len` bytes of it are the family, the rest is a suffix of that type. */
static enum promtext_type type_in_family(int family, const char *suffix, size_t len)
{
    struct str s = {suffix, len};
    bool series = str_is(s, "_count") || str_is(s, "_sum");
    switch (family) {
    case FAMILY_COUNTER:
        return !len || str_is(s, "_total") ? PROMTEXT_COUNTER : PROMTEXT_UNTYPED;
    case FAMILY_GAUGE:
        return len ? PROMTEXT_UNTYPED : PROMTEXT_GAUGE;
    case FAMILY_HISTOGRAM:
        return str_is(s, "_bucket") ? PROMTEXT_BUCKET
               : series             ? PROMTEXT_COUNTER
                                    : PROMTEXT_UNTYPED;
    case FAMILY_SUMMARY:
        return series ? PROMTEXT_COUNTER : PROMTEXT_GAUGE;
    default:
        return PROMTEXT_UNTYPED;
    }
}

static enum promtext_type type_of(const struct promtext *p, const char *name, size_t len)
{
    size_t family = p->family_len;
    if (family && len >= family && !memcmp(name, p->family, family) &&
        (len == family || name[family] == '_')) {
        enum promtext_type type = type_in_family(p->family_type, name + family, len - family);
        if (type != PROMTEXT_UNTYPED) {
            return type;
        }
    }
    return ends_with(name, len, "_bucket")  ? PROMTEXT_BUCKET
           : ends_with(name, len, "_total") ? PROMTEXT_COUNTER
                                            : PROMTEXT_UNTYPED;
}

static void type_line(struct promtext *p, const char *at, const char *end)
{
    static const char *const names[] = {"untyped", "counter", "gauge", "histogram", "summary"};
    const char *name = skip_blanks(at, end), *stop = word_end(name, end);
    const char *type = skip_blanks(stop, end), *type_stop = word_end(type, end);
    p->family_len = 0;
    if ((size_t)(stop - name) >= sizeof p->family) {
        return;
    }
    memcpy(p->family, name, (size_t)(stop - name));
    p->family_len = (size_t)(stop - name);
    p->family_type = FAMILY_UNTYPED;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        if (str_is((struct str){type, (size_t)(type_stop - type)}, names[i])) {
            p->family_type = i;
        }
    }
}

static void comment(struct promtext *p, const char *at, const char *end)
{
    const char *word = skip_blanks(at + 1, end), *stop = word_end(word, end);
    struct str s = {word, (size_t)(stop - word)};
    if (str_is(s, "TYPE")) {
        type_line(p, stop, end);
    } else if (str_is(s, "EOF")) {
        p->ended = true;
    }
}

/* End of the labels that begin behind the brace; NULL: the brace is not closed. */
static const char *labels_end(const char *at, const char *end)
{
    while (at && at < end && *at != '}') {
        at = *at == '"' ? quoted_end(at + 1, end) : at + 1;
    }
    return at && at < end ? at : NULL;
}

static bool time_of(const char *at, const char *end, struct promtext_sample *s)
{
    double time;
    if (!number(at, end, &time)) {
        return false;
    }
    time *= fabs(time) < SECONDS_BELOW ? 1000 : 1;
    if (!(fabs(time) < 1e17)) { /* also what is not a number */
        return false;
    }
    s->has_time = true;
    s->time_ms = (int64_t)time;
    return true;
}

/* NAME [{LABELS}] VALUE [TIME] [# EXEMPLAR] */
static bool sample(struct promtext *p, const char *at, const char *end)
{
    struct promtext_sample s = {.name = at, .labels = ""};
    const char *stop = name_end(at, end);
    s.name_len = (size_t)(stop - at);
    at = skip_blanks(stop, end);
    if (!s.name_len) {
        return false;
    }
    if (at < end && *at == '{') {
        s.labels = at + 1;
        stop = labels_end(at + 1, end);
        if (!stop) {
            return false;
        }
        s.labels_len = (size_t)(stop - s.labels);
        at = skip_blanks(stop + 1, end);
    }
    stop = word_end(at, end);
    if (!number(at, stop, &s.value)) {
        return false;
    }
    at = skip_blanks(stop, end);
    if (at < end && *at != '#') {
        stop = word_end(at, end);
        if (!time_of(at, stop, &s)) {
            return false;
        }
        at = skip_blanks(stop, end);
    }
    if (at < end && *at != '#') {
        return false;
    }
    s.type = type_of(p, s.name, s.name_len);
    p->samples++;
    p->on_sample(p->arg, &s);
    return true;
}

static void line(struct promtext *p, const char *at, size_t len)
{
    const char *end = at + len;
    end -= len && end[-1] == '\r';
    at = skip_blanks(at, end);
    if (at == end || p->ended) {
        return;
    }
    if (*at == '#') {
        comment(p, at, end);
    } else if (!is_ascii(at, (size_t)(end - at)) && !is_utf8(at, (size_t)(end - at))) {
        p->bad++;
    } else if (!sample(p, at, end)) {
        p->bad++;
    }
}

/* ---- The page ------------------------------------------------------------------------------ */

void promtext_init(struct promtext *p, promtext_sample_fn *on_sample, void *arg)
{
    *p = (struct promtext){.on_sample = on_sample, .arg = arg};
}

/* Keeps the beginning of a line; one that is too long is dropped up to its end. */
static void keep(struct promtext *p, const char *bytes, size_t len)
{
    if (p->skipping) {
        return;
    }
    if (p->rest_len + len > PROMTEXT_LINE_BYTES) {
        p->skipping = true;
        p->rest_len = 0;
        p->bad++;
        return;
    }
    if (p->rest_len + len > p->rest_cap) {
        p->rest_cap = (p->rest_len + len) * 2;
        p->rest = mem_resize(p->rest, p->rest_cap);
    }
    if (len) {
        memcpy(p->rest + p->rest_len, bytes, len);
        p->rest_len += len;
    }
}

static void finish_rest(struct promtext *p)
{
    if (p->rest_len) {
        line(p, p->rest, p->rest_len);
    }
    p->rest_len = 0;
    p->skipping = false;
}

void promtext_feed(struct promtext *p, const char *bytes, size_t len)
{
    const char *end = bytes + len;
    while (bytes < end) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        if (!newline) {
            keep(p, bytes, (size_t)(end - bytes));
            return;
        }
        size_t piece = (size_t)(newline - bytes);
        if (p->rest_len || p->skipping) {
            keep(p, bytes, piece);
            finish_rest(p);
        } else if (piece > PROMTEXT_LINE_BYTES) {
            p->bad++;
        } else {
            line(p, bytes, piece);
        }
        bytes = newline + 1;
    }
}

void promtext_end(struct promtext *p)
{
    finish_rest(p);
}

void promtext_free(struct promtext *p)
{
    mem_release(&p->rest);
    p->rest_len = p->rest_cap = 0;
}

/* ---- Labels -------------------------------------------------------------------------------- */

static bool has_label(const struct buf *to, size_t from, const char *name, size_t len)
{
    const char *at = buf_str(to) + from, *end = buf_str(to) + to->len;
    while (at < end) {
        const char *stop = name_end(at, end);
        if ((size_t)(stop - at) == len && !memcmp(at, name, len)) {
            return true;
        }
        at = quoted_end(stop + 2, end); /* ours: always =" */
        at += at < end;                 /* the comma */
    }
    return false;
}

static void unescape(const char *at, const char *end, char *to, size_t size)
{
    size_t len = 0;
    for (; at < end && len + 1 < size; at++) {
        if (*at == '\\' && at + 1 < end) {
            at++;
            to[len++] = *at == 'n' ? '\n' : *at;
        } else {
            to[len++] = *at;
        }
    }
    to[len] = '\0';
}

/* Appends a value, its escapes made regular. */
static int append_value(struct buf *to, const char *at, const char *end)
{
    int rc = buf_text(to, "\"");
    for (; !rc && at < end; at++) {
        if (*at == '\\') {
            at++;
            bool known = *at == '\\' || *at == '"' || *at == 'n';
            rc = known ? buf_append(to, at - 1, 2) : buf_append(to, at, 1);
        } else {
            rc = buf_append(to, at, 1);
        }
    }
    return rc ? rc : buf_text(to, "\"");
}

int promtext_labels(const char *labels, size_t len, const char *without, struct buf *to,
                    char *ret_value, size_t size)
{
    const char *at = labels, *end = labels + len;
    size_t from = to->len;
    int rc = 0;
    for (at = skip_blanks(at, end); !rc && at < end; at = skip_blanks(at, end)) {
        const char *name = at, *stop = name_end(at, end);
        size_t name_len = (size_t)(stop - name);
        at = skip_blanks(stop, end);
        if (!name_len || at >= end || *at != '=') {
            return -EINVAL;
        }
        at = skip_blanks(at + 1, end);
        const char *value = at + 1, *behind;
        if (at >= end || *at != '"' || !(behind = quoted_end(value, end))) {
            return -EINVAL;
        }
        if (without && str_is((struct str){name, name_len}, without)) {
            if (ret_value) {
                unescape(value, behind - 1, ret_value, size);
            }
        } else if (has_label(to, from, name, name_len)) {
            return -EINVAL;
        } else {
            rc = to->len > from ? buf_text(to, ",") : 0;
            rc = rc ? rc : buf_append(to, name, name_len);
            rc = rc ? rc : buf_text(to, "=");
            rc = rc ? rc : append_value(to, value, behind - 1);
        }
        at = skip_blanks(behind, end);
        if (at < end && *at != ',') {
            return -EINVAL;
        }
        at += at < end;
    }
    return rc;
}
