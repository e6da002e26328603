/* pattern.c: see pattern.h.
 *
 * The matcher follows lstrlib.c of Lua 5.1 and 5.2, Copyright (C) 1994-2015 Lua.org, PUC-Rio, under
 * the MIT licence, so that patterns mean here what the Lua manual says.
 * Invariants: owns nothing; whatever raises leaves nothing behind. */
#include "script/pattern.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "script/budget.h"
#include "script/state.h"
#include "base/ban.h"
#include "base/err.h"

enum {
    MAX_CAPTURES = 32,
    MAX_DEPTH = 200,
    CAPTURE_OPEN = -1,
    CAPTURE_POSITION = -2
};

struct matcher {
    lua_State *L;
    struct budget *budget;
    const char *text, *text_end, *pattern_end;
    int depth;
    int level; /* captures begun */
    struct {
        const char *start;
        ptrdiff_t len; /* or CAPTURE_* */
    } capture[MAX_CAPTURES];
};

static const char *match(struct matcher *m, const char *s, const char *p);

static int capture_of(struct matcher *m, int digit)
{
    int index = digit - '1';
    if (index < 0 || index >= m->level || m->capture[index].len == CAPTURE_OPEN) {
        return luaL_error(m->L, "invalid capture index");
    }
    return index;
}

/* One past the single character class that begins at p. */
static const char *class_end(struct matcher *m, const char *p)
{
    if (*p++ == '%') {
        if (p == m->pattern_end) {
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        }
        return p + 1;
    }
    if (p[-1] != '[') {
        return p;
    }
    if (p < m->pattern_end && *p == '^') {
        p++;
    }
    do { /* a ']' in the first place stands for itself */
        if (p >= m->pattern_end) {
            luaL_error(m->L, "malformed pattern (missing ']')");
        }
        if (*p++ == '%' && p < m->pattern_end) {
            p++;
        }
    } while (p >= m->pattern_end || *p != ']');
    return p + 1;
}

static bool in_class(int c, int class)
{
    bool is;
    switch (tolower(class)) {
    case 'a':
        is = isalpha(c);
        break;
    case 'c':
        is = iscntrl(c);
        break;
    case 'd':
        is = isdigit(c);
        break;
    case 'g':
        is = isgraph(c);
        break;
    case 'l':
        is = islower(c);
        break;
    case 'p':
        is = ispunct(c);
        break;
    case 's':
        is = isspace(c);
        break;
    case 'u':
        is = isupper(c);
        break;
    case 'w':
        is = isalnum(c);
        break;
    case 'x':
        is = isxdigit(c);
        break;
    case 'z':
        is = c == 0;
        break;
    default:
        return class == c;
    }
    return isupper(class) ? !is : is;
}

/* p at '[', last at the ']' that closes it. */
static bool in_set(int c, const char *p, const char *last)
{
    bool found = true;
    if (p[1] == '^') {
        found = false;
        p++;
    }
    while (++p < last) {
        if (*p == '%') {
            p++;
            if (in_class(c, (unsigned char)*p)) {
                return found;
            }
        } else if (p[1] == '-' && p + 2 < last) {
            p += 2;
            if ((unsigned char)p[-2] <= c && c <= (unsigned char)*p) {
                return found;
            }
        } else if ((unsigned char)*p == c) {
            return found;
        }
    }
    return !found;
}

/* Whether the character at s fits the class p .. end. */
static bool single(struct matcher *m, const char *s, const char *p, const char *end)
{
    budget_check(m->budget, m->L);
    if (s >= m->text_end) {
        return false;
    }
    int c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return in_class(c, (unsigned char)p[1]);
    case '[':
        return in_set(c, p, end - 1);
    default:
        return (unsigned char)*p == c;
    }
}

