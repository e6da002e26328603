/* redirect.c: sends clients elsewhere.
 *
 * Where to is the operator's text; of the request only its own host, path and query come into it, each
 * where it can be nothing else. The codec has taken the target as visible ASCII and the host as a name or
 * an address, so neither ends the line. A path that begins with two slashes, or a slash and a backslash, is
 * another host to browsers when nothing stands before it: then one slash is left. */
#include "edge/edge.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

enum place {
    PLACE_HOST,
    PLACE_PATH,
    PLACE_QUERY,
    PLACE_URI,
    PLACES
};

static const char *const NAMES[] = {"host", "path", "query", "uri", NULL};

struct edge_redirect {
    struct edge_template *to;
    int status;
    bool named; /* it says {host} */
    bool local; /* it begins with no host */
    bool secures;
};

int edge_redirect_new(const struct cJSON *json, struct edge_redirect **ret_redirect, char **reterr)
{
    const char *to = json_str(json, "to", "");
    int status = (int)json_num(json, "status", 301);
    if (status < 300 || status > 399 || !to[0]) {
        *reterr = mem_printf("redirect: no place to go, or %d is no status of a redirect", status);
        return -EINVAL;
    }
    struct edge_redirect *r = mem_new(sizeof *r);
    r->to = edge_template_new(to, NAMES);
    r->status = status;
    r->named = strstr(to, "{host}") != NULL;
    r->local = !strstr(to, "://");
    r->secures = json_bool(json, "secures", false);
    *ret_redirect = r;
    return 0;
}

void edge_redirect_free(struct edge_redirect *r)
{
    if (r) {
        edge_template_free(r->to);
        mem_free(r);
    }
}

/* Without its port. */
static struct str bare_host(struct str host)
{
    ptrdiff_t end = host.len && host.ptr[0] == '[' ? str_find(host, ']') + 1 : str_find(host, ':');
    return end > 0 ? str_sub(host, 0, (size_t)end) : host;
}

/* Of slashes and backslashes at the beginning one is left. */
static void calm(struct edge_out *out, size_t from)
{
    size_t more = 0;
    char *at = out->bytes + from;
    while (from + 1 + more < out->len && (at[1 + more] == '/' || at[1 + more] == '\\')) {
        more++;
    }
    memmove(at + 1, at + 1 + more, out->len - from - 1 - more);
    out->len -= more;
}

bool edge_redirect_passes(const struct edge_redirect *r, const struct edge_request *request)
{
    return r->secures && request->secure;
}

bool edge_redirect_answer(const struct edge_redirect *r, const struct edge_request *request,
                          struct edge_out *out, struct edge_answer *ret_answer)
{
    const struct http1_head *head = request->head;
    bool one = request->host[0] && request->host[0] != '*';
    struct str host = one ? str_of(request->host) : bare_host(head->host);
    struct str path = str_is(head->path, "*") ? str_of("/") : head->path, uri = path;
    if (r->named && !host.len) {
        return false;
    }
    if (head->query.ptr) {
        size_t at = out->len;
        edge_put(out, path);
        edge_put_text(out, "?");
        edge_put(out, head->query);
        uri = edge_put_since(out, at);
    }
    struct str values[PLACES] = {
        [PLACE_HOST] = host, [PLACE_PATH] = path, [PLACE_QUERY] = head->query, [PLACE_URI] = uri};
    size_t from = out->len;
    edge_put_text(out, "Location: ");
    size_t value = out->len;
    edge_template_put(r->to, values, out);
    if (out->full) {
        return false;
    }
    if (r->local) {
        calm(out, value);
    }
    edge_put_text(out, "\r\n");
    *ret_answer = (struct edge_answer){.status = r->status, .fields = edge_put_since(out, from)};
    return !out->full;
}
