/* outbox_world.c: see outbox_world.h. */
#include "outbox_world.h"

#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "watch/channel_private.h"
#include "watch/held.h"
#include "watch/outbox.h"

enum {
    STEP_MS = 100
};

struct outbox_world {
    struct outbox *outbox;
    struct outbox_now now;
    struct map disk;
    struct cJSON *tries, *questions, *facts;
    bool policy, in_batch, slow;
    uint64_t sequence;
    uint32_t batches, loose;
    char *text;
};

static void port_begin(void *arg)
{
    struct outbox_world *w = arg;
    w->in_batch = true;
    w->batches++;
}

static void port_commit(void *arg)
{
    struct outbox_world *w = arg;
    w->in_batch = false;
}

static uint64_t port_save(void *arg, const char *key, const char *json)
{
    struct outbox_world *w = arg;
    w->loose += strchr(key, ' ') && !w->in_batch;
    mem_free(map_put(&w->disk, key, mem_copy(json)));
    return w->slow ? ++w->sequence : 0;
}

static void port_remove(void *arg, const char *key)
{
    struct outbox_world *w = arg;
    w->loose += !strchr(key, ' ') && !w->in_batch;
    mem_free(map_remove(&w->disk, key));
}

static bool port_ask(void *arg, const struct cJSON *question)
{
    struct outbox_world *w = arg;
    if (w->policy) {
        json_set(w->questions, NULL, json_copy(question));
    }
    return w->policy;
}

static void port_send(void *arg, const struct outbox_try *t)
{
    struct outbox_world *w = arg;
    struct cJSON *one = json_object();
    json_set_str(one, "channel", t->channel);
    json_set_str(one, "key", t->key);
    json_set(one, "message", json_copy(t->message));
    json_set_num(one, "reached", t->reached);
    json_set_num(one, "at", (double)w->now.now_ms);
    json_set(w->tries, NULL, one);
}

static void port_fact(void *arg, const struct outbox_fact *fact)
{
    struct outbox_world *w = arg;
    char *line = mem_printf("%s %s %s%s%s", fact->channel, fact->id, fact->what,
                            *fact->detail ? ": " : "", fact->detail);
    json_add_str(w->facts, line);
    mem_free(line);
}

static void open_outbox(struct outbox_world *w)
{
    struct outbox_ports ports = {w,           port_begin, port_commit, port_save,
                                 port_remove, port_ask,   port_send,   port_fact};
    w->outbox = outbox_new(&ports);
}

struct outbox_world *outbox_world_new(void)
{
    struct outbox_world *w = mem_new(sizeof *w);
    w->now = (struct outbox_now){.now_ms = 1000000, .wall_ms = 1700000000000};
    w->tries = json_array();
    w->questions = json_array();
    w->facts = json_array();
    w->policy = true;
    open_outbox(w);
    return w;
}

void outbox_world_free(struct outbox_world *w)
{
    const char *key;
    void *value;
    outbox_free(w->outbox);
    for (size_t at = 0; map_next(&w->disk, &at, &key, &value);) {
        mem_free(value);
    }
    map_free(&w->disk);
    json_free(w->tries);
    json_free(w->questions);
    json_free(w->facts);
    mem_free(w->text);
    mem_free(w);
}

static struct cJSON *parse(const char *text)
{
    return json_parse(text, strlen(text));
}

void outbox_world_apply(struct outbox_world *w, const char *config)
{
    struct cJSON *value = parse(config);
    outbox_apply(w->outbox, value, w->now);
    json_free(value);
}

void outbox_world_add(struct outbox_world *w, const char *message)
{
    struct cJSON *value = parse(message);
    outbox_add(w->outbox, value, w->now);
    json_free(value);
}

void outbox_world_decide(struct outbox_world *w, const char *answer)
{
    struct cJSON *value = answer ? parse(answer) : NULL;
    outbox_decide(w->outbox, value, w->now);
    json_free(value);
}

void outbox_world_policy(struct outbox_world *w, bool there)
{
    w->policy = there;
}

void outbox_world_slow_disk(struct outbox_world *w)
{
    w->slow = true;
}

void outbox_world_durable(struct outbox_world *w)
{
    outbox_durable(w->outbox, w->sequence, w->now);
}

void outbox_world_done(struct outbox_world *w, const char *channel, const char *key, int result,
                       const char *text, uint64_t retry_after_ms, uint32_t reached, bool unreached)
{
    struct outbox_outcome outcome = {.result = (enum outbox_result)result,
                                     .text = text,
                                     .retry_after_ms = retry_after_ms,
                                     .reached = reached,
                                     .unreached = unreached};
    outbox_done(w->outbox, channel, key, &outcome, w->now);
}

int outbox_world_test(struct outbox_world *w, const char *channel, const char *message)
{
    struct cJSON *value = parse(message);
    int rc = outbox_test(w->outbox, channel, value);
    outbox_tick(w->outbox, w->now);
    json_free(value);
    return rc;
}

void outbox_world_run(struct outbox_world *w, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += STEP_MS) {
        w->now.now_ms += STEP_MS;
        w->now.wall_ms += STEP_MS;
        outbox_tick(w->outbox, w->now);
    }
}

void outbox_world_restart(struct outbox_world *w, const char *config)
{
    const char *key;
    void *value;
    outbox_free(w->outbox);
    open_outbox(w);
    w->now.now_ms = 5000; /* the machine was started again, too */
    outbox_world_apply(w, config);
    for (size_t at = 0; map_next(&w->disk, &at, &key, &value);) {
        outbox_restore(w->outbox, key, value);
    }
    outbox_world_apply(w, config);
}

