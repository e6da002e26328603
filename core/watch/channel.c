/* channel.c: one try to tell a channel something; see channel.h.
 *
 * Owns: tries from channels_send to their callback, with copies of what they tell.
 * Invariants: a try ends in finish(), whose timer calls back: never from inside the start. One that was
 * abandoned calls nobody. Does not: repeat anything, that is the outbox's. */
#include "watch/channel_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

struct channels {
    uv_loop_t *loop;
    struct net_client *client;
    struct list tries;
};

struct kind;

struct
try {
    struct list node;
    struct channels *c; /* NULL: abandoned */
    const struct kind *kind;
    struct cJSON *channel, *message;
    struct notice n;
    uv_timer_t timer; /* its close callback frees the try */
    struct net_call *call;
    struct exec *exec;
    uint32_t timeout_ms;
    size_t at;    /* the post on its way */
    size_t taken; /* posts that were */
    bool failed;  /* one was not */
    struct outbox_outcome outcome;
    char *said;
    channel_done_fn *done;
    void *arg;
};

struct kind {
    const char *name;
    void (*make)(struct notice *n, uint32_t reached); /* for calls by HTTP */
    void (*begin)(struct try *t);
    bool one_is_enough;  /* of several receivers */
    bool all_or_nothing; /* after a failure the rest is not tried */
};

/* ---- The end --------------------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct try *t = handle->data;
    json_free(t->channel);
    json_free(t->message);
    notice_clear(&t->n);
    mem_free(t->said);
    mem_free(t);
}

static void dissolve(struct try *t)
{
    list_remove(&t->node);
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

static void on_finished(uv_timer_t *timer)
{
    struct try *t = timer->data;
    t->outcome.text = t->said ? t->said : "";
    dissolve(t);
    t->done(t->arg, &t->outcome);
}

/* Takes `said`. */
static void finish(struct try *t, enum outbox_result result, char *said)
{
    if (!t->c) {
        mem_free(said);
        dissolve(t);
        return;
    }
    t->outcome.result = result;
    mem_free(t->said);
    t->said = said;
    uv_timer_start(&t->timer, on_finished, 0, 0);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

/* In our words: libcurl's have the address in them. */
static char *trouble(const struct try *t, int error)
{
    switch (error) {
    case -ETIMEDOUT:
        return mem_printf("no answer within %u ms", t->timeout_ms);
    case -ECONNREFUSED:
        return mem_copy("the connection was refused");
    case -EHOSTUNREACH:
        return mem_copy("its host is not known or not reachable");
    case -EACCES:
        return mem_copy("its certificate is not trusted");
    case -EPIPE:
        return mem_copy("the connection was cut off in the middle of the answer");
    case -EMSGSIZE:
        return mem_copy("its answer is too long");
    case -EINVAL:
        return mem_copy("its address is not one that can be called");
    case -EPERM:
        return mem_copy("user or password was refused");
    case -EPROTONOSUPPORT:
        return mem_copy("it offers no STARTTLS");
    default:
        return mem_copy(err_text(error));
    }
}

/* "503: try later". The caller owns it. */
static char *words(const struct try *t, const struct net_answer *answer)
{
    char *body = notice_clean(&t->n, answer->body, answer->body_len);
    char *out = *body ? mem_printf("answered %d: %s", answer->status, body)
                      : mem_printf("answered %d", answer->status);
    mem_free(body);
    return out;
}

/* What no repetition would change; a wrong token or address somebody may put right. */
static bool is_final(int status)
{
    return status == 400 || status == 413 || status == 415 || status == 422;
}

static void send_post(struct try *t);

/* Books the answer to one post. */
static void book(struct try *t, const struct net_answer *answer)
{
    const struct post *post = &t->n.posts[t->at];
    bool taken = !answer->error && answer->status >= 200 && answer->status < 300;
    char *said = answer->error ? trouble(t, answer->error) : words(t, answer);
    if (taken) {
        t->taken++;
        t->outcome.reached |= post->bit;
    } else {
        bool final = !answer->error && is_final(answer->status);
        uint64_t after = channel_retry_after_ms(answer->retry_after, t->n.wall_ms);
        t->outcome.result = t->failed && t->outcome.result == OUTBOX_AGAIN ? OUTBOX_AGAIN
                            : final                                        ? OUTBOX_REFUSED
                                                                           : OUTBOX_AGAIN;
        t->outcome.unreached = t->outcome.unreached || answer->error;
        t->outcome.retry_after_ms =
            after > t->outcome.retry_after_ms ? after : t->outcome.retry_after_ms;
    }
    if (!taken && post->bit && json_count(json_get(t->channel, "to")) > 1) {
        char *which = mem_printf("address %d: %s", __builtin_ctz(post->bit) + 1, said);
        mem_free(said);
        said = which;
    }
    if (!taken || !t->failed) { /* what went wrong counts more than what went well */
        mem_free(t->said);
        t->said = said;
    } else {
        mem_free(said);
    }
    t->failed = t->failed || !taken;
}

static void conclude(struct try *t)
{
    char *said = t->said;
    t->said = NULL;
    bool well = !t->failed || (t->kind->one_is_enough && t->taken);
    finish(t, well ? OUTBOX_SENT : t->outcome.result, said);
}

static void on_answer(void *arg, const struct net_answer *answer)
{
    struct try *t = arg;
    t->call = NULL;
    if (!t->c) {
        dissolve(t);
        return;
    }
    book(t, answer);
    t->at++;
    if (t->at < t->n.post_count && !(t->failed && t->kind->all_or_nothing)) {
        send_post(t);
    } else {
        conclude(t);
    }
}

static bool has_field(const char *const *fields, size_t count, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < count; i++) {
        if (!strncasecmp(fields[i], name, len) && fields[i][len] == ':') {
            return true;
        }
    }
    return false;
}

