/* outbox.c: messages on their way to channels; see outbox.h.
 *
 * Owns: the undecided, and a lane for each channel that is configured or has messages.
 * Invariants: a message that is not a test is kept as long as it is here; it is removed in the same batch
 * in which what follows from it is saved.
 * Does not: know what a channel is, or read clocks. */
#include "watch/outbox_private.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct outbox {
    struct outbox_ports ports;
    struct lane *lanes;
    struct list undecided;
    size_t undecided_count;
    uint64_t order;         /* of the last message */
    struct cJSON *fallback; /* names of those that are told when an alert names none */
};

static struct lane *lane_of(const struct outbox *o, const char *name)
{
    struct lane *lane = o->lanes;
    while (lane && !str_same(lane->name, name)) {
        lane = lane->next;
    }
    return lane;
}

static struct lane *lane_need(struct outbox *o, const char *name)
{
    struct lane *lane = lane_of(o, name);
    if (!lane) {
        struct lane **at = &o->lanes;
        while (*at) {
            at = &(*at)->next;
        }
        *at = lane = lane_new(name);
    }
    return lane;
}

static void tell(struct outbox *o, const struct lane *lane, const struct letter *l,
                 const char *what, const char *detail, bool bad)
{
    struct outbox_fact fact = {
        .channel = lane->name, .id = l->id, .what = what, .detail = detail, .bad = bad};
    o->ports.fact(o->ports.arg, &fact);
}

/* Takes a letter out of its lane, and what was kept of it. */
static void forget(struct outbox *o, struct lane *lane, struct letter *l)
{
    list_remove(&l->node);
    if (!l->test) {
        lane->figures.waiting--;
        o->ports.remove(o->ports.arg, l->key);
    }
    letter_free(l);
}

static void drop(struct outbox *o, struct lane *lane, struct letter *l, const char *why)
{
    lane->figures.dropped++;
    tell(o, lane, l, "dropped", why, true);
    forget(o, lane, l);
}

/* ---- Who hears of it ------------------------------------------------------------------------- */

/* The group without what has ended, NULL when nothing is left. The caller owns it. */
static struct cJSON *still_firing(const struct cJSON *group)
{
    struct cJSON *alerts = json_array(), *out = json_copy(group);
    const struct cJSON *one = json_first(json_get(group, "alerts"));
    for (; one; one = json_next(one)) {
        if (str_same(json_str(one, "status", ""), "firing")) {
            json_set(alerts, NULL, json_copy(one));
        }
    }
    if (!json_first(alerts)) {
        json_free(alerts);
        json_free(out);
        return NULL;
    }
    json_set(out, "alerts", alerts);
    return out;
}

static bool knows(const struct lane *lane, const char *key)
{
    for (struct list *at = lane->queue.next; at != &lane->queue; at = at->next) {
        if (str_same(list_owner(at, struct letter, node)->key, key)) {
            return true;
        }
    }
    return false;
}

/* One copy for a channel. */
static void post(struct outbox *o, const struct letter *from, const char *channel, const char *text,
                 uint64_t now_ms)
{
    struct lane *lane = lane_of(o, channel);
    if (!lane || !lane->configured) {
        return; /* a policy that is older or newer than this configuration */
    }
    const struct cJSON *group = json_get(from->message, "group");
    struct cJSON *told = lane->send_resolved ? json_copy(group) : still_firing(group);
    if (!told) {
        return;
    }
    struct cJSON *message = json_object();
    json_set_str(message, "id", from->id);
    json_set_str(message, "reason", json_str(from->message, "reason", ""));
    json_set(message, "keys", json_copy(json_get(from->message, "keys")));
    json_set_str(told, "receiver", channel);
    json_set(message, "group", told);
    if (text) {
        json_set_str(message, "text", text);
    }
    struct letter *l = letter_new(from->id, channel, message, from->order, from->added_wall_ms);
    if (knows(lane, l->key)) {
        letter_free(l);
        return;
    }
    char *document = letter_document(l, channel);
    l->sequence = o->ports.save(o->ports.arg, l->key, document);
    l->keep_by_ms = now_ms + OUTBOX_DISK_MS;
    mem_free(document);
    lane_insert(lane, l);
}

