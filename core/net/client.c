/* client.c: HTTP calls, and mails (mail.c), by libcurl's multi interface on a libuv loop; see net.h.
 *
 * Owns: libcurl's functions (curl.h), one CURLM with its connection pool, one uv_poll per socket of it, and
 * every call from net_call to its callback.
 * Invariants: curl is only entered from the loop, by the three timers and the
 * polls below; the user's net_call and net_call_cancel merely queue, since curl
 * forbids both inside its callbacks. So a call ends in exactly one place:
 * finish().
 * Does not: follow redirects, use proxies of the environment, or keep cookies.
 *
 * libcurl's own low-speed limit fires seconds late, so each call watches the
 * pause between bytes with a timer of its own. */
#include "net/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/curl.h"
#include "net/mail.h"

enum {
    POOLED_CONNECTIONS = 64, /* below the parallelism, reuse collapses */
    FIELD_BYTES = 128,       /* kept of a header field's value */
    LONG_FIELD_BYTES = 1001, /* of one that names another place */
    CONNECT_TIMEOUT_MS = 1000
};

struct net_client {
    struct net_curl curl;
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer; /* when curl wants to be called without an event */
    uv_timer_t soon;  /* works off `queued` in the next turn of the loop */
    struct list calls;
    bool closing;
    unsigned open; /* handles of ours on the loop, timers of calls not counted */
};

struct socket {
    uv_poll_t poll;
    struct net_client *client;
    curl_socket_t fd;
};

struct net_call {
    struct list node;
    struct net_client *client;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    uv_timer_t silence; /* always initialised: its close callback frees the call */
    uint32_t silence_ms;
    uint64_t began_ms, last_ms; /* last_ms: of the last byte in either direction */
    curl_off_t sent;
    bool added, cancelled, headed;
    int refused; /* our own reason to end it: -EMSGSIZE, -EIO */
    int upload_fd;
    struct buf body;
    char api_version[FIELD_BYTES], content_type[FIELD_BYTES], retry_after[FIELD_BYTES];
    char grpc_status[FIELD_BYTES], grpc_message[FIELD_BYTES];
    char location[LONG_FIELD_BYTES], replay_nonce[LONG_FIELD_BYTES];
    struct mail mail;
    char error_text[CURL_ERROR_SIZE]; /* curl's */
    char refused_text[CURL_ERROR_SIZE];
    net_head_fn *on_head;
    net_data_fn *on_data;
    net_done_fn *done;
    void *arg;
};

/* ---- The end of a call ---- */

static int error_of(CURLcode code, long os_errno)
{
    switch ((int)code) { /* an int: of libcurl's hundred codes only these matter */
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_CONNECT:
        return os_errno > 0 ? (int)-os_errno : -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
        return -EHOSTUNREACH;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return -EPIPE;
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return -EINVAL;
    case CURLE_PEER_FAILED_VERIFICATION:
        return -EACCES;
    case CURLE_LOGIN_DENIED:
        return -EPERM;
    case CURLE_USE_SSL_FAILED:
        return -EPROTONOSUPPORT;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_HTTP2:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_SSL_CONNECT_ERROR:
        return -EPROTO;
    default:
        return -EIO;
    }
}

static void on_call_closed(uv_handle_t *handle)
{
    struct net_call *call = handle->data;
    buf_free(&call->body);
    mail_free(&call->mail);
    mem_free(call);
}

