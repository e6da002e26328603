/* admin.h: the control socket (unix, 0600, one JSON object a line each way) and the HTTP side
 * (/healthz, /metrics, /status on a loopback address).
 *
 * Control: {"command":"status","service":"catalog"}\n -> {"ok":true, ...}\n or
 * {"ok":false,"error":"..."}\n; then the server closes. A request that is not such a line, or over
 * LIMIT_CONTROL_BYTES, is answered with an error and closed. Answers of both sides may come later (deploy --wait,
 * reload, a large page); a client that left meanwhile costs nothing.
 *
 * Only processes of our own user or root are heard. At most LIMIT_ADMIN_CLIENTS are served at once
 * on each side; one that has not sent its request within timeout_ms, or does not take its answer
 * for that long, is cut. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct cJSON;
struct admin;
struct admin_request;

/* Called with each request; the handler answers now or later, exactly once, by admin_answer.
 * `command` and `args` (the whole object) are borrowed until it answers. */
typedef void admin_command_fn(void *arg, struct admin_request *request, const char *command,
                              const struct cJSON *args);
/* Called with each GET or HEAD of the HTTP side; the handler answers now or later, exactly once, by
 * admin_answer_page. `path` is borrowed until return. */
typedef void admin_page_fn(void *arg, struct admin_request *request, const char *path);

struct admin_options {
    struct uv_loop_s *loop;
    const char *socket_path;  /* a stale file is replaced */
    const char *http_address; /* "" or NULL = none */
    admin_command_fn *on_command;
    admin_page_fn *on_page;
    void *arg;
    uint32_t timeout_ms; /* 0 = 10 s */
};

/* -errno with a sentence in *reterr (mem_free): address in use, path too long, another daemon
 * listens there, ... */
int admin_open(const struct admin_options *options, struct admin **ret_admin, char **reterr);
/* Takes `answer` (json object). The request is gone afterwards. */
void admin_answer(struct admin_request *request, struct cJSON *answer);
/* A field of the GET's head, several of that name as one by commas; "" when there is none. `name` in lower
 * case. Lends: until answered. */
const char *admin_field(const struct admin_request *request, const char *name);
/* Takes `body` (NULL: the status as text). `encoding` may be "". */
void admin_answer_page(struct admin_request *request, int status, const char *type,
                       const char *encoding, char *body, size_t len);
/* Who asks: "uid 0 pid 1234" from the socket's credentials. Lends: until answered. */
const char *admin_who(const struct admin_request *request);
/* Unanswered requests are answered with an error and gone: the handler forgets them. Removes the
 * socket file. Frees in the last close callback. NULL is allowed. */
void admin_close(struct admin *admin);

/* The client's side, blocking: sends `request`, waits for the answer (timeout_ms 0 = for ever).
 * -ECONNREFUSED / -ENOENT: no daemon; -EACCES; -ETIMEDOUT; -EPROTO: no line of JSON came back. The
 * caller owns *ret_answer. */
int admin_ask(const char *socket_path, const struct cJSON *request, uint32_t timeout_ms,
              struct cJSON **ret_answer);

#endif