static const char *match_balance(struct matcher *m, const char *s, const char *p)
{
    if (p + 1 >= m->pattern_end) {
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    }
    if (s >= m->text_end || *s != *p) {
        return NULL;
    }
    int opened = 1;
    for (const char *at = s + 1; at < m->text_end; at++) {
        budget_check(m->budget, m->L);
        if (*at == p[1]) {
            if (--opened == 0) {
                return at + 1;
            }
        } else if (*at == *p) {
            opened++;
        }
    }
    return NULL;
}

static const char *max_expand(struct matcher *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t count = 0;
    while (single(m, s + count, p, end)) {
        count++;
    }
    for (; count >= 0; count--) {
        const char *rest = match(m, s + count, end + 1);
        if (rest) {
            return rest;
        }
    }
    return NULL;
}

static const char *min_expand(struct matcher *m, const char *s, const char *p, const char *end)
{
    for (;;) {
        const char *rest = match(m, s, end + 1);
        if (rest) {
            return rest;
        }
        if (!single(m, s, p, end)) {
            return NULL;
        }
        s++;
    }
}

static const char *capture_start(struct matcher *m, const char *s, const char *p, ptrdiff_t what)
{
    if (m->level >= MAX_CAPTURES) {
        luaL_error(m->L, "too many captures");
    }
    m->capture[m->level].start = s;
    m->capture[m->level].len = what;
    m->level++;
    const char *rest = match(m, s, p);
    if (!rest) {
        m->level--;
    }
    return rest;
}

static const char *capture_end(struct matcher *m, const char *s, const char *p)
{
    int index = m->level - 1;
    while (index >= 0 && m->capture[index].len != CAPTURE_OPEN) {
        index--;
    }
    if (index < 0) {
        luaL_error(m->L, "invalid pattern capture");
        return NULL;
    }
    m->capture[index].len = s - m->capture[index].start;
    const char *rest = match(m, s, p);
    if (!rest) {
        m->capture[index].len = CAPTURE_OPEN;
    }
    return rest;
}

static const char *match_capture(struct matcher *m, const char *s, int digit)
{
    int index = capture_of(m, digit);
    const char *start = m->capture[index].start;
    ptrdiff_t len = m->capture[index].len;
    must(start);
    if (len >= 0 && m->text_end - s >= len && memcmp(start, s, (size_t)len) == 0) {
        return s + len;
    }
    return NULL;
}

/* %f[set]: between a character outside the set and one inside. */
static bool at_frontier(struct matcher *m, const char *s, const char *p, const char *end)
{
    int before = s == m->text ? 0 : (unsigned char)s[-1];
    int here = s < m->text_end ? (unsigned char)*s : 0;
    return !in_set(before, p, end - 1) && in_set(here, p, end - 1);
}

/* The class at p with its suffix. Sets *ret_p where the match goes on; NULL there: the answer is
 * final. */
static const char *match_class(struct matcher *m, const char *s, const char *p, const char **ret_p)
{
    const char *end = class_end(m, p);
    char suffix = '\0';
    if (end < m->pattern_end) {
        suffix = *end;
    }
    *ret_p = NULL;
    switch (suffix) {
    case '?':
        if (single(m, s, p, end)) {
            const char *rest = match(m, s + 1, end + 1);
            if (rest) {
                return rest;
            }
        }
        *ret_p = end + 1;
        return s;
    case '*':
        return max_expand(m, s, p, end);
    case '+':
        return single(m, s, p, end) ? max_expand(m, s + 1, p, end) : NULL;
    case '-':
        return min_expand(m, s, p, end);
    default:
        if (!single(m, s, p, end)) {
            return NULL;
        }
        *ret_p = end;
        return s + 1;
    }
}

/* An escape that is no class: %b, %f, %1. Sets *ret_p as match_class does, or leaves it when it is
 * none. */
