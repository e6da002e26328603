/* cors.c: which pages of other origins may use a route, by the rules of the Fetch standard.
 *
 * A preflight is answered here, whoever asks: with what is allowed, or with 403 and nothing allowed. Other
 * requests go on, also those of origins that may not: it is their browser that keeps the answer from the
 * page. What the backend says of CORS is not told: two answers are none to browsers. */
#include "edge/edge.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

struct edge_cors {
    char **origins; /* a first label "*" is for one or more */
    uint32_t count;
    bool any, credentials;
    char *methods, *headers, *expose, *max_age; /* as their fields say them; "" = none */
};

int edge_cors_new(const struct cJSON *json, struct edge_cors **ret_cors, char **reterr)
{
    const struct cJSON *origins = json_get(json, "origins");
    struct edge_cors *c = mem_new(sizeof *c);
    c->origins = mem_array(json_count(origins) + 1, sizeof *c->origins);
    for (const struct cJSON *at = json_first(origins); at; at = json_next(at)) {
        c->origins[c->count] = mem_copy(json_value_str(at, ""));
        c->any = c->any || str_same(c->origins[c->count], "*");
        c->count++;
    }
    c->credentials = json_bool(json, "credentials", false);
    c->methods = mem_copy(json_str(json, "methods", ""));
    c->headers = mem_copy(json_str(json, "headers", ""));
    c->expose = mem_copy(json_str(json, "expose", ""));
    c->max_age = mem_printf("%.0f", json_num(json, "max_age_s", 600));
    if (c->any && c->credentials) {
        *reterr = mem_copy("cors: every origin and credentials do not go together");
        edge_cors_free(c);
        return -EINVAL;
    }
    *ret_cors = c;
    return 0;
}

void edge_cors_free(struct edge_cors *c)
{
    if (!c) {
        return;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        mem_free(c->origins[i]);
    }
    mem_free(c->origins);
    mem_free(c->methods);
    mem_free(c->headers);
    mem_free(c->expose);
    mem_free(c->max_age);
    mem_free(c);
}

static bool fits(const char *pattern, struct str origin)
{
    const char *star = strstr(pattern, "://*.");
    if (!star) {
        return str_is(origin, pattern);
    }
    size_t scheme = (size_t)(star - pattern) + 3;
    struct str name = str_sub(origin, scheme, origin.len);
    return origin.len > scheme && !memcmp(origin.ptr, pattern, scheme) &&
           str_ends(name, pattern + scheme + 1) && name.len > strlen(pattern + scheme + 1) &&
           name.ptr[0] != '.' && str_find(name, '/') < 0 && str_find(name, '@') < 0;
}

static bool allowed(const struct edge_cors *c, struct str origin)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->any || fits(c->origins[i], origin)) {
            return true;
        }
    }
    return false;
}

static void put_some(struct edge_out *out, const char *name, const char *value)
{
    if (value[0]) {
        edge_put_field(out, name, str_of(value));
    }
}

enum edge_cors_result edge_cors_ask(const struct edge_cors *c, const struct edge_request *request,
                                    struct edge_out *fields, struct edge_out *preflight)
{
    const struct http1_head *head = request->head;
    const struct http1_field *origin = http1_find_name(head, "origin");
    const struct http1_field *method = http1_find_name(head, "access-control-request-method");
    const struct http1_field *names = http1_find_name(head, "access-control-request-headers");
    bool asks = head->method == HTTP1_OPTIONS && origin && method;
    bool may = origin && allowed(c, origin->value);
    if (!c->any) {
        edge_put_text(fields, "Vary: Origin\r\n");
    }
    if (may) {
        edge_put_field(fields, "Access-Control-Allow-Origin", c->any ? str_of("*") : origin->value);
        put_some(fields, "Access-Control-Allow-Credentials", c->credentials ? "true" : "");
    }
    if (!asks) {
        put_some(fields, "Access-Control-Expose-Headers", may ? c->expose : "");
        return EDGE_CORS_ON;
    }
    if (!may) {
        return EDGE_CORS_REFUSED;
    }
    put_some(preflight, "Access-Control-Allow-Methods", c->methods);
    if (str_same(c->headers, "*") && names) {
        edge_put_field(preflight, "Access-Control-Allow-Headers", names->value);
        edge_put_text(preflight, "Vary: Access-Control-Request-Headers\r\n");
    } else if (!str_same(c->headers, "*")) {
        put_some(preflight, "Access-Control-Allow-Headers", c->headers);
    }
    edge_put_field(preflight, "Access-Control-Max-Age", str_of(c->max_age));
    return EDGE_CORS_PREFLIGHT;
}