/* Takes the call apart and tells its owner. `text` is NULL for what curl has to say. */
static void finish(struct net_call *call, int error, const char *text)
{
    const struct net_curl *curl = &call->client->curl;
    long status = 0;
    curl->easy_get(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->added) {
        must(curl->multi_remove_handle(call->client->multi, call->easy) == CURLM_OK);
    }
    curl->easy_cleanup(call->easy);
    curl->slist_free_all(call->headers);
    curl->slist_free_all(call->connect_to);
    curl->slist_free_all(call->mail.to);
    call->mail.to = NULL;
    list_remove(&call->node);
    uv_close((uv_handle_t *)&call->silence, on_call_closed);
    struct net_answer answer = {
        .error = error,
        .error_text = !error ? ""
                      : text ? text
                             : call->error_text,
        .status = (int)status,
        .body = buf_str(&call->body),
        .body_len = call->body.len,
        .api_version = call->api_version,
        .content_type = call->content_type,
        .retry_after = call->retry_after,
        .grpc_status = call->grpc_status,
        .grpc_message = call->grpc_message,
        .location = call->location,
        .replay_nonce = call->replay_nonce,
        .took_ms = (uint32_t)(clock_now_ms() - call->began_ms),
    };
    call->done(call->arg, &answer);
}

static void finish_by_curl(struct net_call *call, CURLcode code)
{
    const struct net_curl *curl = &call->client->curl;
    long os_errno = 0;
    curl->easy_get(call->easy, CURLINFO_OS_ERRNO, &os_errno);
    if (call->cancelled) {
        finish(call, -ECANCELED, "cancelled");
    } else if (call->refused) {
        finish(call, call->refused, call->refused_text);
    } else {
        if (code && !call->error_text[0]) {
            str_copy(call->error_text, sizeof call->error_text, curl->easy_strerror(code));
        }
        finish(call, error_of(code, os_errno), NULL);
    }
}

/* One message at a time: a callback may close the client, and start or cancel others. */
static void collect(struct net_client *client)
{
    const struct net_curl *curl = &client->curl;
    int left;
    CURLMsg *message;
    while (!client->closing && (message = curl->multi_info_read(client->multi, &left))) {
        if (message->msg == CURLMSG_DONE) {
            struct net_call *call;
            CURLcode code = message->data.result;
            must(curl->easy_get(message->easy_handle, CURLINFO_PRIVATE, &call) == CURLE_OK);
            finish_by_curl(call, code);
        }
    }
}

/* ---- curl's wishes ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct net_client *client = handle->data;
    if (--client->open == 0) {
        client->curl.global_cleanup();
        mem_free(client);
    }
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct socket *s = handle->data;
    handle->data = s->client;
    on_handle_closed(handle);
    mem_free(s);
}

static void on_socket_event(uv_poll_t *poll, int status, int events)
{
    struct socket *s = poll->data;
    struct net_client *client = s->client;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    int running;
    client->curl.multi_socket_action(client->multi, s->fd, flags, &running);
    collect(client);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *per_socket)
{
    struct net_client *client = arg;
    struct socket *s = per_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            client->curl.multi_assign(client->multi, fd, NULL);
            uv_poll_stop(&s->poll);
            uv_close((uv_handle_t *)&s->poll, on_socket_closed);
        }
        return 0;
    }
    if (!s) {
        s = mem_new(sizeof *s);
        s->client = client;
        s->fd = fd;
        if (uv_poll_init_socket(client->loop, &s->poll, fd)) {
            mem_free(s);
            return -1;
        }
        s->poll.data = s;
        client->open++;
        client->curl.multi_assign(client->multi, fd, s);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&s->poll, events, on_socket_event);
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct net_client *client = timer->data;
    int running;
    client->curl.multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(client);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct net_client *client = arg;
    (void)multi;
    if (timeout_ms < 0) {
        uv_timer_stop(&client->timer);
    } else {
        uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

/* ---- Bytes of a call; these run inside curl ---- */

static bool field(struct str line, const char *name, char *to, size_t size)
{
    size_t len = strlen(name);
    if (line.len <= len || line.ptr[len] != ':' || strncasecmp(line.ptr, name, len)) {
        return false;
    }
    struct str value = str_sub(line, len + 1, line.len);
    while (value.len && (value.ptr[value.len - 1] == '\n' || value.ptr[value.len - 1] == '\r')) {
        value.len--;
    }
    str_put(to, size, str_trim(value));
    return true;
}

