/* anomaly.c: builds the detectors of a configuration and feeds them; see script.h.
 *
 * Owns: one COLD state with an instance of its anomaly policy for each service that has one, and a learning
 *   state for each series.
 * Called by: the policy process, whenever the master has new figures.
 * Invariants: each point is a protected call of its own, so what one raises the others never see; the budget is
 *   that of a service and ends all of its points.
 * Does not: decide who is told; alerts are made from the answer. */
#include "script/anomaly.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/budget.h"
#include "script/convert.h"
#include "script/input.h"
#include "script/policy.h"
#include "script/script.h"
#include "script/sentence.h"
#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

enum {
    FORGET_MS = 3600000,
    SWEEP_MS = 600000,
};

/* ---- Building ---- */

/* The function `name` of the policy's object on the top, as a reference. [-0, +0, e] */
static int keep_function(lua_State *L, const struct anomaly_service *service, const char *name,
                         bool needed)
{
    lua_getfield(L, -1, name);
    if (lua_isfunction(L, -1)) {
        return luaL_ref(L, LUA_REGISTRYINDEX);
    }
    if (needed || !lua_isnil(L, -1)) {
        luaL_error(L, "%s:1: %s: expected a function, got a %s", service->origin, name,
                   luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return LUA_NOREF;
}

/* The metric on the top: { name, of, per }. [-0, +0, e] */
static void read_metric(lua_State *L, struct anomaly_service *service)
{
    struct anomaly_metric *metric = &service->metrics[service->metric_count];
    luaL_checktype(L, -1, LUA_TTABLE);
    service->metric_count++;
    lua_getfield(L, -1, "name");
    metric->name = mem_copy(luaL_checkstring(L, -1));
    lua_getfield(L, -2, "per");
    metric->per_instance = lua_isstring(L, -1) && !strcmp(lua_tostring(L, -1), "instance");
    lua_getfield(L, -3, "of");
    luaL_checktype(L, -1, LUA_TTABLE);
    for (int i = 0; i < ANOMALY_PATHS; i++) {
        lua_rawgeti(L, -1, i + 1);
        metric->paths[i] = mem_copy(lua_tostring(L, -1));
        lua_pop(L, 1);
        if (!metric->paths[i]) {
            break;
        }
    }
    lua_pop(L, 3);
}

static int body_build(lua_State *L)
{
    struct anomaly_service *service = lua_touserdata(L, 1);
    policy_push_instance(
        L, &(struct policy_use){.policy = service->source, .params = service->params});
    if (!lua_istable(L, -1)) {
        luaL_error(L, "%s:1: `new` must return a table, not a %s", service->origin,
                   luaL_typename(L, -1));
    }
    service->learn = keep_function(L, service, "learn", true);
    service->point = keep_function(L, service, "point", true);
    service->combine = keep_function(L, service, "combine", false);
    lua_getfield(L, -1, "metrics");
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    if (count > ANOMALY_METRICS) {
        luaL_error(L, "%s:1: %d metrics: at most %d", service->origin, (int)count, ANOMALY_METRICS);
    }
    service->metrics = mem_array(count, sizeof(*service->metrics));
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (int)i);
        read_metric(L, service);
        lua_pop(L, 1);
    }
    return 0;
}

static int build(struct script_anomaly *a, const struct cJSON *item, char **reterr)
{
    const struct cJSON *wanted = json_get(item, "anomaly");
    struct anomaly_service *service = &a->services[a->count];
    service->policy = json_str(wanted, "policy", "");
    if (!*service->policy) {
        return 0;
    }
    a->count++;
    service->name = json_str(item, "name", "");
    service->source = policy_find(a->config, "anomaly", service->policy);
    service->params = json_get(wanted, "params");
    service->shadow = json_bool(wanted, "shadow", false);
    service->interval_ms = (uint64_t)json_num(wanted, "interval_ms", 15000);
    service->incident_ms = (uint64_t)json_num(wanted, "incident_ms", 900000);
    if (!service->source) {
        *reterr =
            mem_printf("service %s: no anomaly policy \"%s\"", service->name, service->policy);
        return -1;
    }
    service->origin = json_str(service->source, "origin", service->policy);
    return state_run(a->state, body_build, service, LIMIT_POLICY_LOAD_CPU_MS, service->origin,
                     reterr);
}

