/* control.c: the control socket's side: one JSON object a line each way. */
#include "admin/internal.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

static char *line_of(const struct cJSON *answer)
{
    char *text = json_text(answer);
    char *line = mem_printf("%s\n", text);
    mem_free(text);
    return line;
}

static char *error_line(const char *why)
{
    struct cJSON *answer = json_object();
    json_set_bool(answer, "ok", false);
    json_set_str(answer, "error", why);
    char *line = line_of(answer);
    json_free(answer);
    return line;
}

static void answer_error(struct admin_conn *c, const char *why)
{
    char *line = error_line(why);
    admin_conn_write(c, line, strlen(line));
}

/* For those that are closed right away: what the socket does not take at once is lost. */
static void refuse(struct admin_conn *c, const char *why)
{
    char *line = error_line(why);
    uv_buf_t out = uv_buf_init(line, (unsigned)strlen(line));
    (void)uv_try_write((uv_stream_t *)&c->pipe, &out, 1);
    mem_free(line);
}

static void handle(struct admin_conn *c, struct cJSON *args)
{
    struct admin *a = c->listener->admin;
    struct admin_request *r = admin_request_new(c, args);
    a->options.on_command(a->options.arg, r, json_str(args, "command", ""), args);
}

static void bytes(struct admin_conn *c)
{
    const char *end = c->in.len ? memchr(c->in.data, '\n', c->in.len) : NULL;
    if (!end) {
        if (c->overflow) {
            answer_error(c, "the request is too long: send one line of at most 262144 bytes");
        } else if (c->ended && c->in.len) {
            answer_error(c, "the request broke off: end it with a newline");
        } else if (c->ended) {
            admin_conn_close(c);
        }
        return;
    }
    if (c->overflow || end + 1 != c->in.data + c->in.len) {
        answer_error(c, "more than one line: send one request on each connection");
        return;
    }
    struct cJSON *args = json_parse(c->in.data, (size_t)(end - c->in.data));
    buf_free(&c->in);
    if (!*json_str(args, "command", "")) {
        json_free(args);
        answer_error(c, "not a request: send one JSON object with a \"command\" on one line");
        return;
    }
    handle(c, args);
}

static void late(struct admin_conn *c)
{
    answer_error(c, "no whole request in time: send one line of JSON");
}

const struct admin_side admin_control_side = {
    .limit = LIMIT_CONTROL_BYTES,
    .bytes = bytes,
    .late = late,
    .refuse = refuse,
    .local = true,
};

void admin_answer(struct admin_request *r, struct cJSON *answer)
{
    struct admin_conn *c = admin_request_end(r);
    if (c) {
        char *line = line_of(answer);
        admin_conn_write(c, line, strlen(line));
    }
    json_free(answer);
}
