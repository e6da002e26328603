/* children.h: the programs behind `tidegate --worker` and `tidegate --policy`, which the master
 * forks and execs with its channel on descriptor 3 and the scoreboard on descriptor 4. */
#ifndef APP_CHILDREN_H
#define APP_CHILDREN_H

int worker_main(int argc, char **argv);
int policy_main(int argc, char **argv);

#endif