int script_anomaly_new(const struct cJSON *config, struct script_anomaly **ret_anomaly,
                       char **reterr)
{
    struct script_anomaly *a = mem_new(sizeof(*a));
    a->config = json_copy(config);
    const struct cJSON *services = json_get(a->config, "services");
    a->services = mem_array(json_count(services), sizeof(*a->services));
    int code = state_new(STATE_COLD, LIMIT_POLICY_MEMORY_BYTES, &a->state, reterr);
    if (code < 0) {
        goto out;
    }
    state_set_libraries(a->state, policy_library, a->config);
    for (const struct cJSON *item = json_first(services); item; item = json_next(item)) {
        if (build(a, item, reterr) < 0) {
            goto out;
        }
    }
    *ret_anomaly = a;
    return 0;
out:
    script_anomaly_free(a);
    return -EINVAL;
}

void script_anomaly_free(struct script_anomaly *a)
{
    if (!a) {
        return;
    }
    for (size_t i = 0; i < a->count; i++) {
        for (unsigned k = 0; k < a->services[i].metric_count; k++) {
            mem_free(a->services[i].metrics[k].name);
            for (int p = 0; p < ANOMALY_PATHS; p++) {
                mem_free(a->services[i].metrics[k].paths[p]);
            }
        }
        mem_free(a->services[i].metrics);
    }
    size_t at = 0;
    const char *key;
    void *series;
    while (map_next(&a->series, &at, &key, &series)) {
        mem_free(series);
    }
    map_free(&a->series);
    at = 0;
    while (map_next(&a->learned, &at, &key, &series)) {
        json_free(series);
    }
    map_free(&a->learned);
    state_free(a->state);
    json_free(a->config);
    mem_free(a->services);
    mem_free(a);
}

/* ---- Feeding ---- */

/* One service under way. What bodies make hangs here, so that a Lua error loses nothing. */
struct feeding {
    struct script_anomaly *a;
    struct anomaly_service *service;
    const struct cJSON *view;
    uint64_t wall_ms;
    struct cJSON *found, *errors, *combined;
    char *key;
    bool crowded; /* no room for the series: no fault of its policy */
    struct anomaly_point point;
};

static void add_error(struct feeding *f, const char *metric, const char *why)
{
    char text[LIMIT_REASON_BYTES];
    struct cJSON *error = json_object();
    sentence_put(text, sizeof(text), why);
    json_set_str(error, "service", f->service->name);
    if (metric) {
        json_set_str(error, "metric", metric);
    }
    json_set_str(error, "policy", f->service->policy);
    json_set_str(error, "error", text);
    if (metric) {
        (void)snprintf(text, sizeof(text), "%s %.6g", metric, f->point.value);
    } else {
        input_put(text, sizeof(text), f->view);
    }
    json_set_str(error, "input", text);
    if (f->crowded) {
        json_set_bool(error, "limit", true);
    }
    json_set(f->errors, NULL, error);
}

/* The metric's value in a view: the mean of its figures, NaN when one of them is not known. */
static double value_of(const struct anomaly_metric *metric, const struct cJSON *view)
{
    double sum = 0;
    int count = 0;
    while (count < ANOMALY_PATHS && metric->paths[count]) {
        sum += json_value_num(json_path(view, metric->paths[count]), (double)NAN);
        count++;
    }
    return count ? sum / count : (double)NAN;
}

