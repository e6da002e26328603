/* internal.h: what the files of this room share. A connection reads a request, waits for its
 * answer, writes it, says that there is no more, and lingers a moment so that the answer is not
 * lost to a reset:
 *
 *   READING --request--> WAITING --answer--> WRITING --> LINGERING --> CLOSING
 *      +------- error answer, or answered at once --------^
 */
#ifndef ADMIN_INTERNAL_H
#define ADMIN_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "admin/admin.h"
#include "base/buf.h"
#include "base/list.h"

enum {
    ADMIN_WHO_BYTES = 48,
    ADMIN_SCRATCH_BYTES = 16384,
    ADMIN_TIMEOUT_MS = 10000,
    ADMIN_LINGER_MS = 2000
};

enum admin_conn_state {
    ADMIN_READING,
    ADMIN_WAITING,
    ADMIN_WRITING,
    ADMIN_LINGERING,
    ADMIN_CLOSING,
    ADMIN_CONN_STATES
};

struct admin_conn;

/* What differs between the control socket and HTTP. */
struct admin_side {
    size_t limit; /* of a request */
    /* Something came: look at conn->in, ->ended and ->overflow; while READING only. */
    void (*bytes)(struct admin_conn *conn);
    /* The request was not complete in time. */
    void (*late)(struct admin_conn *conn);
    /* Too many are served, or this one may not ask: writes one short refusal at once. May be NULL.
     */
    void (*refuse)(struct admin_conn *conn, const char *why);
    bool local; /* callers must be of our user or root */
};

extern const struct admin_side admin_control_side, admin_http_side;

struct admin_listener {
    struct admin *admin;
    const struct admin_side *side;
    uv_pipe_t pipe; /* data: this; also holds TCP sockets: only their stream part is used */
    unsigned clients;
    bool open;
};

struct admin {
    struct admin_options options; /* its strings are owned */
    struct admin_listener control, http;
    struct list conns, requests;
    unsigned handles; /* listeners and connections that are not closed yet */
    bool closing;
    dev_t socket_device; /* of our socket file, to remove no other */
    ino_t socket_inode;
    char scratch[ADMIN_SCRATCH_BYTES];
};

struct admin_request {
    struct list link;        /* of admin->requests */
    struct admin_conn *conn; /* NULL: the client has left */
    struct cJSON
        *args;      /* the command's; of a GET {"accept": "..."}: its fields, names in lower case */
    bool head_only; /* HEAD */
    char who[ADMIN_WHO_BYTES];
};

struct admin_conn {
    struct list link;
    struct admin_listener *listener;
    uv_pipe_t pipe; /* data of all four: this */
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shutdown;
    unsigned handles;
    enum admin_conn_state state;
    struct buf in;
    bool ended;                    /* the peer sends no more */
    bool overflow;                 /* it sent more than the side's limit */
    char *out, *body;              /* being written, one behind the other; body may be NULL */
    struct admin_request *request; /* WAITING for its answer */
    char who[ADMIN_WHO_BYTES];     /* "uid 4294967295 pid 4294967295" at most */
};

/* Accepts from the listener; its `connection` callback. */
void admin_conn_accept(uv_stream_t *server, int status);
/* Writes `bytes` (takes them) as the whole answer. */
void admin_conn_write(struct admin_conn *conn, char *bytes, size_t len);
/* The same of two parts. */
void admin_conn_write_both(struct admin_conn *conn, char *head, size_t head_len, char *body,
                           size_t body_len);
/* No answer yet: the time-out rests. */
void admin_conn_wait(struct admin_conn *conn);
void admin_conn_close(struct admin_conn *conn);
/* One handle of the room has closed; frees it with the last. */
void admin_released(struct admin *admin);
/* Its answer may come later. Takes args. */
struct admin_request *admin_request_new(struct admin_conn *conn, struct cJSON *args);
/* Frees it; the connection that is to be answered, NULL: its client has left. */
struct admin_conn *admin_request_end(struct admin_request *request);
/* The client has left: its request, if any, is answered into the void. */
void admin_request_left(struct admin_conn *conn);
/* Tells everybody who waits for an answer that none comes, and frees the requests. */
void admin_requests_forget(struct admin *admin);

#endif
