/* judge.c: see judge.h.
 *
 * Owns: the functions of alerts, of the notify policy and of templates, in the registry of a cold
 * state. Called by: cold.c. Invariants: each call is a run of its own with its own copy of the view,
 * so what goes wrong in one rule or for one subject touches no other. Does not: know states of
 * alerts, nor where channels lead. */
#include "script/judge.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/input.h"
#include "script/policy.h"
#include "script/sentence.h"
#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

struct rule {
    const char *name, *scope; /* lent by the configuration, like all here */
    const struct cJSON *when, *services;
    int judge;    /* registry reference */
    bool resting; /* in quarantine */
    char origin[WHERE_BYTES];
};

struct template
{
    const char *channel;
    int make; /* registry reference */
    bool resting;
    char origin[WHERE_BYTES];
};

struct herald { /* who says who hears of what */
    int say;    /* registry reference or LUA_NOREF */
    const char *origin, *policy;
    bool resting;
};

struct judge {
    const struct cJSON *config;
    struct state *state;
    struct memory *memory;
    struct rule *rules;
    size_t rule_count;
    struct template *templates;
    size_t template_count;
    struct herald herald, shadow; /* the second is only asked */
};

/* ---- Building ------------------------------------------------------------------------------- */

/* A function that the configuration's files give, by list and name. [-1, +1, e] with those on the top */
static void push_function(lua_State *L, const char *list, const char *name)
{
    lua_getfield(L, -1, list);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    if (!lua_isfunction(L, -1)) {
        luaL_error(L, "the function is not there when the configuration is read once more");
    }
}

