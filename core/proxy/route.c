/* route.c: generations of routes, and finding the one for a request.
 *
 *   address -> port -> host -> site -> longest path prefix, most conditions -> route
 *
 * Invariants: a generation is read-only once built, but for the rows of its pickers. It is freed
 * when neither the proxy nor an exchange holds it, so a request ends on the routes it began with.
 * A path prefix ends at a segment: "/a" is for "/a" and "/a/b", not for "/ab". */
#include "proxy/parts.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "board/board.h"
#include "board/traffic.h"
#include "edge/edge.h"

enum {
    ROWS_LEAST = 64,
    RESPONSE_BUFFER = 16 << 10,
    HEADER_MS = 10000 /* for a head, unless the route says otherwise */
};

/* ---- finding ----------------------------------------------------------------------------- */

struct port *proxy_generation_port(const struct generation *g, const char *address)
{
    for (uint32_t i = 0; i < g->port_count; i++) {
        if (!strcmp(g->ports[i].address, address)) {
            return &g->ports[i];
        }
    }
    return NULL;
}

bool proxy_host_name(struct str host, char *to, size_t size, size_t *ret_len)
{
    size_t len = host.len;
    if (len && host.ptr[0] == '[') {
        ptrdiff_t end = str_find(host, ']');
        len = end < 0 ? len : (size_t)end + 1;
    } else {
        ptrdiff_t colon = str_find(host, ':');
        len = colon < 0 ? len : (size_t)colon;
    }
    if (len && host.ptr[len - 1] == '.') {
        len--;
    }
    if (len >= size) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = host.ptr[i];
        to[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    to[len] = '\0';
    *ret_len = len;
    return true;
}

static struct route *match(const struct site *site, struct str path, const struct http1_head *head)
{
    for (uint32_t i = 0; i < site->count; i++) {
        struct route *r = site->routes[i];
        if (path.len >= r->path_len && !memcmp(path.ptr, r->path, r->path_len) &&
            (path.len == r->path_len || r->path[r->path_len - 1] == '/' ||
             path.ptr[r->path_len] == '/') &&
            proxy_rules_match(&r->rules, head)) {
            return r;
        }
    }
    return NULL;
}

struct route *proxy_route_find(const struct port *port, const struct http1_head *head)
{
    struct str path = head->path;
    char name[HOST_BYTES];
    size_t len;
    if (str_is(path, "*")) {
        path = str_of("/");
    }
    if (!proxy_host_name(head->host, name, sizeof name, &len)) {
        return NULL;
    }
    struct site *exact = len ? map_get(&port->exact, name) : NULL;
    struct route *found = exact ? match(exact, path, head) : NULL;
    /* Suffixes, longest first, then "": every host. */
    for (uint32_t i = 0; !found && i < port->count; i++) {
        const struct site *site = &port->sites[i];
        size_t suffix = strlen(site->host);
        bool matches = !suffix || (site->host[0] == '.' && len > suffix &&
                                   !memcmp(name + len - suffix, site->host, suffix));
        if (matches) {
            found = match(site, path, head);
        }
    }
    return found;
}

/* ---- building ---------------------------------------------------------------------------- */

static struct port *add_port(struct generation *g, const char *address)
{
    struct port *port = proxy_generation_port(g, address);
    if (!port) {
        port = &g->ports[g->port_count++];
        port->address = mem_copy(address);
    }
    return port;
}

/* "*.shop.example" becomes ".shop.example". */
static char *host_key(const char *host)
{
    char *key = mem_copy(host[0] == '*' && host[1] == '.' ? host + 1 : host);
    for (char *c = key; *c; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
    return key;
}

/* Sites stand by length of host, longest first. */
static struct site *add_site(struct port *port, const char *host)
{
    char *key = host_key(host);
    uint32_t at = 0;
    while (at < port->count && strlen(port->sites[at].host) >= strlen(key)) {
        if (!strcmp(port->sites[at].host, key)) {
            mem_free(key);
            return &port->sites[at];
        }
        at++;
    }
    port->sites = mem_resize(port->sites, (port->count + 1) * sizeof *port->sites);
    memmove(&port->sites[at + 1], &port->sites[at], (port->count - at) * sizeof *port->sites);
    port->sites[at] = (struct site){.host = key};
    port->count++;
    return &port->sites[at];
}

/* -EEXIST: another route has the same path and rules. */
static int add_route(struct site *site, struct route *r)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < site->count; i++) {
        const struct route *other = site->routes[i];
        if (!strcmp(other->path, r->path) && proxy_rules_equal(&other->rules, &r->rules)) {
            return -EEXIST;
        }
        at += other->path_len > r->path_len ||
              (other->path_len == r->path_len &&
               proxy_rules_rank(&other->rules) >= proxy_rules_rank(&r->rules));
    }
    site->routes = mem_resize(site->routes, (site->count + 1) * sizeof(struct route *));
    memmove(&site->routes[at + 1], &site->routes[at], (site->count - at) * sizeof(struct route *));
    site->routes[at] = r;
    site->count++;
    return 0;
}

