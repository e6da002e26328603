/* traffic.h: what the balancer sees of services and backends between two looks at the board. */
#ifndef WATCH_TRAFFIC_H
#define WATCH_TRAFFIC_H

#include <stdint.h>

struct board;
struct cJSON;
struct traffic;

/* Lends `board` until traffic_free. */
struct traffic *traffic_new(struct board *board);
void traffic_free(struct traffic *t);
/* Closes the window since the last look. `services` as fleet_status has them; what is not there is
 * forgotten. */
void traffic_look(struct traffic *t, const struct cJSON *services, uint64_t now_ms);
/* {"rate","retries" (a second),"error_rate","mean","p50","p95","p99" (s)} of the last closed window; without
 * requests in it only the first two, without a window nothing. instance "" = the whole service. The
 * caller owns it. */
struct cJSON *traffic_json(const struct traffic *t, const char *service, const char *instance);

#endif
