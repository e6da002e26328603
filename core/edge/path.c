/* path.c: the path that a backend gets in place of the client's.
 *
 * Patterns have no regular expressions: text stands for itself, {name} for one segment or a part of it,
 * and for all that is left when it ends the pattern. What is looked at is the path as it came, with its
 * escapes. A path that climbs, by a segment ".." in any spelling that a server may take for one, is
 * refused: behind another prefix it would lead where the route was never meant to. */
#include "edge/edge.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    CAPTURES = 8,
    PIECES = 2 * CAPTURES + 1
};

struct piece {
    struct str text; /* of the pattern, or of a name: what stands between its braces */
    bool capture;
};

struct rule {
    char *from;
    struct edge_template *to;
    struct piece pieces[PIECES];
    uint32_t count;
};

struct edge_path {
    char *strip, *add; /* "" = none; neither ends with a slash */
    struct rule *rules;
    uint32_t rule_count;
};

/* ---- climbing ---------------------------------------------------------------------------- */

static int hex(char c)
{
    char low = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* The next byte, its escape undone. */
static char next_byte(struct str path, size_t *at)
{
    char c = path.ptr[(*at)++];
    if (c == '%' && path.len - *at >= 2 && hex(path.ptr[*at]) >= 0 && hex(path.ptr[*at + 1]) >= 0) {
        c = (char)(hex(path.ptr[*at]) << 4 | hex(path.ptr[*at + 1]));
        *at += 2;
    }
    return c;
}

bool edge_path_climbs(struct str path)
{
    unsigned dots = 0;
    bool other = false, ended = false; /* ended: parameters of the segment follow */
    size_t at = 0;
    while (at < path.len) {
        char c = next_byte(path, &at);
        if (c == '/' || c == '\\') {
            if (dots == 2 && !other) {
                return true;
            }
            dots = 0;
            other = ended = false;
        } else if (c == ';' || c == '\0') {
            ended = true;
        } else if (!ended) {
            dots += c == '.';
            other = other || c != '.';
        }
    }
    return dots == 2 && !other;
}

/* ---- patterns ---------------------------------------------------------------------------- */

static int read_rule(const struct cJSON *json, struct rule *rule)
{
    char *names[CAPTURES + 1] = {NULL};
    uint32_t captures = 0;
    int rc = 0;
    rule->from = mem_copy(json_str(json, "from", ""));
    struct str rest = str_of(rule->from);
    while (!rc && rest.len) {
        bool capture = rest.ptr[0] == '{';
        ptrdiff_t end = str_find(rest, capture ? '}' : '{');
        size_t len = end < 0 ? rest.len : (size_t)end;
        if (rule->count == PIECES || (capture && (end < 2 || captures == CAPTURES))) {
            rc = -EINVAL;
            break;
        }
        struct piece *piece = &rule->pieces[rule->count++];
        piece->capture = capture;
        piece->text = str_sub(rest, capture, len);
        if (capture) {
            names[captures++] = mem_copy_bytes(piece->text.ptr, piece->text.len);
        }
        rest = str_sub(rest, len + capture, rest.len);
    }
    rule->to = edge_template_new(json_str(json, "to", ""), (const char *const *)names);
    for (uint32_t i = 0; i < captures; i++) {
        mem_free(names[i]);
    }
    return rule->from[0] == '/' && json_str(json, "to", "")[0] == '/' ? rc : -EINVAL;
}

static bool starts(struct str s, struct str with)
{
    return s.len >= with.len && !memcmp(s.ptr, with.ptr, with.len);
}

/* How many bytes a capture takes when `after` follows it (empty: nothing does); 0: it does not fit. */
static size_t capture_len(struct str rest, struct str after, bool ends)
{
    if (ends && after.len) {
        size_t len = rest.len > after.len ? rest.len - after.len : 0;
        bool fits = starts(str_sub(rest, len, rest.len), after);
        return fits && str_find(str_sub(rest, 0, len), '/') < 0 ? len : 0;
    }
    for (size_t len = 1; len < rest.len && rest.ptr[len - 1] != '/'; len++) {
        if (starts(str_sub(rest, len, rest.len), after)) {
            return len;
        }
    }
    return 0;
}

static bool match(const struct rule *rule, struct str path, struct str *values)
{
    uint32_t captures = 0;
    for (uint32_t i = 0; i < rule->count; i++) {
        const struct piece *piece = &rule->pieces[i];
        size_t len = piece->text.len;
        if (!piece->capture) {
            if (!starts(path, piece->text)) {
                return false;
            }
        } else if (i + 1 == rule->count) {
            len = path.len;
            values[captures++] = path;
        } else {
            len = capture_len(path, rule->pieces[i + 1].text, i + 2 == rule->count);
            values[captures++] = str_sub(path, 0, len);
            if (!len) {
                return false;
            }
        }
        path = str_sub(path, len, path.len);
    }
    return !path.len;
}

/* ---- a path ------------------------------------------------------------------------------ */

/* Whole segments only: "/api" of "/api" and "/api/x", not of "/apix". */
static bool has_prefix(struct str path, struct str prefix)
{
    return prefix.len && starts(path, prefix) &&
           (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

/* Puts a path that begins with one slash, whatever `rest` begins with. */
static void put_rooted(struct edge_out *out, struct str rest)
{
    while (rest.len && (rest.ptr[0] == '/' || rest.ptr[0] == '\\')) {
        rest = str_sub(rest, 1, rest.len);
    }
    edge_put_text(out, "/");
    edge_put(out, rest);
}

int edge_path_apply(const struct edge_path *p, struct str path, struct edge_out *out,
                    struct str *ret_path, struct str *ret_prefix)
{
    struct str values[CAPTURES], prefix = str_of(p->strip), rest = path;
    size_t from = out->len;
    bool changed = p->add[0] != '\0';
    if (str_is(path, "*")) {
        return 0;
    }
    if (edge_path_climbs(path)) {
        return -EINVAL;
    }
    bool stripped = has_prefix(path, prefix);
    if (stripped) {
        rest = str_sub(path, prefix.len, path.len);
    }
    for (uint32_t i = 0; i < p->rule_count; i++) {
        if (match(&p->rules[i], path, values)) {
            edge_template_put(p->rules[i].to, values, out);
            rest = edge_put_since(out, from);
            changed = true;
            break;
        }
    }
    if (!stripped && !changed) {
        return 0;
    }
    from = out->len;
    edge_put_text(out, p->add);
    put_rooted(out, rest);
    if (out->full) {
        return -ENOBUFS;
    }
    if (edge_path_climbs(edge_put_since(out, from))) { /* by what a pattern left between two dots */
        return -EINVAL;
    }
    *ret_path = edge_put_since(out, from);
    *ret_prefix = stripped ? prefix : (struct str){NULL, 0};
    return 1;
}

int edge_path_new(const struct cJSON *json, struct edge_path **ret_path, char **reterr)
{
    const struct cJSON *rules = json_get(json, "rules");
    struct edge_path *p = mem_new(sizeof *p);
    int rc = 0;
    p->strip = mem_copy(json_str(json, "strip", ""));
    p->add = mem_copy(json_str(json, "add", ""));
    p->rules = mem_array(json_count(rules) + 1, sizeof *p->rules);
    for (const struct cJSON *at = json_first(rules); !rc && at; at = json_next(at)) {
        rc = read_rule(at, &p->rules[p->rule_count++]);
    }
    if (rc) {
        *reterr = mem_printf("rewrite: no pattern: %s", p->rules[p->rule_count - 1].from);
        edge_path_free(p);
        return rc;
    }
    *ret_path = p;
    return 0;
}

void edge_path_free(struct edge_path *p)
{
    if (!p) {
        return;
    }
    for (uint32_t i = 0; i < p->rule_count; i++) {
        mem_free(p->rules[i].from);
        edge_template_free(p->rules[i].to);
    }
    mem_free(p->rules);
    mem_free(p->strip);
    mem_free(p->add);
    mem_free(p);
}
