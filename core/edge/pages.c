/* pages.c: error pages, and what is said while a route is under maintenance. */
#include "edge/edge.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/peer.h"

enum place {
    PLACE_STATUS,
    PLACE_REASON,
    PLACE_ID,
    PLACES
};

static const char *const NAMES[] = {"status", "reason", "request_id", NULL};

struct page {
    int from, to; /* statuses, both included */
    char *type;
    struct edge_template *body;
};

struct edge_pages {
    struct page *pages; /* those of one status first */
    uint32_t count;
    bool intercepts;
};

static struct page read_page(const struct cJSON *json)
{
    return (struct page){
        .from = (int)json_num(json, "from", 400),
        .to = (int)json_num(json, "to", 599),
        .type = mem_copy(json_str(json, "type", "text/plain; charset=utf-8")),
        .body = edge_template_new(json_str(json, "body", ""), NAMES),
    };
}

static void free_page(struct page *page)
{
    mem_free(page->type);
    edge_template_free(page->body);
}

/* An id may be a client's word: what means something to a browser is not repeated. */
static struct str harmless(const char *id, char *to, size_t size)
{
    size_t len = 0;
    for (; len < size && id[len]; len++) {
        char c = id[len], low = (char)(c | 0x20);
        bool plain = (c >= '0' && c <= '9') || (low >= 'a' && low <= 'z') || strchr("-_.:=+/", c);
        to[len] = c;
        if (!plain) {
            to[len] = '_';
        }
    }
    return (struct str){to, len};
}

static bool render(const struct page *page, int status, const char *id, struct edge_out *out,
                   struct edge_answer *ret_answer)
{
    char digits[12], clean[128]; /* of an int; more of an id is not shown */
    struct edge_out number = {.bytes = digits, .size = sizeof digits};
    size_t from = out->len;
    edge_put_number(&number, (uint64_t)status);
    struct str values[PLACES] = {
        [PLACE_STATUS] = edge_put_since(&number, 0),
        [PLACE_REASON] = str_of(http1_reason(status)),
        [PLACE_ID] = harmless(id, clean, sizeof clean),
    };
    edge_template_put(page->body, values, out);
    ret_answer->status = status;
    ret_answer->type = str_of(page->type);
    ret_answer->body = edge_put_since(out, from);
    return !out->full;
}

/* ---- error pages ------------------------------------------------------------------------- */

int edge_pages_new(const struct cJSON *json, struct edge_pages **ret_pages, char **reterr)
{
    const struct cJSON *list = json_get(json, "pages");
    if (!json_count(list)) {
        *reterr = mem_copy("error_pages: there is none");
        return -EINVAL;
    }
    struct edge_pages *p = mem_new(sizeof *p);
    p->intercepts = json_bool(json, "intercept", false);
    p->pages = mem_array(json_count(list), sizeof *p->pages);
    for (const struct cJSON *at = json_first(list); at; at = json_next(at)) {
        p->pages[p->count++] = read_page(at);
    }
    *ret_pages = p;
    return 0;
}

void edge_pages_free(struct edge_pages *p)
{
    if (p) {
        for (uint32_t i = 0; i < p->count; i++) {
            free_page(&p->pages[i]);
        }
        mem_free(p->pages);
        mem_free(p);
    }
}

static const struct page *find_page(const struct edge_pages *p, int status)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (status >= p->pages[i].from && status <= p->pages[i].to) {
            return &p->pages[i];
        }
    }
    return NULL;
}

bool edge_pages_answer(const struct edge_pages *p, int status, const char *id, struct edge_out *out,
                       struct edge_answer *ret_answer)
{
    const struct page *page = find_page(p, status);
    return page && render(page, status, id, out, ret_answer);
}

bool edge_pages_intercept(const struct edge_pages *p, int status)
{
    return p->intercepts && find_page(p, status);
}

/* ---- maintenance ------------------------------------------------------------------------- */

struct edge_maintenance {
    struct page page;
    char *retry_after;
    struct net_network *allowed;
    uint32_t allowed_count;
};

int edge_maintenance_new(const struct cJSON *json, struct edge_maintenance **ret_maintenance,
                         char **reterr)
{
    const struct cJSON *allow = json_get(json, "allow");
    struct edge_maintenance *m = mem_new(sizeof *m);
    m->page = read_page(json);
    m->retry_after = mem_printf("%.0f", json_num(json, "retry_after_s", 60));
    m->allowed = mem_array(json_count(allow) + 1, sizeof *m->allowed);
    for (const struct cJSON *at = json_first(allow); at; at = json_next(at)) {
        const char *text = json_value_str(at, "");
        if (net_network_parse(str_of(text), &m->allowed[m->allowed_count++])) {
            *reterr = mem_printf("maintenance.allow: not a network: %s", text);
            edge_maintenance_free(m);
            return -EINVAL;
        }
    }
    *ret_maintenance = m;
    return 0;
}

void edge_maintenance_free(struct edge_maintenance *m)
{
    if (m) {
        free_page(&m->page);
        mem_free(m->retry_after);
        mem_free(m->allowed);
        mem_free(m);
    }
}

bool edge_maintenance_answer(const struct edge_maintenance *m, const struct edge_request *request,
                             const char *id, struct edge_out *out, struct edge_answer *ret_answer)
{
    struct net_ip ip;
    if (m->allowed_count && !net_ip_parse(str_of(request->peer), &ip) &&
        net_networks_have(m->allowed, m->allowed_count, &ip)) {
        return false;
    }
    size_t from = out->len;
    edge_put_field(out, "Retry-After", str_of(m->retry_after));
    edge_put_text(out, "Cache-Control: no-store\r\n");
    struct str fields = edge_put_since(out, from);
    if (!render(&m->page, 503, id, out, ret_answer)) {
        *ret_answer = (struct edge_answer){.status = 503};
    }
    ret_answer->fields = fields;
    return true;
}
