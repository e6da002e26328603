/* view.c: what a balance policy sees of a request, and sessions that stay with a backend.
 *
 * Names become numbers here: tags are bits, interned for each service; zones, data sets and keys
 * are hashes. Owns: the places of a route that are looked at, the bits of a service's tags.
 * Invariants: what the route's policy does not need is not looked for. Bits may change with the
 * roster, so a request remembers for which version it was looked through; later its tags count as
 * unknown. Does not: decide anything, but for a session cookie that names an eligible backend. */
#include "proxy/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    NEED_KEY = 1,
    NEED_TAGS = 2,
    NEED_DATASET = 4,
    NEED_PROCESSING = 8,
    NEED_PATH = 16,
    NEED_ZONE = 32,
    NEED_MEAN = 64, /* of the backends: their response_mean_ms */
    NEED_DATA = NEED_TAGS | NEED_DATASET | NEED_PROCESSING,
    NEED_FUNCTION = NEED_DATA | NEED_KEY | NEED_ZONE, /* what a request function may say */
    NEED_ALL = NEED_DATA | NEED_KEY | NEED_PATH | NEED_ZONE | NEED_MEAN
};

enum {
    PLACES = 4,         /* that one value may come from */
    VALUE_BYTES = 512,  /* longest decoded value of a query */
    TAG_BYTES = 160,    /* longest configured tag, and a prefix */
    TAGS_ASKED = 64,    /* of one request: what follows is not looked at */
    COOKIE_DIGITS = 8,  /* of a session: the hash of its backend */
    TAGS_COUNTED = 1024 /* different tags of a service */
};

enum place_kind {
    PLACE_HEADER,
    PLACE_COOKIE,
    PLACE_QUERY,
    PLACE_CLIENT,
    PLACE_PATH,
    PLACE_DATASET
};

struct place {
    enum place_kind kind;
    char *name;
};

struct places {
    struct place of[PLACES];
    uint32_t count;
};

struct view_plan {
    struct places tags, dataset, processing, key, zone;
    uint32_t needs;
    int32_t here; /* the zone of this tidegate */
    char *cookie; /* of sessions; NULL: none */
    uint64_t ttl_s;
};

uint32_t proxy_hash(struct str s)
{
    uint32_t hash = (uint32_t)hash_bytes(s.ptr, s.len);
    return hash ? hash : 1;
}

/* ---- what is configured ------------------------------------------------------------------ */

static void add_place(struct places *to, const char *text)
{
    static const struct {
        const char *prefix;
        enum place_kind kind;
    } known[] = {{"header:", PLACE_HEADER}, {"cookie:", PLACE_COOKIE}, {"query:", PLACE_QUERY},
                 {"client", PLACE_CLIENT},  {"path", PLACE_PATH},      {"dataset", PLACE_DATASET}};
    for (size_t i = 0; i < sizeof known / sizeof *known && to->count < PLACES; i++) {
        size_t len = strlen(known[i].prefix);
        if (!strncmp(text, known[i].prefix, len)) {
            to->of[to->count++] = (struct place){known[i].kind, mem_copy(text + len)};
            return;
        }
    }
}

static void read_places(struct places *to, const struct cJSON *request, const char *key)
{
    for (struct cJSON *item = json_first(json_get(request, key)); item; item = json_next(item)) {
        add_place(to, json_value_str(item, ""));
    }
}

static uint32_t need_of(const char *name)
{
    static const struct {
        const char *name;
        uint32_t needs;
    } fields[] = {{"key", NEED_KEY},
                  {"tags", NEED_TAGS},
                  {"tag_count", NEED_TAGS},
                  {"dataset", NEED_DATASET},
                  {"processing", NEED_PROCESSING},
                  {"implied", NEED_DATASET | NEED_PROCESSING},
                  {"data", NEED_DATA},
                  {"path", NEED_PATH},
                  {"zone", NEED_ZONE},
                  {"response_mean_ms", NEED_MEAN}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!strcmp(fields[i].name, name)) {
            return fields[i].needs;
        }
    }
    return 0;
}