static const struct cJSON *channels_of(const struct outbox *o, const struct letter *l)
{
    const struct cJSON *own = json_get(l->message, "channels");
    return own ? own : o->fallback;
}

/* `send`: the answer's; NULL: as the alerts say. The undecided message is gone afterwards. */
static void decide(struct outbox *o, struct letter *l, const struct cJSON *send, uint64_t now_ms)
{
    const struct cJSON *one;
    o->ports.begin(o->ports.arg);
    if (send) {
        for (one = json_first(send); one; one = json_next(one)) {
            post(o, l, json_str(one, "channel", ""), json_str(one, "text", NULL), now_ms);
        }
    } else {
        for (one = json_first(channels_of(o, l)); one; one = json_next(one)) {
            post(o, l, json_value_str(one, ""), NULL, now_ms);
        }
    }
    o->ports.remove(o->ports.arg, l->key);
    o->ports.commit(o->ports.arg);
    list_remove(&l->node);
    o->undecided_count--;
    letter_free(l);
}

static const char *worst(const struct cJSON *group)
{
    static const char *const severities[] = {"critical", "warning"};
    for (int i = 0; i < 2; i++) {
        const struct cJSON *one = json_first(json_get(group, "alerts"));
        for (; one; one = json_next(one)) {
            if (str_same(json_str(json_get(one, "labels"), "severity", ""), severities[i])) {
                return severities[i];
            }
        }
    }
    return "info";
}

static void ask(struct outbox *o, struct letter *l)
{
    struct cJSON *question = json_object(), *about = json_copy(json_get(l->message, "group"));
    const char *reason = json_str(l->message, "reason", "");
    json_set_str(question, "id", l->id);
    json_set_str(about, "reason", reason);
    json_set_str(about, "severity", worst(about));
    json_set(about, "channels", json_copy(channels_of(o, l)));
    json_set(question, "about", about);
    if (str_same(reason, "escalation") || str_same(reason, "acknowledged")) {
        json_set_bool(question, "fixed", true);
    }
    l->asked = o->ports.ask(o->ports.arg, question);
    json_free(question);
}

static void undecided_tick(struct outbox *o, struct outbox_now at)
{
    struct list *next;
    for (struct list *i = o->undecided.next; i != &o->undecided; i = next) {
        struct letter *l = list_owner(i, struct letter, node);
        next = i->next;
        if (!l->due_ms) {
            l->due_ms = at.now_ms + OUTBOX_ANSWER_MS;
        }
        if (!l->asked) {
            ask(o, l);
        }
        if (at.now_ms >= l->due_ms) {
            decide(o, l, NULL, at.now_ms);
        }
    }
}

/* ---- Public ----------------------------------------------------------------------------------- */

struct outbox *outbox_new(const struct outbox_ports *ports)
{
    struct outbox *o = mem_new(sizeof *o);
    o->ports = *ports;
    o->fallback = json_array();
    list_init(&o->undecided);
    return o;
}

void outbox_free(struct outbox *o)
{
    if (!o) {
        return;
    }
    while (!list_empty(&o->undecided)) {
        struct letter *l = list_owner(o->undecided.next, struct letter, node);
        list_remove(&l->node);
        letter_free(l);
    }
    while (o->lanes) {
        struct lane *lane = o->lanes;
        o->lanes = lane->next;
        lane_free(lane);
    }
    json_free(o->fallback);
    mem_free(o);
}

/* Lanes of channels that are gone: what waits there has no way out. */
static void close_lanes(struct outbox *o)
{
    for (struct lane **at = &o->lanes; *at;) {
        struct lane *lane = *at;
        struct list *next;
        if (lane->configured) {
            at = &lane->next;
            continue;
        }
        for (struct list *i = lane->queue.next; i != &lane->queue; i = next) {
            struct letter *l = list_owner(i, struct letter, node);
            next = i->next;
            if (l != lane->open) {
                drop(o, lane, l, "the channel is no longer configured");
            }
        }
        if (lane->open) {
            at = &lane->next;
        } else {
            *at = lane->next;
            lane_free(lane);
        }
    }
}

