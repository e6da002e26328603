/* trailer.c: fields behind a chunked answer (RFC 9110 6.5): which go on to the client.
 *
 * A trailer section comes when routing, authentication and caching have long been decided by the head.
 * So what frames, routes, authenticates, controls or describes content is dropped, as are fields of one
 * hop only and those that the route takes from heads; nothing is ever merged into a head. It goes
 * only to clients that say "TE: trailers". Requests' trailers are parsed and dropped: no field says
 * that a server takes them.
 *
 * Invariants: a section is judged when it is whole. Until then it waits in a block, which holds it as
 * it came and, behind it, as the client gets it. */
#include "proxy/parts.h"

#include <string.h>
#include <strings.h>

#include "base/ban.h"
#include "board/board.h"

/* Beside all that the codec knows. */
static const char *const forbidden[] = {
    "age",
    "authentication-info",
    "authorization",
    "cache-control",
    "cookie",
    "expires",
    "forwarded",
    "location",
    "http2-settings",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "warning",
    "www-authenticate",
};
static const char *const forbidden_prefixes[] = {"content-", "if-", "proxy-"};

bool proxy_trailer_wanted(const struct http1_head *request)
{
    uint32_t count = request->te && request->minor == 1 ? request->field_count : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct str rest = request->fields[i].value, coding;
        while (request->fields[i].known == HTTP1_TE && str_next(&rest, ',', &coding)) {
            if (str_is_nocase(str_trim(coding), "trailers")) {
                return true;
            }
        }
    }
    return false;
}

bool proxy_trailer_fits(const struct http1_head *answer)
{
    for (uint32_t i = 0; i < answer->field_count; i++) {
        struct str rest = answer->fields[i].value, option;
        while (answer->fields[i].known == HTTP1_CONNECTION && str_next(&rest, ',', &option)) {
            option = str_trim(option);
            if (option.len && !str_is_nocase(option, "close") &&
                !str_is_nocase(option, "keep-alive")) {
                return false; /* it may name a trailer field (RFC 9110 7.6.1) */
            }
        }
    }
    return true;
}

bool proxy_trailer_allowed(const struct exchange *ex, struct str name)
{
    if (str_is_nocase(name, "content-digest")) { /* made for trailers: RFC 9530 */
        return !proxy_change_drops(&ex->route->rules.answer, name);
    }
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        if (str_is_nocase(name, forbidden[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof forbidden_prefixes / sizeof forbidden_prefixes[0]; i++) {
        size_t len = strlen(forbidden_prefixes[i]);
        if (name.len >= len && !strncasecmp(name.ptr, forbidden_prefixes[i], len)) {
            return false;
        }
    }
    return http1_known_name(name) == HTTP1_OTHER &&
           !proxy_change_drops(&ex->route->rules.answer, name);
}

void proxy_trailer_await(const struct exchange *ex, struct http1_head *answer)
{
    bool client_takes = ex->session->carrier || ex->te_trailers;
    if (ex->bare && answer->framing == HTTP1_LENGTH && client_takes &&
        (ex->grpc || http1_find(answer, HTTP1_TRAILER))) {
        answer->framing = HTTP1_UNTIL_CLOSE;
        answer->has_content_length = ex->session->carrier != NULL;
    }
}

void proxy_trailer_keep(struct exchange *ex, struct str piece)
{
    struct proxy *p = ex->session->proxy;
    if (!ex->trailer) {
        if (piece.ptr[0] == '\r' || piece.ptr[0] == '\n') {
            return; /* of the empty line: there is no field */
        }
        ex->trailer = proxy_block_take(p);
    }
    if (!ex->trailer) {
        ex->trailers = false; /* an intermediary may drop them, and cutting the answer is worse */
        board_add(&p->numbers->exhausted, 1);
        proxy_fact(p, "limit", "out of blocks: an answer goes on without its trailers");
        return;
    }
    /* The decoder let through LIMIT_CHUNK_EXTRA_BYTES, ':' CR LF of LIMIT_FIELDS, and an empty line. */
    memcpy(ex->trailer->bytes + ex->trailer->len, piece.ptr, piece.len);
    ex->trailer->len += (uint32_t)piece.len;
}

struct str proxy_trailer_end(struct exchange *ex)
{
    struct block *b = ex->trailer;
    struct http1_head *head = &ex->session->proxy->head;
    if (!b || http1_parse_trailers((struct str){b->bytes, b->len}, head)) {
        return (struct str){NULL, 0};
    }
    char *to = b->bytes + b->len;
    ssize_t n = proxy_forward_trailers(ex, head, to, sizeof b->bytes - b->len);
    return (struct str){to, n > 0 ? (size_t)n : 0};
}
