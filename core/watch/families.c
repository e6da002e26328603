/* families.c: see families.h.
 *
 * Invariants: a series is in its family's list and in its index, whose cells hold places in the list + 1.
 * Series leave only while their family is rendered, when no writer is at work; the index is made anew
 * then. A histogram is one series, its figures stand behind its text. */
#include "watch/families.h"

#include <math.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

/* What is told in a pass, what was told in the one before, and what is shown beside that. */
struct figure {
    double now, before, kept;
};

struct series {
    uint64_t hash, seen_ms;
    uint32_t pass;
    uint32_t len; /* of the text, which stands behind the figures */
    struct figure figures[];
};

struct value {
    uint64_t hash, seen_ms;
};

struct members {
    struct series **list;
    uint32_t *index;
    uint32_t count, list_size, cells; /* cells: a power of two */
    uint64_t dropped;
    struct value *values[FAMILY_LABELS];
    uint32_t value_count[FAMILY_LABELS];
};

struct families {
    uint32_t most_series, most_values, pass;
    uint64_t now_ms;
    struct members members[FAMILIES];
};

static const struct labels NO_LABELS;

struct families *families_new(uint32_t most_series, uint32_t most_values)
{
    struct families *f = mem_new(sizeof *f);
    f->most_series = most_series;
    f->most_values = most_values;
    return f;
}

void families_free(struct families *f)
{
    for (unsigned i = 0; f && i < FAMILIES; i++) {
        struct members *m = &f->members[i];
        for (uint32_t s = 0; s < m->count; s++) {
            mem_free(m->list[s]);
        }
        for (unsigned label = 0; label < FAMILY_LABELS; label++) {
            mem_free(m->values[label]);
        }
        mem_free(m->list);
        mem_free(m->index);
    }
    mem_free(f);
}

void families_limit(struct families *f, uint32_t most_series, uint32_t most_values)
{
    for (unsigned i = 0; i < FAMILIES && most_values != f->most_values; i++) {
        for (unsigned label = 0; label < FAMILY_LABELS; label++) {
            struct members *m = &f->members[i];
            mem_free(m->values[label]); /* those that are told of again are let through first */
            m->values[label] = NULL;
            m->value_count[label] = 0;
        }
    }
    f->most_series = most_series;
    f->most_values = most_values;
}

void families_begin(struct families *f, uint64_t now_ms)
{
    f->pass++;
    f->now_ms = now_ms;
}

/* ---- Series ------------------------------------------------------------------------------ */

/* A scalar has one figure; a histogram one for each bucket, and the sum behind them. */
static unsigned figures_of(enum family family)
{
    bool many = family_kind(family)->type == FAMILY_HISTOGRAM;
    return many ? family_bounds(family) + 2 : 1;
}

static char *text_of(const struct series *s, unsigned figures)
{
    return (char *)(uintptr_t)&s->figures[figures];
}

static void index_series(struct members *m, uint32_t at)
{
    uint32_t cell = (uint32_t)m->list[at]->hash & (m->cells - 1);
    while (m->index[cell]) {
        cell = (cell + 1) & (m->cells - 1);
    }
    m->index[cell] = at + 1;
}

static void index_all(struct members *m)
{
    mem_free(m->index);
    m->cells = 16;
    while (m->cells < m->list_size * 2) {
        m->cells *= 2;
    }
    m->index = mem_array(m->cells, sizeof *m->index);
    for (uint32_t i = 0; i < m->count; i++) {
        index_series(m, i);
    }
}

static struct series *find(const struct members *m, uint64_t hash, const struct labels *labels,
                           unsigned figures)
{
    for (uint32_t cell = (uint32_t)hash & (m->cells - 1); m->cells && m->index[cell];
         cell = (cell + 1) & (m->cells - 1)) {
        struct series *s = m->list[m->index[cell] - 1];
        if (s->hash == hash && s->len == labels->len &&
            !memcmp(text_of(s, figures), labels->text, s->len)) {
            return s;
        }
    }
    return NULL;
}

static struct series *make(struct members *m, uint64_t hash, const struct labels *labels,
                           unsigned figures)
{
    struct series *s = mem_new(sizeof *s + figures * sizeof *s->figures + labels->len);
    s->hash = hash;
    s->len = labels->len;
    memcpy(text_of(s, figures), labels->text, labels->len);
    bool grows = m->count == m->list_size;
    if (grows) {
        m->list_size = m->list_size ? m->list_size * 2 : 8;
        m->list = mem_resize(m->list, m->list_size * sizeof *m->list);
    }
    m->list[m->count++] = s;
    if (grows) {
        index_all(m);
    } else {
        index_series(m, m->count - 1);
    }
    return s;
}

