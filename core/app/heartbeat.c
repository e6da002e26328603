/* heartbeat.c: the dead man's switch: an address outside is asked as long as all is well here, so that
 * somebody notices when nothing is told any more.
 *
 * All is well: the loop runs (else this would not), alerts are evaluated, and what has to be kept is kept. */
#include "app/history.h"
#include "app/master.h"
#include "app/telling.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store.h"
#include "watch/alerts.h"
#include "watch/channel.h"

enum {
    EVALUATION_LATE_MS = 10000 /* beside three of its intervals */
};

static void on_beat(void *arg, const struct outbox_outcome *outcome)
{
    struct master *m = arg;
    bool failed = outcome->result != OUTBOX_SENT;
    m->telling->beating = false;
    if (failed != m->telling->beat_failed) {
        log_write(failed ? LOG_WARN : LOG_INFO,
                  failed ? "heartbeat: not heard" : "heartbeat: heard", "why=%s", outcome->text);
    }
    m->telling->beat_failed = failed;
}

/* What is not well, or NULL. */
static const char *trouble(struct master *m, uint64_t now_ms)
{
    struct telling *t = m->telling;
    struct alerts_figures alerts;
    alerts_figures(watching_alerts(m), &alerts);
    if (alerts.evaluations != t->evaluations || !t->evaluated_ms) {
        t->evaluations = alerts.evaluations;
        t->evaluated_ms = now_ms;
    }
    uint64_t late = 3 * alerts_interval_ms(watching_alerts(m)) + EVALUATION_LATE_MS;
    if (now_ms - t->evaluated_ms > late) {
        return "alerts are not evaluated";
    }
    if (m->history) {
        struct store_figures store;
        store_figures(m->history->store, &store);
        return store.events_wait ? "the store cannot write" : NULL;
    }
    return NULL;
}

void heartbeat_tick(struct master *m, uint64_t now_ms)
{
    struct telling *t = m->telling;
    const struct cJSON *config = json_path(m->config, "alerting.heartbeat");
    const char *why = config ? trouble(m, now_ms) : NULL;
    if (!config || now_ms < t->beat_ms || t->beating) {
        return;
    }
    t->beat_ms = now_ms + (uint64_t)json_num(config, "interval_ms", 60000);
    if (why && !t->unwell) {
        log_error("heartbeat: not sent", "why=%s", why);
    }
    t->unwell = why != NULL;
    if (!why) {
        t->beating = true;
        channels_ping(t->channels, json_get(config, "url"), on_beat, m);
    }
}