void outbox_apply(struct outbox *o, const struct cJSON *config, struct outbox_now at)
{
    const struct cJSON *named = json_path(config, "alerting.channels");
    struct lane *old = o->lanes, *lane;
    struct lane **end = &o->lanes;
    json_free(o->fallback);
    o->fallback = named ? json_copy(named) : json_array();
    /* In the configuration's order, those that are gone behind. */
    o->lanes = NULL;
    const struct cJSON *one = json_first(json_get(config, "channels"));
    for (; one; one = json_next(one)) {
        const char *name = json_str(one, "name", "");
        struct lane **i = &old;
        while (*i && !str_same((*i)->name, name)) {
            i = &(*i)->next;
        }
        lane = *i ? *i : lane_new(name);
        *i = *i ? lane->next : NULL;
        lane->next = NULL;
        lane_configure(lane, one, at.now_ms);
        *end = lane;
        end = &lane->next;
        if (!named) {
            json_add_str(o->fallback, name);
        }
    }
    *end = old;
    for (lane = old; lane; lane = lane->next) {
        lane->configured = false;
    }
    o->ports.begin(o->ports.arg);
    close_lanes(o);
    o->ports.commit(o->ports.arg);
}

void outbox_restore(struct outbox *o, const char *key, const char *json)
{
    struct cJSON *document = json_parse(json, strlen(json));
    const char *channel = json_str(document, "channel", NULL);
    struct cJSON *message = json_copy(json_get(document, "message"));
    const char *id = json_str(message, "id", NULL);
    if (id) {
        uint64_t order = (uint64_t)json_num(document, "order", 0);
        struct letter *l =
            letter_new(id, channel, message, order, (uint64_t)json_num(document, "added_ms", 0));
        o->order = order > o->order ? order : o->order;
        if (!str_same(l->key, key) || (channel && knows(lane_need(o, channel), key))) {
            letter_free(l);
        } else if (channel) {
            lane_insert(lane_need(o, channel), l);
        } else {
            list_append(&o->undecided, &l->node);
            o->undecided_count++;
        }
    } else {
        json_free(message);
    }
    json_free(document);
}

/* Whether it waits already, undecided or for a channel. */
static bool waits(const struct outbox *o, const char *id)
{
    for (struct list *i = o->undecided.next; i != &o->undecided; i = i->next) {
        if (str_same(list_owner(i, struct letter, node)->id, id)) {
            return true;
        }
    }
    for (const struct lane *lane = o->lanes; lane; lane = lane->next) {
        char *key = mem_printf("%s %s", id, lane->name);
        bool found = knows(lane, key);
        mem_free(key);
        if (found) {
            return true;
        }
    }
    return false;
}

void outbox_add(struct outbox *o, const struct cJSON *message, struct outbox_now at)
{
    const char *id = json_str(message, "id", "");
    if (waits(o, id)) {
        return;
    }
    struct letter *l = letter_new(id, NULL, json_copy(message), ++o->order, at.wall_ms);
    char *document = letter_document(l, NULL);
    (void)o->ports.save(o->ports.arg, l->key, document);
    mem_free(document);
    l->due_ms = at.now_ms + OUTBOX_ANSWER_MS;
    list_append(&o->undecided, &l->node);
    o->undecided_count++;
    ask(o, l);
}

void outbox_decide(struct outbox *o, const struct cJSON *answer, struct outbox_now at)
{
    const char *id = json_str(answer, "id", NULL);
    const struct cJSON *send = json_get(answer, "send");
    struct list *next;
    for (struct list *i = o->undecided.next; i != &o->undecided; i = next) {
        struct letter *l = list_owner(i, struct letter, node);
        next = i->next;
        if (answer ? str_same(l->id, id) : l->asked) {
            decide(o, l, json_kind(send) == JSON_ARRAY ? send : NULL, at.now_ms);
        }
    }
    outbox_tick(o, at);
}