static uint64_t hash_of(const struct labels *labels)
{
    uint64_t hash = labels->len, word;
    size_t at = 0;
    for (; at + sizeof word <= labels->len; at += sizeof word) {
        memcpy(&word, labels->text + at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, labels->text + at, labels->len - at);
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static void other_labels(enum family family, struct labels *to)
{
    const char *names = family_kind(family)->labels;
    while (*names) {
        char name[64]; /* longer than any name of the catalog */
        size_t len = strcspn(names, ",");
        must(len < sizeof name);
        memcpy(name, names, len);
        name[len] = '\0';
        labels_add(to, name, "other");
        names += len + (names[len] == ',');
    }
}

/* What counts does not fall, whatever became of its parts. */
static void settle(enum family family, struct series *s, unsigned figures)
{
    for (unsigned i = 0; family_kind(family)->type != FAMILY_GAUGE && i < figures; i++) {
        struct figure *figure = &s->figures[i];
        if (figure->now < figure->before) {
            figure->kept += figure->before - figure->now;
        }
        figure->before = figure->now;
    }
}

/* The series that this is counted in, with its figures of this pass begun; NULL: in none. */
static struct series *series_of(struct families *f, enum family family, const struct labels *labels,
                                unsigned figures)
{
    struct members *m = &f->members[family];
    const struct labels *own = labels ? labels : &NO_LABELS;
    uint64_t hash = hash_of(own);
    struct series *s = find(m, hash, own, figures);
    if (!s && m->count < f->most_series) {
        s = make(m, hash, own, figures);
    } else if (!s) {
        m->dropped++;
        if (family_kind(family)->lone) {
            return NULL;
        }
        struct labels other;
        labels_begin(&other);
        other_labels(family, &other);
        hash = hash_of(&other);
        s = find(m, hash, &other, figures);
        s = s ? s : make(m, hash, &other, figures);
    }
    if (s->pass != f->pass) {
        s->pass = f->pass;
        s->seen_ms = f->now_ms;
        settle(family, s, figures); /* the page of the pass before may have broken off */
        for (unsigned i = 0; i < figures; i++) {
            s->figures[i].now = 0;
        }
    }
    return s;
}

void families_add(struct families *f, enum family family, const struct labels *labels, double value)
{
    struct series *s = isfinite(value) ? series_of(f, family, labels, 1) : NULL;
    if (s) {
        s->figures[0].now += value;
    }
}

void families_histogram(struct families *f, enum family family, const struct labels *labels,
                        const uint64_t *counts, double sum)
{
    unsigned figures = figures_of(family);
    struct series *s = series_of(f, family, labels, figures);
    for (unsigned i = 0; s && i + 1 < figures; i++) {
        s->figures[i].now += (double)counts[i];
    }
    if (s && isfinite(sum)) {
        s->figures[figures - 1].now += sum;
    }
}

/* ---- Values of a label ------------------------------------------------------------------- */

static bool makes_room(struct families *f, struct members *m, unsigned label)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < m->value_count[label]; i++) {
        if (f->now_ms - m->values[label][i].seen_ms < FAMILIES_KEEP_MS) {
            m->values[label][left++] = m->values[label][i];
        }
    }
    m->value_count[label] = left;
    return left < f->most_values;
}

const char *families_value(struct families *f, enum family family, unsigned label,
                           const char *value)
{
    must(label < FAMILY_LABELS);
    struct members *m = &f->members[family];
    uint64_t hash = hash_bytes(value, strnlen(value, LABELS_VALUE_BYTES));
    for (uint32_t i = 0; i < m->value_count[label]; i++) {
        if (m->values[label][i].hash == hash) {
            m->values[label][i].seen_ms = f->now_ms;
            return value;
        }
    }
    if (m->value_count[label] >= f->most_values && !makes_room(f, m, label)) {
        m->dropped++;
        return "other";
    }
    if (!m->values[label]) {
        m->values[label] = mem_array(f->most_values, sizeof *m->values[label]);
    }
    m->values[label][m->value_count[label]++] = (struct value){hash, f->now_ms};
    return value;
}

/* ---- The page ---------------------------------------------------------------------------- */

/* A line in the making, over the bytes that a buffer has room for. */
struct line {
    struct buf *to;
    int error;
};