/* The series of f->key, made when it is new; NULL when there are too many. [-0, +0, e] */
static struct anomaly_series *find_series(lua_State *L, struct feeding *f, const char *metric,
                                          bool instance)
{
    struct anomaly_series *series = map_get(&f->a->series, f->key);
    if (series || f->a->series.count >= LIMIT_ANOMALY_SERIES) {
        return series;
    }
    anomaly_push_learner(L, f->service, metric, map_get(&f->a->learned, f->key));
    int state = luaL_ref(L, LUA_REGISTRYINDEX);
    json_free(map_remove(&f->a->learned, f->key));
    series = mem_new(sizeof(*series));
    series->state = state;
    series->instance = instance;
    map_put(&f->a->series, f->key, series);
    return series;
}

/* Body: the point of f->point.metric in f->point's view, when there is a new one. */
static int body_series(lua_State *L)
{
    struct feeding *f = lua_touserdata(L, 1);
    const struct cJSON *view = lua_touserdata(L, 2);
    const char *instance = lua_touserdata(L, 3);
    const struct anomaly_metric *metric = f->point.metric;
    f->point.value = value_of(metric, view);
    if (!isfinite(f->point.value)) {
        return 0;
    }
    mem_free(f->key);
    f->key = anomaly_key(f->service, instance ? instance : "", metric->name);
    struct anomaly_series *series = find_series(L, f, metric->name, instance != NULL);
    if (!series) {
        f->crowded = true;
        return luaL_error(L, "more than %d series: this one is not watched", LIMIT_ANOMALY_SERIES);
    }
    series->seen_ms = f->wall_ms;
    double view_at_ms = json_num(view, "at_ms", (double)f->wall_ms);
    /* A tenth less than the interval: collections do not come to the millisecond. */
    if (view_at_ms == series->view_at_ms ||
        f->wall_ms < series->at_ms + f->service->interval_ms * 9 / 10) {
        return 0;
    }
    series->view_at_ms = view_at_ms;
    series->at_ms = f->wall_ms;
    f->point.state = series->state;
    lua_pushcfunction(L, anomaly_body_point);
    lua_pushlightuserdata(L, &f->point);
    lua_call(L, 1, 0);
    return 0;
}

static void tell(struct feeding *f, const char *instance)
{
    struct cJSON *told = f->point.told;
    f->point.told = NULL;
    json_set_str(told, "service", f->service->name);
    if (instance) {
        json_set_str(told, "instance", instance);
    }
    json_set_str(told, "metric", f->point.metric->name);
    json_set_num(told, "score", f->point.score);
    json_set_num(told, "value", f->point.value);
    json_set_str(told, "policy", f->service->policy);
    if (f->service->shadow) {
        json_set_bool(told, "shadow", true);
    }
    json_set(f->found, NULL, told);
}

/* A protected call for one series; what it raises becomes an error of that metric. [-0, +0, e] */
static void feed_series(lua_State *L, struct feeding *f, const struct cJSON *view,
                        const char *instance)
{
    int top = lua_gettop(L);
    f->point.score = 0;
    f->crowded = false;
    lua_pushcfunction(L, where_handler);
    lua_pushcfunction(L, body_series);
    lua_pushlightuserdata(L, f);
    lua_pushlightuserdata(L, (void *)view);
    lua_pushlightuserdata(L, (void *)instance);
    int status = lua_pcall(L, 3, 0, top + 1);
    budget_check(state_budget(L), L);
    if (status) {
        const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "failed";
        add_error(f, f->point.metric->name, why);
    } else if (f->point.told) {
        tell(f, instance);
    }
    lua_settop(L, top);
}

static int body_feed(lua_State *L)
{
    struct feeding *f = lua_touserdata(L, 1);
    for (unsigned i = 0; i < f->service->metric_count; i++) {
        f->point.metric = &f->service->metrics[i];
        if (!f->point.metric->per_instance) {
            feed_series(L, f, f->view, NULL);
            continue;
        }
        const struct cJSON *item = json_first(json_get(f->view, "instances"));
        for (; item; item = json_next(item)) {
            feed_series(L, f, item, json_name(item));
        }
    }
    return 0;
}

