/* detector.h: the kernel of base/detect.h for anomaly policies. Private to the script room.
 *
 * `new(params, detector)` of an anomaly policy gets the table that detector_push makes:
 *   detector.record(settings) -> series: userdata with the learning state of one series; settings as
 *     in struct detect_settings, all may be absent, and direction = "up" | "down" | "both", stuck = boolean
 *   series:push(at, value) -> score, view, usual */
#ifndef SCRIPT_DETECTOR_H
#define SCRIPT_DETECTOR_H

#include <lua.h>

/* [-0, +1, e] */
void detector_push(lua_State *L);
/* The learning state at `index` as text, owned by the caller; NULL when it is no series. [-0, +0, e] */
char *detector_save(lua_State *L, int index);
/* Puts a saved state into the series at `index`. -EINVAL: it is no series, or the text is of another
 * version; it stays as it was. [-0, +0, e] */
int detector_restore(lua_State *L, int index, const char *text);

#endif