static int keep_function(lua_State *L, char *origin)
{
    where_function(L, origin, WHERE_BYTES);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void build_rule(lua_State *L, struct judge *j, const struct cJSON *alert)
{
    struct rule *rule = &j->rules[j->rule_count];
    *rule = (struct rule){
        .name = json_str(alert, "name", ""),
        .scope = json_str(alert, "scope", "service"),
        .when = json_get(alert, "when"),
        .services = json_get(alert, "services"),
    };
    const char *policy = json_str(rule->when, "policy", NULL);
    if (policy) {
        const struct cJSON *source = policy_find(j->config, "alert", policy);
        if (!source) {
            luaL_error(L, "alert %s: no alert policy \"%s\"", rule->name, policy);
        }
        lua_pushfstring(L, "alert:%s|%s|", policy, rule->name);
        struct policy_use use = {source, json_get(rule->when, "params"), NULL, j->memory,
                                 lua_tostring(L, -1)};
        policy_push_instance(L, &use);
        lua_remove(L, -2);
        if (!lua_isfunction(L, -1)) {
            luaL_error(L, "%s:1: `new` must return a function, not a %s",
                       json_str(source, "origin", policy), luaL_typename(L, -1));
        }
    } else if (json_get(rule->when, "function")) {
        push_function(L, "alerts", rule->name);
    } else {
        return; /* the master compares by itself */
    }
    rule->judge = keep_function(L, rule->origin);
    j->rule_count++;
}

static void build_herald(lua_State *L, struct judge *j, const char *key, struct herald *herald)
{
    const struct cJSON *use = json_get(json_get(j->config, "alerting"), key);
    const char *policy = json_str(use, "policy", NULL);
    if (!policy) {
        return;
    }
    const struct cJSON *source = policy_find(j->config, "notify", policy);
    if (!source) {
        luaL_error(L, "alerting: no notify policy \"%s\"", policy);
    }
    herald->origin = json_str(source, "origin", policy);
    herald->policy = policy;
    lua_pushfstring(L, herald == &j->shadow ? "notify:%s|shadow|" : "notify:%s||", policy);
    struct policy_use instance = {source, json_get(use, "params"), NULL, j->memory,
                                  lua_tostring(L, -1)};
    policy_push_instance(L, &instance);
    lua_remove(L, -2);
    if (!lua_isfunction(L, -1)) {
        luaL_error(L, "%s:1: `new` must return a function, not a %s", herald->origin,
                   luaL_typename(L, -1));
    }
    herald->say = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int body_build(lua_State *L)
{
    struct judge *j = lua_touserdata(L, 1);
    const struct cJSON *program = json_get(j->config, "program");
    if (program) {
        state_push_prelude(L, "functions");
        state_push_json(L, program);
        lua_call(L, 1, 1);
    } else {
        lua_newtable(L);
    }
    const struct cJSON *item = json_first(json_get(j->config, "alerts"));
    for (; item; item = json_next(item)) {
        build_rule(L, j, item);
    }
    for (item = json_first(json_get(j->config, "channels")); item; item = json_next(item)) {
        struct template *made = &j->templates[j->template_count];
        if (json_get(item, "template")) {
            made->channel = json_str(item, "name", "");
            push_function(L, "templates", made->channel);
            made->make = keep_function(L, made->origin);
            j->template_count++;
        }
    }
    build_herald(L, j, "notify", &j->herald);
    build_herald(L, j, "notify_shadow", &j->shadow);
    return 0;
}

int judge_new(const struct cJSON *config, struct state *state, struct memory *memory,
              struct judge **ret_judge, char **reterr)
{
    struct judge *j = mem_new(sizeof(*j));
    j->config = config;
    j->state = state;
    j->memory = memory;
    j->herald.say = j->shadow.say = LUA_NOREF;
    j->rules = mem_array(json_count(json_get(config, "alerts")) + 1, sizeof(*j->rules));
    j->templates = mem_array(json_count(json_get(config, "channels")) + 1, sizeof(*j->templates));
    if (state_run(state, body_build, j, LIMIT_POLICY_LOAD_CPU_MS, "configuration", reterr) < 0) {
        judge_free(j);
        return -EINVAL;
    }
    *ret_judge = j;
    return 0;
}

void judge_free(struct judge *j)
{
    if (!j) {
        return;
    }
    mem_free(j->rules);
    mem_free(j->templates);
    mem_free(j);
}

void judge_quarantine(struct judge *j, const char *point, const char *of)
{
    for (size_t i = 0; i < j->rule_count; i++) {
        struct rule *rule = &j->rules[i];
        rule->resting |= str_same(point, "alert") && str_same(rule->name, of);
    }
    for (size_t i = 0; i < j->template_count; i++) {
        struct template *made = &j->templates[i];
        made->resting |= str_same(point, "template") && str_same(made->channel, of);
    }
    j->herald.resting |= str_same(point, "notify");
}

/* What a function or policy did wrong. Takes `why`. */
static struct cJSON *said(char *why, const char *policy, const char *input)
{
    char line[LIMIT_REASON_BYTES];
    sentence_put(line, sizeof(line), why);
    struct cJSON *out = json_object();
    json_set_str(out, "error", line);
    json_set_str(out, "policy", policy);
    json_set_str(out, "input", input);
    mem_free(why);
    return out;
}

/* ---- Rules ---------------------------------------------------------------------------------- */

struct verdict {
    const struct rule *rule;
    const struct cJSON *view;
    struct cJSON *out;
};

static int body_judge(lua_State *L)
{
    struct verdict *v = lua_touserdata(L, 1);
    char message[LIMIT_REASON_BYTES];
    state_push_prelude(L, "judge");
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->rule->judge);
    state_push_json(L, v->view);
    lua_call(L, 2, 4);
    if (lua_toboolean(L, -1)) {
        json_set_bool(v->out, "missing", true);
        return 0;
    }
    json_set_bool(v->out, "firing", lua_toboolean(L, -4));
    if (lua_type(L, -3) == LUA_TNUMBER) {
        json_set_num(v->out, "value", lua_tonumber(L, -3));
    }
    if (lua_type(L, -2) == LUA_TSTRING) {
        sentence_put(message, sizeof(message), lua_tostring(L, -2));
        json_set_str(v->out, "message", message);
    }
    return 0;
}

static struct cJSON *judge_one(struct judge *j, const struct rule *rule, const char *subject,
                               const struct cJSON *view)
{
    struct verdict verdict = {.rule = rule, .view = view, .out = json_object()};
    char *why = NULL;
    if (state_run(j->state, body_judge, &verdict, LIMIT_POLICY_CPU_MS, rule->origin, &why) < 0) {
        char figures[LIMIT_REASON_BYTES];
        input_put(figures, sizeof(figures), view);
        char *input = mem_printf("%s%s%s", subject, *figures ? ": " : "", figures);
        json_free(verdict.out);
        verdict.out = said(why, json_str(rule->when, "policy", "function"), input);
        mem_free(input);
    }
    return verdict.out;
}

static bool concerns(const struct rule *rule, const char *service)
{
    const struct cJSON *name = json_first(rule->services);
    while (name && !str_same(json_value_str(name, ""), service)) {
        name = json_next(name);
    }
    return name || !json_first(rule->services);
}

static void judge_service(struct judge *j, const struct rule *rule, const struct cJSON *view,
                          struct cJSON *to)
{
    const char *service = json_name(view);
    if (str_same(rule->scope, "service")) {
        json_set(to, service, judge_one(j, rule, service, view));
        return;
    }
    const struct cJSON *one = json_first(json_get(view, "instances"));
    for (; one; one = json_next(one)) {
        char *subject = mem_printf("%s/%s", service, json_name(one));
        json_set(to, subject, judge_one(j, rule, subject, one));
        mem_free(subject);
    }
}

struct cJSON *judge_evaluate(struct judge *j, const struct cJSON *question)
{
    const struct cJSON *views = json_get(question, "views");
    struct cJSON *out = json_object(), *rules = json_object();
    for (size_t i = 0; i < j->rule_count; i++) {
        const struct rule *rule = &j->rules[i];
        struct cJSON *subjects = json_object();
        if (rule->resting) {
            ; /* without results its alerts stay as they are */
        } else if (str_same(rule->scope, "tidegate")) {
            const struct cJSON *own = json_get(views, "tidegate");
            json_set(subjects, "tidegate", judge_one(j, rule, "tidegate", own));
        } else {
            const struct cJSON *view = json_first(json_get(views, "services"));
            for (; view; view = json_next(view)) {
                if (concerns(rule, json_name(view))) {
                    judge_service(j, rule, view, subjects);
                }
            }
        }
        json_set(rules, rule->name, subjects);
    }
    json_set(out, "rules", rules);
    return out;
}

/* ---- Notifications -------------------------------------------------------------------------- */

struct notice {
    const struct herald *herald;
    const struct template *template;
    const struct cJSON *about;
    double id;              /* of the message: its chance */
    struct cJSON *channels; /* what the policy said; NULL: nothing */
    char *text;
};

static int body_notify(lua_State *L)
{
    struct notice *n = lua_touserdata(L, 1);
    state_seed(L, n->id);
    state_push_prelude(L, "herald");
    lua_rawgeti(L, LUA_REGISTRYINDEX, n->herald->say);
    state_push_json(L, n->about);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1)) {
        return 0;
    }
    n->channels = json_array();
    for (int i = 1; lua_rawgeti(L, -1, i), lua_isstring(L, -1); i++) {
        json_add_str(n->channels, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    return 0;
}

static int body_template(lua_State *L)
{
    struct notice *n = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, n->template->make);
    state_push_json(L, n->about);
    state_make_strict(L, "notice");
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TSTRING) {
        return luaL_error(L, "%s: answered a %s: a text", n->template->origin,
                          luaL_typename(L, -1));
    }
    size_t len = 0;
    const char *text = lua_tolstring(L, -1, &len);
    if (len >= LIMIT_CONFIG_BYTES) {
        return luaL_error(L, "%s: the text has %d bytes: at most %d", n->template->origin, (int)len,
                          LIMIT_CONFIG_BYTES);
    }
    n->text = mem_copy(text);
    return 0;
}

