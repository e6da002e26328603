/* check_hot.h: what a pick costs, for `tidegate check --hot`. */
#ifndef COMMANDS_CHECK_HOT_H
#define COMMANDS_CHECK_HOT_H

#include <stdbool.h>

struct cJSON;

/* Runs the balance policies of a loaded configuration in a child; *ret_report as script_kit_hot has it, the caller
 * owns it. Another exit code than COMMAND_FINE when it was told why there is none. */
int check_hot(const struct cJSON *config, struct cJSON **ret_report);
/* Prints it unless `quiet`; COMMAND_NO when a policy fails or is not compiled. */
int check_hot_show(const struct cJSON *report, bool quiet);

#endif
