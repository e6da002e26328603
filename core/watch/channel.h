/* channel.h: how a message reaches its receiver: one try at a time, for the outbox.
 *
 *   kind           what is sent                                                    taken when it answers
 *   webhook        POST of Alertmanager's "version":"4" body, or the template's text    2xx
 *   alertmanager   POST of a list of alerts to /api/v2/alerts of all of them            2xx, one of them
 *   slack          POST of a text with a coloured attachment                            2xx
 *   pagerduty      POST of an event for each alert, dedup_key = fingerprint             2xx
 *   ntfy           POST of title, text, priority, tags                                  2xx
 *   email          a mail by SMTP                                                       250
 *   exec           a program with the body of a webhook on its stdin, TIDEGATE_* in its environment; exit code 0
 *   log            lines in our own log                                                 always
 * Calls by HTTP carry `Idempotency-Key: ID`, mails have the id in Message-ID, programs in TIDEGATE_ID.
 *
 * SECRETS (script.h: SECRET) are read when a try begins and forgotten when it ends. Whatever a receiver answers loses
 * them, and what addresses have behind their host, before it is told on. */
#ifndef WATCH_CHANNEL_H
#define WATCH_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/outbox.h"

struct channels;
struct cJSON;
struct net_client;
struct uv_loop_s;

struct channels *channels_new(struct uv_loop_s *loop, struct net_client *client);
/* Ends what is under way: programs are killed, calls end with the client, nobody is called back. Memory goes with
 * the loop's close callbacks, or with the client's. NULL is allowed. */
void channels_close(struct channels *c);

/* How a try ended. Lends. */
typedef void channel_done_fn(void *arg, const struct outbox_outcome *outcome);
/* Starts a try: `channel` as the configuration has it, `message` as outbox.h has it. Calls back exactly once, later.
 * Borrows both. */
void channels_send(struct channels *c, const struct cJSON *channel, const struct cJSON *message,
                   uint32_t reached, uint64_t wall_ms, channel_done_fn *done, void *arg);
/* Asks an address (SECRET) by GET, as the dead man's switch does; otherwise the same. */
void channels_ping(struct channels *c, const struct cJSON *address, channel_done_fn *done,
                   void *arg);

/* A line for people: "FIRING HighErrorRate (catalog)", "RESOLVED ..."; the caller owns it. */
char *channel_title(const struct cJSON *message);
/* All alerts, one a line, or the template's text; the caller owns it. */
char *channel_text(const struct cJSON *message);

#endif
