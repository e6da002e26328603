/* paths.h: where a cluster's files live, and how a client finds the daemon.
 *
 *   runtime  BASE/<cluster>/control.sock   BASE: $TIDEGATE_RUNTIME_DIR, else /run/tidegate as root,
 *                                          else $XDG_RUNTIME_DIR/tidegate, else /tmp/tidegate-<uid>
 *   state    BASE/<cluster>/...            BASE: $TIDEGATE_STATE_DIR, else /var/lib/tidegate as
 * root, else $XDG_STATE_HOME/tidegate, else ~/.local/state/tidegate
 *
 * Directories are made with mode 0700. An empty environment variable counts as unset. */
#ifndef APP_PATHS_H
#define APP_PATHS_H

/* BASE/<cluster>. `base` comes from the command line or the configuration and replaces the rules
 * above; NULL or "" = by the rules. The caller owns the text: mem_free. */
char *paths_runtime_dir(const char *base, const char *cluster);
char *paths_state_dir(const char *base, const char *cluster);
/* DIR/control.sock; the caller owns it. */
char *paths_control_socket(const char *runtime_dir);

/* Makes the directory with its parents. The last one must belong to us and be closed to writing by
 * others: -EPERM otherwise, -ENOTDIR when it is something else, or -errno; each with a sentence in
 * *reterr (mem_free). */
int paths_make(const char *dir, char **reterr);

/* The control socket that a client means. `socket` (--socket) wins, then `cluster` (--cluster),
 * then $TIDEGATE_SOCKET, then the only daemon there is; the first two may be NULL. 0: *ret_path is
 * the caller's. -ENOENT: no daemon; -EACCES: we may not look; -ENOTUNIQ: several, the sentence names them; -EINVAL: a cluster
 * that is no name. */
int paths_find_socket(const char *socket, const char *cluster, char **ret_path, char **reterr);

/* The directory of the history that a daemon kept which does not run any more: BASE/<cluster>/history, or that of the
 * only cluster there is below it (`cluster` NULL). `base` as above. 0: *ret_dir is the caller's. -ENOENT: there is
 * none; -ENOTUNIQ: several, the sentence names them. */
int paths_find_history(const char *base, const char *cluster, char **ret_dir, char **reterr);

#endif
