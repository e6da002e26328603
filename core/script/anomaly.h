/* anomaly.h: the detectors of a configuration. Private to the script room; script.h has what others see. */
#ifndef SCRIPT_ANOMALY_H
#define SCRIPT_ANOMALY_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"

struct cJSON;
struct state;

enum {
    ANOMALY_PATHS = 4,           /* figures that one metric may be the mean of */
    ANOMALY_METRICS = 64,        /* of one policy */
    ANOMALY_INCIDENT_BYTES = 96, /* a service's name, "@", a time, NUL */
};

struct anomaly_metric {
    char *name;
    char *paths[ANOMALY_PATHS]; /* the value is their mean; up to a NULL */
    bool per_instance;
};

struct anomaly_service {
    const char *name, *policy, *origin; /* lent by script_anomaly.config, like the two below */
    const struct cJSON *source, *params;
    int learn, point, combine; /* registry references; combine: LUA_NOREF when there is none */
    struct anomaly_metric *metrics;
    unsigned metric_count;
    bool resting; /* in quarantine */
    bool shadow;  /* nobody is told of its anomalies */
    uint64_t interval_ms, incident_ms;
    uint64_t opened_ms, last_ms; /* of the incident, wall time; 0 = none */
    char incident[ANOMALY_INCIDENT_BYTES];
};

/* Learning state of a metric of a service or an instance. */
struct anomaly_series {
    int state;         /* registry reference */
    double view_at_ms; /* of the last point */
    uint64_t at_ms, seen_ms;
    bool instance;
};

struct script_anomaly {
    struct cJSON *config; /* our copy */
    struct state *state;
    struct anomaly_service *services;
    size_t count;
    struct map series;  /* key -> anomaly_series, owned */
    struct map learned; /* key -> restored state that no series has claimed yet, cJSON, owned */
    uint64_t swept_ms;
};

/* One point for a policy, and what it said. */
struct anomaly_point {
    const struct anomaly_service *service;
    const struct anomaly_metric *metric;
    int state;
    double value, at_s;
    double score;       /* 1 or more: an anomaly, and `told` is set */
    struct cJSON *told; /* type, severity, description; owned by whoever runs the body */
};

/* Calls the policy's point; raises what it raises. Light userdata at index 1. */
int anomaly_body_point(lua_State *L);
/* A new state for a series, left on the top; a saved one (may be NULL) is put into it. [-0, +1, e] */
void anomaly_push_learner(lua_State *L, const struct anomaly_service *service, const char *metric,
                          const struct cJSON *saved);
/* The state on the top as text or JSON, owned by the caller. [-0, +0, e] */
struct cJSON *anomaly_state_json(lua_State *L);
/* "record|catalog|catalog-7|resources.cpu_usage"; instance "" for the service. Owned by the caller. */
char *anomaly_key(const struct anomaly_service *service, const char *instance, const char *metric);
/* The key of the incident that an anomaly of `service` now belongs to. Lends. */
const char *anomaly_incident(struct script_anomaly *a, struct anomaly_service *service,
                             uint64_t wall_ms);

#endif
