/* limits.h: every bound on what a user or a peer controls, in one place. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

enum {
    LIMIT_WORKERS = 64,                  /* worker processes */
    LIMIT_BACKENDS = 4096,               /* rows of the scoreboard */
    LIMIT_SERVICES = 1024,               /* services in one configuration */
    LIMIT_INSTANCES = 1000,              /* instances of one service */
    LIMIT_NAME_BYTES = 63,               /* cluster, service and instance names */
    LIMIT_CONFIG_BYTES = 1 << 20,        /* one Lua configuration or policy file */
    LIMIT_IPC_BYTES = 32 << 20,          /* one message between our processes */
    LIMIT_CONTROL_BYTES = 256 << 10,     /* one request on the control socket */
    LIMIT_ANSWER_BYTES = 64 << 20,       /* one answer on the control socket, one page */
    LIMIT_ADMIN_CLIENTS = 64,            /* served at once on the control socket, as many by HTTP */
    LIMIT_ENGINE_BODY_BYTES = 16 << 20,  /* one answer of the engine */
    LIMIT_ENGINE_LINE_BYTES = 256 << 10, /* one line of an engine stream */
    LIMIT_HEALTH_BODY_BYTES = 64 << 10,  /* kept of a health answer */
    LIMIT_HEAD_BYTES = 16 << 10,         /* head of an HTTP message */
    LIMIT_PROXY_HEADER_BYTES = 4 << 10,  /* of the PROXY protocol */
    LIMIT_FIELDS = 100,                  /* fields in one HTTP head, and in one trailer section */
    LIMIT_CHUNK_EXTRA_BYTES = 8 << 10,   /* extensions and trailers of one chunked body */
    /* One connection of HTTP/2: at once, of one header block, or at once and then so many a second. */
    LIMIT_H2_STREAMS = 128,     /* requests under way */
    LIMIT_H2_CONTINUATIONS = 8, /* frames of a header block behind its first */
    LIMIT_H2_BLOCK_BYTES =
        64 << 10, /* of a header block, decoded; over LIMIT_HEAD_BYTES it is answered 431 */
    LIMIT_H2_BLOCK_FIELDS = 1000, /* the same of its fields, over LIMIT_FIELDS */
    LIMIT_H2_RESETS = 500,        /* streams cancelled by the client or for its mistakes */
    LIMIT_H2_RESETS_S = 50,
    LIMIT_H2_SETTINGS = 20, /* the other frames that cost us and bring nothing */
    LIMIT_H2_SETTINGS_S = 2,
    LIMIT_H2_PINGS = 200,
    LIMIT_H2_PINGS_S = 20,
    LIMIT_H2_EMPTY = 100,
    LIMIT_H2_EMPTY_S = 10,
    LIMIT_H2_PRIORITIES = 500,
    LIMIT_H2_PRIORITIES_S = 100,
    LIMIT_H2_WINDOWS = 2000, /* beside four for each frame that we send */
    LIMIT_H2_WINDOWS_S = 200,
    LIMIT_LOG_LINE_BYTES = 8 << 10,       /* one line of our log */
    LIMIT_REASON_BYTES = 512,             /* a reason that is kept for status */
    LIMIT_CODER_BYTES = 64 << 20,         /* what compresses answers, in one worker */
    LIMIT_DECISIONS = 1024,               /* decision records kept in memory */
    LIMIT_POLICY_MEMORY_BYTES = 64 << 20, /* one Lua state */
    LIMIT_POLICY_CPU_MS = 50,             /* thread CPU time of one cold decision */
    LIMIT_POLICY_LOAD_CPU_MS = 500,       /* of loading one policy and making its instance */
    LIMIT_CERTIFICATES = 2048,            /* read from files, for all listeners */
    LIMIT_CERTIFICATE_BYTES = 1 << 20,    /* one file of certificates, keys or an answer */
    LIMIT_ANOMALY_SERIES = 20000,         /* that are watched for anomalies */
    LIMIT_LABEL_SETS = 1024,              /* different sets of labels of containers */
};

#endif
