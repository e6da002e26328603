/* names.c: host names in rosters. Workers get numeric addresses only, so that
 * nothing on the data plane ever waits for a resolver.
 *
 * Owns: a cache of the names in the last roster; an answer is asked for again after FRESH_MS, a
 * failure after RETRY_MS, and an old answer stays until a new one comes. */
#include <string.h>

#include "app/master.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

enum {
    FRESH_MS = 30000,
    RETRY_MS = 2000
};

struct name {
    struct names *owner;
    char *text;    /* "db.local:5432" */
    char *address; /* numeric, or NULL */
    uint64_t ask_at_ms;
    bool asking;
    bool wanted; /* by the last roster */
    bool failed; /* the last answer, which was told */
};

struct names {
    struct master *master; /* NULL once closed: the last answer frees us */
    struct map by_text;
    char *roster; /* as the fleet sent it, names in it */
    unsigned asking;
};

static void free_name(struct name *name)
{
    mem_free(name->text);
    mem_free(name->address);
    mem_free(name);
}

static void release(struct names *n)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&n->by_text, &at, &key, &value)) {
        free_name(value);
    }
    map_free(&n->by_text);
    mem_free(n->roster);
    mem_free(n);
}

static void on_resolved(void *arg, int error, const struct net_addr *addr)
{
    struct name *name = arg;
    struct names *n = name->owner;
    name->asking = false;
    n->asking--;
    if (!n->master) {
        if (!n->asking) {
            release(n);
        }
        return;
    }
    name->ask_at_ms = clock_now_ms() + (error ? RETRY_MS : FRESH_MS);
    bool news = name->failed != (error != 0);
    name->failed = error != 0;
    if (error) {
        if (news && name->wanted) {
            log_warn("a backend's name does not resolve", "name=%s error=%s known=%s", name->text,
                     err_text(error), name->address);
        }
        return;
    }
    if (news) {
        log_info("a backend's name resolves again", "name=%s address=%s", name->text, addr->text);
    }
    if (name->wanted && !str_same(name->address, addr->text)) {
        mem_free(name->address);
        name->address = mem_copy(addr->text);
        char *roster = mem_copy(n->roster);
        workers_roster(n->master, n->master->roster_version, roster);
        mem_free(roster);
    }
}

static void ask(struct names *n, struct name *name)
{
    if (!name->asking && !net_resolve(&n->master->loop, name->text, on_resolved, name)) {
        name->asking = true;
        n->asking++;
    }
}

/* The address of a name, or NULL as long as none is known. */
static const char *look_up(struct names *n, const char *text)
{
    struct name *name = map_get(&n->by_text, text);
    if (!name) {
        name = mem_new(sizeof *name);
        name->owner = n;
        name->text = mem_copy(text);
        map_put(&n->by_text, text, name);
        ask(n, name);
    }
    name->wanted = true;
    return name->address;
}

/* Lets go of names that the last roster has not; one that is being asked goes with a later roster. */
static void forget_unwanted(struct names *n)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&n->by_text, &at, &key, &value)) {
        struct name *name = value;
        if (!name->wanted && !name->asking) {
            map_remove(&n->by_text, name->text);
            free_name(name);
        }
    }
}

static void want_none(struct names *n)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&n->by_text, &at, &key, &value)) {
        ((struct name *)value)->wanted = false;
    }
}

/* Replaces one backend's address; false: it cannot be reached yet. */
static bool settle(struct names *n, struct cJSON *backend)
{
    struct net_addr addr;
    const char *text = json_str(backend, "address", "");
    if (!net_addr_parse(text, &addr)) {
        return true;
    }
    const char *numeric = look_up(n, text);
    if (numeric) {
        json_set_str(backend, "address", numeric);
    }
    return numeric != NULL;
}

char *names_resolve(struct names *n, const char *text)
{
    char *kept = mem_copy(text);
    mem_free(n->roster);
    n->roster = kept;
    struct cJSON *roster = json_parse(kept, strlen(kept));
    want_none(n);
    struct cJSON *service = json_first(json_get(roster, "services"));
    for (; service; service = json_next(service)) {
        struct cJSON *reachable = json_array();
        struct cJSON *backend = json_first(json_get(service, "backends"));
        for (; backend; backend = json_next(backend)) {
            if (settle(n, backend)) {
                json_set(reachable, NULL, json_copy(backend));
            }
        }
        json_set(service, "backends", reachable);
    }
    char *resolved = json_text(roster);
    json_free(roster);
    forget_unwanted(n);
    return resolved;
}

void names_tick(struct names *n, uint64_t now_ms)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(&n->by_text, &at, &key, &value)) {
        struct name *name = value;
        if (name->wanted && now_ms >= name->ask_at_ms) {
            ask(n, name);
        }
    }
}

struct names *names_new(struct master *m)
{
    struct names *n = mem_new(sizeof *n);
    n->master = m;
    return n;
}

void names_close(struct names *n)
{
    if (!n) {
        return;
    }
    n->master = NULL;
    if (!n->asking) {
        release(n);
    }
}