/* Room for every backend that the service may ever have, and the old ones beside the new in a roll.
 */
static uint32_t capacity_of(const struct cJSON *service)
{
    double most = json_num(json_get(service, "scale"), "max", 0);
    double given = (double)json_count(json_get(service, "backends"));
    double rows = 2 * (most > given ? most : given) + 16;
    if (rows < ROWS_LEAST) {
        return ROWS_LEAST;
    }
    return rows > LIMIT_BACKENDS ? LIMIT_BACKENDS : (uint32_t)rows;
}

static struct timeout *timeout_of(struct proxy *p, const struct cJSON *route, const char *key,
                                  double otherwise)
{
    double ms = json_num(route, key, otherwise);
    return proxy_timeout_of(p, ms >= 1 && ms <= 1e9 ? (uint32_t)ms : (uint32_t)otherwise);
}

/* A port has the shortest of its routes' time-outs. */
static void shorter(struct timeout **of, struct timeout *other)
{
    if (!*of || (*of)->ms > other->ms) {
        *of = other;
    }
}

/* Who in front of us is believed, and what backends are told of clients. */
static int build_trust(struct route *r, struct port *port, const struct cJSON *service,
                       const struct cJSON *json, char **reterr)
{
    const struct cJSON *list = json_get(json, "trusted_proxies");
    r->forwarded = json_bool(json, "forwarded", false);
    r->send_proxy = (uint8_t)json_num(service, "send_proxy", 0);
    if (!list) {
        return 0;
    }
    r->trust = mem_new(sizeof *r->trust);
    r->trust->networks = mem_array(json_count(list) + 1, sizeof *r->trust->networks);
    for (const struct cJSON *at = json_first(list); at; at = json_next(at)) {
        const char *text = json_value_str(at, "");
        if (net_network_parse(str_of(text), &r->trust->networks[r->trust->count++])) {
            *reterr = mem_printf("service %s: not a network of proxies: %s",
                                 json_str(service, "name", ""), text);
            return -EINVAL;
        }
    }
    if (json_bool(json, "proxy_protocol", false)) {
        port->proxies = r->trust;
    }
    return 0;
}

/* What decides over it: the policy, and the request function where it has one. */
static int build_scripts(struct generation *g, struct route *r, const struct cJSON *json,
                         char **reterr)
{
    const struct cJSON *inner =
        json_get(json, "inner"); /* its function is that of the route it belongs to */
    const char *service = json_str(inner, "service", r->service->name);
    uint32_t place = (uint32_t)json_num(inner, "place", r->place);
    int rc =
        script_picker_new(g->hot, r->policy, r->params, r->rows, r->capacity, &r->picker, reterr);
    if (rc) {
        r->picker = NULL;
    } else if (json_get(json_get(json, "request"), "function")) {
        rc = script_reader_new(g->hot, service, place, &r->reader, reterr);
    }
    return rc ? rc : proxy_shadow_new(r, json, reterr);
}

static enum protocol protocol_of(const char *name)
{
    return !strcmp(name, "h2c")     ? PROTOCOL_H2C
           : !strcmp(name, "https") ? PROTOCOL_HTTPS
           : !strcmp(name, "h2")    ? PROTOCOL_H2
                                    : PROTOCOL_HTTP;
}

