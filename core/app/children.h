/* children.h: the entry points of our other processes, called by main when its
 * first argument says so. Not for people: the master starts them. */
#ifndef APP_CHILDREN_H
#define APP_CHILDREN_H

/* argv: --policy LEVEL text|json LOG_FILE|- */
int policy_main(int argc, char **argv);
/* argv: --worker LEVEL text|json LOG_FILE|- INDEX SERVING_FILE MASTER_PID */
int worker_main(int argc, char **argv);

/* Closes every descriptor from `first` on: libraries of the master leave some open to their children. */
void child_close_from(int first);
/* Opens the child's log as argv[2..4] say. */
void child_open_log(const char *who, int argc, char **argv);

#endif
