/* labels_fuzz.c: libFuzzer target of what reads containers of others (scripts/dev fuzz): lists and events of
 * the engine, and what is made of them: sets of labels, and addresses.
 *
 * Labels and names are anybody's who may start containers. The first byte says what is read. Beside memory
 * errors it checks the shape that engine.h promises, that a set is the same whoever asks, and that a
 * container has an address or a sentence that says why not, never both.
 * sources: core/engine/docker_others_read.c core/engine/docker_parse.c core/engine/engine.c core/app/labelled.c core/base/json.c core/base/json_text.c core/base/hash.c core/base/buf.c core/base/mem.c core/base/str.c core/base/err.c -lcjson
 */
#include <stdlib.h>
#include <string.h>

#include "app/labelled.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/docker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The choice of an engine is none of ours. */
int engine_docker_new(const struct engine_options *options, struct engine **ret_engine,
                      char **reterr)
{
    (void)options, (void)ret_engine, (void)reterr;
    abort();
}

int engine_process_new(const struct engine_options *options, struct engine **ret_engine,
                       char **reterr)
{
    (void)options, (void)ret_engine, (void)reterr;
    abort();
}

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_container(const struct cJSON *c)
{
    const char *id = json_str(c, "id", ""), *name = json_str(c, "name", "");
    int64_t before = 0;
    check(*id && strlen(id) < ENGINE_ID_BYTES && *name && strlen(name) < ENGINE_NAME_BYTES);
    check(!strchr(name, '/') && json_kind(json_get(c, "networks")) == JSON_ARRAY);
    for (const struct cJSON *p = json_first(json_get(c, "ports")); p; p = json_next(p)) {
        int64_t port = json_int(p, "port", 0), host = json_int(p, "host_port", -1);
        check(port > before && port <= 65535 && host >= 0 && host <= 65535);
        before = port;
    }
    for (const struct cJSON *l = json_first(json_get(c, "labels")); l; l = json_next(l)) {
        check(!strncmp(json_name(l), "tidegate.", 9) && json_kind(l) == JSON_STRING);
    }
}

static void check_address(const struct cJSON *all, const struct cJSON *c, const struct cJSON *set,
                          const struct labelled_place *place)
{
    const char *network = NULL;
    char *why = NULL, *address = labelled_address(all, c, set, place, &network, &why);
    check(!address == (why != NULL) && network);
    check(!address || strrchr(address, ':'));
    mem_free(address);
    mem_free(why);
}

static void read_list(const char *text, size_t size)
{
    struct cJSON *all = docker_others_read(text, size, "tidegate");
    struct cJSON *set = json_object();
    json_set_num(set, "port", 80);
    const struct labelled_place places[] = {
        {.prefix = "tidegate", .network = "", .self = "", .host = "127.0.0.1"},
        {.prefix = "tidegate", .network = "a", .self = "", .host = "127.0.0.1"},
        {.prefix = "tidegate", .network = "", .self = "aaaaaaaaaaaa", .host = "::1"},
        {.prefix = "tidegate", .network = "", .self = "", .host = "h", .publish = true},
    };
    struct cJSON *sets = labelled_sets(all, "tidegate", NULL);
    for (const struct cJSON *c = json_first(all); c; c = json_next(c)) {
        char once[17], twice[17];
        check_container(c);
        check(labelled_find(all, json_str(c, "name", "")) != NULL);
        labelled_set_of(c, "tidegate", once);
        labelled_set_of(c, "tidegate", twice);
        check(!strcmp(once, twice));
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            check_address(all, c, NULL, &places[i]);
            check_address(all, c, set, &places[i]);
        }
    }
    check(json_count(sets) <= json_count(all));
    json_free(sets);
    json_free(set);
    json_free(all);
}

static void read_event(const char *text, size_t size)
{
    struct cJSON *json = NULL;
    enum engine_other_kind kind = ENGINE_OTHERS;
    const char *id = NULL;
    if (docker_follow_read(text, size, &json, &kind, &id)) {
        check(json && kind < ENGINE_OTHERS && *id && strlen(id) < ENGINE_ID_BYTES);
        json_free(json);
    }
}

static void read_self(const char *text, size_t size)
{
    char to[65], *whole = mem_copy_bytes(text, size);
    labelled_self(whole, to);
    check(!*to || strspn(to, "0123456789abcdef") == 64);
    mem_free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    if (data[0] % 4 == 0) {
        read_event(text, size - 1);
    } else if (data[0] == 'm') {
        read_self(text, size - 1);
    } else {
        read_list(text, size - 1);
    }
    return 0;
}
