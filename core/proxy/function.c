/* function.c: a route's request function: what it says of a request.
 *
 * Called by: view.c, once for each request of a route that has one and whose policy reads what it can
 * say. Invariants: a function that fails costs no request: it goes on without data, counted and told;
 * lapse.c says when it is asked no more. */
#include "proxy/parts.h"

#include "base/ban.h"
#include "board/board.h"

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

struct script_data proxy_function_ask(const struct exchange *ex, const struct http1_head *head,
                                      bool *ret_failed)
{
    struct proxy *p = ex->session->proxy;
    struct route *r = ex->route;
    struct script_data data = {0};
    const struct tls *tls = ex->session->tls;
    const struct script_head seen = {
        .method = to_script(head->method_text),
        .host = to_script(head->host),
        .path = to_script(head->path),
        .query = to_script(head->query),
        .client = to_script(str_of(ex->session->peer)),
        .subject = to_script(str_of(tls ? tls_subject(tls) : "")),
        .of = head,
        .field = find_field,
    };
    bool asked = proxy_lapse_may_ask(p, &r->reader_lapses);
    if (asked && !script_read(r->reader, &seen, &data)) {
        r->reader_lapses.in_a_row = 0;
        return data;
    }
    *ret_failed = true;
    if (r->reader_lapses.quarantined) {
        return data;
    }
    board_add(&p->numbers->reader_errors, 1);
    if (asked) {
        proxy_lapse(ex, &r->reader_lapses, head, script_reader_error(r->reader));
    }
    return data;
}
