/* script_double.c: stands in for script's hot picks where that room is not linked.
 *
 * Weak symbols: the real ones win. It knows policies by name: "round_robin", "least_connections",
 * "raises" (fails always), "wild" (answers a row that does not exist), "none" (wants no backend). */
#include <errno.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "script/script.h"

#define WEAK __attribute__((weak))

struct script_hot {
    int unused;
};

struct script_picker {
    char *policy;
    struct script_backend *rows;
    uint32_t count, last;
};

WEAK int script_hot_new(const struct cJSON *config, uint64_t *heartbeat,
                        struct script_hot **ret_hot, char **reterr)
{
    (void)config;
    (void)heartbeat;
    (void)reterr;
    *ret_hot = mem_new(sizeof **ret_hot);
    return 0;
}

WEAK void script_hot_free(struct script_hot *hot)
{
    mem_free(hot);
}

WEAK int script_reader_new(struct script_hot *hot, const char *service, uint32_t route,
                           struct script_reader **ret_reader, char **reterr)
{
    (void)hot;
    (void)service;
    (void)route;
    (void)ret_reader;
    *reterr = mem_copy("no request functions here");
    return -EINVAL;
}

WEAK void script_reader_free(struct script_reader *reader)
{
    (void)reader;
}

WEAK int script_read(struct script_reader *reader, const struct script_head *head,
                     struct script_data *ret_data)
{
    (void)reader;
    (void)head;
    (void)ret_data;
    return -EIO;
}

WEAK const char *script_reader_error(const struct script_reader *reader)
{
    (void)reader;
    return "";
}

WEAK void script_hot_live(struct script_hot *hot)
{
    (void)hot;
}

WEAK int script_picker_new(struct script_hot *hot, const char *policy, const struct cJSON *params,
                           struct script_backend *rows, uint32_t capacity,
                           struct script_picker **ret_picker, char **reterr)
{
    (void)hot;
    (void)params;
    (void)capacity;
    if (!strcmp(policy, "missing")) {
        *reterr = mem_copy("no such policy: missing");
        return -EINVAL;
    }
    struct script_picker *picker = mem_new(sizeof *picker);
    picker->policy = mem_copy(policy);
    picker->rows = rows;
    *ret_picker = picker;
    return 0;
}

WEAK void script_picker_free(struct script_picker *picker)
{
    if (picker) {
        mem_free(picker->policy);
        mem_free(picker);
    }
}

WEAK void script_picker_resize(struct script_picker *picker, uint32_t count)
{
    picker->count = count;
}

WEAK int script_pick(struct script_picker *picker, const struct script_request *request)
{
    int best = -ENOENT;
    (void)request;
    if (!strcmp(picker->policy, "raises")) {
        return -EIO;
    }
    if (!strcmp(picker->policy, "wild")) {
        return 4000;
    }
    if (!strcmp(picker->policy, "none")) {
        return -ENOENT;
    }
    for (uint32_t i = 1; i <= picker->count; i++) {
        uint32_t at = (picker->last + i) % picker->count;
        if (!picker->rows[at].eligible) {
            continue;
        }
        if (!strcmp(picker->policy, "round_robin")) {
            picker->last = at;
            return (int)at;
        }
        if (best < 0 || picker->rows[at].in_flight < picker->rows[best].in_flight) {
            best = (int)at;
        }
    }
    if (best >= 0) {
        picker->last = (uint32_t)best;
    }
    return best;
}

WEAK int script_picker_scores(struct script_picker *picker, const struct script_request *request,
                              double *ret_scores)
{
    (void)picker;
    (void)request;
    (void)ret_scores;
    return -ENOTSUP;
}

WEAK bool script_picker_compiled(struct script_picker *picker)
{
    (void)picker;
    return true;
}

WEAK const char *script_picker_origin(const struct script_picker *picker)
{
    (void)picker;
    return "policies/balance/raises.lua:1";
}

WEAK const char *script_picker_error(const struct script_picker *picker)
{
    (void)picker;
    return "policies/balance/raises.lua:1: raised";
}