static uint32_t needs_of(const struct cJSON *config, const char *policy)
{
    struct cJSON *item = json_first(json_get(config, "policies"));
    while (item && (strcmp(json_str(item, "kind", ""), "balance") != 0 ||
                    strcmp(json_str(item, "name", ""), policy) != 0)) {
        item = json_next(item);
    }
    const struct cJSON *list = item ? json_get(item, "needs") : NULL;
    if (!list) {
        return NEED_ALL;
    }
    uint32_t needs = 0;
    for (struct cJSON *name = json_first(list); name; name = json_next(name)) {
        needs |= need_of(json_value_str(name, ""));
    }
    return needs;
}

static int32_t zone_of(struct str name)
{
    return name.len ? (int32_t)proxy_hash(name) : 0;
}

struct view_plan *proxy_view_plan(const struct cJSON *config, const struct cJSON *route)
{
    struct view_plan *plan = mem_new(sizeof *plan);
    const struct cJSON *balance = json_get(route, "balance"), *sticky = json_get(route, "sticky");
    const struct cJSON *request = json_get(route, "request");
    const struct cJSON *shadow = json_get(route, "shadow");
    const char *key = json_str(json_get(balance, "params"), "key", "");
    plan->needs = needs_of(config, json_str(balance, "policy", ""));
    if (shadow) {
        /* A key of its own is the request's when nobody else needs another. */
        const char *own = json_str(json_get(shadow, "params"), "key", "");
        key = plan->needs & NEED_KEY ? key : own;
        plan->needs |= needs_of(config, json_str(shadow, "policy", ""));
    }
    plan->here = zone_of(str_of(json_str(json_get(config, "cluster"), "zone", "")));
    read_places(&plan->tags, request, "tags");
    read_places(&plan->dataset, request, "dataset");
    read_places(&plan->processing, request, "processing");
    read_places(&plan->zone, request, "zone");
    if (key[0]) {
        add_place(&plan->key, key);
    } else {
        read_places(&plan->key, request, "key");
    }
    if (sticky) {
        plan->cookie = mem_copy(json_str(sticky, "cookie", "tidegate"));
        plan->ttl_s = (uint64_t)(json_num(sticky, "ttl_ms", 0) / 1000);
    }
    return plan;
}

bool proxy_view_wants_mean(const struct view_plan *plan)
{
    return plan->needs & NEED_MEAN;
}

static void free_places(struct places *places)
{
    for (uint32_t i = 0; i < places->count; i++) {
        mem_free(places->of[i].name);
    }
}

void proxy_view_plan_free(struct view_plan *plan)
{
    if (plan) {
        free_places(&plan->tags);
        free_places(&plan->dataset);
        free_places(&plan->processing);
        free_places(&plan->key);
        free_places(&plan->zone);
        mem_free(plan->cookie);
        mem_free(plan);
    }
}

/* ---- tags -------------------------------------------------------------------------------- */

void proxy_view_backend(struct backend *b, const struct cJSON *tags)
{
    size_t count = json_count(tags);
    mem_free(b->tags);
    b->tags = mem_array(count ? count : 1, sizeof *b->tags);
    b->tag_count = 0;
    b->zone = 0;
    for (struct cJSON *item = json_first(tags); item; item = json_next(item)) {
        struct str tag = str_of(json_value_str(item, ""));
        b->tags[b->tag_count++] = hash_bytes(tag.ptr, tag.len);
        if (str_starts(tag, "zone:") && !b->zone) {
            b->zone = zone_of(str_sub(tag, 5, tag.len));
        }
    }
}

struct counted {
    uint64_t tag;
    uint32_t count;
};

