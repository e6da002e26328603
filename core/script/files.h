/* files.h: the files of one configuration, read once each. Private to script/.
 *
 * Names are relative to the directory of the configuration and may not lead out of it, not even
 * through a symbolic link. Every byte that was read goes into the generation. */
#ifndef SCRIPT_FILES_H
#define SCRIPT_FILES_H

#include <stddef.h>
#include <stdint.h>

struct files_library {
    char *name;   /* "lib.stats" */
    char *origin; /* "policies/lib/stats.lua" */
    char *source; /* NUL-terminated */
    size_t len;
};

struct files {
    char *directory; /* absolute, resolved */
    char *main;      /* "tidegate.lua" */
    uint64_t hash;   /* of everything read so far */
    struct files_library *libraries;
    size_t library_count;
};

enum {
    FILES_LISTED = 1000 /* most names that files_list gives */
};

/* For the configuration at `path`. -errno with a sentence when its directory does not exist. */
int files_open(struct files *f, const char *path, char **reterr);
void files_close(struct files *f);
/* The main file, which may be a symbolic link to anywhere. The caller owns the text. -EINVAL when
 * it is no Lua text, -errno; with a sentence part such as "no such file or directory". */
int files_read_main(struct files *f, char **ret_text, size_t *ret_len, char **reterr);
int files_read(struct files *f, const char *name, char **ret_text, size_t *ret_len, char **reterr);
/* The shipped file "balance/x", counted into the generation; NULL when there is none. Lends. */
const char *files_shipped(struct files *f, const char *name, size_t *ret_len);
/* Calls `each` for every *.lua in a folder, sorted; nothing when there is no such folder. */
void files_list(struct files *f, const char *folder, void (*each)(void *arg, const char *name),
                void *arg);
/* "lib.stats": from policies/lib/ or the shipped ones; read once. Lends until the next call. -errno
 * with a sentence part. */
int files_library(struct files *f, const char *name, const struct files_library **ret_library,
                  char **reterr);

#endif
