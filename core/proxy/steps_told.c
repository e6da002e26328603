/* steps_told.c: what the steps of a route would do to a request that is only spoken of; for `tidegate explain`.
 *
 * Called by: explain.c. Invariants: nothing is counted, answered or kept; what goes by chance is told as what most
 * requests get. The order is that of steps.c. */
#include "proxy/parts.h"

#include <errno.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

static void set_text(struct cJSON *to, const char *key, struct str text)
{
    char *copy = mem_copy_bytes(text.ptr ? text.ptr : "", text.len);
    json_set_str(to, key, copy);
    mem_free(copy);
}

/* "answer": {"by":"redirect","status":301,"location"?:"https://..."} */
static void tell_answer(struct cJSON *to, const char *by, int status, struct str fields)
{
    struct cJSON *answer = json_object();
    struct str line, name;
    json_set_str(answer, "by", by);
    json_set_num(answer, "status", status);
    while (str_next(&fields, '\n', &line)) {
        if (str_next(&line, ':', &name) && str_is_nocase(name, "location")) {
            set_text(answer, "location", str_trim(str_sub(line, 0, line.len ? line.len - 1 : 0)));
        }
    }
    json_set(to, "answer", answer);
}

/* Whether it is answered before there is any choice of a service. */
static bool answered_early(const struct exchange *ex, const struct edge_request *request,
                           struct edge_out *out, struct cJSON *to)
{
    const struct steps *s = ex->route->steps;
    char bytes[COURSE_FIELDS_BYTES];
    struct edge_out fields = {.bytes = bytes, .size = sizeof bytes};
    struct edge_answer answer;
    if (s->cors) {
        enum edge_cors_result result = edge_cors_ask(s->cors, request, &fields, out);
        if (result != EDGE_CORS_ON) {
            tell_answer(to, "cors", result == EDGE_CORS_REFUSED ? 403 : 204, (struct str){0});
            return true;
        }
    }
    if (s->redirect) {
        bool leads = edge_redirect_answer(s->redirect, request, out, &answer);
        tell_answer(to, "redirect", leads ? answer.status : 400,
                    leads ? answer.fields : (struct str){0});
        return true;
    }
    if (s->maintenance && edge_maintenance_answer(s->maintenance, request, "", out, &answer)) {
        tell_answer(to, "maintenance", 503, (struct str){0});
        return true;
    }
    return false;
}

static void tell_canaries(const struct steps *s, struct cJSON *to)
{
    struct cJSON *list = json_array();
    for (size_t i = 0; i < EDGE_CANARIES; i++) {
        if (s->canaries[i]) {
            json_add_str(list, s->canaries[i]->service->name);
        }
    }
    json_set(to, "canaries", list);
}

/* Where a request that nothing names a canary for most likely goes: to the route's own service. */
static struct route *choose(const struct exchange *ex, const struct edge_request *request)
{
    const struct steps *s = ex->route->steps;
    int at = edge_canary_choose(s->canary, request, ex->route->identity, UINT64_MAX);
    struct route *to = at < 0 ? NULL : s->canaries[at];
    return to && proxy_pick_ready(ex->session->proxy, to) ? to : ex->route;
}

struct route *proxy_steps_explain(const struct exchange *ex, const struct http1_head *head,
                                  struct cJSON *to)
{
    struct proxy *p = ex->session->proxy;
    const struct steps *s = ex->route->steps;
    struct route *route = ex->route;
    struct edge_request request = {.head = head, .host = route->host, .peer = ""};
    struct edge_out out = {.bytes = p->step_bytes, .size = sizeof p->step_bytes};
    struct str path, prefix;
    if (answered_early(ex, &request, &out, to)) {
        return NULL;
    }
    if (s->canary) {
        tell_canaries(s, to);
        route = choose(ex, &request);
    }
    if (s->fixed) {
        tell_answer(to, "answer", edge_fixed_answer(s->fixed).status, (struct str){0});
        return NULL;
    }
    int rc = s->path ? edge_path_apply(s->path, head->path, &out, &path, &prefix) : 0;
    if (rc < 0) {
        tell_answer(to, "path", rc == -EINVAL ? 400 : 414, (struct str){0});
        return NULL;
    }
    if (rc > 0) {
        set_text(to, "rewritten", path);
    }
    return route;
}
