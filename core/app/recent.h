/* recent.h: the last views that policies were asked about, so that a reload can tell what it would have changed. In the
 * policy process; handed on from one to the next. Zeroed is empty. */
#ifndef APP_RECENT_H
#define APP_RECENT_H

#include <stddef.h>

#include "base/map.h"

struct cJSON;

struct recent {
    struct map services; /* name -> struct views of recent.c */
    size_t bytes;        /* of all views; when they are too many, each service has fewer */
    char *question;      /* the last EVALUATE as text, or NULL */
};

/* A SNAPSHOT (fleet.h). */
void recent_note(struct recent *r, const struct cJSON *snapshot);
void recent_note_question(struct recent *r, const char *text, size_t len);
/* {"services":{"catalog":[view, ...]},"question"?:{...}}, oldest first, as script_compare takes it; the caller owns it. */
struct cJSON *recent_json(const struct recent *r);
/* Takes up what another process had of the services that `config` still has; both are borrowed, NULL is nothing. */
void recent_take(struct recent *r, const struct cJSON *json, const struct cJSON *config);
void recent_free(struct recent *r);

#endif