static const char *match_escape(struct matcher *m, const char *s, const char *p, const char **ret_p)
{
    char what = '\0';
    if (p + 1 < m->pattern_end) {
        what = p[1];
    }
    if (what == 'b') {
        s = match_balance(m, s, p + 2);
        *ret_p = p + 4;
    } else if (what == 'f') {
        p += 2;
        if (p >= m->pattern_end || *p != '[') {
            luaL_error(m->L, "missing '[' after '%%f' in pattern");
        }
        const char *end = class_end(m, p);
        s = at_frontier(m, s, p, end) ? s : NULL;
        *ret_p = end;
    } else if (isdigit((unsigned char)what)) {
        s = match_capture(m, s, what);
        *ret_p = p + 2;
    }
    return s;
}

/* Where the match of p at s ends, or NULL. */
static const char *match(struct matcher *m, const char *s, const char *p)
{
    if (m->depth-- == 0) {
        luaL_error(m->L, "pattern too complex");
    }
    while (s && p && p != m->pattern_end) {
        const char *next = p;
        if (*p == '(') {
            bool position = p + 1 < m->pattern_end && p[1] == ')';
            s = capture_start(m, s, p + 1 + position, position ? CAPTURE_POSITION : CAPTURE_OPEN);
            next = NULL;
        } else if (*p == ')') {
            s = capture_end(m, s, p + 1);
            next = NULL;
        } else if (*p == '$' && p + 1 == m->pattern_end) {
            s = s == m->text_end ? s : NULL;
            next = NULL;
        } else {
            if (*p == '%') {
                s = match_escape(m, s, p, &next);
            }
            if (next == p) {
                s = match_class(m, s, p, &next);
            }
        }
        p = next;
    }
    m->depth++;
    return s;
}

static void push_capture(struct matcher *m, int index, const char *s, const char *end)
{
    if (index >= m->level) {
        if (index != 0) {
            luaL_error(m->L, "invalid capture index");
        }
        lua_pushlstring(m->L, s, (size_t)(end - s));
        return;
    }
    ptrdiff_t len = m->capture[index].len;
    if (len == CAPTURE_OPEN) {
        luaL_error(m->L, "unfinished capture");
    }
    if (len == CAPTURE_POSITION) {
        lua_pushinteger(m->L, m->capture[index].start - m->text + 1);
    } else {
        lua_pushlstring(m->L, m->capture[index].start, (size_t)len);
    }
}

/* All captures; the whole match when there are none and `whole`. */
static int push_captures(struct matcher *m, const char *s, const char *end, bool whole)
{
    int count = m->level == 0 && whole ? 1 : m->level;
    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++) {
        push_capture(m, i, s, end);
    }
    return count;
}

static struct matcher matcher_of(lua_State *L, const char *text, size_t len,
                                 const char *pattern_end)
{
    struct matcher m;
    memset(&m, 0, sizeof(m));
    m.L = L;
    m.budget = state_budget(L);
    m.text = text;
    m.text_end = text + len;
    m.pattern_end = pattern_end;
    return m;
}

static const char *match_at(struct matcher *m, const char *s, const char *p)
{
    m->level = 0;
    m->depth = MAX_DEPTH;
    return match(m, s, p);
}

static int find_plain(lua_State *L, const char *text, size_t len, size_t from, const char *what,
                      size_t what_len)
{
    const char *at = memmem(text + from, len - from, what, what_len);
    if (!at) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, at - text + 1);
    lua_pushinteger(L, at - text + (ptrdiff_t)what_len);
    return 2;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    ptrdiff_t from = luaL_optinteger(L, 3, 1);
    if (from < 0) {
        from += (ptrdiff_t)len + 1;
    }
    from = from < 1 ? 0 : from - 1;
    if ((size_t)from > len) {
        from = (ptrdiff_t)len;
    }
    if (find && (lua_toboolean(L, 4) || !memchr(pattern, '\0', pattern_len))) {
        if (lua_toboolean(L, 4) || !strpbrk(pattern, "^$*+?.([%-")) {
            return find_plain(L, text, len, (size_t)from, pattern, pattern_len);
        }
    }
    bool anchored = pattern_len > 0 && *pattern == '^';
    struct matcher m = matcher_of(L, text, len, pattern + pattern_len);
    const char *s = text + from;
    do {
        const char *end = match_at(&m, s, pattern + anchored);
        if (end) {
            if (find) {
                lua_pushinteger(L, s - text + 1);
                lua_pushinteger(L, end - text);
                return push_captures(&m, NULL, NULL, false) + 2;
            }
            return push_captures(&m, s, end, true);
        }
    } while (s++ < m.text_end && !anchored);
    lua_pushnil(L);
    return 1;
}

