/* telling.c: messages of alerts on their way to channels, as the master runs them (watch/outbox.h).
 *
 *   alerts --telling_notify--> outbox --ask--> policy process: who hears of it, in which words
 *                                |  ^              |
 *                                |  +--------------+ telling_on_answer
 *                                +--send--> channels (watch/channel.h) --outcome--> outbox
 *                                +--save, remove--> store, documents of kind "outbox"
 *
 * Alertmanagers are told again and again of what fires (watch/held.h), documents of kind "held".
 * Owns: the outbox, the senders, what is held. Does not: read secrets, the senders do. */
#include "app/telling.h"

#include <string.h>

#include "app/history.h"
#include "app/master.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"
#include "watch/alerts.h"
#include "watch/channel.h"
#include "watch/held.h"
#include "watch/watch.h"

enum {
    REPEAT_MOST_MS = 50000, /* between two words to an Alertmanager: a minute is what they expect */
};

/* A try under way. */
struct sending {
    struct sending *next;
    struct master *m;
    char *channel, *key, *id;
    struct cJSON *group; /* of a message to an Alertmanager; NULL */
};

/* What the Alertmanagers of a channel were told. */
struct holding {
    struct master *m;
    char *channel;
    struct held *held;
    uint64_t due_ms;
    bool under_way, failed;
};

static struct outbox_now now_of(uint64_t now_ms)
{
    return (struct outbox_now){.now_ms = now_ms, .wall_ms = clock_wall_ms()};
}

static struct store *store_of(const struct master *m)
{
    return m->history ? m->history->store : NULL;
}

const struct cJSON *telling_channel(const struct master *m, const char *name)
{
    const struct cJSON *one = json_first(json_get(m->config, "channels"));
    while (one && !str_same(json_str(one, "name", ""), name)) {
        one = json_next(one);
    }
    return one;
}

/* ---- What is held ------------------------------------------------------------------------- */

static struct holding *holding_of(struct master *m, const char *channel)
{
    struct holding *h = map_get(&m->telling->held, channel);
    if (!h) {
        h = mem_new(sizeof *h);
        *h = (struct holding){.m = m, .channel = mem_copy(channel), .held = held_new()};
        map_put(&m->telling->held, channel, h);
    }
    return h;
}

static void holding_free(struct holding *h)
{
    held_free(h->held);
    mem_free(h->channel);
    mem_free(h);
}

static void holding_keep(struct master *m, const struct holding *h)
{
    char *document = held_document(h->held);
    if (store_of(m) && document) {
        (void)store_put(store_of(m), "held", h->channel, document);
    } else if (store_of(m)) {
        (void)store_remove(store_of(m), "held", h->channel);
    }
    mem_free(document);
}

static void on_told_again(void *arg, const struct outbox_outcome *outcome)
{
    struct holding *h = arg;
    bool failed = outcome->result != OUTBOX_SENT;
    h->under_way = false;
    if (failed != h->failed) {
        log_write(failed ? LOG_WARN : LOG_INFO,
                  failed ? "alertmanager: cannot be told again of what fires"
                         : "alertmanager: is told again of what fires",
                  "channel=%s why=%s", h->channel, outcome->text);
    }
    h->failed = failed;
}

/* Fingerprints of what fires, as members of an object that the caller owns. */
static struct cJSON *firing_now(struct master *m)
{
    struct cJSON *out = json_object();
    struct cJSON *status =
        alerts_status(watching_alerts(m),
                      (struct alerts_now){.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()});
    const struct cJSON *one = json_first(json_get(status, "alerts"));
    for (; one; one = json_next(one)) {
        if (str_same(json_str(one, "state", ""), "firing")) {
            json_set_bool(out, json_str(one, "fingerprint", ""), true);
        }
    }
    json_free(status);
    return out;
}

static uint64_t repeat_ms(const struct master *m)
{
    uint64_t ms = 4 * alerts_interval_ms(watching_alerts(m));
    return ms < REPEAT_MOST_MS ? ms : REPEAT_MOST_MS;
}