static void send_post(struct try *t)
{
    const struct post *post = &t->n.posts[t->at];
    const struct cJSON *headers = json_get(t->channel, "headers");
    const char **fields = mem_array(json_count(headers) + 3, sizeof *fields);
    char *type = NULL, *key = NULL;
    size_t count = 0;
    const struct cJSON *one = json_first(headers);
    for (; one; one = json_next(one)) {
        const char *field = notice_field(&t->n, one);
        if (field) {
            fields[count++] = field;
        }
    }
    if (post->body && !has_field(fields, count, "Content-Type")) {
        fields[count++] = type = mem_printf("Content-Type: %s", post->content_type);
    }
    if (*t->n.id && !has_field(fields, count, "Idempotency-Key")) {
        fields[count++] = key = mem_printf("Idempotency-Key: %s", t->n.id);
    }
    struct net_request request = {
        .method = post->body ? "POST" : "GET",
        .url = post->url,
        .headers = fields,
        .body = post->body,
        .body_len = post->body ? strlen(post->body) : 0,
        .connect_timeout_ms = t->timeout_ms,
        .timeout_ms = t->timeout_ms,
        .body_limit = CHANNEL_ANSWER_BYTES,
    };
    int rc = t->n.error ? 0 : net_call(t->c->client, &request, on_answer, t, &t->call);
    if (t->n.error || rc) {
        finish(t, OUTBOX_AGAIN, mem_copy(t->n.error ? t->n.error : err_text(rc)));
    }
    mem_free(type);
    mem_free(key);
    mem_free(fields);
}

static void begin_calls(struct try *t)
{
    t->kind->make(&t->n, t->outcome.reached);
    if (t->n.error) {
        finish(t, OUTBOX_AGAIN, mem_copy(t->n.error));
    } else if (!t->n.post_count) {
        finish(t, OUTBOX_SENT, mem_copy("nothing was to be sent"));
    } else {
        send_post(t);
    }
}

/* ---- Mail ------------------------------------------------------------------------------------ */

static void on_mail(void *arg, const struct net_answer *answer)
{
    struct try *t = arg;
    t->call = NULL;
    if (!t->c) {
        dissolve(t);
    } else if (answer->error && answer->status < 400) {
        t->outcome.unreached = true;
        finish(t, OUTBOX_AGAIN, trouble(t, answer->error));
    } else {
        char *said = notice_clean(&t->n, answer->body, answer->body_len);
        finish(t, answer->error ? OUTBOX_AGAIN : OUTBOX_SENT, mem_printf("answered %s", said));
        mem_free(said);
    }
}