static void put(struct line *line, const char *bytes, size_t len)
{
    line->error = line->error ? line->error : buf_append(line->to, bytes, len);
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Text of OpenMetrics names a family of counters without the suffix that its samples have. */
static size_t name_len(const struct family_kind *kind, enum families_format format)
{
    static const char SUFFIX[] = "_total";
    size_t len = strlen(kind->name), suffix = sizeof SUFFIX - 1;
    return format == FAMILIES_OPENMETRICS && kind->type == FAMILY_COUNTER ? len - suffix : len;
}

static void put_head(struct line *line, const struct family_kind *kind, enum families_format format)
{
    size_t len = name_len(kind, format);
    put_text(line, "# HELP ");
    put(line, kind->name, len);
    put_text(line, " ");
    put_text(line, kind->help);
    put_text(line, "\n# TYPE ");
    put(line, kind->name, len);
    put_text(line, " ");
    put_text(line, family_type_name(kind->type));
    put_text(line, "\n");
}

/* `le` NULL: no such label. */
static void put_sample(struct line *line, const struct family_kind *kind, const char *suffix,
                       const struct series *s, const char *text, const char *le, double value)
{
    char number[EXPOSITION_NUMBER_BYTES];
    put_text(line, kind->name);
    put_text(line, suffix);
    if (s->len || le) {
        put(line, "{", 1);
        put(line, text, s->len);
        if (le) {
            put_text(line, s->len ? ",le=\"" : "le=\"");
            put_text(line, le);
            put(line, "\"", 1);
        }
        put(line, "}", 1);
    }
    put(line, " ", 1);
    put(line, number, exposition_number(number, value));
    put(line, "\n", 1);
}

static void put_histogram(struct line *line, const struct family_kind *kind, const struct series *s,
                          const char *text, unsigned figures)
{
    double total = 0;
    for (unsigned i = 0; i + 1 < figures; i++) {
        const char *le = kind->bounds[i].text;
        total += s->figures[i].now + s->figures[i].kept;
        put_sample(line, kind, "_bucket", s, text, le ? le : "+Inf", total);
    }
    const struct figure *sum = &s->figures[figures - 1];
    put_sample(line, kind, "_count", s, text, NULL, total);
    put_sample(line, kind, "_sum", s, text, NULL, sum->now + sum->kept);
}

/* Whether it is on the page of this pass. */
static bool shown(const struct families *f, const struct family_kind *kind, const struct series *s)
{
    if (s->pass == f->pass) {
        return true;
    }
    return kind->type != FAMILY_GAUGE && f->now_ms - s->seen_ms < FAMILIES_KEEP_MS;
}

static void put_series(struct families *f, struct line *line, enum family family, struct series *s)
{
    const struct family_kind *kind = family_kind(family);
    unsigned figures = figures_of(family);
    if (!shown(f, kind, s)) {
        return;
    }
    if (s->pass == f->pass) {
        settle(family, s, figures);
    }
    const char *text = text_of(s, figures);
    if (kind->type == FAMILY_HISTOGRAM) {
        put_histogram(line, kind, s, text, figures);
    } else {
        put_sample(line, kind, "", s, text, NULL, s->figures[0].now + s->figures[0].kept);
    }
}

/* Lets those go that were not shown. */
static void sweep(struct families *f, enum family family)
{
    struct members *m = &f->members[family];
    uint32_t left = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (shown(f, family_kind(family), m->list[i])) {
            m->list[left++] = m->list[i];
        } else {
            mem_free(m->list[i]);
        }
    }
    if (left < m->count) {
        m->count = left;
        index_all(m);
    }
}

int families_render(struct families *f, enum families_format format, struct families_place *place,
                    size_t bytes, struct buf *to)
{
    struct line line = {.to = to};
    size_t until = to->len + bytes;
    while (!line.error && !place->done && to->len < until) {
        if (place->family == FAMILIES) {
            put_text(&line, format == FAMILIES_OPENMETRICS ? "# EOF\n" : "");
            place->done = true;
            break;
        }
        enum family family = (enum family)place->family;
        if (!place->begun) {
            place->begun = true;
            put_head(&line, family_kind(family), format);
        } else if (place->series < f->members[family].count) {
            put_series(f, &line, family, f->members[family].list[place->series++]);
        } else {
            sweep(f, family);
            place->family++;
            place->series = 0;
            place->begun = false;
        }
    }
    return line.error;
}

void families_own(struct families *f)
{
    for (unsigned i = 0; i < FAMILIES; i++) {
        struct labels labels;
        labels_begin(&labels);
        labels_add(&labels, "family", family_kind((enum family)i)->name);
        families_add(f, FAMILY_METRICS_SERIES, &labels, f->members[i].count);
        if (f->members[i].dropped) {
            families_add(f, FAMILY_METRICS_DROPPED, &labels, (double)f->members[i].dropped);
        }
    }
}

void families_size(const struct families *f, struct families_size *ret_size)
{
    struct families_size size = {.bytes = sizeof *f};
    for (unsigned i = 0; i < FAMILIES; i++) {
        const struct members *m = &f->members[i];
        unsigned figures = figures_of((enum family)i);
        size.series += m->count;
        size.bytes += m->list_size * sizeof *m->list + m->cells * sizeof *m->index;
        for (uint32_t s = 0; s < m->count; s++) {
            size.bytes += sizeof *m->list[s] + figures * sizeof *m->list[s]->figures +
                          m->list[s]->len + 16; /* the allocator's own */
        }
        for (unsigned label = 0; label < FAMILY_LABELS; label++) {
            size.bytes += m->values[label] ? f->most_values * sizeof *m->values[label] : 0;
        }
    }
    *ret_size = size;
}