static void held_tick(struct master *m, uint64_t now_ms)
{
    size_t at = 0;
    const char *channel;
    void *value;
    while (map_next(&m->telling->held, &at, &channel, &value)) {
        struct holding *h = value;
        const struct cJSON *config = telling_channel(m, channel);
        if (now_ms < h->due_ms || h->under_way || !config) {
            continue;
        }
        h->due_ms = now_ms + repeat_ms(m);
        struct cJSON *firing = firing_now(m);
        if (held_compare(h->held, firing, clock_wall_ms())) {
            holding_keep(m, h);
        }
        struct cJSON *message = held_message(h->held);
        if (message) {
            h->under_way = true;
            channels_send(m->telling->channels, config, message, 0, clock_wall_ms(), on_told_again,
                          h);
        }
        json_free(firing);
        json_free(message);
    }
}

/* ---- What the outbox asks for ------------------------------------------------------------- */

static void port_begin(void *arg)
{
    if (store_of(arg)) {
        store_batch_begin(store_of(arg));
    }
}

static void port_commit(void *arg)
{
    if (store_of(arg)) {
        store_batch_commit(store_of(arg));
    }
}

static uint64_t port_save(void *arg, const char *key, const char *json)
{
    return store_of(arg) ? store_put(store_of(arg), "outbox", key, json) : 0;
}

static void port_remove(void *arg, const char *key)
{
    if (store_of(arg)) {
        (void)store_remove(store_of(arg), "outbox", key);
    }
}

static bool port_ask(void *arg, const struct cJSON *question)
{
    struct master *m = arg;
    char *text = json_text(question);
    bool asked = deciders_ask(m, CHILD_NOTIFY, text);
    mem_free(text);
    return asked;
}

static void port_fact(void *arg, const struct outbox_fact *fact)
{
    struct master *m = arg;
    struct cJSON *detail = json_object();
    json_set_str(detail, "id", fact->id);
    json_set_str(detail, "why", fact->detail);
    char *text = json_text(detail);
    json_free(detail);
    log_write(fact->bad ? LOG_WARN : LOG_INFO, "message of alerts",
              "channel=%s what=%s id=%s why=%s", fact->channel, fact->what, fact->id,
              *fact->detail ? fact->detail : NULL);
    history_note(m, "notification", fact->channel, fact->what, text, fact->bad);
    mem_free(text);
}

static void sending_free(struct sending *s)
{
    json_free(s->group);
    mem_free(s->channel);
    mem_free(s->key);
    mem_free(s->id);
    mem_free(s);
}

static void on_sent(void *arg, const struct outbox_outcome *outcome)
{
    struct sending *s = arg;
    struct master *m = s->m;
    struct sending **at = &m->telling->sendings;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    bool test = telling_tested(m, s->channel, s->id, outcome);
    port_begin(m);
    if (s->group && !test && outcome->result == OUTBOX_SENT) {
        struct holding *h = holding_of(m, s->channel);
        if (held_take(h->held, s->group, clock_wall_ms())) {
            holding_keep(m, h);
        }
        h->due_ms = h->due_ms ? h->due_ms : clock_now_ms() + repeat_ms(m);
    }
    outbox_done(m->telling->outbox, s->channel, s->key, outcome, now_of(clock_now_ms()));
    port_commit(m);
    sending_free(s);
}

static void port_send(void *arg, const struct outbox_try *t)
{
    struct master *m = arg;
    const struct cJSON *channel = telling_channel(m, t->channel);
    struct sending *s = mem_new(sizeof *s);
    *s = (struct sending){
        .next = m->telling->sendings,
        .m = m,
        .channel = mem_copy(t->channel),
        .key = mem_copy(t->key),
        .id = mem_copy(json_str(t->message, "id", "")),
    };
    if (str_same(json_str(channel, "kind", ""), "alertmanager")) {
        s->group = json_copy(json_get(t->message, "group"));
    }
    m->telling->sendings = s;
    channels_send(m->telling->channels, channel, t->message, t->reached, clock_wall_ms(), on_sent,
                  s);
}

/* ---- Life --------------------------------------------------------------------------------- */

