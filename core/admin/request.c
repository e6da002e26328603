/* request.c: requests of both sides that wait for their answer; their client may leave meanwhile. */
#include "admin/internal.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

struct admin_request *admin_request_new(struct admin_conn *c, struct cJSON *args)
{
    struct admin *a = c->listener->admin;
    struct admin_request *r = mem_new(sizeof *r);
    r->conn = c;
    r->args = args;
    memcpy(r->who, c->who, sizeof r->who);
    list_append(&a->requests, &r->link);
    c->request = r;
    admin_conn_wait(c);
    return r;
}

struct admin_conn *admin_request_end(struct admin_request *r)
{
    struct admin_conn *c = r->conn;
    if (c) {
        c->request = NULL;
    }
    list_remove(&r->link);
    json_free(r->args);
    mem_free(r);
    return c;
}

const char *admin_who(const struct admin_request *r)
{
    return r->who;
}

void admin_request_left(struct admin_conn *c)
{
    if (c->request) {
        c->request->conn = NULL;
        c->request = NULL;
    }
}

void admin_requests_forget(struct admin *a)
{
    while (!list_empty(&a->requests)) {
        struct admin_request *r = list_owner(a->requests.next, struct admin_request, link);
        struct admin_conn *c = admin_request_end(r);
        if (c && c->listener->side->refuse) {
            c->listener->side->refuse(c, "the daemon is ending: ask again when it is back");
        }
    }
}
