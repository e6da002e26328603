/* certificates.h: the files of https listeners, read and held against each other; for the master and `check`.
 *
 *   configuration ("tls" of script.h) -> certificates_load -> a set -> certificates_message -> workers
 *
 * Nobody else opens these files: policies and workers never see their paths' content but as a worker's message. */
#ifndef APP_CERTIFICATES_H
#define APP_CERTIFICATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct cJSON;
struct certificate;

/* A certificate that is served. */
struct certificates_pair {
    struct certificates_pair *next;
    char *file, *key_file, *ocsp_file; /* ocsp_file NULL: none */
    char *at;                          /* "tidegate.lua:13" */
    bool old; /* what the files have now is no good: it is the one that was read before */
    struct certificate *c;
};

/* What a listener shows, in order. One of both is set. */
struct certificates_entry {
    const struct certificates_pair *pair; /* borrowed of the set */
    char *acme;   /* host whose certificate is provided (certificates_provide) */
    bool anybody; /* also for names that none is for */
};

struct certificates_listener {
    struct certificates_listener *next;
    char *listen, *at;
    struct certificates_entry *entries;
    size_t count;
    char *client_ca; /* PEM, or NULL */
    char *client, *min_version;
    char *anybody; /* name whose certificate is for names that none is for, or NULL */
    bool http2;
};

/* How the backends of a service that speak TLS are checked, and what they are shown. */
struct certificates_upstream {
    struct certificates_upstream *next;
    char *service, *at;
    char *ca;              /* PEM, or NULL: the system's */
    char *name;            /* that their certificates are for; NULL: the address */
    struct certificate *c; /* shown to them, or NULL */
    bool verify;
    bool http2; /* they have to agree on it */
};

struct certificates_set {
    struct certificates_pair *pairs;
    struct certificates_listener *listeners;
    struct certificates_upstream *upstreams;
    char **files; /* all that were read or looked for, folders too */
    size_t file_count;
};

/* Reads all that a configuration names. -EINVAL: *reterr has a line "file:line: path: what: what to do" for each that
 * is wrong; *ret_warnings (always owned by the caller, may be "") such lines for what is served nevertheless.
 * `before` (may be NULL): a set whose certificates go on in place of those that are no good now; each has its warning,
 * and there is no error. */
int certificates_load(const struct cJSON *config, const struct certificates_set *before,
                      struct certificates_set **ret_set, char **ret_warnings, char **reterr);
/* NULL is allowed. */
void certificates_set_free(struct certificates_set *set);
/* Whether there is anything that workers need to know. NULL is allowed. */
bool certificates_any(const struct certificates_set *set);

/* A certificate that no file has: of an authority that was asked, or for a challenge of one. */
struct certificates_provided {
    struct certificates_provided *next;
    char *source; /* "acme" */
    char *id;     /* the host that it is for */
    char *
        alpn; /* shown only to clients that offer this protocol, on every listener; NULL: to all, where the
                     configuration says so */
    struct certificate *c;
};

/* Appends the message of a set for workers (ipc.h). Nothing is appended beyond the buffer's limit: look at its length.
 * `to` is to be secret. */
void certificates_message(const struct certificates_set *set,
                          const struct certificates_provided *provided, char *const *tickets,
                          size_t ticket_count, uint64_t version, struct buf *to);

/* Reads what a configuration's services with protocol "https" or "h2" name (`upstream_tls`), and adds each to *to. `read` reads a
 * file and has it watched. What is wrong is told by `bad`, with the place and the path (may be NULL); it takes
 * `why`. `before`: as of certificates_load. */
struct certificates_reader {
    void *arg;
    int (*read)(void *arg, const char *path, bool secret, struct buf *ret_bytes, char **reterr);
    void (*bad)(void *arg, const char *at, const char *path, char *why);
    const struct certificates_set *before;
};
void certificates_upstreams_load(const struct cJSON *config, const struct certificates_reader *with,
                                 struct certificates_upstream **to);
void certificates_upstreams_free(struct certificates_upstream *all);

/* A file's bytes; `secret`: a key's, which others may not read, and which `ret_bytes` is to wipe. -errno with a
 * sentence that begins with a verb: "cannot be read: permission denied: ...". */
int certificates_read(const char *path, bool secret, struct buf *ret_bytes, char **reterr);

#endif