/* `place`: of the route in its service, from 1. */
static int build_route(struct proxy *p, struct generation *g, const struct cJSON *config,
                       const struct cJSON *service, const struct cJSON *json, uint32_t place,
                       char **reterr)
{
    struct route *r = &g->routes[g->route_count++];
    const char *name = json_str(service, "name", "");
    const char *address = json_str(json, "listen", "");
    const char *host = json_str(json, "host", "");
    const struct cJSON *balance = json_get(json, "balance");
    r->generation = g;
    r->number = (g->route_count - 1) % BOARD_ROUTES;
    r->place = place;
    r->inner = json_get(json, "inner") != NULL;
    r->identity = board_route_identity(name, json);
    list_init(&r->node);
    list_init(&r->queue);
    list_init(&r->queue_node);
    proxy_guard_read(p, &r->guard, service, json);
    r->path = mem_copy(json_str(json, "path", "/"));
    if (r->path[0] != '/') {
        *reterr = mem_printf("service %s: a path begins with '/': %s", name, r->path);
        return -EINVAL;
    }
    r->path_len = strlen(r->path);
    proxy_rules_read(json, &r->rules);
    r->protocol = protocol_of(json_str(service, "protocol", "http"));
    r->max_retries = (uint32_t)json_num(json, "max_retries", 3);
    double buffer = json_num(json, "response_buffer", RESPONSE_BUFFER);
    r->response_buffer = buffer < SCRATCH_BYTES ? (uint64_t)buffer : SCRATCH_BYTES;
    double silence = json_num(json, "backend_timeout_ms", 300000);
    r->first_byte_timeout = timeout_of(p, json, "first_byte_timeout_ms", silence);
    r->idle_timeout = timeout_of(p, json, "idle_timeout_ms", silence);
    r->connect_timeout = timeout_of(p, json, "connect_timeout_ms", 2000);
    r->client_timeout = timeout_of(p, json, "client_timeout_ms", 60000);
    if (json_num(json, "total_timeout_ms", 0) >= 1) {
        r->total_timeout = timeout_of(p, json, "total_timeout_ms", 0);
    }
    double idle = r->client_timeout->ms;
    struct timeout *header =
        timeout_of(p, json, "client_header_timeout_ms", idle < HEADER_MS ? idle : HEADER_MS);
    struct port *port = add_port(g, address);
    shorter(&port->client_timeout, r->client_timeout);
    shorter(&port->header_timeout, header);
    port->no_http2 = port->no_http2 || !json_bool(json, "http2", true);
    port->tls = port->tls || json_bool(json, "tls", false);
    if (json_bool(json, "tcp", false) ? port->tcp || port->count : port->tcp != NULL) {
        *reterr = mem_printf("service %s: another route has listen %s, and TCP shares none", name,
                             address);
        return -EINVAL;
    }
    if (json_bool(json, "tcp", false)) {
        port->tcp = r;
    } else if (!r->inner && add_route(add_site(port, host), r)) {
        *reterr = mem_printf(
            "service %s: another route has listen %s, host \"%s\", path %s and the same conditions",
            name, address, host, r->path);
        return -EINVAL;
    }
    r->service = proxy_service_of(p, name);
    list_append(&r->service->routes, &r->node);
    r->capacity = capacity_of(service);
    r->rows = mem_array(r->capacity, sizeof *r->rows);
    r->marks = mem_array(r->capacity, sizeof *r->marks);
    r->view = proxy_view_plan(config, json);
    r->host = mem_copy(host);
    r->policy = mem_copy(json_str(balance, "policy", "least_connections"));
    r->params = json_copy(json_get(balance, "params"));
    int rc = build_trust(r, port, service, json, reterr);
    rc = rc || r->inner ? rc : proxy_steps_new(r, json, reterr);
    return rc || g->builtin ? rc : build_scripts(g, r, json, reterr);
}

static void point_sites(struct generation *g)
{
    for (uint32_t i = 0; i < g->port_count; i++) {
        struct port *port = &g->ports[i];
        for (uint32_t k = 0; k < port->count; k++) {
            struct site *site = &port->sites[k];
            if (site->host[0] && site->host[0] != '.') {
                (void)map_put(&port->exact, site->host, site);
            }
        }
    }
}

static void free_generation(struct generation *g)
{
    if (!g) {
        return;
    }
    for (uint32_t i = 0; i < g->route_count; i++) {
        struct route *r = &g->routes[i];
        if (r->service) {
            list_remove(&r->node);
        }
        script_reader_free(r->reader);
        script_picker_free(r->picker);
        proxy_shadow_free(r);
        proxy_view_plan_free(r->view);
        mem_free(r->rows);
        mem_free(r->marks);
        mem_free(r->path);
        mem_free(r->host);
        mem_free(r->policy);
        json_free(r->params);
        if (r->trust) {
            mem_free(r->trust->networks);
            mem_free(r->trust);
        }
        proxy_rules_free(&r->rules);
        proxy_steps_free(r->inner ? NULL : r->steps);
    }
    for (uint32_t i = 0; i < g->port_count; i++) {
        struct port *port = &g->ports[i];
        for (uint32_t k = 0; k < port->count; k++) {
            mem_free(port->sites[k].host);
            mem_free(port->sites[k].routes);
        }
        map_free(&port->exact);
        mem_free(port->sites);
        mem_free(port->address);
    }
    script_hot_free(g->hot);
    edge_pages_free(g->pages);
    proxy_access_free(g->access);
    mem_free(g->ports);
    mem_free(g->routes);
    mem_free(g);
}