/* What an outcome means to somebody who reads the log: changes, and what is lost. */
static void tell_outcome(struct outbox *o, const struct lane *lane, const struct letter *l,
                         const struct outbox_outcome *outcome, bool failed_before)
{
    if (outcome->result == OUTBOX_SENT) {
        tell(o, lane, l, failed_before ? "delivers again" : "delivered", "", false);
    } else if (outcome->result == OUTBOX_REFUSED) {
        tell(o, lane, l, "dropped", outcome->text, true);
    } else if (!failed_before) {
        tell(o, lane, l, "not delivered", outcome->text, true);
    }
}

void outbox_done(struct outbox *o, const char *channel, const char *key,
                 const struct outbox_outcome *outcome, struct outbox_now at)
{
    struct lane *lane = lane_of(o, channel);
    struct letter *l = lane ? lane->open : NULL;
    must(l && str_same(l->key, key));
    bool failed_before = lane->failures > 0;
    if (!l->test) {
        tell_outcome(o, lane, l, outcome, failed_before);
    }
    if (lane_close(lane, outcome, at)) {
        forget(o, lane, l);
    }
    if (!lane->configured) {
        close_lanes(o);
    }
    outbox_tick(o, at);
}

static void lane_tick(struct outbox *o, struct lane *lane, struct outbox_now at)
{
    const char *why;
    struct letter *l;
    while ((l = lane_hopeless(lane, at.wall_ms, &why))) {
        drop(o, lane, l, why);
    }
    if ((l = lane_pick(lane, at.now_ms))) {
        lane_open(lane, l);
        struct outbox_try t = {
            .channel = lane->name, .key = l->key, .message = l->message, .reached = l->reached};
        o->ports.send(o->ports.arg, &t);
    }
}

void outbox_durable(struct outbox *o, uint64_t sequence, struct outbox_now at)
{
    for (struct lane *lane = o->lanes; lane; lane = lane->next) {
        for (struct list *i = lane->queue.next; i != &lane->queue; i = i->next) {
            struct letter *l = list_owner(i, struct letter, node);
            l->sequence = l->sequence > sequence ? l->sequence : 0;
        }
    }
    outbox_tick(o, at);
}

void outbox_tick(struct outbox *o, struct outbox_now at)
{
    undecided_tick(o, at);
    for (struct lane *lane = o->lanes; lane; lane = lane->next) {
        if (lane->configured) {
            lane_tick(o, lane, at);
        }
    }
}

int outbox_test(struct outbox *o, const char *channel, const struct cJSON *message)
{
    struct lane *lane = lane_of(o, channel);
    if (!lane || !lane->configured) {
        return -ENOENT;
    }
    struct letter *l =
        letter_new(json_str(message, "id", ""), channel, json_copy(message), 0, UINT64_MAX);
    if (!list_empty(&lane->queue) && list_owner(lane->queue.next, struct letter, node)->test) {
        letter_free(l);
        return -EBUSY;
    }
    l->test = true;
    list_prepend(&lane->queue, &l->node);
    return 0;
}

void outbox_each(const struct outbox *o, uint64_t now_ms, outbox_channel_fn *fn, void *arg)
{
    for (const struct lane *lane = o->lanes; lane; lane = lane->next) {
        if (lane->configured) {
            struct outbox_figures f = lane->figures;
            f.channel = lane->name;
            f.kind = lane->kind;
            f.rests_ms = lane->rests_until_ms > now_ms ? lane->rests_until_ms - now_ms : 0;
            f.last_error = lane->last_error ? lane->last_error : "";
            fn(arg, &f);
        }
    }
}

uint64_t outbox_waiting(const struct outbox *o)
{
    uint64_t count = o->undecided_count;
    for (const struct lane *lane = o->lanes; lane; lane = lane->next) {
        count += lane->figures.waiting;
    }
    return count;
}
