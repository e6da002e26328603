/* process_arguments.c: the environment and the command line of an instance.
 *
 * A child inherits nothing of our environment but PATH, HOME and LANG. The
 * configuration may override what it gets, except what tells who it is: PORT,
 * INSTANCE, CLUSTER_ID and the marks by which we find its processes. */
#include "engine/process.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

static void set(struct cJSON *environment, const char *name, const char *value)
{
    json_set_str(environment, name, value);
}

static struct cJSON *environment_of(const struct instance *i)
{
    static const char *const inherited[] = {"PATH", "HOME", "LANG"};
    struct cJSON *e = json_object();
    char now[32], port[8], *instance = mem_printf("%s-%u", i->service, i->serial);
    for (size_t n = 0; n < sizeof inherited / sizeof *inherited; n++) {
        const char *value = getenv(inherited[n]);
        if (value) {
            set(e, inherited[n], value);
        }
    }
    clock_iso(i->created_wall_ms, now, sizeof now);
    snprintf(port, sizeof port, "%u", i->port);
    set(e, "SERVICE_NAME", i->service);
    set(e, "DEPLOYMENT_TIME", now);
    set(e, "DATA_PROCESSING_MODE", "production");
    for (const struct cJSON *v = json_first(json_get(i->config, "environment")); v;
         v = json_next(v)) {
        set(e, json_name(v), json_value_str(v, ""));
    }
    set(e, "CLUSTER_ID", i->cluster);
    set(e, "PORT", port);
    set(e, "INSTANCE", instance);
    set(e, "TIDEGATE_INSTANCE", i->name);
    set(e, "TIDEGATE_STATE_DIR", i->engine->state_dir);
    mem_free(instance);
    return e;
}

/* Length of the variable's name at `at`, 0 when none begins there. */
static size_t name_len(const char *at)
{
    size_t len = 0;
    if (isalpha((unsigned char)*at) || *at == '_') {
        while (isalnum((unsigned char)at[len]) || at[len] == '_') {
            len++;
        }
    }
    return len;
}

/* Puts the value of the variable behind a '$' into `to`; returns behind it, NULL when unknown. */
static const char *expand_one(const char *at, const struct cJSON *environment, struct buf *to,
                              struct spawn_error *error)
{
    bool braces = *at == '{';
    size_t len = name_len(at + braces);
    if (!len || (braces && at[1 + len] != '}')) {
        (void)buf_text(to, "$"); /* a dollar that names nothing stands for itself */
        return at;
    }
    char *name = mem_copy_bytes(at + braces, len);
    const char *value = json_str(environment, name, NULL);
    if (value) {
        (void)buf_text(to, value);
    } else {
        snprintf(
            error->text, sizeof error->text,
            "command: there is no variable $%s: set it in environment, or write $$ for a dollar",
            name);
    }
    mem_free(name);
    return value ? at + len + (braces ? 2 : 0) : NULL;
}

/* The argument with its variables replaced; NULL with a sentence. */
static char *expand(const char *text, const struct cJSON *environment, struct spawn_error *error)
{
    struct buf to;
    buf_init(&to, LIMIT_CONFIG_BYTES);
    const char *at = text;
    while (at && *at) {
        size_t plain = strcspn(at, "$");
        (void)buf_append(&to, at, plain);
        at += plain;
        if (*at == '$' && at[1] == '$') {
            (void)buf_text(&to, "$");
            at += 2;
        } else if (*at == '$') {
            at = expand_one(at + 1, environment, &to, error);
        }
    }
    char *result = at ? buf_take(&to) : NULL;
    buf_free(&to);
    return result;
}

int process_arguments_make(const struct instance *i, struct arguments *ret,
                           struct spawn_error *error)
{
    const struct cJSON *command = json_get(i->config, "command"), *v;
    struct cJSON *environment = environment_of(i);
    struct arguments a = {
        .argv = mem_array(json_count(command) + 1, sizeof *a.argv),
        .envp = mem_array(json_count(environment) + 1, sizeof *a.envp),
    };
    size_t count = 0;
    int rc = 0;
    for (v = json_first(command); v && !rc; v = json_next(v)) {
        a.argv[count] = expand(json_value_str(v, ""), environment, error);
        rc = a.argv[count++] ? 0 : -EINVAL;
    }
    if (!rc && (!count || !*a.argv[0])) {
        str_copy(error->text, sizeof error->text, "command: it is empty");
        rc = -EINVAL;
    }
    count = 0;
    for (v = json_first(environment); v; v = json_next(v)) {
        a.envp[count++] = mem_printf("%s=%s", json_name(v), json_value_str(v, ""));
    }
    json_free(environment);
    error->code = rc;
    if (rc) {
        process_arguments_free(&a);
    } else {
        *ret = a;
    }
    return rc;
}

void process_arguments_free(struct arguments *a)
{
    for (char **at = a->argv; at && *at; at++) {
        mem_free(*at);
    }
    for (char **at = a->envp; at && *at; at++) {
        mem_free(*at);
    }
    mem_release(&a->argv);
    mem_release(&a->envp);
}