void proxy_generation_ref(struct generation *g)
{
    g->refs++;
}

void proxy_generation_unref(struct generation *g)
{
    if (g && --g->refs == 0) {
        free_generation(g);
    }
}

static size_t count_routes(const struct cJSON *config)
{
    size_t count = 0;
    for (struct cJSON *s = json_first(json_get(config, "services")); s; s = json_next(s)) {
        count += json_count(json_get(s, "routes"));
    }
    return count;
}

static void discard(struct proxy *p)
{
    proxy_generation_unref(p->prepared);
    p->prepared = NULL;
}

int proxy_prepare(struct proxy *p, uint32_t generation, const struct cJSON *config, char **reterr)
{
    discard(p);
    struct generation *g = mem_new(sizeof *g);
    size_t count = count_routes(config);
    g->number = generation;
    g->refs = 1;
    const struct cJSON *cluster = json_get(config, "cluster");
    g->head_bytes = (uint32_t)json_num(cluster, "max_header_bytes", LIMIT_HEAD_BYTES);
    g->head_fields = (uint32_t)json_num(cluster, "max_headers", LIMIT_FIELDS);
    g->spin_us = (uint32_t)json_num(cluster, "spin_us", 0);
    g->trace_share = json_num(json_get(cluster, "tracing"), "sample", -1);
    g->builtin = json_bool(config, "builtin_balance", false);
    g->routes = mem_array(count ? count : 1, sizeof *g->routes);
    g->ports = mem_array(count ? count : 1, sizeof *g->ports);
    int rc = proxy_access_new(p, json_get(cluster, "access_log"), &g->access, reterr);
    const struct cJSON *pages = json_get(cluster, "error_pages");
    rc = rc || !pages ? rc : edge_pages_new(pages, &g->pages, reterr);
    rc = rc ? rc : script_hot_new(config, &p->numbers->heartbeat, &g->hot, reterr);
    for (struct cJSON *s = json_first(json_get(config, "services")); !rc && s; s = json_next(s)) {
        uint32_t place = 1;
        for (struct cJSON *r = json_first(json_get(s, "routes")); !rc && r; r = json_next(r)) {
            rc = build_route(p, g, config, s, r, place++, reterr);
        }
    }
    if (rc) {
        free_generation(g);
        return rc;
    }
    point_sites(g);
    proxy_steps_link(g, config);
    p->prepared = g;
    for (uint32_t i = 0; i < g->route_count; i++) {
        proxy_route_fill(g->routes[i].service);
    }
    return 0;
}

/* Its routes are those that are counted from now on. */
static void keep_traffic(struct proxy *p, const struct generation *g)
{
    uint64_t *routes = mem_array(g->route_count ? g->route_count : 1, sizeof *routes);
    for (uint32_t i = 0; i < g->route_count; i++) {
        routes[i] = g->routes[i].identity;
    }
    board_traffic_keep(p->traffic, routes, g->route_count, p->now_ms);
    mem_free(routes);
}

int proxy_commit(struct proxy *p)
{
    if (!p->prepared) {
        return -ENOENT;
    }
    struct generation *old = p->current;
    p->current = p->prepared;
    p->prepared = NULL;
    script_hot_live(p->current->hot);
    proxy_secure_commit(p);
    board_set(&p->numbers->interpreted, 0);
    proxy_listeners_point(p);
    keep_traffic(p, p->current);
    proxy_shadow_begin(p, p->current);
    proxy_generation_unref(old);
    return 0;
}

void proxy_abort(struct proxy *p)
{
    discard(p);
    proxy_secure_abort(p);
    /* Sockets that only the prepared generation would have used would swallow connections. */
    proxy_listeners_point(p);
}

void proxy_route_fill(struct service *service)
{
    for (struct list *at = service->routes.next; at != &service->routes; at = at->next) {
        struct route *r = list_owner(at, struct route, node);
        uint32_t count = service->count < r->capacity ? service->count : r->capacity;
        r->filled_ms = 0;
        r->changes++;
        for (uint32_t i = 0; i < count; i++) {
            const struct backend *b = service->backends[i];
            r->rows[i].weight = b->weight;
            r->rows[i].max_connections = b->max_connections;
            r->rows[i].capacity = b->capacity;
            proxy_view_row(service, b, &r->rows[i]);
            r->rows[i].ramp = 1;
            r->rows[i].index = (int32_t)i + 1;
        }
        if (r->picker) {
            script_picker_resize(r->picker, count);
        }
        if (r->shadow.picker) {
            script_picker_resize(r->shadow.picker, count);
        }
    }
}
