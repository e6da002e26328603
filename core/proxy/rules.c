/* rules.c: what a route asks of a request beside host and path, what it changes in heads, and its
 * limits.
 *
 * Invariants: read-only once built. Names are held against names without regard to case, values and
 * methods exactly. A client's requests are counted on the board, over all workers; those that its
 * table has no room for stand in buckets by the client's address and count in this worker only. So
 * counting allocates nothing, and nobody is refused for want of room. */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/share.h"

/* ---- matching ---------------------------------------------------------------------------- */

static bool has_method(const struct rules *rules, struct str method)
{
    for (uint32_t i = 0; i < rules->method_count; i++) {
        if (str_is(method, rules->methods[i])) {
            return true;
        }
    }
    return !rules->method_count;
}

static bool has_field(const struct http1_head *head, const struct pair *wanted)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        if (str_is_nocase(f->name, wanted->name) && str_is(f->value, wanted->value)) {
            return true;
        }
    }
    return false;
}

bool proxy_rules_match(const struct rules *rules, const struct http1_head *head)
{
    bool matches = has_method(rules, head->method_text);
    for (uint32_t i = 0; matches && i < rules->field_count; i++) {
        matches = has_field(head, &rules->fields[i]);
    }
    return matches;
}

uint32_t proxy_rules_rank(const struct rules *rules)
{
    return rules->field_count * 2 + (rules->method_count ? 1 : 0);
}

static bool has_pair(const struct rules *rules, const struct pair *wanted)
{
    for (uint32_t i = 0; i < rules->field_count; i++) {
        if (str_is_nocase(str_of(rules->fields[i].name), wanted->name) &&
            !strcmp(rules->fields[i].value, wanted->value)) {
            return true;
        }
    }
    return false;
}

bool proxy_rules_equal(const struct rules *a, const struct rules *b)
{
    bool overlap = !a->method_count;
    if (proxy_rules_rank(a) != proxy_rules_rank(b)) {
        return false;
    }
    for (uint32_t i = 0; i < a->field_count; i++) {
        if (!has_pair(b, &a->fields[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < a->method_count; i++) {
        overlap = overlap || has_method(b, str_of(a->methods[i]));
    }
    return overlap;
}

/* ---- changes of heads -------------------------------------------------------------------- */

bool proxy_change_sets(const struct change *change, struct str name)
{
    for (uint32_t i = 0; i < change->set_count; i++) {
        if (str_is_nocase(name, change->set[i].name)) {
            return true;
        }
    }
    return false;
}

bool proxy_change_drops(const struct change *change, struct str name)
{
    for (uint32_t i = 0; i < change->remove_count; i++) {
        if (str_is_nocase(name, change->remove[i])) {
            return true;
        }
    }
    return proxy_change_sets(change, name);
}

/* ---- a client's share -------------------------------------------------------------------- */

/* Of this worker's that are not on the board. */
static uint64_t count_apart(const struct list *bucket, uint64_t key)
{
    uint64_t count = 0;
    for (const struct list *at = bucket->next; at != bucket; at = at->next) {
        count += list_owner(at, struct exchange, client)->client_key == key;
    }
    return count;
}

bool proxy_client_enter(struct exchange *ex)
{
    struct session *s = ex->session;
    struct proxy *p = s->proxy;
    struct board *board = p->options.board;
    uint32_t most = ex->route->rules.max_per_client;
    if (!most) {
        return true;
    }
    struct list *bucket = &p->clients[s->key % CLIENT_BUCKETS];
    ex->client_key = board_client_key(board, ex->route->identity, s->peer);
    ex->client_shared = board_client_enter(board, p->options.worker, ex->client_key);
    if (!ex->client_shared) {
        list_append(bucket, &ex->client);
    }
    if (board_client_count(board, ex->client_key) + count_apart(bucket, ex->client_key) > most) {
        proxy_client_leave(ex);
        return false;
    }
    return true;
}

void proxy_client_leave(struct exchange *ex)
{
    struct proxy *p = ex->session->proxy;
    if (ex->client_shared) {
        board_client_leave(p->options.board, p->options.worker, ex->client_key);
        ex->client_shared = false;
    }
    list_remove(&ex->client);
}

/* ---- building ---------------------------------------------------------------------------- */

static char **read_texts(const struct cJSON *array, uint32_t *ret_count)
{
    size_t count = json_count(array);
    *ret_count = 0;
    if (!count) {
        return NULL;
    }
    char **texts = mem_array(count, sizeof *texts);
    for (const struct cJSON *item = json_first(array); item; item = json_next(item)) {
        texts[(*ret_count)++] = mem_copy(json_value_str(item, ""));
    }
    return texts;
}

static struct pair *read_pairs(const struct cJSON *array, uint32_t *ret_count)
{
    size_t count = json_count(array);
    *ret_count = 0;
    if (!count) {
        return NULL;
    }
    struct pair *pairs = mem_array(count, sizeof *pairs);
    for (const struct cJSON *item = json_first(array); item; item = json_next(item)) {
        pairs[(*ret_count)++] = (struct pair){mem_copy(json_str(item, "name", "")),
                                              mem_copy(json_str(item, "value", ""))};
    }
    return pairs;
}

static void read_change(const struct cJSON *json, struct change *change)
{
    change->set = read_pairs(json_get(json, "set"), &change->set_count);
    change->remove = read_texts(json_get(json, "remove"), &change->remove_count);
}

void proxy_rules_read(const struct cJSON *route, struct rules *rules)
{
    double body = json_num(route, "max_body_bytes", 0);
    double per_client = json_num(route, "max_connections_per_client", 0);
    rules->methods = read_texts(json_get(route, "methods"), &rules->method_count);
    rules->fields = read_pairs(json_get(route, "headers"), &rules->field_count);
    read_change(json_get(route, "request_headers"), &rules->request);
    read_change(json_get(route, "answer_headers"), &rules->answer);
    rules->max_body = body >= 1 && body < 9e15 ? (uint64_t)body : 0;
    rules->slow_ms = (uint64_t)json_num(route, "slow_body_timeout_ms", 20000);
    rules->min_body_rate = (uint64_t)json_num(route, "min_body_rate", 0);
    rules->max_per_client = per_client >= 1 && per_client < 1e9 ? (uint32_t)per_client : 0;
}

static void free_texts(char **texts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        mem_free(texts[i]);
    }
    mem_free(texts);
}

static void free_pairs(struct pair *pairs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        mem_free(pairs[i].name);
        mem_free(pairs[i].value);
    }
    mem_free(pairs);
}

void proxy_rules_free(struct rules *rules)
{
    free_texts(rules->methods, rules->method_count);
    free_pairs(rules->fields, rules->field_count);
    free_pairs(rules->request.set, rules->request.set_count);
    free_texts(rules->request.remove, rules->request.remove_count);
    free_pairs(rules->answer.set, rules->answer.set_count);
    free_texts(rules->answer.remove, rules->answer.remove_count);
}
