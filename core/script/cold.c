/* cold.c: answers snapshots; see script.h.
 *
 * Owns: one COLD state with an instance of its scale policy for each service that has one.
 * Called by: the policy process, once a tick.
 * Invariants: what goes wrong in one service's policy touches only that service's answer.
 * Does not: hold answers to bounds or cooldowns; fleet does. */
#include "script/script.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/record.h"
#include "base/str.h"
#include "script/budget.h"
#include "script/input.h"
#include "script/judge.h"
#include "script/memory.h"
#include "script/policy.h"
#include "script/sentence.h"
#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

/* A policy of a service: its own, or a shadow, which is only asked. */
struct cold_service {
    const char *name, *policy, *origin; /* lent by script_cold.config, like all here */
    const struct cJSON *config, *source, *params;
    const char *of; /* the service */
    bool apart;     /* learns under a name of its own */
    struct memory *memory;
    int decide;                   /* registry reference */
    bool has_parts;               /* policies among its parameters */
    char *resting;                /* in quarantine: why; owned */
    struct cold_service *shadows; /* owned; their `name` is what the configuration calls them */
    size_t shadow_count;
    unsigned failures; /* of a shadow, in a row */
};

enum {
    SHADOW_FAILURES = 3
};

struct script_cold {
    struct cJSON *config; /* our copy */
    struct state *state;
    struct memory *memory; /* what the policies keep */
    struct cold_service *services;
    size_t count;
    struct judge *judge;
    const struct record_field
        *fields; /* of the records that `viewer` makes views of; NULL: none yet */
    int viewer;  /* registry reference */
    char reason[LIMIT_REASON_BYTES]; /* of the last answer */
    char part[64], part_error[LIMIT_REASON_BYTES];
};

