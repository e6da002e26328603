/* telling_ask.c: what operators ask about channels: how each does, and whether a message arrives. */
#include <errno.h>
#include <string.h>

#include "admin/admin.h"
#include "app/master.h"
#include "app/telling.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    TEXT_MS = 2000, /* what a template gets */
    SPARE_MS = 3000
};

/* Somebody waits for the outcome of a test. */
struct test_wait {
    struct test_wait *next;
    struct admin_request *request; /* NULL: it only takes back what a test began */
    char *channel, *id;
    struct cJSON *message;
    bool asked; /* for its template's text */
    uint64_t begun_ms, text_by_ms, deadline_ms;
};

static struct cJSON *refusal(const char *error)
{
    struct cJSON *no = json_object();
    json_set_bool(no, "ok", false);
    json_set_str(no, "error", error);
    return no;
}

/* ---- How channels do ---------------------------------------------------------------------- */

static void set_time(struct cJSON *to, const char *key, uint64_t wall_ms)
{
    char text[32];
    if (wall_ms) {
        clock_iso(wall_ms, text, sizeof text);
        json_set_str(to, key, text);
    }
}

static void add_channel(void *arg, const struct outbox_figures *f)
{
    struct cJSON *one = json_object();
    json_set_str(one, "name", f->channel);
    json_set_str(one, "kind", f->kind);
    json_set_num(one, "sent", (double)f->sent);
    json_set_num(one, "failed", (double)f->failed);
    json_set_num(one, "retried", (double)f->retried);
    json_set_num(one, "dropped", (double)f->dropped);
    json_set_num(one, "waiting", (double)f->waiting);
    set_time(one, "last_sent", f->last_sent_ms);
    set_time(one, "failing_since", f->failing_ms);
    if (*f->last_error) {
        json_set_str(one, "last_error", f->last_error);
    }
    if (f->waiting && f->rests_ms) {
        json_set_num(one, "next_try_s", (double)((f->rests_ms + 999) / 1000));
    }
    json_set(arg, NULL, one);
}

struct cJSON *telling_status(const struct master *m)
{
    struct cJSON *list = json_array();
    outbox_each(m->telling->outbox, clock_now_ms(), add_channel, list);
    return list;
}

static void answer_channels(struct master *m, struct admin_request *request)
{
    struct cJSON *out = json_object();
    json_set_bool(out, "ok", true);
    json_set(out, "channels", telling_status(m));
    json_set_num(out, "waiting", (double)telling_waiting(m));
    admin_answer(request, out);
}

/* ---- Tests -------------------------------------------------------------------------------- */

static struct cJSON *test_message(struct master *m, const char *id, bool firing)
{
    char now[32];
    clock_iso(clock_wall_ms(), now, sizeof now);
    struct cJSON *message = json_object(), *group = json_object(), *alerts = json_array();
    struct cJSON *alert = json_object(), *labels = json_object(), *texts = json_object();
    json_set_str(labels, "alertname", "TidegateTest");
    json_set_str(labels, "severity", "info");
    json_set_str(labels, "cluster", json_str(json_get(m->config, "cluster"), "id", ""));
    json_set_str(texts, "summary", "This is a test of tidegate's channel. Nothing is wrong.");
    json_set_str(alert, "status", firing ? "firing" : "resolved");
    json_set_str(alert, "startsAt", now);
    json_set_str(alert, "endsAt", firing ? "0001-01-01T00:00:00Z" : now);
    json_set_str(alert, "generatorURL", "");
    json_set_str(alert, "fingerprint", "0000000000007e57");
    json_set_str(group, "version", "4");
    json_set_str(group, "groupKey", "{}:{alertname=\"TidegateTest\"}");
    json_set_num(group, "truncatedAlerts", 0);
    json_set_str(group, "status", firing ? "firing" : "resolved");
    json_set_str(group, "receiver", "tidegate");
    json_set(group, "groupLabels", json_copy(labels));
    json_set(group, "commonLabels", json_copy(labels));
    json_set(group, "commonAnnotations", json_copy(texts));
    json_set_str(group, "externalURL", "");
    json_set(alert, "labels", labels);
    json_set(alert, "annotations", texts);
    json_set(alerts, NULL, alert);
    json_set(group, "alerts", alerts);
    json_set_str(message, "id", id);
    json_set_str(message, "reason", "test");
    json_set(message, "group", group);
    return message;
}

static struct test_wait *wait_new(struct master *m, struct admin_request *request,
                                  const char *channel, bool firing)
{
    struct test_wait *w = mem_new(sizeof *w);
    uint64_t now_ms = clock_now_ms();
    const struct cJSON *config = telling_channel(m, channel), *to = json_get(config, "to");
    uint64_t addresses = json_kind(to) == JSON_ARRAY ? json_count(to) : 1;
    /* One that is under way ends first. */
    uint64_t tries_ms = 2 * addresses * (uint64_t)json_num(config, "timeout_ms", 10000);
    w->request = request;
    w->channel = mem_copy(channel);
    w->id = mem_printf("test-%llx-%llu", (unsigned long long)clock_wall_ms(),
                       (unsigned long long)++m->telling->serial);
    w->message = test_message(m, w->id, firing);
    w->begun_ms = now_ms;
    w->text_by_ms = now_ms + TEXT_MS;
    w->deadline_ms = now_ms + TEXT_MS + tries_ms + SPARE_MS;
    w->next = m->telling->tests;
    m->telling->tests = w;
    return w;
}