static int pattern_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int pattern_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* Upvalues: text, pattern, place to go on. */
static int gmatch_next(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *pattern = lua_tolstring(L, lua_upvalueindex(2), &pattern_len);
    struct matcher m = matcher_of(L, text, len, pattern + pattern_len);
    for (const char *s = text + lua_tointeger(L, lua_upvalueindex(3)); s <= m.text_end; s++) {
        const char *end = match_at(&m, s, pattern);
        if (end) {
            lua_pushinteger(L, end - text + (end == s)); /* an empty match moves on by one */
            lua_replace(L, lua_upvalueindex(3));
            return push_captures(&m, s, end, true);
        }
    }
    return 0;
}

static int pattern_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

/* %0 .. %9 in the replacement string. */
static void add_string(struct matcher *m, luaL_Buffer *b, const char *s, const char *end)
{
    size_t len;
    const char *with = lua_tolstring(m->L, 3, &len);
    for (size_t i = 0; i < len; i++) {
        if (with[i] != '%' || i + 1 == len) {
            luaL_addchar(b, with[i]);
        } else if (!isdigit((unsigned char)with[++i])) {
            luaL_addchar(b, with[i]);
        } else if (with[i] == '0') {
            luaL_addlstring(b, s, (size_t)(end - s));
        } else {
            push_capture(m, with[i] - '1', s, end);
            luaL_addvalue(b);
        }
    }
}

static void add_value(struct matcher *m, luaL_Buffer *b, const char *s, const char *end)
{
    lua_State *L = m->L;
    int type = lua_type(L, 3);
    if (type == LUA_TFUNCTION || type == LUA_TTABLE) {
        budget_depth(state_budget(L), L); /* the table may have a function for its missing fields */
    }
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, end, true), 1);
    } else if (type == LUA_TTABLE) {
        push_capture(m, 0, s, end);
        lua_gettable(L, 3);
    } else {
        add_string(m, b, s, end);
        return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, s, (size_t)(end - s));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    luaL_addvalue(b);
}

static int pattern_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    int type = lua_type(L, 3);
    luaL_argcheck(L,
                  type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TTABLE ||
                      type == LUA_TFUNCTION,
                  3, "string/function/table expected");
    ptrdiff_t most = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    bool anchored = pattern_len > 0 && *pattern == '^';
    ptrdiff_t count = 0;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    struct matcher m = matcher_of(L, text, len, pattern + pattern_len);
    const char *s = text;
    while (count < most) {
        const char *end = match_at(&m, s, pattern + anchored);
        if (end) {
            count++;
            add_value(&m, &b, s, end);
        }
        if (end && end > s) {
            s = end;
        } else if (s < m.text_end) {
            luaL_addchar(&b, *s++);
        } else {
            break;
        }
        if (anchored) {
            break;
        }
    }
    luaL_addlstring(&b, s, (size_t)(m.text_end - s));
    luaL_pushresult(&b);
    lua_pushinteger(L, count);
    return 2;
}

const luaL_Reg pattern_functions[] = {
    {"find", pattern_find},
    {"match", pattern_match},
    {"gmatch", pattern_gmatch},
    {"gsub", pattern_gsub},
    {NULL, NULL},
};
