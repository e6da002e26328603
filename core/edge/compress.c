/* compress.c: which answers are coded, and what becomes of their heads; see compress.h. */
#include "edge/compress.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/http1.h"

enum {
    QUALITY_ONE = 1000 /* q=1 */
};

struct edge_compress {
    char **types; /* "text/html", or "text/" and "+json" for all that begin or end so */
    size_t type_count;
    uint64_t min;
    int level;
    bool brotli, secrets;
};

/* ---- what is configured ------------------------------------------------------------------ */

struct edge_compress *edge_compress_new(const struct cJSON *json)
{
    if (json_kind(json) != JSON_OBJECT) {
        return NULL;
    }
    struct edge_compress *c = mem_new(sizeof *c);
    const struct cJSON *types = json_get(json, "types");
    c->types = mem_array(json_count(types) + 1, sizeof *c->types);
    for (const struct cJSON *t = json_first(types); t; t = json_next(t)) {
        c->types[c->type_count++] = mem_copy(json_value_str(t, ""));
    }
    c->min = (uint64_t)json_num(json, "min", 1024);
    c->level = (int)json_num(json, "level", 5);
    c->brotli = json_bool(json, "brotli", true);
    c->secrets = json_bool(json, "secrets", false);
    return c;
}

void edge_compress_free(struct edge_compress *c)
{
    for (size_t i = 0; c && i < c->type_count; i++) {
        mem_free(c->types[i]);
    }
    if (c) {
        mem_free(c->types);
    }
    mem_free(c);
}

int edge_compress_level(const struct edge_compress *c)
{
    return c->level;
}

bool edge_compress_brotli(const struct edge_compress *c)
{
    return c->brotli;
}

/* ---- what a request wants ---------------------------------------------------------------- */

/* "0.35" -> 350; what is none -> 0. */
static unsigned quality_of(struct str s)
{
    unsigned value = 0, digit = QUALITY_ONE;
    if (!s.len || s.len > 5 || (s.len > 1 && s.ptr[1] != '.')) {
        return 0;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (i == 1) {
            continue;
        } else if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return 0;
        }
        value += (unsigned)(s.ptr[i] - '0') * digit;
        digit /= 10;
    }
    return value <= QUALITY_ONE ? value : 0;
}

/* Of "gzip;q=0.8": the name, and how much it is wanted. */
static struct str weigh(struct str item, unsigned *ret_quality)
{
    struct str name, parameter;
    *ret_quality = QUALITY_ONE;
    if (!str_next(&item, ';', &name)) {
        return (struct str){NULL, 0};
    }
    while (str_next(&item, ';', &parameter)) {
        parameter = str_trim(parameter);
        if (str_starts(parameter, "q=") || str_starts(parameter, "Q=")) {
            *ret_quality = quality_of(str_trim(str_sub(parameter, 2, parameter.len)));
        }
    }
    return str_trim(name);
}

static enum edge_coding wanted(const struct http1_head *request, bool brotli)
{
    int gzip = -1, br = -1, any = -1, identity = -1; /* -1: not named */
    for (uint32_t i = 0; i < request->field_count; i++) {
        struct str rest = request->fields[i].value, item;
        if (!str_is_nocase(request->fields[i].name, "Accept-Encoding")) {
            continue;
        }
        while (str_next(&rest, ',', &item)) {
            unsigned quality;
            struct str name = weigh(item, &quality);
            int *of = str_is_nocase(name, "gzip") || str_is_nocase(name, "x-gzip") ? &gzip
                      : str_is_nocase(name, "br")                                  ? &br
                      : str_is_nocase(name, "identity")                            ? &identity
                      : str_is(name, "*")                                          ? &any
                                                                                   : NULL;
            if (of) {
                *of = (int)quality;
            }
        }
    }
    gzip = gzip < 0 ? any : gzip;
    br = !brotli ? 0 : br < 0 ? any : br;
    int most = br >= gzip ? br : gzip;
    if (most <= 0 || most < identity) {
        return EDGE_IDENTITY;
    }
    return br >= gzip ? EDGE_BROTLI : EDGE_GZIP;
}

struct edge_asked edge_compress_ask(const struct edge_compress *c, const struct http1_head *request,
                                    bool secure, bool brotli)
{
    struct edge_asked asked = {.coding = EDGE_IDENTITY, .secure = secure};
    asked.secret =
        secure && (http1_find_name(request, "Cookie") || http1_find_name(request, "Authorization"));
    if (request->minor == 1 && request->method != HTTP1_HEAD) {
        asked.coding = wanted(request, brotli && c->brotli);
    }
    return asked;
}

/* ---- what an answer allows --------------------------------------------------------------- */

