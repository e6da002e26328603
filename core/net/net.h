/* net.h: libuv and libcurl made small, for the control plane. (HTTP/1 on the
 * data plane is net/http1.h.)
 *
 * Every asynchronous start either fails and never calls back, or calls back
 * exactly once, later, never from inside the start, also on cancel. */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;

/* ---- Addresses -------------------------------------------------------------------------- */

enum {
    NET_ADDR_BYTES = 128,
    NET_ADDR_TEXT = 128
};

/* A numeric endpoint: IPv4, IPv6 or a unix socket path. */
struct net_addr {
    unsigned char bytes[NET_ADDR_BYTES]; /* a struct sockaddr of whichever family */
    uint32_t len;                        /* of it */
    char text[NET_ADDR_TEXT];            /* "10.0.0.5:80", "[::1]:80", "unix:/run/x.sock" */
};

/* Parses "1.2.3.4:80", "[::1]:80", ":80" (all IPv4 addresses), "unix:/path", each with or without
 * "http://" or "tcp://" before it. -EINVAL: not of that shape; -EDESTADDRREQ: a host name, which
 * needs net_resolve; -ENAMETOOLONG: socket path. */
int net_addr_parse(const char *text, struct net_addr *ret_addr);
/* Listens on it, non-blocking, close-on-exec. With reuse_port several sockets may share the
 * address. A stale unix socket file is replaced. -errno (such as -EADDRINUSE, -EACCES). */
int net_listen(const struct net_addr *addr, bool reuse_port, int *ret_fd);

typedef void net_resolved_fn(void *arg, int error, const struct net_addr *addr);
/* Resolves "host:port" (numeric ones too) off the loop; the first address found. -EINVAL. */
int net_resolve(struct uv_loop_s *loop, const char *host_port, net_resolved_fn *done, void *arg);

typedef void net_connected_fn(void *arg, int error, uint32_t took_ms);
/* Opens a TCP or unix connection and closes it again; error 0, -ETIMEDOUT, -ECONNREFUSED, ... */
int net_try_connect(struct uv_loop_s *loop, const struct net_addr *addr, uint32_t timeout_ms,
                    net_connected_fn *done, void *arg);

/* ---- HTTP calls ------------------------------------------------------------------------- */

struct net_client; /* one curl multi on one loop */
struct net_call;

struct net_tls { /* paths of PEM files; NULL = not used */
    const char *ca, *certificate, *key;
    bool skip_verify;
};

typedef void net_head_fn(void *arg, int status);
/* Body bytes as they come, borrowed. */
typedef void net_data_fn(void *arg, const char *bytes, size_t len);

/* A mail: the call's `url` is "smtp://mail:25" or "smtps://mail:465", its body the whole message, lines
 * ending with CRLF. The answer's status is the server's last code, its body what it said there. */
struct net_mail {
    const char *from;            /* address alone: "tidegate@shop.example" */
    const char *const *to;       /* addresses, NULL-terminated */
    const char *user, *password; /* NULL = does not log in */
    bool starttls;               /* refuses to go on without */
};

struct net_request {
    const char *method;          /* NULL = GET */
    const char *url;             /* "http://docker/v1.41/containers/json" */
    const struct net_mail *mail; /* NULL = a call by HTTP */
    const char *unix_path;       /* connect there instead of to the URL's host; NULL = TCP */
    const char
        *connect_to; /* "10.0.0.5:443": the same; the URL's host is the name that is checked */
    const char *const *headers; /* "Name: value" lines, NULL-terminated; NULL = none */
    const char *body;           /* copied; NULL = none */
    size_t body_len;
    int upload_fd; /* > 0: body is read from this descriptor to its end, chunked; borrowed until done */
    const struct net_tls *tls;   /* NULL unless https */
    uint32_t connect_timeout_ms; /* 0 = 1000 */
    uint32_t timeout_ms;         /* whole call; 0 = none */
    uint32_t silence_ms;         /* longest pause between bytes once sent; 0 = any */
    size_t body_limit;           /* collected body; beyond it the call fails with -EMSGSIZE; 0 =
                          LIMIT_ENGINE_BODY_BYTES */
    bool http2;                  /* HTTP/2 from the first byte on, instead of HTTP/1.1 */
    bool fresh;                  /* do not reuse a pooled connection, nor leave one */
    net_head_fn *on_head;        /* final status line seen, before any body; may be NULL */
    net_data_fn *on_data;        /* streams the body instead of collecting it; may be NULL */
};

struct net_answer { /* borrowed until the callback returns */
    int error;      /* 0 = an HTTP answer came, whatever its status; else -ECONNREFUSED, -ETIMEDOUT,
                  -ECANCELED, -EMSGSIZE, -EPIPE (cut off), -ENOENT (no socket file), -EPROTO, -EIO ... */
    const char *error_text; /* libcurl's sentence when error; else "" */
    int status;
    const char *body; /* NUL-terminated; "" when streamed */
    size_t body_len;
    const char *api_version;  /* value of the Api-Version field, or "" */
    const char *content_type; /* or "" */
    const char *retry_after;  /* value of the Retry-After field, or "" */
    const char *grpc_status;  /* ... of grpc-status, in head or trailers, */
    const char *grpc_message; /* and of grpc-message, as it came */
    const char *location; /* of the Location field, or ""; longer ones than 1,000 bytes are cut */
    const char *replay_nonce; /* of the Replay-Nonce field (RFC 8555), or "" */
    uint32_t took_ms;
};

typedef void net_done_fn(void *arg, const struct net_answer *answer);

/* The process must ignore SIGPIPE: TLS connections of libcurl may raise it. The first one loads
 * libcurl; *reterr (unset before) is told when there is none: -ELIBACC. */
int net_client_new(struct uv_loop_s *loop, struct net_client **ret_client, char **reterr);
/* Cancels what is under way (the callbacks come with -ECANCELED before this returns: the only
 * exception to "later"), closes; memory goes with the loop's close callbacks. NULL is allowed. Not
 * to be used within on_head or on_data. */
void net_client_close(struct net_client *client);
/* Starts a call; copies all of `request`. ret_call may be NULL. The callback's arg is also that
 * of on_head and on_data. */
int net_call(struct net_client *client, const struct net_request *request, net_done_fn *done,
             void *arg, struct net_call **ret_call);
/* Ends a call; `done` comes later with -ECANCELED. Not to be used after `done`. */
void net_call_cancel(struct net_call *call);

#endif