/* Most frequent first; equal ones by hash, so that all workers agree. */
static int compare(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    return x->tag < y->tag ? -1 : x->tag > y->tag;
}

static void count_tag(struct counted *all, uint32_t *count, uint64_t tag)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (all[i].tag == tag) {
            all[i].count++;
            return;
        }
    }
    if (*count < TAGS_COUNTED) {
        all[(*count)++] = (struct counted){tag, 1};
    }
}

void proxy_view_tags(struct proxy *p, struct service *service)
{
    struct counted *all = mem_array(TAGS_COUNTED, sizeof *all);
    uint32_t count = 0;
    for (uint32_t i = 0; i < service->count; i++) {
        for (uint32_t k = 0; k < service->backends[i]->tag_count; k++) {
            count_tag(all, &count, service->backends[i]->tags[k]);
        }
    }
    qsort(all, count, sizeof *all, compare);
    if (count > TAG_BITS) {
        char text[200]; /* a name of 63 bytes, a number, and words */
        snprintf(text, sizeof text,
                 "service %.63s: %u different tags: the %d that most backends have count",
                 service->name, count, TAG_BITS);
        proxy_fact(p, "tags", text);
        count = TAG_BITS;
    }
    bool same = count == service->tag_count;
    for (uint32_t i = 0; i < count; i++) {
        same = same && service->tags[i] == all[i].tag;
        service->tags[i] = all[i].tag;
    }
    service->tag_count = count;
    service->tags_version += !same;
    mem_free(all);
}

static uint32_t bit_of(const struct service *service, uint64_t tag)
{
    for (uint32_t i = 0; i < service->tag_count; i++) {
        if (service->tags[i] == tag) {
            return 1u << i;
        }
    }
    return 0;
}

void proxy_view_row(const struct service *service, const struct backend *b,
                    struct script_backend *row)
{
    row->hash = b->hash;
    row->zone = b->zone;
    row->tags = 0;
    for (uint32_t i = 0; i < b->tag_count; i++) {
        row->tags |= bit_of(service, b->tags[i]);
    }
}

/* ---- a request --------------------------------------------------------------------------- */

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A value of a query with %XX and + decoded; as it is when it is too long. */
static struct str decoded(struct str value, char *to)
{
    size_t len = 0;
    if (value.len > VALUE_BYTES) {
        return value;
    }
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '%' && i + 2 < value.len && digit(value.ptr[i + 1]) >= 0 &&
            digit(value.ptr[i + 2]) >= 0) {
            c = (char)(digit(value.ptr[i + 1]) << 4 | digit(value.ptr[i + 2]));
            i += 2;
        }
        to[len++] = c == '+' && value.ptr[i] == '+' ? ' ' : c;
    }
    return (struct str){to, len};
}

/* The value behind "name=" in a list of pairs. */
static bool pair_value(struct str list, char separator, const char *name, struct str *ret_value)
{
    struct str part;
    size_t len = strlen(name);
    while (str_next(&list, separator, &part)) {
        part = str_trim(part);
        if (part.len > len && part.ptr[len] == '=' && !memcmp(part.ptr, name, len)) {
            *ret_value = str_sub(part, len + 1, part.len);
            return true;
        }
    }
    return false;
}

static bool cookie_value(const struct http1_head *head, const char *name, struct str *ret_value)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (str_is_nocase(head->fields[i].name, "Cookie") &&
            pair_value(head->fields[i].value, ';', name, ret_value)) {
            return true;
        }
    }
    return false;
}

