/* json.h: reading and writing cJSON without surprises: every reader takes a
 * default and never fails, every writer copies.
 *
 * A `struct cJSON *` may be NULL everywhere a value is read. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;

enum json_kind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
    JSON_KINDS
};

/* Parses exactly one value; NULL when the text is not JSON, nested too deeply (64) or has bytes
 * behind it. The caller owns it: json_free. */
struct cJSON *json_parse(const char *bytes, size_t len);
void json_free(struct cJSON *value); /* NULL is allowed */
/* The same, and no text of it is left behind in memory. */
void json_free_secret(struct cJSON *value);
/* Compact text; the caller owns it: mem_free. */
char *json_text(const struct cJSON *value);
/* Indented text; the caller owns it. */
char *json_pretty(const struct cJSON *value);

/* Member of an object or NULL. */
struct cJSON *json_get(const struct cJSON *object, const char *key);
/* Member along a path such as "HostConfig.RestartPolicy.Name", or NULL. */
struct cJSON *json_path(const struct cJSON *object, const char *path);
/* Members with a default when absent or of another type. Strings are lent: as long as the value. */
const char *json_str(const struct cJSON *object, const char *key, const char *otherwise);
double json_num(const struct cJSON *object, const char *key, double otherwise);
int64_t json_int(const struct cJSON *object, const char *key, int64_t otherwise);
bool json_bool(const struct cJSON *object, const char *key, bool otherwise);
/* The string itself when `value` is one, else `otherwise`. */
const char *json_value_str(const struct cJSON *value, const char *otherwise);
double json_value_num(const struct cJSON *value, double otherwise);
bool json_value_bool(const struct cJSON *value, bool otherwise);
/* NULL counts as null. */
enum json_kind json_kind(const struct cJSON *value);
/* First child, next sibling, name of a member; NULL at the end. */
struct cJSON *json_first(const struct cJSON *container);
struct cJSON *json_next(const struct cJSON *item);
const char *json_name(const struct cJSON *member);
size_t json_count(const struct cJSON *container);

struct cJSON *json_object(void);
struct cJSON *json_array(void);
/* Setters copy the text; a NULL text sets null. */
void json_set_str(struct cJSON *object, const char *key, const char *text);
void json_set_num(struct cJSON *object, const char *key, double number);
void json_set_bool(struct cJSON *object, const char *key, bool value);
/* Take `value` into the object or array (key NULL for an array); value NULL sets null. */
void json_set(struct cJSON *container, const char *key, struct cJSON *value);
/* Takes `value` as a member that the object is known not to have yet: does not look for it. */
void json_add(struct cJSON *object, const char *key, struct cJSON *value);
/* Values that no container has yet. */
struct cJSON *json_number(double number);
struct cJSON *json_string(const char *text);
struct cJSON *json_boolean(bool value);
/* Drops a member; one that is not there is no error. */
void json_remove(struct cJSON *object, const char *key);
void json_add_str(struct cJSON *array, const char *text);
void json_add_num(struct cJSON *array, double number);
/* A deep copy of `value` (NULL gives null), owned by the caller. */
struct cJSON *json_copy(const struct cJSON *value);

#endif
