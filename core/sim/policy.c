/* policy.c: a configuration around one scale policy. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "script/script.h"
#include "sim/private.h"
#include "base/ban.h"

/* "x/policies/scale/NAME.lua" -> "x/simulate.lua" and NAME; "scale/NAME" and NAME -> "simulate.lua" and NAME. */
static int locate(const char *policy, char **ret_path, char **ret_name, char **reterr)
{
    static const char FOLDER[] = "policies/scale/";
    struct str text = str_of(policy);
    if (!str_ends(text, ".lua")) {
        *ret_name = mem_copy(str_starts(text, "scale/") ? policy + strlen("scale/") : policy);
        *ret_path = mem_copy("simulate.lua");
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

int sim_policy_load(const char *policy, const char *params, const struct sim_options *options,
                    struct cJSON **ret_config, char **reterr)
{
    char *path = NULL, *name = NULL, *source = NULL;
    int code = locate(policy, &path, &name, reterr);
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
                        "route = { listen = \":8080\" },\n"
                        "scale = { policy = \"%s\", min = %u, max = %u, %s } }\n",
                        name, options->min, options->max, params);
    code = script_load_text(path, source, ret_config, reterr);
out:
    mem_free(path);
    mem_free(name);
    mem_free(source);
    return code;
}