static const struct template *template_of(const struct judge *j, const char *channel)
{
    for (size_t i = 0; i < j->template_count; i++) {
        if (str_same(j->templates[i].channel, channel)) {
            return &j->templates[i];
        }
    }
    return NULL;
}

/* Takes `why`. */
static void fail(struct cJSON *errors, const char *point, const char *of, const char *policy,
                 char *why, const struct cJSON *about)
{
    const struct cJSON *alert = json_first(json_get(about, "alerts"));
    char *input = mem_printf("status %s, %zu alerts, the first %s", json_str(about, "status", ""),
                             json_count(json_get(about, "alerts")),
                             json_value_str(json_path(alert, "labels.alertname"), "-"));
    struct cJSON *error = said(why, policy, input);
    json_set_str(error, "point", point);
    json_set_str(error, "of", of);
    json_set(errors, NULL, error);
    mem_free(input);
}

static struct cJSON *sending(struct judge *j, const struct cJSON *about, const char *channel,
                             struct cJSON *errors)
{
    struct notice n = {.template = template_of(j, channel), .about = about};
    struct cJSON *one = json_object();
    char *why = NULL;
    json_set_str(one, "channel", channel);
    if (n.template && !n.template->resting &&
        state_run(j->state, body_template, &n, LIMIT_POLICY_CPU_MS, n.template->origin, &why) < 0) {
        fail(errors, "template", channel, "function", why, about);
    }
    if (n.text) {
        json_set_str(one, "text", n.text);
        mem_free(n.text);
    }
    return one;
}

