/* canary.c: which of several services a request goes to.
 *
 * A header or a cookie names one outright; of the rest each gets its part: by chance for each request, or
 * for each client by a hash of its key. A client's place on the line from 0 to 100 stays where it is, so that
 * whoever is at the new service stays there while its part grows. */
#include "edge/edge.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

struct choice {
    char *header, *cookie, *value; /* NULL: not asked for; value NULL: any */
    double percent;
};

enum key {
    KEY_NONE,
    KEY_ADDRESS,
    KEY_HEADER,
    KEY_COOKIE
};

struct edge_canary {
    struct choice choices[EDGE_CANARIES];
    uint32_t count;
    enum key key;
    char *key_name;
};

static void read_key(struct edge_canary *c, const char *by)
{
    const char *name = strchr(by, ':');
    c->key = str_same(by, "address")      ? KEY_ADDRESS
             : !strncmp(by, "header:", 7) ? KEY_HEADER
             : !strncmp(by, "cookie:", 7) ? KEY_COOKIE
                                          : KEY_NONE;
    c->key_name = mem_copy(name ? name + 1 : NULL);
}

int edge_canary_new(const struct cJSON *json, struct edge_canary **ret_canary, char **reterr)
{
    const struct cJSON *services = json_get(json, "services");
    if (!json_count(services) || json_count(services) > EDGE_CANARIES) {
        *reterr = mem_printf("canary: 1 to %d services", EDGE_CANARIES);
        return -EINVAL;
    }
    struct edge_canary *c = mem_new(sizeof *c);
    read_key(c, json_str(json, "key", ""));
    for (const struct cJSON *at = json_first(services); at; at = json_next(at)) {
        c->choices[c->count++] = (struct choice){.header = mem_copy(json_str(at, "header", NULL)),
                                                 .cookie = mem_copy(json_str(at, "cookie", NULL)),
                                                 .value = mem_copy(json_str(at, "value", NULL)),
                                                 .percent = json_num(at, "percent", 0)};
    }
    *ret_canary = c;
    return 0;
}

void edge_canary_free(struct edge_canary *c)
{
    if (!c) {
        return;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        mem_free(c->choices[i].header);
        mem_free(c->choices[i].cookie);
        mem_free(c->choices[i].value);
    }
    mem_free(c->key_name);
    mem_free(c);
}

struct str edge_cookie(const struct http1_head *head, const char *name)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct str rest = head->fields[i].value, pair;
        if (!str_is_nocase(head->fields[i].name, "Cookie")) {
            continue;
        }
        while (str_next(&rest, ';', &pair)) {
            struct str key;
            pair = str_trim(pair);
            if (str_next(&pair, '=', &key) && str_is(key, name) && pair.len) {
                return pair;
            }
        }
    }
    return (struct str){NULL, 0};
}

static struct str field(const struct http1_head *head, const char *name)
{
    const struct http1_field *f = http1_find_name(head, name);
    return f ? f->value : (struct str){NULL, 0};
}

static bool named(const struct choice *c, struct str said)
{
    return said.len && (!c->value || str_is(said, c->value));
}

/* From 0 to 100. */
static double place_of(const struct edge_canary *c, const struct edge_request *request,
                       uint64_t salt, uint64_t chance)
{
    struct str key = c->key == KEY_ADDRESS  ? str_of(request->peer)
                     : c->key == KEY_HEADER ? field(request->head, c->key_name)
                     : c->key == KEY_COOKIE ? edge_cookie(request->head, c->key_name)
                                            : (struct str){NULL, 0};
    uint64_t bits = key.len ? hash_more(salt, key.ptr, key.len) : chance;
    return (double)(bits >> 11) * 0x1p-53 * 100;
}

int edge_canary_choose(const struct edge_canary *c, const struct edge_request *request,
                       uint64_t salt, uint64_t chance)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct choice *choice = &c->choices[i];
        if ((choice->header && named(choice, field(request->head, choice->header))) ||
            (choice->cookie && named(choice, edge_cookie(request->head, choice->cookie)))) {
            return (int)i;
        }
    }
    double place = place_of(c, request, salt, chance);
    for (uint32_t i = 0; i < c->count; i++) {
        if (place < c->choices[i].percent) {
            return (int)i;
        }
        place -= c->choices[i].percent;
    }
    return -1;
}
