/* load.h: loading a configuration that stands in no file. Private to the script room. */
#ifndef SCRIPT_LOAD_H
#define SCRIPT_LOAD_H

struct cJSON;

/* As script_load, with `source` in place of what the file at `path` holds, which need not exist:
 * policies and libraries are looked for beside it. */
int load_text(const char *path, const char *source, struct cJSON **ret_config, char **reterr);

#endif