static int body_build(lua_State *L)
{
    struct cold_service *service = lua_touserdata(L, 1);
    lua_pushfstring(L, service->apart ? "shadow:%s|%s|" : "scale:%s|%s|",
                    service->apart ? service->name : service->policy, service->of);
    struct policy_use use = {service->source, service->params, service->config, service->memory,
                             lua_tostring(L, -1)};
    policy_push_instance(L, &use);
    if (!lua_isfunction(L, -1)) {
        luaL_error(L, "%s:1: `new` must return a function, not a %s", service->origin,
                   luaL_typename(L, -1));
    }
    service->decide = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Whether policies are among these parameters (parts.lua). */
static bool has_parts(const struct cJSON *params)
{
    bool found = false;
    for (const struct cJSON *p = json_first(params); p && !found; p = json_next(p)) {
        found = json_get(p, "policy") || json_get(json_first(p), "policy");
    }
    return found;
}

/* The policy that `use` names, with its parameters. */
static int build(struct script_cold *cold, struct cold_service *service, const struct cJSON *use,
                 char **reterr)
{
    service->config = cold->config;
    service->memory = cold->memory;
    service->policy = json_str(use, "policy", "");
    service->source = policy_find(cold->config, "scale", service->policy);
    service->params = json_get(use, "params");
    service->has_parts = has_parts(service->params);
    if (!service->source) {
        *reterr = mem_printf("service %s: no scale policy \"%s\"", service->name, service->policy);
        return -EINVAL;
    }
    service->origin = json_str(service->source, "origin", service->policy);
    return state_run(cold->state, body_build, service, LIMIT_POLICY_LOAD_CPU_MS, service->origin,
                     reterr);
}

static int build_shadows(struct script_cold *cold, struct cold_service *service,
                         const struct cJSON *scale, char **reterr)
{
    const struct cJSON *list = json_get(scale, "shadows");
    int code = 0;
    if (!json_first(list)) {
        return 0;
    }
    service->shadows = mem_array(json_count(list), sizeof(*service->shadows));
    for (const struct cJSON *use = json_first(list); use && code >= 0; use = json_next(use)) {
        struct cold_service *shadow = &service->shadows[service->shadow_count++];
        shadow->name = json_str(use, "name", "");
        shadow->of = service->name;
        /* What a shadow learned is there when it becomes the service's own policy. */
        shadow->apart = !str_same(shadow->name, json_str(use, "policy", "")) ||
                        str_same(shadow->name, service->policy);
        code = build(cold, shadow, use, reterr);
    }
    return code;
}

static int make(enum state_kind kind, const struct cJSON *config, const struct cJSON *learned,
                struct script_cold **ret_cold, char **reterr)
{
    struct script_cold *cold = mem_new(sizeof(*cold));
    cold->config = json_copy(config);
    cold->memory = memory_new(learned);
    config = cold->config;
    const struct cJSON *services = json_get(config, "services");
    int code = state_new(kind, LIMIT_POLICY_MEMORY_BYTES, &cold->state, reterr);
    if (code < 0) {
        goto out;
    }
    state_set_libraries(cold->state, policy_library, (void *)config);
    cold->services = mem_array(json_count(services), sizeof(*cold->services));
    for (const struct cJSON *item = json_first(services); item; item = json_next(item)) {
        const struct cJSON *scale = json_get(item, "scale");
        if (!scale || !*json_str(scale, "policy", "")) {
            continue;
        }
        struct cold_service *service = &cold->services[cold->count++];
        service->name = service->of = json_str(item, "name", "");
        code = build(cold, service, scale, reterr);
        code = code < 0 ? code : build_shadows(cold, service, scale, reterr);
        if (code < 0) {
            goto out;
        }
    }
    code = judge_new(config, cold->state, cold->memory, &cold->judge, reterr);
    if (code < 0) {
        goto out;
    }
    *ret_cold = cold;
    return 0;
out:
    script_cold_free(cold);
    return -EINVAL;
}

int script_cold_new(const struct cJSON *config, struct script_cold **ret_cold, char **reterr)
{
    return make(STATE_COLD, config, NULL, ret_cold, reterr);
}

int script_cold_go_on(const struct cJSON *config, const struct cJSON *learned,
                      struct script_cold **ret_cold, char **reterr)
{
    return make(STATE_COLD, config, learned, ret_cold, reterr);
}

struct cJSON *script_cold_save(struct script_cold *cold, size_t *at, size_t most)
{
    return memory_save(cold->memory, cold->state, at, most);
}

int script_cold_new_live(const struct cJSON *config, struct script_cold **ret_cold, char **reterr)
{
    int code = make(STATE_HOT, config, NULL, ret_cold, reterr);
    if (code == 0) {
        budget_live(state_budget(state_lua((*ret_cold)->state)), true);
    }
    return code;
}

void script_cold_free(struct script_cold *cold)
{
    if (!cold) {
        return;
    }
    judge_free(cold->judge);
    state_free(cold->state);
    memory_free(cold->memory);
    json_free(cold->config);
    for (size_t i = 0; i < cold->count; i++) {
        struct cold_service *service = &cold->services[i];
        for (size_t n = 0; n < service->shadow_count; n++) {
            mem_free(service->shadows[n].resting);
        }
        mem_free(service->shadows);
        mem_free(service->resting);
    }
    mem_free(cold->services);
    mem_free(cold);
}

size_t script_cold_bytes(struct script_cold *cold)
{
    state_collect(cold->state);
    return state_bytes(cold->state);
}

struct answer {
    const struct cold_service *service;
    const struct cJSON *view;         /* or ... */
    const struct script_view *record; /* ... with `viewer` */
    int viewer;
    bool opinion;
    double want;             /* when opinion */
    char *reason;            /* LIMIT_REASON_BYTES */
    char *part, *part_error; /* 64 and LIMIT_REASON_BYTES; "" = none failed */
};

/* [-0, +1, e] */
static void push_view(lua_State *L, const struct answer *answer)
{
    const struct script_view *view = answer->record;
    if (!view) {
        state_push_json(L, answer->view);
        state_make_strict(L, "service");
        return;
    }
    luaL_checkstack(L, (int)view->field_count + 2, "view");
    lua_rawgeti(L, LUA_REGISTRYINDEX, answer->viewer);
    lua_pushstring(L, view->service);
    for (size_t i = 0; i < view->field_count; i++) {
        double value = record_number(view->record, &view->fields[i]);
        if (value >= 0) {
            lua_pushnumber(L, value);
        } else {
            lua_pushnil(L);
        }
    }
    lua_call(L, (int)view->field_count + 1, 1);
}

/* Raises with the place of the policy's function. */
static int nonsense(lua_State *L, const struct answer *answer, const char *what)
{
    char where[WHERE_BYTES];
    lua_rawgeti(L, LUA_REGISTRYINDEX, answer->service->decide);
    where_function(L, where, sizeof(where));
    return luaL_error(L, "%s: answered %s: a whole number of instances%s", where, what,
                      answer->opinion ? ", 0 or more" : ", or nil for no opinion");
}

/* What raised among the parts since it was asked last. [-0, +0, e] */
static void take_failed(lua_State *L, const struct answer *answer)
{
    if (!answer->service->has_parts) {
        return;
    }
    state_push_prelude(L, "failed");
    lua_call(L, 0, 2);
    if (lua_isstring(L, -2)) {
        sentence_put(answer->part, 64, lua_tostring(L, -2));
        sentence_put(answer->part_error, LIMIT_REASON_BYTES, lua_tostring(L, -1));
    }
    lua_pop(L, 2);
}

static int body_decide(lua_State *L)
{
    struct answer *answer = lua_touserdata(L, 1);
    take_failed(L, answer); /* of a call that failed as a whole */
    *answer->part = *answer->part_error = '\0';
    lua_rawgeti(L, LUA_REGISTRYINDEX, answer->service->decide);
    push_view(L, answer);
    lua_call(L, 1, 2);
    take_failed(L, answer);
    if (lua_type(L, -1) == LUA_TSTRING) {
        sentence_put(answer->reason, LIMIT_REASON_BYTES, lua_tostring(L, -1));
    }
    if (lua_isnil(L, -2)) {
        return 0;
    }
    if (lua_type(L, -2) != LUA_TNUMBER) {
        return nonsense(L, answer, lua_pushfstring(L, "a %s", luaL_typename(L, -2)));
    }
    answer->opinion = true;
    answer->want = lua_tonumber(L, -2);
    if (!(answer->want >= 0 && answer->want <= UINT32_MAX) || answer->want != floor(answer->want)) {
        return nonsense(L, answer, lua_pushfstring(L, "%f", answer->want));
    }
    return 0;
}

/* Takes `why`. */
static void failed(struct script_cold *cold, const struct cold_service *service, char *why,
                   struct script_decision *ret_decision)
{
    sentence_put(cold->reason, sizeof(cold->reason), why);
    mem_free(why);
    *ret_decision = (struct script_decision){
        .policy = service->policy, .origin = service->origin, .error = cold->reason};
}

static void decide(struct script_cold *cold, struct answer *answer,
                   struct script_decision *ret_decision)
{
    const struct cold_service *service = answer->service;
    char *why = NULL;
    if (service->resting) {
        *ret_decision = (struct script_decision){.policy = service->policy,
                                                 .origin = service->origin,
                                                 .error = service->resting,
                                                 .quarantined = true};
        return;
    }
    answer->reason = cold->reason;
    answer->part = cold->part;
    answer->part_error = cold->part_error;
    *cold->reason = *cold->part = *cold->part_error = '\0';
    if (state_run(cold->state, body_decide, answer, LIMIT_POLICY_CPU_MS, service->origin, &why) <
        0) {
        failed(cold, service, why, ret_decision);
        return;
    }
    *ret_decision = (struct script_decision){
        .policy = service->policy,
        .origin = service->origin,
        .reason = cold->reason,
        .part = cold->part,
        .part_error = *cold->part ? cold->part_error : NULL,
        .opinion = answer->opinion,
        .want = answer->want,
    };
}

static struct cJSON *decision_json(const struct script_decision *d, const struct cJSON *view)
{
    struct cJSON *j = json_object();
    char input[LIMIT_REASON_BYTES];
    if (d->error) {
        json_set_str(j, "error", d->error);
        if (d->quarantined) {
            json_set_bool(j, "quarantined", true);
        } else {
            input_put(input, sizeof(input), view);
            json_set_str(j, "input", input);
        }
    } else if (d->opinion) {
        json_set_num(j, "want", d->want);
    } else {
        json_set(j, "want", NULL);
    }
    if (!d->error) {
        json_set_str(j, "reason", d->reason);
    }
    if (d->part_error) {
        struct cJSON *part = json_object();
        json_set_str(part, "policy", d->part);
        json_set_str(part, "error", d->part_error);
        input_put(input, sizeof(input), view);
        json_set_str(part, "input", input);
        json_set(j, "part", part);
    }
    json_set_str(j, "policy", d->policy);
    json_set_str(j, "origin", d->origin);
    return j;
}

/* What the shadows of a service say; NULL: it has none. One that fails again and again is not asked any more: its
 * time is taken from the others. */
static struct cJSON *ask_shadows(struct script_cold *cold, struct cold_service *service,
                                 const struct cJSON *view)
{
    struct cJSON *list = service->shadow_count ? json_array() : NULL;
    for (size_t n = 0; n < service->shadow_count; n++) {
        struct cold_service *shadow = &service->shadows[n];
        struct answer answer = {.service = shadow, .view = view};
        struct script_decision decision;
        decide(cold, &answer, &decision);
        shadow->failures = decision.error ? shadow->failures + 1 : 0;
        if (shadow->failures >= SHADOW_FAILURES && !shadow->resting) {
            shadow->resting =
                mem_printf("not asked until the next reload, for it failed %d times in a row: %s",
                           SHADOW_FAILURES, decision.error);
        }
        struct cJSON *one = decision_json(&decision, view);
        json_set_str(one, "name", shadow->name);
        json_set(list, NULL, one);
    }
    return list;
}

struct cJSON *script_cold_decide(struct script_cold *cold, const struct cJSON *snapshot)
{
    const struct cJSON *views = json_get(snapshot, "services");
    struct cJSON *decisions = json_object(), *services = json_object();
    for (size_t i = 0; i < cold->count; i++) {
        const struct cJSON *view = json_get(views, cold->services[i].name);
        if (view) {
            struct answer answer = {.service = &cold->services[i], .view = view};
            struct script_decision decision;
            decide(cold, &answer, &decision);
            struct cJSON *said = decision_json(&decision, view);
            struct cJSON *shadows = ask_shadows(cold, &cold->services[i], view);
            if (shadows) {
                json_set(said, "shadows", shadows);
            }
            json_set(services, cold->services[i].name, said);
        }
    }
    json_set(decisions, "services", services);
    return decisions;
}

struct viewer {
    struct script_cold *cold;
    const struct script_view *view;
};

/* A function that makes strict views of records with these fields. */
static int body_viewer(lua_State *L)
{
    const struct viewer *it = lua_touserdata(L, 1);
    state_push_prelude(L, "viewer");
    lua_newtable(L);
    for (size_t i = 0; i < it->view->field_count; i++) {
        lua_pushstring(L, it->view->fields[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_call(L, 1, 1);
    it->cold->viewer = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int script_cold_answer(struct script_cold *cold, const struct script_view *view,
                       struct script_decision *ret_decision)
{
    size_t at = 0;
    while (at < cold->count && !str_same(cold->services[at].name, view->service)) {
        at++;
    }
    if (at == cold->count) {
        return -ENOENT;
    }
    struct answer answer = {.service = &cold->services[at], .record = view};
    if (cold->fields != view->fields) {
        struct viewer viewer = {cold, view};
        char *why = NULL;
        if (state_run(cold->state, body_viewer, &viewer, LIMIT_POLICY_LOAD_CPU_MS,
                      answer.service->origin, &why) < 0) {
            failed(cold, answer.service, why, ret_decision);
            return 0;
        }
        cold->fields = view->fields;
    }
    answer.viewer = cold->viewer;
    decide(cold, &answer, ret_decision);
    return 0;
}

void script_cold_quarantine(struct script_cold *cold, const struct cJSON *said)
{
    const char *point = json_str(said, "point", ""), *of = json_str(said, "of", "");
    for (size_t i = 0; i < cold->count && str_same(point, "scale"); i++) {
        struct cold_service *service = &cold->services[i];
        if (str_same(service->name, of) && !service->resting) {
            service->resting = mem_printf("in quarantine until the next reload, for it failed: %s",
                                          json_str(said, "error", ""));
        }
    }
    judge_quarantine(cold->judge, point, of);
}

struct cJSON *script_cold_evaluate(struct script_cold *cold, const struct cJSON *question)
{
    return judge_evaluate(cold->judge, question);
}

struct cJSON *script_cold_notify(struct script_cold *cold, const struct cJSON *question)
{
    return judge_notify(cold->judge, question);
}
