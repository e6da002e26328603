/* login.h: passwords of requests, checked on libuv's threads; private to the proxy. */
#ifndef PROXY_LOGIN_H
#define PROXY_LOGIN_H

#include <stdbool.h>

struct edge_users;
struct exchange;
struct http1_head;
struct login;
struct logins;
struct proxy;

enum login_result {
    LOGIN_RIGHT,
    LOGIN_WRONG,
    LOGIN_MISSING,     /* the request says nothing that could be right */
    LOGIN_WAITS,       /* the exchange goes on when it is known */
    LOGIN_BUSY,        /* too many wait */
    LOGIN_CLIENT_BUSY, /* too many of this client */
    LOGIN_RESULTS
};

/* Whether the request is of a user, whose name is noted in the exchange's course. Asked again when it waited. */
enum login_result proxy_login_ask(struct exchange *ex, const struct edge_users *users,
                                  const struct http1_head *head);
/* The exchange does not wait for it any more; NULL is allowed. */
void proxy_login_leave(struct login *l);
/* What threads still do ends without the proxy. */
void proxy_logins_free(struct proxy *p);

#endif