static size_t on_curl_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct net_call *call = arg;
    struct str line = {bytes, size * count};
    call->last_ms = clock_now_ms();
    if (call->cancelled) {
        return 0;
    }
    if (call->mail.text) {
        mail_note(&call->body, line);
        return line.len;
    }
    bool blank = line.len == 2 && line.ptr[0] == '\r';
    if (call->headed || !blank) {
        (void)(field(line, "Api-Version", call->api_version, FIELD_BYTES) ||
               field(line, "Content-Type", call->content_type, FIELD_BYTES) ||
               field(line, "Retry-After", call->retry_after, FIELD_BYTES) ||
               field(line, "grpc-status", call->grpc_status, FIELD_BYTES) ||
               field(line, "grpc-message", call->grpc_message, FIELD_BYTES) ||
               field(line, "Location", call->location, LONG_FIELD_BYTES) ||
               field(line, "Replay-Nonce", call->replay_nonce, LONG_FIELD_BYTES));
        return line.len;
    }
    long status = 0;
    call->client->curl.easy_get(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200) { /* not 100 Continue and the like */
        call->headed = true;
        if (call->on_head) {
            call->on_head(call->arg, (int)status);
        }
    }
    return line.len;
}

static size_t on_curl_data(char *bytes, size_t size, size_t count, void *arg)
{
    struct net_call *call = arg;
    size_t len = size * count;
    call->last_ms = clock_now_ms();
    if (call->cancelled) {
        return 0;
    }
    if (call->on_data) {
        call->on_data(call->arg, bytes, len);
        return call->cancelled ? 0 : len;
    }
    if (buf_append(&call->body, bytes, len)) {
        call->refused = -EMSGSIZE;
        snprintf(call->refused_text, sizeof call->refused_text,
                 "the answer is larger than %zu bytes", call->body.limit);
        return 0;
    }
    return len;
}

static size_t on_curl_read(char *to, size_t size, size_t count, void *arg)
{
    struct net_call *call = arg;
    call->last_ms = clock_now_ms();
    if (call->cancelled) {
        return CURL_READFUNC_ABORT;
    }
    if (call->mail.text) {
        return mail_read(&call->mail, to, size * count);
    }
    ssize_t got;
    do {
        got = read(call->upload_fd, to, size * count);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        call->refused = -EIO;
        snprintf(call->refused_text, sizeof call->refused_text, "reading the upload failed: %s",
                 err_text(errno));
        return CURL_READFUNC_ABORT;
    }
    return (size_t)got;
}

/* ---- The beginning of a call ---- */