/* Body: the policy looks at all anomalies of its service together. */
static int body_combine(lua_State *L)
{
    struct feeding *f = lua_touserdata(L, 1);
    char where[WHERE_BYTES];
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->service->combine);
    where_function(L, where, sizeof(where));
    state_push_json(L, f->found);
    lua_call(L, 1, 1);
    if (!lua_istable(L, -1)) {
        return luaL_error(L, "%s: combine answered a %s: expected a list of anomalies", where,
                          luaL_typename(L, -1));
    }
    f->combined = convert_to_json(L, -1);
    return 0;
}

static void combine(struct feeding *f)
{
    char *why = NULL;
    if (!json_count(f->found) || f->service->combine == LUA_NOREF) {
        return;
    }
    if (state_run(f->a->state, body_combine, f, LIMIT_POLICY_CPU_MS, f->service->origin, &why) <
        0) {
        add_error(f, NULL, why);
        mem_free(why);
    }
    if (f->combined) {
        json_free(f->found);
        f->found = f->combined;
        f->combined = NULL;
    }
}

static void feed_service(struct feeding *f, struct cJSON *anomalies)
{
    char *why = NULL;
    f->found = json_array();
    f->crowded = false;
    if (state_run(f->a->state, body_feed, f, LIMIT_POLICY_CPU_MS, f->service->origin, &why) < 0) {
        add_error(f, NULL, why);
        mem_free(why);
    }
    combine(f);
    for (const struct cJSON *item = json_first(f->found); item; item = json_next(item)) {
        if (json_kind(item) != JSON_OBJECT || !json_str(item, "metric", NULL)) {
            continue; /* of a policy that made up its own list */
        }
        struct cJSON *anomaly = json_copy(item);
        json_set_str(anomaly, "incident", anomaly_incident(f->a, f->service, f->wall_ms));
        json_set(anomalies, NULL, anomaly);
    }
    json_free(f->found);
    json_free(f->point.told);
    f->point.told = NULL;
    mem_release(&f->key);
}

static bool suppressed(const struct cJSON *request, const char *service)
{
    const struct cJSON *item = json_first(json_get(request, "suppressed"));
    while (item && !str_same(json_value_str(item, NULL), service)) {
        item = json_next(item);
    }
    return item != NULL;
}

void script_anomaly_quarantine(struct script_anomaly *a, const struct cJSON *said)
{
    for (size_t i = 0; i < a->count; i++) {
        struct anomaly_service *service = &a->services[i];
        service->resting |= str_same(json_str(said, "point", ""), "anomaly") &&
                            str_same(json_str(said, "of", ""), service->name);
    }
}

/* Body: forgets instances that are gone. */
static int body_sweep(lua_State *L)
{
    struct feeding *f = lua_touserdata(L, 1);
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&f->a->series, &at, &key, &value)) {
        struct anomaly_series *series = value;
        if (series->instance && f->wall_ms > series->seen_ms + FORGET_MS) {
            luaL_unref(L, LUA_REGISTRYINDEX, series->state);
            map_remove(&f->a->series, key);
            mem_free(series);
        }
    }
    return 0;
}

struct cJSON *script_anomaly_feed(struct script_anomaly *a, const struct cJSON *request)
{
    const struct cJSON *views = json_path(request, "views.services");
    struct cJSON *answer = json_object(), *anomalies = json_array();
    struct feeding f = {.a = a, .errors = json_array()};
    f.wall_ms = (uint64_t)json_num(request, "wall_ms", 0);
    f.point.at_s = (double)f.wall_ms / 1000;
    for (size_t i = 0; i < a->count; i++) {
        f.service = &a->services[i];
        f.point.service = f.service;
        f.view = json_get(views, f.service->name);
        if (f.view && !f.service->resting && !suppressed(request, f.service->name)) {
            feed_service(&f, anomalies);
        }
    }
    if (f.wall_ms >= a->swept_ms + SWEEP_MS) {
        char *why = NULL;
        a->swept_ms = f.wall_ms;
        (void)state_run(a->state, body_sweep, &f, LIMIT_POLICY_CPU_MS, "sweep", &why);
        mem_free(why);
    }
    json_set(answer, "anomalies", anomalies);
    json_set(answer, "errors", f.errors);
    return answer;
}
