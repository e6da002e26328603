/* template.c: text with named places, taken apart once. */
#include "edge/edge.h"

#include <string.h>

#include "base/ban.h"
#include "base/mem.h"

struct piece {
    struct str text; /* of the template */
    int name;        /* -1: it is text */
};

struct edge_template {
    char *text;
    struct piece *pieces;
    uint32_t count;
};

static int name_of(struct str word, const char *const *names)
{
    for (int i = 0; names[i]; i++) {
        if (str_is(word, names[i])) {
            return i;
        }
    }
    return -1;
}

static void add(struct edge_template *t, struct str text, int name)
{
    if (text.len) {
        t->pieces = mem_resize(t->pieces, (t->count + 1) * sizeof *t->pieces);
        t->pieces[t->count++] = (struct piece){text, name};
    }
}

struct edge_template *edge_template_new(const char *text, const char *const *names)
{
    struct edge_template *t = mem_new(sizeof *t);
    t->text = mem_copy(text);
    struct str rest = str_of(t->text);
    size_t at = 0;
    while (at < rest.len) {
        if (rest.ptr[at] != '{') {
            at++;
            continue;
        }
        ptrdiff_t len = str_find(str_sub(rest, at + 1, rest.len), '}');
        size_t end = at + 1 + (size_t)(len < 0 ? 0 : len);
        int name = len < 0 ? -1 : name_of(str_sub(rest, at + 1, end), names);
        if (name < 0) {
            at++;
            continue;
        }
        add(t, str_sub(rest, 0, at), -1);
        add(t, str_sub(rest, at, end + 1), name);
        rest = str_sub(rest, end + 1, rest.len);
        at = 0;
    }
    add(t, rest, -1);
    return t;
}

void edge_template_free(struct edge_template *t)
{
    if (t) {
        mem_free(t->pieces);
        mem_free(t->text);
        mem_free(t);
    }
}

void edge_template_put(const struct edge_template *t, const struct str *values,
                       struct edge_out *out)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct piece *piece = &t->pieces[i];
        edge_put(out, piece->name < 0 ? piece->text : values[piece->name]);
    }
}