/* What the request has at these places: the first that is not empty. `buffer` has VALUE_BYTES. */
static bool find(const struct http1_head *head, const struct places *places, char *buffer,
                 struct str *ret_value)
{
    for (uint32_t i = 0; i < places->count; i++) {
        const struct place *place = &places->of[i];
        struct str value = {0};
        if (place->kind == PLACE_HEADER) {
            const struct http1_field *f = http1_find_name(head, place->name);
            value = f ? f->value : value;
        } else if (place->kind == PLACE_COOKIE) {
            (void)cookie_value(head, place->name, &value);
        } else if (place->kind == PLACE_QUERY && head->query.len &&
                   pair_value(head->query, '&', place->name, &value)) {
            value = decoded(value, buffer);
        } else if (place->kind == PLACE_PATH) {
            value = head->path;
        }
        if (value.len) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static void take_tags(const struct service *service, struct str list, struct view *v)
{
    struct str tag;
    while (v->tag_count < TAGS_ASKED && str_next(&list, ',', &tag)) {
        tag = str_trim(tag);
        if (tag.len) {
            uint32_t bit = bit_of(service, hash_bytes(tag.ptr, tag.len));
            v->tag_count += !(bit & v->tags);
            v->tags |= bit;
            v->data = 1;
        }
    }
}

/* The bit of the tag "prefix:value". */
static uint32_t implied(const struct service *service, const char *prefix, struct str value)
{
    char tag[TAG_BYTES];
    if (!service->tag_count || value.len >= sizeof tag) {
        return 0;
    }
    int len = snprintf(tag, sizeof tag, "%s%.*s", prefix, (int)value.len, value.ptr);
    return len < (int)sizeof tag ? bit_of(service, hash_bytes(tag, (size_t)len)) : 0;
}

/* `dataset`: what a request function said in place of the plan's places. */
static uint32_t key_of(const struct exchange *ex, const struct view_plan *plan,
                       const struct http1_head *head, struct str dataset, char *buffer)
{
    for (uint32_t i = 0; i < plan->key.count; i++) {
        struct places one = {.of = {plan->key.of[i]}, .count = 1};
        const struct places *from = one.of[0].kind == PLACE_DATASET ? &plan->dataset : &one;
        struct str value;
        if (one.of[0].kind == PLACE_CLIENT) {
            break;
        }
        if (from != &one && dataset.len) {
            return proxy_hash(dataset);
        }
        if (find(head, from, buffer, &value)) {
            return proxy_hash(value);
        }
    }
    return ex->session->key;
}

static void take_dataset(const struct service *service, struct str value, struct view *v)
{
    v->dataset = proxy_hash(value);
    v->implied |= implied(service, "dataset:", value);
    v->data = 1;
}

static void take_processing(const struct service *service, struct str value, struct view *v)
{
    v->processing = proxy_hash(value);
    v->implied |= implied(service, "processing:", value);
    v->data = 1;
}

static void take_data(const struct service *service, const struct view_plan *plan,
                      const struct http1_head *head, char *buffer, struct view *v)
{
    struct str value;
    if (plan->needs & NEED_TAGS && find(head, &plan->tags, buffer, &value)) {
        take_tags(service, value, v);
    }
    if (plan->needs & NEED_DATASET && find(head, &plan->dataset, buffer, &value)) {
        take_dataset(service, value, v);
    }
    if (plan->needs & NEED_PROCESSING && find(head, &plan->processing, buffer, &value)) {
        take_processing(service, value, v);
    }
}

static struct str from_script(struct script_text t)
{
    return (struct str){t.ptr, t.len};
}

/* What the route's request function says, in place of all places. */
static void take_by_function(const struct exchange *ex, const struct http1_head *head, char *buffer,
                             struct view *v)
{
    const struct route *r = ex->route;
    const struct view_plan *plan = r->view;
    struct script_data data = proxy_function_ask(ex, head, &v->failed);
    struct str dataset = from_script(data.dataset);
    if (plan->needs & NEED_TAGS) {
        take_tags(r->service, from_script(data.tags), v);
    }
    if (plan->needs & NEED_DATASET && dataset.len) {
        take_dataset(r->service, dataset, v);
    }
    if (plan->needs & NEED_PROCESSING && data.processing.len) {
        take_processing(r->service, from_script(data.processing), v);
    }
    if (plan->needs & NEED_KEY) {
        v->key = data.key.len ? proxy_hash(from_script(data.key))
                              : key_of(ex, plan, head, dataset, buffer);
    }
    if (plan->needs & NEED_ZONE) {
        v->zone = data.zone.len ? zone_of(from_script(data.zone)) : plan->here;
    }
}

static void take_by_places(const struct exchange *ex, const struct http1_head *head, char *buffer,
                           struct view *v)
{
    const struct view_plan *plan = ex->route->view;
    struct str value;
    if (plan->needs & NEED_DATA) {
        take_data(ex->route->service, plan, head, buffer, v);
    }
    if (plan->needs & NEED_KEY && plan->key.count) {
        v->key = key_of(ex, plan, head, (struct str){0}, buffer);
    }
    if (plan->needs & NEED_ZONE) {
        v->zone = find(head, &plan->zone, buffer, &value) ? zone_of(value) : plan->here;
    }
}

static uint32_t session_of(struct str value)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < value.len; i++) {
        hash = hash << 4 | (uint32_t)(digit(value.ptr[i]) & 15);
        if (digit(value.ptr[i]) < 0) {
            return 0;
        }
    }
    return value.len == COOKIE_DIGITS ? hash : 0;
}