static void begin_mail(struct try *t)
{
    const struct cJSON *to = json_get(t->channel, "to"), *list = json_get(to, "to");
    const struct cJSON *user = json_get(to, "user"), *password = json_get(to, "password");
    const char *ca = json_str(to, "ca", "");
    struct net_tls tls = {.ca = *ca ? ca : NULL};
    const char **addresses = mem_array(json_count(list) + 1, sizeof *addresses);
    size_t count = 0;
    for (const struct cJSON *one = json_first(list); one; one = json_next(one)) {
        addresses[count++] = channel_mail_address(json_value_str(one, ""));
    }
    char *from = channel_mail_address(json_str(to, "from", ""));
    char *text = channel_mail_text(&t->n);
    struct net_mail mail = {
        .from = from,
        .to = addresses,
        .user = user ? notice_secret(&t->n, user) : NULL,
        .password = password ? notice_secret(&t->n, password) : NULL,
        .starttls = json_bool(to, "starttls", false),
    };
    struct net_request request = {
        .url = json_str(to, "server", ""),
        .mail = &mail,
        .body = text,
        .body_len = strlen(text),
        .tls = &tls,
        .connect_timeout_ms = t->timeout_ms,
        .timeout_ms = t->timeout_ms,
        .body_limit = CHANNEL_ANSWER_BYTES,
        .fresh = true,
    };
    int rc = t->n.error ? 0 : net_call(t->c->client, &request, on_mail, t, &t->call);
    if (t->n.error || rc) {
        finish(t, OUTBOX_AGAIN, mem_copy(t->n.error ? t->n.error : err_text(rc)));
    }
    while (count) {
        mem_free((void *)(uintptr_t)addresses[--count]);
    }
    mem_free(addresses);
    mem_free(from);
    mem_free(text);
}

/* ---- Programs -------------------------------------------------------------------------------- */

static void on_exec(void *arg, int code, int signal, bool timed_out, const char *said, size_t len)
{
    struct try *t = arg;
    t->exec = NULL;
    char *clean = notice_clean(&t->n, said, len);
    const char *colon = *clean ? ": " : "";
    char *text = timed_out ? mem_printf("did not end within %u ms and was killed%s%s",
                                        t->timeout_ms, colon, clean)
                 : signal  ? mem_printf("ended by signal %d%s%s", signal, colon, clean)
                           : mem_printf("ended with %d%s%s", code, colon, clean);
    mem_free(clean);
    finish(t, !timed_out && !signal && !code ? OUTBOX_SENT : OUTBOX_AGAIN, text);
}

/* NAME=value; what others wrote in it stays one variable. */
static char *variable(const char *name, const char *value)
{
    return mem_printf("%s=%s", name, value ? value : "");
}

