/* ipc.h: length-prefixed messages between the master and its children over a
 * unix stream socket (fd 3 of every child), with descriptors where needed.
 *
 * A bad message costs the channel, never the process: on_close is called with
 * -EPROTO. Payloads are JSON unless the table says otherwise. */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct ipc;

/*  type            from     to       payload                                                   */
enum ipc_type {
    IPC_LOAD, /* master policy   {"path":"/abs/tidegate.lua","overrides":{"engine":"process"}} */
    IPC_CONFIG, /* policy master   the configuration as script.h shapes it; master policy the same back, to be
                    built with what LEARNED said before                                       */
    IPC_PREPARE,   /* master worker   the same; the worker builds that generation beside the old */
    IPC_LISTEN,    /* master worker   {"address":"0.0.0.0:8080"} + the listening descriptor      */
    IPC_COMMIT,    /* master worker   {} switch to the prepared generation                       */
    IPC_ABORT,     /* master worker   {} forget the prepared generation                          */
    IPC_ROSTER,    /* master worker   which backends, as fleet.h shapes it                       */
    IPC_SNAPSHOT,  /* master policy   the view of all services, as fleet.h shapes it             */
    IPC_DECISIONS, /* policy master   answers to it                                              */
    IPC_EVALUATE,  /* master policy   the metrics views, as script_cold_evaluate takes them      */
    IPC_EVALUATED, /* policy master   what the alerts in Lua say of them                         */
    IPC_LEARNED, /* master policy   {"save":true,"recent":true}, or {"series":{KEY:...},"strict":true,
                      "before"?:configuration,"recent"?:views to compare it on} as it was saved, for the
                      CONFIG that follows (strict: it is refused when a policy cannot go on from there);
                      policy master   {"series":{...},"last":false,"recent"?:...}, in portions    */
    IPC_NOTIFY,   /* master policy   {"id":7,"about":{...}} who hears of these alerts?            */
    IPC_NOTIFIED, /* policy master   the answer, as script_cold_notify gives it                  */
    IPC_DRAIN,    /* master worker   {"deadline_ms":30000} accept no more, finish, exit         */
    IPC_READY,    /* child  master   {} started and listening to messages                       */
    IPC_ACK, /* child  master   {"of":"config"|"prepare"|"commit"|"roster"|"challenges"|"certificates","version":N,"diff"?} */
    IPC_NACK, /* child  master   {"of":"load"|"config"|"prepare"|"certificates","error":"text, may be many lines"} */
    IPC_FACT, /* child  master   {"kind","service","backend","text"} news, as proxy.h has it   */
    IPC_EXPLAIN,   /* master worker {"id":N,"like":"GET /x Host: y","listen":"address or empty"}
                                or {"id":N,"request":"its X-Request-Id"}
                                or {"id":N,"after":81920,"service"?:"...","route"?:"..."}     */
    IPC_EXPLAINED, /* worker master {"id":N,...} what proxy_explain, _past or _trace says of it */
    IPC_CERTIFICATES, /* master worker {"version":N,"listeners":[{"listen":"0.0.0.0:8443","entries":[{"names":["a.example",
                       "*.b.example","*" (whatever name no other has)],"chain":"PEM","key":"PEM","ocsp"?:"base64 of DER",
                       "alpn"?:"acme-tls/1"}],"client_ca"?:"PEM","client":"none"|"request"|"require",
                       "min_version":"1.2"|"1.3","http2":true}],
                       "upstreams":[{"service":"shop","verify":true,"ca"?:"PEM","name"?:"shop.example","certificate"?:"PEM",
                       "key"?:"PEM"}],"tickets":["base64 of 48 or 80 bytes", newest first]}
                       Of a generation that is on its way: before its PREPARE, and it counts with its COMMIT.
                       Of the one in force: at once. Wiped from memory once it is sent, and once it is read. */
    IPC_SPANS,        /* worker master   {"spans":[...],"left_out":0} as proxy.h tells them */
    IPC_QUARANTINE, /* master child {"point":"scale","of":"catalog","place":0,"error":"file:line: ..."}: do not ask
                       that policy any more, in this generation */
    IPC_CHALLENGES, /* master worker  {"version":N,"answers":{"TOKEN":"text"}} what ACME authorities are answered below
                       /.well-known/acme-challenge/ (proxy.h); the worker ACKs "challenges"       */
    IPC_TYPES
};

/* A message as the callback sees it: borrowed until it returns. */
struct ipc_message {
    enum ipc_type type;
    uint32_t generation; /* of the configuration that it speaks of; 0 = none */
    const char *data;    /* NUL-terminated behind len */
    size_t len;
    int fd; /* -1, or a descriptor that the callback takes */
};

typedef void ipc_message_fn(void *arg, const struct ipc_message *message);
/* The other side closed (error 0), sent garbage (-EPROTO) or failed (-errno). Called once, never after
 * ipc_close; the owner then calls ipc_close. */
typedef void ipc_closed_fn(void *arg, int error);

/* A channel over `fd` on `loop`. Takes fd. -errno on failure (fd stays the caller's). */
int ipc_open(struct uv_loop_s *loop, int fd, ipc_message_fn *on_message, ipc_closed_fn *on_closed,
             void *arg, struct ipc **ret_channel);
/* Queues a message; copies `data`; dups `fd` (-1 for none). -EMSGSIZE over LIMIT_IPC_BYTES,
 * -EPIPE when the channel has failed. Never blocks. */
int ipc_send(struct ipc *channel, enum ipc_type type, uint32_t generation, const char *data,
             size_t len, int fd);
/* The same with a JSON text or C string. */
int ipc_send_text(struct ipc *channel, enum ipc_type type, uint32_t generation, const char *text);
/* Closes at once, dropping what is queued; frees in the last libuv callback. NULL is allowed. */
void ipc_close(struct ipc *channel);
/* A connected pair of close-on-exec sockets; -errno. */
int ipc_pair(int ret_fds[2]);

#endif