static void on_silence(uv_timer_t *timer)
{
    struct net_call *call = timer->data;
    curl_off_t sent = 0;
    call->client->curl.easy_get(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    uint64_t now_ms = clock_now_ms();
    if (sent != call->sent) { /* a large body from memory passes without a callback */
        call->sent = sent;
        call->last_ms = now_ms;
    }
    uint64_t quiet = now_ms - call->last_ms;
    if (quiet < call->silence_ms) {
        uv_timer_start(timer, on_silence, call->silence_ms - quiet, 0);
        return;
    }
    char text[64]; /* 37 bytes at most */
    snprintf(text, sizeof text, "no byte came for %u ms", call->silence_ms);
    finish(call, -ETIMEDOUT, text);
}

static void add(struct net_call *call)
{
    call->added = true;
    call->began_ms = call->last_ms = clock_now_ms();
    if (call->client->curl.multi_add_handle(call->client->multi, call->easy)) {
        call->added = false;
        finish(call, -EIO, "libcurl refused the call");
    } else if (call->silence_ms) {
        uv_update_time(call->client->loop);
        uv_timer_start(&call->silence, on_silence, call->silence_ms, 0);
    }
}

static struct net_call *next_queued(struct net_client *client)
{
    for (struct list *at = client->calls.next; at != &client->calls; at = at->next) {
        struct net_call *call = list_owner(at, struct net_call, node);
        if (call->cancelled || !call->added) {
            return call;
        }
    }
    return NULL;
}

static void on_soon(uv_timer_t *timer)
{
    struct net_client *client = timer->data;
    struct net_call *call;
    while (!client->closing && (call = next_queued(client))) {
        if (call->cancelled) {
            finish(call, -ECANCELED, "cancelled");
        } else {
            add(call);
        }
    }
}

static void set_method(struct net_call *call, const struct net_request *r)
{
    const struct net_curl *curl = &call->client->curl;
    CURL *easy = call->easy;
    const char *method = r->method ? r->method : "GET";
    if (r->upload_fd > 0) {
        curl->easy_set(easy, CURLOPT_UPLOAD, 1L);
        curl->easy_set(easy, CURLOPT_CUSTOMREQUEST, method);
    } else if (r->body || !strcmp(method, "POST")) {
        curl->easy_set(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        curl->easy_set(easy, CURLOPT_COPYPOSTFIELDS, r->body ? r->body : "");
        curl->easy_set(easy, CURLOPT_CUSTOMREQUEST, method);
    } else if (!strcmp(method, "HEAD")) {
        curl->easy_set(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET")) {
        curl->easy_set(easy, CURLOPT_CUSTOMREQUEST, method);
    }
}

static void set_tls(struct net_call *call, const struct net_tls *tls)
{
    const struct net_curl *curl = &call->client->curl;
    CURL *easy = call->easy;
    if (tls->ca) {
        curl->easy_set(easy, CURLOPT_CAINFO, tls->ca);
    }
    if (tls->certificate) {
        curl->easy_set(easy, CURLOPT_SSLCERT, tls->certificate);
    }
    if (tls->key) {
        curl->easy_set(easy, CURLOPT_SSLKEY, tls->key);
    }
    if (tls->skip_verify) {
        curl->easy_set(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl->easy_set(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_headers(struct net_call *call, const struct net_request *r)
{
    const struct net_curl *curl = &call->client->curl;
    /* No "Expect: 100-continue": it costs a second where the server does not know it. */
    call->headers = curl->slist_append(NULL, "Expect:");
    for (const char *const *line = r->headers; line && *line; line++) {
        struct curl_slist *more = curl->slist_append(call->headers, *line);
        must(more);
        call->headers = more;
    }
    curl->easy_set(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

static void set_options(struct net_call *call, const struct net_request *r)
{
    const struct net_curl *curl = &call->client->curl;
    CURL *easy = call->easy;
    long connect_ms = r->connect_timeout_ms ? (long)r->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    curl->easy_set(easy, CURLOPT_PRIVATE, call);
    curl->easy_set(easy, CURLOPT_URL, r->url);
    curl->easy_set(easy, CURLOPT_PROTOCOLS_STR, r->mail ? "smtp,smtps" : "http,https");
    curl->easy_set(easy, CURLOPT_HTTP_VERSION,
                   r->http2 ? (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                            : (long)CURL_HTTP_VERSION_1_1);
    curl->easy_set(easy, CURLOPT_PROXY, "");
    curl->easy_set(easy, CURLOPT_USERAGENT, "tidegate/" TIDEGATE_VERSION);
    curl->easy_set(easy, CURLOPT_NOSIGNAL, 1L);
    curl->easy_set(easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver thread */
    curl->easy_set(easy, CURLOPT_TCP_NODELAY, 1L);
    curl->easy_set(easy, CURLOPT_ERRORBUFFER, call->error_text);
    curl->easy_set(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    curl->easy_set(easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl->easy_set(easy, CURLOPT_HEADERFUNCTION, on_curl_header);
    curl->easy_set(easy, CURLOPT_HEADERDATA, call);
    curl->easy_set(easy, CURLOPT_WRITEFUNCTION, on_curl_data);
    curl->easy_set(easy, CURLOPT_WRITEDATA, call);
    curl->easy_set(easy, CURLOPT_READFUNCTION, on_curl_read);
    curl->easy_set(easy, CURLOPT_READDATA, call);
    if (r->unix_path) {
        curl->easy_set(easy, CURLOPT_UNIX_SOCKET_PATH, r->unix_path);
    }
    if (r->connect_to) {
        char *anywhere = mem_printf("::%s", r->connect_to);
        call->connect_to = curl->slist_append(NULL, anywhere);
        curl->easy_set(easy, CURLOPT_CONNECT_TO, call->connect_to);
        mem_free(anywhere);
    }
    if (r->fresh) {
        curl->easy_set(easy, CURLOPT_FRESH_CONNECT, 1L);
        curl->easy_set(easy, CURLOPT_FORBID_REUSE, 1L);
    }
    if (r->tls) {
        set_tls(call, r->tls);
    }
    if (r->mail) {
        mail_set(curl, easy, r, &call->mail);
        return;
    }
    set_method(call, r);
    set_headers(call, r);
}

/* ---- Public ---- */

int net_call(struct net_client *client, const struct net_request *request, net_done_fn *done,
             void *arg, struct net_call **ret_call)
{
    if (client->closing) {
        return -ECANCELED;
    }
    CURL *easy = client->curl.easy_init();
    if (!easy) {
        return -ENOMEM;
    }
    struct net_call *call = mem_new(sizeof *call);
    *call = (struct net_call){
        .client = client,
        .easy = easy,
        .silence_ms = request->silence_ms,
        .began_ms = clock_now_ms(),
        .upload_fd = request->upload_fd,
        .on_head = request->on_head,
        .on_data = request->on_data,
        .done = done,
        .arg = arg,
    };
    buf_init(&call->body, request->body_limit ? request->body_limit : LIMIT_ENGINE_BODY_BYTES);
    set_options(call, request);
    uv_timer_init(client->loop, &call->silence);
    call->silence.data = call;
    list_append(&client->calls, &call->node);
    uv_timer_start(&client->soon, on_soon, 0, 0);
    if (ret_call) {
        *ret_call = call;
    }
    return 0;
}

void net_call_cancel(struct net_call *call)
{
    call->cancelled = true;
    uv_timer_start(&call->client->soon, on_soon, 0, 0);
}

int net_client_new(struct uv_loop_s *loop, struct net_client **ret_client, char **reterr)
{
    struct net_curl table;
    int rc = net_curl_load(NULL, &table, reterr);
    if (rc) {
        return rc;
    }
    const struct net_curl *curl = &table;
    if (curl->global_init(CURL_GLOBAL_DEFAULT)) {
        return -EIO;
    }
    CURLM *multi = curl->multi_init();
    if (!multi) {
        curl->global_cleanup();
        return -ENOMEM;
    }
    struct net_client *client = mem_new(sizeof *client);
    *client = (struct net_client){.curl = table, .loop = loop, .multi = multi, .open = 2};
    list_init(&client->calls);
    uv_timer_init(loop, &client->timer);
    uv_timer_init(loop, &client->soon);
    client->timer.data = client->soon.data = client;
    curl->multi_set(multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl->multi_set(multi, CURLMOPT_SOCKETDATA, client);
    curl->multi_set(multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl->multi_set(multi, CURLMOPT_TIMERDATA, client);
    curl->multi_set(multi, CURLMOPT_MAXCONNECTS, (long)POOLED_CONNECTIONS);
    curl->multi_set(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    *ret_client = client;
    return 0;
}

void net_client_close(struct net_client *client)
{
    if (!client || client->closing) {
        return;
    }
    client->closing = true;
    while (!list_empty(&client->calls)) {
        finish(list_owner(client->calls.next, struct net_call, node), -ECANCELED, "closing");
    }
    client->curl.multi_cleanup(client->multi);
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
    uv_close((uv_handle_t *)&client->soon, on_handle_closed);
}