static void begin_exec(struct try *t)
{
    static const char *const inherited[] = {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"};
    const struct cJSON *to = json_get(t->channel, "to");
    const struct cJSON *labels = json_get(t->n.group, "commonLabels");
    char **argv = mem_array(json_count(to) + 1, sizeof *argv);
    char *env[16] = {0}; /* 6 inherited, 8 of ours, the end */
    size_t args = 0, vars = 0;
    for (const struct cJSON *one = json_first(to); one; one = json_next(one)) {
        argv[args++] = mem_copy(json_value_str(one, ""));
    }
    for (size_t i = 0; i < sizeof inherited / sizeof inherited[0]; i++) {
        if (getenv(inherited[i])) {
            env[vars++] = variable(inherited[i], getenv(inherited[i]));
        }
    }
    char *title = channel_title(t->message), *body = notice_body(&t->n);
    env[vars++] = variable("TIDEGATE_ID", t->n.id);
    env[vars++] = variable("TIDEGATE_CHANNEL", t->n.name);
    env[vars++] = variable("TIDEGATE_STATUS", json_str(t->n.group, "status", ""));
    env[vars++] = variable("TIDEGATE_SEVERITY", notice_severity(&t->n));
    env[vars++] = variable("TIDEGATE_ALERT", json_str(labels, "alertname", ""));
    env[vars++] = variable("TIDEGATE_SERVICE", json_str(labels, "service", ""));
    env[vars++] = variable("TIDEGATE_INSTANCE", json_str(labels, "instance", ""));
    env[vars++] = variable("TIDEGATE_TITLE", title);
    int rc = exec_start(t->c->loop, argv, env, body, t->timeout_ms, on_exec, t, &t->exec);
    if (rc) {
        finish(t, OUTBOX_AGAIN, mem_printf("%s cannot be started: %s", argv[0], err_text(rc)));
    }
    while (args) {
        mem_free(argv[--args]);
    }
    while (vars) {
        mem_free(env[--vars]);
    }
    mem_free(argv);
    mem_free(title);
    mem_free(body);
}

/* ---- Our own log ----------------------------------------------------------------------------- */

static void begin_log(struct try *t)
{
    if (t->n.text) {
        log_write(notice_is_firing(&t->n) ? LOG_WARN : LOG_INFO, "alert", "channel=%s message=%s",
                  t->n.name, t->n.text);
        finish(t, OUTBOX_SENT, mem_copy("written to the log"));
        return;
    }
    const struct cJSON *one = json_first(t->n.alerts);
    for (; one; one = json_next(one)) {
        const struct cJSON *labels = json_get(one, "labels");
        log_write(alert_is_firing(one) ? LOG_WARN : LOG_INFO, "alert",
                  "channel=%s status=%s alert=%s severity=%s service=%s instance=%s message=%s",
                  t->n.name, json_str(one, "status", ""), json_str(labels, "alertname", ""),
                  json_str(labels, "severity", ""), json_str(labels, "service", NULL),
                  json_str(labels, "instance", NULL),
                  json_str(json_get(one, "annotations"), "summary", ""));
    }
    finish(t, OUTBOX_SENT, mem_copy("written to the log"));
}

/* ---- Public ---------------------------------------------------------------------------------- */

static const struct kind kinds[] = {
    {"webhook", channel_make_webhook, begin_calls, false, false},
    {"alertmanager", channel_make_alertmanager, begin_calls, true, false},
    {"slack", channel_make_slack, begin_calls, false, false},
    {"pagerduty", channel_make_pagerduty, begin_calls, false, true},
    {"ntfy", channel_make_ntfy, begin_calls, false, false},
    {"email", NULL, begin_mail, false, false},
    {"exec", NULL, begin_exec, false, false},
    {"log", NULL, begin_log, false, false},
};

static void make_ping(struct notice *n, uint32_t reached)
{
    (void)reached;
    const char *url = notice_secret(n, json_get(n->channel, "to"));
    if (url) {
        notice_post(n, mem_copy(url), NULL, NULL, 0);
    }
}

static const struct kind ping = {"ping", make_ping, begin_calls, false, false};

struct channels *channels_new(struct uv_loop_s *loop, struct net_client *client)
{
    struct channels *c = mem_new(sizeof *c);
    *c = (struct channels){.loop = loop, .client = client};
    list_init(&c->tries);
    return c;
}

void channels_close(struct channels *c)
{
    if (!c) {
        return;
    }
    struct list *next;
    for (struct list *at = c->tries.next; at != &c->tries; at = next) {
        struct try *t = list_owner(at, struct try, node);
        next = at->next;
        t->c = NULL;
        if (t->exec) {
            exec_abandon(t->exec);
        }
        if (t->call) {
            list_remove(&t->node); /* until the client cancels it */
            net_call_cancel(t->call);
        } else {
            dissolve(t);
        }
    }
    mem_free(c);
}

static struct try *start(struct channels *c, const struct kind *kind, struct cJSON *takes_channel,
                         struct cJSON *takes_message, uint64_t wall_ms, channel_done_fn *done,
                         void *arg)
{
    struct try *t = mem_new(sizeof *t);
    t->c = c;
    t->kind = kind;
    t->channel = takes_channel;
    t->message = takes_message;
    t->timeout_ms = (uint32_t)json_num(t->channel, "timeout_ms", 10000);
    t->done = done;
    t->arg = arg;
    notice_init(&t->n, t->channel, t->message, wall_ms);
    uv_timer_init(c->loop, &t->timer);
    t->timer.data = t;
    list_append(&c->tries, &t->node);
    return t;
}

void channels_send(struct channels *c, const struct cJSON *channel, const struct cJSON *message,
                   uint32_t reached, uint64_t wall_ms, channel_done_fn *done, void *arg)
{
    const char *name = json_str(channel, "kind", "");
    size_t i = 0, count = sizeof kinds / sizeof kinds[0];
    while (i < count && !str_same(kinds[i].name, name)) {
        i++;
    }
    struct try *t = start(c, i < count ? &kinds[i] : &kinds[0], json_copy(channel),
                          json_copy(message), wall_ms, done, arg);
    t->outcome.reached = reached;
    if (i == count) {
        finish(t, OUTBOX_REFUSED, mem_copy("this version knows no such kind of channel"));
    } else {
        t->kind->begin(t);
    }
}

void channels_ping(struct channels *c, const struct cJSON *address, channel_done_fn *done,
                   void *arg)
{
    struct cJSON *channel = json_object();
    json_set(channel, "to", json_copy(address));
    struct try *t = start(c, &ping, channel, json_object(), 0, done, arg);
    t->kind->begin(t);
}
