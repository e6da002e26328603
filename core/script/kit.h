/* kit.h: for who writes policies: `tidegate policy` and `tidegate check --hot`. */
#ifndef SCRIPT_KIT_H
#define SCRIPT_KIT_H

struct cJSON;

/* Kinds of policies, ended by NULL. Static storage. */
extern const char *const script_kinds[];

/* The files of a new policy, by their paths below the configuration's directory: [ {"path":
 * "policies/scale/x.lua", "text": "...", "support": false} ]; "support" are those that many policies share. -EINVAL with a
 * sentence when kind or name will not do. The caller owns the list. */
int script_kit_new(const char *kind, const char *name, struct cJSON **ret_files, char **reterr);

/* Runs the examples of `directory`/policies/KIND/NAME.lua and its NAME_spec.lua beside it, in a sandboxed state of their
 * own, and notes which of its lines run. The caller owns the report:
 * { "policy": "policies/scale/x.lua", "spec"?: "policies/scale/x_spec.lua", "examples": 2, "specs": 3, "pending": 0,
 *   "lines": 10, "missed": [7], "failures": [ { "what": "keeps 50 in flight", "why": "policies/...:12: ..." } ] }
 * -EINVAL, -errno with a sentence when nothing could be run. */
int script_kit_test(const char *directory, const char *kind, const char *name,
                    struct cJSON **ret_report, char **reterr);

/* Picks many times by each balance policy of a loaded configuration, over made-up backends, with the JIT on:
 * [ { "policy": "mine", "origin": "policies/balance/mine.lua", "at": "shop route 1", "ns": 55.1, "bytes": 0,
 *     "compiled": true, "error"?: "file:line: ...", "stops": [ { "at": "policies/balance/mine.lua:7", "why": "NYI: ..." } ] } ]
 * "ns" is CPU time of a pick, "bytes" what it leaves as garbage; "stops" is where LuaJIT's compiler gave up. To be called in
 * a process of its own: in some versions watching the compiler crashes. -EINVAL with a sentence. */
int script_kit_hot(const struct cJSON *config, struct cJSON **ret_report, char **reterr);

#endif