static bool type_listed(const struct edge_compress *c, struct str type)
{
    struct str bare;
    if (!str_next(&type, ';', &bare)) {
        return false;
    }
    bare = str_trim(bare);
    for (size_t i = 0; i < c->type_count; i++) {
        struct str known = str_of(c->types[i]);
        size_t len = known.len;
        bool family = len && known.ptr[len - 1] == '/', suffix = len && known.ptr[0] == '+';
        struct str part = family   ? str_sub(bare, 0, len)
                          : suffix ? str_sub(bare, bare.len > len ? bare.len - len : 0, bare.len)
                                   : bare;
        if (str_is_nocase(part, c->types[i])) {
            /* Events are sent one by one, and read as they come: only who names them means them. */
            return !family || !str_is_nocase(bare, "text/event-stream");
        }
    }
    return false;
}

/* Whether one of the items between commas is this one, in any case. */
static bool lists(struct str value, const char *word)
{
    struct str item;
    while (str_next(&value, ',', &item)) {
        if (str_is_nocase(str_trim(item), word)) {
            return true;
        }
    }
    return false;
}

/* Fields that say of these bytes what would not be true of coded ones. */
static bool forbids(const struct http1_field *f)
{
    static const char *const names[] = {"Content-Encoding", "Content-Range", "Content-MD5",
                                        "Digest", "Content-Digest"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (str_is_nocase(f->name, names[i])) {
            return true;
        }
    }
    return str_is_nocase(f->name, "Cache-Control") && lists(f->value, "no-transform");
}

/* Whether its bytes may be coded for a client that takes it; *ret_cookie: it sets one. */
static bool may(const struct edge_compress *c, const struct http1_head *answer, bool *ret_cookie)
{
    bool listed = false;
    if (answer->status < 200 || answer->status == 204 || answer->status == 205 ||
        answer->status == 206 || (answer->has_content_length && answer->content_length < c->min)) {
        return false;
    }
    for (uint32_t i = 0; i < answer->field_count; i++) {
        const struct http1_field *f = &answer->fields[i];
        if (forbids(f)) {
            return false;
        }
        listed = listed || (str_is_nocase(f->name, "Content-Type") && type_listed(c, f->value));
        *ret_cookie = *ret_cookie || str_is_nocase(f->name, "Set-Cookie");
    }
    return listed;
}

/* ---- heads ------------------------------------------------------------------------------- */

static bool add(struct http1_head *head, const char *name, const char *value)
{
    if (head->field_count == LIMIT_FIELDS) {
        return false;
    }
    head->fields[head->field_count++] =
        (struct http1_field){.name = str_of(name), .value = str_of(value)};
    return true;
}

static void add_vary(struct http1_head *answer)
{
    for (uint32_t i = 0; i < answer->field_count; i++) {
        const struct http1_field *f = &answer->fields[i];
        if (str_is_nocase(f->name, "Vary") &&
            (lists(f->value, "*") || lists(f->value, "Accept-Encoding"))) {
            return;
        }
    }
    (void)add(answer, "Vary", "Accept-Encoding");
}

/* The coded bytes are no longer those that a strong validator names, and have no ranges. */
static void weaken(struct http1_head *answer, char etag[EDGE_ETAG_BYTES])
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < answer->field_count; i++) {
        struct http1_field f = answer->fields[i];
        bool leave_out = str_is_nocase(f.name, "Accept-Ranges");
        if (str_is_nocase(f.name, "ETag") && !str_starts(f.value, "W/")) {
            leave_out = f.value.len + 2 > EDGE_ETAG_BYTES;
            if (!leave_out) {
                memcpy(etag, "W/", 2);
                memcpy(etag + 2, f.value.ptr, f.value.len);
                f.value = (struct str){etag, f.value.len + 2};
            }
        }
        if (!leave_out) {
            answer->fields[kept++] = f;
        }
    }
    answer->field_count = kept;
}

enum edge_coding edge_compress_head(const struct edge_compress *c, struct edge_asked asked,
                                    struct http1_head *answer, bool body,
                                    char etag[EDGE_ETAG_BYTES])
{
    bool cookie = false;
    if (!may(c, answer, &cookie) || (!c->secrets && (asked.secret || (asked.secure && cookie)))) {
        return EDGE_IDENTITY;
    }
    add_vary(answer);
    enum edge_coding coding = (enum edge_coding)asked.coding;
    if (coding == EDGE_IDENTITY || !body ||
        !add(answer, "Content-Encoding", coding == EDGE_BROTLI ? "br" : "gzip")) {
        return EDGE_IDENTITY;
    }
    answer->has_content_length = false;
    weaken(answer, etag);
    return coding;
}