void telling_open(struct master *m)
{
    struct outbox_ports ports = {
        .arg = m,
        .begin = port_begin,
        .commit = port_commit,
        .save = port_save,
        .remove = port_remove,
        .ask = port_ask,
        .send = port_send,
        .fact = port_fact,
    };
    m->telling = mem_new(sizeof *m->telling);
    m->telling->outbox = outbox_new(&ports);
    m->telling->channels = channels_new(&m->loop, m->client);
}

static void restore_message(void *arg, const char *key, const char *json)
{
    struct master *m = arg;
    outbox_restore(m->telling->outbox, key, json);
}

static void restore_held(void *arg, const char *key, const char *json)
{
    held_restore(holding_of(arg, key)->held, json);
}

static void restore(struct master *m)
{
    int rc = store_documents(store_of(m), "outbox", restore_message, m);
    rc = rc ? rc : store_documents(store_of(m), "held", restore_held, m);
    if (rc) {
        log_error("messages that waited are not known", "error=%s", err_text(rc));
    } else if (outbox_waiting(m->telling->outbox)) {
        log_info("messages wait from before", "count=%llu",
                 (unsigned long long)outbox_waiting(m->telling->outbox));
    }
}

/* What Alertmanagers that are no longer configured were told. */
static void forget_held(struct master *m, bool all)
{
    size_t at = 0;
    const char *channel;
    void *value;
    while (map_next(&m->telling->held, &at, &channel, &value)) {
        struct holding *h = value;
        const char *kind = json_str(telling_channel(m, channel), "kind", "");
        if (all) {
            map_remove(&m->telling->held, channel);
            holding_free(h);
        } else if (!str_same(kind, "alertmanager") && !h->under_way) {
            if (store_of(m)) {
                (void)store_remove(store_of(m), "held", channel);
            }
            map_remove(&m->telling->held, channel);
            holding_free(h);
        }
    }
}

void telling_apply(struct master *m, const struct cJSON *config)
{
    struct telling *t = m->telling;
    outbox_apply(t->outbox, config, now_of(clock_now_ms()));
    if (!t->restored && store_of(m)) {
        restore(m);
        /* Of channels that went while the daemon was away. */
        outbox_apply(t->outbox, config, now_of(clock_now_ms()));
    }
    t->restored = true;
    forget_held(m, false);
}

void telling_notify(struct master *m, const struct cJSON *message)
{
    outbox_add(m->telling->outbox, message, now_of(clock_now_ms()));
}

/* What fires and is acknowledged, as alerts of a group; the caller owns it. */
static struct cJSON *acknowledged(struct master *m)
{
    struct cJSON *alerts = json_array();
    struct cJSON *status =
        alerts_status(watching_alerts(m),
                      (struct alerts_now){.now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()});
    const struct cJSON *one = json_first(json_get(status, "alerts"));
    for (; one; one = json_next(one)) {
        if (!json_get(one, "acknowledged") || !str_same(json_str(one, "state", ""), "firing")) {
            continue;
        }
        struct cJSON *alert = json_object(), *annotations = json_object();
        json_set_str(alert, "status", "firing");
        json_set(alert, "labels", json_copy(json_get(one, "labels")));
        json_set_str(annotations, "summary", json_str(one, "message", ""));
        json_set(alert, "annotations", annotations);
        json_set_str(alert, "startsAt", json_str(one, "since", ""));
        json_set_str(alert, "fingerprint", json_str(one, "fingerprint", ""));
        json_set(alerts, NULL, alert);
    }
    json_free(status);
    return alerts;
}

void telling_acknowledged(struct master *m)
{
    struct cJSON *message = json_object(), *group = json_object(), *channels = json_array();
    struct cJSON *alerts = acknowledged(m);
    const struct cJSON *one = json_first(json_get(m->config, "channels"));
    for (; one; one = json_next(one)) {
        if (str_same(json_str(one, "kind", ""), "pagerduty")) {
            json_add_str(channels, json_str(one, "name", ""));
        }
    }
    char *id = mem_printf("ack-%llx-%llu", (unsigned long long)clock_wall_ms(),
                          (unsigned long long)++m->telling->serial);
    bool any = json_first(channels) && json_first(alerts);
    json_set_str(message, "id", id);
    json_set_str(message, "reason", "acknowledged");
    json_set(message, "channels", channels);
    json_set_str(group, "status", "firing");
    json_set_str(group, "groupKey", "acknowledged");
    json_set(group, "alerts", alerts);
    json_set(message, "group", group);
    if (any) {
        telling_notify(m, message);
    }
    mem_free(id);
    json_free(message);
}

