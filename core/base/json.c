/* json.c: see json.h. */
#include "base/json.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"

/* cJSON recurses per level; hostile input must not decide how deep. Strings are skipped. */
static bool too_deep(const char *bytes, size_t len)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        char c = bytes[i];
        if (quoted) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                quoted = false;
            }
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > 64) {
                return true;
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

struct cJSON *json_parse(const char *bytes, size_t len)
{
    if (!bytes || !len || too_deep(bytes, len)) {
        return NULL;
    }
    const char *end = NULL;
    cJSON *value = cJSON_ParseWithLengthOpts(bytes, len, &end, false);
    while (value && end < bytes + len) {
        if (!strchr(" \t\r\n", *end)) {
            cJSON_Delete(value);
            value = NULL;
        }
        end++;
    }
    return value;
}

void json_free(struct cJSON *value)
{
    cJSON_Delete(value);
}

static void wipe(cJSON *value)
{
    for (; value; value = value->next) {
        wipe(value->child); /* as deep as json_parse allows */
        if (value->valuestring) {
            mem_wipe(value->valuestring, strlen(value->valuestring));
        }
    }
}

void json_free_secret(struct cJSON *value)
{
    wipe(value);
    cJSON_Delete(value);
}

static char *printed(char *text)
{
    must(text);
    char *copy = mem_copy(text);
    cJSON_free(text);
    return copy;
}

char *json_pretty(const struct cJSON *value)
{
    return value ? printed(cJSON_Print(value)) : mem_copy("null");
}

struct cJSON *json_get(const struct cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

struct cJSON *json_path(const struct cJSON *object, const char *path)
{
    char key[128]; /* a longer step is no member that we ask for */
    const struct cJSON *at = object;
    while (at && path) {
        size_t len = strcspn(path, ".");
        if (len >= sizeof key) {
            return NULL;
        }
        memcpy(key, path, len);
        key[len] = '\0';
        at = json_get(at, key);
        path = path[len] ? path + len + 1 : NULL;
    }
    return (struct cJSON *)at;
}

const char *json_value_str(const struct cJSON *value, const char *otherwise)
{
    return cJSON_IsString(value) ? value->valuestring : otherwise;
}

double json_value_num(const struct cJSON *value, double otherwise)
{
    return cJSON_IsNumber(value) ? value->valuedouble : otherwise;
}

bool json_value_bool(const struct cJSON *value, bool otherwise)
{
    return cJSON_IsBool(value) ? cJSON_IsTrue(value) : otherwise;
}

enum json_kind json_kind(const struct cJSON *value)
{
    return cJSON_IsObject(value)   ? JSON_OBJECT
           : cJSON_IsArray(value)  ? JSON_ARRAY
           : cJSON_IsString(value) ? JSON_STRING
           : cJSON_IsNumber(value) ? JSON_NUMBER
           : cJSON_IsBool(value)   ? JSON_BOOL
                                   : JSON_NULL;
}

const char *json_str(const struct cJSON *object, const char *key, const char *otherwise)
{
    return json_value_str(json_get(object, key), otherwise);
}

double json_num(const struct cJSON *object, const char *key, double otherwise)
{
    return json_value_num(json_get(object, key), otherwise);
}

int64_t json_int(const struct cJSON *object, const char *key, int64_t otherwise)
{
    double number = json_num(object, key, (double)otherwise);
    /* 2^53: beyond it a double does not hold every integer, and the cast may overflow. */
    if (!(number >= -9007199254740992.0 && number <= 9007199254740992.0)) {
        return otherwise;
    }
    return (int64_t)number;
}

bool json_bool(const struct cJSON *object, const char *key, bool otherwise)
{
    const cJSON *value = json_get(object, key);
    return cJSON_IsBool(value) ? cJSON_IsTrue(value) != 0 : otherwise;
}

struct cJSON *json_first(const struct cJSON *container)
{
    return cJSON_IsObject(container) || cJSON_IsArray(container) ? container->child : NULL;
}

struct cJSON *json_next(const struct cJSON *item)
{
    return item ? item->next : NULL;
}

const char *json_name(const struct cJSON *member)
{
    return member && member->string ? member->string : "";
}

size_t json_count(const struct cJSON *container)
{
    size_t count = 0;
    for (const struct cJSON *i = json_first(container); i; i = i->next) {
        count++;
    }
    return count;
}

static struct cJSON *made(cJSON *value)
{
    must(value);
    return value;
}

struct cJSON *json_object(void)
{
    return made(cJSON_CreateObject());
}

struct cJSON *json_array(void)
{
    return made(cJSON_CreateArray());
}

void json_set(struct cJSON *container, const char *key, struct cJSON *value)
{
    if (!value) {
        value = made(cJSON_CreateNull());
    }
    if (!key) {
        cJSON_AddItemToArray(container, value);
    } else {
        cJSON_DeleteItemFromObjectCaseSensitive(container, key);
        cJSON_AddItemToObject(container, key, value);
    }
}

void json_set_str(struct cJSON *object, const char *key, const char *text)
{
    json_set(object, key, text ? made(cJSON_CreateString(text)) : NULL);
}

void json_set_num(struct cJSON *object, const char *key, double number)
{
    json_set(object, key, made(cJSON_CreateNumber(number)));
}

void json_set_bool(struct cJSON *object, const char *key, bool value)
{
    json_set(object, key, made(cJSON_CreateBool(value)));
}

void json_add_num(struct cJSON *array, double number)
{
    json_set(array, NULL, made(cJSON_CreateNumber(number)));
}

void json_add_str(struct cJSON *array, const char *text)
{
    json_set(array, NULL, text ? made(cJSON_CreateString(text)) : NULL);
}

struct cJSON *json_copy(const struct cJSON *value)
{
    return made(value ? cJSON_Duplicate(value, true) : cJSON_CreateNull());
}

void json_remove(struct cJSON *object, const char *key)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
}

void json_add(struct cJSON *object, const char *key, struct cJSON *value)
{
    cJSON_AddItemToObject(object, key, value);
}

struct cJSON *json_number(double number)
{
    return made(cJSON_CreateNumber(number));
}

struct cJSON *json_string(const char *text)
{
    return made(cJSON_CreateString(text));
}

struct cJSON *json_boolean(bool value)
{
    return made(cJSON_CreateBool(value));
}
