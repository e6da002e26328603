/* learned.c: what anomaly detectors learned, kept for the next policy process.
 *
 * Owns: a copy of every series' state by its key, as the policy process told it last. It is asked for
 * every SAVE_MS, before a reload and at the end, is a document of the store each time, and each new process
 * gets all of it before its first question. Does not: understand it. */
#include "app/history.h"
#include "app/master.h"

#include <string.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store.h"

enum {
    SAVE_MS = 300000,
    PORTION = 1000,        /* series in one message */
    SERIES_MOST = 100000,  /* more are learned anew */
    SERIES_BYTES = 1 << 17 /* longest state that is kept */
};

void learned_keep(struct master *m, const char *key, const char *state)
{
    bool room = m->learned.count < SERIES_MOST || map_get(&m->learned, key);
    if (room && strlen(state) <= SERIES_BYTES) {
        mem_free(map_put(&m->learned, key, mem_copy(state)));
    }
}

void learned_on_portion(struct master *m, const struct cJSON *portion)
{
    struct store *store = m->history ? m->history->store : NULL;
    const struct cJSON *one = json_first(json_get(portion, "series"));
    if (store) {
        store_batch_begin(store);
    }
    for (; one; one = json_next(one)) {
        char *state = json_text(one);
        learned_keep(m, json_name(one), state);
        if (store && map_get(&m->learned, json_name(one))) {
            (void)store_put(store, "learned", json_name(one), state);
        }
        mem_free(state);
    }
    if (store) {
        store_batch_commit(store);
    }
}

static void restore_one(void *arg, const char *key, const char *json)
{
    learned_keep(arg, key, json);
}

void learned_restore(struct master *m)
{
    int rc = m->history ? store_documents(m->history->store, "learned", restore_one, m) : 0;
    if (rc) {
        log_warn("what detectors learned is not known: they learn anew", "error=%s", err_text(rc));
    } else if (m->learned.count) {
        log_info("detectors go on from what they learned", "series=%zu", m->learned.count);
    }
}

static void give(struct child *child, struct cJSON *series)
{
    struct cJSON *message = json_object();
    json_set(message, "series", series);
    char *text = json_text(message);
    child_send(child, IPC_LEARNED, 0, text);
    mem_free(text);
    json_free(message);
}

void learned_give(struct master *m, struct child *child)
{
    struct cJSON *series = json_object();
    size_t at = 0, count = 0;
    const char *key;
    void *state;
    while (map_next(&m->learned, &at, &key, &state)) {
        json_set(series, key, json_parse(state, strlen(state)));
        if (++count % PORTION == 0) {
            give(child, series);
            series = json_object();
        }
    }
    give(child, series);
}

void learned_ask(struct master *m)
{
    if (m->policy && m->policy->ready) {
        child_send(m->policy, IPC_LEARNED, m->generation, "{\"save\":true}");
    }
}

void learned_tick(struct master *m, uint64_t now_ms)
{
    if (now_ms >= m->learned_ms) {
        m->learned_ms = now_ms + SAVE_MS;
        learned_ask(m);
    }
}

void learned_free(struct master *m)
{
    size_t at = 0;
    const char *key;
    void *state;
    while (map_next(&m->learned, &at, &key, &state)) {
        mem_free(state);
    }
    map_free(&m->learned);
}
