/* grpc.c: what the proxy does for calls of gRPC beside passing them on: their deadlines, what they are told in place of
 * an HTTP status, and which answers are worth another backend.
 *
 * A call is a POST with gRPC's content type from a client or to a backend that speaks HTTP/2. Its outcome stands in
 * grpc-status, in the trailers or, of an answer that is nothing else, in its head (Trailers-Only). */
#include "proxy/parts.h"

#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "board/board.h"
#include "net/grpc.h"

enum {
    LONGEST_MS = 86400000 /* a deadline further away is none */
};

bool proxy_grpc_asked(const struct http1_head *head)
{
    const struct http1_field *f =
        head->method == HTTP1_POST ? http1_find_name(head, "content-type") : NULL;
    return f && grpc_type(f->value);
}

int proxy_grpc_begin(struct exchange *ex, const struct http1_head *head)
{
    const struct http1_field *f = http1_find_name(head, "grpc-timeout");
    uint64_t ms = LONGEST_MS;
    ex->grpc = true;
    ex->grpc_status = GRPC_NONE;
    int rc = f ? grpc_timeout(f->value, &ms) : 0;
    if (!rc && ms < LONGEST_MS) {
        proxy_deadline_start(ex, ms);
    }
    return rc;
}

void proxy_grpc_note(struct exchange *ex, struct str value)
{
    ex->grpc_status = (int8_t)grpc_status_parse(value);
}

int proxy_grpc_outcome(const struct exchange *ex, int status)
{
    return status == 200 && grpc_status_failed(ex->grpc_status)
               ? grpc_status_to_http(ex->grpc_status)
               : status;
}

int proxy_grpc_told(const struct exchange *ex)
{
    return ex->status != 200              ? ex->status
           : ex->grpc_status == GRPC_NONE ? 0
                                          : grpc_status_to_http(ex->grpc_status);
}

bool proxy_grpc_unavailable(const struct exchange *ex, const struct http1_head *head,
                            struct str rest)
{
    return head->status == 200 && ex->grpc_status == GRPC_UNAVAILABLE && !rest.len &&
           proxy_lane_ended(ex->up);
}

size_t proxy_grpc_status_lines(int status, const char *why, char *to, size_t size)
{
    char message[256]; /* of a short sentence of ours */
    grpc_message(str_of(why), message, sizeof message);
    int len = snprintf(to, size, "grpc-status: %d\r\ngrpc-message: %s\r\n",
                       (int)grpc_status_of_http(status), message);
    return len > 0 && (size_t)len < size ? (size_t)len : 0;
}

enum progress proxy_grpc_end(struct exchange *ex, int status, const char *why)
{
    struct session *s = ex->session;
    const struct str none = {NULL, 0};
    char lines[512]; /* two lines, a short sentence of ours */
    if (!ex->head_sent || !s->carrier) {
        return proxy_exchange_abort(ex);
    }
    size_t len = proxy_grpc_status_lines(status, why, lines, sizeof lines - 2);
    memcpy(lines + len, "\r\n", 2);
    ex->grpc_status = (int8_t)grpc_status_of_http(status);
    board_add(&s->proxy->numbers->aborted, 1);
    proxy_exchange_leave(ex);
    s->last = true;
    if (s->carrier->send(s, none, none, true, (struct str){lines, len + 2})) {
        proxy_session_kill(s, true);
    } else {
        proxy_session_next(s);
    }
    return PROGRESS_OVER;
}

/* No fault of the backend, however short the time was. */
void proxy_grpc_lapsed(struct exchange *ex)
{
    struct session *s = ex->session;
    const char *why = "the deadline of the call is over";
    (void)(ex->head_sent ? proxy_grpc_end(ex, 504, why)
                         : proxy_exchange_reply(ex, &(struct reply){.status = 504, .why = why}));
    proxy_session_step(s);
}
