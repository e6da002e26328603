/* simulated_policy.c: policies as people name them for simulations. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "commands/simulated.h"

enum {
    PARAMS_BYTES = 4096,
    SENTENCE_BYTES = 1 << 20
};

static bool is_number(const char *text)
{
    char *behind;
    double value = strtod(text, &behind);
    return behind != text && !*behind && isfinite(value);
}

/* Where "key=value" at `text` ends: at a comma that stands in no braces and in no quotes. */
static size_t param_length(const char *text)
{
    int depth = 0;
    char quote = 0;
    size_t i = 0;
    for (; text[i] && (depth || quote || text[i] != ','); i++) {
        if (quote) {
            quote = text[i] == quote ? 0 : quote;
        } else if (text[i] == '"' || text[i] == '\'') {
            quote = text[i];
        } else {
            depth += (text[i] == '{') - (text[i] == '}');
        }
    }
    return i;
}

/* "cpu=60,interval=30s,of={...}" as Lua: numbers, booleans and tables as they are, all else as text. */
static bool to_lua(const char *list, struct buf *to)
{
    while (*list) {
        struct str part = {list, param_length(list)};
        list += part.len + (list[part.len] == ',');
        ptrdiff_t equals = str_find(part, '=');
        if (equals <= 0) {
            return false;
        }
        char *value = mem_copy_bytes(part.ptr + equals + 1, part.len - (size_t)equals - 1);
        bool table = *value == '{' && value[strlen(value) - 1] == '}';
        bool plain =
            table || is_number(value) || str_same(value, "true") || str_same(value, "false");
        bool clean = table || !strpbrk(value, "\"\\\n\r");
        (void)buf_printf(to, plain ? "%.*s = %s, " : "%.*s = \"%s\", ", (int)equals, part.ptr,
                         value);
        mem_free(value);
        if (!clean) {
            return false;
        }
    }
    return true;
}

/* Without the file and the service that were made around the policy, which nobody wrote. The caller owns it. */
static char *own_words(const char *why)
{
    static const char MADE[] = "service \"simulated\": ";
    struct buf text;
    struct str rest = str_of(why), line;
    buf_init(&text, SENTENCE_BYTES);
    while (str_next(&rest, '\n', &line)) {
        char *whole = mem_copy_bytes(line.ptr, line.len), *made = strstr(whole, MADE);
        (void)buf_printf(&text, "%s%s", text.len ? "\n" : "", made ? made + strlen(MADE) : whole);
        mem_free(whole);
    }
    char *own = mem_copy(buf_str(&text));
    buf_free(&text);
    return own;
}

int simulated_policy(const char *beside, const char *word, const struct sim_options *options,
                     struct cJSON **ret_config, char **reterr)
{
    const char *colon = strchr(word, ':');
    char *name = colon ? mem_copy_bytes(word, (size_t)(colon - word)) : mem_copy(word), *why = NULL;
    struct buf params;
    buf_init(&params, PARAMS_BYTES);
    int code = 0;
    if (colon && !to_lua(colon + 1, &params)) {
        *reterr =
            mem_printf("\"%s\" is no policy with parameters: write name:key=value,key=value", word);
        code = -EBADMSG;
    } else {
        code = beside ? sim_policy_load_beside(beside, name, buf_str(&params), options, ret_config,
                                               &why)
                      : sim_policy_load(name, buf_str(&params), options, ret_config, &why);
        if (code < 0) {
            char *own = own_words(why ? why : "");
            *reterr = mem_printf("no policy to simulate: %s", own);
            mem_free(own);
        }
    }
    mem_free(why);
    mem_free(name);
    buf_free(&params);
    return code;
}
