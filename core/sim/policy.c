/* policy.c: a configuration around one scale policy. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/script.h"
#include "sim/private.h"
#include "base/ban.h"

enum {
    STARTS_LATE_MS = 60000
};

/* "x/policies/scale/NAME.lua" -> "x/simulate.lua" and NAME; "scale/NAME" and NAME -> `beside` and NAME. */
static int locate(const char *beside, const char *policy, char **ret_path, char **ret_name,
                  char **reterr)
{
    static const char FOLDER[] = "policies/scale/";
    struct str text = str_of(policy);
    if (!str_ends(text, ".lua")) {
        *ret_name = mem_copy(str_starts(text, "scale/") ? policy + strlen("scale/") : policy);
        *ret_path = mem_copy(beside);
        return 0;
    }
    const char *slash = strrchr(policy, '/');
    size_t before = slash ? (size_t)(slash + 1 - policy) : 0;
    struct str folder = str_sub(text, 0, before);
    bool whole = str_ends(folder, FOLDER) &&
                 (folder.len == strlen(FOLDER) || policy[folder.len - strlen(FOLDER) - 1] == '/');
    if (!whole) {
        *reterr = mem_printf("%s: a scale policy stands in a folder policies/scale: move it there",
                             policy);
        return -EINVAL;
    }
    *ret_path = mem_printf("%.*ssimulate.lua", (int)(folder.len - strlen(FOLDER)), policy);
    *ret_name = mem_copy_bytes(policy + before, text.len - before - strlen(".lua"));
    return 0;
}

static bool is_name(const char *text)
{
    const char *word = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    return *text && !text[strspn(text, word)];
}

int sim_policy_load_beside(const char *beside, const char *policy, const char *params,
                           const struct sim_options *options, struct cJSON **ret_config,
                           char **reterr)
{
    char *path = NULL, *name = NULL, *source = NULL;
    int code = locate(beside, policy, &path, &name, reterr);
    if (code < 0) {
        return code;
    }
    if (!is_name(name)) {
        *reterr = mem_printf("\"%s\" is no name of a policy: write threshold, or a path "
                             "policies/scale/NAME.lua",
                             policy);
        code = -EINVAL;
        goto out;
    }
    source = mem_printf("service \"simulated\" { image = \"simulated\", ports = { \"8080\" }, "
                        "route = { listen = \":8080\" }, deploy = { timeout = \"%llums\" },\n"
                        "scale = { policy = \"%s\", min = %u, max = %u, %s } }\n",
                        /* every start succeeds, however long it takes */
                        (unsigned long long)options->startup_ms + STARTS_LATE_MS, name,
                        options->min, options->max, params);
    code = script_load_text(path, source, ret_config, reterr);
out:
    mem_free(path);
    mem_free(name);
    mem_free(source);
    return code;
}

int sim_policy_load(const char *policy, const char *params, const struct sim_options *options,
                    struct cJSON **ret_config, char **reterr)
{
    return sim_policy_load_beside("simulate.lua", policy, params, options, ret_config, reterr);
}

static const struct cJSON *find_service(const struct cJSON *configuration, const char *name)
{
    const struct cJSON *s = json_first(json_get(configuration, "services"));
    while (s && !str_same(json_str(s, "name", ""), name)) {
        s = json_next(s);
    }
    return s;
}

int sim_service_load(const struct cJSON *configuration, const char *service,
                     const struct sim_options *options, struct cJSON **ret_config, char **reterr)
{
    /* What of `scale` would keep the policy from acting. */
    static const char *const HELD[] = {"mode", "shadow", "pinned"};
    const struct cJSON *scale = json_get(find_service(configuration, service), "scale");
    struct cJSON *config = NULL;
    if (!*json_str(scale, "policy", "")) {
        *reterr = mem_printf("no service \"%s\" has a scale policy", service);
        return -EINVAL;
    }
    int code = sim_policy_load("threshold", "", options, &config, reterr);
    if (code < 0) {
        return code;
    }
    struct cJSON *own = json_copy(scale);
    json_set_num(own, "min", options->min);
    json_set_num(own, "max", options->max);
    for (size_t i = 0; i < sizeof HELD / sizeof *HELD; i++) {
        json_remove(own, HELD[i]);
    }
    json_set(json_first(json_get(config, "services")), "scale", own);
    json_set(config, "policies", json_copy(json_get(configuration, "policies")));
    json_set(config, "libraries", json_copy(json_get(configuration, "libraries")));
    *ret_config = config;
    return 0;
}