/* Answers (takes) and forgets it. */
static void wait_end(struct master *m, struct test_wait *w, struct cJSON *answer)
{
    struct test_wait **at = &m->telling->tests;
    while (*at != w) {
        at = &(*at)->next;
    }
    *at = w->next;
    if (w->request) {
        admin_answer(w->request, answer);
    } else {
        json_free(answer);
    }
    json_free(w->message);
    mem_free(w->channel);
    mem_free(w->id);
    mem_free(w);
}

static void wait_refuse(struct master *m, struct test_wait *w, const char *error)
{
    char *text = mem_printf("channel %s: %s", w->channel, error);
    wait_end(m, w, refusal(text));
    mem_free(text);
}

static void wait_send(struct master *m, struct test_wait *w)
{
    struct cJSON *message = w->message;
    w->message = NULL;
    if (telling_test(m, w->channel, message)) {
        wait_refuse(m, w, "another test of it is under way: wait for that");
    }
    json_free(message);
}

/* In the words of its template, which the policy process has. */
static bool ask_text(struct master *m, struct test_wait *w)
{
    struct cJSON *question = json_object(), *about = json_copy(json_get(w->message, "group"));
    struct cJSON *channels = json_array();
    json_add_str(channels, w->channel);
    json_set_str(about, "severity", "info");
    json_set_str(about, "reason", "test");
    json_set(about, "channels", channels);
    json_set_str(question, "id", w->id);
    json_set(question, "about", about);
    json_set_bool(question, "fixed", true);
    char *text = json_text(question);
    bool asked = deciders_ask(m, CHILD_NOTIFY, text);
    mem_free(text);
    json_free(question);
    return asked;
}

static void begin_test(struct master *m, struct admin_request *request, const char *channel)
{
    const struct cJSON *config = telling_channel(m, channel);
    if (!config) {
        char *text =
            mem_printf("no such channel: %s: `tidegate alert channels` lists them", channel);
        admin_answer(request, refusal(text));
        mem_free(text);
        return;
    }
    struct test_wait *w = wait_new(m, request, channel, true);
    if (!json_get(config, "template")) {
        wait_send(m, w);
    } else if (ask_text(m, w)) {
        w->asked = true;
    } else {
        wait_refuse(m, w, "its template cannot be asked: the policy process is not there");
    }
}

bool telling_test_text(struct master *m, const struct cJSON *answer)
{
    struct test_wait *next;
    bool found = false;
    for (struct test_wait *w = m->telling->tests; w; w = next) {
        next = w->next;
        if (!w->asked || (answer && !str_same(json_str(answer, "id", ""), w->id))) {
            continue;
        }
        const struct cJSON *send = json_first(json_get(answer, "send"));
        const struct cJSON *error = json_first(json_get(answer, "errors"));
        found = true;
        w->asked = false;
        if (!answer || error) {
            wait_refuse(m, w, json_str(error, "error", "the policy process died at its template"));
            continue;
        }
        json_set_str(w->message, "text", json_str(send, "text", ""));
        wait_send(m, w);
    }
    return found;
}

bool telling_tested(struct master *m, const char *channel, const char *id,
                    const struct outbox_outcome *outcome)
{
    struct test_wait *w = m->telling->tests;
    while (w && !str_same(w->id, id)) {
        w = w->next;
    }
    if (!w) {
        return strncmp(id, "test-", 5) == 0;
    }
    const char *kind = json_str(telling_channel(m, channel), "kind", "");
    bool sent = outcome->result == OUTBOX_SENT;
    /* These two keep what they heard until they hear that it is over. */
    bool undo =
        sent && w->request && (str_same(kind, "pagerduty") || str_same(kind, "alertmanager"));
    struct cJSON *out = json_object();
    char *said = mem_printf("channel %s: %s", channel, outcome->text);
    json_set_bool(out, "ok", sent);
    json_set_str(out, "channel", channel);
    json_set_str(out, sent ? "said" : "error", sent ? outcome->text : said);
    json_set_num(out, "took_ms", (double)(clock_now_ms() - w->begun_ms));
    mem_free(said);
    wait_end(m, w, out);
    if (undo) {
        w = wait_new(m, NULL, channel, false);
        w->text_by_ms = 0; /* sent by the tick, since the channel has not closed this try yet */
    }
    return true;
}

void telling_ask_tick(struct master *m, uint64_t now_ms)
{
    struct test_wait *next;
    for (struct test_wait *w = m->telling->tests; w; w = next) {
        next = w->next;
        if (!w->request && w->message) {
            wait_send(m, w);
        } else if (now_ms >= w->deadline_ms) {
            wait_refuse(m, w, "the outcome is not known in time");
        } else if (w->asked && now_ms >= w->text_by_ms) {
            w->asked = false;
            wait_refuse(m, w, "its template does not answer");
        }
    }
}

void telling_ask_close(struct master *m)
{
    while (m->telling->tests) {
        wait_end(m, m->telling->tests, refusal("tidegate is stopping"));
    }
}

void telling_ask(struct master *m, struct admin_request *request, const char *command,
                 const struct cJSON *args)
{
    if (str_same(command, "channels")) {
        answer_channels(m, request);
    } else {
        begin_test(m, request, json_str(args, "channel", ""));
    }
}
