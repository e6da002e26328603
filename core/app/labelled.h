/* labelled.h: containers that others start (engine.h: others), and what can be said of them without asking anybody:
 * which sets of labels there are, which container belongs to which, and where it is reached. No I/O, no state.
 *
 *   containers --labelled_sets--> sets --policy process--> a set's "service", "port", "network", verdicts
 *        |                                                                   |
 *        +------------------------ labelled_address <------------------------+ */
#ifndef APP_LABELLED_H
#define APP_LABELLED_H

#include <stdbool.h>
#include <stddef.h>

struct cJSON;

/* From where containers are reached. Lent. */
struct labelled_place {
    const char *prefix;  /* of labels, for sentences */
    const char *network; /* the one that counts unless a label names one; "" = none */
    const char *self;    /* id of our own container, or "" */
    const char *host;    /* where published ports and those of the host's network are */
    bool publish;        /* published ports in place of addresses */
};

/* The id of the container that a process is in, by its /proc/self/mountinfo; "" when in none. `to` has room for 65. */
void labelled_self(const char *mountinfo, char *to);
/* Whether it may have labels that count: it has any, is no tidegate's, and no one-off of compose. */
bool labelled_candidate(const struct cJSON *container);
/* What its service is called when all goes well: by its label, by compose, else by its own name. Lent. */
const char *labelled_service(const struct cJSON *container, const char *prefix);
/* Equal for containers that are the same to the configuration; `to` gets 16 digits and NUL. */
void labelled_set_of(const struct cJSON *container, const char *prefix, char *to);
/* The sets of candidates in the order in which they count, as script_load_labelled takes them, each with its "group"
 * (labelled_service): services by their oldest container, or by `since` {GROUP: s since 1970} when that is older; within one
 * those with a running container first, then the oldest. The caller owns it. */
struct cJSON *labelled_sets(const struct cJSON *containers, const char *prefix,
                            const struct cJSON *since);
/* Where it is reached: "172.18.0.3:8080", mem_free; `set` is what the policy process made of its labels. *ret_network
 * (may be ""; lent) is the network. NULL with a sentence (mem_free) that says what to write. Never guesses. */
char *labelled_address(const struct cJSON *containers, const struct cJSON *container,
                       const struct cJSON *set, const struct labelled_place *place,
                       const char **ret_network, char **reterr);
/* The one with this id, or its beginning of at least 12 digits, or of this name; NULL. */
const struct cJSON *labelled_find(const struct cJSON *containers, const char *id);

#endif
