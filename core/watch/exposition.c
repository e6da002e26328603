/* exposition.c: see exposition.h. */
#include "watch/exposition.h"

#include <math.h>
#include <stddef.h>

#include "base/ban.h"
#include "base/buf.h"

static const char *const TYPES[EXPOSITION_TYPES] = {
    [EXPOSITION_COUNTER] = "counter",
    [EXPOSITION_GAUGE] = "gauge",
    [EXPOSITION_HISTOGRAM] = "histogram",
};

static void keep(struct exposition *x, int error)
{
    x->error = x->error ? x->error : error;
}

/* Bytes of the valid UTF-8 sequence at `s` (RFC 3629: no surrogates, no overlong forms), or 0. */
static size_t sequence(const unsigned char *s)
{
    if (s[0] < 0x80) {
        return 1;
    }
    size_t len = s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                 : (s[0] & 0xf0) == 0xe0     ? 3
                 : (s[0] & 0xf8) == 0xf0     ? 4
                                             : 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) || s[0] > 0xf4) {
        return 0;
    }
    return len;
}

void exposition_family(struct exposition *x, const char *name, enum exposition_type type,
                       const char *help)
{
    keep(x, buf_printf(x->to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, TYPES[type]));
}

void exposition_number(struct exposition *x, const char *name, const char *labels, double value)
{
    if (!isfinite(value)) {
        return;
    }
    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    keep(x, buf_printf(x->to, "%s%s%s%s %.15g\n", name, open, labels, close, value));
}

void exposition_count(struct exposition *x, const char *name, const char *labels, uint64_t value)
{
    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    keep(x, buf_printf(x->to, "%s%s%s%s %llu\n", name, open, labels, close,
                       (unsigned long long)value));
}

void exposition_label(struct buf *labels, const char *name, const char *value)
{
    (void)buf_printf(labels, "%s%s=\"", labels->len ? "," : "", name);
    size_t most = labels->len + EXPOSITION_VALUE_BYTES;
    for (const unsigned char *s = (const unsigned char *)value; *s && labels->len < most;) {
        size_t len = sequence(s);
        if (!len) {
            (void)buf_text(labels, "\xef\xbf\xbd"); /* U+FFFD stands for what is no UTF-8 */
        } else if (*s == '\n') {
            (void)buf_text(labels, "\\n");
        } else if (*s == '\\' || *s == '"') {
            (void)buf_printf(labels, "\\%c", *s);
        } else {
            (void)buf_append(labels, s, len);
        }
        s += len ? len : 1;
    }
    (void)buf_text(labels, "\"");
}