void proxy_view_take(struct exchange *ex, const struct http1_head *head)
{
    static const struct http1_head nothing;
    const struct route *r = ex->route;
    const struct view_plan *plan = r->view;
    struct view *v = &ex->view;
    struct str value;
    char buffer[VALUE_BYTES];
    head = head ? head : &nothing;
    *v = (struct view){.key = ex->session->key, .tags_version = r->service->tags_version};
    if (r->reader && plan->needs & NEED_FUNCTION) {
        take_by_function(ex, head, buffer, v);
    } else {
        take_by_places(ex, head, buffer, v);
    }
    if (plan->needs & NEED_PATH) {
        v->path = proxy_hash(head->path);
    }
    if (plan->cookie && cookie_value(head, plan->cookie, &value)) {
        v->session = session_of(value);
    }
}

/* The place of the session's backend in the rows, from 1; 0: none. */
static uint32_t session_row(const struct exchange *ex, uint32_t count)
{
    for (uint32_t i = 0; ex->view.session && i < count; i++) {
        if (ex->route->rows[i].hash == ex->view.session) {
            return i + 1;
        }
    }
    return 0;
}

int proxy_view_session(const struct exchange *ex, uint32_t count)
{
    uint32_t row = session_row(ex, count);
    return row && ex->route->rows[row - 1].eligible ? (int)row - 1 : -1;
}

void proxy_view_fill(const struct exchange *ex, uint32_t count, struct script_request *request)
{
    const struct view *v = &ex->view;
    bool known = v->tags_version == ex->route->service->tags_version;
    request->key = v->key;
    request->tags = known ? v->tags : 0;
    request->implied = known ? v->implied : 0;
    request->dataset = v->dataset;
    request->processing = v->processing;
    request->path = v->path;
    request->data = v->data;
    request->tag_count = v->tag_count;
    request->zone = v->zone;
    request->sticky = (int32_t)session_row(ex, count);
}

size_t proxy_view_cookie(const struct exchange *ex, char *to, size_t size)
{
    const struct view_plan *plan = ex->route->view;
    const struct backend *b = ex->backend;
    if (!plan->cookie || !b || b->hash == ex->view.session) {
        return 0;
    }
    char age[40] = ""; /* words, and a number of at most 20 digits */
    if (plan->ttl_s) {
        snprintf(age, sizeof age, "; Max-Age=%llu", (unsigned long long)plan->ttl_s);
    }
    int n = snprintf(to, size, "Set-Cookie: %s=%08x; Path=/%s; HttpOnly; SameSite=Lax\r\n",
                     plan->cookie, (unsigned)b->hash, age);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}
