/* limit.c: see limit.h. */
#include "edge/limit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/ban.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "edge/edge.h"
#include "net/http1.h"

enum by {
    BY_ROUTE,
    BY_ADDRESS,
    BY_HEADER,
    BY_COOKIE
};

struct limit {
    struct board_rate rate;
    uint64_t identity;
    enum by by;
    char *name; /* of the header or cookie */
    int status;
    double count, period_s; /* as configured */
};

struct edge_limits {
    struct limit of[EDGE_LIMITS];
    unsigned count;
    bool told;
};

/* ---- what is configured ------------------------------------------------------------------ */

static void read_limit(struct limit *l, const struct cJSON *json, uint64_t route, unsigned place)
{
    const char *by = json_str(json, "by", "address");
    double period_ms = json_num(json, "per_ms", 1000), rate = json_num(json, "rate", 1);
    double burst = json_num(json, "burst", rate < 1 ? 1 : rate);
    l->by = !strcmp(by, "route")         ? BY_ROUTE
            : !strncmp(by, "header:", 7) ? BY_HEADER
            : !strncmp(by, "cookie:", 7) ? BY_COOKIE
                                         : BY_ADDRESS;
    l->name = l->by >= BY_HEADER ? mem_copy(by + 7) : NULL;
    l->rate = board_rate_limit(rate, period_ms, (uint32_t)burst);
    l->status = (int)json_num(json, "status", 429);
    l->count = rate;
    l->period_s = period_ms / 1000;
    l->identity = hash_more(route, by, strlen(by));
    l->identity = hash_more(l->identity, &place, sizeof place);
    l->identity = hash_more(l->identity, &l->rate.step, sizeof l->rate.step);
    l->identity = hash_more(l->identity, &l->rate.burst, sizeof l->rate.burst);
}

struct edge_limits *edge_limits_new(const struct cJSON *json, uint64_t route)
{
    if (!json_count(json)) {
        return NULL;
    }
    struct edge_limits *l = mem_new(sizeof *l);
    for (const struct cJSON *at = json_first(json); at && l->count < EDGE_LIMITS;
         at = json_next(at)) {
        l->told = l->told || json_bool(at, "headers", false);
        read_limit(&l->of[l->count], at, route, l->count);
        l->count++;
    }
    return l;
}

void edge_limits_free(struct edge_limits *l)
{
    for (unsigned i = 0; l && i < l->count; i++) {
        mem_free(l->of[i].name);
    }
    mem_free(l);
}

/* ---- whom a limit counts ----------------------------------------------------------------- */

static struct str value_of(const struct limit *l, const struct http1_head *head)
{
    if (l->by == BY_HEADER) {
        const struct http1_field *f = http1_find_name(head, l->name);
        return f ? f->value : (struct str){NULL, 0};
    }
    return l->by == BY_COOKIE ? edge_cookie(head, l->name) : (struct str){NULL, 0};
}

/* An IPv4 address as it is written, of an IPv6 address the network: whoever has one has all of it. */
static uint64_t key_of_address(const struct board *b, uint64_t identity, const char *address)
{
    unsigned char six[16];
    if (strchr(address, ':') && inet_pton(AF_INET6, address, six) == 1) {
        return board_rate_key(b, identity, six, 8);
    }
    return board_rate_key(b, identity, address, strlen(address));
}

static uint64_t key_of(const struct limit *l, const struct board *b, const struct http1_head *head,
                       const char *address)
{
    struct str value = value_of(l, head);
    if (value.len) {
        return board_rate_key(b, l->identity, value.ptr, value.len);
    }
    /* What one may send in a header is not taken for an address. */
    return l->by == BY_ROUTE ? board_rate_key(b, l->identity, "", 0)
                             : key_of_address(b, l->identity + 1, address);
}

bool edge_limits_ask(const struct edge_limits *l, struct board *b, const struct http1_head *head,
                     const char *address, uint64_t now_us, struct edge_limited *ret)
{
    uint64_t keys[EDGE_LIMITS];
    bool found = false;
    for (unsigned i = 0; i < l->count; i++) {
        keys[i] = key_of(&l->of[i], b, head, address);
        if (l->count == 1) {
            break; /* what there is only one of need not be looked at before it counts */
        }
        struct board_rated rated = board_rate_take(b, &l->of[i].rate, keys[i], now_us, true);
        if (!rated.allowed && (!found || rated.retry_us > ret->rated.retry_us)) {
            *ret = (struct edge_limited){rated, (uint8_t)i};
            found = true;
        }
    }
    for (unsigned i = 0; i < l->count && !found; i++) {
        struct board_rated rated = board_rate_take(b, &l->of[i].rate, keys[i], now_us, false);
        if (!i || !rated.allowed || rated.remaining < ret->rated.remaining) {
            *ret = (struct edge_limited){rated, (uint8_t)i};
        }
        found = !rated.allowed;
    }
    return !found;
}

/* ---- what is told ------------------------------------------------------------------------ */

int edge_limits_status(const struct edge_limits *l, const struct edge_limited *limited)
{
    return l->of[limited->which].status;
}

bool edge_limits_told(const struct edge_limits *l)
{
    return l->told;
}

static unsigned long long seconds(uint64_t us)
{
    return (us + 999999) / 1000000;
}

struct str edge_limits_fields(const struct edge_limits *l, const struct edge_limited *limited,
                              char to[EDGE_LIMIT_FIELD_BYTES])
{
    const struct limit *of = &l->of[limited->which];
    const struct board_rated *r = &limited->rated;
    int len = 0;
    if (!r->allowed) {
        unsigned long long wait = seconds(r->retry_us);
        len = snprintf(to, 64, "Retry-After: %llu\r\n", wait ? wait : 1);
    }
    /* Four fields of at most 60 bytes: the numbers are bounded by the configuration. */
    len += snprintf(to + len, (size_t)(EDGE_LIMIT_FIELD_BYTES - len),
                    "RateLimit-Limit: %u\r\nRateLimit-Remaining: %u\r\nRateLimit-Reset: %llu\r\n"
                    "RateLimit-Policy: %.0f;w=%.0f;burst=%u\r\n",
                    of->rate.burst, r->remaining, seconds(r->reset_us),
                    of->period_s < 1 ? of->count / of->period_s : of->count,
                    of->period_s < 1 ? 1.0 : of->period_s, of->rate.burst);
    return (struct str){to, (size_t)len};
}
