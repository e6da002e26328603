/* anomaly_policy.c: calls into anomaly policies; see anomaly.h. Every function here may raise. */
#include "script/anomaly.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "script/convert.h"
#include "script/detector.h"
#include "script/sentence.h"
#include "script/state.h"
#include "script/where.h"
#include "base/ban.h"

/* A text field of the note on the top, as one line. */
static void put_field(lua_State *L, struct cJSON *told, const char *name, const char *otherwise)
{
    char text[LIMIT_REASON_BYTES];
    const char *given = NULL;
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, name);
        given = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        sentence_put(text, sizeof(text), given ? given : otherwise);
        lua_pop(L, 1);
    } else {
        sentence_put(text, sizeof(text), otherwise);
    }
    json_set_str(told, name, text);
}

int anomaly_body_point(lua_State *L)
{
    struct anomaly_point *point = lua_touserdata(L, 1);
    char where[WHERE_BYTES];
    lua_rawgeti(L, LUA_REGISTRYINDEX, point->service->point);
    where_function(L, where, sizeof(where));
    lua_rawgeti(L, LUA_REGISTRYINDEX, point->state);
    lua_pushnumber(L, point->value);
    lua_pushnumber(L, point->at_s);
    lua_pushstring(L, point->metric->name);
    lua_call(L, 4, 2);
    double score = lua_tonumber(L, -2);
    if (lua_type(L, -2) != LUA_TNUMBER || !isfinite(score) || score < 0) {
        return luaL_error(L, "%s: answered %s: a score is a number, 0 or more", where,
                          lua_type(L, -2) == LUA_TNUMBER ? lua_tostring(L, -2)
                                                         : luaL_typename(L, -2));
    }
    point->score = score;
    if (score >= 1) {
        point->told = json_object();
        put_field(L, point->told, "type", "anomaly");
        put_field(L, point->told, "severity", "medium");
        put_field(L, point->told, "description", "is unusual");
    }
    return 0;
}

void anomaly_push_learner(lua_State *L, const struct anomaly_service *service, const char *metric,
                          const struct cJSON *saved)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, service->learn);
    lua_pushstring(L, metric);
    lua_call(L, 1, 1);
    if (lua_istable(L, -1)) {
        if (json_kind(saved) == JSON_OBJECT) {
            lua_pop(L, 1);
            state_push_json(L, saved);
        }
    } else if (!lua_isuserdata(L, -1)) {
        luaL_error(L, "%s:1: learn: answered a %s: expected a table or a series of the detector",
                   service->origin, luaL_typename(L, -1));
    } else {
        /* What another version saved is learned anew. */
        (void)detector_restore(L, -1, json_value_str(saved, ""));
    }
}

struct cJSON *anomaly_state_json(lua_State *L)
{
    if (lua_istable(L, -1)) {
        return convert_to_json(L, -1);
    }
    char *text = detector_save(L, -1);
    struct cJSON *holder = json_object();
    json_set_str(holder, "text", text);
    mem_free(text);
    struct cJSON *value = json_copy(json_get(holder, "text"));
    json_free(holder);
    return value;
}

char *anomaly_key(const struct anomaly_service *service, const char *instance, const char *metric)
{
    return mem_printf("%s|%s|%s|%s", service->policy, service->name, instance, metric);
}

/* Whether the service's incident still goes on. */
static bool goes_on(const struct anomaly_service *service, uint64_t wall_ms)
{
    return service->opened_ms && wall_ms < service->last_ms + service->incident_ms;
}

const char *anomaly_incident(struct script_anomaly *a, struct anomaly_service *service,
                             uint64_t wall_ms)
{
    if (!goes_on(service, wall_ms)) {
        const struct anomaly_service *first = NULL;
        unsigned others = 0;
        for (size_t i = 0; i < a->count; i++) {
            const struct anomaly_service *other = &a->services[i];
            if (other != service && goes_on(other, wall_ms)) {
                first = !first || other->opened_ms < first->opened_ms ? other : first;
                others++;
            }
        }
        service->opened_ms = wall_ms;
        if (others >= 2) {
            sentence_put(service->incident, sizeof(service->incident), first->incident);
        } else {
            char at[32];
            clock_iso(wall_ms, at, sizeof(at));
            char *key = mem_printf("%s@%s", service->name, at);
            sentence_put(service->incident, sizeof(service->incident), key);
            mem_free(key);
        }
    }
    service->last_ms = wall_ms;
    return service->incident;
}
