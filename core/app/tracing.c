/* tracing.c: spans of requests, from workers to a collector: OTLP over HTTP, in JSON.
 *
 *   workers --IPC_SPANS--> a queue of batches --one call at a time--> the collector
 *
 * Invariants: the queue is bounded and the oldest batch goes first when it is full, so a collector that is away costs
 * memory up to that bound and nothing else. What it refuses is not sent again; where it says later (429, 502, 503, 504)
 * or nothing, the batch is, TRIES times, as the OTLP specification wants it. */
#include "app/master.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    BATCHES = 64,
    TRIES = 5,
    CALL_MS = 10000,
    FIRST_WAIT_MS = 1000, /* doubled with each try */
    LONGEST_WAIT_MS = 30000,
    HEADERS = 16
};

struct batch {
    struct list node;
    char *body;
    uint64_t count;
    unsigned tries;
};

struct tracing {
    struct list batches; /* oldest first */
    unsigned waiting;
    struct net_call *call; /* carries the first batch; NULL: none is under way */
    uint64_t next_ms;
    bool failing; /* has been told */
};

static void forget(struct tracing *t, struct batch *b)
{
    list_remove(&b->node);
    t->waiting--;
    mem_free(b->body);
    mem_free(b);
}

static struct batch *first(const struct tracing *t)
{
    return list_empty(&t->batches) ? NULL : list_owner(t->batches.next, struct batch, node);
}

/* {"resourceSpans":[{"resource":{"attributes":[...]},"scopeSpans":[{"scope":{...},"spans":[...]}]}]} */
static char *envelope(const struct cJSON *settings, struct cJSON *takes_spans)
{
    struct cJSON *out = json_object(), *resources = json_array(), *resource = json_object();
    struct cJSON *who = json_object(), *attributes = json_array(), *name = json_object();
    struct cJSON *value = json_object(), *scopes = json_array(), *scoped = json_object();
    struct cJSON *scope = json_object();
    json_set_str(value, "stringValue", json_str(settings, "service", "tidegate"));
    json_set_str(name, "key", "service.name");
    json_set(name, "value", value);
    json_set(attributes, NULL, name);
    json_set(who, "attributes", attributes);
    json_set_str(scope, "name", "tidegate");
    json_set_str(scope, "version", TIDEGATE_VERSION);
    json_set(scoped, "scope", scope);
    json_set(scoped, "spans", takes_spans);
    json_set(scopes, NULL, scoped);
    json_set(resource, "resource", who);
    json_set(resource, "scopeSpans", scopes);
    json_set(resources, NULL, resource);
    json_set(out, "resourceSpans", resources);
    char *text = json_text(out);
    json_free(out);
    return text;
}

static const struct cJSON *settings_of(const struct master *m)
{
    return json_path(m->config, "cluster.tracing");
}

void tracing_take(struct master *m, struct cJSON *told)
{
    const struct cJSON *settings = settings_of(m);
    struct cJSON *spans = json_copy(json_get(told, "spans"));
    uint64_t count = json_count(spans);
    m->counters.spans_dropped += (uint64_t)json_num(told, "left_out", 0);
    json_free(told);
    if (!settings || !count) {
        m->counters.spans_dropped += count;
        json_free(spans);
        return;
    }
    if (!m->tracing) {
        m->tracing = mem_new(sizeof *m->tracing);
        list_init(&m->tracing->batches);
    }
    struct tracing *t = m->tracing;
    if (t->waiting >= BATCHES) {
        /* Not the one on its way. */
        struct batch *oldest = first(t);
        oldest = t->call ? list_owner(oldest->node.next, struct batch, node) : oldest;
        m->counters.spans_dropped += oldest->count;
        forget(t, oldest);
    }
    struct batch *b = mem_new(sizeof *b);
    b->body = envelope(settings, spans);
    b->count = count;
    list_append(&t->batches, &b->node);
    t->waiting++;
    tracing_tick(m, clock_now_ms());
}

static bool later(const struct net_answer *answer)
{
    return answer->error || answer->status == 429 || answer->status == 502 ||
           answer->status == 503 || answer->status == 504;
}

static uint64_t wait_ms(const struct batch *b, const struct net_answer *answer)
{
    uint64_t seconds, ms = (uint64_t)FIRST_WAIT_MS << (b->tries - 1);
    if (!str_to_u64(str_of(answer->retry_after), &seconds)) {
        ms = seconds < LONGEST_WAIT_MS / 1000 ? seconds * 1000 : LONGEST_WAIT_MS;
    }
    return ms < LONGEST_WAIT_MS ? ms : LONGEST_WAIT_MS;
}

static void on_answer(void *arg, const struct net_answer *answer)
{
    struct master *m = arg;
    struct tracing *t = m->tracing;
    if (answer->error == -ECANCELED || !t) {
        return;
    }
    struct batch *b = first(t);
    bool taken = !answer->error && answer->status >= 200 && answer->status < 300;
    t->call = NULL;
    if (!taken && !t->failing) {
        log_warn("spans: the collector does not take them", "status=%d why=%s", answer->status,
                 answer->error ? answer->error_text : "its answer");
    } else if (taken && t->failing) {
        log_info("spans: the collector takes them again", "");
    }
    t->failing = !taken;
    if (!taken && later(answer) && b->tries < TRIES) {
        t->next_ms = clock_now_ms() + wait_ms(b, answer);
        return;
    }
    *(taken ? &m->counters.spans_exported : &m->counters.spans_failed) += b->count;
    forget(t, b);
    tracing_tick(m, clock_now_ms());
}

static void send_first(struct master *m, const struct cJSON *settings)
{
    struct tracing *t = m->tracing;
    struct batch *b = first(t);
    char *lines[HEADERS + 2] = {mem_copy("Content-Type: application/json")};
    size_t count = 1;
    const struct cJSON *h = json_first(json_get(settings, "headers"));
    for (; h && count <= HEADERS; h = json_next(h)) {
        lines[count++] = mem_printf("%s: %s", json_str(h, "name", ""), json_str(h, "value", ""));
    }
    const struct net_tls tls = {.ca = NULL}; /* the system's authorities */
    struct net_request request = {
        .method = "POST",
        .tls = &tls,
        .url = json_str(settings, "endpoint", ""),
        .headers = (const char *const *)lines,
        .body = b->body,
        .body_len = strlen(b->body),
        .timeout_ms = CALL_MS,
    };
    b->tries++;
    if (net_call(m->client, &request, on_answer, m, &t->call)) {
        t->call = NULL;
        m->counters.spans_failed += b->count;
        forget(t, b);
    }
    for (size_t i = 0; i < count; i++) {
        mem_free(lines[i]);
    }
}

void tracing_tick(struct master *m, uint64_t now_ms)
{
    struct tracing *t = m->tracing;
    const struct cJSON *settings = settings_of(m);
    if (t && settings && !t->call && first(t) && now_ms >= t->next_ms) {
        send_first(m, settings);
    }
}

void tracing_close(struct master *m)
{
    struct tracing *t = m->tracing;
    if (!t) {
        return;
    }
    if (t->call) {
        net_call_cancel(t->call);
    }
    m->tracing = NULL;
    while (first(t)) {
        forget(t, first(t));
    }
    mem_free(t);
}
