/* held.h: what Alertmanagers were told, to tell them again: one that does not hear of an alert any more takes
 * it for ended. A pure module; a `struct held` for each channel of that kind.
 *
 * An alert is held from when it was delivered as firing. One that has ended stays for 15 minutes, for an
 * Alertmanager that was not there to hear it. Kept as one document a channel: {"alerts":{FINGERPRINT:{...}}}. */
#ifndef WATCH_HELD_H
#define WATCH_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct held;

enum {
    HELD_ENDED_MS = 900000
};

struct held *held_new(void);
void held_free(struct held *h); /* NULL is allowed */
/* A document as held_document made it. */
void held_restore(struct held *h, const char *json);
/* The text to keep, owned by the caller; NULL: nothing is held. */
char *held_document(const struct held *h);
/* A group that was delivered (alerts.h); whether it changed what is held. Borrows. */
bool held_take(struct held *h, const struct cJSON *group, uint64_t wall_ms);
/* `firing` is an object whose members are the fingerprints that fire: what is not among them has ended. Forgets what
 * ended long ago. Whether anything changed. */
bool held_compare(struct held *h, const struct cJSON *firing, uint64_t wall_ms);
/* A message with all that is held (outbox.h), owned by the caller; NULL: nothing is. */
struct cJSON *held_message(const struct held *h);

#endif
