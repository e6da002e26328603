/* refuse.c: requests that never become an exchange, and the id of each. */
#include "proxy/parts.h"

#include "base/ban.h"

static bool id_valid(struct str id)
{
    if (!id.len || id.len > REQUEST_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        if (id.ptr[i] <= ' ' || id.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

void proxy_request_id_of(struct proxy *p, const struct http1_head *head, char *ret_id)
{
    const struct http1_field *f = http1_find(head, HTTP1_X_REQUEST_ID);
    if (f && id_valid(f->value)) {
        (void)str_put(ret_id, REQUEST_ID_BYTES + 1, f->value);
    } else {
        proxy_request_id(p, ret_id);
    }
}

void proxy_refuse(struct session *s, const struct http1_head *head, int status, const char *why)
{
    bool bodiless = head->framing == HTTP1_NO_BODY;
    bool keep = head->keep_alive && bodiless && status != 405;
    char id[REQUEST_ID_BYTES + 1];
    proxy_request_id_of(s->proxy, head, id);
    s->untidy = s->untidy || !bodiless;
    proxy_access_refused(s, head, status, id);
    struct reply reply = {.status = status,
                          .why = why,
                          .id = id,
                          .head_only = head->method == HTTP1_HEAD,
                          .keep = keep,
                          .grpc = s->carrier && proxy_grpc_asked(head)};
    proxy_steps_reply_bare(s->proxy, &reply);
    (void)proxy_reply(s, &reply);
}

bool proxy_refuse_early(struct session *s, const struct http1_head *head)
{
    const struct http1_field *hops = http1_find(head, HTTP1_MAX_FORWARDS);
    bool last = hops && str_is(hops->value, "0");
    if (head->method == HTTP1_CONNECT || (head->method == HTTP1_TRACE && last)) {
        proxy_refuse(s, head, 405, "this method is not for a proxy like this one");
    } else if (head->method == HTTP1_OPTIONS && last) {
        proxy_refuse(s, head, 200, "this is tidegate");
    } else if (head->content_length > INT64_MAX) {
        proxy_refuse(s, head, 413, "no body is that long");
    } else {
        return false;
    }
    return true;
}