/* The same names, in whatever order. */
static bool same_channels(const struct cJSON *a, const struct cJSON *b)
{
    bool same = json_count(a) == json_count(b);
    for (const struct cJSON *one = json_first(a); one && same; one = json_next(one)) {
        const struct cJSON *other = json_first(b);
        while (other && !str_same(json_value_str(one, ""), json_value_str(other, ""))) {
            other = json_next(other);
        }
        same = other != NULL;
    }
    return same;
}

/* What the shadow would have said, beside the channels that it goes to. */
static void ask_shadow(struct judge *j, const struct notice *own, const struct cJSON *to,
                       struct cJSON *out)
{
    struct notice n = {.herald = &j->shadow, .about = own->about, .id = own->id};
    struct cJSON *said = json_object();
    char *why = NULL;
    json_set_str(said, "policy", j->shadow.policy);
    if (state_run(j->state, body_notify, &n, LIMIT_POLICY_CPU_MS, j->shadow.origin, &why) < 0) {
        char line[LIMIT_REASON_BYTES];
        sentence_put(line, sizeof(line), why);
        json_set_str(said, "error", line);
        mem_free(why);
    } else {
        const struct cJSON *would = n.channels ? n.channels : json_get(own->about, "channels");
        json_set_bool(said, "same", same_channels(would, to));
        json_set(said, "channels", would ? json_copy(would) : json_array());
    }
    json_free(n.channels);
    json_set(out, "shadow", said);
}

struct cJSON *judge_notify(struct judge *j, const struct cJSON *question)
{
    const struct cJSON *about = json_get(question, "about");
    struct notice n = {.herald = &j->herald, .about = about, .id = json_num(question, "id", 0)};
    struct cJSON *out = json_object(), *send = json_array(), *errors = json_array();
    char *why = NULL;
    bool fixed = json_bool(question, "fixed", false);
    bool asks = j->herald.say != LUA_NOREF && !j->herald.resting && !fixed;
    if (asks &&
        state_run(j->state, body_notify, &n, LIMIT_POLICY_CPU_MS, j->herald.origin, &why) < 0) {
        fail(errors, "notify", "", j->herald.policy, why, about);
        json_free(n.channels);
        n.channels = NULL;
    }
    const struct cJSON *to = n.channels ? n.channels : json_get(about, "channels");
    for (const struct cJSON *name = json_first(to); name; name = json_next(name)) {
        json_set(send, NULL, sending(j, about, json_value_str(name, ""), errors));
    }
    if (j->shadow.say != LUA_NOREF && !fixed) {
        ask_shadow(j, &n, to, out);
    }
    json_free(n.channels);
    json_set(out, "id", json_copy(json_get(question, "id")));
    json_set(out, "send", send);
    json_set(out, "errors", errors);
    return out;
}