/* The channels' names, for a line. */
static void put_channels(struct buf *to, const struct cJSON *names)
{
    for (const struct cJSON *n = json_first(names); n; n = json_next(n)) {
        (void)buf_printf(to, "%s%s", n == json_first(names) ? "" : ", ", json_value_str(n, ""));
    }
    (void)buf_text(to, json_first(names) ? "" : "nobody");
}

static void note_shadow(struct master *m, const struct cJSON *answer)
{
    const struct cJSON *shadow = json_get(answer, "shadow");
    const char *error = json_str(shadow, "error", "");
    bool same = json_bool(shadow, "same", true);
    if (!shadow) {
        return;
    }
    m->telling->shadow.asked++;
    m->telling->shadow.failed += *error != '\0';
    m->telling->shadow.differed += !same;
    if (same && !*error) {
        return;
    }
    struct buf detail;
    buf_init(&detail, LIMIT_REASON_BYTES);
    (void)buf_printf(&detail, "%s: ", json_str(shadow, "policy", "?"));
    if (*error) {
        (void)buf_text(&detail, error);
    } else {
        put_channels(&detail, json_get(shadow, "channels"));
    }
    facts_take(m, &(struct fact){
                      .at_ms = clock_wall_ms(),
                      .kind = "policy",
                      .service = "",
                      .backend = "",
                      .what = *error ? "the shadow of the notify policy failed"
                                     : "the shadow of the notify policy would tell others",
                      .detail = buf_str(&detail),
                      .worker = -1,
                  });
    buf_free(&detail);
}

void telling_write_shadow(const struct master *m, struct families *f)
{
    const char *policy =
        json_str(json_get(json_get(m->config, "alerting"), "notify_shadow"), "policy", "");
    const struct watch_shadow shadow = {
        .point = "notify",
        .of = "",
        .route = "",
        .policy = policy,
        .answers = m->telling->shadow.asked,
        .differences = m->telling->shadow.differed,
        .errors = m->telling->shadow.failed,
    };
    if (*policy) {
        watch_shadow(f, &shadow);
    }
}

void telling_on_answer(struct master *m, const struct cJSON *answer)
{
    note_shadow(m, answer);
    m->counters.policy_errors += faults_on_notified(m, answer);
    if (!telling_test_text(m, answer) || !answer) {
        outbox_decide(m->telling->outbox, answer, now_of(clock_now_ms()));
    }
}

void telling_on_durable(struct master *m, uint64_t sequence)
{
    if (m->telling) {
        outbox_durable(m->telling->outbox, sequence, now_of(clock_now_ms()));
    }
}

void telling_tick(struct master *m, uint64_t now_ms)
{
    outbox_tick(m->telling->outbox, now_of(now_ms));
    held_tick(m, now_ms);
    telling_ask_tick(m, now_ms);
    heartbeat_tick(m, now_ms);
}

int telling_test(struct master *m, const char *channel, const struct cJSON *message)
{
    int rc = outbox_test(m->telling->outbox, channel, message);
    outbox_tick(m->telling->outbox, now_of(clock_now_ms()));
    return rc;
}

void telling_close(struct master *m)
{
    struct telling *t = m->telling;
    if (!t) {
        return;
    }
    telling_ask_close(m);
    channels_close(t->channels);
    while (t->sendings) {
        struct sending *s = t->sendings;
        t->sendings = s->next;
        sending_free(s);
    }
    forget_held(m, true);
    map_free(&t->held);
    outbox_free(t->outbox);
    mem_free(t);
    m->telling = NULL;
}

const struct outbox *telling_outbox(const struct master *m)
{
    return m->telling->outbox;
}

uint64_t telling_waiting(const struct master *m)
{
    return m->telling ? outbox_waiting(m->telling->outbox) : 0;
}
