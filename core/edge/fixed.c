/* fixed.c: the same answer to every request. */
#include "edge/edge.h"

#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"

struct edge_fixed {
    char *type, *body;
    int status;
};

int edge_fixed_new(const struct cJSON *json, struct edge_fixed **ret_fixed, char **reterr)
{
    int status = (int)json_num(json, "status", 200);
    if (status < 200 || status > 599) {
        *reterr = mem_printf("answer: %d is no status of an answer", status);
        return -EINVAL;
    }
    struct edge_fixed *f = mem_new(sizeof *f);
    f->status = status;
    f->type = mem_copy(json_str(json, "type", "text/plain; charset=utf-8"));
    f->body = mem_copy(json_str(json, "body", ""));
    *ret_fixed = f;
    return 0;
}

void edge_fixed_free(struct edge_fixed *f)
{
    if (f) {
        mem_free(f->type);
        mem_free(f->body);
        mem_free(f);
    }
}

struct edge_answer edge_fixed_answer(const struct edge_fixed *f)
{
    return (struct edge_answer){
        .status = f->status, .type = str_of(f->type), .body = str_of(f->body)};
}
