/* judge.h: alert rules and notify policies of a cold state. Private to the script room. */
#ifndef SCRIPT_JUDGE_H
#define SCRIPT_JUDGE_H

struct cJSON;
struct judge;
struct memory;
struct state;

/* Everything of the configuration that a cold state answers beside scale: alerts whose `when` is a function
 * or a policy, the notify policy, templates of channels. `config`, `state` and `memory` are lent for the
 * judge's life. -EINVAL with a sentence. */
int judge_new(const struct cJSON *config, struct state *state, struct memory *memory,
              struct judge **ret_judge, char **reterr);
void judge_free(struct judge *judge); /* before the state; NULL is allowed */
/* As script_cold_quarantine: "alert", "notify" and "template" are ours. */
void judge_quarantine(struct judge *judge, const char *point, const char *of);
/* As script_cold_evaluate and script_cold_notify; the caller owns the result. */
struct cJSON *judge_evaluate(struct judge *judge, const struct cJSON *question);
struct cJSON *judge_notify(struct judge *judge, const struct cJSON *question);

#endif