/* Lends the text; takes the value. */
static const char *lend(struct outbox_world *w, struct cJSON *takes)
{
    mem_free(w->text);
    w->text = json_text(takes);
    json_free(takes);
    return w->text;
}

static const char *lend_list(struct outbox_world *w, struct cJSON **list)
{
    struct cJSON *whole = *list;
    *list = json_array();
    return lend(w, whole);
}

const char *outbox_world_tries(struct outbox_world *w)
{
    return lend_list(w, &w->tries);
}

const char *outbox_world_questions(struct outbox_world *w)
{
    return lend_list(w, &w->questions);
}

const char *outbox_world_facts(struct outbox_world *w)
{
    return lend_list(w, &w->facts);
}

const char *outbox_world_disk(struct outbox_world *w)
{
    const char *key;
    void *value;
    struct cJSON *out = json_object();
    for (size_t at = 0; map_next(&w->disk, &at, &key, &value);) {
        json_set(out, key, parse(value));
    }
    return lend(w, out);
}

static void add_figures(void *arg, const struct outbox_figures *f)
{
    struct cJSON *one = json_object();
    json_set_num(one, "sent", (double)f->sent);
    json_set_num(one, "failed", (double)f->failed);
    json_set_num(one, "retried", (double)f->retried);
    json_set_num(one, "dropped", (double)f->dropped);
    json_set_num(one, "waiting", (double)f->waiting);
    json_set_num(one, "rests_ms", (double)f->rests_ms);
    json_set_str(one, "last_error", f->last_error);
    json_set_bool(one, "failing", f->failing_ms != 0);
    json_set(arg, f->channel, one);
}

const char *outbox_world_figures(struct outbox_world *w)
{
    struct cJSON *out = json_object();
    outbox_each(w->outbox, w->now.now_ms, add_figures, out);
    return lend(w, out);
}

uint64_t outbox_world_waiting(struct outbox_world *w)
{
    return outbox_waiting(w->outbox);
}

uint32_t outbox_world_loose(struct outbox_world *w)
{
    return w->loose;
}

/* ---- Senders ------------------------------------------------------------------------------- */

static char *lent;

static const char *lend_text(char *takes)
{
    mem_free(lent);
    lent = takes;
    return lent;
}

const char *channel_world_posts(const char *channel, const char *message, uint32_t reached,
                                uint64_t wall_ms)
{
    static const struct {
        const char *kind;
        void (*make)(struct notice *n, uint32_t reached);
    } makers[] = {
        {"webhook", channel_make_webhook}, {"alertmanager", channel_make_alertmanager},
        {"slack", channel_make_slack},     {"pagerduty", channel_make_pagerduty},
        {"ntfy", channel_make_ntfy},
    };
    struct cJSON *c = parse(channel), *m = parse(message), *out = json_array();
    struct notice n;
    notice_init(&n, c, m, wall_ms);
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        if (str_same(makers[i].kind, json_str(c, "kind", ""))) {
            makers[i].make(&n, reached);
        }
    }
    for (size_t i = 0; i < n.post_count && !n.error; i++) {
        struct cJSON *one = json_object();
        json_set_str(one, "url", n.posts[i].url);
        json_set_str(one, "body", n.posts[i].body);
        json_set_str(one, "type", n.posts[i].content_type);
        json_set_num(one, "bit", n.posts[i].bit);
        json_set(out, NULL, one);
    }
    if (n.error) {
        json_free(out);
        out = json_object();
        json_set_str(out, "error", n.error);
    }
    notice_clear(&n);
    json_free(c);
    json_free(m);
    char *text = json_text(out);
    json_free(out);
    return lend_text(text);
}

const char *channel_world_mail(const char *channel, const char *message, uint64_t wall_ms)
{
    struct cJSON *c = parse(channel), *m = parse(message);
    struct notice n;
    notice_init(&n, c, m, wall_ms);
    char *text = channel_mail_text(&n);
    notice_clear(&n);
    json_free(c);
    json_free(m);
    return lend_text(text);
}

static const char *of_message(char *make(const struct cJSON *), const char *message)
{
    struct cJSON *m = parse(message);
    char *text = make(m);
    json_free(m);
    return lend_text(text);
}

const char *channel_world_title(const char *message)
{
    return of_message(channel_title, message);
}

const char *channel_world_text(const char *message)
{
    return of_message(channel_text, message);
}

const char *channel_world_clean(const char *channel, const char *said)
{
    struct cJSON *c = parse(channel), *m = json_object();
    struct notice n;
    notice_init(&n, c, m, 0);
    const struct cJSON *one = json_first(json_get(c, "to"));
    for (; one; one = json_next(one)) {
        (void)notice_secret(&n, one);
    }
    for (one = json_first(json_get(c, "headers")); one; one = json_next(one)) {
        (void)notice_field(&n, one);
    }
    char *text = notice_clean(&n, said, strlen(said));
    notice_clear(&n);
    json_free(c);
    json_free(m);
    return lend_text(text);
}

uint64_t channel_world_retry_after(const char *text, uint64_t wall_ms)
{
    return channel_retry_after_ms(text, wall_ms);
}

const char *held_world(const char *document, const char *group, const char *firing,
                       uint64_t wall_ms)
{
    struct held *h = held_new();
    struct cJSON *g = group ? parse(group) : NULL, *f = firing ? parse(firing) : NULL;
    if (document) {
        held_restore(h, document);
    }
    if (g) {
        (void)held_take(h, g, wall_ms);
    }
    if (f) {
        (void)held_compare(h, f, wall_ms);
    }
    char *text = held_document(h);
    held_free(h);
    json_free(g);
    json_free(f);
    return lend_text(text ? text : mem_copy("{}"));
}
