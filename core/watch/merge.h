/* merge.h: a service's figures out of its instances'. */
#ifndef WATCH_MERGE_H
#define WATCH_MERGE_H

struct cJSON;

/* Sets the groups health, performance, data_processing, data_quality and resources of `view` from those of
 * `instances` (id -> view), as view.h says. Groups that no instance has stay absent. */
void merge_views(struct cJSON *view, const struct cJSON *instances);

#endif
