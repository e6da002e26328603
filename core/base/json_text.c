/* json_text.c: JSON as compact text. cJSON's own writer prints and reads back every number with the C library, which
 * was most of the time that rosters, snapshots and status took; the text is the same. */
#include "base/json.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"

static void put(struct buf *to, const char *bytes, size_t len)
{
    (void)buf_append(to, bytes, len); /* without a limit it takes all */
}

static void put_integer(struct buf *to, int64_t n)
{
    char digits[24]; /* 19 digits and a sign */
    char *at = digits + sizeof digits;
    uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (n < 0) {
        *--at = '-';
    }
    put(to, at, (size_t)(digits + sizeof digits - at));
}

/* In 15 digits when they are enough, else in 17. */
static void put_number(struct buf *to, double d)
{
    if (!isfinite(d)) {
        put(to, "null", 4);
        return;
    }
    if (fabs(d) < 1e15 && d == floor(d) && !(d == 0 && signbit(d))) {
        put_integer(to, (int64_t)d);
        return;
    }
    char text[32]; /* %.17g needs 24 */
    int len = snprintf(text, sizeof text, "%.15g", d);
    double back = strtod(text, NULL);
    if (fabs(back - d) > fmax(fabs(back), fabs(d)) * DBL_EPSILON) {
        len = snprintf(text, sizeof text, "%.17g", d);
    }
    put(to, text, (size_t)len);
}

static void put_escaped(struct buf *to, unsigned char c)
{
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof names; i += 2) {
        if (c == (unsigned char)names[i]) {
            const char pair[2] = {'\\', names[i + 1]};
            put(to, pair, sizeof pair);
            return;
        }
    }
    char code[8]; /* \u00XX */
    put(to, code, (size_t)snprintf(code, sizeof code, "\\u%04x", c));
}

static void put_string(struct buf *to, const char *text)
{
    put(to, "\"", 1);
    const char *from = text ? text : "";
    for (const char *at = from;; at++) {
        unsigned char c = (unsigned char)*at;
        if (c >= 32 && c != '"' && c != '\\') {
            continue;
        }
        put(to, from, (size_t)(at - from));
        if (!c) {
            break;
        }
        put_escaped(to, c);
        from = at + 1;
    }
    put(to, "\"", 1);
}

static void put_value(struct buf *to, const struct cJSON *value)
{
    bool object = cJSON_IsObject(value);
    if (cJSON_IsString(value)) {
        put_string(to, value->valuestring);
    } else if (cJSON_IsNumber(value)) {
        put_number(to, value->valuedouble);
    } else if (cJSON_IsBool(value)) {
        cJSON_IsTrue(value) ? put(to, "true", 4) : put(to, "false", 5);
    } else if (object || cJSON_IsArray(value)) {
        put(to, object ? "{" : "[", 1);
        for (const struct cJSON *item = value->child; item; item = item->next) {
            if (item != value->child) {
                put(to, ",", 1);
            }
            if (object) {
                put_string(to, item->string);
                put(to, ":", 1);
            }
            put_value(to, item);
        }
        put(to, object ? "}" : "]", 1);
    } else {
        put(to, "null", 4);
    }
}

char *json_text(const struct cJSON *value)
{
    struct buf text;
    buf_init(&text, SIZE_MAX / 4);
    put_value(&text, value);
    return buf_take(&text);
}
