/* function.c: a route's request function: what it says of a request.
 *
 * Called by: view.c, once for each request of a route that has one and whose policy reads what it can
 * say. Invariants: a function that fails costs no request: it goes on without data, counted and told;
 * one that fails again and again is asked once a second only. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "board/board.h"

enum {
    FAILURES_MOST = 8, /* in a row; then it rests */
    REST_MS = 1000
};

static struct script_text to_script(struct str s)
{
    return (struct script_text){s.ptr, s.len};
}

/* Names come from Lua, so a NUL is behind them. */
static bool find_field(const void *of, const char *name, size_t len, struct script_text *ret_value)
{
    const struct http1_field *f = http1_find_name(of, name);
    (void)len;
    if (!f) {
        return false;
    }
    *ret_value = to_script(f->value);
    return true;
}

static void note_failure(struct proxy *p, struct route *r)
{
    proxy_fact(p, "request", script_reader_error(r->reader));
    if (++r->reader_failures >= FAILURES_MOST) {
        r->reader_aside_ms = p->now_ms + REST_MS;
    }
}

struct script_data proxy_function_ask(const struct exchange *ex, const struct http1_head *head,
                                      bool *ret_failed)
{
    struct proxy *p = ex->session->proxy;
    struct route *r = ex->route;
    struct script_data data = {0};
    const struct script_head seen = {
        .method = to_script(head->method_text),
        .host = to_script(head->host),
        .path = to_script(head->path),
        .query = to_script(head->query),
        .client = to_script(str_of(ex->session->peer)),
        .of = head,
        .field = find_field,
    };
    bool resting = p->now_ms < r->reader_aside_ms;
    if (!resting && !script_read(r->reader, &seen, &data)) {
        r->reader_failures = 0;
        return data;
    }
    *ret_failed = true;
    board_add(&p->numbers->reader_errors, 1);
    if (!resting) {
        note_failure(p, r);
    }
    return data;
}
