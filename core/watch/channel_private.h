/* channel_private.h: what the senders of channels share.
 *
 * channel.c runs tries; channel_<kind>.c say what is sent: pure functions that fill in a `struct notice`. */
#ifndef WATCH_CHANNEL_PRIVATE_H
#define WATCH_CHANNEL_PRIVATE_H

#include "watch/channel.h"

enum {
    CHANNEL_ADDRESSES = 16,        /* as the configuration allows */
    CHANNEL_TEXT_BYTES = 64 << 10, /* of a message for people */
    CHANNEL_SAID_BYTES = 400,      /* kept of an answer */
    CHANNEL_SECRET_BYTES = 4096,
    CHANNEL_ANSWER_BYTES = 64 << 10, /* read of one */
    CHANNEL_KEEP_FIRING_MS = 240000, /* Alertmanager ends what it is not told again for so long */
};

/* One call. */
struct post {
    char *url, *body;
    const char *content_type;
    uint32_t bit; /* of its address in `reached`; 0: is sent again with all others */
};

/* A message on its way to a channel, what is sent for it, and which secrets it took. */
struct notice {
    const struct cJSON *channel, *message, *group, *alerts; /* borrowed */
    const char *id, *name;
    const char *text; /* the template's, or NULL */
    uint64_t wall_ms;
    struct post *posts;
    size_t post_count;
    char **secrets;
    size_t secret_count;
    char *error; /* why nothing can be sent, for the operator */
};

void notice_init(struct notice *n, const struct cJSON *channel, const struct cJSON *message,
                 uint64_t wall_ms);
/* Overwrites the secrets. */
void notice_clear(struct notice *n);

/* ---- channel_secret.c ---- */
/* The text behind a SECRET, owned by the notice; NULL: it cannot be had, and n->error says why. */
const char *notice_secret(struct notice *n, const struct cJSON *secret);
/* The value of a header field, "Name: value"; NULL as above. */
const char *notice_field(struct notice *n, const struct cJSON *header);
/* `text` (len bytes) as one short line in UTF-8 without any secret; the caller owns it. */
char *notice_clean(const struct notice *n, const char *text, size_t len);

/* ---- the kinds ---- */
/* Takes url and body. */
void notice_post(struct notice *n, char *url, char *body, const char *content_type, uint32_t bit);
/* Makes the posts; on failure n->error is set. Addresses in `reached` are left out. */
void channel_make_webhook(struct notice *n, uint32_t reached);
void channel_make_alertmanager(struct notice *n, uint32_t reached);
void channel_make_slack(struct notice *n, uint32_t reached);
void channel_make_pagerduty(struct notice *n, uint32_t reached);
void channel_make_ntfy(struct notice *n, uint32_t reached);
/* A whole mail (RFC 5322). The caller owns it. */
char *channel_mail_text(const struct notice *n);
/* The address in "Name <address>", or all of it; the caller owns it. */
char *channel_mail_address(const char *text);

/* The body of a webhook: the template's text or the group; the caller owns it. */
char *notice_body(const struct notice *n);
/* The worst severity of those that fire, "resolved" when none does. */
const char *notice_severity(const struct notice *n);
bool notice_is_firing(const struct notice *n);
bool alert_is_firing(const struct cJSON *alert);
/* Text for people of one alert: "catalog/catalog-7: message"; the caller owns it. */
char *alert_line(const struct cJSON *alert);
/* Milliseconds since 1970 of "2026-01-31T12:00:00.000Z"; 0 when it is none. */
uint64_t alert_time_ms(const char *iso);
/* What Retry-After says, in ms; 0 when nothing. */
uint64_t channel_retry_after_ms(const char *text, uint64_t wall_ms);

/* ---- channel_exec.c ---- */
struct exec;
typedef void exec_done_fn(void *arg, int code, int signal, bool timed_out, const char *said,
                          size_t len);
/* Runs argv with `input` on its stdin and `env` as its environment, for timeout_ms at most, then kills it and what it
 * started. -errno: it cannot be started; then never calls back. Borrows all. `said` is what it printed last. */
int exec_start(struct uv_loop_s *loop, char **argv, char **env, const char *input,
               uint64_t timeout_ms, exec_done_fn *done, void *arg, struct exec **ret_exec);
/* Kills it; it does not call back. */
void exec_abandon(struct exec *e);

#endif
